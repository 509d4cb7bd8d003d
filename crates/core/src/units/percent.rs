//! [`Percent`]: a share written as `5%` or `0.5%`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text;

/// A share from 0 % to 100 % in steps of a hundredth of a percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent {
    basis_points: u16,
}

impl Percent {
    /// A whole percentage; more than 100 is taken as 100.
    #[must_use]
    pub const fn new(percent: u8) -> Self {
        let percent = if percent > 100 { 100 } else { percent };
        Self { basis_points: percent as u16 * 100 }
    }

    /// The share in hundredths of a percent, from 0 to 10,000.
    #[must_use]
    pub const fn basis_points(self) -> u16 {
        self.basis_points
    }

    /// The share as a number from 0 to 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.basis_points) / 10_000.0
    }
}

impl FromStr for Percent {
    type Err = ParsePercentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_suffix('%').ok_or(ParsePercentError)?.trim_end();
        let (whole, hundredths) = number.split_once('.').unwrap_or((number, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || hundredths.len() > 2 || !digits(whole) || !digits(hundredths) {
            return Err(ParsePercentError);
        }
        let basis_points = format!("{whole}{hundredths:0<2}")
            .parse()
            .ok()
            .filter(|points| *points <= 10_000)
            .ok_or(ParsePercentError)?;
        Ok(Self { basis_points })
    }
}

/// The text is not a percentage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a percentage; write a number from 0% to 100%, such as 5% or 0.5%")]
pub struct ParsePercentError;

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.basis_points) / 100.0)
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer, "a percentage such as 5%")
    }
}

impl JsonSchema for Percent {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(100(\\.0{1,2})?|[0-9]{1,2}(\\.[0-9]{1,2})?) ?%$",
            "examples": ["5%"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_end_at_a_hundred() {
        for (text, printed) in [("0%", "0%"), ("5 %", "5%"), ("0.5%", "0.5%"), ("100%", "100%")] {
            assert_eq!(text.parse::<Percent>().unwrap().to_string(), printed);
        }
        for text in ["", "%", "5", "101%", "-1%", "0.001%", "1e1%", "5.%5"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
    }
}
