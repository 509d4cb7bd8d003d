//! What happens beside requests, of each kind.

use std::fs;

use tidegate_core::notice::NoticeKind;
use tidegate_testkit::client::{Ask, get};
use tidegate_testkit::tls::trusting;
use tidegate_testkit::tokens::key_set;
use tidegate_testkit::{Connection, Origin, Reply, wait};

use super::Stage;
use super::requests::of_gone;
use crate::audit::faults::Injected;

/// The audit log's disk is full for a while.
pub(super) fn audit_fails(stage: &Stage) {
    let ask = || stage.ask("/kept", "198.51.100.7", None);
    assert_eq!(ask(), 200);
    let full = Injected::full_disk(&stage.gateway);
    wait::until("the disk is full", || ask() == 503);
    stage.saw(NoticeKind::AuditFailing);
    drop(full);
    wait::until("there is room again", || ask() == 200);
}

pub(super) fn connections(stage: &Stage) {
    let [encrypted, proxied] = [1, 2].map(|number| stage.gateway.addresses()[number]);
    let config = trusting(&stage.ca).config();
    let mut connection = Connection::tls(encrypted, "api.example.com", &config);
    assert_eq!(Ask::new("GET", "/").send_on(&mut connection).status, 200);
    for listener in [encrypted, proxied] {
        let mut plain = Connection::open(listener);
        plain.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        plain.try_response().ok();
    }
}

/// A client is blocked, the next one would be too many, and in the end the policy acts again.
pub(super) fn policy(stage: &Stage) {
    wait::until("the block", || stage.ask("/nothing", "198.51.100.30", None) == 403);
    for _ in 0..6 {
        assert_eq!(stage.ask("/nothing", "198.51.100.31", None), 404);
    }
    stage.saw(NoticeKind::EnforcementCapped);
}

pub(super) fn administration(stage: &Stage) {
    let admin = stage.gateway.admin();
    let ban = "/bans?network=203.0.113.0%2F24&for=1h&reason=test";
    assert_eq!(Ask::new("POST", ban).send(admin).status, 200);
    assert_eq!(stage.ask("/", "203.0.113.9", None), 403);
    assert_eq!(Ask::new("DELETE", "/bans?network=203.0.113.0%2F24").send(admin).status, 200);
    let throttle = "/bans?network=203.0.113.9&measure=throttle&for=1h";
    assert_eq!(Ask::new("POST", throttle).send(admin).status, 200);
    assert_eq!([(); 2].map(|()| stage.ask("/", "203.0.113.9", None)), [200, 429]);
    for on in [true, false] {
        let switch = format!("/response/panic?on={on}");
        assert_eq!(Ask::new("POST", &switch).send(admin).status, 200);
    }
    let leaf = stage.ca.server(&["api.example.com"]);
    for (name, text) in [("tls.crt", &leaf.cert), ("tls.key", &leaf.key)] {
        fs::write(stage.gateway.folder().join(name), text).expect("writes");
    }
    assert!(stage.gateway.reload().status < 300);
    stage.gateway.write_config("routes: [{ path: /, to: nowhere }]\nupstreams: {}\n");
    assert!(stage.gateway.reload().status >= 400);
    assert_eq!(get(admin, "/readyz").status, 200);
}

/// Whoever was missing comes back: endpoints, zones, the issuer's keys, the sink's receiver.
pub(super) fn revive(stage: &Stage) -> Vec<Origin> {
    let keys = key_set(&[stage.signer.jwk()]);
    let start = |(name, address): (&&str, &_)| {
        let reply = match *name {
            "gone" => Reply::ok(keys.clone()),
            _ => Reply::ok("ok"),
        };
        Origin::on(*address, move |_request| reply.clone())
    };
    let back = stage.vacant.iter().map(start).collect();
    let token = of_gone(stage);
    wait::until_within(std::time::Duration::from_secs(60), "the keys", || {
        stage.ask("/gone", "198.51.100.4", Some(&token)) == 200
    });
    back
}
