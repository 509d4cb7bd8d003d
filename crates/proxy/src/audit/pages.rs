//! The log on the admin listener, read-only: `/audit/checkpoint`, `/audit/tile/…` and
//! `/audit/minimum` as they stand on the disk, `/audit/cosigned/<witness>`, and `/audit/witnessed`,
//! the latest checkpoint that has cosignatures.

use std::path::Path;

use http::{Response, StatusCode};
use tidegate_audit::tile::Tile;

use crate::admin::{answer, text};
use crate::edge::Edge;

/// Bytes that mean nothing to a browser.
const BINARY: &str = "application/octet-stream";
const TEXT: &str = "text/plain; charset=utf-8";

/// Answers for a path below `/audit/`.
pub(crate) fn read(edge: &Edge, path: &str) -> Response<Vec<u8>> {
    let Some(auditor) = edge.audit() else {
        return text(StatusCode::NOT_FOUND, "there is no audit log\n");
    };
    let Some(log) = auditor.log() else {
        let message = "the log is still that of the process before this one\n";
        return text(StatusCode::SERVICE_UNAVAILABLE, message);
    };
    match path {
        "checkpoint" => answer(StatusCode::OK, TEXT, log.latest().note.as_bytes().to_vec()),
        "minimum" => file(&log.path().join(path), TEXT),
        "witnessed" => match auditor.anchors.witnessed() {
            Some(note) => answer(StatusCode::OK, TEXT, note.into_bytes()),
            None => text(StatusCode::NOT_FOUND, "no witness has signed yet\n"),
        },
        path => match path.strip_prefix("cosigned/") {
            Some(name) if is_witness(name) => file(&log.path().join(path), TEXT),
            _ if Tile::from_path(path).is_some() => file(&log.path().join(path), BINARY),
            _ => text(StatusCode::NOT_FOUND, "GET /audit/checkpoint /audit/tile/<L>/<N>\n"),
        },
    }
}

fn file(path: &Path, content_type: &'static str) -> Response<Vec<u8>> {
    match std::fs::read(path) {
        Ok(bytes) => answer(StatusCode::OK, content_type, bytes),
        Err(_gone) => text(StatusCode::NOT_FOUND, "the log has no such file\n"),
    }
}

/// Whether it is a name that a witness's file can have.
fn is_witness(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    !name.starts_with('.') && name.bytes().all(plain)
}
