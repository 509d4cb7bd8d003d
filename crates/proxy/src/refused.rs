//! What the firewall finds in a head that the strict reading refuses. The answer stays what it is;
//! the findings are in the event, so that an attack which is malformed as well does not look like
//! an accident.

use bytes::Bytes;
use http::Version;
use pingora_proxy::Session;
use tidegate_core::Request;
use tidegate_core::reading::{LenientHead, RequestLine, lenient, lenient_path};
use tidegate_engine::pipeline::{Found, inspect_refused};
use tidegate_engine::{RequestFacts, Snapshot};

use crate::connection::Connection;
use crate::context::{Context, Findings};
use crate::edge::Edge;
use crate::request_id::RequestId;

/// Looks at the head of a request that was refused once it had arrived.
pub(crate) fn look(session: &Session, ctx: &mut Context) {
    let Some(arrival) = &ctx.arrival else { return };
    let head = session.req_header();
    let raw = session.as_http1().map(|http1| http1.get_headers_raw_bytes());
    let read = raw.as_deref().and_then(lenient);
    let found = match &read {
        Some(read) => {
            let request = Request { head: &read.parts, ..arrival.request(head) };
            let request = Request { host: &read.host, path: &read.path, ..request };
            let facts = RequestFacts { line: Some(read.line), ..arrival.facts() };
            inspect_refused(&arrival.live.snapshot, &request, &facts)
        }
        None if head.version == Version::HTTP_2 => {
            let path = lenient_path(head.uri.path().as_bytes());
            let host = head.uri.host().unwrap_or_default().to_ascii_lowercase();
            let request = Request { host: &host, path: &path, ..arrival.request(head) };
            inspect_refused(&arrival.live.snapshot, &request, &arrival.facts())
        }
        None => None,
    };
    let Some(Found { route, waf, waf_shadow }) = found else { return };
    ctx.lane = arrival.live.lanes.of(&route).cloned();
    ctx.route = Some(route);
    ctx.refused = Some(Findings { waf, waf_shadow, ..Findings::default() });
}

/// The head of an HTTP/1 request whose target is no path: the parser leaves out the host that it
/// names, and rules about the request line want it as it came.
pub(crate) fn line_of_absolute(session: &Session) -> Option<Bytes> {
    let head = session.as_http1()?.get_headers_raw_bytes();
    RequestLine::of(&head).filter(|line| !line.target.starts_with(b"/"))?;
    Some(head)
}

/// Looks at a head as it came.
pub(crate) fn look_at_wire(
    edge: &Edge,
    snapshot: &Snapshot,
    connection: &Connection,
    request_id: &RequestId,
    head: &LenientHead<'_>,
) -> Option<Found> {
    let LenientHead { line, parts, host, path } = head;
    let request = Request {
        head: parts,
        host,
        path,
        client: connection.peer.ip(),
        secure: connection.tls.is_some(),
        received_at: edge.clock().now(),
    };
    let facts = RequestFacts {
        client_port: connection.peer.port(),
        server: connection.local,
        id: request_id.as_str(),
        now: Some(edge.clock().wall()),
        line: Some(*line),
    };
    inspect_refused(snapshot, &request, &facts)
}
