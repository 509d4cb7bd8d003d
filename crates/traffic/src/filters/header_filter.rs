//! Sets, adds and removes header fields.
//!
//! Fields that frame a message or belong to one connection are not for a filter: changed in
//! passing they would make two readers see two messages (RFC 9110 §7.6.1, RFC 9112 §6).

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::SettingsError;

/// What is done to header fields: first `remove`, then `set`, then `add`. A policy field; a reload
/// applies it to new requests.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct HeaderFilterSettings {
    /// Fields by name, in place of all that are there.
    pub set: BTreeMap<String, String>,
    /// Fields by name, beside those that are there.
    pub add: BTreeMap<String, String>,
    /// Names of fields that are taken away.
    pub remove: Vec<String>,
}

/// A compiled filter of header fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderFilter {
    removed: Box<[HeaderName]>,
    set: Box<[(HeaderName, HeaderValue)]>,
    added: Box<[(HeaderName, HeaderValue)]>,
}

impl HeaderFilter {
    /// Compiles the settings.
    ///
    /// # Errors
    ///
    /// Names and values that HTTP does not allow, fields that are not for a filter, and names that
    /// come twice.
    pub fn compile(settings: &HeaderFilterSettings) -> Result<Self, Vec<SettingsError>> {
        let mut errors = Vec::new();
        let set = compile_fields("set", &settings.set, &mut errors);
        let added = compile_fields("add", &settings.add, &mut errors);
        let mut removed = Vec::new();
        for (index, name) in settings.remove.iter().enumerate() {
            match compile_name(name) {
                Ok(name) if set.iter().any(|(other, _)| *other == name) => {
                    let message = format!("{name} is both set and removed");
                    let error =
                        SettingsError::new(["remove".to_owned(), index.to_string()], message);
                    errors.push(error.with_hint("`set` replaces what is there already"));
                }
                Ok(name) => removed.push(name),
                Err(error) => errors.push(error.under(["remove".to_owned(), index.to_string()])),
            }
        }
        if errors.is_empty() {
            Ok(Self { removed: removed.into(), set: set.into(), added: added.into() })
        } else {
            Err(errors)
        }
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.set.is_empty() && self.added.is_empty()
    }

    /// Does it to `headers`.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.removed {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.added {
            headers.append(name, value.clone());
        }
    }

    /// The fields taken away; for those who keep headers in a type of their own. Comes first.
    #[must_use]
    pub fn removed(&self) -> &[HeaderName] {
        &self.removed
    }

    /// The fields put in place of others. Comes second.
    #[must_use]
    pub fn set(&self) -> &[(HeaderName, HeaderValue)] {
        &self.set
    }

    /// The fields put beside others. Comes last.
    #[must_use]
    pub fn added(&self) -> &[(HeaderName, HeaderValue)] {
        &self.added
    }
}

fn compile_fields(
    key: &str,
    fields: &BTreeMap<String, String>,
    errors: &mut Vec<SettingsError>,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut compiled = Vec::new();
    let mut seen = BTreeSet::new();
    for (text, value) in fields {
        let name = match compile_name(text) {
            Ok(name) if seen.insert(name.as_str().to_owned()) => name,
            Ok(name) => {
                let message = format!("{name} is listed twice, since names ignore case");
                errors.push(SettingsError::new([key, text], message));
                continue;
            }
            Err(error) => {
                errors.push(error.under([key, text]));
                continue;
            }
        };
        match compile_value(value) {
            Some(value) => compiled.push((name, value)),
            None => {
                let message = format!("the value of {name} is not one that a header can carry");
                let error = SettingsError::new([key, text], message);
                errors.push(error.with_hint("use visible ASCII, with single spaces inside"));
            }
        }
    }
    compiled
}

/// Visible ASCII and spaces, none at the ends (RFC 9110 §5.5).
fn compile_value(value: &str) -> Option<HeaderValue> {
    let trimmed = value.trim_matches([' ', '\t']) == value;
    HeaderValue::from_str(value).ok().filter(|value| trimmed && value.to_str().is_ok())
}

fn compile_name(text: &str) -> Result<HeaderName, SettingsError> {
    let nowhere: [&str; 0] = [];
    let name: HeaderName = text.parse().map_err(|_error| {
        SettingsError::new(nowhere, format!("`{text}` is not a header name"))
            .with_hint("use letters, digits and hyphens")
    })?;
    if name == header::HOST {
        return Err(SettingsError::new(nowhere, "the Host field is not for a header filter")
            .with_hint("use `rewrite: { host: .. }`"));
    }
    if CONNECTION_FIELDS.contains(&name.as_str()) {
        let message = format!("{name} frames the message or belongs to one connection");
        return Err(SettingsError::new(nowhere, message).with_hint("the proxy sets it itself"));
    }
    Ok(name)
}

/// Framing (RFC 9112 §6), hop-by-hop fields (RFC 9110 §7.6.1) and what is used as one.
const CONNECTION_FIELDS: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "proxy-authenticate",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(json: &str) -> HeaderFilterSettings {
        serde_json::from_str(json).unwrap()
    }

    #[track_caller]
    fn check(json: &str, expected: &str) {
        let errors = HeaderFilter::compile(&settings(json)).unwrap_err();
        let found: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(found.join("; "), expected);
    }

    #[test]
    fn fields_are_removed_then_set_then_added() {
        let json = r#"{"set":{"X-A":"1"},"add":{"x-a":"2","x-b":"3"},"remove":["X-C","x-b"]}"#;
        let mut headers = HeaderMap::new();
        for (name, value) in [("x-a", "old"), ("x-a", "older"), ("x-b", "old"), ("x-c", "old")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        HeaderFilter::compile(&settings(json)).unwrap().apply(&mut headers);
        assert_eq!(headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(headers.get_all("x-b").iter().collect::<Vec<_>>(), ["3"]);
        assert!(!headers.contains_key("x-c"));
        assert!(HeaderFilter::compile(&settings("{}")).unwrap().is_empty());
    }

    #[test]
    fn what_a_header_cannot_be_is_refused() {
        check(r#"{"set":{"a b":"x"}}"#, "set.a b: `a b` is not a header name");
        check(r#"{"remove":[":path"]}"#, "remove.0: `:path` is not a header name");
        check(
            r#"{"set":{"x-a":"1\r\nset-cookie: x"}}"#,
            "set.x-a: the value of x-a is not one that a header can carry",
        );
        check(
            r#"{"add":{"x-a":" 1"}}"#,
            "add.x-a: the value of x-a is not one that a header can carry",
        );
        check(
            r#"{"set":{"X-A":"1","x-a":"2"}}"#,
            "set.x-a: x-a is listed twice, since names ignore case",
        );
        check(r#"{"set":{"x-a":"1"},"remove":["X-A"]}"#, "remove.0: x-a is both set and removed");
    }

    #[test]
    fn framing_and_connection_fields_are_refused() {
        for name in CONNECTION_FIELDS {
            let json = format!(r#"{{"remove":["{name}"]}}"#);
            check(
                &json,
                &format!("remove.0: {name} frames the message or belongs to one connection"),
            );
        }
        check(r#"{"set":{"Host":"x"}}"#, "set.Host: the Host field is not for a header filter");
    }
}
