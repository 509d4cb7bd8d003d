//! A reload applies all of a configuration or nothing, and nobody notices.

use std::fs;

use rustix::process::Signal;
use tidegate_testkit::client::get;
use tidegate_testkit::{Gateway, Load, Nginx, Origin, Reply, needs, wait};

use crate::{ALL_TO_API, in_front_of, with_policy};

#[test]
fn sighup_applies_a_new_configuration() {
    let (a, b) = (Origin::start(Reply::ok("a")), Origin::start(Reply::ok("b")));
    let config = "
routes: [{ path: /, to: api }]
upstreams: { api: { endpoints: [<a>] } }
";
    let gateway = Gateway::start(config, &[("a", &a.address()), ("b", &b.address())]);
    assert_eq!(get(gateway.address(), "/").text(), "a");
    gateway.write_config(&config.replace("<a>", "<b>"));
    gateway.signal(Signal::HUP);
    wait::until("the new configuration", || get(gateway.address(), "/").text() == "b");
}

#[test]
fn a_broken_configuration_changes_nothing_and_is_told() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = in_front_of(origin.address());
    let before = gateway.metrics();
    let broken = [
        "routes: [{ path: /, to: nowhere }]\nupstreams: {}\n",
        "routes: [\n",
        "routes: [{ path: /, too: api }]\nupstreams: { api: { endpoints: [<origin>] } }\n",
    ];
    for text in broken {
        gateway.write_config(text);
        let refused = gateway.reload();
        assert!((400..600).contains(&refused.status), "{}: {}", refused.status, refused.text());
        assert_eq!(get(gateway.address(), "/").text(), "ok");
        assert_eq!(get(gateway.admin(), "/readyz").status, 200);
    }
    assert_ne!(reload_metrics(&before), reload_metrics(&gateway.metrics()));
    assert!(gateway.stderr().contains("nowhere"), "{}", gateway.stderr());
    fs::remove_file(gateway.folder().join("tidegate.yaml")).expect("removes");
    gateway.signal(Signal::HUP);
    assert_eq!(get(gateway.address(), "/").text(), "ok");
    gateway.write_config(ALL_TO_API);
    assert!(gateway.reload().status < 300);
}

fn reload_metrics(page: &str) -> Vec<String> {
    page.lines()
        .filter(|line| line.contains("reload") && !line.starts_with('#'))
        .map(Into::into)
        .collect()
}

#[test]
fn buckets_outlive_a_reload() {
    let origin = Origin::start(Reply::ok("ok"));
    let policy = "{ rate_limit: { key: client_ip, rate: 1/h, burst: 2 } }";
    let gateway = with_policy(origin.address(), policy);
    assert_eq!(get(gateway.address(), "/").status, 200);
    assert_eq!(get(gateway.address(), "/").status, 200);
    assert_eq!(get(gateway.address(), "/").status, 429);
    let added = "{ rate_limit: { key: client_ip, rate: 1/h, burst: 2 }, response_headers: { set: { x-a: b } } }";
    gateway.write_config(&format!("defaults: {added}\n{ALL_TO_API}"));
    assert!(gateway.reload().status < 300);
    let refused = get(gateway.address(), "/");
    assert_eq!(refused.status, 429, "a reload is not a way out");
}

#[test]
fn known_health_outlives_a_reload() {
    needs!("nginx");
    let (mut a, b) = (Nginx::pod("a"), Nginx::pod("b"));
    let config = "
routes: [{ path: /, to: api, retries: { attempts: 0 } }]
upstreams:
  api: { endpoints: [<a>, <b>], health: { path: /healthz, interval: 200ms, rise: 1, fall: 1 } }
";
    let gateway = Gateway::start(config, &[("a", &a.address()), ("b", &b.address())]);
    a.kill();
    wait::until("the check finds it", || (0..6).all(|_| get(gateway.address(), "/").status == 200));
    for _reload in 0..5 {
        assert!(gateway.reload().status < 300);
        for _request in 0..4 {
            assert_eq!(get(gateway.address(), "/").text(), "b");
        }
    }
}

#[test]
fn a_hundred_reloads_under_load_harm_nobody() {
    needs!("nginx");
    let pod = Nginx::pod("ok");
    let gateway = in_front_of(pod.address());
    let load = Load::start(gateway.address(), 4);
    for number in 0..100 {
        let policy = format!("{{ response_headers: {{ set: {{ x-generation: '{number}' }} }} }}");
        gateway.write_config(&format!("defaults: {policy}\n{ALL_TO_API}"));
        assert!(gateway.reload().status < 300);
    }
    assert_eq!(get(gateway.address(), "/").header("x-generation"), Some("99"));
    load.wait_for(100);
    let tally = load.stop();
    tally.assert_unharmed();
    assert_eq!(tally.raced, 0, "a reload closes no connection");
}
