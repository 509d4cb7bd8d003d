//! What people see when a configuration is wrong: each error at one glance, all of them at once.
//!
//! A case is the wrong part; the parts that it does not mention are added behind it, so that
//! nothing else is wrong. An error is shown as `line:column path: message (help)`.

#![cfg(test)]

use std::fs;

use tidegate_engine::{Config, ConfigErrors, Snapshot};

const REST: [(&str, &str); 3] = [
    ("listeners:", "listeners: [{ address: 127.0.0.1:8080 }]\n"),
    ("routes:", "routes: [{ path: /, to: api }]\n"),
    ("upstreams:", "upstreams: { api: { endpoints: [127.0.0.1:9000] } }\n"),
];

fn errors(text: &str) -> ConfigErrors {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("edge.yaml");
    fs::write(&file, text).unwrap();
    fs::write(folder.path().join("a.key"), "-----BEGIN PRIVATE KEY-----\n").unwrap();
    fs::write(folder.path().join("a.crt"), "-----BEGIN CERTIFICATE-----\n").unwrap();
    fs::write(folder.path().join("a.txt"), "hello\n").unwrap();
    fs::write(folder.path().join("short"), "hunter2\n").unwrap();
    Config::load(&file)
        .and_then(|config| Snapshot::compile(&config, None))
        .map(|_| panic!("this is not broken:\n{text}"))
        .unwrap_err()
}

fn lines(text: &str) -> Vec<String> {
    errors(text)
        .errors()
        .iter()
        .map(|error| {
            let folder = error.file.strip_suffix("edge.yaml").unwrap_or_default();
            let path = if error.path.is_empty() { "-" } else { &error.path };
            let hint = error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("{}:{} {path}: {}{hint}", error.line, error.column, error.message)
                .replace(folder, "")
        })
        .collect()
}

/// Checks the wrong part among parts that are right.
#[track_caller]
fn check(part: &str, expected: &[&str]) {
    let given = |key: &str| part.starts_with(key) || part.contains(&format!("\n{key}"));
    let rest: String = REST.iter().filter(|(key, _)| !given(key)).map(|(_, text)| *text).collect();
    assert_eq!(lines(&format!("{part}\n{rest}")), expected, "{part}");
}

/// Checks a whole file.
#[track_caller]
fn check_whole(text: &str, expected: &[&str]) {
    assert_eq!(lines(text), expected, "{text}");
}

#[test]
fn files_that_hold_something_else() {
    check_whole(
        "",
        &["1:1 -: the file is empty (a configuration needs listeners, routes and upstreams)"],
    );
    check_whole("hello", &["1:1 -: expected a map, found the string `hello`"]);
    check_whole("- 1", &["1:1 -: expected a map, found a list"]);
}

#[test]
fn everything_is_reported_at_once() {
    check_whole(
        "\
listeners:
  - adress: 0.0.0.0:80
  - { address: '0.0.0.0:443', tls: { cert: none.crt, key: a.key } }
limits: { idle_timeout: 75, header_bytes: 1B }
routes:
  - { path: /, to: apo, waf: { mode: on } }
  - { path: /x, to: apo, rate_limit: { rate: 1 } }
  - { path: /y, to: apo }
upstreams:
  api: { endpoints: 10.0.0.1:80 }
  more: { endpoints: [] }
",
        &[
            "2:5 listeners[0].adress: unknown key `adress` (did you mean `address`?)",
            "3:44 listeners[1].tls.cert: no such file `none.crt`",
            "4:25 limits.idle_timeout: expected a duration such as 250ms or 30s, found the number 75",
            "4:43 limits.header_bytes: 1B is too small for ordinary requests (write at least 1024B)",
            "6:20 routes[0].to: no upstream is called `apo` (did you mean `api`?)",
            "6:38 routes[0].waf.mode: unknown value `on`, expected `off`, `detect` or `block`",
            "7:21 routes[1].to: no upstream is called `apo` (did you mean `api`?)",
            "7:46 routes[1].rate_limit.rate: expected a rate such as 100/s, found the number 1",
            "8:21 routes[2].to: no upstream is called `apo` (did you mean `api`?)",
            "10:21 upstreams.api.endpoints: expected a list, found the string `10.0.0.1:80` (write `[10.0.0.1:80]`)",
            "11:22 upstreams.more.endpoints: an upstream needs at least one endpoint",
        ],
    );
}

#[test]
fn an_error_in_a_policy_is_reported_once_and_where_it_stands() {
    check(
        "\
policies:
  p:
    waf: { sensitivity: 9 }
routes:
  - { path: /a, to: api, policies: [p] }
  - { path: /b, to: api, policies: [p], waf: { mode: detect } }
",
        &["3:25 policies.p.waf.sensitivity: must be 1, 2, 3 or 4"],
    );
}

#[test]
fn a_secret_is_not_quoted() {
    check(
        "limits: { idle_timeout: '${file:short}' }",
        &[
            "1:25 limits.idle_timeout: `<secret>` is not a duration; write a whole number and a unit, such as 250ms, 30s, 5m, 1h or 2d",
        ],
    );
}

#[test]
fn an_error_is_shown_with_its_line() {
    let text = "listeners:\n  - adress: 0.0.0.0:80\n";
    let shown = errors(text).to_string();
    let expected = "\
edge.yaml:2:5: listeners[0].adress: unknown key `adress`
    2 |   - adress: 0.0.0.0:80
      |     ^^^^^^
      = help: did you mean `address`?";
    assert!(shown.contains(expected), "{shown}");
}

#[test]
fn a_missing_file_is_an_error_of_its_own() {
    let errors = Config::load("/nonexistent/edge.yaml").unwrap_err();
    let expected = "/nonexistent/edge.yaml: no such file `/nonexistent/edge.yaml`";
    assert_eq!(errors.to_string(), expected);
}

#[test]
fn a_file_that_is_no_configuration() {
    check("routes: [\n", &["3:1 -: not YAML: invalid indentation"]);
    check(
        "routes:\n\t- path: /",
        &[
            "2:2 -: not YAML: tabs disallowed within this context (block indentation) (indent with spaces)",
        ],
    );
    check(
        "a: 1\n---\nb: 2",
        &["2:1 -: a second document starts here (put it into a file of its own and `include` it)"],
    );
    check(
        "routes: []\nroutes: []",
        &["2:1 -: the key `routes` is given twice (it is first given in line 1)"],
    );
    check("server: !x {}", &["1:9 -: YAML tags are not supported (leave out the `!…`)"]);
    check(
        "<<: {}",
        &[
            "1:1 -: merge keys are not supported (put the shared fields into a policy and name it in `policies`)",
        ],
    );
    check(
        "server: &a { threads: 1 }\nadmin: *b",
        &["2:8 -: not YAML: while parsing node, found unknown anchor"],
    );
}

#[test]
fn keys_that_nobody_knows() {
    check("listners: []", &["1:1 listners: unknown key `listners` (did you mean `listeners`?)"]);
    check(
        "listeners:\n  - adress: 0.0.0.0:80",
        &["2:5 listeners[0].adress: unknown key `adress` (did you mean `address`?)"],
    );
    check(
        "server: { drain-timeout: 3s }",
        &["1:11 server.drain-timeout: unknown key `drain-timeout` (did you mean `drain_timeout`?)"],
    );
    check(
        "routes:\n  - { pth: /, to: api }",
        &["2:7 routes[0].pth: unknown key `pth` (did you mean `path`?)"],
    );
    check(
        "routes:\n  - { path: /, to: api, rate-limit: { rate: 1/s } }",
        &["2:25 routes[0].rate-limit: unknown key `rate-limit` (did you mean `rate_limit`?)"],
    );
    check(
        "routes:\n  - { path: /, to: api, limit: 3 }",
        &[
            "2:25 routes[0].limit: unknown key `limit` (known here: id, host, path, methods, scheme, headers, query, to, redirect, rewrite, policies, rate_limit, waf, allow, deny, max_body, timeouts, retries, request_headers, response_headers)",
        ],
    );
    check(
        "upstreams:\n  api: { endpoint: [127.0.0.1:1] }",
        &["2:10 upstreams.api.endpoint: unknown key `endpoint` (did you mean `endpoints`?)"],
    );
    check(
        "policies: { a: { waf: { mod: block } } }",
        &["1:25 policies.a.waf.mod: unknown key `mod` (did you mean `mode`?)"],
    );
    check(
        "listeners: [{ address: 0.0.0.0:80, tls: { crt: a } }]",
        &["1:43 listeners[0].tls.crt: unknown key `crt` (did you mean `cert`?)"],
    );
    check(
        "routes: [{ path: { regx: ^/a }, to: api }]",
        &["1:20 routes[0].path.regx: unknown key `regx` (did you mean `regex`?)"],
    );
    check(
        "routes: [{ '(policy)': {}, to: api }]",
        &[r#"1:12 routes[0]."(policy)": unknown key `(policy)`"#],
    );
}

#[test]
fn keys_that_are_missing() {
    check("listeners:\n  - h2c: true", &["2:5 listeners[0]: the key `address` is missing"]);
    check("upstreams: { api: {} }", &["1:19 upstreams.api: the key `endpoints` is missing"]);
    check(
        "routes: [{ path: /, to: api, rate_limit: { burst: 3 } }]",
        &["1:42 routes[0].rate_limit: the key `rate` is missing"],
    );
    check(
        "listeners: [{ address: '0.0.0.0:80', proxy_protocol: {} }]",
        &["1:54 listeners[0].proxy_protocol: the key `from` is missing"],
    );
}

#[test]
fn values_of_the_wrong_type() {
    check("routes: { path: / }", &["1:9 routes: expected a list, found a map"]);
    check(
        "listeners: 0.0.0.0:80",
        &["1:12 listeners: expected a list, found the string `0.0.0.0:80` (write `[0.0.0.0:80]`)"],
    );
    check(
        "listeners: [0.0.0.0:80]",
        &["1:13 listeners[0]: expected a map, found the string `0.0.0.0:80`"],
    );
    check(
        "trusted_proxies: 10.0.0.0/8",
        &[
            "1:18 trusted_proxies: expected a list, found the string `10.0.0.0/8` (write `[10.0.0.0/8]`)",
        ],
    );
    check(
        "server: { threads: two }",
        &["1:20 server.threads: expected a whole number of at least 1, found the string `two`"],
    );
    check(
        "server: { threads: 0 }",
        &["1:20 server.threads: expected a whole number of at least 1, found the number 0"],
    );
    check(
        "server: { threads: -1 }",
        &["1:20 server.threads: expected a whole number of at least 1, found the number -1"],
    );
    check("server: [1]", &["1:9 server: expected a map, found a list"]);
    check(
        "server:",
        &["1:1 server: expected a map, found nothing (give it a value, or remove the key)"],
    );
    check(
        "limits: { idle_timeout: 75 }",
        &[
            "1:25 limits.idle_timeout: expected a duration such as 250ms or 30s, found the number 75",
        ],
    );
    check(
        "limits: { header_bytes: 32 }",
        &["1:25 limits.header_bytes: expected a size such as 64KiB, found the number 32"],
    );
    check(
        "limits: { header_bytes: 32kb }",
        &[
            "1:25 limits.header_bytes: `32kb` is not a size; write a whole number and a unit, such as 512B, 64KiB, 10MB or 1GiB",
        ],
    );
    check(
        "limits: { h2_streams: 5000000000 }",
        &[
            "1:23 limits.h2_streams: expected a whole number of at most 4294967295, found the number 5000000000",
        ],
    );
    check(
        "limits: { connections: 1.5 }",
        &["1:24 limits.connections: expected a whole number, found the number 1.5"],
    );
    check(
        "access_log: on",
        &[
            "1:13 access_log: expected `off` or a map such as {path: /var/log/tidegate/access.log}, found the string `on`",
        ],
    );
    check(
        "access_log: { sample: 120% }",
        &[
            "1:23 access_log.sample: `120%` is not a percentage; write a number from 0% to 100%, such as 5% or 0.5%",
        ],
    );
}

#[test]
fn listeners_and_limits_of_the_wrong_shape() {
    check(
        "listeners: [{ address: '0.0.0.0:80', h2c: yes }]",
        &["1:43 listeners[0].h2c: expected true or false, found the string `yes`"],
    );
    check(
        "listeners: [{ address: ':80' }]",
        &[
            "1:24 listeners[0].address: `:80` is not an address to listen on; write IP:port, such as 0.0.0.0:8443 or [::]:8443",
        ],
    );
    check(
        "listeners: [{ address: 8080 }]",
        &[
            "1:24 listeners[0].address: expected an address such as 0.0.0.0:8443 or [::]:8443, found the number 8080",
        ],
    );
    check(
        "listeners: [{ address: 'localhost:80' }]",
        &[
            "1:24 listeners[0].address: `localhost:80` is not an address to listen on; write IP:port, such as 0.0.0.0:8443 or [::]:8443",
        ],
    );
    check(
        "listeners: [{ address: '0.0.0.0:443', tls: { cert: a.crt, key: a.key, min_version: 1.3 } }]",
        &[
            r#"1:84 listeners[0].tls.min_version: expected `1.2` or `1.3`, found the number 1.3 (put it in quotes: "1.3")"#,
        ],
    );
    check(
        "listeners: [{ address: '0.0.0.0:443', tls: { cert: a.crt, key: a.key, min_version: '1.1' } }]",
        &["1:84 listeners[0].tls.min_version: unknown value `1.1`, expected `1.2` or `1.3`"],
    );
    check(
        "listeners: [{ address: '0.0.0.0:443', tls: { cert: a.crt, key: a.key, alpn: [h3] } }]",
        &["1:78 listeners[0].tls.alpn[0]: unknown value `h3`, expected `h2` or `http/1.1`"],
    );
    check(
        "trusted_proxies: [10.0.0.1/8]",
        &[
            "1:18 trusted_proxies[0]: `10.0.0.1/8` is not a network: bits are set below its prefix; write 10.0.0.0/8",
        ],
    );
    check(
        "trusted_proxies: [cdn]",
        &[
            "1:18 trusted_proxies[0]: `cdn` is not an address or network; write one such as 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32",
        ],
    );
    check(
        "forwarded_header: x-forwarded-for",
        &[
            "1:19 forwarded_header: unknown value `x-forwarded-for`, expected `forwarded` or `x_forwarded_for` (did you mean `x_forwarded_for`?)",
        ],
    );
}

#[test]
fn routes_of_the_wrong_shape() {
    check(
        "routes: [{ path: /, to: api, waf: { mode: on } }]",
        &["1:43 routes[0].waf.mode: unknown value `on`, expected `off`, `detect` or `block`"],
    );
    check(
        "routes: [{ path: /, to: api, waf: detect }]",
        &["1:35 routes[0].waf: expected a map, found the string `detect`"],
    );
    check(
        "routes: [{ path: /, to: api, rate_limit: 100/s }]",
        &[
            "1:42 routes[0].rate_limit: expected a map such as `{ rate: 100/s }`, or a list of them, found the string `100/s`",
        ],
    );
    check(
        "routes: [{ path: /, to: api, rate_limit: { rate: 100 } }]",
        &["1:50 routes[0].rate_limit.rate: expected a rate such as 100/s, found the number 100"],
    );
    check(
        "routes: [{ path: /, to: api, rate_limit: { rate: 1/s, key: ip } }]",
        &[
            "1:60 routes[0].rate_limit.key: unknown value `ip`, expected `client_ip`, `route` or `header`",
        ],
    );
    check(
        "routes: [{ path: /, to: [api] }]",
        &["1:25 routes[0].to: expected the name of an upstream, found a list"],
    );
    check(
        "routes: [{ path: /, to: api, methods: POST }]",
        &["1:39 routes[0].methods: expected a list, found the string `POST` (write `[POST]`)"],
    );
    check(
        "routes: [{ path: /, to: api, headers: { x: 1 } }]",
        &[
            "1:44 routes[0].headers.x: expected a string (in quotes), or a map with one of `exact`, `present`, `regex`, found the number 1",
        ],
    );
    check(
        "routes: [{ path: { exact: /a, prefix: /b }, to: api }]",
        &["1:18 routes[0].path: a path takes exactly one of `exact`, `prefix`, `regex`"],
    );
}

#[test]
fn upstreams_of_the_wrong_shape() {
    check(
        "upstreams: { api: { endpoints: [] } }",
        &["1:32 upstreams.api.endpoints: an upstream needs at least one endpoint"],
    );
    check(
        "upstreams: { api: { endpoints: [10.0.0.1] } }",
        &[
            "1:33 upstreams.api.endpoints[0]: `10.0.0.1` is not an endpoint: it needs a port, such as 10.0.1.11:8080 or [2001:db8::1]:8080",
        ],
    );
    check(
        "upstreams: { api: { endpoints: ['http://10.0.0.1:80'] } }",
        &[
            "1:33 upstreams.api.endpoints[0]: `http://10.0.0.1:80` is not an endpoint: write host:port without a scheme; `tls` and `protocol` say how to speak",
        ],
    );
    check(
        "upstreams: { api: { endpoints: 10.0.0.1:80 } }",
        &[
            "1:32 upstreams.api.endpoints: expected a list, found the string `10.0.0.1:80` (write `[10.0.0.1:80]`)",
        ],
    );
    check(
        "upstreams: { api: { endpoints: [{ address: '10.0.0.1:80', weight: -1 }] } }",
        &[
            "1:67 upstreams.api.endpoints[0].weight: expected a whole number of at least 0, found the number -1",
        ],
    );
    check(
        "upstreams: { api: { endpoints: ['10.0.0.1:80'], balance: fastest } }",
        &[
            "1:58 upstreams.api.balance: unknown value `fastest`, expected `round_robin`, `random` or `least_request`",
        ],
    );
    check(
        "upstreams: { api: { endpoints: ['10.0.0.1:80'], balance: { hash: { cookie: a } } } }",
        &[
            "1:66 upstreams.api.balance.hash: the key `header` is missing",
            "1:68 upstreams.api.balance.hash.cookie: unknown key `cookie` (known here: header)",
        ],
    );
    check(
        "upstreams: { api: { endpoints: ['10.0.0.1:80'], protocol: h3 } }",
        &["1:59 upstreams.api.protocol: unknown value `h3`, expected `http1` or `h2`"],
    );
    check(
        "upstreams: { api: { endpoints: ['10.0.0.1:80'], health: { interval: 0s } } }",
        &["1:69 upstreams.api.health.interval: interval must be longer than 0"],
    );
    check(
        "upstreams: { api: { endpoints: ['10.0.0.1:80'], health: { expect: { status: [999] } } } }",
        &[
            r#"1:78 upstreams.api.health.expect.status[0]: expected a status from 100 to 599 such as 200, or a range such as "200-399", found the number 999"#,
        ],
    );
}

#[test]
fn secrets_and_includes() {
    check(
        "admin: { token: '${env:TIDEGATE_TEST_UNSET}' }",
        &["1:17 admin.token: the environment variable `TIDEGATE_TEST_UNSET` is not set"],
    );
    check("admin: { token: '${file:none}' }", &["1:17 admin.token: no such file `none`"]);
    check(
        "admin: { token: '${vault:x}' }",
        &[
            "1:17 admin.token: `vault` is no source of secrets (write `${env:NAME}`, `${file:path}`, or `$${` for `${`)",
        ],
    );
    check(
        "admin: { token: hunter2hunter2hunter2 }",
        &[
            "1:17 admin.token: a secret stands in the configuration (write `${env:NAME}` or `${file:path}`)",
        ],
    );
    check(
        "admin: { token: '${file:short}' }",
        &[
            "1:17 admin.token: the token is shorter than 16 characters (make one with `openssl rand -hex 32`)",
        ],
    );
    check("include: [none.yaml]", &["1:11 include[0]: no such file `none.yaml`"]);
    check(
        "include: none.yaml",
        &["1:10 include: expected a list, found the string `none.yaml` (write `[none.yaml]`)"],
    );
    check("include: [edge.yaml]", &["1:11 include[0]: `edge.yaml` includes itself"]);
}

#[test]
fn what_leads_nowhere() {
    check(
        "listeners: []",
        &["1:12 listeners: there is no listener (add `listeners: [{ address: 0.0.0.0:8080 }]`)"],
    );
    check(
        "routes: []",
        &["1:9 routes: there is no route (add `routes: [{ path: /, to: <upstream> }]`)"],
    );
    check(
        "upstreams: {}",
        &["3:25 routes[0].to: no upstream is called `api` (add it to `upstreams`)"],
    );
    check(
        "routes: [{ path: /, to: apo }]",
        &["1:25 routes[0].to: no upstream is called `apo` (did you mean `api`?)"],
    );
    check(
        "routes: [{ path: /, to: api, policies: [publik] }]\npolicies: { public: {} }",
        &["1:41 routes[0].policies[0]: no policy is called `publik` (did you mean `public`?)"],
    );
    check(
        "routes: [{ path: / }]",
        &["1:10 routes[0]: the route leads nowhere (add `to: <upstream>` or `redirect: { … }`)"],
    );
    check(
        "routes: [{ path: /, to: api, redirect: {} }]",
        &["1:40 routes[0].redirect: a route has either `to` or `redirect`, not both"],
    );
    check(
        "routes: [{ path: /, redirect: { status: 200, host: x } }]",
        &[
            "1:41 routes[0].redirect.status: 200 is not the status of a redirect (use 301, 302, 303, 307 or 308)",
        ],
    );
    check(
        "routes: [{ path: /, redirect: {} }]",
        &[
            "1:31 routes[0].redirect: the redirect leads to where the request came from (give it a `scheme`, `host`, `port` or `path`)",
        ],
    );
    check(
        "routes: [{ path: /, redirect: { host: a }, rewrite: { prefix: / } }]",
        &["1:53 routes[0].rewrite: a redirect sends nothing upstream that could be rewritten"],
    );
}

#[test]
fn routes_that_make_no_sense() {
    check(
        "routes:\n  - { id: a, path: /a, to: api }\n  - { id: a, path: /b, to: api }",
        &[
            "3:11 routes[1].id: the id `a` is taken by another route (the other route is at edge.yaml:2)",
        ],
    );
    check(
        "routes:\n  - { path: /a, to: api }\n  - { path: /a/, to: api }",
        &[
            "3:5 routes[1]: routes `/a` and `/a/` match the same (the other route is at edge.yaml:2; remove one of them)",
        ],
    );
    check(
        "routes:\n  - { path: { regex: '(' }, to: api }",
        &["2:13 routes[0].path: `(` is not a usable regex: unclosed group"],
    );
    check(
        "routes:\n  - { path: pay, to: api }",
        &[
            "2:13 routes[0].path: `pay` is not a path, since it does not start with a slash (write `/pay`)",
        ],
    );
    check(
        "routes:\n  - { path: /a/../b, to: api }",
        &[
            "2:13 routes[0].path: `/a/../b` is not canonical, so that no request would match it (write `/b`)",
        ],
    );
    check(
        "routes: [{ host: 'a.*', to: api }]",
        &[
            "1:18 routes[0].host: `a.*` is not a host (a wildcard stands for whole labels in front: `*.example.com`)",
        ],
    );
    check(
        "routes: [{ host: 'a.example.com:80', to: api }]",
        &[
            "1:18 routes[0].host: `a.example.com:80` is not a host (write `a.example.com`: hosts match whatever the port)",
        ],
    );
    check(
        "routes: [{ path: /, to: api, methods: [post] }]",
        &[
            "1:40 routes[0].methods[0]: methods are case-sensitive, and post is not one (write POST)",
        ],
    );
    check(
        "routes: [{ path: /, to: api, methods: [] }]",
        &[
            "1:39 routes[0].methods: the list of methods is empty (leave `methods` out to take all of them)",
        ],
    );
    check(
        "routes: [{ path: /, to: api, rewrite: { regex: '^/(a' , with: / } }]",
        &["1:48 routes[0].rewrite.regex: `^/(a` is not a usable regex: unclosed group"],
    );
    check(
        "routes: [{ path: /, to: api, rewrite: { prefix: a } }]",
        &[
            "1:49 routes[0].rewrite.prefix: `a` is not a path, since it does not start with a slash (write `/a`)",
        ],
    );
    check(
        "routes: [{ path: /, to: api, request_headers: { set: { 'x y': b } } }]",
        &[
            r#"1:63 routes[0].request_headers.set."x y": `x y` is not a header name (use letters, digits and hyphens)"#,
        ],
    );
    check(
        "routes: [{ path: /, to: api, request_headers: { remove: [host] } }]",
        &[
            "1:58 routes[0].request_headers.remove[0]: the Host field is not for a header filter (use `rewrite: { host: .. }`)",
        ],
    );
}

#[test]
fn policies_that_make_no_sense() {
    check(
        "routes: [{ path: /, to: api, timeouts: { connect: 0s } }]",
        &[
            "1:51 routes[0].timeouts.connect: no upstream answers in no time (remove the key to get the default)",
        ],
    );
    check(
        "routes: [{ path: /, to: api, allow: [] }]",
        &[
            r#"1:37 routes[0].allow: an empty allow list lets nobody pass (remove `allow`, or write [0.0.0.0/0, "::/0"] to let every address pass)"#,
        ],
    );
    check(
        "routes: [{ path: /, to: api, waf: { sensitivity: 9 } }]",
        &["1:50 routes[0].waf.sensitivity: must be 1, 2, 3 or 4"],
    );
    check(
        "defaults: { waf: { exclude: [{ tags: [sqlii] }] } }",
        &[
            "1:39 defaults.waf.exclude[0].tags[0]: no rule has the tag `sqlii` (known are injection, lfi, lookup, protocol, rce, scanner, sqli, ssrf, xss)",
        ],
    );
    check(
        "policies: { p: { waf: { exclude: [{ rules: [1] }] } } }\nroutes: [{ path: /, to: api, policies: [p] }, { path: /x, to: api, policies: [p] }]",
        &["1:45 policies.p.waf.exclude[0].rules[0]: there is no rule 1"],
    );
    check(
        "routes: [{ path: /, to: api, rate_limit: { rate: 100000000/s } }]",
        &[
            "1:50 routes[0].rate_limit.rate: 100000000/s is too fast to be kept (write at most 1000000/s)",
        ],
    );
}

#[test]
fn listeners_that_make_no_sense() {
    check(
        "listeners: [{ address: '0.0.0.0:80' }, { address: '0.0.0.0:80' }]",
        &["1:51 listeners[1].address: `0.0.0.0:80` is taken by listeners[0]"],
    );
    check(
        "listeners: [{ address: '0.0.0.0:80' }, { address: '127.0.0.1:80' }]",
        &["1:51 listeners[1].address: `127.0.0.1:80` is taken by listeners[0]"],
    );
    check(
        "listeners: [{ address: '127.0.0.1:9900' }]",
        &[
            "1:1 admin.address: the admin listener's `127.0.0.1:9900` is taken by listeners[0] (give it another one: `admin: { address: 127.0.0.1:9901 }`)",
        ],
    );
    check(
        "listeners: [{ address: '0.0.0.0:443', tls: { cert: none.crt, key: none.key } }]",
        &[
            "1:52 listeners[0].tls.cert: no such file `none.crt`",
            "1:67 listeners[0].tls.key: no such file `none.key`",
        ],
    );
    check(
        "listeners: [{ address: '0.0.0.0:443', tls: { cert: a.key, key: a.crt } }]",
        &[
            "1:52 listeners[0].tls.cert: `a.key` holds a key, not a certificate",
            "1:64 listeners[0].tls.key: `a.crt` holds a certificate, not a key",
        ],
    );
    check(
        "listeners: [{ address: '0.0.0.0:443', tls: { cert: a.txt, key: a.txt } }]",
        &[
            "1:52 listeners[0].tls.cert: `a.txt` holds no certificate in PEM form",
            "1:64 listeners[0].tls.key: `a.txt` holds no private key in PEM form",
        ],
    );
    check(
        "listeners: [{ address: '0.0.0.0:443', tls: { cert: a.crt } }]",
        &["1:52 listeners[0].tls.cert: `cert` needs a `key`"],
    );
    check(
        "listeners: [{ address: '0.0.0.0:443', tls: {} }]",
        &[
            "1:44 listeners[0].tls: there is no certificate (add `cert` and `key`, or `certificates`)",
        ],
    );
    check(
        "listeners: [{ address: '0.0.0.0:443', h2c: true, tls: { cert: a.crt, key: a.key } }]",
        &[
            "1:44 listeners[0].h2c: `h2c` is for listeners without `tls` (remove it; with `tls` HTTP/2 is offered by `alpn`)",
        ],
    );
    check(
        "listeners: [{ address: '0.0.0.0:80', proxy_protocol: { from: [] } }]",
        &[
            "1:62 listeners[0].proxy_protocol.from: no peer may send a PROXY header (list the load balancer's addresses, such as [10.0.0.0/8])",
        ],
    );
}

#[test]
fn admin_and_limits_that_make_no_sense() {
    check(
        "admin: { address: 0.0.0.0:9900 }",
        &[
            "1:19 admin.address: `0.0.0.0:9900` is not loopback (the admin listener speaks plain HTTP; if that is meant, add `insecure_remote: true`)",
        ],
    );
    check(
        "admin: { address: 0.0.0.0:9900, insecure_remote: true }",
        &[
            "1:8 admin: a remote admin listener needs a `token` (add `token: ${env:TIDEGATE_ADMIN_TOKEN}`)",
        ],
    );
    check(
        "limits: { connections: 0 }",
        &[
            "1:24 limits.connections: zero would let nothing pass (remove the key to get the default)",
        ],
    );
    check(
        "limits: { header_bytes: 10B }",
        &[
            "1:25 limits.header_bytes: 10B is too small for ordinary requests (write at least 1024B)",
        ],
    );
    check(
        "limits: { idle_timeout: 0s }",
        &[
            "1:25 limits.idle_timeout: zero would let nothing pass (remove the key to get the default)",
        ],
    );
}

#[test]
fn upstreams_that_make_no_sense() {
    check(
        "upstreams: { api: { endpoints: ['10.0.0.1:80'], tls: { cert: a.crt } } }",
        &[
            "1:54 upstreams.api.tls: endpoints are given by address, so that sni has to name the certificate (add `sni: name`, with a name that the endpoints' certificate carries)",
            "1:62 upstreams.api.tls.cert: cert needs a key",
        ],
    );
    check(
        "upstreams: { api: { endpoints: ['10.0.0.1:80'], tls: { ca: none.pem, sni: a } } }",
        &["1:60 upstreams.api.tls.ca: no such file `none.pem`"],
    );
    check(
        "upstreams: { api: { endpoints: [{ address: '10.0.0.1:80', weight: 0 }] } }",
        &[
            "1:32 upstreams.api.endpoints: all weights are 0, so that nothing would be served (leave at least one endpoint with a weight above 0)",
        ],
    );
    check(
        "upstreams: { api: { endpoints: ['10.0.0.1:80', '10.0.0.1:80'] } }",
        &[
            "1:48 upstreams.api.endpoints[1]: the endpoint 10.0.0.1:80 is listed twice (give it a larger weight instead)",
        ],
    );
}
