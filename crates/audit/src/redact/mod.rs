//! Redaction: what becomes of a value before it is written anywhere.
//!
//! A route says per field what happens; what it says nothing about is scanned for card numbers,
//! tokens and passwords. Nothing here is undone later: whoever reads the log sees what is left,
//! and of sealed values only as long as their subject's key lives.

mod names;
mod pseudonym;
mod scan;
mod seal;
mod subjects;

use std::sync::Arc;

use serde_json::{Map, Value, json};

pub use self::names::is_secret;
pub use self::pseudonym::{Pseudonyms, SHORTEST_KEY};
pub use self::scan::scan;
pub use self::seal::{SealError, is_sealed};
pub use self::subjects::{Erasure, SubjectError, SubjectKey, Subjects};
use crate::settings::Redaction;

/// What stands for a masked value.
pub const MASK: &str = "***";

/// Longer texts are cut before they are recorded.
const MAX_TEXT: usize = 4_096;
/// Deeper values are not recorded.
const MAX_DEPTH: usize = 16;

/// What a record's values are redacted with.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    pseudonyms: Option<Arc<Pseudonyms>>,
    subjects: Option<Arc<Subjects>>,
}

impl Redactor {
    /// A redactor with the key for hashes and the store of subjects' keys, where there are any.
    #[must_use]
    pub fn new(pseudonyms: Option<Arc<Pseudonyms>>, subjects: Option<Arc<Subjects>>) -> Self {
        Self { pseudonyms, subjects }
    }

    /// The pseudonym of a subject; `None` without a key.
    #[must_use]
    pub fn pseudonym(&self, subject: &str) -> Option<String> {
        self.pseudonyms.as_ref().map(|pseudonyms| pseudonyms.of(subject))
    }

    /// The store of subjects' keys.
    #[must_use]
    pub fn subjects(&self) -> Option<&Arc<Subjects>> {
        self.subjects.as_ref()
    }

    /// Redacts the value called `name`, taken from a place whose own name is `place`, such as a
    /// header's. `subject` is the pseudonym of whom it concerns.
    ///
    /// # Errors
    /// It is to be encrypted, and the subject's key is not to be had.
    pub fn apply(
        &self,
        redaction: Redaction,
        (name, place): (&str, &str),
        value: &Value,
        subject: Option<&str>,
    ) -> Result<Value, SubjectError> {
        Ok(match redaction {
            Redaction::Drop => json!({ "redacted": "dropped" }),
            Redaction::Encrypt => match (subject, &self.subjects) {
                (Some(subject), Some(subjects)) => {
                    let key = subjects.key(subject)?;
                    key.seal(subject, name, value)?
                }
                _ => json!({ "redacted": "no subject" }),
            },
            Redaction::Hash => match &self.pseudonyms {
                Some(pseudonyms) => pseudonyms.of(&plain(value)).into(),
                None => json!({ "redacted": "no key" }),
            },
            Redaction::InsecureKeep => shortened(value, 0),
            Redaction::Mask => masked(&plain(value)).into(),
            Redaction::Scan if is_secret(name) || is_secret(place) => MASK.into(),
            Redaction::Scan => scanned(value, 0),
        })
    }
}

/// A text without what looks like a secret, cut to a length that can be recorded.
#[must_use]
pub fn clean(text: &str) -> String {
    cut(&scan(text)).to_owned()
}

/// The value as text: a string without its quotes, other values as JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// All but the last four characters masked; all of it if it has fewer than nine.
fn masked(text: &str) -> String {
    let count = text.chars().count();
    if count < 9 {
        return MASK.to_owned();
    }
    let tail: String = text.chars().skip(count - 4).collect();
    format!("{MASK}{tail}")
}

fn scanned(value: &Value, depth: usize) -> Value {
    match value {
        _ if depth > MAX_DEPTH => MASK.into(),
        Value::String(text) => clean(text).into(),
        // A card's number may come as a number.
        Value::Number(number) => {
            let text = number.to_string();
            match scan(&text) {
                same if same == text => value.clone(),
                masked => masked.into_owned().into(),
            }
        }
        Value::Array(items) => items.iter().map(|item| scanned(item, depth + 1)).collect(),
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| {
                let value = if is_secret(name) { MASK.into() } else { scanned(value, depth + 1) };
                (clean(name), value)
            };
            Value::Object(members.iter().map(member).collect::<Map<_, _>>())
        }
        Value::Null | Value::Bool(_) => value.clone(),
    }
}

fn shortened(value: &Value, depth: usize) -> Value {
    match value {
        _ if depth > MAX_DEPTH => MASK.into(),
        Value::String(text) => cut(text).into(),
        Value::Array(items) => items.iter().map(|item| shortened(item, depth + 1)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (cut(name).to_owned(), shortened(value, depth + 1)))
            .collect(),
        other => other.clone(),
    }
}

fn cut(text: &str) -> &str {
    let end = (0..=MAX_TEXT.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(
        redaction: Redaction,
        name: &str,
        value: impl Into<Value>,
        expected: impl Into<Value>,
    ) {
        let pseudonyms = Pseudonyms::new(b"0123456789abcdef").unwrap();
        let redactor = Redactor::new(Some(Arc::new(pseudonyms)), None);
        assert_eq!(
            redactor.apply(redaction, (name, name), &value.into(), None).unwrap(),
            expected.into()
        );
    }

    #[test]
    fn each_redaction_does_what_it_says() {
        check(Redaction::Drop, "a", json!("x"), json!({"redacted": "dropped"}));
        check(Redaction::Mask, "a", json!("4111111111111111"), json!("***1111"));
        check(Redaction::Mask, "a", json!(4111111111111111_u64), json!("***1111"));
        check(Redaction::Mask, "a", json!("short"), json!("***"));
        check(Redaction::InsecureKeep, "a", json!("4111111111111111"), json!("4111111111111111"));
        check(Redaction::Encrypt, "a", json!("x"), json!({"redacted": "no subject"}));
        let pseudonyms = Pseudonyms::new(b"0123456789abcdef").unwrap();
        check(Redaction::Hash, "a", json!("x"), pseudonyms.of("x"));
    }

    #[test]
    fn what_nothing_is_said_about_is_scanned_inside_and_out() {
        check(
            Redaction::Scan,
            "order",
            json!({"card": "4111 1111 1111 1111", "n": 4111111111111111_u64, "password": "x",
                   "items": [{"cvv": 123, "note": "Bearer abcdefgh.ijkl"}], "ok": true, "amount": 12.5}),
            json!({"card": "**** **** **** 1111", "n": "************1111", "password": "***",
                   "items": [{"cvv": "***", "note": "Bearer ***"}], "ok": true, "amount": 12.5}),
        );
        check(Redaction::Scan, "authorization", json!("anything"), json!("***"));
        check(Redaction::Scan, "cookie", json!("a=b"), json!("***"));
        check(Redaction::Scan, "set-cookie", json!("a=b"), json!("***"));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = "\u{e4}".repeat(MAX_TEXT);
        assert_eq!(clean(&long).len(), MAX_TEXT);
        assert_eq!(clean(&format!("x{long}")).len(), MAX_TEXT - 1);
    }
}
