//! `POST /upstreams/<name>/drain?zone=…` and its like: zones and endpoints are taken out and let in
//! again by hand. The configuration stays as it is; a restart forgets it.

use std::net::SocketAddr;

use http::{Response, StatusCode};

use crate::admin::text;
use crate::bans::admin::value;
use crate::edge::Edge;

/// Does what path and query say.
pub(crate) fn answer(edge: &Edge, path: &str, query: &str) -> Response<Vec<u8>> {
    let Some((name, drained)) = action(path) else {
        return text(StatusCode::NOT_FOUND, "POST /upstreams/<name>/drain or undrain\n");
    };
    let live = edge.live();
    let Some(pool) = live.snapshot.pools().get(name) else {
        return text(StatusCode::NOT_FOUND, "no upstream has this name\n");
    };
    let found = match (value(query, "zone"), value(query, "endpoint")) {
        (Some(zone), None) => pool.drain_zone(&zone, drained),
        (None, Some(address)) => match address.parse::<SocketAddr>() {
            Ok(at) => pool.drain_endpoint(at, drained),
            Err(_no_address) => {
                let message = format!("`{address}` is no address and port\n");
                return text(StatusCode::BAD_REQUEST, &message);
            }
        },
        _ => return text(StatusCode::BAD_REQUEST, "say ?zone=<zone> or ?endpoint=<ip:port>\n"),
    };
    if !found {
        return text(StatusCode::NOT_FOUND, "the upstream has no such zone or endpoint\n");
    }
    text(StatusCode::OK, if drained { "drained\n" } else { "let in again\n" })
}

/// The upstream, and whether it is about taking out.
fn action(path: &str) -> Option<(&str, bool)> {
    let (name, verb) = path.strip_prefix("/upstreams/")?.rsplit_once('/')?;
    match verb {
        "drain" => Some((name, true)),
        "undrain" => Some((name, false)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_an_upstream_and_what_to_do() {
        assert_eq!(action("/upstreams/api/drain"), Some(("api", true)));
        assert_eq!(action("/upstreams/a/b/undrain"), Some(("a/b", false)));
        assert_eq!(action("/upstreams/api"), None);
        assert_eq!(action("/upstreams/api/reload"), None);
    }
}
