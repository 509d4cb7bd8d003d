//! The server's side of SASL PLAIN (RFC 4616) and SCRAM (RFC 5802, RFC 7677), written from the
//! RFCs: it lets in who knows the password, and nobody else.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const ITERATIONS: u32 = 4096;
const SALT: &[u8] = b"a salt of a test";

/// One client's proof.
pub(super) struct Exchange {
    mechanism: &'static str,
    user: &'static str,
    password: &'static str,
    /// The client's first message without its head, and our answer to it.
    first: Option<(String, String)>,
    done: bool,
}

/// What a mechanism is made of.
struct Hash(hmac::Algorithm, pbkdf2::Algorithm, &'static digest::Algorithm);

impl Exchange {
    pub(super) fn new(mechanism: &'static str, user: &'static str, password: &'static str) -> Self {
        Self { mechanism, user, password, first: None, done: false }
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Our answer to a message; `None` refuses the client.
    pub(super) fn step(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(message).ok()?;
        if self.mechanism == "PLAIN" {
            self.done = text == format!("\0{}\0{}", self.user, self.password);
            return self.done.then(Vec::new);
        }
        let Some((first, answer)) = &self.first else {
            let bare = text.strip_prefix("n,,")?;
            let nonce = bare.strip_prefix(&format!("n={},r=", self.user))?;
            let answer = format!("r={nonce}server,s={},i={ITERATIONS}", STANDARD.encode(SALT));
            self.first = Some((bare.to_owned(), answer.clone()));
            return Some(answer.into_bytes());
        };
        let (without_proof, proof) = text.rsplit_once(",p=")?;
        let nonce = answer.split(',').next()?;
        if without_proof != format!("c=biws,{nonce}") {
            return None;
        }
        let signed = self.verify(&format!("{first},{answer},{without_proof}"), proof)?;
        self.done = true;
        Some(format!("v={}", STANDARD.encode(signed)).into_bytes())
    }

    /// The proof that we know the password too, if the client's holds (RFC 5802 §3).
    fn verify(&self, signed: &str, proof: &str) -> Option<Vec<u8>> {
        let Hash(mac, derive, hash) = match self.mechanism {
            "SCRAM-SHA-256" => Hash(hmac::HMAC_SHA256, pbkdf2::PBKDF2_HMAC_SHA256, &digest::SHA256),
            "SCRAM-SHA-512" => Hash(hmac::HMAC_SHA512, pbkdf2::PBKDF2_HMAC_SHA512, &digest::SHA512),
            _ => return None,
        };
        let mac = |key: &[u8], text: &str| {
            hmac::sign(&hmac::Key::new(mac, key), text.as_bytes()).as_ref().to_vec()
        };
        let mut salted = vec![0; hash.output_len()];
        let iterations = NonZeroU32::new(ITERATIONS)?;
        pbkdf2::derive(derive, iterations, SALT, self.password.as_bytes(), &mut salted);
        let stored = digest::digest(hash, &mac(&salted, "Client Key"));
        let signature = mac(stored.as_ref(), signed);
        let proof = STANDARD.decode(proof).ok()?;
        let key: Vec<u8> = proof.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        let holds = digest::digest(hash, &key).as_ref() == stored.as_ref();
        holds.then(|| mac(&mac(&salted, "Server Key"), signed))
    }
}

#[test]
fn the_example_of_rfc_7677_is_not_taken_with_a_wrong_proof() {
    let mut exchange = Exchange::new("SCRAM-SHA-256", "user", "pencil");
    let answer = exchange.step(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").expect("an answer");
    assert!(answer.starts_with(b"r=rOprNGfwEbeRWgbNEkqOserver,s="));
    let wrong = format!("c=biws,r=rOprNGfwEbeRWgbNEkqOserver,p={}", STANDARD.encode([7; 32]));
    assert_eq!((exchange.step(wrong.as_bytes()), exchange.is_done()), (None, false));
}
