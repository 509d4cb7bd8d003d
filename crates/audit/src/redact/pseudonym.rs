//! [`Pseudonyms`]: keyed hashes, so that what belongs together can be joined and nobody can try
//! all account numbers without the key.

use std::fmt;

use aws_lc_rs::hmac;

/// Shorter keys can be guessed.
pub const SHORTEST_KEY: usize = 16;

/// Gives the same text the same pseudonym: `hmac:` and HMAC-SHA256 in hexadecimal.
pub struct Pseudonyms(hmac::Key);

impl Pseudonyms {
    /// Pseudonyms under a key; `None` if it has fewer than [`SHORTEST_KEY`] bytes.
    #[must_use]
    pub fn new(key: &[u8]) -> Option<Self> {
        (key.len() >= SHORTEST_KEY).then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, key)))
    }

    /// The pseudonym of a text.
    #[must_use]
    pub fn of(&self, text: &str) -> String {
        let tag = hmac::sign(&self.0, text.as_bytes());
        let mut pseudonym = String::with_capacity(69);
        pseudonym.push_str("hmac:");
        super::seal::push_hex(&mut pseudonym, tag.as_ref());
        pseudonym
    }
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pseudonyms(<secret>)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pseudonyms_are_what_openssl_says() {
        // printf alice | openssl dgst -sha256 -hmac 0123456789abcdef
        let pseudonyms = Pseudonyms::new(b"0123456789abcdef").unwrap();
        assert_eq!(
            pseudonyms.of("alice"),
            "hmac:fdbf8b1cacd3d578e062d0e41104357d06aa63eca39f80b6fd7c83afedf1d44a"
        );
        assert!(Pseudonyms::new(b"0123456789abcde").is_none());
    }
}
