//! LEEF 2.0 (Log Event Extended Format), one line: a header between bars that names the separator,
//! then pairs. The separator is the tab, which no value holds.

use tidegate_core::{Event, Notice, Reason};

use super::Node;
use super::text::{self, Dialect, Pairs, header};

pub(super) fn event(out: &mut Vec<u8>, node: &Node, event: &Event<'_>) {
    begin(out, node, event.reason.map_or("request", Reason::code));
    text::event(&mut Pairs::begin(out, Dialect::Leef), node, event);
}

pub(super) fn notice(out: &mut Vec<u8>, node: &Node, notice: &Notice) {
    begin(out, node, notice.kind.code());
    text::notice(&mut Pairs::begin(out, Dialect::Leef), node, notice);
}

fn begin(out: &mut Vec<u8>, node: &Node, id: &str) {
    out.extend_from_slice(b"LEEF:2.0|Tidegate|Tidegate|");
    header(out, &node.version);
    out.push(b'|');
    header(out, id);
    out.extend_from_slice(b"|x09|");
}
