//! The log on the admin listener, read-only: `/audit/checkpoint` and `/audit/tile/…` as tlog-tiles
//! has them, and `/audit/witnessed`, the checkpoint with its cosignatures.

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
    let log = auditor.log();
    match path {
        "checkpoint" => answer(StatusCode::OK, TEXT, log.latest().note.as_bytes().to_vec()),
        "witnessed" => match auditor.anchors.witnessed() {
            Some(note) => answer(StatusCode::OK, TEXT, note.into_bytes()),
            None => text(StatusCode::NOT_FOUND, "no witness has signed yet\n"),
        },
        path => match Tile::from_path(path) {
            Some(tile) => match std::fs::read(log.path().join(tile.path())) {
                Ok(bytes) => answer(StatusCode::OK, BINARY, bytes),
                Err(_gone) => text(StatusCode::NOT_FOUND, "the log has no such tile\n"),
            },
            None => text(StatusCode::NOT_FOUND, "GET /audit/checkpoint /audit/tile/<L>/<N>\n"),
        },
    }
}
