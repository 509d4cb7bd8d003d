//! Plain JSON: the access log's fields, with what tells records and nodes apart.

use tidegate_core::record;
use tidegate_core::record::json::Object;
use tidegate_core::{Event, Notice};

use super::Node;

pub(super) fn event(out: &mut Vec<u8>, node: &Node, event: &Event<'_>) {
    let mut object = Object::begin(out);
    object.time("time", event.time);
    object.text("event", "request");
    object.text("node", &node.host);
    record::event::members(&mut object, event);
    object.end();
}

pub(super) fn notice(out: &mut Vec<u8>, node: &Node, notice: &Notice) {
    let mut object = Object::begin(out);
    object.time("time", notice.time);
    object.text("event", "notice");
    object.text("node", &node.host);
    record::notice::members(&mut object, notice);
    object.end();
}
