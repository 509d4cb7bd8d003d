//! An operator of NATS with one account and its users, each with a token that the one above signed
//! (JWT with `ed25519-nkey`): the server knows nobody but the operator.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

/// Who may write to one account's stream.
pub(super) struct Operator {
    key: KeyPair,
    account: KeyPair,
}

/// A user, who proves that a key is his.
pub(super) struct User {
    token: String,
    key: KeyPair,
}

impl Operator {
    pub(super) fn new() -> Self {
        Self { key: KeyPair::new_operator(), account: KeyPair::new_account() }
    }

    /// What the server has to know.
    pub(super) fn settings(&self) -> String {
        let own = self.key.public_key();
        let operator = sign(&self.key, &own, &json!({ "type": "operator", "version": 2 }));
        let system = KeyPair::new_account();
        let account = |key: &KeyPair, storage: i64| {
            let limits = json!({
                "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
                "wildcards": true, "conn": -1, "leaf": -1, "mem_storage": storage,
                "disk_storage": storage, "streams": storage, "consumer": storage,
            });
            let claims = json!({ "type": "account", "version": 2, "limits": limits });
            format!("{}: \"{}\"", key.public_key(), sign(&self.key, &key.public_key(), &claims))
        };
        format!(
            "operator: \"{operator}\"\nsystem_account: {}\nresolver: MEMORY\n\
             resolver_preload: {{ {}\n{} }}",
            system.public_key(),
            account(&self.account, -1),
            account(&system, 0)
        )
    }

    /// A user who may publish and subscribe to these subjects.
    pub(super) fn user(&self, publish: &[&str], subscribe: &[&str]) -> User {
        let key = KeyPair::new_user();
        let claims = json!({
            "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1,
            "pub": { "allow": publish }, "sub": { "allow": subscribe },
        });
        User { token: sign(&self.account, &key.public_key(), &claims), key }
    }
}

impl User {
    /// The file that clients have.
    pub(super) fn credentials(&self) -> String {
        format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            self.token,
            self.seed()
        )
    }

    pub(super) fn seed(&self) -> String {
        self.key.seed().expect("a seed")
    }

    /// What a client says to a server that greets it so.
    pub(super) fn connect(&self, greeting: &Value) -> Value {
        let nonce = greeting["nonce"].as_str().expect("a nonce");
        let signature = self.key.sign(nonce.as_bytes()).expect("signs");
        let signature = URL_SAFE_NO_PAD.encode(signature);
        json!({ "verbose": false, "jwt": self.token, "sig": signature })
    }
}

fn sign(issuer: &KeyPair, subject: &str, claims: &Value) -> String {
    let head = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let body = json!({
        "jti": subject, "iat": 1_700_000_000, "iss": issuer.public_key(), "sub": subject,
        "name": "test", "nats": claims,
    });
    let [head, body] = [head, body].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signature = issuer.sign(format!("{head}.{body}").as_bytes()).expect("signs");
    format!("{head}.{body}.{}", URL_SAFE_NO_PAD.encode(signature))
}
