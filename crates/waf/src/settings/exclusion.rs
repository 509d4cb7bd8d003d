//! What not to look at.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

/// One exclusion. `rules` and `tags` say which rules, `targets` says where; without `targets` the
/// rules are switched off, without `rules` and `tags` the targets are not inspected at all.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case", default)]
pub struct ExclusionSettings {
    /// Rule ids and ranges of them, such as `[2101, 942200-942299]`.
    pub rules: Vec<RuleIds>,
    /// Rule tags, such as `[sqli]`.
    pub tags: Vec<String>,
    /// Parts of a request, such as `query:q`, `body:comment`, `header:x-note`, `cookie:prefs` or
    /// `body:json.items.*.text`; without a name all of that kind. SecLang's names do as well, such
    /// as `ARGS:comment` or `REQUEST_COOKIES:/^prefs/`.
    pub targets: Vec<String>,
}

/// A rule's id, or the ids from the first to the last.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RuleIds {
    /// The first.
    pub first: u32,
    /// The last, which is one of them.
    pub last: u32,
}

impl RuleIds {
    /// Whether the id is one of them.
    #[must_use]
    pub fn contains(self, id: u32) -> bool {
        (self.first..=self.last).contains(&id)
    }
}

impl From<u32> for RuleIds {
    fn from(id: u32) -> Self {
        Self { first: id, last: id }
    }
}

impl fmt::Display for RuleIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.last == self.first { Ok(()) } else { write!(f, "-{}", self.last) }
    }
}

impl fmt::Debug for RuleIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl<'de> Deserialize<'de> for RuleIds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RuleIdsVisitor)
    }
}

struct RuleIdsVisitor;

impl Visitor<'_> for RuleIdsVisitor {
    type Value = RuleIds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a rule's id such as `942100`, or a range such as `942200-942299`")
    }

    fn visit_u64<E: de::Error>(self, id: u64) -> Result<RuleIds, E> {
        let id = u32::try_from(id);
        id.map(RuleIds::from).map_err(|_error| E::custom("no rule has an id that large"))
    }

    fn visit_i64<E: de::Error>(self, id: i64) -> Result<RuleIds, E> {
        let id = u32::try_from(id);
        id.map(RuleIds::from).map_err(|_error| E::custom("no rule has such an id"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<RuleIds, E> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if first <= last => Ok(RuleIds { first, last }),
            (Ok(_), Ok(_)) => Err(E::custom(format!("the range `{text}` runs backwards"))),
            _ => Err(E::custom(format!(
                "`{text}` is neither a rule's id nor a range such as `942200-942299`"
            ))),
        }
    }
}

impl JsonSchema for RuleIds {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RuleIds".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "integer", "minimum": 0, "examples": [942_100] },
                { "type": "string", "pattern": r"^\s*[0-9]+\s*(-\s*[0-9]+\s*)?$",
                  "examples": ["942200-942299"] },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, told: &str) {
        let read = serde_json::from_str::<RuleIds>(json);
        let read = read.map_or_else(|error| error.to_string(), |ids| ids.to_string());
        assert!(read.starts_with(told), "{read}");
    }

    #[test]
    fn ids_are_numbers_or_ranges() {
        check("942100", "942100");
        check("\"942100\"", "942100");
        check("\"942200 - 942299\"", "942200-942299");
        check("\"3-2\"", "the range `3-2` runs backwards");
        check("-1", "no rule has such an id");
        check("\"a-b\"", "`a-b` is neither");
        check("[1]", "invalid type: sequence, expected a rule's id");
    }
}
