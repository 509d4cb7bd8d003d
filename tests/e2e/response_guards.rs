//! What keeps the response policy from being the outage: the attack comes through the CDN's own
//! address, in somebody else's name, from a scanner of ours; the policy means everybody; somebody has
//! to stop it all at once. Each is rehearsed twice, with its guard and without, where the harm shows;
//! a table of both stands in `docs/guide/response.md`.

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
fn without_trusting_the_cdn_its_address_is_blocked_for_everybody() {
    let config = CONFIG.replace("[127.0.0.1, 192.0.2.80]", "[127.0.0.1]");
    let (_origin, gateway) = gateway(&config);
    probe_until_blocked(&gateway, "203.0.113.9, 192.0.2.80");
    assert_eq!(through(&gateway, "203.0.113.10, 192.0.2.80", "/pay").status, 403);
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
fn with_too_much_trust_a_spoofed_address_is_blocked() {
    let config = CONFIG.replace("192.0.2.80]", "192.0.2.80, 203.0.113.9]");
    let (_origin, gateway) = gateway(&config);
    probe_until_blocked(&gateway, "203.0.113.50, 203.0.113.9, 192.0.2.80");
    assert_eq!(through(&gateway, "203.0.113.50, 192.0.2.80", "/pay").status, 403);
}

/// A gateway that believes the tokens of these keys, and blocks whom they name.
fn gateway_with_subjects(signers: &[&Signer]) -> (Origin, Gateway) {
    let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
    let keys = format!("{{ inline: '{}' }}", key_set(&keys));
    let rule = "    forging: { when: { reasons: [invalid_token, insufficient_scope] }, key: subject, \
                leaky: { capacity: 5, leak: 1/h }, ladder: [block], enforce: true }\n";
    let config = CONFIG.replace("  rules:\n", &format!("  rules:\n{rule}"));
    let config = format!(
        "auth: {{ issuers: {{ corp: {{ issuer: https://id.example.com, audience: [api], keys: {keys} }} }} }}\n\
         defaults: {{ auth: {{ jwt: corp, scopes: [pay] }} }}\n{config}"
    );
    gateway(&config)
}

/// A token of ann's.
fn of_ann(signer: &Signer, scope: &str) -> String {
    signer.token(&json!({
        "iss": "https://id.example.com", "aud": "api", "sub": "ann", "iat": now(),
        "exp": now() + 300, "scope": scope,
    }))
}

fn with_token(gateway: &Gateway, address: &str, token: &str) -> u16 {
    let ask = Ask::new("GET", "/pay").field("X-Forwarded-For", address);
    ask.field("Authorization", &format!("Bearer {token}")).send(gateway.address()).status
}

#[test]
fn a_spoofed_subject_does_not_block_its_owner() {
    let signer = Signer::new("k1");
    let (_origin, gateway) = gateway_with_subjects(&[&signer]);
    let ask = |address, token: &str| with_token(&gateway, address, token);
    let own = of_ann(&signer, "pay");
    let forged = of_ann(&Signer::new("k1"), "pay");
    for _ in 0..30 {
        assert_eq!(ask("203.0.113.9", &forged), 401);
    }
    assert_eq!(ask("203.0.113.50", &own), 200);
    let labels = [("rule", "forging"), ("measure", "block"), ("standing", "enforced")];
    assert_eq!(gateway.metric("tidegate_decisions_total", &labels).unwrap_or_default(), 0.0);
    // Who is ann, and asks for what ann may not have, is blocked as ann.
    let narrow = of_ann(&signer, "read");
    wait::until("the block", || {
        ask("203.0.113.50", &narrow);
        ask("203.0.113.51", &own) == 403
    });
    assert_eq!(ask("203.0.113.52", &own), 403);
}

#[test]
fn whoever_can_sign_can_block_in_any_name() {
    // What a verified subject guards from: the same attack, with a key that is believed.
    let (signer, thief) = (Signer::new("k1"), Signer::new("k2"));
    let (_origin, gateway) = gateway_with_subjects(&[&signer, &thief]);
    let own = of_ann(&signer, "pay");
    assert_eq!(with_token(&gateway, "203.0.113.50", &own), 200);
    let forged = of_ann(&thief, "read");
    wait::until("the block", || {
        with_token(&gateway, "203.0.113.9", &forged);
        with_token(&gateway, "203.0.113.50", &own) == 403
    });
}

/// How many of 100 clients are blocked by a rule that means everybody.
fn blocked_by_a_rule_for_everybody(cap: &str) -> (Gateway, usize) {
    let config =
        CONFIG.replace("status: [404]", "status: [200]").replace("capacity: 5", "capacity: 1");
    let config = config.replace("  builtin: off\n", &format!("  builtin: off\n{cap}"));
    let (_origin, gateway) = gateway(&config);
    let clients: Vec<String> = (0..100).map(|n| format!("203.0.113.{n}, 192.0.2.80")).collect();
    for _ in 0..4 {
        for client in &clients {
            through(&gateway, client, "/pay");
        }
        wait::until("the clients", || {
            gateway.metric("tidegate_response_clients", &[]) == Some(100.0)
        });
    }
    let all = || decided(&gateway, "capped") + decided(&gateway, "enforced") >= 100.0;
    wait::until("the decisions", all);
    let blocked =
        || clients.iter().filter(|client| through(&gateway, client, "/pay").status == 403).count();
    wait::until("the measures", || blocked() as f64 >= decided(&gateway, "enforced"));
    let blocked = blocked();
    (gateway, blocked)
}

#[test]
fn without_the_cap_a_policy_that_means_everybody_blocks_everybody() {
    let (_gateway, blocked) = blocked_by_a_rule_for_everybody("  cap: 100%\n");
    assert_eq!(blocked, 100);
}

#[test]
fn a_policy_that_means_everybody_trips_the_cap() {
    let (gateway, blocked) = blocked_by_a_rule_for_everybody("  cap: 5%\n  cap_floor: 3\n");
    assert!((1..=6).contains(&blocked), "{blocked} of 100 are blocked");
    let capped = gateway
        .metric("tidegate_notices_total", &[("kind", "enforcement_capped"), ("severity", "high")]);
    assert_eq!(capped, Some(1.0));
}

/// 40 addresses that only ever do harm.
fn attack_by_many(gateway: &Gateway) -> Vec<String> {
    let attackers: Vec<String> = (100..140).map(|n| format!("203.0.113.{n}, 192.0.2.80")).collect();
    for _ in 0..8 {
        for attacker in &attackers {
            through(gateway, attacker, "/nothing");
        }
    }
    attackers
}

#[test]
fn a_distributed_attack_is_stopped_however_many_take_part() {
    let panic_file = "  panic_file: panic\n";
    let throttle = format!("{panic_file}  throttle: {{ rate: 1/h, burst: 1 }}\n");
    let (_origin, gateway) = gateway(&CONFIG.replace(panic_file, &throttle));
    let clients: Vec<String> = (0..20).map(|n| format!("203.0.113.{n}, 192.0.2.80")).collect();
    for client in &clients {
        assert_eq!(through(&gateway, client, "/pay").status, 200);
    }
    let known = || gateway.metric("tidegate_response_clients", &[]) == Some(20.0);
    wait::until("the clients", known);
    let attackers = attack_by_many(&gateway);
    let met = |status| {
        let got = attackers.iter().map(|attacker| through(&gateway, attacker, "/nothing").status);
        got.filter(|got| *got == status).count()
    };
    // The first five are blocked, the others throttled, each with its own bucket.
    wait::until("the measures", || met(403) + met(429) == 40);
    assert_eq!(met(403), 5);
    for client in &clients {
        assert_eq!(through(&gateway, client, "/pay").status, 200);
    }
    assert_eq!(gateway.metric("tidegate_response_capped", &[]), Some(0.0));
}

#[test]
fn while_nobody_is_served_even_who_only_does_harm_counts() {
    let (_origin, gateway) = gateway(CONFIG);
    // A service that answers nobody well is no witness of who is honest.
    let attackers = attack_by_many(&gateway);
    wait::until("the cap", || decided(&gateway, "capped") >= 35.0);
    let blocked = attackers.iter().filter(|of| through(&gateway, of, "/pay").status == 403).count();
    assert_eq!(blocked, 5);
}

#[test]
fn visitors_whom_another_page_lures_are_spared() {
    let config = CONFIG.replace("builtin: off", "builtin: enforce");
    let config = config.replace("capacity: 5, leak: 1/h", "capacity: 5000, leak: 1/h");
    let (_origin, gateway) = gateway(&config);
    let lured = |address: &str, site: &str| {
        let ask = Ask::new("GET", "/a%2Fb").field("X-Forwarded-For", address);
        ask.field("Sec-Fetch-Site", site).send(gateway.address()).status
    };
    for _ in 0..80 {
        assert_eq!(lured("203.0.113.9", "cross-site"), 400);
    }
    assert_eq!(as_client(&gateway, "203.0.113.9", "/pay").status, 200);
    // The same from a program that does not say so.
    wait::until("the measure", || {
        lured("203.0.113.10", "none");
        as_client(&gateway, "203.0.113.10", "/pay").status != 200
    });
}

#[test]
fn this_machine_and_its_upstreams_are_never_counted() {
    // The address that this machine would send from; nothing is sent.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("binds");
    let own = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr()).map(|at| at.ip());
    let other = "  other: { endpoints: ['198.51.100.200:80'] }\n";
    let config = CONFIG.replace(
        "upstreams: { api: { endpoints: [<origin>] } }",
        "upstreams:\n  api: { endpoints: [<origin>] }\n",
    );
    let probe = |gateway: &Gateway, address: &str| {
        for _ in 0..30 {
            assert_eq!(as_client(gateway, address, "/nothing").status, 404);
        }
        assert_eq!(as_client(gateway, address, "/pay").status, 200);
    };
    let (_origin, guarded) = gateway(&format!("{config}{other}"));
    probe(&guarded, "198.51.100.200");
    match own {
        Ok(own) if !own.is_loopback() => probe(&guarded, &own.to_string()),
        _ => eprintln!("this machine has no other address than loopback"),
    }
    let labels = [("rule", "probing")];
    assert_eq!(guarded.metric("tidegate_decisions_total", &labels).unwrap_or_default(), 0.0);
    let (_origin, unguarded) = gateway(&config);
    probe_until_blocked(&unguarded, "198.51.100.200");
}

#[test]
fn without_being_named_our_scanner_is_blocked() {
    let config = CONFIG.replace("  allow: [198.51.100.7]\n", "").replace("[198.51.100.1]", "[]");
    let (_origin, gateway) = gateway(&config);
    for address in ["198.51.100.7", "198.51.100.1"] {
        probe_until_blocked(&gateway, address);
    }
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
