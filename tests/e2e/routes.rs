//! Requests find their route: host, path, method, header and query, through to real pods.

use tidegate_testkit::client::get;
use tidegate_testkit::{Ask, Gateway, Nginx, Origin, Reply, Response, needs};

use crate::assert_problem;

const CONFIG: &str = "
routes:
  - { id: any, path: /, to: fallback }
  - { id: api, host: api.example.com, path: /, to: api }
  - { id: wild, host: '*.example.com', path: /, to: wild }
  - { id: exact, host: api.example.com, path: { exact: /only }, to: exact }
  - { id: regex, host: old.example.com, path: { regex: '^/v[0-9]+/' }, to: regex }
  - { id: pay, host: api.example.com, path: /pay/, methods: [POST], to: pay }
  - { id: beta, host: api.example.com, path: /, headers: { x-version: v2 }, to: beta }
  - { id: debug, host: api.example.com, path: /debug/, query: { level: '1' }, to: debug }
upstreams:
  fallback: { endpoints: [<fallback>] }
  api: { endpoints: [<api>] }
  wild: { endpoints: [<wild>] }
  exact: { endpoints: [<exact>] }
  regex: { endpoints: [<regex>] }
  pay: { endpoints: [<pay>] }
  beta: { endpoints: [<beta>] }
  debug: { endpoints: [<debug>] }
";

#[test]
fn each_request_reaches_the_pod_of_its_route() {
    needs!("nginx");
    let names = ["fallback", "api", "wild", "exact", "regex", "pay", "beta", "debug"];
    let pods = names.map(|name| (name, Nginx::pod(name)));
    let builder = Gateway::builder(CONFIG);
    let builder =
        pods.iter().fold(builder, |builder, (name, pod)| builder.set(name, pod.address()));
    let gateway = builder.start();
    let check = |ask: Ask, expected: &str| {
        let bytes = String::from_utf8(ask.bytes()).expect("text");
        assert_eq!(ask.send(gateway.address()).text(), expected, "{bytes}");
    };
    let api = |method: &str, target: &str| Ask::new(method, target).host("api.example.com");
    check(Ask::new("GET", "/x").host("nobody.test"), "fallback");
    check(api("GET", "/x"), "api");
    check(api("GET", "/x").host("API.Example.com:8443"), "api");
    check(Ask::new("GET", "/x").host("a.b.example.com"), "wild");
    check(api("GET", "/only"), "exact");
    check(api("GET", "/only/more"), "api");
    check(Ask::new("GET", "/v12/x").host("old.example.com"), "regex");
    check(Ask::new("GET", "/vv/x").host("old.example.com"), "wild");
    check(api("POST", "/pay/1").body(""), "pay");
    check(api("GET", "/x").field("X-Version", "v2"), "beta");
    check(api("GET", "/debug/x?level=1"), "debug");
    check(api("GET", "/debug/x?level=2"), "api");
}

#[test]
fn dot_segments_and_encoded_letters_do_not_lead_around_a_route() {
    let open = Origin::start(Reply::ok("open"));
    let closed = Origin::start(Reply::ok("closed"));
    let gateway = Gateway::start(
        "
routes:
  - { path: /, to: open }
  - { path: /admin/, to: closed }
upstreams: { open: { endpoints: [<open>] }, closed: { endpoints: [<closed>] } }
",
        &[("open", &open.address()), ("closed", &closed.address())],
    );
    for target in ["/admin/x", "/x/../admin/x", "/%61dmin/x", "//admin/x", "/./admin//x"] {
        let response = get(gateway.address(), target);
        assert!(response.status == 400 || response.text() == "closed", "{target}: {response:?}");
    }
}

#[test]
fn unknown_paths_are_404_and_other_methods_405_with_allow() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = Gateway::start(
        "
routes: [{ path: /pay/, methods: [POST, PUT], to: api }]
upstreams: { api: { endpoints: [<origin>] } }
",
        &[("origin", &origin.address())],
    );
    assert_problem(&get(gateway.address(), "/other"), 404, "no_route");
    let refused = get(gateway.address(), "/pay/1");
    assert_problem(&refused, 405, "method_not_allowed");
    let allow = refused.header("allow").expect("Allow, RFC 9110 §15.5.6");
    assert!(allow.contains("POST") && allow.contains("PUT"), "{allow}");
    assert!(origin.received().is_empty());
}

#[test]
fn every_refusal_carries_the_request_id_of_the_log() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = Gateway::start(
        "
routes: [{ path: /only/, to: api }]
upstreams: { api: { endpoints: [<origin>] } }
",
        &[("origin", &origin.address())],
    );
    let response: Response = get(gateway.address(), "/nothing");
    let id = response.json()["request_id"].as_str().expect("a request id").to_owned();
    let line = gateway.logged(|line| line["request_id"] == id.as_str());
    assert_eq!(line["reason"], "no_route");
    assert_eq!(line["status"], 404);
}

#[test]
fn an_encoded_slash_passes_only_where_the_configuration_keeps_it() {
    const ROUTES: &str = "
routes: [{ path: /, to: origin }]
upstreams: { origin: { endpoints: [<origin>] } }
";
    let origin = Origin::script(|request| Reply::ok(request.target.clone()));
    let strict = Gateway::start(ROUTES, &[("origin", &origin.address())]);
    let refused = get(strict.address(), "/@scope%2fname");
    assert_problem(&refused, 400, "ambiguous_request");
    let lenient = format!("encoded_slash: keep\n{ROUTES}");
    let lenient = Gateway::start(&lenient, &[("origin", &origin.address())]);
    assert_eq!(get(lenient.address(), "/@scope%2fname").text(), "/@scope%2Fname");
}
