//! `pm` and `pmFromFile`: any of many words occurs, letters without case.

use super::Argument;
use crate::operators::{Operator, phrases};

/// Words apart, `|41 42|` stands for bytes, and a backslash takes the meaning from `:`, `;`, `"`
/// and itself. What does not read so is taken as it stands.
pub(super) fn build(argument: &Argument<'_>) -> Result<Box<dyn Operator>, String> {
    let text = argument.text.trim_ascii_start();
    let text = match text {
        [b'"', inner @ .., b'"'] if !inner.is_empty() => inner,
        text => text,
    };
    let text = unescape(text).unwrap_or_else(|| argument.text.to_vec());
    any_of(text.split(u8::is_ascii_whitespace))
}

/// A line is a word, lines that begin with `#` are not.
pub(super) fn build_from_file(argument: &Argument<'_>) -> Result<Box<dyn Operator>, String> {
    let text = super::file(argument)?;
    let words =
        text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    any_of(words.filter(|line| !line.trim_ascii_start().starts_with(b"#")))
}

fn any_of<'a>(words: impl Iterator<Item = &'a [u8]>) -> Result<Box<dyn Operator>, String> {
    let mut words: Vec<Vec<u8>> =
        words.filter(|word| !word.is_empty()).map(<[u8]>::to_ascii_lowercase).collect();
    words.sort_unstable();
    words.dedup();
    if words.is_empty() { Ok(Box::new(super::constant::Never)) } else { phrases::new(words) }
}

fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = match (byte, tail) {
            (b'\\', [escaped @ (b':' | b';' | b'\\' | b'"'), tail @ ..]) => {
                out.push(*escaped);
                tail
            }
            (b'\\', _) => return None,
            (b'|', _) => {
                let end = memchr::memchr(b'|', tail).unwrap_or(tail.len());
                let (digits, tail) = tail.split_at(end);
                let digits: Vec<u8> = digits.iter().copied().filter(|byte| *byte != b' ').collect();
                for pair in digits.chunks_exact(2) {
                    let pair = std::str::from_utf8(pair).ok()?;
                    out.push(u8::from_str_radix(pair, 16).ok()?);
                }
                tail.get(1..).unwrap_or_default()
            }
            _ => {
                out.push(byte);
                tail
            }
        };
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[track_caller]
    fn check(text: &str, file: &str, value: &[u8], expected: bool) {
        let read = |_: &Path| Ok(file.into());
        let argument = Argument { text: text.as_bytes(), base: Path::new("/rules"), read: &read };
        let built = if file.is_empty() { build(&argument) } else { build_from_file(&argument) };
        assert_eq!(built.unwrap().matches(value), expected, "{text} {file}");
    }

    #[test]
    fn any_word_matches() {
        check("abc DEF", "", b"xdefx", true);
        check("abc DEF", "", b"ab", false);
        check("a|3b 20|b", "", b"xA;", true);
        check("a|3b|b c", "", b"A; B", false);
        check("|3b|b", "", b"A;B", true);
        check(r"a\;b", "", b"a;b", true);
        check("", "", b"", false);
        check("words.data", "# no\r\nyes it is\r\n\nalso", b"Yes it is", true);
        check("words.data", "# no\nyes", b"# no", false);
    }
}
