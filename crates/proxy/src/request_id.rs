//! The name of one request, the same in the response, the logs and the upstream's logs.

use std::fmt;

use http::HeaderValue;
use tidegate_traffic::random;

/// The longest id that is taken over from a trusted peer.
const LONGEST: usize = 128;

/// A request's id: 128 random bits in hexadecimal, or what a trusted peer called it.
#[derive(Clone, Debug)]
pub(crate) enum RequestId {
    Own([u8; 32]),
    Given(Box<str>),
}

impl RequestId {
    /// A new id.
    pub(crate) fn new() -> Self {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let mut text = [b'0'; 32];
        let (high, low) = (random::next(), random::next());
        let halves = text.chunks_exact_mut(16).zip([high, low]);
        for (half, mut number) in halves {
            for place in half {
                *place = DIGITS.get((number & 15) as usize).copied().unwrap_or(b'0');
                number >>= 4;
            }
        }
        Self::Own(text)
    }

    /// A trusted peer's id if it can be quoted anywhere, else a new one.
    pub(crate) fn given(value: Option<&HeaderValue>) -> Self {
        let quotable = |text: &&str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&b);
            (1..=LONGEST).contains(&text.len()) && text.bytes().all(plain)
        };
        value
            .and_then(|value| value.to_str().ok())
            .filter(quotable)
            .map_or_else(Self::new, |text| Self::Given(text.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Own(text) => std::str::from_utf8(text).unwrap_or_default(),
            Self::Given(text) => text,
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_are_hexadecimal() {
        let (one, other) = (RequestId::new(), RequestId::new());
        assert_ne!(one.as_str(), other.as_str());
        assert_eq!(one.as_str().len(), 32);
        assert!(one.as_str().bytes().all(|b| b.is_ascii_hexdigit()));
    }

    #[test]
    fn only_a_quotable_id_is_taken_over() {
        let given = |text: &'static str| RequestId::given(Some(&HeaderValue::from_static(text)));
        assert_eq!(given("trace-1.a:b").as_str(), "trace-1.a:b");
        for text in ["", "a b", "\"", "<script>"] {
            assert_ne!(given(text).as_str(), text);
        }
        let long = HeaderValue::from_str(&"a".repeat(129)).unwrap();
        assert_eq!(RequestId::given(Some(&long)).as_str().len(), 32);
    }
}
