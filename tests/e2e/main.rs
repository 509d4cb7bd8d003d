//! End to end: the real binary between real programs. One test binary, so that it links once.
//!
//! A test that needs a program says `needs!(..)`: it is skipped with a printed line where the
//! program is not installed, and fails there when `CI` is set. What must hold for single rules and
//! algorithms is tested where they live; here it is shown that the wiring reaches them.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says why it was skipped"
)]

mod admin;
mod affinity;
mod audit;
mod audit_proof;
mod auth;
mod bad_upstreams;
mod bans;
mod clients;
mod events;
mod examples;
mod filters;
mod grpc;
mod guards;
mod hedging;
mod http2;
mod identities;
mod life;
mod limits;
mod load;
mod oidc;
mod prometheus;
mod rehearsal;
mod reload;
mod resilience;
mod response;
mod response_guards;
mod response_imports;
mod response_places;
mod retries;
mod routes;
mod scope_report;
mod siem;
mod streaming;
mod tls;
mod token_exchange;
mod tracing;
mod upstreams;
mod waf;
mod waf_bodies;
mod waf_hostile;
mod waf_responses;
mod waf_rules;
mod websocket;

use std::net::SocketAddr;

use tidegate_testkit::{Gateway, Response};

/// A gateway that sends everything to one origin.
#[track_caller]
fn in_front_of(origin: SocketAddr) -> Gateway {
    with_policy(origin, "{}")
}

/// A gateway that sends everything to one origin, under a policy in YAML's flow style.
#[track_caller]
fn with_policy(origin: SocketAddr, policy: &str) -> Gateway {
    let config = format!("defaults: {policy}\n{ALL_TO_API}");
    Gateway::start(&config, &[("origin", &origin)])
}

/// One route for everything, one endpoint called `<origin>`.
const ALL_TO_API: &str = "\
routes: [{ id: all, path: /, to: api }]
upstreams: { api: { endpoints: [<origin>] } }
";

/// Checks status and reason code of a problem+json answer (RFC 9457).
#[track_caller]
fn assert_problem(response: &Response, status: u16, code: &str) {
    assert_eq!(response.status, status, "{} {}", code, response.text());
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    let problem = response.json();
    assert_eq!(problem["status"], status, "{problem}");
    let kind = problem["type"].as_str().unwrap_or_default();
    assert!(kind.ends_with(code), "{problem}");
}
