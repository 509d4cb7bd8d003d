//! The table of SecLang's operators, in the order of their names.

use super::Kind::{Dynamic, Fixed, Refused};
use super::{
    Kind, SecLangOperator, address, constant, injection, number, rx, text, validate, verify, words,
};

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
    row("detectSQLi", "libinjection sees SQL", Fixed(injection::build_sqli)),
    row("detectXSS", "libinjection sees scripts", Fixed(injection::build_xss)),
    row(
        "endsWith",
        "the value ends with the text",
        Dynamic(text::build_ends_with, text::ends_with),
    ),
    row("eq", "the value's number equals the number", Dynamic(number::build_eq, number::eq)),
    row(
        "fuzzyHash",
        "refused",
        Refused("ssdeep signatures are not searched; tell uploads by their names and types"),
    ),
    row("ge", "the value's number is at least the number", Dynamic(number::build_ge, number::ge)),
    row(
        "geoLookup",
        "refused",
        Refused("there is no GeoIP database here; match addresses with @ipMatchFromFile"),
    ),
    row(
        "gsbLookup",
        "refused",
        Refused("Google Safe Browsing is not asked; match known names with @pmFromFile"),
    ),
    row("gt", "the value's number is greater", Dynamic(number::build_gt, number::gt)),
    row("inspectFile", "refused", Refused("no program is run on uploads; scan them in the origin")),
    row("ipMatch", "the value is an address within one of the networks", Fixed(address::build)),
    row("ipMatchF", "like ipMatchFromFile", Fixed(address::build_from_file)),
    row(
        "ipMatchFromFile",
        "like ipMatch, with the networks of a file",
        Fixed(address::build_from_file),
    ),
    row("le", "the value's number is at most the number", Dynamic(number::build_le, number::le)),
    row("lt", "the value's number is less", Dynamic(number::build_lt, number::lt)),
    row("noMatch", "nothing matches", Fixed(constant::build_never)),
    row("pm", "any of the words occurs, in any case", Fixed(words::build)),
    row("pmf", "like pmFromFile", Fixed(words::build_from_file)),
    row("pmFromFile", "any line of the file occurs, in any case", Fixed(words::build_from_file)),
    row(
        "rbl",
        "refused",
        Refused("no DNS is asked while a request waits; use @ipMatchFromFile with a list"),
    ),
    row("rsub", "refused", Refused("bodies are not rewritten; match with @rx and deny")),
    row("rx", "a regular expression over bytes matches", Dynamic(rx::build, rx::search)),
    row(
        "rxGlobal",
        "like rx, and the groups of all matches are captured",
        Dynamic(rx::build_global, rx::search),
    ),
    row("streq", "the value equals the text", Dynamic(text::build_streq, text::streq)),
    row("strmatch", "the text occurs", Dynamic(text::build_contains, text::contains)),
    row("unconditionalMatch", "everything matches", Fixed(constant::build_always)),
    row("validateByteRange", "a byte is outside of the ranges", Fixed(validate::build_byte_range)),
    row(
        "validateDTD",
        "refused",
        Refused("XML is not validated against a DTD; no entity is ever expanded"),
    ),
    row("validateHash", "refused", Refused("links are not signed here")),
    row(
        "validateSchema",
        "refused",
        Refused("XML is not validated against a schema; do it in the origin"),
    ),
    row(
        "validateUrlEncoding",
        "a percent sign without two digits",
        Fixed(validate::build_url_encoding),
    ),
    row("validateUtf8Encoding", "the value is not UTF-8", Fixed(validate::build_utf8_encoding)),
    row("verifyCC", "the pattern finds a card number", Fixed(verify::build_cc)),
    row("verifyCPF", "the pattern finds a Brazilian CPF", Fixed(verify::build_cpf)),
    row("verifySSN", "the pattern finds a US social security number", Fixed(verify::build_ssn)),
    row(
        "verifySVNR",
        "the pattern finds an Austrian social security number",
        Fixed(verify::build_svnr),
    ),
    row("within", "the value occurs in the text", Dynamic(text::build_within, text::within)),
];
