//! Pools of real pods: balancing, health, fail-over and recovery, encrypted and HTTP/2 upstreams.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_testkit::client::get;
use tidegate_testkit::origin::{BlackHole, closed_port};
use tidegate_testkit::{Ca, Gateway, Nginx, Origin, Reply, needs, wait};

use crate::{assert_problem, in_front_of, with_policy};

fn tally(gateway: &Gateway, count: usize) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for _request in 0..count {
        let response = get(gateway.address(), "/");
        assert_eq!(response.status, 200, "{}", response.text());
        *tally.entry(response.text()).or_default() += 1;
    }
    tally
}

#[test]
fn weights_are_kept_exactly_over_a_round() {
    needs!("nginx");
    let (a, b) = (Nginx::pod("a"), Nginx::pod("b"));
    let gateway = Gateway::start(
        "
server: { threads: 1 }
routes: [{ path: /, to: api }]
upstreams: { api: { endpoints: [{ address: <a>, weight: 3 }, <b>] } }
",
        &[("a", &a.address()), ("b", &b.address())],
    );
    let expected = BTreeMap::from([("a".to_owned(), 30), ("b".to_owned(), 10)]);
    assert_eq!(tally(&gateway, 40), expected);
}

#[test]
fn the_same_key_stays_with_its_endpoint() {
    needs!("nginx");
    let pods = [Nginx::pod("a"), Nginx::pod("b"), Nginx::pod("c")];
    let gateway = Gateway::start(
        "
routes: [{ path: /, to: api }]
upstreams: { api: { endpoints: [<a>, <b>, <c>], balance: { hash: { header: x-user } } } }
",
        &[("a", &pods[0].address()), ("b", &pods[1].address()), ("c", &pods[2].address())],
    );
    let ask = |user: &str| {
        let ask = tidegate_testkit::Ask::new("GET", "/").field("X-User", user);
        ask.send(gateway.address()).text()
    };
    let mut seen = std::collections::BTreeSet::new();
    for user in 0..30 {
        let user = format!("user-{user}");
        let pod = ask(&user);
        assert_eq!(ask(&user), pod);
        seen.insert(pod);
    }
    assert_eq!(seen.len(), 3, "30 keys use all endpoints: {seen:?}");
}

#[test]
fn an_unhealthy_pod_gets_nothing_until_it_recovers() {
    needs!("nginx");
    let (mut a, b) = (Nginx::pod("a"), Nginx::pod("b"));
    let gateway = Gateway::start(
        "
routes: [{ path: /, to: api }]
upstreams:
  api:
    endpoints: [<a>, <b>]
    health: { path: /healthz, interval: 100ms, timeout: 500ms, rise: 2, fall: 2, expect: { status: [200], body: ok } }
",
        &[("a", &a.address()), ("b", &b.address())],
    );
    wait::until("both serve", || tally(&gateway, 4).len() == 2);
    a.kill();
    let only_b = || tally(&gateway, 8) == BTreeMap::from([("b".to_owned(), 8)]);
    assert!(only_b(), "a refused connect is retried on the other pod");
    wait::until("the check finds it", || healthy_endpoints(&gateway) == 1);
    a.restart();
    wait::until("the pod is back", || tally(&gateway, 8).len() == 2);
}

/// How many endpoints `/upstreams` calls healthy, whatever its shape.
fn healthy_endpoints(gateway: &Gateway) -> usize {
    let page = get(gateway.admin(), "/upstreams");
    assert_eq!(page.status, 200);
    page.text().replace(' ', "").matches("\"healthy\":true").count()
}

#[test]
fn with_nothing_healthy_it_says_503_and_recovers_by_itself() {
    needs!("nginx");
    let mut pod = Nginx::pod("a");
    let gateway = Gateway::start(
        "
routes: [{ path: /, to: api }]
upstreams:
  api: { endpoints: [<a>], health: { path: /healthz, interval: 100ms, timeout: 500ms, rise: 1, fall: 1 } }
",
        &[("a", &pod.address())],
    );
    wait::until("it serves", || get(gateway.address(), "/").status == 200);
    pod.kill();
    wait::until("it is found", || get(gateway.address(), "/").status == 503);
    let refused = get(gateway.address(), "/");
    assert_problem(&refused, 503, "no_healthy_upstream");
    assert!(refused.header("retry-after").is_some(), "RFC 9110 §15.6.4");
    pod.restart();
    wait::until("it recovers", || get(gateway.address(), "/").status == 200);
}

#[test]
fn tcp_checks_see_a_closed_port() {
    let address = closed_port();
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = Gateway::start(
        "
routes: [{ path: /, to: api }]
upstreams: { api: { endpoints: [<closed>, <origin>], health: { type: tcp, interval: 100ms, fall: 1 } } }
",
        &[("closed", &address), ("origin", &origin.address())],
    );
    wait::until("the check finds it", || healthy_endpoints(&gateway) == 1);
    for _request in 0..6 {
        assert_eq!(get(gateway.address(), "/").status, 200);
    }
}

#[test]
fn a_refused_connect_is_tried_elsewhere_without_health_checks() {
    let address = closed_port();
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = Gateway::start(
        "
routes: [{ path: /, to: api, retries: { attempts: 1 } }]
upstreams: { api: { endpoints: [<closed>, <origin>] } }
",
        &[("closed", &address), ("origin", &origin.address())],
    );
    for _request in 0..10 {
        assert_eq!(get(gateway.address(), "/").status, 200);
    }
    assert_eq!(origin.received().len(), 10);
}

#[test]
fn a_pool_of_closed_ports_is_502_with_its_reason() {
    let address = closed_port();
    let gateway = in_front_of(address);
    assert_problem(&get(gateway.address(), "/"), 502, "upstream_connect_failed");
}

#[test]
fn connections_to_the_origin_are_kept_alive() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = Gateway::start(
        "server: { threads: 1 }
routes: [{ path: /, to: api }]
upstreams: { api: { endpoints: [<origin>] } }
",
        &[("origin", &origin.address())],
    );
    for _request in 0..20 {
        assert_eq!(get(gateway.address(), "/").status, 200);
    }
    assert!(origin.connections() <= 3, "{} connections for 20 requests", origin.connections());
}

#[test]
fn a_name_is_resolved() {
    needs!("nginx");
    let pod = Nginx::pod("by name");
    let gateway = Gateway::start(
        "
routes: [{ path: /, to: api }]
upstreams: { api: { endpoints: ['localhost:<port>'] } }
",
        &[("port", &pod.address().port())],
    );
    wait::until("it resolves", || get(gateway.address(), "/").text() == "by name");
}

#[test]
fn an_encrypted_upstream_is_verified() {
    needs!("nginx");
    let ca = Ca::new("pods");
    let leaf = ca.server(&["pods.internal"]);
    let files = [("cert.pem", leaf.cert.as_str()), ("key.pem", leaf.key.as_str())];
    let server = "ssl_certificate cert.pem; ssl_certificate_key key.pem;
                  location / { return 200 'sni=$ssl_server_name'; }";
    let pod = Nginx::listening("ssl", server, &files);
    let config = "
routes:
  - { id: good, path: /good, to: good }
  - { id: name, path: /name, to: name }
  - { id: ca, path: /ca, to: ca }
upstreams:
  good: { endpoints: [<pod>], tls: { ca: <dir>/ca.pem, sni: pods.internal } }
  name: { endpoints: [<pod>], tls: { ca: <dir>/ca.pem, sni: other.internal } }
  ca: { endpoints: [<pod>], tls: { ca: <dir>/stranger.pem, sni: pods.internal } }
";
    let gateway = Gateway::builder(config)
        .set("pod", pod.address())
        .file("ca.pem", ca.pem())
        .file("stranger.pem", Ca::new("stranger").pem())
        .start();
    // Several times: a connection that one trust domain verified must not serve another.
    for _round in 0..3 {
        assert_eq!(get(gateway.address(), "/good").text(), "sni=pods.internal");
        assert_problem(&get(gateway.address(), "/name"), 502, "upstream_tls_failed");
        assert_problem(&get(gateway.address(), "/ca"), 502, "upstream_tls_failed");
    }
}

#[test]
fn an_upstream_that_asks_for_a_certificate_gets_ours() {
    needs!("nginx");
    let ca = Ca::new("pods");
    let leaf = ca.server(&["pods.internal"]);
    let ours = ca.client("tidegate");
    let files =
        [("cert.pem", leaf.cert.as_str()), ("key.pem", leaf.key.as_str()), ("ca.pem", ca.pem())];
    let server = "ssl_certificate cert.pem; ssl_certificate_key key.pem;
                  ssl_client_certificate ca.pem; ssl_verify_client on;
                  location / { return 200 '$ssl_client_s_dn'; }";
    let pod = Nginx::listening("ssl", server, &files);
    let config = "
routes: [{ path: /, to: api }]
upstreams:
  api:
    endpoints: [<pod>]
    tls: { ca: <dir>/ca.pem, sni: pods.internal, cert: <dir>/ours.pem, key: <dir>/ours.key }
";
    let gateway = Gateway::builder(config)
        .set("pod", pod.address())
        .file("ca.pem", ca.pem())
        .file("ours.pem", &ours.cert)
        .file("ours.key", &ours.key)
        .start();
    assert!(get(gateway.address(), "/").text().contains("CN=tidegate"));
}

#[test]
fn an_http2_upstream_is_spoken_to_in_http2() {
    needs!("nginx");
    let pod = Nginx::listening("http2", "location / { return 200 '$server_protocol'; }", &[]);
    let gateway = Gateway::start(
        "
routes: [{ path: /, to: api }]
upstreams: { api: { endpoints: [<pod>], protocol: h2 } }
",
        &[("pod", &pod.address())],
    );
    assert_eq!(get(gateway.address(), "/").text(), "HTTP/2.0");
}

#[test]
fn a_slow_connect_ends_in_its_timeout() {
    let hole = BlackHole::open();
    let policy = "{ timeouts: { connect: 300ms }, retries: { attempts: 0 } }";
    let gateway = with_policy(hole.address(), policy);
    let (took, response) = wait::timed(|| get(gateway.address(), "/"));
    assert_problem(&response, 504, "upstream_connect_timeout");
    assert!(took < Duration::from_secs(5), "{took:?}");
}
