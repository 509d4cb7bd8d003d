//! Values within values: what is Base64 from end to end and decodes to text is looked at decoded,
//! too, by the YAML rules. SecLang's rules decode where they want to, and count what was sent.

use crate::mask::ByteMask;
use crate::target::{Target, TargetSet};
use crate::transformations::base64_decode;

/// Kinds that may hold such a value.
const KINDS: TargetSet = TargetSet::of(&[
    Target::ArgsGet,
    Target::ArgsJson,
    Target::ArgsPost,
    Target::Path,
    Target::RawBody,
    Target::RequestCookies,
    Target::RequestHeaders,
]);

/// Shorter pieces are words by chance, and hold no attack.
const MIN_LENGTH: usize = 8;
/// How many pieces of one text are decoded.
const MAX_PIECES: usize = 32;

/// Appends what the value holds in Base64; each piece of a text body on a line of its own. Whether
/// there was anything.
pub(super) fn decode(target: Target, value: &[u8], mask: &ByteMask, out: &mut Vec<u8>) -> bool {
    if !KINDS.contains(target) || value.len() < MIN_LENGTH {
        return false;
    }
    let start = out.len();
    match target {
        Target::RawBody => {
            let pieces = value.split(|byte| !is_digit(*byte) && *byte != b'=');
            for piece in pieces.filter(|piece| piece.len() >= 2 * MIN_LENGTH).take(MAX_PIECES) {
                append(piece, out);
            }
        }
        Target::Path => append(value.strip_prefix(b"/").unwrap_or(value), out),
        _ if mask.without(&DIGITS).is_empty() => append(value, out),
        _ => {}
    }
    out.len() > start
}

/// A plus that came in a query or a form was read as a space.
const DIGITS: ByteMask = ByteMask::text(b"+-/_= ")
    .union(&ByteMask::range(b'0', b'9'))
    .union(&ByteMask::range(b'A', b'Z'))
    .union(&ByteMask::range(b'a', b'z'));

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'/' | b'_')
}

fn append(text: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let decoded = base64_decode::decode(text, out).is_some();
    let text = out.get(start..).unwrap_or_default();
    if decoded && !text.is_empty() && std::str::from_utf8(text).is_ok() {
        out.push(b'\n');
    } else {
        out.truncate(start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(target: Target, value: &str, decoded: Option<&str>) {
        let mut out = Vec::new();
        let found = decode(target, value.as_bytes(), &ByteMask::of(value.as_bytes()), &mut out);
        let out = String::from_utf8_lossy(&out);
        assert_eq!(found.then_some(&*out), decoded, "{value}");
    }

    #[test]
    fn base64_of_text_is_decoded() {
        check(Target::ArgsGet, "JyBvciAxPTEgLS0=", Some("' or 1=1 --\n"));
        check(Target::ArgsPost, "JyBvciAxPTEgLS0", Some("' or 1=1 --\n"));
        check(Target::ArgsGet, "fn5 fn5 ", Some("~~~~~~\n"));
        check(Target::Path, "/Li4vLi4vZXRj", Some("../../etc\n"));
        check(Target::RawBody, "<a>Li4vLi4vZXRjL3Bhc3N3ZA==</a>", Some("../../etc/passwd\n"));
        check(Target::RequestHeaders, "text/plain", None);
        check(Target::ArgsGet, "newsletter", None);
        check(Target::ArgsGet, "a b c d e f", None);
        check(Target::RequestHeadersNames, "JyBvciAxPTEgLS0=", None);
    }
}
