//! What may be told of a match: short, printable, and without the secrets of the fields that hold
//! them.

use std::ops::Range;

use crate::target::Target;

/// No piece of a request is longer than this in logs, before escaping.
const MAX_PIECE: usize = 64;

/// Fields whose values are credentials, or hold some.
const SECRET_FIELDS: [&[u8]; 6] = [
    b"authorization",
    b"proxy-authorization",
    b"x-api-key",
    b"x-auth-token",
    b"x-csrf-token",
    b"x-amz-security-token",
];

/// Parts of parameter names behind which people put secrets.
const SECRET_WORDS: [&[u8]; 7] =
    [b"passw", b"secret", b"token", b"apikey", b"api_key", b"credential", b"authorization"];

/// Where it was: `query:id`, `path`.
pub(crate) fn place(target: Target, name: &[u8]) -> Box<str> {
    if name.is_empty() {
        return target.name().into();
    }
    format!("{}:{}", target.name(), escaped(name, 0..0)).into()
}

/// What was matched: escaped, at most [`MAX_PIECE`] bytes of it.
pub(crate) fn piece(target: Target, name: &[u8], bytes: &[u8], found: Range<usize>) -> Box<str> {
    if is_secret(target, name) {
        return format!("[{} bytes redacted]", found.len()).into();
    }
    escaped(bytes, found).into()
}

fn is_secret(target: Target, name: &[u8]) -> bool {
    let has_secret_word = || {
        let name = name.to_ascii_lowercase();
        SECRET_WORDS.iter().any(|word| memchr::memmem::find(&name, word).is_some())
    };
    match target {
        Target::RequestCookies | Target::CookieHeader => true,
        Target::RequestHeaders => {
            SECRET_FIELDS.iter().any(|field| name.eq_ignore_ascii_case(field))
        }
        Target::ArgsPost | Target::ArgsJson | Target::ArgsGet => has_secret_word(),
        _ => false,
    }
}

/// The bytes of the range (of everything if it is empty), shortened and escaped.
fn escaped(bytes: &[u8], range: Range<usize>) -> String {
    let piece = bytes.get(range).filter(|piece| !piece.is_empty()).unwrap_or(bytes);
    let shown = piece.get(..MAX_PIECE).unwrap_or(piece);
    let mut text = String::with_capacity(shown.len() + 4);
    for part in shown.utf8_chunks() {
        for c in part.valid().chars() {
            if c.is_control() {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        text.extend(part.invalid().escape_ascii().map(char::from));
    }
    if shown.len() < piece.len() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_short_and_printable() {
        let long = [b'x'; 100];
        assert_eq!(piece(Target::ArgsGet, b"q", &long, 0..100).chars().count(), MAX_PIECE + 1);
        assert_eq!(&*piece(Target::ArgsGet, b"q", b"a\n\xff\x00b", 0..5), r"a\n\xff\u{0}b");
        assert_eq!(&*piece(Target::ArgsGet, b"q", b"abcdef", 2..4), "cd");
        assert_eq!(&*place(Target::ArgsGet, b"q"), "query:q");
        assert_eq!(&*place(Target::Path, b""), "path");
    }

    #[test]
    fn secrets_are_not_told() {
        for (target, name) in [
            (Target::RequestCookies, "session"),
            (Target::RequestHeaders, "authorization"),
            (Target::ArgsPost, "json.user.Password"),
            (Target::ArgsGet, "access_token"),
        ] {
            let told = piece(target, name.as_bytes(), b"hunter2 or 1=1", 0..14);
            assert_eq!(&*told, "[14 bytes redacted]", "{name}");
        }
    }
}
