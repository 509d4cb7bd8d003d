//! JOSE, read strictly (RFC 7515, 7517, 7518, 8725): the compact form, public keys, signatures.
//!
//! What a token says about keys (`jwk`, `jku`, `x5u`, `x5c`) is not read; an algorithm belongs to
//! a key before a token is seen. There is no encryption, no symmetric key and no `none` here.

mod algorithm;
mod key;
mod key_set;
mod token;

pub use self::algorithm::Algorithm;
pub(crate) use self::key::sha256;
pub use self::key::{Key, KeyError, Thumbprint};
pub use self::key_set::{KeySet, KeySetError};
pub use self::token::{Header, Malformed, Signed, Token};
