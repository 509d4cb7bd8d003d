//! Where a request shows its credential (RFC 6750 §2): in `Authorization`, once, and nowhere else.

use http::{HeaderMap, header};
use tidegate_core::Request;

use crate::jose::sha256;

/// What stands in `Authorization`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown<'r> {
    /// Nothing, or another scheme than ours.
    Nothing,
    /// A bearer token.
    Bearer(&'r str),
    /// A token that comes with a proof (RFC 9449 §7.1).
    Dpop(&'r str),
}

impl<'r> Shown<'r> {
    /// The token.
    pub(crate) fn token(self) -> Option<&'r str> {
        match self {
            Self::Nothing => None,
            Self::Bearer(token) | Self::Dpop(token) => Some(token),
        }
    }
}

/// Why what is shown cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ShownWrong {
    #[error("several Authorization fields")]
    Several,
    #[error("the token is no token68")]
    Grammar,
    #[error("a token in the query, where logs and referrers keep it")]
    Query,
}

/// Finds a token in a request.
pub(crate) fn shown<'r>(request: &Request<'r>) -> Result<Shown<'r>, ShownWrong> {
    if request.query().is_some_and(names_a_token) {
        return Err(ShownWrong::Query);
    }
    authorization(request.headers())
}

/// The SHA-256 of the token that is shown, in hexadecimal; `None` if none is. Of a token in three
/// parts it is that of the first two, which are what is signed: whoever holds an ECDSA signature
/// can make another one of it that verifies as well, and is not another token's holder for that.
#[must_use]
pub fn token_hash(headers: &HeaderMap) -> Option<String> {
    use std::fmt::Write as _;
    let token = authorization(headers).ok()?.token()?;
    let mut hash = String::with_capacity(64);
    let signed = token.rsplit_once('.').filter(|(signed, _)| signed.contains('.'));
    let named = signed.map_or(token, |(signed, _signature)| signed);
    for byte in sha256(named.as_bytes()) {
        // Writing to a string does not fail.
        let (Ok(()) | Err(_)) = write!(hash, "{byte:02x}");
    }
    Some(hash)
}

fn authorization(headers: &HeaderMap) -> Result<Shown<'_>, ShownWrong> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(Shown::Nothing) };
    if values.next().is_some() {
        return Err(ShownWrong::Several);
    }
    // A field's value has no control characters but the tab.
    let text = str::from_utf8(value.as_bytes()).ok().filter(|text| text.is_ascii());
    let Some(text) = text else { return Err(ShownWrong::Grammar) };
    let Some((scheme, rest)) = text.trim().split_once(' ') else { return Ok(Shown::Nothing) };
    let shown = match scheme {
        _ if scheme.eq_ignore_ascii_case("bearer") => Shown::Bearer,
        _ if scheme.eq_ignore_ascii_case("dpop") => Shown::Dpop,
        _ => return Ok(Shown::Nothing),
    };
    let token = rest.trim_start_matches(' ');
    if is_token68(token) { Ok(shown(token)) } else { Err(ShownWrong::Grammar) }
}

/// RFC 9110 §11.2.
pub(crate) fn is_token68(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    // Every byte is looked at, without a branch, so that the compiler takes many at a time.
    let fits = |b: u8| {
        let letter = (b | 0x20).wrapping_sub(b'a') < 26;
        // `-./` and the digits stand side by side.
        letter | (b.wrapping_sub(b'-') < 13) | (b == b'_') | (b == b'~') | (b == b'+')
    };
    !body.is_empty() && body.bytes().fold(true, |all, b| all & fits(b))
}

/// Whether a query has a parameter `access_token` (RFC 6750 §2.3), however it is encoded.
fn names_a_token(query: &str) -> bool {
    query.split(['&', ';']).any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        name == "access_token" || (name.contains('%') && decoded_is_token(name.as_bytes()))
    })
}

fn decoded_is_token(mut name: &[u8]) -> bool {
    let mut expected = b"access_token".iter();
    while let Some((first, rest)) = name.split_first() {
        let (byte, rest) = match (first, rest) {
            (b'%', [high, low, rest @ ..]) => {
                let hex = |b: &u8| char::from(*b).to_digit(16);
                let (Some(high), Some(low)) = (hex(high), hex(low)) else { return false };
                (u8::try_from(high * 16 + low).unwrap_or_default(), rest)
            }
            (byte, rest) => (*byte, rest),
        };
        if expected.next() != Some(&byte) {
            return false;
        }
        name = rest;
    }
    expected.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fields: &[&str], expected: Result<Shown<'_>, ShownWrong>) {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::AUTHORIZATION, field.parse().unwrap());
        }
        assert_eq!(authorization(&headers), expected, "{fields:?}");
    }

    #[test]
    fn a_token_stands_behind_its_scheme_once() {
        check(&[], Ok(Shown::Nothing));
        check(&["Bearer a.b.c"], Ok(Shown::Bearer("a.b.c")));
        check(&["bEARER  a=="], Ok(Shown::Bearer("a==")));
        check(&["DPoP a"], Ok(Shown::Dpop("a")));
        check(&["Basic dTpw"], Ok(Shown::Nothing));
        check(&["Bearer"], Ok(Shown::Nothing));
        check(&["Bearer a b"], Err(ShownWrong::Grammar));
        check(&["Bearer a,b"], Err(ShownWrong::Grammar));
        check(&["Bearer =="], Err(ShownWrong::Grammar));
        check(&["Bearer a", "Bearer a"], Err(ShownWrong::Several));
        check(&["Bearer a\tb"], Err(ShownWrong::Grammar));
    }

    #[test]
    fn a_token_is_made_of_the_characters_of_token68() {
        for byte in 0..=u8::MAX {
            let fits = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            let text = [b'a', byte, b'a'];
            let found = std::str::from_utf8(&text).is_ok_and(is_token68);
            assert_eq!(found, fits, "{byte:#x}");
        }
    }

    #[test]
    fn a_token_in_the_query_is_seen_however_it_is_written() {
        for query in ["access_token=a", "x=1&access_token", "x;access_token=", "%61ccess%5Ftoken=1"]
        {
            assert!(names_a_token(query), "{query}");
        }
        for query in ["", "token=a", "x=access_token", "access_tokens=1", "access%5=1", "%61=1"] {
            assert!(!names_a_token(query), "{query}");
        }
    }
}
