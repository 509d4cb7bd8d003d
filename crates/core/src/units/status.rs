//! Statuses of HTTP as conditions: `404`, `5xx` or `200-399`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

/// A status, or a range of them, from 100 to 599.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    first: u16,
    last: u16,
}

impl StatusRange {
    /// The statuses that say success: 200 to 299.
    pub const SUCCESS: Self = Self { first: 200, last: 299 };

    /// The range from `first` to `last`, both in it; `None` if there is none such.
    #[must_use]
    pub fn new(first: u64, last: u64) -> Option<Self> {
        let range = Self { first: u16::try_from(first).ok()?, last: u16::try_from(last).ok()? };
        (range.first >= 100 && range.last <= 599 && range.first <= range.last).then_some(range)
    }

    /// Whether the status is in it.
    #[must_use]
    pub fn contains(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some(class) = text.strip_suffix("xx") {
            let class: u64 = class.parse().ok().filter(|class| (1..=5).contains(class))?;
            return Self::new(class * 100, class * 100 + 99);
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Self::new(first.trim().parse().ok()?, last.trim().parse().ok()?)
    }
}

impl<'de> Deserialize<'de> for StatusRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StatusRangeVisitor)
    }
}

struct StatusRangeVisitor;

impl Visitor<'_> for StatusRangeVisitor {
    type Value = StatusRange;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a status from 100 to 599 such as 200, or a range such as \"200-399\"")
    }

    fn visit_i64<E: de::Error>(self, status: i64) -> Result<StatusRange, E> {
        let unsigned = u64::try_from(status).ok();
        unsigned
            .and_then(|status| StatusRange::new(status, status))
            .ok_or_else(|| E::invalid_value(de::Unexpected::Signed(status), &self))
    }

    fn visit_u64<E: de::Error>(self, status: u64) -> Result<StatusRange, E> {
        StatusRange::new(status, status)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(status), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<StatusRange, E> {
        StatusRange::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

impl JsonSchema for StatusRange {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "StatusRange".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "integer", "minimum": 100, "maximum": 599 },
                { "type": "string", "pattern": "^([1-5]xx|[1-5][0-9]{2}( ?- ?[1-5][0-9]{2})?)$" },
            ],
            "examples": [200, "5xx", "200-399"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Option<(u16, u16)>) {
        let read = serde_json::from_str::<StatusRange>(json).ok();
        assert_eq!(read.map(|range| (range.first, range.last)), expected, "{json}");
    }

    #[test]
    fn a_status_is_a_number_a_class_or_a_range() {
        check("404", Some((404, 404)));
        check("\"404\"", Some((404, 404)));
        check("\"5xx\"", Some((500, 599)));
        check("\"400-499\"", Some((400, 499)));
        check("\"400 - 499\"", Some((400, 499)));
        for wrong in ["99", "600", "\"6xx\"", "\"499-400\"", "\"\"", "\"4x\"", "true", "-1"] {
            check(wrong, None);
        }
    }
}
