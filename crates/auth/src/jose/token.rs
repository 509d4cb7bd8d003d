//! The compact form of a signed token (RFC 7515 §7.1): three parts, each canonical base64url.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Algorithm;
use crate::json::{self, Json, Object};

/// A signed text that was taken apart; nothing in it is to be believed before its signature is
/// checked.
#[derive(Debug)]
pub struct Signed<'t> {
    /// What is signed: the first two parts, as they came.
    pub signed: &'t [u8],
    /// What the first part says.
    pub header: Header,
    /// The second part, whatever it is.
    pub payload: Vec<u8>,
    /// The third part.
    pub signature: Vec<u8>,
}

/// A signed text that is a token: its payload are claims.
#[derive(Debug)]
pub struct Token<'t> {
    /// What is signed: the first two parts, as they came.
    pub signed: &'t [u8],
    /// What the first part says.
    pub header: Header,
    /// The second part: the claims.
    pub claims: Object,
    /// The third part.
    pub signature: Vec<u8>,
}

/// The members of a token's header that are read.
#[derive(Debug)]
pub struct Header {
    /// `alg`.
    pub algorithm: Algorithm,
    /// `kid`.
    pub key_id: Option<Box<str>>,
    /// `typ`, as it came.
    pub kind: Option<Box<str>>,
    /// All of it, for formats that define more, such as DPoP proofs.
    pub members: Object,
}

/// Why a text is no token that could be checked.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Not three parts.
    #[error("the token has {0} parts and not three")]
    Parts(usize),
    /// A part is no canonical base64url.
    #[error("the token's {0} is not base64url")]
    Base64(&'static str),
    /// A part is no strict JSON object.
    #[error("the token's {part}: {source}")]
    Json {
        /// Which.
        part: &'static str,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A member of the header is missing or of the wrong type.
    #[error("the token's header has no usable `{0}`")]
    Member(&'static str),
    /// `alg` names what we do not take, `none` and symmetric algorithms included.
    #[error("the token's algorithm is not taken anywhere")]
    Algorithm,
    /// The header names what a reader must understand, and we do not (RFC 7515 §4.1.11).
    #[error("the token's header demands an extension")]
    Critical,
}

impl<'t> Token<'t> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// It has another form, or demands what nobody here understands.
    pub fn read(text: &'t str) -> Result<Self, Malformed> {
        let Signed { signed, header, payload, signature } = Signed::read(text)?;
        let claims =
            json::object(&payload).map_err(|source| Malformed::Json { part: "claims", source })?;
        Ok(Self { signed, header, claims, signature })
    }
}

impl<'t> Signed<'t> {
    /// Takes a signed text apart.
    ///
    /// # Errors
    /// It has another form, or demands what nobody here understands.
    pub fn read(text: &'t str) -> Result<Self, Malformed> {
        let parts = text.split_once('.').and_then(|(header, rest)| {
            let (claims, signature) = rest.split_once('.')?;
            (!signature.as_bytes().contains(&b'.')).then_some((header, claims, signature))
        });
        let Some((header, claims, signature)) = parts else {
            return Err(Malformed::Parts(text.split('.').count()));
        };
        let signed = text.as_bytes().get(..header.len() + 1 + claims.len()).unwrap_or_default();
        Ok(Self {
            signed,
            header: Header::read(decode_object(header, "header")?)?,
            payload: decode(claims, "claims")?,
            signature: decode(signature, "signature")?,
        })
    }
}

impl Header {
    fn read(members: Object) -> Result<Self, Malformed> {
        // `b64` changes what is signed (RFC 7797), and a reader must be told by `crit`.
        if members.member("crit").is_some() || members.member("b64").is_some() {
            return Err(Malformed::Critical);
        }
        let name = members.text("alg").ok_or(Malformed::Member("alg"))?;
        let algorithm = Algorithm::by_name(name).ok_or(Malformed::Algorithm)?;
        let text = |member| match members.member(member) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Malformed::Member(member)),
        };
        Ok(Self { algorithm, key_id: text("kid")?, kind: text("typ")?, members })
    }

    /// Whether `typ` is this media type; `application/` may be left out, and case does not count
    /// (RFC 7515 §4.1.9).
    #[must_use]
    pub fn is_kind(&self, kind: &str) -> bool {
        self.kind.as_deref().is_some_and(|own| same_media_type(own, kind))
    }
}

fn same_media_type(one: &str, other: &str) -> bool {
    let bare = |name: &'_ str| -> usize {
        let prefix = "application/";
        let has = name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        let rest = name.get(prefix.len()..).unwrap_or_default();
        // What has further slashes has to be written in full.
        if has && !rest.contains('/') { prefix.len() } else { 0 }
    };
    let rest = |name| str::get(name, bare(name)..).unwrap_or_default();
    rest(one).eq_ignore_ascii_case(rest(other))
}

fn decode(text: &str, part: &'static str) -> Result<Vec<u8>, Malformed> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_error| Malformed::Base64(part))
}

fn decode_object(text: &str, part: &'static str) -> Result<Object, Malformed> {
    json::object(&decode(text, part)?).map_err(|source| Malformed::Json { part, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, claims: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", part(header), part(claims), part("signature"))
    }

    #[track_caller]
    fn check(text: &str, wrong: Option<&str>) {
        let found = Token::read(text).err().map(|error| error.to_string());
        match (&found, wrong) {
            (Some(found), Some(wrong)) => assert!(found.contains(wrong), "{found}"),
            _ => assert_eq!(found.as_deref(), wrong, "{text}"),
        }
    }

    #[test]
    fn a_token_has_three_parts_and_an_algorithm_that_is_taken() {
        check(&token(r#"{"alg":"ES256"}"#, "{}"), None);
        check("", Some("1 parts"));
        check("a.b", Some("2 parts"));
        check("a.b.c.d.e", Some("5 parts"));
        for name in ["none", "None", "NONE", "HS256", "es256", "ES256K", "RSA1_5", "dir", ""] {
            let header = format!(r#"{{"alg":"{name}"}}"#);
            check(&token(&header, "{}"), Some("algorithm"));
        }
        check(&token("{}", "{}"), Some("no usable `alg`"));
        check(&token(r#"{"alg":["ES256"]}"#, "{}"), Some("no usable `alg`"));
        check(&token(r#"{"alg":"ES256","kid":1}"#, "{}"), Some("no usable `kid`"));
    }

    #[test]
    fn two_readings_are_not_read_at_all() {
        check(&token(r#"{"alg":"ES256","alg":"RS256"}"#, "{}"), Some("twice"));
        check(&token(r#"{"alg":"ES256"}"#, r#"{"sub":"a","sub":"b"}"#), Some("twice"));
        check(&token(r#"{"alg":"ES256","crit":["exp"]}"#, "{}"), Some("extension"));
        check(&token(r#"{"alg":"ES256","b64":false}"#, "{}"), Some("extension"));
        let good = token(r#"{"alg":"ES256"}"#, "{}");
        check(&format!("{good}="), Some("not base64url"));
        check(&format!(" {good}"), Some("not base64url"));
        check(&good.replace("eyJ", "ey\nJ"), Some("not base64url"));
        // The last character's unused bits are not zero.
        check("eyJhbGciOiJFUzI1NiJ9.e31.Zh", Some("not base64url"));
    }

    #[test]
    fn a_type_is_a_media_type() {
        assert!(same_media_type("at+jwt", "application/AT+JWT"));
        assert!(same_media_type("JWT", "jwt"));
        assert!(!same_media_type("at+jwt", "jwt"));
        assert!(!same_media_type("application/a/b", "a/b"));
        assert!(!same_media_type("é", "application/é1"));
    }
}
