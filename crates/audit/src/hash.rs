//! The hashes of the tree (RFC 6962, section 2.1): SHA-256, with a first byte that keeps an entry
//! from ever being taken for two hashes. What they are put together to stands in `tree`.

use std::fmt;

use aws_lc_rs::digest::{self, SHA256, SHA256_OUTPUT_LEN};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const LEAF: &[u8] = &[0];
const NODE: &[u8] = &[1];

/// A SHA-256 hash: of an entry, of two hashes below it, or of a whole tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash([u8; Self::LEN]);

impl Hash {
    /// Bytes of a hash.
    pub const LEN: usize = SHA256_OUTPUT_LEN;

    /// The root of a tree without entries: the hash of nothing.
    #[must_use]
    pub fn of_empty_tree() -> Self {
        Self::of(&[])
    }

    /// The hash of an entry.
    #[must_use]
    pub fn of_leaf(entry: &[u8]) -> Self {
        Self::of(&[LEAF, entry])
    }

    /// The hash of what stands over `left` and `right`.
    #[must_use]
    pub fn of_node(left: &Self, right: &Self) -> Self {
        Self::of(&[NODE, &left.0, &right.0])
    }

    fn of(parts: &[&[u8]]) -> Self {
        let mut context = digest::Context::new(&SHA256);
        for part in parts {
            context.update(part);
        }
        let mut hash = [0; Self::LEN];
        hash.copy_from_slice(context.finish().as_ref());
        Self(hash)
    }

    /// A hash that stands somewhere as bytes; nothing is computed.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Reads the base64 form (RFC 4648, section 4, padded); `None` for anything else.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        // 44 characters are 32 bytes: longer input is not even decoded.
        if text.len() != 44 {
            return None;
        }
        STANDARD.decode(text).ok()?.try_into().ok().map(Self)
    }
}

/// The base64 form, as it stands in checkpoints and proofs.
impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_are_those_of_rfc_6962() {
        // From the reference test vectors of Certificate Transparency.
        let empty = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(Hash::of_empty_tree().to_string(), empty);
        let leaf = "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=";
        assert_eq!(Hash::of_leaf(b"").to_string(), leaf);
    }

    #[test]
    fn the_text_form_is_strict() {
        let text = Hash::of_leaf(b"x").to_string();
        assert_eq!(Hash::from_base64(&text), Some(Hash::of_leaf(b"x")));
        for wrong in ["", "AAAA", &format!("{text}="), &text.replace('=', "")] {
            assert_eq!(Hash::from_base64(wrong), None, "{wrong}");
        }
    }
}
