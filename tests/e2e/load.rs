//! Pods that die under load: clients see no error beyond what was already on that connection.

use std::process::Command;

use tidegate_testkit::programs::output;
use tidegate_testkit::{Gateway, Load, Nginx, needs, wait};

#[test]
fn a_pod_killed_under_load_costs_at_most_what_was_on_its_connections() {
    needs!("nginx");
    const CLIENTS: usize = 8;
    let mut pods = [Nginx::pod("a"), Nginx::pod("b"), Nginx::pod("c")];
    let gateway = Gateway::start(
        "
access_log: off
routes: [{ path: /, to: api }]
upstreams:
  api: { endpoints: [<a>, <b>, <c>], health: { path: /healthz, interval: 200ms, rise: 1, fall: 1 } }
",
        &[("a", &pods[0].address()), ("b", &pods[1].address()), ("c", &pods[2].address())],
    );
    let load = Load::start(gateway.address(), CLIENTS);
    load.wait_for(500);
    pods[0].kill();
    load.wait_for(500);
    pods[0].restart();
    load.wait_for(500);
    let tally = load.stop();
    assert!(tally.failures.is_empty(), "{tally:?}");
    let errors = tally.answers() - tally.statuses.get(&200).copied().unwrap_or_default();
    assert!(errors <= CLIENTS, "at most one per running request: {tally:?}");
}

#[test]
fn a_frozen_pod_is_left_alone_after_its_checks_fail() {
    needs!("nginx");
    let pods = [Nginx::pod("a"), Nginx::pod("b")];
    let gateway = Gateway::start(
        "
access_log: off
defaults: { timeouts: { connect: 500ms, first_byte: 1s } }
routes: [{ path: /, to: api }]
upstreams:
  api: { endpoints: [<a>, <b>], health: { path: /healthz, interval: 100ms, timeout: 200ms, rise: 1, fall: 1 } }
",
        &[("a", &pods[0].address()), ("b", &pods[1].address())],
    );
    pods[0].freeze();
    wait::until("only b answers", || {
        (0..8).all(|_| tidegate_testkit::client::get(gateway.address(), "/").text() == "b")
    });
    pods[0].thaw();
    wait::until("a is back", || {
        tidegate_testkit::client::get(gateway.address(), "/").text() == "a"
    });
}

#[test]
fn wrk_sees_no_error() {
    needs!("nginx", "wrk");
    let pods = [Nginx::pod("a"), Nginx::pod("b")];
    let gateway = Gateway::start(
        "
access_log: off
routes: [{ path: /, to: api }]
upstreams: { api: { endpoints: [<a>, <b>] } }
",
        &[("a", &pods[0].address()), ("b", &pods[1].address())],
    );
    let url = format!("http://{}/", gateway.address());
    let said = output(Command::new("wrk").args(["-t1", "-c32", "-d2s", &url])).stdout;
    assert!(said.contains("requests in"), "{said}");
    assert!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
}
