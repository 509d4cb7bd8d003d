//! The canonical path as configurations may write it. Requests arrive with theirs made canonical
//! already; here a path that no request could have is refused, with the one to write instead.

use tidegate_core::SettingsError;

/// Why a text is not a canonical path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotCanonical {
    message: String,
    hint: Option<String>,
}

impl NotCanonical {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// The error for the setting at `path`.
    pub(crate) fn at<const N: usize>(self, path: [&str; N]) -> SettingsError {
        SettingsError { hint: self.hint, ..SettingsError::new(path, self.message) }
    }
}

/// Accepts a path that is canonical: it starts with `/`, has neither dot segments nor empty ones
/// (but for a slash at the end), and percent-encodes what it must and nothing that it need not.
pub(crate) fn check(text: &str) -> Result<(), NotCanonical> {
    if !text.starts_with('/') {
        return Err(NotCanonical {
            message: format!("`{text}` is not a path, since it does not start with a slash"),
            hint: Some(format!("write `/{text}`")),
        });
    }
    if let Some(mark) = text.chars().find(|c| matches!(c, '?' | '#')) {
        return Err(NotCanonical::new(format!("a path has no `{mark}`; match `query` instead")));
    }
    let encoded = encode(text)?;
    let canonical = without_empty_and_dot_segments(&encoded);
    if canonical == text {
        return Ok(());
    }
    Err(NotCanonical {
        message: format!("`{text}` is not canonical, so that no request would match it"),
        hint: Some(format!("write `{canonical}`")),
    })
}

/// Percent-encodes what a path cannot carry, decodes unreserved octets, and writes hexadecimal
/// digits in upper case (RFC 3986 §6.2.2).
fn encode(text: &str) -> Result<String, NotCanonical> {
    let mut encoded = String::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' {
            let digits = (bytes.next().and_then(hex), bytes.next().and_then(hex));
            let (Some(high), Some(low)) = digits else {
                return Err(NotCanonical::new("a `%` must be followed by two hexadecimal digits"));
            };
            let octet = high << 4 | low;
            if !is_unreserved(octet) {
                encoded.push_str(&format!("%{octet:02X}"));
                continue;
            }
            octet
        } else {
            byte
        };
        if is_plain(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(encoded)
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// RFC 3986 §2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What stands for itself in a path: `pchar` and the slash (RFC 3986 §3.3).
pub(crate) const fn is_plain(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';')
        || matches!(byte, b'=' | b':' | b'@' | b'/')
}

/// RFC 3986 §5.2.4, and repeated slashes merged.
fn without_empty_and_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let open = matches!(path.rsplit('/').next(), Some("" | "." | ".."));
    let end = if open && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}", kept.join("/"))
}

/// Whether a path that was put together at run time may be sent: it starts with one slash, has no
/// dot segments, and consists of what a URI's path can carry.
pub(crate) fn is_safe(path: &str) -> bool {
    path.starts_with('/')
        && path.bytes().all(|byte| is_plain(byte) || byte == b'%')
        && !path.contains("//")
        && !path.split('/').any(|segment| segment == "." || segment == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_path(text: &str, expected: Result<(), &str>) {
        let found = check(text).map_err(|error| error.hint.unwrap_or(error.message));
        assert_eq!(found.as_ref().map_err(String::as_str), expected.as_ref().map_err(|e| *e));
    }

    #[test]
    fn a_path_that_no_request_has_is_refused() {
        for path in ["/", "/pay", "/pay/", "/a%2Fb", "/a;v=1/@x:y", "/caf%C3%A9", "/~u/a..b/.c"] {
            check_path(path, Ok(()));
        }
        check_path("pay", Err("write `/pay`"));
        check_path("//pay", Err("write `/pay`"));
        check_path("/a/../b/", Err("write `/b/`"));
        check_path("/a/.", Err("write `/a/`"));
        check_path("/..", Err("write `/`"));
        check_path("/caf\u{e9}", Err("write `/caf%C3%A9`"));
        check_path("/%7euser%2f", Err("write `/~user%2F`"));
        check_path("/a b", Err("write `/a%20b`"));
        check_path("/a?b", Err("a path has no `?`; match `query` instead"));
        check_path("/%zz", Err("a `%` must be followed by two hexadecimal digits"));
        check_path("/%4", Err("a `%` must be followed by two hexadecimal digits"));
    }

    #[test]
    fn a_built_path_is_safe_or_not() {
        assert!(is_safe("/") && is_safe("/a%2Fb/..c"));
        for path in ["", "a", "//a", "/a//b", "/a/../b", "/.", "/a\r\nb", "/a b", "/a?b", "/\u{e9}"]
        {
            assert!(!is_safe(path), "{path}");
        }
    }
}
