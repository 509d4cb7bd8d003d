//! The one spelling of a path (RFC 3986 §6.2.2): unreserved characters decoded, all other percent
//! triplets in upper case, no dot segments, no empty segments. What an upstream might decode to
//! another path is refused. Canonicalising a canonical path changes nothing.

use std::borrow::Cow;

use super::{EncodedSlash, Refusal};

/// Brings `path`, which has neither query nor fragment, to its one spelling.
pub(super) fn canonical(path: &[u8], slash: EncodedSlash) -> Result<Cow<'_, str>, Refusal> {
    if path == b"*" {
        return Ok(Cow::Borrowed("*"));
    }
    if is_canonical(path) {
        return str::from_utf8(path)
            .map(Cow::Borrowed)
            .map_err(|_utf8| Refusal::malformed("a byte outside of ASCII in the path"));
    }
    let spelled = respell(path, slash)?;
    resolve(&spelled).map(Cow::Owned)
}

/// Whether `path` is canonical at first sight: no percent sign, nothing to encode, and no segment
/// that is empty or starts with a dot. Almost every path is.
fn is_canonical(path: &[u8]) -> bool {
    let mut after_slash = false;
    let mut plain = path.first() == Some(&b'/');
    for &byte in path {
        let slash = byte == b'/';
        plain &= slash | is_plain(byte);
        plain &= !(after_slash & (slash | (byte == b'.')));
        after_slash = slash;
    }
    plain
}

/// RFC 3986 §3.3 `pchar` without percent triplets.
const fn is_plain(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'!' | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'@'
        )
}

/// RFC 3986 §2.3: these mean the same whether encoded or not.
const fn is_unreserved(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~')
}

/// Decodes what may be decoded and encodes what must be.
fn respell(path: &[u8], slash: EncodedSlash) -> Result<String, Refusal> {
    let mut spelled = String::with_capacity(path.len() + 16);
    let mut octets = Octets::default();
    let mut rest = path;
    while let [byte, after @ ..] = rest {
        rest = after;
        match *byte {
            b'%' => {
                let (octet, after) = read_triplet(after)?;
                rest = after;
                octets.check(octet)?;
                push_decoded(&mut spelled, octet, slash)?;
                continue;
            }
            b'\\' => return Err(Refusal::ambiguous("a backslash in the path")),
            b'/' => spelled.push('/'),
            plain if is_plain(plain) => spelled.push(char::from(plain)),
            odd @ b'!'..=b'~' => push_encoded(&mut spelled, odd),
            _ => return Err(Refusal::malformed("a byte outside of visible ASCII in the path")),
        }
        octets = Octets::default();
    }
    Ok(spelled)
}

/// RFC 3986 §2.1: two hexadecimal digits.
fn read_triplet(digits: &[u8]) -> Result<(u8, &[u8]), Refusal> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    };
    match digits {
        [high, low, after @ ..] => digit(*high).zip(digit(*low)).map(|(h, l)| (h * 16 + l, after)),
        _ => None,
    }
    .ok_or(Refusal::malformed("a percent sign without two hexadecimal digits"))
}

fn push_decoded(spelled: &mut String, octet: u8, slash: EncodedSlash) -> Result<(), Refusal> {
    match octet {
        0..=0x1f | 0x7f => Err(Refusal::malformed("an encoded control character in the path")),
        b'\\' => Err(Refusal::ambiguous("an encoded backslash in the path")),
        b'/' if slash == EncodedSlash::Refuse => {
            Err(Refusal::ambiguous("an encoded slash in the path"))
        }
        octet if is_unreserved(octet) => {
            spelled.push(char::from(octet));
            Ok(())
        }
        octet => {
            push_encoded(spelled, octet);
            Ok(())
        }
    }
}

fn push_encoded(spelled: &mut String, octet: u8) {
    spelled.push_str(percent_encoding::percent_encode_byte(octet));
}

/// Watches consecutive encoded octets for UTF-8 sequences longer than they need to be, which hide
/// ASCII from readers that do not decode them (RFC 3629 §10). Other encodings than UTF-8 pass.
#[derive(Default)]
struct Octets {
    previous: u8,
}

impl Octets {
    fn check(&mut self, octet: u8) -> Result<(), Refusal> {
        let overlong = matches!(
            (self.previous, octet),
            (_, 0xc0 | 0xc1) | (0xe0, 0x80..=0x9f) | (0xf0, 0x80..=0x8f)
        );
        self.previous = octet;
        if overlong { Err(Refusal::ambiguous("overlong UTF-8 in the path")) } else { Ok(()) }
    }
}

/// Removes dot segments (RFC 3986 §5.2.4) and empty ones.
fn resolve(spelled: &str) -> Result<String, Refusal> {
    let mut resolved = String::with_capacity(spelled.len());
    let mut ends_in_slash = true;
    for segment in spelled.split('/').skip(1) {
        ends_in_slash = true;
        match segment {
            "" | "." => {}
            ".." => {
                let parent = resolved.rfind('/');
                let parent = parent.ok_or(Refusal::ambiguous("the path climbs above its root"))?;
                resolved.truncate(parent);
            }
            segment => {
                refuse_hidden_dots(segment)?;
                resolved.push('/');
                resolved.push_str(segment);
                ends_in_slash = false;
            }
        }
    }
    if ends_in_slash {
        resolved.push('/');
    }
    Ok(resolved)
}

/// Refuses what becomes a dot segment once an upstream strips a parameter (`..;x`) or decodes a
/// slash (`..%2F`).
fn refuse_hidden_dots(segment: &str) -> Result<(), Refusal> {
    if !segment.contains([';', '%']) {
        return Ok(());
    }
    let is_hidden = |piece: &str| {
        [";", "%3B"]
            .iter()
            .any(|end| piece.split(end).next().is_some_and(|stem| matches!(stem, "." | "..")))
    };
    if segment.split("%2F").any(is_hidden) {
        return Err(Refusal::ambiguous("a hidden dot segment in the path"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::Reason;

    #[track_caller]
    fn check(path: &str, expect: Result<&str, Reason>) {
        let seen = canonical(path.as_bytes(), EncodedSlash::Refuse);
        assert_eq!(seen.as_deref().map_err(|it| it.reason), expect, "{path}");
    }

    #[test]
    fn a_path_has_one_spelling() {
        for path in ["/", "/a", "/a/", "/a.b/c;d=e,f/@:!$&'()*+=~_-", "/%25", "/%E2%82%AC", "/..."]
        {
            check(path, Ok(path));
        }
        check("//a///b//", Ok("/a/b/"));
        check("/./a/./b/.", Ok("/a/b/"));
        check("/a/../b/..", Ok("/"));
        check("/a/b/../c", Ok("/a/c"));
        check("/%61%2d%7E/%e2%82%ac", Ok("/a-~/%E2%82%AC"));
        check("/a/%2e%2E/b", Ok("/b"));
        check("/a/.%2e", Ok("/"));
        check("/a/%2e", Ok("/a/"));
        check("/a[1]|\"<>^`{}", Ok("/a%5B1%5D%7C%22%3C%3E%5E%60%7B%7D"));
        check("/%252e%252e/", Ok("/%252e%252e/"));
        check("/%E9t%E9", Ok("/%E9t%E9"));
        check("/.well-known/x", Ok("/.well-known/x"));
        check("/a%20b", Ok("/a%20b"));
    }

    #[test]
    fn what_can_be_read_twice_is_refused() {
        let (malformed, ambiguous) = (Reason::MalformedRequest, Reason::AmbiguousRequest);
        for path in ["/%", "/%4", "/%zz", "/%u0041", "/%4g", "/%00", "/%0d%0a", "/%7f", "/a b"] {
            check(path, Err(malformed));
        }
        for path in [
            "/..",
            "/../a",
            "/a/../../b",
            "/%2e%2e/a",
            "//../a",
            "/a%2fb",
            "/a%2Fb",
            "/a%5cb",
            "/a\\b",
            "/..;/a",
            "/a/..;x=1/b",
            "/.;/a",
            "/..%3b/a",
            "/%2e%2e;/a",
            "/%c0%af",
            "/%C1%9C",
            "/%e0%80%af",
            "/%f0%80%80%af",
            "/%c0%ae%c0%ae/",
        ] {
            check(path, Err(ambiguous));
        }
    }

    #[test]
    fn an_encoded_slash_may_be_data_but_hides_no_dots() {
        let keep = |path: &'static str| canonical(path.as_bytes(), EncodedSlash::Keep).ok();
        assert_eq!(keep("/@scope%2fname").as_deref(), Some("/@scope%2Fname"));
        for path in ["/..%2fa", "/a%2f..", "/a%2f%2e%2e%2fb", "/a%2f..;x", "/.%2fa", "/a%5cb"] {
            assert_eq!(keep(path), None, "{path}");
        }
    }

    #[test]
    fn a_clean_path_is_borrowed() {
        let path = canonical(b"/api/v1/users/42.json", EncodedSlash::Refuse).unwrap();
        assert!(matches!(path, Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn canonicalising_twice_changes_nothing(
            path in "/([a-z.;/\\\\|]|%[0-9a-fA-F]{2}|%2[eEfF5]|\\.\\.|//){0,20}"
        ) {
            for slash in [EncodedSlash::Keep, EncodedSlash::Refuse] {
                let Ok(once) = canonical(path.as_bytes(), slash) else { continue };
                let twice = canonical(once.as_bytes(), slash);
                prop_assert_eq!(twice.as_deref(), Ok(once.as_ref()));
                prop_assert!(once.starts_with('/') && !once.contains("//"), "{}", once);
                prop_assert!(!once.split('/').any(|it| it == "." || it == ".."), "{}", once);
                prop_assert!(!once.to_lowercase().contains("%2e"), "{}", once);
            }
        }
    }
}
