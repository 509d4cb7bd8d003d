//! Errors of sense: settings of the right shape that cannot work.

use crate::check;

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
fn cookies_and_splits() {
    check(
        "routes: [{ path: /, to: { split: { api: 95, apo: 5 } } }]",
        &["1:50 routes[0].to.split.apo: no upstream is called `apo` (did you mean `api`?)"],
    );
    check(
        "routes: [{ path: /, to: { split: { api: 0 } } }]",
        &[
            "1:34 routes[0].to.split: all weights are 0, so that nothing would be served (leave at least one upstream with a weight above 0)",
        ],
    );
    check(
        "routes: [{ path: /, to: { split: {} } }]",
        &["1:34 routes[0].to.split: a split needs at least one upstream"],
    );
    check(
        "routes: [{ path: /, to: { split: { api: 1 }, by: { cookie: s, secret: hunter2hunter2hunter2 } } }]",
        &[
            "1:71 routes[0].to.by.secret: a secret stands in the configuration (write `${env:NAME}` or `${file:path}`)",
        ],
    );
    check(
        "upstreams: { api: { endpoints: ['10.0.0.1:80'], sticky: { cookie: 'a b', secret: ['${file:short}'] } } }",
        &[
            "1:67 upstreams.api.sticky.cookie: `a b` is not a cookie name (write letters, digits, hyphens and underscores)",
            "1:82 upstreams.api.sticky.secret: a secret shorter than 16 bytes can be guessed (make one with `openssl rand -hex 32`)",
        ],
    );
    check(
        "upstreams: { api: { endpoints: ['10.0.0.1:80'], sticky: { cookie: a, secret: ['${env:CARGO_MANIFEST_DIR}', hunter2hunter2hunter2] } } }",
        &[
            "1:78 upstreams.api.sticky.secret: a secret stands in the configuration (write `${env:NAME}` or `${file:path}`)",
        ],
    );
    check(
        "upstreams: { api: { endpoints: ['10.0.0.1:80'], sticky: { cookie: a, same_site: none, secure: false, path: app, ttl: 0s } } }",
        &[
            "1:95 upstreams.api.sticky.secure: browsers refuse `same_site: none` without Secure",
            "1:108 upstreams.api.sticky.path: `app` is not a path (write `/` or `/app`)",
            "1:118 upstreams.api.sticky.ttl: a cookie lives for at least a second (remove the key for a cookie that lives as long as the browser)",
        ],
    );
}

#[test]
fn names_that_nobody_has() {
    const ROUTES: &str = "routes: [{ id: login, path: /, to: api }]\n";
    let check = |part: &str, expected: &[&str]| check(&format!("{ROUTES}{part}"), expected);
    check(
        "sinks: { soc: { events: { routes: [logni], reasons: [waf_block] }, stdout: {} } }",
        &[
            "2:36 sinks.soc.events.routes[0]: no route is called `logni` (did you mean `login`?)",
            "2:54 sinks.soc.events.reasons[0]: `waf_block` is no reason (did you mean `waf_blocked`?)",
        ],
    );
    check(
        "sinks: { soc: { events: { notices: [endpoint_dwn, nothing] }, stdout: {} } }",
        &[
            "2:37 sinks.soc.events.notices[0]: `endpoint_dwn` is no kind of notice (did you mean `endpoint_down`?)",
            "2:51 sinks.soc.events.notices[1]: `nothing` is no kind of notice (docs/reference/events.md has all of them)",
        ],
    );
    check(
        "response: { rules: { a: { when: { upstreams: [apii], reasons: [waf_blokced] }, leaky: { capacity: 5, leak: 1/m }, ladder: [block] } } }",
        &[
            "2:47 response.rules.a.when.upstreams[0]: no upstream is called `apii` (did you mean `api`?)",
            "2:64 response.rules.a.when.reasons[0]: `waf_blokced` is none of the reasons (did you mean `waf_blocked`?)",
        ],
    );
    check(
        "response: { rules: { path-probng: { enforce: true } } }",
        &[
            "2:35 response.rules.path-probng: no shipped rule has this name, and nothing says what one of yours counts (did you mean `path-probing`?)",
        ],
    );
    check(
        "sinks: { soc: { splunk_hec: { url: 'https://a', token: '${env:TIDEGATE_NOT_SET}' } } }",
        &[
            "2:56 sinks.soc.splunk_hec.token: the environment variable `TIDEGATE_NOT_SET` is not set",
        ],
    );
    check(
        "waf: { mode: block }",
        &["2:1 waf: unknown key `waf` (it stands in `defaults`, in a policy or in a route)"],
    );
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
}

#[test]
fn hosts_methods_and_filters_that_make_no_sense() {
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
        "routes: [{ path: /, to: api, retries: { attempts: 11 } }]",
        &[
            "1:51 routes[0].retries.attempts: 11 further tries would multiply an outage (write at most 10)",
        ],
    );
    check(
        "routes: [{ path: /, to: api, rate_limit: [{ name: a, rate: 1/s }, { name: a, rate: 9/m }] }]",
        &["1:75 routes[0].rate_limit[1].name: the name is taken by rate_limit[0]"],
    );
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
fn sinks_that_make_no_sense() {
    check(
        "sinks:\n  a: { format: json }\n  b: { stdout: {}, file: { path: b.log } }",
        &[
            "2:6 sinks.a: this sink goes nowhere (add one of `file`, `stdout`, `syslog`, \
             `splunk_hec`, `elastic`, `loki`, `otlp`, `webhook`, `kafka`, `nats`, `redis`)",
            "3:16 sinks.b.stdout: a sink goes to one receiver only (write one sink for each: they \
             may have the same filters)",
        ],
    );
    check(
        "sinks:\n  a: { syslog: { address: 'ftp://x:1' } }\n  b: { syslog: { address: 'tls://x' } }\n  \
         c: { syslog: { address: 'tls://x:1', tls: { ca: none.pem } } }\n  \
         d: { syslog: { address: 'tls://x:1', tls: { ca: a.txt } } }\n  \
         e: { redis: { url: 'redis://x', stream: s, tls: {} } }",
        &[
            "2:27 sinks.a.syslog.address: the scheme `ftp` is none of udp, tcp, tls (write it as \
             tls://siem.example.com:6514, tcp://… or udp://…)",
            "3:27 sinks.b.syslog.address: the port is missing (write it as \
             tls://siem.example.com:6514, tcp://… or udp://…)",
            "4:51 sinks.c.syslog.tls.ca: no such file `none.pem`",
            "5:51 sinks.d.syslog.tls.ca: cannot read certificates from `a.txt`: it holds none",
            "6:51 sinks.e.redis.tls: the address is one without TLS (leave one out)",
        ],
    );
}

#[test]
fn settings_of_sinks_that_make_no_sense() {
    check(
        "sinks:\n  a: { stdout: {}, spool: { path: s } }\n  b: { stdout: {}, spool: { path: s } }",
        &[
            "3:16 sinks.b.stdout: `a` writes there (their lines would mix)",
            "3:35 sinks.b.spool.path: `a` has the same folder (one for each)",
        ],
    );
}

#[test]
fn what_sinks_send_that_makes_no_sense() {
    check(
        "sinks:\n  a: { stdout: {}, batch: { records: 10001, bytes: 17MiB } }\n  \
         b: { file: { path: b }, batch: { records: 0, bytes: 1KiB } }\n  \
         c: { kafka: { brokers: ['[::1]:9'], topic: t, tls: {} } }",
        &[
            "2:38 sinks.a.batch.records: a batch has from 1 to 10000 records (write 500)",
            "2:52 sinks.a.batch.bytes: a batch has from 4KiB to 16MiB (write 1MiB)",
            "3:45 sinks.b.batch.records: a batch has from 1 to 10000 records (write 500)",
            "3:55 sinks.b.batch.bytes: a batch has from 4KiB to 16MiB (write 1MiB)",
            "4:27 sinks.c.kafka.brokers[0]: TLS needs a name or an IPv4 address (write host:9093)",
        ],
    );
    check(
        "sinks:\n  a: { webhook: { url: 'http://siem.example.com' } }\n  \
         b: { format: cef, elastic: { url: 'https://u:p@x', index: i, api_key: plain } }",
        &[
            "2:24 sinks.a.webhook.url: what is sent without TLS can be read by others (use https; \
             if plain HTTP is meant, add `insecure_http: true`)",
            "3:16 sinks.b.format: `elastic` takes JSON only (write `json`, `ecs` or `ocsf`)",
            "3:37 sinks.b.elastic.url: an address must not hold a password (write https://host/path)",
            "3:73 sinks.b.elastic.api_key: a secret stands in the configuration (write \
             `${env:NAME}` or `${file:path}`)",
        ],
    );
    check(
        "sinks:\n  a: { stdout: {}, events: { reasons: [waf_blockd], notices: [x] }, queue: 1KiB }",
        &[
            "2:40 sinks.a.events.reasons[0]: `waf_blockd` is no reason (did you mean `waf_blocked`?)",
            "2:63 sinks.a.events.notices[0]: `x` is no kind of notice (docs/reference/events.md has all of them)",
            "2:76 sinks.a.queue: less than 64KiB leaves no room for a burst (write 8MiB)",
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

#[test]
fn a_secret_that_cannot_be_used_is_not_quoted() {
    check(
        "routes: [{ path: /, to: api, request_headers: { set: { 'x': '${file:binary}' } } }]",
        &[
            "1:61 routes[0].request_headers.set.x: the value of x is not one that a header can carry (use visible ASCII, with single spaces inside)",
        ],
    );
}
