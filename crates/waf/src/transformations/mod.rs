//! What is undone before a rule looks at a value: encodings, comments, case. To add a
//! transformation to the YAML rules, write one file and add one row to [`TRANSFORMATIONS`]; those of
//! SecLang are in [`seclang`].

pub(crate) mod base64_decode;
mod compress_whitespace;
mod css_decode;
mod html_decode;
mod js_decode;
mod lowercase;
mod normalise_path;
mod remove_nulls;
mod remove_whitespace;
mod replace_comments;
pub(crate) mod seclang;
mod shell_unquote;
pub(crate) mod trie;
mod url_decode;
mod utf8_fold;

use crate::mask::ByteMask;

/// A row of the table. A transformation is a pure function of bytes and never fails.
#[derive(Debug)]
pub(crate) struct Transformation {
    pub(crate) name: &'static str,
    summary: &'static str,
    /// Whether it changes nothing but the case of ASCII letters: what the prefilter's literals say
    /// of a value then holds for the transformed one, too.
    pub(crate) only_case: bool,
    /// Whether it could change a value with these bytes. `true` is always safe, `false` must be
    /// certain: the engine then skips it.
    pub(crate) may_change: fn(&ByteMask) -> bool,
    /// Appends the transformed bytes.
    pub(crate) apply: fn(&[u8], &mut Vec<u8>),
}

/// Every transformation.
pub(crate) static TRANSFORMATIONS: &[Transformation] = &[
    base64_decode::ROW,
    compress_whitespace::ROW,
    css_decode::ROW,
    html_decode::ROW,
    js_decode::ROW,
    lowercase::ROW,
    normalise_path::ROW,
    remove_nulls::ROW,
    remove_whitespace::ROW,
    replace_comments::ROW,
    shell_unquote::ROW,
    url_decode::ROW,
    utf8_fold::ROW,
];

/// The transformation of that name.
pub(crate) fn transformation(name: &str) -> Option<&'static Transformation> {
    TRANSFORMATIONS.iter().find(|row| row.name == name)
}

/// Every transformation's name and summary.
pub fn reference() -> impl Iterator<Item = (&'static str, &'static str)> {
    TRANSFORMATIONS.iter().map(|row| (row.name, row.summary))
}

/// Appends a code point as UTF-8, and the replacement character for what is none.
fn push_code_point(code: u32, out: &mut Vec<u8>) {
    let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Asserts what a transformation makes of `bytes`.
#[cfg(test)]
#[track_caller]
fn check(name: &str, bytes: &[u8], expected: &[u8]) {
    let mut out = b"before".to_vec();
    (transformation(name).unwrap().apply)(bytes, &mut out);
    assert_eq!(
        out.escape_ascii().to_string(),
        [b"before", expected].concat().escape_ascii().to_string()
    );
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_table_is_in_order() {
        assert!(TRANSFORMATIONS.is_sorted_by_key(|row| row.name));
    }

    proptest! {
        #[test]
        fn what_the_mask_calls_unchanged_is_unchanged(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..64),
                "[a-zA-Z0-9 %&#x;\\\\/*!.'^,$+=-]{0,40}".prop_map(String::into_bytes),
            ],
        ) {
            for row in TRANSFORMATIONS {
                let mut out = Vec::new();
                (row.apply)(&bytes, &mut out);
                let changed = out != bytes;
                prop_assert!(!changed || (row.may_change)(&ByteMask::of(&bytes)), "{}", row.name);
            }
        }
    }
}
