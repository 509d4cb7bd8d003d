//! What a route asks of a request beyond host and path.

use std::borrow::Cow;

use http::{HeaderName, Method};
use regex::bytes::Regex;
use tidegate_core::Request;

/// The methods, scheme, headers and query parameters of one route.
#[derive(Clone, Debug)]
pub(super) struct Conditions {
    pub(super) methods: Option<Methods>,
    pub(super) secure: Option<bool>,
    pub(super) headers: Box<[(HeaderName, Test)]>,
    pub(super) query: Box<[(Box<str>, Test)]>,
}

/// Whether conditions hold for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Some condition other than the method fails.
    Fails,
    /// All hold.
    Holds,
    /// All would hold with another method.
    OtherMethod,
}

impl Conditions {
    pub(super) fn check(&self, request: &Request<'_>) -> Verdict {
        let others = self.secure.is_none_or(|secure| secure == request.secure)
            && self.headers.iter().all(|(name, test)| {
                test.holds(request.headers().get(name).map(|value| value.as_bytes().into()))
            })
            && self.query.iter().all(|(name, test)| test.holds(parameter(request, name)));
        match &self.methods {
            _ if !others => Verdict::Fails,
            Some(methods) if !methods.contains(request.method()) => Verdict::OtherMethod,
            _ => Verdict::Holds,
        }
    }

    /// The methods that were given.
    pub(super) fn methods(&self) -> impl Iterator<Item = Method> {
        self.methods.iter().flat_map(Methods::iter)
    }

    /// Routes with the larger rank come first among those of one host and path.
    pub(super) fn rank(&self) -> (bool, usize) {
        let count = usize::from(self.secure.is_some()) + self.headers.len() + self.query.len();
        (self.methods.is_some(), count)
    }

    /// Whether these hold for every request that `other` holds for.
    pub(super) fn cover(&self, other: &Self) -> bool {
        let methods = match (&self.methods, &other.methods) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(methods), Some(others)) => others.iter().all(|m| methods.contains(&m)),
        };
        methods
            && (self.secure.is_none() || self.secure == other.secure)
            && self.headers.iter().all(|condition| other.headers.contains(condition))
            && self.query.iter().all(|condition| other.query.contains(condition))
    }

    /// Whether a request may exist for which both hold. Where that cannot be told, it may.
    pub(super) fn overlap(&self, other: &Self) -> bool {
        let methods = match (&self.methods, &other.methods) {
            (Some(methods), Some(others)) => others.iter().any(|m| methods.contains(&m)),
            _ => true,
        };
        let schemes =
            self.secure.is_none() || other.secure.is_none() || self.secure == other.secure;
        methods
            && schemes
            && may_both_hold(&self.headers, &other.headers)
            && may_both_hold(&self.query, &other.query)
    }
}

fn may_both_hold<N: PartialEq>(tests: &[(N, Test)], others: &[(N, Test)]) -> bool {
    tests.iter().all(|(name, test)| {
        others.iter().filter(|(other, _)| other == name).all(|(_, other)| test.overlaps(other))
    })
}

/// A set of methods.
#[derive(Clone, Debug)]
pub(super) struct Methods {
    /// A bit for each of [`KNOWN`].
    known: u16,
    others: Box<[Method]>,
}

const KNOWN: [Method; 8] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::HEAD,
    Method::OPTIONS,
    Method::PATCH,
    Method::CONNECT,
];

impl FromIterator<Method> for Methods {
    fn from_iter<I: IntoIterator<Item = Method>>(methods: I) -> Self {
        let mut known = 0;
        let mut others = Vec::new();
        for method in methods {
            match bit(&method) {
                Some(bit) => known |= bit,
                None => others.push(method),
            }
        }
        Self { known, others: others.into_boxed_slice() }
    }
}

impl Methods {
    fn contains(&self, method: &Method) -> bool {
        match bit(method) {
            Some(bit) => self.known & bit != 0,
            None => self.others.contains(method),
        }
    }

    fn iter(&self) -> impl Iterator<Item = Method> {
        KNOWN.iter().filter(|method| self.contains(method)).chain(&self.others).cloned()
    }
}

fn bit(method: &Method) -> Option<u16> {
    KNOWN.iter().position(|known| known == method).map(|place| 1 << place)
}

/// What is asked of one value.
#[derive(Clone, Debug)]
pub(super) enum Test {
    Exact(Box<[u8]>),
    Present(bool),
    Regex(Regex),
}

impl Test {
    fn holds(&self, value: Option<Value<'_>>) -> bool {
        match (self, value) {
            (Self::Exact(wanted), Some(value)) => value.is(wanted),
            (Self::Present(wanted), value) => value.is_some() == *wanted,
            (Self::Regex(regex), Some(value)) => regex.is_match(&value.decoded()),
            (Self::Exact(_) | Self::Regex(_), None) => false,
        }
    }

    /// Whether a value, or its absence, may exist for which both hold.
    fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(value), Self::Exact(other)) => value == other,
            (Self::Exact(value), Self::Regex(regex)) | (Self::Regex(regex), Self::Exact(value)) => {
                regex.is_match(value)
            }
            (Self::Present(wanted), Self::Present(other)) => wanted == other,
            (Self::Present(wanted), _) | (_, Self::Present(wanted)) => *wanted,
            (Self::Regex(_), Self::Regex(_)) => true,
        }
    }
}

impl PartialEq for Test {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(value), Self::Exact(other)) => value == other,
            (Self::Present(wanted), Self::Present(other)) => wanted == other,
            (Self::Regex(regex), Self::Regex(other)) => regex.as_str() == other.as_str(),
            _ => false,
        }
    }
}

/// A value of a request: as it stands, or of a query and still encoded.
#[derive(Clone, Copy, Debug)]
struct Value<'a> {
    bytes: &'a [u8],
    encoded: bool,
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self { bytes, encoded: false }
    }
}

impl<'a> Value<'a> {
    fn of_query(text: &'a str) -> Self {
        let bytes = text.as_bytes();
        Self { bytes, encoded: bytes.iter().any(|byte| matches!(byte, b'%' | b'+')) }
    }

    fn is(self, wanted: &[u8]) -> bool {
        if self.encoded {
            decode(self.bytes).eq(wanted.iter().copied())
        } else {
            self.bytes == wanted
        }
    }

    fn decoded(self) -> Cow<'a, [u8]> {
        if self.encoded { decode(self.bytes).collect() } else { Cow::Borrowed(self.bytes) }
    }
}

/// The first value of a query parameter; empty if it has no `=`.
fn parameter<'a>(request: &Request<'a>, name: &str) -> Option<Value<'a>> {
    request.query()?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Value::of_query(key).is(name.as_bytes()).then(|| Value::of_query(value))
    })
}

/// Decodes `%XX` and `+` as forms do (WHATWG URL §5.1); a `%` without digits stands for itself.
fn decode(bytes: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (first, tail) = rest.split_first()?;
        rest = tail;
        match first {
            b'+' => Some(b' '),
            b'%' => {
                let escaped = tail.split_at_checked(2).and_then(|(digits, after)| {
                    let octet = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
                    octet.filter(|_| digits.iter().all(u8::is_ascii_hexdigit)).zip(Some(after))
                });
                let Some((octet, after)) = escaped else { return Some(b'%') };
                rest = after;
                Some(octet)
            }
            byte => Some(*byte),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_values_are_decoded() {
        for (text, decoded) in [
            ("a+b", "a b"),
            ("a%20b", "a b"),
            ("%", "%"),
            ("%4", "%4"),
            ("%+1", "% 1"),
            ("%41", "A"),
        ] {
            assert_eq!(decode(text.as_bytes()).collect::<Vec<_>>(), decoded.as_bytes(), "{text}");
            assert!(Value::of_query(text).is(decoded.as_bytes()));
        }
    }

    #[test]
    fn a_set_of_methods_knows_its_members() {
        let purge = Method::from_bytes(b"PURGE").unwrap();
        let methods: Methods = [Method::POST, purge.clone(), Method::GET].into_iter().collect();
        assert!(methods.contains(&Method::GET) && methods.contains(&purge));
        assert!(!methods.contains(&Method::PUT) && !methods.contains(&Method::TRACE));
        assert_eq!(methods.iter().collect::<Vec<_>>(), [Method::GET, Method::POST, purge]);
    }

    #[test]
    fn tests_overlap_unless_they_exclude_each_other() {
        let exact = |value: &str| Test::Exact(value.as_bytes().into());
        let regex = |pattern: &str| Test::Regex(Regex::new(pattern).unwrap());
        assert!(!exact("a").overlaps(&exact("b")) && exact("a").overlaps(&exact("a")));
        assert!(!exact("a").overlaps(&regex("^b")) && regex("^a").overlaps(&exact("a")));
        assert!(regex("a").overlaps(&regex("b")) && exact("a").overlaps(&Test::Present(true)));
        assert!(!Test::Present(false).overlaps(&exact("a")));
        assert!(!Test::Present(false).overlaps(&Test::Present(true)));
    }
}
