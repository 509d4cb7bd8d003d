//! What keeps the response policy from being the outage. Each of these would be one without its
//! guard: the attack comes through the CDN's own address, in somebody else's name, from a scanner of
//! ours; the policy means everybody; somebody has to stop it all at once.

use std::fs;

use rustix::process::Signal;
use serde_json::json;
use tidegate_testkit::client::{Ask, Response};
use tidegate_testkit::tokens::{Signer, key_set, now};
use tidegate_testkit::{Gateway, Origin, Reply, wait};

use crate::response::{as_client, probe_until_blocked, tidegate};

const CONFIG: &str = "
trusted_proxies: [127.0.0.1, 192.0.2.80]
bans: { never: [198.51.100.1] }
response:
  builtin: off
  allow: [198.51.100.7]
  panic_file: panic
  rules:
    probing:
      when: { status: [404] }
      leaky: { capacity: 5, leak: 1/h }
      ladder: [block]
      ttl: { first: 10m }
      enforce: true
routes: [{ id: pay, path: /pay, to: api }]
upstreams: { api: { endpoints: [<origin>] } }
";

fn gateway(config: &str) -> (Origin, Gateway) {
    let origin = Origin::start(Reply::ok("paid"));
    let gateway = Gateway::start(config, &[("origin", &origin.address())]);
    (origin, gateway)
}

fn decided(gateway: &Gateway, standing: &str) -> f64 {
    let labels = [("rule", "probing"), ("measure", "block"), ("standing", standing)];
    gateway.metric("tidegate_decisions_total", &labels).unwrap_or_default()
}

fn through(gateway: &Gateway, forwarded: &str, path: &str) -> Response {
    Ask::new("GET", path).field("X-Forwarded-For", forwarded).send(gateway.address())
}

#[test]
fn an_attack_through_the_cdn_does_not_block_the_cdn() {
    let (_origin, gateway) = gateway(CONFIG);
    // The attack has no other name than the CDN's address, and then its own.
    for _ in 0..30 {
        assert_eq!(through(&gateway, "192.0.2.80", "/nothing").status, 404);
    }
    probe_until_blocked(&gateway, "203.0.113.9, 192.0.2.80");
    // The CDN goes on for everybody else, and for itself.
    assert_eq!(through(&gateway, "192.0.2.80", "/pay").status, 200);
    assert_eq!(through(&gateway, "203.0.113.10, 192.0.2.80", "/pay").status, 200);
    assert_eq!(through(&gateway, "203.0.113.9, 192.0.2.80", "/pay").status, 403);
    assert_eq!(decided(&gateway, "enforced"), 1.0);
    let (code, text) = tidegate(&gateway, &["bans", "add", "192.0.2.80"]);
    assert!(code == 1 && text.contains("protected"), "{text}");
}

#[test]
fn a_spoofed_address_does_not_block_its_owner() {
    let (_origin, gateway) = gateway(CONFIG);
    // The attacker writes the victim's address into the field; the CDN adds theirs.
    probe_until_blocked(&gateway, "203.0.113.50, 203.0.113.9, 192.0.2.80");
    assert_eq!(through(&gateway, "203.0.113.50, 192.0.2.80", "/pay").status, 200);
    // A peer that nobody trusts says whatever it likes.
    let mut peer =
        tidegate_testkit::Connection::open_from([127, 0, 0, 9].into(), gateway.address());
    for _ in 0..20 {
        let ask = Ask::new("GET", "/nothing").field("X-Forwarded-For", "203.0.113.50");
        assert_eq!(ask.send_on(&mut peer).status, 404);
    }
    assert_eq!(through(&gateway, "203.0.113.50, 192.0.2.80", "/pay").status, 200);
    assert_eq!(decided(&gateway, "enforced"), 1.0);
}

#[test]
fn a_spoofed_subject_does_not_block_its_owner() {
    let signer = Signer::new("k1");
    let keys = format!("{{ inline: '{}' }}", key_set(&[signer.jwk()]));
    let rule = "    forging: { when: { reasons: [invalid_token, insufficient_scope] }, key: subject, \
                leaky: { capacity: 5, leak: 1/h }, ladder: [block], enforce: true }\n";
    let config = CONFIG.replace("  rules:\n", &format!("  rules:\n{rule}"));
    let config = format!(
        "auth: {{ issuers: {{ corp: {{ issuer: https://id.example.com, audience: [api], keys: {keys} }} }} }}\n\
         defaults: {{ auth: {{ jwt: corp, scopes: [pay] }} }}\n{config}"
    );
    let (_origin, gateway) = gateway(&config);
    let claims = |scope: &str| {
        json!({
            "iss": "https://id.example.com", "aud": "api", "sub": "ann", "iat": now(),
            "exp": now() + 300, "scope": scope,
        })
    };
    let ask = |address: &str, token: &str| {
        let ask = Ask::new("GET", "/pay").field("X-Forwarded-For", address);
        ask.field("Authorization", &format!("Bearer {token}")).send(gateway.address()).status
    };
    let own = signer.token(&claims("pay"));
    let forged = Signer::new("k1").token(&claims("pay"));
    for _ in 0..30 {
        assert_eq!(ask("203.0.113.9", &forged), 401);
    }
    assert_eq!(ask("203.0.113.50", &own), 200);
    let labels = [("rule", "forging"), ("measure", "block"), ("standing", "enforced")];
    assert_eq!(gateway.metric("tidegate_decisions_total", &labels).unwrap_or_default(), 0.0);
    // Who is ann, and asks for what ann may not have, is blocked as ann.
    let narrow = signer.token(&claims("read"));
    wait::until("the block", || {
        ask("203.0.113.50", &narrow);
        ask("203.0.113.51", &own) == 403
    });
    assert_eq!(ask("203.0.113.52", &own), 403);
}

#[test]
fn a_policy_that_means_everybody_trips_the_cap() {
    let config =
        CONFIG.replace("status: [404]", "status: [200]").replace("capacity: 5", "capacity: 1");
    let config = config.replace("  builtin: off\n", "  builtin: off\n  cap: 5%\n  cap_floor: 3\n");
    let (_origin, gateway) = gateway(&config);
    let clients: Vec<String> = (0..100).map(|n| format!("203.0.113.{n}, 192.0.2.80")).collect();
    for _ in 0..4 {
        for client in &clients {
            through(&gateway, client, "/pay");
        }
    }
    wait::until("the cap", || decided(&gateway, "capped") > 0.0);
    let blocked =
        clients.iter().filter(|client| through(&gateway, client, "/pay").status == 403).count();
    assert!((1..=6).contains(&blocked), "{blocked} of 100 are blocked");
    let capped = gateway
        .metric("tidegate_notices_total", &[("kind", "enforcement_capped"), ("severity", "high")]);
    assert_eq!(capped, Some(1.0));
}

#[test]
fn our_scanner_and_our_health_checker_are_spared() {
    let (_origin, gateway) = gateway(CONFIG);
    for address in ["198.51.100.7", "198.51.100.1"] {
        for _ in 0..30 {
            assert_eq!(as_client(&gateway, address, "/nothing").status, 404);
        }
        assert_eq!(as_client(&gateway, address, "/pay").status, 200);
        let (code, text) = tidegate(&gateway, &["bans", "add", address]);
        assert!(code == 1 && text.contains("protected"), "{text}");
    }
    // Nor does a wider ban hit them, whoever decides it.
    tidegate(&gateway, &["bans", "add", "198.51.100.0/24"]);
    assert_eq!(as_client(&gateway, "198.51.100.7", "/pay").status, 200);
    assert_eq!(as_client(&gateway, "198.51.100.1", "/pay").status, 200);
    assert_eq!(as_client(&gateway, "198.51.100.8", "/pay").status, 403);
}

#[test]
fn the_panic_switch_ends_enforcement_at_once_and_all_is_still_told() {
    let (_origin, gateway) = gateway(CONFIG);
    let file = gateway.folder().join("panic");
    probe_until_blocked(&gateway, "203.0.113.9");
    let passes = || as_client(&gateway, "203.0.113.9", "/pay").status == 200;
    fs::write(&file, "").expect("writes");
    let (took, ()) = wait::timed(|| wait::until("the switch", passes));
    assert!(took.as_secs() < 2, "{took:?}");
    assert_eq!(gateway.metric("tidegate_panic", &[]), Some(1.0));
    // The attack goes on, and is told.
    for _ in 0..20 {
        assert_eq!(as_client(&gateway, "203.0.113.20", "/nothing").status, 404);
    }
    wait::until("the decision", || decided(&gateway, "panic") > 0.0);
    assert_eq!(as_client(&gateway, "203.0.113.20", "/pay").status, 200);
    fs::remove_file(&file).expect("is there");
    wait::until("enforcement", || !passes());
    // By the command line, and by a signal.
    assert_eq!(tidegate(&gateway, &["response", "panic", "on"]).0, 0);
    assert!(passes());
    let (_, status) = tidegate(&gateway, &["response", "panic", "status"]);
    assert!(status.contains("\"by_hand\": true"), "{status}");
    assert_eq!(tidegate(&gateway, &["response", "panic", "off"]).0, 0);
    assert!(!passes());
    gateway.signal(Signal::USR2);
    wait::until("the signal", passes);
    gateway.signal(Signal::USR2);
    wait::until("the other signal", || !passes());
    let on = [("kind", "panic_on"), ("severity", "high")];
    assert_eq!(gateway.metric("tidegate_notices_total", &on), Some(3.0));
}

#[test]
fn a_rule_in_dry_run_tells_and_does_nothing() {
    let (_origin, gateway) = gateway(&CONFIG.replace("      enforce: true\n", ""));
    for _ in 0..30 {
        assert_eq!(as_client(&gateway, "203.0.113.9", "/nothing").status, 404);
    }
    wait::until("the decision", || decided(&gateway, "dry_run") > 0.0);
    assert_eq!(as_client(&gateway, "203.0.113.9", "/pay").status, 200);
    assert_eq!(tidegate(&gateway, &["bans", "list"]).1, "");
}
