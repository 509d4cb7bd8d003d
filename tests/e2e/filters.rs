//! What is changed on the way: redirects, rewrites, header filters, forwarding headers.

use tidegate_testkit::client::get;
use tidegate_testkit::{Ask, Connection, Gateway, Origin, Reply};

use crate::in_front_of;

#[test]
fn a_redirect_answers_itself() {
    let origin = Origin::start(Reply::ok("never"));
    let gateway = Gateway::start(
        "
routes:
  - { path: /old/, redirect: { status: 308, scheme: https, host: new.example.com, path: /new } }
  - { path: /, to: api }
upstreams: { api: { endpoints: [<origin>] } }
",
        &[("origin", &origin.address())],
    );
    let response = get(gateway.address(), "/old/x");
    assert_eq!(response.status, 308);
    let location = response.header("location").expect("a location");
    assert!(location.starts_with("https://new.example.com/new"), "{location}");
    assert!(origin.received().is_empty());
}

#[test]
fn prefixes_and_patterns_are_rewritten_and_the_query_stays() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = Gateway::start(
        "
routes:
  - { path: /api/, to: api, rewrite: { prefix: / } }
  - { path: { regex: '^/a/' }, to: api, rewrite: { regex: '^/a/(.*)', with: '/b/$1' } }
upstreams: { api: { endpoints: [<origin>] } }
",
        &[("origin", &origin.address())],
    );
    let check = |target: &str, expected: &str| {
        assert_eq!(get(gateway.address(), target).status, 200);
        assert_eq!(origin.received().last().expect("a request").target, expected);
    };
    check("/api/v1/x?q=1&r=%20", "/v1/x?q=1&r=%20");
    check("/api/", "/");
    check("/a/x/y", "/b/x/y");
}

#[test]
fn header_filters_set_add_and_remove_on_both_ways() {
    let reply = Reply::ok("ok").with("X-Powered-By", "php").with("X-Keep", "1");
    let origin = Origin::start(reply);
    let gateway = Gateway::start(
        "
routes:
  - path: /
    to: api
    request_headers: { set: { x-set: new }, add: { x-add: two }, remove: [x-secret] }
    response_headers: { set: { x-frame-options: DENY }, remove: [x-powered-by] }
upstreams: { api: { endpoints: [<origin>] } }
",
        &[("origin", &origin.address())],
    );
    let ask =
        Ask::new("GET", "/").field("X-Set", "old").field("X-Add", "one").field("X-Secret", "s");
    let response = ask.send(gateway.address());
    assert_eq!(response.header("x-frame-options"), Some("DENY"));
    assert_eq!(response.header("x-powered-by"), None);
    assert_eq!(response.header("x-keep"), Some("1"));
    let request = &origin.received()[0];
    assert_eq!(request.header("x-set"), Some("new"));
    assert_eq!(request.header("x-secret"), None);
    let added: Vec<_> =
        request.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-add")).collect();
    assert_eq!(added.len(), 2, "{added:?}");
}

#[test]
fn the_origin_learns_who_asked_and_a_client_cannot_pretend() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = in_front_of(origin.address());
    let ask = Ask::new("GET", "/")
        .field("X-Forwarded-For", "203.0.113.9")
        .field("X-Forwarded-Proto", "https")
        .field("X-Request-ID", "chosen-by-the-client");
    assert_eq!(ask.send(gateway.address()).status, 200);
    let request = &origin.received()[0];
    assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.header("x-forwarded-proto"), Some("http"));
    let id = request.header("x-request-id").expect("a request id");
    assert_ne!(id, "chosen-by-the-client");
}

#[test]
fn hop_by_hop_fields_stay_on_their_hop() {
    let origin = Origin::start(Reply::ok("ok").with("Keep-Alive", "timeout=5"));
    let gateway = in_front_of(origin.address());
    let mut connection = Connection::open(gateway.address());
    let response = Ask::new("GET", "/")
        .field("Connection", "x-hop, keep-alive")
        .field("X-Hop", "1")
        .field("Proxy-Authorization", "Basic eA==")
        .send_on(&mut connection);
    assert_eq!(response.status, 200);
    assert_eq!(response.header("keep-alive"), None);
    let request = &origin.received()[0];
    assert_eq!(request.header("x-hop"), None);
    assert_eq!(request.header("proxy-authorization"), None);
}

#[test]
fn a_client_cannot_strip_what_the_gateway_adds() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = in_front_of(origin.address());
    let ask = Ask::new("GET", "/").field("Connection", "X-Forwarded-For, X-Request-ID");
    let response = ask.send_on(&mut Connection::open(gateway.address()));
    // Refusing it is as good as adding the fields after the client's wish was granted.
    if response.status == 200 {
        let request = &origin.received()[0];
        assert_eq!(request.header("x-forwarded-for"), Some("127.0.0.1"));
        assert!(request.header("x-request-id").is_some());
    } else {
        assert_eq!(response.status, 400);
    }
}
