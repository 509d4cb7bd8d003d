//! What people see when a configuration is wrong: each error at one glance, all of them at once.
//!
//! A case is the wrong part; the parts that it does not mention are added behind it, so that
//! nothing else is wrong. An error is shown as `line:column path: message (help)`.

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

#[track_caller]
fn check(part: &str, expected: &[&str]) {
    let missing = REST
        .iter()
        .filter(|(key, _)| !part.starts_with(key) && !part.contains(&format!("\n{key}")));
    let text = format!("{part}\n{}", missing.map(|(_, text)| *text).collect::<String>());
    assert_eq!(lines(&text), expected, "{text}");
}

#[test]
fn x() {
    for part in CASES {
        let missing = REST
            .iter()
            .filter(|(key, _)| !part.starts_with(key) && !part.contains(&format!("\n{key}")));
        let text = format!("{part}\n{}", missing.map(|(_, text)| *text).collect::<String>());
        let r = std::panic::catch_unwind(|| lines(&text));
        println!("CASE {part:?}");
        match r {
            Ok(lines) => {
                for l in lines {
                    println!("   {l:?},");
                }
            }
            Err(_) => println!("   NOT BROKEN"),
        }
    }
}

const CASES: &[&str] = &[
    // not YAML
    "routes: [\n",
    "routes:\n\t- path: /",
    "a: 1\n---\nb: 2",
    "routes: []\nroutes: []",
    "server: !x {}",
    "<<: {}",
    "- 1",
    "hello",
    "server: &a { threads: 1 }\nadmin: *b",
    // unknown keys
    "listners: []",
    "listeners:\n  - adress: 0.0.0.0:80",
    "server: { drain-timeout: 3s }",
    "routes:\n  - { pth: /, to: api }",
    "routes:\n  - { path: /, to: api, rate-limit: { rate: 1/s } }",
    "routes:\n  - { path: /, to: api, limit: 3 }",
    "upstreams:\n  api: { endpoint: [127.0.0.1:1] }",
    "policies: { a: { waf: { mod: block } } }",
    "listeners: [{ address: 0.0.0.0:80, tls: { crt: a } }]",
    "routes: [{ path: { regx: ^/a }, to: api }]",
    "routes: [{ '(policy)': {}, to: api }]",
    // missing keys
    "listeners:\n  - h2c: true",
    "upstreams: { api: {} }",
    "routes: [{ path: /, to: api, rate_limit: { burst: 3 } }]",
    "listeners: [{ address: '0.0.0.0:80', proxy_protocol: {} }]",
    // wrong types
    "routes: { path: / }",
    "listeners: 0.0.0.0:80",
    "listeners: [0.0.0.0:80]",
    "trusted_proxies: 10.0.0.0/8",
    "server: { threads: two }",
    "server: { threads: 0 }",
    "server: { threads: -1 }",
    "server: [1]",
    "server:",
    "limits: { idle_timeout: 75 }",
    "limits: { header_bytes: 32 }",
    "limits: { header_bytes: 32kb }",
    "limits: { h2_streams: 5000000000 }",
    "limits: { connections: 1.5 }",
    "access_log: on",
    "access_log: { sample: 120% }",
    "listeners: [{ address: '0.0.0.0:80', h2c: yes }]",
    "listeners: [{ address: ':80' }]",
    "listeners: [{ address: 8080 }]",
    "listeners: [{ address: 'localhost:80' }]",
    "listeners: [{ address: '0.0.0.0:443', tls: { cert: a.crt, key: a.key, min_version: 1.3 } }]",
    "listeners: [{ address: '0.0.0.0:443', tls: { cert: a.crt, key: a.key, min_version: '1.1' } }]",
    "listeners: [{ address: '0.0.0.0:443', tls: { cert: a.crt, key: a.key, alpn: [h3] } }]",
    "trusted_proxies: [10.0.0.1/8]",
    "trusted_proxies: [cdn]",
    "forwarded_header: x-forwarded-for",
    "routes: [{ path: /, to: api, waf: { mode: on } }]",
    "routes: [{ path: /, to: api, waf: detect }]",
    "routes: [{ path: /, to: api, rate_limit: 100/s }]",
    "routes: [{ path: /, to: api, rate_limit: { rate: 100 } }]",
    "routes: [{ path: /, to: api, rate_limit: { rate: 1/s, key: ip } }]",
    "routes: [{ path: /, to: [api] }]",
    "routes: [{ path: /, to: api, methods: POST }]",
    "routes: [{ path: /, to: api, headers: { x: 1 } }]",
    "routes: [{ path: { exact: /a, prefix: /b }, to: api }]",
    "upstreams: { api: { endpoints: [] } }",
    "upstreams: { api: { endpoints: [10.0.0.1] } }",
    "upstreams: { api: { endpoints: ['http://10.0.0.1:80'] } }",
    "upstreams: { api: { endpoints: 10.0.0.1:80 } }",
    "upstreams: { api: { endpoints: [{ address: '10.0.0.1:80', weight: -1 }] } }",
    "upstreams: { api: { endpoints: ['10.0.0.1:80'], balance: fastest } }",
    "upstreams: { api: { endpoints: ['10.0.0.1:80'], balance: { hash: { cookie: a } } } }",
    "upstreams: { api: { endpoints: ['10.0.0.1:80'], protocol: h3 } }",
    "upstreams: { api: { endpoints: ['10.0.0.1:80'], health: { interval: 0s } } }",
    "upstreams: { api: { endpoints: ['10.0.0.1:80'], health: { expect: { status: [999] } } } }",
    // secrets and includes
    "admin: { token: '${env:TIDEGATE_TEST_UNSET}' }",
    "admin: { token: '${file:none}' }",
    "admin: { token: '${vault:x}' }",
    "admin: { token: hunter2hunter2hunter2 }",
    "admin: { token: '${file:short}' }",
    "include: [none.yaml]",
    "include: none.yaml",
    "include: [edge.yaml]",
    // semantics
    "listeners: []",
    "routes: []",
    "upstreams: {}",
    "routes: [{ path: /, to: apo }]",
    "routes: [{ path: /, to: api, policies: [publik] }]\npolicies: { public: {} }",
    "routes: [{ path: / }]",
    "routes: [{ path: /, to: api, redirect: {} }]",
    "routes: [{ path: /, redirect: { status: 200, host: x } }]",
    "routes: [{ path: /, redirect: {} }]",
    "routes: [{ path: /, redirect: { host: a }, rewrite: { prefix: / } }]",
    "routes:\n  - { id: a, path: /a, to: api }\n  - { id: a, path: /b, to: api }",
    "routes:\n  - { path: /a, to: api }\n  - { path: /a/, to: api }",
    "routes:\n  - { path: { regex: '(' }, to: api }",
    "routes:\n  - { path: pay, to: api }",
    "routes:\n  - { path: /a/../b, to: api }",
    "routes: [{ host: 'a.*', to: api }]",
    "routes: [{ host: 'a.example.com:80', to: api }]",
    "routes: [{ path: /, to: api, methods: [post] }]",
    "routes: [{ path: /, to: api, methods: [] }]",
    "routes: [{ path: /, to: api, rewrite: { regex: '^/(a' , with: / } }]",
    "routes: [{ path: /, to: api, rewrite: { prefix: a } }]",
    "routes: [{ path: /, to: api, request_headers: { set: { 'x y': b } } }]",
    "routes: [{ path: /, to: api, request_headers: { remove: [host] } }]",
    "routes: [{ path: /, to: api, timeouts: { connect: 0s } }]",
    "routes: [{ path: /, to: api, allow: [] }]",
    "routes: [{ path: /, to: api, waf: { sensitivity: 9 } }]",
    "defaults: { waf: { exclude: [{ tags: [sqlii] }] } }",
    "policies: { p: { waf: { exclude: [{ rules: [1] }] } } }\nroutes: [{ path: /, to: api, policies: [p] }, { path: /x, to: api, policies: [p] }]",
    "routes: [{ path: /, to: api, rate_limit: { rate: 100000000/s } }]",
    "listeners: [{ address: '0.0.0.0:80' }, { address: '0.0.0.0:80' }]",
    "listeners: [{ address: '0.0.0.0:80' }, { address: '127.0.0.1:80' }]",
    "listeners: [{ address: '127.0.0.1:9900' }]",
    "listeners: [{ address: '0.0.0.0:443', tls: { cert: none.crt, key: none.key } }]",
    "listeners: [{ address: '0.0.0.0:443', tls: { cert: a.key, key: a.crt } }]",
    "listeners: [{ address: '0.0.0.0:443', tls: { cert: a.txt, key: a.txt } }]",
    "listeners: [{ address: '0.0.0.0:443', tls: { cert: a.crt } }]",
    "listeners: [{ address: '0.0.0.0:443', tls: {} }]",
    "listeners: [{ address: '0.0.0.0:443', h2c: true, tls: { cert: a.crt, key: a.key } }]",
    "listeners: [{ address: '0.0.0.0:80', proxy_protocol: { from: [] } }]",
    "admin: { address: 0.0.0.0:9900 }",
    "admin: { address: 0.0.0.0:9900, insecure_remote: true }",
    "limits: { connections: 0 }",
    "limits: { header_bytes: 10B }",
    "limits: { idle_timeout: 0s }",
    "upstreams: { api: { endpoints: ['10.0.0.1:80'], tls: { cert: a.crt } } }",
    "upstreams: { api: { endpoints: ['10.0.0.1:80'], tls: { ca: none.pem, sni: a } } }",
    "upstreams: { api: { endpoints: [{ address: '10.0.0.1:80', weight: 0 }] } }",
    "upstreams: { api: { endpoints: ['10.0.0.1:80', '10.0.0.1:80'] } }",
];
