//! Errors of shape: what is not YAML, keys, and values of the wrong type.

use crate::check;

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
            "2:25 routes[0].limit: unknown key `limit` (known here: id, host, path, methods, scheme, headers, query, to, redirect, rewrite, policies, auth, rate_limit, audit, waf, allow, deny, max_body, timeouts, retries, hedge, request_headers, response_headers)",
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
        "listeners: [{ address: 0.0.0.0:80, tls: { crt: a.crt, key: a.key } }]",
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
fn keys_without_a_value() {
    let hint = "give it a value, or remove the key; `~` takes back an inherited one";
    for (part, place) in [
        ("defaults:\n  waf:\n", "2:3 defaults.waf"),
        (
            "upstreams:\n  api:\n    endpoints: [127.0.0.1:1]\n    health:\n",
            "4:5 upstreams.api.health",
        ),
        ("trusted_proxies:\n  -\n", "2:4 trusted_proxies[0]"),
    ] {
        check(part, &[&format!("{place}: the value is missing ({hint})")]);
    }
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
        &[
            "1:1 server: the value is missing (give it a value, or remove the key; `~` takes back an inherited one)",
        ],
    );
}

#[test]
fn limits_and_logs_of_the_wrong_type() {
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
#[expect(clippy::too_many_lines, reason = "a table of what can be wrong")]
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
            "1:60 routes[0].rate_limit.key: unknown value `ip`, expected `client_ip`, `route`, `subject`, `client` or `header`",
        ],
    );
    check(
        "routes: [{ path: /, to: [api] }]",
        &[
            "1:25 routes[0].to: expected the name of an upstream, or a map such as `{ split: { a: 95, b: 5 } }`, found a list",
        ],
    );
    check(
        "routes: [{ path: /, to: { split: [api] } }]",
        &["1:34 routes[0].to.split: expected a map, found a list"],
    );
    check(
        "routes: [{ path: /, to: { split: { api: -1 } } }]",
        &[
            "1:41 routes[0].to.split.api: expected a whole number of at least 0, found the number -1",
        ],
    );
    check(
        "routes: [{ path: /, to: { split: { api: 1, api: 2 } } }]",
        &["1:44 -: the key `api` is given twice (it is first given in line 1)"],
    );
    check(
        "routes: [{ path: /, to: { api: 95, api2: 5 } }]",
        &[
            "1:25 routes[0].to: the key `split` is missing",
            "1:27 routes[0].to.api: unknown key `api` (known here: split, by, failover)",
            "1:36 routes[0].to.api2: unknown key `api2` (known here: split, by, failover)",
        ],
    );
    check(
        "routes: [{ path: /, to: { split: { api: 1 }, by: ip } }]",
        &["1:50 routes[0].to.by: unknown value `ip`, expected `client_ip`, `cookie` or `header`"],
    );
    check(
        "routes: [{ path: /, to: { split: { api: 1 }, by: { cokie: side } } }]",
        &["1:50 routes[0].to.by: unknown key `cokie` (did you mean `cookie`?)"],
    );
    check(
        "routes: [{ path: /, to: { split: { api: 1 }, by: { header: x, ttl: 1h } } }]",
        &["1:50 routes[0].to.by: unknown key `ttl` (known here: header)"],
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
#[expect(clippy::too_many_lines, reason = "a table of what can be wrong")]
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
            "1:58 upstreams.api.balance: unknown value `fastest`, expected `round_robin`, `random`, `least_request` or `peak_ewma`",
        ],
    );
    check(
        "upstreams: { api: { endpoints: ['10.0.0.1:80'], balance: { hash: { cokie: a } } } }",
        &["1:68 upstreams.api.balance.hash.cokie: unknown key `cokie` (did you mean `cookie`?)"],
    );
    check(
        "upstreams: { api: { endpoints: ['10.0.0.1:80'], balance: { hash: path, algorithm: ring } } }",
        &[
            "1:83 upstreams.api.balance.algorithm: unknown value `ring`, expected `ketama` or `maglev`",
        ],
    );
    check(
        "upstreams: { api: { endpoints: ['10.0.0.1:80'], balance: { hash: path, bounded_load: 90% } } }",
        &["1:86 upstreams.api.balance.bounded_load: `90%` is not within 101% and 1000%"],
    );
    check(
        "upstreams: { api: { endpoints: ['10.0.0.1:80'], sticky: { ttl: 1h, same_site: none } } }",
        &["1:57 upstreams.api.sticky: the key `cookie` is missing"],
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
