//! Nothing secret reaches the disk, and what was encrypted is gone when its subject is erased.

use serde_json::{Value, json};
use tidegate_testkit::{Ask, Gateway, Origin, Reply};

use super::{assert_verifies, contains, events, everything_below, recorded, with_log};

const AUDIT: &str = "{ event: wallet, durable: before_response, subject: request.header:X-Account, fields: { \
    masked: { from: request.body:/card, redact: mask }, \
    hashed: { from: request.header:Idempotency-Key, redact: hash }, \
    dropped: { from: request.body:/secret_note, redact: drop }, \
    sealed: { from: request.body:/iban, redact: encrypt }, \
    order: request.body:/order, cookies: request.header:Cookie, \
    auth: request.header:Authorization, made: { from: response.header:Set-Cookie } } }";

const BODY: &str = r#"{"card":"5555555555554444","secret_note":"do-not-tell","iban":"DE02120300000000202051",
    "order":{"pan":"4111 1111 1111 1111","password":"hunter2","amount":12.5,"say":"Bearer abc.def.ghi"}}"#;

#[test]
fn secrets_never_reach_the_disk_and_an_erasure_leaves_a_log_that_verifies() {
    let origin = Origin::start(Reply::ok("ok").with("Set-Cookie", "session=s3ss10n"));
    let gateway = with_log("", &events(AUDIT)).set("origin", origin.address()).start();
    let ask = Ask::new("POST", "/cards/4111111111111111")
        .field("content-type", "application/json")
        .field("X-Account", "alice@example.com")
        .field("Idempotency-Key", "idem-12345")
        .field("Cookie", "sid=c00k1e")
        .field("Authorization", "Bearer t0ken-of-alice")
        .body(BODY);
    assert_eq!(ask.send(gateway.address()).status, 200);
    let outcome = recorded(&gateway, |record| record["kind"] == "outcome");
    assert_eq!(outcome["fields"], json!({"made": "***"}));
    let request = recorded(&gateway, |record| record["kind"] == "request");
    let fields = &request["fields"];
    assert_eq!(fields["masked"], "***4444");
    assert_eq!(fields["dropped"], json!({"redacted": "dropped"}));
    assert_eq!((&fields["cookies"], &fields["auth"]), (&json!("***"), &json!("***")));
    let order = json!({"pan": "**** **** **** 1111", "password": "***", "amount": 12.5, "say": "Bearer ***"});
    assert_eq!(fields["order"], order);
    assert!(fields["hashed"].as_str().expect("a text").starts_with("hmac:"));
    assert_eq!(fields["sealed"]["sealed"], "A256GCM");
    assert_eq!(request["path"], "/cards/************1111");
    assert!(request["subject"].as_str().is_some_and(|s| s.starts_with("hmac:")), "{request}");

    let disk = everything_below(&gateway.folder().join("audit"));
    for secret in [
        "alice",
        "555555555555",
        "41111111",
        "hunter2",
        "do-not-tell",
        "DE0212",
        "c00k1e",
        "t0ken",
        "s3ss10n",
        "idem-12345",
        "abc.def",
    ] {
        assert!(!contains(&disk, secret), "{secret} is on the disk");
    }

    erase(&gateway, &request);
}

/// Erases the subject of a request, who then comes back.
#[track_caller]
fn erase(gateway: &Gateway, request: &Value) {
    let subject = request["subject"].as_str().expect("a pseudonym").to_owned();
    let key = request["fields"]["sealed"]["key"].as_str().expect("a key").to_owned();
    let keys = everything_below(&gateway.folder().join("subjects"));
    assert!(keys.len() > 48, "a key was made");
    let erase = || {
        Ask::new("POST", "/audit/erase?subject=alice%40example.com").body("").send(gateway.admin())
    };
    let erased = erase();
    assert_eq!(erased.status, 200, "{}", erased.text());
    assert_eq!((&erased.json()["erased"], &erased.json()["key"]), (&json!(subject), &json!(key)));
    assert_eq!(erase().status, 404);
    assert_eq!(everything_below(&gateway.folder().join("subjects")), b"");
    let erasure = recorded(gateway, |record| record["kind"] == "erasure");
    assert_eq!((&erasure["subject"], &erasure["details"]["key"]), (&json!(subject), &json!(key)));
    assert_verifies(gateway.folder());

    assert!(!contains(&everything_below(&gateway.folder().join("audit")), "alice"));

    // Whoever comes back gets another key under the same pseudonym.
    let again = Ask::new("POST", "/again").field("X-Account", "alice@example.com");
    let again = again.field("content-type", "application/json").body(r#"{"iban":"DE99"}"#);
    assert_eq!(again.send(gateway.address()).status, 200);
    let request = recorded(gateway, |record| record["path"] == "/again");
    assert_eq!(request["subject"], subject.as_str());
    assert_ne!(request["fields"]["sealed"]["key"], key.as_str());
    assert_verifies(gateway.folder());
}
