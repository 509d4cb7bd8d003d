//! Bans by the admin listener: `GET /bans` lists them, or explains one address; `POST` adds one;
//! `DELETE` lifts it.

use std::net::IpAddr;

use http::{Method, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::json;
use tidegate_core::net::Network;
use tidegate_core::units::Span;
use tidegate_guard::Ban;
use tidegate_guard::bans::seconds;

use super::now;
use crate::admin::{json_answer, text};
use crate::edge::Edge;

/// How many bans one answer lists, unless the query says less.
const PAGE: usize = 1_000;

/// Lists bans after `?after=<network>`, or explains `?address=<ip>`.
pub(crate) fn read(edge: &Edge, query: &str) -> Response<Vec<u8>> {
    match found(edge, query) {
        Ok(value) => json_answer(StatusCode::OK, &value),
        Err(message) => text(StatusCode::BAD_REQUEST, &message),
    }
}

fn found(edge: &Edge, query: &str) -> Result<serde_json::Value, String> {
    let live = edge.live();
    let bans = live.snapshot.bans();
    if let Some(address) = value(query, "address") {
        let address: IpAddr =
            address.parse().map_err(|_error| format!("`{address}` is no address\n"))?;
        let (around, protected) = bans.explain(address);
        let banned = bans.check(address, edge.clock().now()).is_err();
        return Ok(json!({
            "address": address, "banned": banned, "protected": protected, "bans": around,
        }));
    }
    let after = value(query, "after")
        .filter(|text| !text.is_empty())
        .map(|text| network(&text))
        .transpose()?;
    let limit = value(query, "limit").and_then(|text| text.parse().ok()).unwrap_or(PAGE);
    let page = bans.list(after, limit.clamp(1, PAGE));
    let next = (page.len() >= limit.clamp(1, PAGE)).then(|| page.last().map(|ban| ban.network));
    let stats = bans.stats();
    Ok(json!({
        "added": stats.added, "listed": stats.listed, "next": next.flatten(), "bans": page,
    }))
}

/// Adds (`POST`) or lifts (`DELETE`) what `?network=` says.
pub(crate) fn change(edge: &Edge, method: &Method, query: &str) -> Response<Vec<u8>> {
    let done = match *method {
        Method::DELETE => lift(edge, query),
        _ => add(edge, query),
    };
    match done {
        Ok(message) => text(StatusCode::OK, &message),
        Err((status, message)) => text(status, &message),
    }
}

type Outcome = Result<String, (StatusCode, String)>;

fn bad(message: String) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, message)
}

fn named(query: &str) -> Result<Network, (StatusCode, String)> {
    let text = value(query, "network").ok_or_else(|| bad("say ?network=<network>\n".into()))?;
    network(&text).map_err(bad)
}

fn add(edge: &Edge, query: &str) -> Outcome {
    let network = named(query)?;
    let now = now(edge.clock());
    let since = seconds(now.wall);
    let until = match value(query, "for") {
        None => None,
        Some(text) => {
            let span: Span = text.parse().map_err(|error| bad(format!("for: {error}\n")))?;
            Some(since.saturating_add(span.0.as_secs().max(1)))
        }
    };
    let reason: Box<str> = value(query, "reason").unwrap_or_default().into();
    let live = edge.live();
    let ban = Ban { network, until, since, source: "admin".into(), reason: reason.clone() };
    let (taken, refused) = live.snapshot.bans().add([ban], now);
    if let Some(not_taken) = refused.first() {
        return Err((StatusCode::CONFLICT, format!("not banned: {not_taken}\n")));
    }
    if taken == 0 {
        return Ok(format!("{network} is banned for longer already\n"));
    }
    tracing::warn!(%network, until, reason = &*reason, "banned by hand");
    Ok(format!("banned {network}\n"))
}

fn lift(edge: &Edge, query: &str) -> Outcome {
    let network = named(query)?;
    let live = edge.live();
    let Some(ban) = live.snapshot.bans().lift(network, now(edge.clock())) else {
        let message = format!("no ban names exactly {network}; lists are lifted by the reload\n");
        return Err((StatusCode::NOT_FOUND, message));
    };
    tracing::warn!(%network, source = &*ban.source, "a ban was lifted by hand");
    Ok(format!("lifted {network}\n"))
}

fn network(text: &str) -> Result<Network, String> {
    text.parse().map_err(|error| format!("`{text}` is {error}\n"))
}

/// The decoded value of a key in a query.
fn value(query: &str, key: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(name, _)| *name == key)?;
    let value = value.replace('+', " ");
    Some(percent_decode_str(&value).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded() {
        let query = "network=10.0.0.0%2F8&reason=too+many%20logins&for=";
        assert_eq!(value(query, "network").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(value(query, "reason").as_deref(), Some("too many logins"));
        assert_eq!(value(query, "for").as_deref(), Some(""));
        assert_eq!(value(query, "after"), None);
    }
}
