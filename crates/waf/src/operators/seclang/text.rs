//! The operators that compare the value with one text: `streq`, `beginsWith`, `endsWith`,
//! `contains`, `containsWord`, `strmatch`, `within`. All compare bytes exactly, with case.

use std::ops::Range;

use memchr::memmem;

use super::{Argument, Compare};
use crate::operators::Operator;
use crate::prefilter::Required;

/// A comparison with a known text.
#[derive(Debug)]
struct Text {
    argument: Box<[u8]>,
    compare: Compare,
    required: Required,
}

impl Operator for Text {
    fn find(&self, bytes: &[u8]) -> Option<Range<usize>> {
        (self.compare)(&self.argument, bytes)
    }

    fn required(&self) -> Required {
        self.required.clone()
    }
}

type Built = Result<Box<dyn Operator>, String>;

/// A comparison that matches no value without the text in it.
fn holding(argument: &Argument<'_>, compare: Compare) -> Built {
    let required = Required::text(argument.text);
    Ok(Box::new(Text { argument: argument.text.into(), compare, required }))
}

pub(super) fn build_streq(argument: &Argument<'_>) -> Built {
    holding(argument, streq)
}

pub(super) fn streq(argument: &[u8], value: &[u8]) -> Option<Range<usize>> {
    (argument == value).then_some(0..value.len())
}

pub(super) fn build_begins_with(argument: &Argument<'_>) -> Built {
    holding(argument, begins_with)
}

pub(super) fn begins_with(argument: &[u8], value: &[u8]) -> Option<Range<usize>> {
    value.starts_with(argument).then_some(0..argument.len())
}

pub(super) fn build_ends_with(argument: &Argument<'_>) -> Built {
    holding(argument, ends_with)
}

pub(super) fn ends_with(argument: &[u8], value: &[u8]) -> Option<Range<usize>> {
    value.ends_with(argument).then_some(value.len().saturating_sub(argument.len())..value.len())
}

pub(super) fn build_contains(argument: &Argument<'_>) -> Built {
    holding(argument, contains)
}

pub(super) fn contains(argument: &[u8], value: &[u8]) -> Option<Range<usize>> {
    memmem::find(value, argument).map(|start| start..start + argument.len())
}

pub(super) fn build_contains_word(argument: &Argument<'_>) -> Built {
    holding(argument, contains_word)
}

/// The text stands somewhere with no ASCII letter beside it. Digits and underscores do not make
/// words here.
pub(super) fn contains_word(argument: &[u8], value: &[u8]) -> Option<Range<usize>> {
    if argument.is_empty() {
        return Some(0..0);
    }
    let letter =
        |at: Option<usize>| at.and_then(|at| value.get(at)).is_some_and(u8::is_ascii_alphabetic);
    let mut from = 0;
    while let Some(at) = value.get(from..).and_then(|rest| memmem::find(rest, argument)) {
        let start = from + at;
        let end = start + argument.len();
        if !letter(start.checked_sub(1)) && !letter(Some(end)) {
            return Some(start..end);
        }
        from = start + 1;
    }
    None
}

pub(super) fn build_within(argument: &Argument<'_>) -> Built {
    let required = Required::nothing();
    Ok(Box::new(Text { argument: argument.text.into(), compare: within, required }))
}

/// The value stands somewhere in the text; an empty value always does.
pub(super) fn within(argument: &[u8], value: &[u8]) -> Option<Range<usize>> {
    memmem::find(argument, value).map(|_| 0..value.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(compare: Compare, argument: &[u8], value: &[u8], expected: Option<Range<usize>>) {
        let found = compare(argument, value);
        assert!(found.clone().into_iter().eq(expected), "{}: {found:?}", value.escape_ascii());
    }

    #[test]
    fn texts_are_compared() {
        check(streq, b"abc", b"abc", Some(0..3));
        check(streq, b"abc", b"Abc", None);
        check(begins_with, b"ab", b"abc", Some(0..2));
        check(begins_with, b"", b"abc", Some(0..0));
        check(ends_with, b"bc", b"abc", Some(1..3));
        check(ends_with, b"abcd", b"abc", None);
        check(contains, b"b", b"abc", Some(1..2));
        check(contains, b"", b"", Some(0..0));
        check(within, b"GET POST", b"POST", Some(0..4));
        check(within, b"GET POST", b"PUT", None);
        check(within, b"", b"", Some(0..0));
    }

    #[test]
    fn words_have_no_letters_beside_them() {
        check(contains_word, b"abc", b"xabc abc", Some(5..8));
        check(contains_word, b"abc", b"1abc_", Some(1..4));
        check(contains_word, b"abc", b"abcd", None);
        check(contains_word, b"a", b"aaa", None);
        check(contains_word, b"abc", b"", None);
    }
}
