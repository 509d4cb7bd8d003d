//! Forms as OAuth's endpoints take them, and how a client shows there who it is.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

/// A value in a form (RFC 6749 appendix B).
#[must_use]
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// A client's name and secret as HTTP Basic carries them: each as in a form (RFC 6749 §2.3.1).
#[must_use]
pub fn basic(client: &str, secret: &str) -> HeaderValue {
    let pair = format!("{}:{}", encoded(client), encoded(secret));
    // Base64 is always a field value.
    let value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)));
    let mut value = value.unwrap_or_else(|_never| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_carries_any_text() {
        assert_eq!(encoded("a b:c/ü~"), "a%20b%3Ac%2F%C3%BC~");
        assert_eq!(basic("a:b", "c d"), "Basic YSUzQWI6YyUyMGQ=");
    }
}
