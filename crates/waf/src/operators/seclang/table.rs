//! The table of SecLang's operators, in the order of their names.

use super::Kind::{Dynamic, Refused};
use super::{Kind, SecLangOperator, number, text};

const fn row(name: &'static str, summary: &'static str, kind: Kind) -> SecLangOperator {
    SecLangOperator { name, summary, kind }
}

pub(super) static TABLE: &[SecLangOperator] = &[
    row(
        "beginsWith",
        "the value begins with the text",
        Dynamic(text::build_begins_with, text::begins_with),
    ),
    row("contains", "the text occurs", Dynamic(text::build_contains, text::contains)),
    row(
        "containsWord",
        "the text occurs with no letter beside it",
        Dynamic(text::build_contains_word, text::contains_word),
    ),
    row(
        "endsWith",
        "the value ends with the text",
        Dynamic(text::build_ends_with, text::ends_with),
    ),
    row("eq", "the value's number equals the number", Dynamic(number::build_eq, number::eq)),
    row(
        "fuzzyHash",
        "refused",
        Refused("ssdeep signatures are not searched; match uploads by their names and types"),
    ),
    row("ge", "the value's number is at least the number", Dynamic(number::build_ge, number::ge)),
    row("gt", "the value's number is greater", Dynamic(number::build_gt, number::gt)),
    row("le", "the value's number is at most the number", Dynamic(number::build_le, number::le)),
    row("lt", "the value's number is less", Dynamic(number::build_lt, number::lt)),
    row("streq", "the value equals the text", Dynamic(text::build_streq, text::streq)),
    row("strmatch", "the text occurs", Dynamic(text::build_contains, text::contains)),
    row("within", "the value occurs in the text", Dynamic(text::build_within, text::within)),
];
