//! Bans by the admin listener: `GET /bans` lists them, or explains an address or another target;
//! `POST` adds one; `DELETE` lifts it, of all who decided it or of one.

use std::net::IpAddr;
use std::sync::Arc;

use http::{Method, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::json;
use tidegate_core::decision::{Measure, Target};
use tidegate_core::units::Span;
use tidegate_engine::Snapshot;
use tidegate_guard::Ban;
use tidegate_guard::bans::seconds;
use tidegate_guard::bans::target::{Written, is_too_wide};

use super::now;
use crate::admin::{json_answer, text};
use crate::edge::Edge;
use crate::enforcement::told;

/// How many bans one answer lists, unless the query says less.
const PAGE: usize = 1_000;

/// Lists bans after `?after=<next>`, or explains `?address=<ip>` or another target.
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
        let found = bans.look_up(address, edge.clock().now());
        let measure = found.as_ref().map(|found| found.measure);
        return Ok(json!({
            "address": address, "banned": measure == Some(Measure::Block), "measure": measure,
            "suspended": bans.is_suspended(), "protected": protected, "bans": around,
        }));
    }
    let written = Written::from_names(|name| value(query, name));
    if written != Written::default() {
        let target = written.target().map_err(|error| format!("{error}\n"))?;
        let bans_of = bans.of(&target);
        return Ok(json!({
            "target": target.to_string(), "suspended": bans.is_suspended(), "bans": bans_of,
        }));
    }
    let after = value(query, "after").filter(|text| !text.is_empty());
    let after = after.map(|text| place(&text)).transpose()?;
    let limit = value(query, "limit").and_then(|text| text.parse().ok()).unwrap_or(PAGE);
    let limit = limit.clamp(1, PAGE);
    let page = bans.list(after, limit);
    let next = page.last().filter(|_| page.len() >= limit).map(name_of_place);
    let stats = bans.stats();
    Ok(json!({ "added": stats.added, "listed": stats.listed, "next": next, "bans": page }))
}

/// The place of a ban in the list, as text that a query can say.
fn name_of_place(ban: &Ban) -> String {
    json!([ban.measure, ban.source, Written::from(&ban.target)]).to_string()
}

fn place(text: &str) -> Result<(Target, Measure, Arc<str>), String> {
    let wrong = || format!("`{text}` is no place in the list\n");
    let (measure, source, written): (Measure, Arc<str>, Written) =
        serde_json::from_str(text).map_err(|_error| wrong())?;
    Ok((written.target().map_err(|_error| wrong())?, measure, source))
}

/// Adds (`POST`) or lifts (`DELETE`) what the query names.
pub(crate) fn change(edge: &Edge, method: &Method, query: &str) -> Response<Vec<u8>> {
    let Some(_ours) = edge.ban_file().hold() else { return being_handed_over() };
    let done = match *method {
        Method::DELETE => lift(edge, query),
        _ => add(edge, query),
    };
    match done {
        Ok(message) => text(StatusCode::OK, &message),
        Err((status, message)) => text(status, &message),
    }
}

/// The answer while bans are another process's.
pub(crate) fn being_handed_over() -> Response<Vec<u8>> {
    let message = "another process takes over, and nothing changes meanwhile: ask again\n";
    text(StatusCode::SERVICE_UNAVAILABLE, message)
}

type Outcome = Result<String, (StatusCode, String)>;

fn bad(message: String) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, message)
}

fn named(query: &str) -> Result<Target, (StatusCode, String)> {
    let written = Written::from_names(|name| value(query, name));
    written.target().map_err(|error| bad(format!("{error}\n")))
}

fn measure(query: &str) -> Result<Option<Measure>, (StatusCode, String)> {
    let Some(name) = value(query, "measure").filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    match Measure::ALL.into_iter().find(|measure| measure.name() == name) {
        Some(measure) => Ok(Some(measure)),
        None => Err(bad(format!("`{name}` is no measure: throttle, tarpit, isolate or block\n"))),
    }
}

fn add(edge: &Edge, query: &str) -> Outcome {
    let target = named(query)?;
    if is_too_wide(&target) && value(query, "wide").as_deref() != Some("true") {
        let message = format!("{target} is wider than an IPv4 /8 or IPv6 /16: add --wide\n");
        return Err(bad(message));
    }
    let of_upstream = matches!(target, Target::Endpoint { .. } | Target::Zone { .. });
    let usual = if of_upstream { Measure::Isolate } else { Measure::Block };
    let measure = measure(query)?.unwrap_or(usual);
    let now = now(edge.clock());
    let since = seconds(now.wall);
    let until = match value(query, "for") {
        None => None,
        Some(text) => {
            let span: Span = text.parse().map_err(|error| bad(format!("for: {error}\n")))?;
            Some(since.saturating_add(span.0.as_secs().max(1)))
        }
    };
    let reason = value(query, "reason").unwrap_or_default();
    let ban = Ban { target, measure, until, since, source: "admin".into(), reason: reason.into() };
    let live = edge.live();
    let add = || live.snapshot.bans().add([ban.clone()], now);
    let (taken, refused) = tokio::task::block_in_place(add);
    if let Some(not_taken) = refused.first() {
        return Err((StatusCode::CONFLICT, format!("not banned: {not_taken}\n")));
    }
    let done = done(measure);
    if taken == 0 {
        return Ok(format!("{} is {done} for longer already\n", ban.target));
    }
    told::added(edge, &ban);
    let note = unknown(&live.snapshot, &ban.target);
    let note = note.map_or(String::new(), |what| format!("; the configuration has no such {what}"));
    Ok(format!("{done} {}{note}\n", ban.target))
}

/// What a target names and the configuration in force does not have. It may come with a reload, so
/// it is told and no mistake.
fn unknown(snapshot: &Snapshot, target: &Target) -> Option<&'static str> {
    let pool = |upstream: &str| snapshot.pools().get(upstream).map(|pool| pool.endpoints());
    let (is_known, what) = match target {
        Target::Network(_) | Target::Token(_) => return None,
        Target::Subject(party) | Target::Client(party) => {
            (snapshot.settings().auth.vouches_as(&party.provider), "provider")
        }
        Target::Route(id) => (snapshot.routes().iter().any(|route| route.id == *id), "route"),
        Target::Endpoint { upstream, endpoint } => match pool(upstream) {
            Some(all) => (all.iter().any(|one| one.address() == *endpoint), "endpoint"),
            None => (false, "upstream"),
        },
        Target::Zone { upstream, zone } => match pool(upstream) {
            Some(all) => (all.iter().any(|one| one.locality().is_named(zone)), "zone"),
            None => (false, "upstream"),
        },
    };
    (!is_known).then_some(what)
}

/// What became of somebody.
const fn done(measure: Measure) -> &'static str {
    match measure {
        Measure::Alert => "told of",
        Measure::Throttle => "throttled",
        Measure::Tarpit => "tarpitted",
        Measure::Isolate => "isolated",
        Measure::Block => "banned",
    }
}

fn lift(edge: &Edge, query: &str) -> Outcome {
    let (written, measure) = (Written::from_names(|name| value(query, name)), measure(query)?);
    let source = value(query, "source").filter(|source| !source.is_empty());
    let now = now(edge.clock());
    let live = edge.live();
    let bans = live.snapshot.bans();
    let by = source.as_ref().map(|source| format!(" by {source}")).unwrap_or_default();
    if let Some(source) = source.as_deref().filter(|_| written == Written::default()) {
        let is_other = |_: &Target, of: Measure| measure.is_some_and(|measure| measure != of);
        let lifted = tokio::task::block_in_place(|| bans.retain_of(source, is_other, now));
        tell_lifted(edge, &lifted);
        return match lifted.len() {
            0 => Err((StatusCode::NOT_FOUND, format!("there is no ban{by}\n"))),
            1 => Ok(format!("lifted one ban{by}\n")),
            lifted => Ok(format!("lifted {lifted} bans{by}\n")),
        };
    }
    let target = written.target().map_err(|error| bad(format!("{error}\n")))?;
    let lifted = bans.lift(&target, measure, source.as_deref(), now);
    if lifted.is_empty() {
        let message =
            format!("no ban{by} names exactly {target}; lists are lifted by the reload\n");
        return Err((StatusCode::NOT_FOUND, message));
    }
    tell_lifted(edge, &lifted);
    let left = bans.of(&target);
    let left = left.iter().map(|ban| format!("still {} by {}\n", done(ban.measure), ban.source));
    Ok(format!("lifted {target}\n{}", left.collect::<String>()))
}

/// Tells of bans that were lifted by hand, and lets rules begin anew about whom they named.
fn tell_lifted(edge: &Edge, lifted: &[Ban]) {
    let live = edge.live();
    if let Some(policy) = live.snapshot.response() {
        let bans = live.snapshot.bans();
        let is_rule = |ban: &Ban| policy.rules().any(|rule| *rule.name == *ban.source);
        for Ban { target, .. } in lifted {
            // What another rule decided about them goes on.
            if !bans.of(target).iter().any(is_rule) {
                policy.forget(target, now(edge.clock()));
            }
        }
    }
    if lifted.len() > told::EXAMPLES {
        return told::imported(edge, "admin", (0, lifted.len(), 0), &[]);
    }
    for ban in lifted {
        told::lifted(edge, ban, "admin");
    }
}

/// The decoded value of a key in a query.
pub(crate) fn value(query: &str, key: &str) -> Option<String> {
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

    #[test]
    fn a_list_goes_on_where_it_ended() {
        let target = Written { route: Some("pay".into()), ..Written::default() }.target().unwrap();
        let ban = Ban {
            target: target.clone(),
            measure: Measure::Tarpit,
            until: None,
            since: 0,
            source: "rule/1".into(),
            reason: "".into(),
        };
        assert_eq!(place(&name_of_place(&ban)), Ok((target, Measure::Tarpit, ban.source)));
        assert!(place("nowhere").is_err());
    }
}
