//! Who may pass, in the running binary: tokens at the edge, and what the origin is told of them.

use serde_json::{Value, json};
use tidegate_testkit::client::Ask;
use tidegate_testkit::tokens::{Signer, key_set, now};
use tidegate_testkit::{Ca, Gateway, Nginx, Origin, Reply, Response, needs, wait};

use crate::assert_problem;

/// A gateway with one issuer `corp`, and one open route.
pub(crate) const CONFIG: &str = "
auth:
  issuers:
    corp:
      issuer: https://id.example.com
      audience: [api]
      keys: <keys>
      refresh: 1h
  resource: { identifier: https://api.example.com }
policies:
  known: { auth: { jwt: corp, forward: { headers: { X-User-Id: sub, X-Client: client, X-Scopes: scopes } } } }
routes:
  - { id: money, path: /money, to: api, policies: [known], auth: { scopes: [pay:write], methods: { GET: {}, POST: { scopes: [pay:admin] } } } }
  - { id: kept, path: /kept, to: api, policies: [known], auth: { forward: { token: keep } } }
  - { id: open, path: /, to: api, auth: none }
upstreams: { api: { endpoints: [<origin>] } }
";

fn claims() -> Value {
    json!({
        "iss": "https://id.example.com", "aud": "api", "sub": "ann", "client_id": "shop",
        "iat": now(), "exp": now() + 300, "scope": "pay:write pay:read",
    })
}

fn ask(gateway: &Gateway, path: &str, token: &str) -> Response {
    Ask::new("GET", path).field("Authorization", &format!("Bearer {token}")).send(gateway.address())
}

fn inline(signer: &Signer) -> String {
    format!("{{ inline: '{}' }}", key_set(&[signer.jwk()]))
}

#[test]
fn a_token_opens_what_its_scopes_reach() {
    let origin = Origin::start(Reply::ok("ok"));
    let signer = Signer::new("k1");
    let gateway =
        Gateway::start(CONFIG, &[("origin", &origin.address()), ("keys", &inline(&signer))]);
    let token = signer.token(&claims());
    assert_problem(&Ask::new("GET", "/money").send(gateway.address()), 401, "unauthenticated");
    assert_eq!(ask(&gateway, "/money", &token).status, 200);
    assert_eq!(ask(&gateway, "/money", &token).status, 200);
    let post = Ask::new("POST", "/money").field("Authorization", &format!("Bearer {token}"));
    let refused = post.send(gateway.address());
    assert_problem(&refused, 403, "insufficient_scope");
    let challenge = refused.header("www-authenticate").unwrap_or_default();
    assert!(challenge.contains("scope=\"pay:admin\""), "{challenge}");
    // Who was refused is known then, and told to the log.
    let line = gateway.logged(|line| line["reason"] == "insufficient_scope");
    assert_eq!((&line["auth"]["client"], &line["auth"]["method"]), (&json!("shop"), &json!("jwt")));
    assert!(line["auth"]["subject"].is_string(), "{line}");
    let forged = Signer::new("k1").token(&claims());
    let refused = ask(&gateway, "/money", &forged);
    assert_problem(&refused, 401, "invalid_token");
    assert!(!refused.text().contains("signature"), "evidence stays here: {}", refused.text());
    let line = gateway.logged(|line| line["reason"] == "invalid_token");
    assert_eq!(line["evidence"], "the signature is wrong (issuer `corp`)");
    assert!(line["auth"].is_null(), "whoever forged it is not `ann`: {line}");
    let twice = ask(&gateway, "/money?access_token=x", &token);
    assert_problem(&twice, 400, "invalid_auth_request");
}

#[test]
fn the_origin_is_told_who_asks_by_the_gateway_alone() {
    let origin = Origin::start(Reply::ok("ok"));
    let signer = Signer::new("k1");
    let gateway =
        Gateway::start(CONFIG, &[("origin", &origin.address()), ("keys", &inline(&signer))]);
    let token = format!("Bearer {}", signer.token(&claims()));
    let spoofed = |path: &str| {
        Ask::new("GET", path)
            .field("Authorization", &token)
            .field("X-User-Id", "root")
            .field("x-user-id", "root")
            .field("X-CLIENT", "root")
            .field("Connection", "X-User-Id, x-scopes")
    };
    assert_eq!(spoofed("/money").send_alone(&gateway).status, 200);
    assert_eq!(spoofed("/").send_alone(&gateway).status, 200);
    assert_eq!(spoofed("/kept").send_alone(&gateway).status, 200);
    let received = origin.received();
    let [money, open, kept] = &received[..] else { panic!("{received:?}") };
    for told in [money, kept] {
        assert_eq!(values(&told.fields, "x-user-id"), ["ann"]);
        assert_eq!(values(&told.fields, "x-client"), ["shop"]);
        assert_eq!(values(&told.fields, "x-scopes"), ["pay:read pay:write"]);
    }
    assert_eq!(money.header("authorization"), None, "the token ends at the edge");
    assert_eq!(kept.header("authorization"), Some(&*token));
    for name in ["x-user-id", "x-client", "x-scopes"] {
        assert_eq!(values(&open.fields, name), Vec::<&str>::new(), "{name}");
    }
    // Readers that take `_` for `-` are not reached by such a field at all.
    let underscore =
        Ask::new("GET", "/money").field("Authorization", &token).field("X_User_Id", "root");
    assert_problem(&underscore.send(gateway.address()), 400, "ambiguous_request");
    assert_eq!(origin.received().len(), 3);
}

fn values<'f>(fields: &'f [(String, String)], name: &str) -> Vec<&'f str> {
    let same = |field: &&(String, String)| field.0.replace('_', "-").eq_ignore_ascii_case(name);
    fields.iter().filter(same).map(|(_, value)| value.as_str()).collect()
}

trait SendAlone {
    fn send_alone(&self, gateway: &Gateway) -> Response;
}

impl SendAlone for Ask {
    /// Sends without a `Connection` field of the client's own.
    fn send_alone(&self, gateway: &Gateway) -> Response {
        self.send_on(&mut tidegate_testkit::Connection::open(gateway.address()))
    }
}

#[test]
fn clients_are_told_where_tokens_come_from() {
    let origin = Origin::start(Reply::ok("ok"));
    let signer = Signer::new("k1");
    let gateway =
        Gateway::start(CONFIG, &[("origin", &origin.address()), ("keys", &inline(&signer))]);
    let path = "/.well-known/oauth-protected-resource";
    let told = Ask::new("GET", path).host("api.example.com").send(gateway.address());
    assert_eq!(told.status, 200);
    let document = told.json();
    assert_eq!(document["resource"], "https://api.example.com");
    assert_eq!(document["authorization_servers"], json!(["https://id.example.com"]));
    assert_eq!(document["scopes_supported"], json!(["pay:admin", "pay:write"]));
    assert_eq!(origin.received().len(), 0);
}

#[test]
fn keys_by_address_are_fetched_again_for_an_unknown_one_and_kept_while_the_issuer_is_down() {
    let origin = Origin::start(Reply::ok("ok"));
    let (old, new) = (Signer::new("old"), Signer::new("new"));
    let keys = std::sync::Arc::new(parking_lot::Mutex::new(Some(key_set(&[old.jwk()]))));
    let published = keys.clone();
    let issuer = Origin::script(move |_request| match &*published.lock() {
        Some(keys) => Reply::ok(keys.clone()),
        None => Reply::status(503, "down"),
    });
    let url = format!("{{ url: 'http://{}/keys' }}", issuer.address());
    let gateway = Gateway::start(CONFIG, &[("origin", &origin.address()), ("keys", &url)]);
    assert_eq!(ask(&gateway, "/money", &old.token(&claims())).status, 200);
    // Right after the first fetch the issuer changes its keys: nobody asked for that fetch.
    *keys.lock() = Some(key_set(&[old.jwk(), new.jwk()]));
    assert_eq!(ask(&gateway, "/money", &new.token(&claims())).status, 200);
    // Within the cool-down an unknown key is refused, and nobody is asked.
    let newest = Signer::new("newest");
    *keys.lock() = Some(key_set(&[old.jwk(), newest.jwk()]));
    let asked = issuer.received().len();
    assert_problem(&ask(&gateway, "/money", &newest.token(&claims())), 401, "invalid_token");
    assert_eq!(issuer.received().len(), asked);
    wait::until("the newest key is taken", || {
        ask(&gateway, "/money", &newest.token(&claims())).status == 200
    });
    *keys.lock() = None;
    let unknown = Signer::new("unknown");
    assert_problem(&ask(&gateway, "/money", &unknown.token(&claims())), 401, "invalid_token");
    assert_eq!(ask(&gateway, "/money", &old.token(&claims())).status, 200);
}

#[test]
fn a_reload_takes_another_authority_for_the_issuer() {
    needs!("nginx");
    let origin = Origin::start(Reply::ok("ok"));
    let signer = Signer::new("k1");
    let ca = Ca::new("ca");
    let leaf = ca.server(&["127.0.0.1"]);
    let keys = key_set(&[signer.jwk()]);
    let files = [
        ("cert.pem", leaf.cert.as_str()),
        ("key.pem", leaf.key.as_str()),
        ("keys.json", keys.as_str()),
    ];
    let server = "ssl_certificate cert.pem; ssl_certificate_key key.pem;
                  location /keys { alias keys.json; }";
    let issuer = Nginx::listening("ssl", server, &files);
    let url = format!("{{ url: 'https://{}/keys' }}\n      ca: <dir>/ca.pem", issuer.address());
    let gateway = Gateway::builder(&CONFIG.replace("<keys>", &url))
        .set("origin", origin.address())
        .file("ca.pem", Ca::new("stranger").pem())
        .start();
    let token = signer.token(&claims());
    assert_problem(&ask(&gateway, "/money", &token), 503, "auth_unavailable");
    std::fs::write(gateway.folder().join("ca.pem"), ca.pem()).expect("writes");
    assert_eq!(gateway.reload().status, 200);
    wait::until("keys come over the connection that is trusted now", || {
        ask(&gateway, "/money", &token).status == 200
    });
}

#[test]
fn while_there_are_no_keys_nobody_passes() {
    let origin = Origin::start(Reply::ok("ok"));
    let signer = Signer::new("k1");
    let issuer = tidegate_testkit::origin::closed_port();
    let url = format!("{{ url: 'http://{issuer}/keys' }}");
    let gateway = Gateway::start(CONFIG, &[("origin", &origin.address()), ("keys", &url)]);
    let refused = ask(&gateway, "/money", &signer.token(&claims()));
    assert_problem(&refused, 503, "auth_unavailable");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(ask(&gateway, "/", "").status, 200);
}

#[test]
fn a_route_that_does_not_say_who_may_pass_is_refused_at_the_start() {
    let config = CONFIG.replace(", auth: none }", " }");
    let signer = Signer::new("k1");
    let failed = Gateway::builder(&config)
        .set("origin", "127.0.0.1:9")
        .set("keys", inline(&signer))
        .try_start()
        .map(|_started| ())
        .expect_err("it must not start");
    assert!(failed.stderr.contains("does not say who may pass"), "{}", failed.stderr);
}
