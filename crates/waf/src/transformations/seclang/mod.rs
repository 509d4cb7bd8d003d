//! SecLang's transformations (`t:name`). To add one, write a file and add one row to the table.
//! Their meaning is that of libmodsecurity, checked with the vectors of secrules-language-tests;
//! the YAML rules' own ones are stricter decoders and differ on purpose.

mod base64;
mod best_fit;
mod cmd_line;
mod css_decode;
mod escape_seq_decode;
mod hex_decode;
mod hex_encode;
mod html_entity_decode;
mod js_decode;
mod length;
mod md5;
mod normalise_path;
mod parity;
mod remove_comments;
mod remove_comments_char;
mod remove_whitespace;
mod replace_comments;
mod replace_nulls;
mod sha1;
mod sql_hex_decode;
mod trim;
mod uppercase;
mod url_decode;
mod url_decode_uni;
mod url_encode;
mod utf8_to_unicode;

use super::Transformation;

/// What `t:name` does to a rule's chain.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// `t:none`: forgets the transformations named so far, the default action's too.
    Forget,
    /// One more transformation.
    Apply(&'static Transformation),
}

/// The transformation of that name, letters without case.
pub(crate) fn step(name: &str) -> Option<Step> {
    if name.eq_ignore_ascii_case("none") {
        return Some(Step::Forget);
    }
    let (_, row) = TABLE.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    Some(Step::Apply(row))
}

/// Every transformation of SecLang but `none`: its name and summary.
pub fn reference() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.iter().map(|(name, row)| (*name, row.summary))
}

/// Where a YAML rule's transformation does the same, it is the same row.
static TABLE: &[(&str, &Transformation)] = &[
    ("base64Decode", &base64::DECODE),
    ("base64DecodeExt", &base64::DECODE_EXT),
    ("base64Encode", &base64::ENCODE),
    ("cmdLine", &cmd_line::ROW),
    ("compressWhitespace", &super::compress_whitespace::ROW),
    ("cssDecode", &css_decode::ROW),
    ("escapeSeqDecode", &escape_seq_decode::ROW),
    ("hexDecode", &hex_decode::ROW),
    ("hexEncode", &hex_encode::ROW),
    ("htmlEntityDecode", &html_entity_decode::ROW),
    ("jsDecode", &js_decode::ROW),
    ("length", &length::ROW),
    ("lowercase", &super::lowercase::ROW),
    ("md5", &md5::ROW),
    ("normalisePath", &normalise_path::ROW),
    ("normalisePathWin", &normalise_path::WINDOWS),
    ("normalizePath", &normalise_path::ROW),
    ("normalizePathWin", &normalise_path::WINDOWS),
    ("parityEven7bit", &parity::EVEN),
    ("parityOdd7bit", &parity::ODD),
    ("parityZero7bit", &parity::ZERO),
    ("removeComments", &remove_comments::ROW),
    ("removeCommentsChar", &remove_comments_char::ROW),
    ("removeNulls", &super::remove_nulls::ROW),
    ("removeWhitespace", &remove_whitespace::ROW),
    ("replaceComments", &replace_comments::ROW),
    ("replaceNulls", &replace_nulls::ROW),
    ("sha1", &sha1::ROW),
    ("sqlHexDecode", &sql_hex_decode::ROW),
    ("trim", &trim::BOTH),
    ("trimLeft", &trim::LEFT),
    ("trimRight", &trim::RIGHT),
    ("uppercase", &uppercase::ROW),
    ("urlDecode", &url_decode::ROW),
    ("urlDecodeUni", &url_decode_uni::ROW),
    ("urlEncode", &url_encode::ROW),
    ("utf8toUnicode", &utf8_to_unicode::ROW),
];

/// The value of hexadecimal digits, the low byte of it.
fn number(digits: &[u8]) -> u8 {
    digits.iter().fold(0, |number, digit| number << 4 | nibble(*digit))
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => digit & 15,
    }
}

/// The value of up to three octal digits, the low byte of it.
fn octal(digits: &[u8]) -> u8 {
    digits.iter().fold(0, |number, digit| number << 3 | (digit & 7))
}

/// A low byte whose high byte has these digits: a full-width form becomes its ASCII.
fn full_width(high: &[u8], low: u8) -> u8 {
    let shifted = high.eq_ignore_ascii_case(b"ff") && (0x01..0x5f).contains(&low);
    if shifted { low + 0x20 } else { low }
}

/// What a letter stands for behind a backslash; anything else is itself.
fn control(letter: u8) -> u8 {
    match letter {
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 11,
        other => other,
    }
}

/// Asserts what a transformation makes of `bytes`.
#[cfg(test)]
#[track_caller]
fn check(name: &str, bytes: &[u8], expected: &[u8]) {
    let Some(Step::Apply(row)) = step(name) else { panic!("{name} is a transformation") };
    let mut out = b"x".to_vec();
    (row.apply)(bytes, &mut out);
    let expected = [b"x", expected].concat();
    assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{name}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mask::ByteMask;

    #[test]
    fn the_table_is_in_order_and_names_have_no_case() {
        assert!(TABLE.is_sorted_by_key(|(name, _)| *name));
        assert!(matches!(step("NONE"), Some(Step::Forget)));
        assert!(matches!(step("urldecodeuni"), Some(Step::Apply(_))));
        assert!(step("phpArgsNames").is_none());
    }

    proptest! {
        #[test]
        fn what_the_mask_calls_unchanged_is_unchanged(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..64),
                "[a-zA-Z0-9 %&#x;\\\\/*!.'^,$+=<-]{0,40}".prop_map(String::into_bytes),
            ],
        ) {
            for (name, row) in TABLE {
                let mut out = Vec::new();
                (row.apply)(&bytes, &mut out);
                let changed = out != bytes;
                prop_assert!(!changed || (row.may_change)(&ByteMask::of(&bytes)), "{}", name);
                prop_assert!(!row.only_case || out.eq_ignore_ascii_case(&bytes), "{}", name);
            }
        }
    }
}
