//! Tokens as issuers make them, and as attackers do: every part can be said otherwise.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// A key that signs tokens with ES256.
#[derive(Debug)]
pub struct Signer {
    id: String,
    pair: EcdsaKeyPair,
}

impl Signer {
    /// A new key with this `kid`.
    #[must_use]
    pub fn new(id: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("makes a key");
        Self { id: id.to_owned(), pair }
    }

    /// The public key.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        json!({
            "kty": "EC", "crv": "P-256", "kid": self.id, "alg": "ES256", "use": "sig",
            "x": encode(&point[1..33]), "y": encode(&point[33..65]),
        })
    }

    /// An access token with these claims (RFC 9068).
    #[must_use]
    pub fn token(&self, claims: &Value) -> String {
        self.sign(&json!({ "typ": "at+jwt", "alg": "ES256", "kid": self.id }), claims)
    }

    /// A token with this header.
    #[must_use]
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_texts(&header.to_string(), &claims.to_string())
    }

    /// A token of these texts, whatever they are.
    #[must_use]
    pub fn sign_texts(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("signs");
        format!("{signed}.{}", encode(signature.as_ref()))
    }
}

/// A key that signs tokens with RS256.
#[derive(Debug)]
pub struct RsaSigner {
    id: String,
    pair: RsaKeyPair,
}

impl RsaSigner {
    /// A new key with this `kid`.
    #[must_use]
    pub fn new(id: &str) -> Self {
        let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).expect("makes a key");
        Self { id: id.to_owned(), pair }
    }

    /// The public key.
    #[must_use]
    pub fn jwk(&self) -> Value {
        // RFC 8017 §A.1.1: a sequence of two integers, of which the first has 2048 bits here.
        let der = self.pair.public_key().as_ref();
        let n = &der[der.len() - 5 - 256..der.len() - 5];
        json!({ "kty": "RSA", "kid": self.id, "n": encode(n), "e": "AQAB" })
    }

    /// An access token with these claims.
    #[must_use]
    pub fn token(&self, claims: &Value) -> String {
        let header = json!({ "typ": "at+jwt", "alg": "RS256", "kid": self.id });
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .expect("signs");
        format!("{signed}.{}", encode(signature))
    }
}

/// A JWK set of these keys.
#[must_use]
pub fn key_set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// Base64url without padding.
#[must_use]
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The time in seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    let since = tidegate_core::Clock::System.wall().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
