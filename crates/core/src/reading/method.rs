//! Which methods are served (RFC 9110 §9; the IANA registry of HTTP methods).

use http::Method;

use super::{ReadingRules, Refusal};
use crate::Reason;

/// Registered methods that extend RFC 9110, in alphabetical order. `PRI` is left out: it exists to
/// be refused (RFC 9113 §11.5).
const REGISTERED: [&str; 32] = [
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "COPY",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "ORDERPATCH",
    "PROPFIND",
    "PROPPATCH",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
    // Unregistered, but spoken by caches everywhere.
    "BAN",
    "PURGE",
];

pub(super) const fn never_served() -> Refusal {
    Refusal::new(Reason::MethodNotAllowed, "the method is never served")
}

/// Refuses methods that a reverse proxy must not serve and those that nobody knows.
pub(super) fn check(method: &Method, rules: &ReadingRules) -> Result<(), Refusal> {
    match method.as_str() {
        "GET" | "POST" | "HEAD" | "PUT" | "DELETE" | "PATCH" | "OPTIONS" => Ok(()),
        // TRACE sends cookies back to scripts (RFC 9110 §17.14); CONNECT is for forward proxies.
        "CONNECT" | "TRACE" | "TRACK" => Err(never_served()),
        name if REGISTERED.contains(&name) || rules.methods.contains(method) => Ok(()),
        _ => Err(Refusal::new(Reason::MethodUnknown, "the method is not registered")),
    }
}
