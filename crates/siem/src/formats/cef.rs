//! CEF 0 (Common Event Format), one line: a header of seven fields between bars, then pairs.

use tidegate_core::notice::Severity;
use tidegate_core::{Event, Notice, Reason};

use super::Node;
use super::text::{self, Dialect, Pairs, header};

pub(super) fn event(out: &mut Vec<u8>, node: &Node, event: &Event<'_>) {
    let id = event.reason.map_or("request", Reason::code);
    let name = event.reason.map_or("Request", Reason::title);
    begin(out, node, (id, name), event.severity());
    text::event(&mut Pairs::begin(out, Dialect::Cef), node, event);
}

pub(super) fn notice(out: &mut Vec<u8>, node: &Node, notice: &Notice) {
    begin(out, node, (notice.kind.code(), &notice.summary), notice.severity);
    text::notice(&mut Pairs::begin(out, Dialect::Cef), node, notice);
}

fn begin(out: &mut Vec<u8>, node: &Node, (id, name): (&str, &str), severity: Severity) {
    out.extend_from_slice(b"CEF:0|Tidegate|Tidegate|");
    for field in [&*node.version, id, name] {
        header(out, field);
        out.push(b'|');
    }
    out.extend_from_slice(itoa::Buffer::new().format(text::severity(severity)).as_bytes());
    out.push(b'|');
}
