//! [`Span`]: a duration written as `250ms`, `30s`, `5m`, `1h` or `2d`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text;

/// A duration in the configuration. Whole numbers of one unit; a bare number is refused, since
/// nobody can see its unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

impl Span {
    /// A span of whole seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// A span of whole milliseconds.
    #[must_use]
    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
}

const UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl FromStr for Span {
    type Err = ParseSpanError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or(ParseSpanError)?;
        let (digits, unit) = text.split_at(unit_at);
        let count: u64 = digits.parse().map_err(|_error| ParseSpanError)?;
        let (_, millis) =
            UNITS.iter().find(|(name, _)| *name == unit.trim_start()).ok_or(ParseSpanError)?;
        let millis = count.checked_mul(*millis).ok_or(ParseSpanError)?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

/// The text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration; write a whole number and a unit, such as 250ms, 30s, 5m, 1h or 2d")]
pub struct ParseSpanError;

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let (unit, size) = UNITS
            .iter()
            .rev()
            .find(|(_, size)| millis.is_multiple_of(u128::from(*size)) && millis > 0)
            .unwrap_or(&("s", 1000));
        write!(f, "{}{unit}", millis / u128::from(*size))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer, "a duration such as 250ms or 30s")
    }
}

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+ ?(ms|s|m|h|d)$", "examples": ["30s"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, millis: Option<u64>) {
        assert_eq!(text.parse::<Span>().ok(), millis.map(Span::millis), "{text}");
    }

    #[test]
    fn spans_have_a_whole_number_and_a_unit() {
        check("250ms", Some(250));
        check("30s", Some(30_000));
        check("5 m", Some(300_000));
        check("1h", Some(3_600_000));
        check("2d", Some(172_800_000));
        check("30", None);
        check("", None);
        check("s", None);
        check("1.5s", None);
        check("-1s", None);
        check("1w", None);
        check("99999999999999999999s", None);
        check("18446744073709551615d", None);
    }

    #[test]
    fn a_span_prints_in_its_largest_whole_unit() {
        for text in ["250ms", "90s", "5m", "36h", "2d", "0s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
    }
}
