//! `POST /revoke?jti=…`, `?sub=…` or `?client=…`, with `&before=<seconds since 1970>` if tokens that
//! are issued later shall pass. The entry goes into the file of `auth.revocations`.

use std::sync::Arc;

use http::{Response, StatusCode};
use tidegate_auth::Revocations;

use super::files;
use crate::admin::text;
use crate::edge::Edge;

/// Does what the query says.
pub(crate) fn revoke(edge: &Edge, query: &str) -> Response<Vec<u8>> {
    let (named, before) = match query.split_once('&') {
        Some((named, rest)) => match rest.strip_prefix("before=").map(str::parse) {
            Some(Ok(before)) => (named, Some(before)),
            _ => return text(StatusCode::BAD_REQUEST, "write &before=<seconds since 1970>\n"),
        },
        None => (query, None),
    };
    let Some((kind, value)) = named.split_once('=') else {
        return text(StatusCode::BAD_REQUEST, "name one of jti, sub, client\n");
    };
    let Some(value) = decoded(value) else {
        return text(StatusCode::BAD_REQUEST, "the value is not percent-encoded UTF-8\n");
    };
    let live = edge.live();
    let revoked = tokio::task::block_in_place(|| {
        let written = live.snapshot.auth().revocations();
        files::revoke(written, (kind, &value), before)?;
        put_in_force(edge, written)
    });
    match revoked {
        Ok(()) => text(StatusCode::OK, "revoked\n"),
        Err(message) => text(StatusCode::BAD_REQUEST, &format!("{message}\n")),
    }
}

/// Reads the list again if a reload brought another one meanwhile, which may have read the file
/// before the line was there.
fn put_in_force(edge: &Edge, written: Option<&Arc<Revocations>>) -> Result<(), String> {
    let live = edge.live();
    let present = live.snapshot.auth().revocations();
    match (present, written) {
        (Some(present), Some(written)) if !Arc::ptr_eq(present, written) => {
            present.read_again().map(|_entries| ())
        }
        _ => Ok(()),
    }
}

/// A value of a query, percent signs read.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, after @ ..] = rest else { return None };
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        bytes.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_percent_encoded() {
        assert_eq!(decoded("auth0%7Cann").as_deref(), Some("auth0|ann"));
        assert_eq!(decoded("a%2"), None);
        assert_eq!(decoded("%ff"), None);
    }
}
