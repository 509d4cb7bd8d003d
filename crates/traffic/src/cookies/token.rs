//! Signed values: a number and when it expires, under HMAC-SHA256 (RFC 2104, FIPS 180-4).
//!
//! ```text
//! 8 bytes number · 4 bytes expiry in seconds since the epoch, 0 for none · 16 bytes signature
//! ```
//!
//! in hexadecimal digits. The signature is the leading half of the HMAC, compared in constant time.

use std::sync::OnceLock;

use aws_lc_rs::constant_time;
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use tidegate_core::Secret;

/// A value that we signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it names; only who knows the key can tell what that is.
    pub(crate) id: u64,
    /// In seconds since the epoch; 0 if it does not expire.
    pub(crate) expires: u32,
    /// Which key signed it; 0 is the one that signs now.
    pub(crate) key: usize,
}

/// The keys of one purpose.
#[derive(Debug)]
pub(super) struct Signer {
    keys: Box<[hmac::Key]>,
}

const SIGNATURE: usize = 16;
const LEN: usize = 12 + SIGNATURE;
/// What keys are used for, so that no identity is ever a signature.
const FOR_VALUES: u8 = 1;
const FOR_NAMES: u8 = 2;

impl Signer {
    pub(super) fn new(purpose: &str, secrets: &[Secret]) -> Self {
        let key = |secret: &[u8]| {
            let mut context = hmac::Context::with_key(&hmac::Key::new(HMAC_SHA256, secret));
            context.update(b"tidegate cookie ");
            context.update(purpose.as_bytes());
            hmac::Key::new(HMAC_SHA256, context.sign().as_ref())
        };
        let keys = match secrets {
            [] => [key(process_secret())].into(),
            secrets => secrets.iter().map(|secret| key(secret.reveal().as_bytes())).collect(),
        };
        Self { keys }
    }

    pub(super) fn keys(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn id(&self, key: usize, name: &[u8]) -> u64 {
        let Some(key) = self.keys.get(key) else { return 0 };
        let mut context = hmac::Context::with_key(key);
        context.update(&[FOR_NAMES]);
        context.update(name);
        let tag = context.sign();
        tag.as_ref().first_chunk().map_or(0, |id| u64::from_be_bytes(*id))
    }

    pub(super) fn sign(&self, id: u64, expires: u32) -> String {
        let mut bytes = [0_u8; LEN];
        let (number, rest) = bytes.split_at_mut(8);
        number.copy_from_slice(&id.to_be_bytes());
        let (expiry, signature) = rest.split_at_mut(4);
        expiry.copy_from_slice(&expires.to_be_bytes());
        if let Some(tag) = self.keys.first().and_then(|key| tag(key, id, expires)) {
            signature.copy_from_slice(&tag);
        }
        to_hex(&bytes)
    }

    pub(super) fn verify(&self, value: &[u8], now: u64) -> Option<Token> {
        let bytes = from_hex(value)?;
        let (id, rest) = bytes.split_first_chunk()?;
        let (expires, signature) = rest.split_first_chunk()?;
        let (id, expires) = (u64::from_be_bytes(*id), u32::from_be_bytes(*expires));
        let signed_by = |key| {
            tag(key, id, expires)
                .is_some_and(|tag| constant_time::verify_slices_are_equal(&tag, signature).is_ok())
        };
        let key = self.keys.iter().position(signed_by)?;
        (expires == 0 || u64::from(expires) > now).then_some(Token { id, expires, key })
    }
}

fn tag(key: &hmac::Key, id: u64, expires: u32) -> Option<[u8; SIGNATURE]> {
    let mut context = hmac::Context::with_key(key);
    context.update(&[FOR_VALUES]);
    context.update(&id.to_be_bytes());
    context.update(&expires.to_be_bytes());
    context.sign().as_ref().first_chunk().copied()
}

/// Made once, so that reloads keep it.
fn process_secret() -> &'static [u8] {
    static SECRET: OnceLock<Vec<u8>> = OnceLock::new();
    SECRET.get_or_init(|| {
        let mut secret = [0_u8; 32];
        match aws_lc_rs::rand::fill(&mut secret) {
            Ok(()) => secret.to_vec(),
            // Without the system's randomness, that of the standard library's hash tables.
            Err(_unspecified) => (0..4).flat_map(|_| crate::random::next().to_be_bytes()).collect(),
        }
    })
}

fn to_hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn from_hex(text: &[u8]) -> Option<[u8; LEN]> {
    let mut bytes = [0_u8; LEN];
    if text.len() != 2 * LEN {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        let digit = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn signer(secrets: &[&str]) -> Signer {
        let secrets: Vec<_> = secrets.iter().map(|text| Secret::from((*text).to_owned())).collect();
        Signer::new("sticky api", &secrets)
    }

    #[test]
    fn what_was_signed_is_accepted_until_it_expires() {
        let signer = signer(&["the first secret"]);
        let value = signer.sign(7, 1_000);
        assert_eq!(
            signer.verify(value.as_bytes(), 999),
            Some(Token { id: 7, expires: 1_000, key: 0 })
        );
        assert_eq!(signer.verify(value.as_bytes(), 1_000), None);
        assert!(signer.verify(signer.sign(7, 0).as_bytes(), u64::MAX).is_some());
    }

    #[test]
    fn secrets_can_be_changed() {
        let old = signer(&["the first secret"]);
        let both = signer(&["the other secret", "the first secret"]);
        let new = signer(&["the other secret"]);
        let value = old.sign(7, 0);
        assert_eq!(both.verify(value.as_bytes(), 0).map(|token| token.key), Some(1));
        assert_eq!(both.id(1, b"a"), old.id(0, b"a"));
        assert_eq!(new.verify(value.as_bytes(), 0), None);
        assert!(new.verify(both.sign(7, 0).as_bytes(), 0).is_some());
    }

    #[test]
    fn values_of_another_purpose_are_refused() {
        let secrets = [Secret::from("the first secret".to_owned())];
        let (api, pay) = (Signer::new("api", &secrets), Signer::new("pay", &secrets));
        assert_eq!(pay.verify(api.sign(7, 0).as_bytes(), 0), None);
        assert_ne!(pay.id(0, b"a"), api.id(0, b"a"));
    }

    #[test]
    fn without_a_secret_the_process_has_one() {
        let (one, other) = (signer(&[]), signer(&[]));
        assert!(other.verify(one.sign(7, 0).as_bytes(), 0).is_some());
    }

    proptest! {
        #[test]
        fn garbage_is_refused(value in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(signer(&[]).verify(&value, 0), None);
        }

        #[test]
        fn a_changed_digit_is_refused(at in 0_usize..2 * LEN, digit in prop::sample::select(b"0123456789abcdefg".to_vec())) {
            let signer = signer(&[]);
            let mut value = signer.sign(0x1234_5678_9abc_def0, 0).into_bytes();
            prop_assume!(value[at] != digit);
            value[at] = digit;
            prop_assert_eq!(signer.verify(&value, 0), None);
        }
    }
}
