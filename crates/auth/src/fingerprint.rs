//! What a token is remembered by: 128 bits under a key that lasts as long as the process. It is the
//! hash in GCM (NIST SP 800-38D §6.4, over text that is only authenticated): for whoever does not
//! know the key two tokens have the same one with a chance of 2^-120, and it costs a quarter of a
//! SHA-256. It never leaves the process; the one nonce for all only hides a constant.

use std::sync::LazyLock;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand;

use crate::jose::sha256;

/// A token's fingerprint.
pub(crate) type Fingerprint = [u8; 16];

/// `None` if the library has no key or no randomness, which it always has.
static KEY: LazyLock<Option<LessSafeKey>> = LazyLock::new(|| {
    let mut secret = [0; 16];
    rand::fill(&mut secret).ok()?;
    UnboundKey::new(&AES_128_GCM, &secret).ok().map(LessSafeKey::new)
});

/// The fingerprint of a token.
pub(crate) fn fingerprint(token: &str) -> Fingerprint {
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    let tag = KEY.as_ref().and_then(|key| {
        key.seal_in_place_separate_tag(nonce, Aad::from(token.as_bytes()), &mut []).ok()
    });
    let mut short = [0; 16];
    let hash;
    let bytes = match &tag {
        Some(tag) => tag.as_ref(),
        None => {
            hash = sha256(token.as_bytes());
            &hash[..]
        }
    };
    short.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_and_the_length_make_a_difference() {
        let token = "eyJhbGciOiJFUzI1NiJ9.e30.AAAA".repeat(9);
        let own = fingerprint(&token);
        assert_eq!(own, fingerprint(&token));
        for at in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[at] ^= 1;
            let other = String::from_utf8(other).unwrap();
            assert_ne!(own, fingerprint(&other), "{at}");
            assert_ne!(own, fingerprint(token.get(..at).unwrap()), "{at}");
        }
        assert_ne!(own, fingerprint(&format!("{token}\0")));
    }
}
