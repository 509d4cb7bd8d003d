//! What happens beside requests, as notices: the words for it, in one place.

use std::net::SocketAddr;

use http::{Method, StatusCode};
use tidegate_audit::redact::clean;
use tidegate_core::notice::{Notice, NoticeKind};
use tidegate_observe::BuildInfo;
use tidegate_traffic::Pool;
use tidegate_traffic::breaker::BreakerState;
use tidegate_traffic::pool::Event;

use crate::audit::By;
use crate::edge::Edge;

/// A notice of now.
pub(crate) fn notice(edge: &Edge, kind: NoticeKind, summary: impl Into<Box<str>>) -> Notice {
    Notice::new(edge.clock().wall(), kind, summary)
}

pub(crate) fn process_started(edge: &Edge, build: BuildInfo) -> Notice {
    let live = edge.live();
    let listeners = live.snapshot.settings().listeners.iter();
    let listeners: Vec<_> = listeners.map(|listener| listener.address.to_string()).collect();
    notice(edge, NoticeKind::ProcessStarted, "serving")
        .with("version", build.version)
        .with("revision", build.revision)
        .with("pid", std::process::id().to_string())
        .with("listeners", listeners.join(" "))
}

pub(crate) fn process_stopped(edge: &Edge, why: &str) -> Notice {
    notice(edge, NoticeKind::ProcessStopped, "the process ends")
        .with("why", why)
        .with("pid", std::process::id().to_string())
        .with("connections_left", edge.connections().total().to_string())
}

pub(crate) fn config_applied(edge: &Edge, by: &By) -> Notice {
    by.caused(notice(edge, NoticeKind::ConfigApplied, "configuration reloaded"))
}

pub(crate) fn config_refused(edge: &Edge, by: &By, errors: &str) -> Notice {
    let summary = "configuration refused, the last one stays";
    by.caused(notice(edge, NoticeKind::ConfigRefused, summary)).with("errors", clean(errors))
}

/// Certificates in use were replaced: the files that are new, gone or different.
pub(crate) fn certificates_changed(edge: &Edge, by: &By, files: &[&str]) -> Notice {
    by.caused(notice(edge, NoticeKind::CertificateChanged, "certificates changed"))
        .with("files", files.join(" "))
}

/// A call of the admin listener that changed something, or was not allowed to.
pub(crate) fn admin_call(
    edge: &Edge,
    peer: Option<SocketAddr>,
    (method, target): (&Method, &str),
    status: StatusCode,
) -> Notice {
    let (path, query) = of_target(target);
    let notice = By::Admin(peer)
        .caused(notice(edge, NoticeKind::AdminCall, "an admin call"))
        .with("operation", format!("{method} {path}"))
        .with("status", status.as_u16().to_string());
    match query {
        Some(query) => notice.with("query", query),
        None => notice,
    }
}

/// What may be told of an admin call: its path, and its query unless that names people, whom the
/// call's own record has as pseudonyms.
pub(crate) fn of_target(target: &str) -> (String, Option<String>) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let names_people = path.starts_with("/audit/") || matches!(path, "/revoke" | "/bans");
    let query = (!query.is_empty() && !names_people).then(|| clean(query));
    (clean(path), query)
}

/// Health checks changed their mind about an endpoint.
pub(crate) fn endpoint_health(
    edge: &Edge,
    pool: &Pool,
    endpoint: SocketAddr,
    healthy: bool,
    cause: Option<String>,
) -> Notice {
    let (kind, summary) = match healthy {
        true => (NoticeKind::EndpointUp, "health checks pass again"),
        false => (NoticeKind::EndpointDown, "health checks fail"),
    };
    let notice = of_pool(edge, pool, kind, summary, Some(endpoint));
    match cause {
        Some(cause) => notice.with("cause", cause),
        None => notice,
    }
}

/// What a pool did by itself; a breaker that lets probes pass is nothing to tell yet.
pub(crate) fn of_event(edge: &Edge, pool: &Pool, event: &Event) -> Option<Notice> {
    let of = |kind, summary, endpoint| of_pool(edge, pool, kind, summary, endpoint);
    Some(match event {
        Event::Breaker(BreakerState::HalfOpen) => return None,
        Event::Breaker(BreakerState::Open) => {
            of(NoticeKind::UpstreamDown, "the breaker opened", None).with("cause", "breaker")
        }
        Event::Breaker(BreakerState::Closed) => {
            of(NoticeKind::UpstreamUp, "the breaker closed", None).with("cause", "breaker")
        }
        Event::Ejected { endpoint, cause, .. } => {
            let out = pool.endpoints().iter().filter(|endpoint| endpoint.is_ejected()).count();
            of(NoticeKind::EndpointEjected, "endpoint ejected", Some(*endpoint))
                .with("cause", cause.as_str())
                .with("ejected", out.to_string())
        }
        Event::Readmitted { endpoint } => {
            of(NoticeKind::EndpointUp, "the endpoint's ejection is over", Some(*endpoint))
        }
        Event::Suspected { endpoint, cause } => {
            let summary = "endpoint not ejected: not enforced";
            of(NoticeKind::EndpointSuspected, summary, Some(*endpoint))
                .with("cause", cause.as_str())
        }
        Event::ZoneIsolated { zone } => {
            let summary = "zone isolated: too few of its endpoints can serve";
            of(NoticeKind::ZoneIsolated, summary, None).with("zone", zone.clone())
        }
        Event::ZoneReturned { zone } => {
            of(NoticeKind::ZoneReturned, "zone returned", None).with("zone", zone.clone())
        }
    })
}

/// No endpoint of the upstream takes requests, or one does again.
pub(crate) fn upstream_serves(edge: &Edge, pool: &Pool, serves: bool) -> Notice {
    let (kind, summary) = match serves {
        true => (NoticeKind::UpstreamUp, "an endpoint takes requests again"),
        false => (NoticeKind::UpstreamDown, "no endpoint takes requests"),
    };
    of_pool(edge, pool, kind, summary, None).with("cause", "endpoints")
}

/// The addresses behind a name changed, or cannot be had.
pub(crate) fn resolved(
    edge: &Edge,
    pool: &Pool,
    host: &str,
    answer: Result<String, String>,
) -> Notice {
    let of = |kind, summary| of_pool(edge, pool, kind, summary, None).with("host", host);
    match answer {
        Ok(addresses) => {
            of(NoticeKind::EndpointsChanged, "endpoints resolved").with("addresses", addresses)
        }
        Err(error) => {
            of(NoticeKind::NameUnresolved, "cannot resolve endpoint").with("error", error)
        }
    }
}

fn of_pool(
    edge: &Edge,
    pool: &Pool,
    kind: NoticeKind,
    summary: &str,
    endpoint: Option<SocketAddr>,
) -> Notice {
    Notice { upstream: Some(pool.name().into()), endpoint, ..notice(edge, kind, summary) }
}

impl By {
    /// The notice with who caused it.
    pub(crate) fn caused(&self, mut notice: Notice) -> Notice {
        match self {
            Self::Admin(peer) => {
                notice.by = Some("admin".into());
                notice.client = peer.map(|peer| peer.ip());
            }
            Self::Signal(name) => notice.by = Some((*name).into()),
        }
        notice
    }
}
