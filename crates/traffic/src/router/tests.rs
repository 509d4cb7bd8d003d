//! Tables of what the router takes, in which order, and what it refuses to compile.

use http::Method;

use super::{Lookup, RouteMatch, Router};
use crate::testing::RequestParts;

fn routes(json: &str) -> Vec<RouteMatch> {
    serde_json::from_str(json).unwrap()
}

/// `request` is a method and an absolute URI, then `name: value` header fields; all split by two
/// spaces. `expected` is the index of the route, `404`, or `405` and the methods.
#[track_caller]
fn check(json: &str, request: &str, expected: &str) {
    let router = Router::compile(routes(json)).unwrap();
    let mut parts = request.split("  ");
    let (method, uri) = parts.next().unwrap().split_once(' ').unwrap();
    let builder = http::Request::builder().method(method).uri(uri);
    let builder = parts.fold(builder, |builder, field| {
        let (name, value) = field.split_once(": ").unwrap();
        builder.header(name, value)
    });
    let found = match router.find(&RequestParts::new(builder).request()) {
        Lookup::Found { route, .. } => route.to_string(),
        Lookup::MethodNotAllowed(methods) => {
            format!("405 {}", methods.iter().map(Method::as_str).collect::<Vec<_>>().join(","))
        }
        Lookup::NotFound => "404".to_owned(),
    };
    assert_eq!(found, expected, "{request}");
}

#[test]
fn a_more_specific_host_precedes() {
    let json = r#"[{}, {"host":"*.t"}, {"host":"*.x.t"}, {"host":["a.x.t","B.x.t."]}]"#;
    check(json, "GET http://a.x.t/", "3");
    check(json, "GET http://b.x.t/", "3");
    check(json, "GET http://c.x.t/", "2");
    check(json, "GET http://a.a.x.t/", "2");
    check(json, "GET http://x.t/", "1");
    check(json, "GET http://t/", "0");
    check(json, "GET http://ax.t/", "1");
    check(r#"[{"host":"a.t"}]"#, "GET http://b.t/", "404");
}

#[test]
fn a_host_without_the_path_leaves_it_to_wider_hosts() {
    let json = r#"[{"path":"/x"}, {"host":"*.t","path":"/y"}, {"host":"a.t","path":"/z"}]"#;
    check(json, "GET http://a.t/x", "0");
    check(json, "GET http://a.t/y", "1");
    check(json, "GET http://a.t/z", "2");
    check(json, "GET http://a.t/", "404");
}

#[test]
fn exact_precedes_longer_prefix_precedes_longer_regex() {
    let json = r#"[
        {"path":{"exact":"/a/b"}}, {"path":"/a/b"}, {"path":"/a/"},
        {"path":{"regex":"^/[a-z]/.*"}}, {"path":{"regex":"^/[a-z]+"}}]"#;
    check(json, "GET http://t/a/b", "0");
    check(json, "GET http://t/a/b/", "1");
    check(json, "GET http://t/a/b/c", "1");
    check(json, "GET http://t/a/bc", "2");
    check(json, "GET http://t/a", "2");
    check(json, "GET http://t/b/c", "3");
    check(json, "GET http://t/ab", "4");
    check(json, "GET http://t/", "404");
}

#[test]
fn methods_then_conditions_precede() {
    let json = r#"[
        {"path":"/"}, {"path":"/","methods":["GET"]}, {"path":"/","headers":{"x-v":"2"}},
        {"path":"/","headers":{"x-v":"2"},"query":{"q":{"present":true}}},
        {"path":"/","methods":["POST"],"headers":{"x-v":{"regex":"^[0-9]+$"}}}]"#;
    check(json, "GET http://t/", "1");
    check(json, "GET http://t/  x-v: 2", "1");
    check(json, "PUT http://t/  x-v: 2", "2");
    check(json, "PUT http://t/?q  x-v: 2", "3");
    check(json, "PUT http://t/?q  x-v: 3", "0");
    check(json, "POST http://t/  x-v: 3", "4");
    check(json, "POST http://t/  x-v: v3", "0");
}

#[test]
fn the_first_value_counts_and_queries_are_decoded() {
    let json = r#"[{"headers":{"x-v":"1"}}, {"path":"/q","query":{"a b":"c&d"}}, {"path":"/r","query":{"r":{"regex":"^ü$"}}}]"#;
    check(json, "GET http://t/  x-v: 1  x-v: 2", "0");
    check(json, "GET http://t/  x-v: 2  x-v: 1", "404");
    check(json, "GET http://t/q?a+b=c%26d", "1");
    check(json, "GET http://t/q?a%20b=c%26d&a+b=x", "1");
    check(json, "GET http://t/q?a+b=x&a+b=c%26d", "404");
    check(json, "GET http://t/r?r=%C3%BC", "2");
}

#[test]
fn a_scheme_is_a_condition() {
    let json = r#"[{}, {"scheme":"http"}]"#;
    check(json, "GET http://t/", "1");
    check(json, "GET https://t/", "0");
}

#[test]
fn another_method_is_told_what_is_allowed() {
    let json = r#"[
        {"path":"/a","methods":["GET","PURGE"]}, {"path":"/a/b","methods":["DELETE"]},
        {"host":"x.t","path":"/a","methods":["PUT"],"headers":{"x-v":"1"}}]"#;
    check(json, "POST http://t/a", "405 GET,PURGE");
    check(json, "POST http://t/a/b/c", "405 DELETE,GET,PURGE");
    check(json, "POST http://x.t/a", "405 GET,PURGE");
    check(json, "POST http://x.t/a  x-v: 1", "405 GET,PURGE,PUT");
    check(json, "GET http://t/a/b", "0");
    check(json, "POST http://t/b", "404");
}

#[test]
fn a_request_about_the_server_takes_no_prefix() {
    let router = Router::compile(routes("[{}]")).unwrap();
    let parts = RequestParts::get("http://t/");
    let request = tidegate_core::Request { path: "*", ..parts.request() };
    assert_eq!(router.find(&request), Lookup::NotFound);
}

#[track_caller]
fn check_len(path: &str, uri: &str, expected: usize) {
    let router = Router::compile(routes(&format!(r#"[{{"path":{path}}}]"#))).unwrap();
    let found = router.find(&RequestParts::get(uri).request());
    assert_eq!(found, Lookup::Found { route: 0, matched_len: expected });
}

#[test]
fn a_lookup_says_how_much_of_the_path_matched() {
    check_len(r#""/""#, "http://t/a", 0);
    check_len(r#""/a/""#, "http://t/a/b", 2);
    check_len(r#""/a""#, "http://t/a", 2);
    check_len(r#"{"exact":"/a/"}"#, "http://t/a/", 3);
    check_len(r#"{"regex":"^/v[0-9]+/"}"#, "http://t/v12/x", 5);
}

#[track_caller]
fn check_refused(json: &str, expected: &[&str]) {
    let errors = Router::compile(routes(json)).unwrap_err();
    let found: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
}

#[test]
fn routes_that_collide_are_refused_by_name() {
    check_refused(
        r#"[{"id":"a","path":"/x"}, {"id":"b","path":"/x/"}]"#,
        &["route 1: routes `a` and `b` match the same"],
    );
    check_refused(
        r#"[{"id":"a","host":["x.t","y.t"]}, {"id":"b","host":"y.t"}]"#,
        &["route 1: routes `a` and `b` match the same on host y.t"],
    );
    check_refused(
        r#"[{"id":"a","methods":["GET","PUT"]}, {"id":"b","methods":["PUT","POST"]}]"#,
        &["route 1: routes `a` and `b` tie: a request can match both, and neither precedes"],
    );
    check_refused(
        r#"[{"id":"a","headers":{"x-a":"1"}}, {"id":"b","headers":{"x-b":"1"}}]"#,
        &["route 1: routes `a` and `b` tie: a request can match both, and neither precedes"],
    );
    check_refused(
        r#"[{"id":"a","path":{"regex":"^/[a-f]+"}}, {"id":"b","path":{"regex":"^/[f-z]+"}}]"#,
        &["route 1: routes `a` and `b` tie: a request can match both, and neither precedes"],
    );
    check_refused(
        r#"[{"id":"a","path":"/x"}, {"id":"a","path":"/y"}]"#,
        &["route 1: id: the id `a` is taken by another route"],
    );
    check_refused(
        r#"[{"path":"/x"}, {"path":"/x"}]"#,
        &["route 1: id: the id `/x` is taken by another route"],
    );
}

#[test]
fn routes_that_exclude_each_other_are_no_tie() {
    for json in [
        r#"[{"methods":["GET"]}, {"methods":["PUT"]}]"#,
        r#"[{"headers":{"x-a":"1"}}, {"headers":{"x-a":"2"}}]"#,
        r#"[{"headers":{"x-a":{"present":false}}}, {"headers":{"x-a":{"present":true}}}]"#,
        r#"[{"scheme":"http"}, {"scheme":"https"}]"#,
        r#"[{"path":{"regex":"^/a/[a-z]"}}, {"path":{"regex":"^/b/[a-z]"}}]"#,
        r#"[{"path":{"regex":"^/a"}}, {"path":{"regex":"^/ab"}}]"#,
    ] {
        assert!(Router::compile(routes(json)).is_ok(), "{json}");
    }
}

#[test]
fn a_route_behind_a_wider_one_is_refused() {
    let message = "cannot be reached: the prefix of `all` takes all its requests, and prefixes \
                   precede regexes";
    check_refused(
        r#"[{"id":"all"}, {"id":"v","path":{"regex":"^/v[0-9]+/"}}]"#,
        &[&format!("route 1: path: route `v` {message}")],
    );
    check_refused(
        r#"[{"id":"all","path":"/a"}, {"id":"v","path":{"regex":"^/a/b.*"},"methods":["GET"]}]"#,
        &[&format!("route 1: path: route `v` {message}")],
    );
    for json in [
        r#"[{"path":"/","methods":["GET"]}, {"path":{"regex":"^/v"}}]"#,
        r#"[{"path":"/","headers":{"x-a":"1"}}, {"path":{"regex":"^/v"}}]"#,
        r#"[{"path":"/a"}, {"path":{"regex":"^/a.*"}}]"#,
        r#"[{"path":"/a","host":"x.t"}, {"path":{"regex":"^/a/.*"}}]"#,
    ] {
        assert!(Router::compile(routes(json)).is_ok(), "{json}");
    }
}

#[test]
fn malformed_parts_are_all_reported() {
    check_refused(
        r#"[{"host":"a b","path":"x","methods":["get"],"headers":{"a b":"1"}},
            {"host":["x.t","x.t"],"path":{"regex":"/a"},"methods":[]},
            {"host":[],"path":{"regex":"^("},"query":{"q":{"regex":"("}}},
            {"path":{"regex":"^/caf\u00e9"}},
            {"id":" ","path":"/a/../b","methods":["TRACE","GET","GET","G T"],"headers":{"host":"x"}}]"#,
        &[
            "route 0: host: `a b` is not a host",
            "route 0: path: `x` is not a path, since it does not start with a slash",
            "route 0: methods.0: methods are case-sensitive, and get is not one",
            "route 0: headers.a b: `a b` is not a header name",
            "route 1: host.1: the host x.t is listed twice",
            "route 1: path: the regex `/a` is not anchored at the start of the path",
            "route 1: methods: the list of methods is empty",
            "route 2: host: the list of hosts is empty",
            "route 2: path: `^(` is not a usable regex: regex parse error:\n    ^(\n     ^\nerror: unclosed group",
            "route 2: query.q.regex: `(` is not a usable regex: regex parse error:\n    (\n    ^\nerror: unclosed group",
            "route 3: path: the regex `^/caf\u{e9}` is not ASCII, which every path is",
            "route 4: id: the id is empty",
            "route 4: path: `/a/../b` is not canonical, so that no request would match it",
            "route 4: methods.0: TRACE is refused before any route is looked for",
            "route 4: methods.2: the method GET is listed twice",
            "route 4: methods.3: `G T` is not a method",
            "route 4: headers.host: the Host field is not matched as a header",
        ],
    );
}

#[track_caller]
fn check_shape(json: &str, expected: &str) {
    let error = serde_json::from_str::<RouteMatch>(json).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn shapes_say_what_they_expect() {
    check_shape(r#"{"hots":"a"}"#, "unknown field `hots`");
    check_shape(r#"{"host":1}"#, "expected a host such as api.example.com");
    check_shape(r#"{"path":{"exct":"/"}}"#, "unknown field `exct`, expected one of `exact`");
    check_shape(r#"{"path":{}}"#, "a path takes exactly one of");
    check_shape(r#"{"path":{"exact":"/","prefix":"/"}}"#, "a path takes exactly one of");
    check_shape(r#"{"path":["/"]}"#, "expected a path prefix, or a map");
    check_shape(r#"{"query":{"q":1}}"#, "expected a string (in quotes), or a map");
    check_shape(r#"{"query":{"q":{"present":true,"exact":"x"}}}"#, "exactly one of");
    check_shape(r#"{"scheme":"ftp"}"#, "unknown variant `ftp`");
}

#[test]
fn an_id_is_derived_from_the_match_alone() {
    for (json, id) in [
        ("{}", "/"),
        (r#"{"id":"pay","path":"/x"}"#, "pay"),
        (r#"{"host":"a.t","path":"/pay/"}"#, "a.t/pay/"),
        (
            r#"{"path":{"exact":"/x"},"methods":["GET","PUT"],"scheme":"http"}"#,
            "/x exact GET,PUT http",
        ),
        (
            r#"{"headers":{"x-a":"1","x-b":{"present":false}},"query":{"q":{"regex":"^1"}}}"#,
            "/ x-a=1 x-b! q~^1",
        ),
    ] {
        assert_eq!(serde_json::from_str::<RouteMatch>(json).unwrap().id(), id);
    }
}
