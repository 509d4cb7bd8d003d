//! One public key from a JWK (RFC 7517), bound to the algorithms it may be used with before any
//! token is seen.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::ParsedPublicKey;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Algorithm;
use super::algorithm::Family;
use crate::json::Object;

/// A key's identity: the SHA-256 of what it is made of, as a JWK thumbprint (RFC 7638).
pub type Thumbprint = [u8; 32];

/// A public key, ready to check signatures.
pub struct Key {
    id: Option<Box<str>>,
    thumbprint: Thumbprint,
    uses: Box<[(Algorithm, ParsedPublicKey)]>,
}

/// Why a JWK cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A member is missing or no base64url.
    #[error("`{0}` is missing or malformed")]
    Member(&'static str),
    /// Another type, curve, use or algorithm than what can be used here.
    #[error("a key for something else: {0}")]
    Unfit(&'static str),
    /// It holds what only its owner may know.
    #[error("a private or symmetric key, which does not belong here")]
    Private,
    /// The numbers are no key, or a weak one.
    #[error("the key is weak or invalid")]
    Rejected,
}

impl Key {
    /// Reads a JWK. Of the `allowed` algorithms it gets those that fit it, and only the one that
    /// it names, if it names one.
    ///
    /// # Errors
    /// It is no public key that may check signatures with one of them.
    pub fn from_jwk(jwk: &Object, allowed: &[Algorithm]) -> Result<Self, KeyError> {
        if ["d", "p", "q", "k"].iter().any(|secret| jwk.member(secret).is_some()) {
            return Err(KeyError::Private);
        }
        if jwk.member("use").is_some_and(|used| used.as_str() != Some("sig")) {
            return Err(KeyError::Unfit("`use`"));
        }
        if let Some(operations) = jwk.member("key_ops") {
            let operations = operations.strings().ok_or(KeyError::Member("key_ops"))?;
            if !operations.contains(&"verify") {
                return Err(KeyError::Unfit("`key_ops`"));
            }
        }
        let named = match jwk.member("alg") {
            None => None,
            Some(name) => {
                Some(name.as_str().and_then(Algorithm::by_name).ok_or(KeyError::Unfit("`alg`"))?)
            }
        };
        let material = Material::read(jwk)?;
        let fits = |algorithm: &Algorithm| {
            algorithm.family() == material.family && named.is_none_or(|named| named == *algorithm)
        };
        let mut uses = Vec::new();
        for algorithm in allowed.iter().copied().filter(fits) {
            let key = ParsedPublicKey::new(algorithm.verification(), &material.bytes);
            uses.push((algorithm, key.map_err(|_rejected| KeyError::Rejected)?));
        }
        if uses.is_empty() {
            return Err(KeyError::Unfit("the allowed algorithms"));
        }
        let id = jwk.text("kid").map(Into::into);
        Ok(Self { id, thumbprint: material.thumbprint, uses: uses.into() })
    }

    /// `kid`.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// What the key is, whatever it is called (RFC 7638).
    #[must_use]
    pub fn thumbprint(&self) -> &Thumbprint {
        &self.thumbprint
    }

    /// Whether the key may be used with an algorithm.
    #[must_use]
    pub fn is_for(&self, algorithm: Algorithm) -> bool {
        self.uses.iter().any(|(own, _)| *own == algorithm)
    }

    /// Whether the key made this signature with this algorithm.
    #[must_use]
    pub fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        let fit = self.uses.iter().find(|(own, _)| *own == algorithm);
        fit.is_some_and(|(_, key)| key.verify_sig(signed, signature).is_ok())
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let algorithms: Vec<_> = self.uses.iter().map(|(algorithm, _)| algorithm.name()).collect();
        f.debug_struct("Key").field("id", &self.id).field("algorithms", &algorithms).finish()
    }
}

/// The numbers that make a key.
struct Material {
    family: Family,
    /// As aws-lc reads them.
    bytes: Vec<u8>,
    thumbprint: Thumbprint,
}

impl Material {
    fn read(jwk: &Object) -> Result<Self, KeyError> {
        match jwk.text("kty").ok_or(KeyError::Member("kty"))? {
            "RSA" => {
                let (n, e) = (number(jwk, "n")?, number(jwk, "e")?);
                check_rsa(&n, &e)?;
                let canonical = [("e", &e), ("kty", &Vec::new()), ("n", &n)];
                let thumbprint = thumbprint("RSA", None, &canonical);
                Ok(Self { family: Family::Rsa, bytes: rsa_public_key(&n, &e), thumbprint })
            }
            "EC" => {
                let curve = jwk.text("crv").ok_or(KeyError::Member("crv"))?;
                let (family, length) = match curve {
                    "P-256" => (Family::P256, 32),
                    "P-384" => (Family::P384, 48),
                    "P-521" => (Family::P521, 66),
                    _ => return Err(KeyError::Unfit("`crv`")),
                };
                let (x, y) = (octets(jwk, "x", length)?, octets(jwk, "y", length)?);
                let canonical = [("kty", &Vec::new()), ("x", &x), ("y", &y)];
                let thumbprint = thumbprint("EC", Some(curve), &canonical);
                Ok(Self { family, bytes: [&[4], &*x, &*y].concat(), thumbprint })
            }
            "OKP" if jwk.text("crv") == Some("Ed25519") => {
                let x = octets(jwk, "x", 32)?;
                let canonical = [("kty", &Vec::new()), ("x", &x)];
                let thumbprint = thumbprint("OKP", Some("Ed25519"), &canonical);
                Ok(Self { family: Family::Ed25519, bytes: x, thumbprint })
            }
            "oct" => Err(KeyError::Private),
            _ => Err(KeyError::Unfit("`kty`")),
        }
    }
}

/// RFC 7638: the required members in their order, without spaces. `crv` comes before all others.
fn thumbprint(kind: &str, curve: Option<&str>, members: &[(&str, &Vec<u8>)]) -> Thumbprint {
    let mut text = String::from("{");
    if let Some(curve) = curve {
        text.push_str(&format!("\"crv\":\"{curve}\","));
    }
    for (index, (name, bytes)) in members.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let value = if *name == "kty" { kind.to_owned() } else { URL_SAFE_NO_PAD.encode(bytes) };
        text.push_str(&format!("{comma}\"{name}\":\"{value}\""));
    }
    text.push('}');
    sha256(text.as_bytes())
}

/// The SHA-256 of some bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// A `Base64urlUInt` without leading zeros (RFC 7518 §2).
fn number(jwk: &Object, name: &'static str) -> Result<Vec<u8>, KeyError> {
    let text = jwk.text(name).ok_or(KeyError::Member(name))?;
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_error| KeyError::Member(name))?;
    let start = bytes.iter().position(|byte| *byte != 0).ok_or(KeyError::Member(name))?;
    Ok(bytes.get(start..).unwrap_or_default().to_vec())
}

/// RFC 7518 §3.3: 2048 bits or more. With an exponent of 1 every message is its own signature.
fn check_rsa(n: &[u8], e: &[u8]) -> Result<(), KeyError> {
    let bits = n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
    let odd = e.last().is_some_and(|byte| byte & 1 == 1);
    let fits = (2_048..=8_192).contains(&bits) && odd && e != [1] && e.len() <= 4;
    if fits && !is_roca(n) { Ok(()) } else { Err(KeyError::Rejected) }
}

/// Whether a modulus has the mark of the keys that a faulty library made, which can be factored
/// (CVE-2017-15361): modulo each small prime it is a power of 65537.
fn is_roca(n: &[u8]) -> bool {
    const PRIMES: [u32; 38] = [
        3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89,
        97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
    ];
    PRIMES.iter().all(|prime| {
        let rest = n.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        let powers = std::iter::successors(Some(1), |power| Some(power * (65_537 % prime) % prime));
        powers.take(*prime as usize).any(|power| power == rest)
    })
}

/// A coordinate, as long as its curve says (RFC 7518 §6.2.1.2).
fn octets(jwk: &Object, name: &'static str, length: usize) -> Result<Vec<u8>, KeyError> {
    let text = jwk.text(name).ok_or(KeyError::Member(name))?;
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_error| KeyError::Member(name))?;
    if bytes.len() == length { Ok(bytes) } else { Err(KeyError::Member(name)) }
}

/// An `RSAPublicKey` in DER (RFC 8017 §A.1.1): a sequence of two integers.
fn rsa_public_key(n: &[u8], e: &[u8]) -> Vec<u8> {
    let integers = [der_integer(n), der_integer(e)].concat();
    der(0x30, &integers)
}

fn der_integer(number: &[u8]) -> Vec<u8> {
    // A first bit that is set would be a sign.
    let signed = number.first().is_some_and(|byte| byte & 0x80 != 0);
    der(0x02, &[if signed { &[0][..] } else { &[] }, number].concat())
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let start = length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1);
    let length = length.get(start..).unwrap_or_default();
    let long = length.len() > 1 || length.first().is_some_and(|byte| byte & 0x80 != 0);
    let count = u8::try_from(length.len()).unwrap_or(u8::MAX);
    let prefix = if long { vec![tag, 0x80 | count] } else { vec![tag] };
    [&prefix, length, content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[track_caller]
    fn check(jwk: &str, allowed: &[Algorithm], expected: Result<&[Algorithm], KeyError>) {
        let read = Key::from_jwk(&json::object(jwk.as_bytes()).unwrap(), allowed);
        let uses = read.map(|key| key.uses.iter().map(|(own, _)| *own).collect::<Vec<_>>());
        assert_eq!(uses, expected.map(<[_]>::to_vec), "{jwk}");
    }

    // The public keys of RFC 7517 §A.1 and RFC 8037 §A.2.
    const X: &str = r#""x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4""#;
    const Y: &str = r#""y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM""#;
    const N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

    #[test]
    fn a_key_is_bound_to_the_algorithms_that_fit_it() {
        let all = &Algorithm::ALL;
        let ec = format!(r#"{{"kty":"EC","crv":"P-256",{X},{Y}}}"#);
        check(&ec, all, Ok(&[Algorithm::Es256]));
        check(&ec, &[Algorithm::Rs256], Err(KeyError::Unfit("the allowed algorithms")));
        let rsa = |more: &str| format!(r#"{{"kty":"RSA","n":"{N}","e":"AQAB"{more}}}"#);
        check(&rsa(""), all, Ok(&Algorithm::ALL[5..]));
        check(&rsa(r#","alg":"PS256""#), all, Ok(&[Algorithm::Ps256]));
        check(&rsa(r#","use":"sig","key_ops":["verify"]"#), &all[8..9], Ok(&[Algorithm::Rs256]));
        let okp =
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        check(okp, all, Ok(&[Algorithm::EdDsa, Algorithm::Ed25519]));
    }

    #[test]
    fn what_is_no_key_for_signatures_is_refused() {
        let all = &Algorithm::ALL;
        let ec = |more: &str| format!(r#"{{"kty":"EC","crv":"P-256",{X},{Y}{more}}}"#);
        check(&ec(r#","use":"enc""#), all, Err(KeyError::Unfit("`use`")));
        check(&ec(r#","key_ops":["sign"]"#), all, Err(KeyError::Unfit("`key_ops`")));
        check(&ec(r#","alg":"ES384""#), all, Err(KeyError::Unfit("the allowed algorithms")));
        check(&ec(r#","alg":"HS256""#), all, Err(KeyError::Unfit("`alg`")));
        check(&ec(r#","d":"AQ""#), all, Err(KeyError::Private));
        check(r#"{"kty":"oct","k":"AQ"}"#, all, Err(KeyError::Private));
        check(
            &format!(r#"{{"kty":"EC","crv":"secp256k1",{X},{Y}}}"#),
            all,
            Err(KeyError::Unfit("`crv`")),
        );
        // A point that is not on the curve.
        let other = Y.replace("4Etl", "5Etl");
        check(
            &format!(r#"{{"kty":"EC","crv":"P-256",{X},{other}}}"#),
            all,
            Err(KeyError::Rejected),
        );
        let short = N.get(..168).unwrap();
        check(
            &format!(r#"{{"kty":"RSA","n":"{short}","e":"AQAB"}}"#),
            &all[8..9],
            Err(KeyError::Rejected),
        );
    }

    #[test]
    fn a_thumbprint_is_what_rfc_7638_computes() {
        let jwk =
            format!(r#"{{"kty":"RSA","n":"{N}","e":"AQAB","alg":"RS256","kid":"2011-04-29"}}"#);
        let key = Key::from_jwk(&json::object(jwk.as_bytes()).unwrap(), &Algorithm::ALL).unwrap();
        let thumbprint = URL_SAFE_NO_PAD.encode(key.thumbprint());
        assert_eq!(thumbprint, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }
}
