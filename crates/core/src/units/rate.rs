//! [`Rate`]: events per time, written as `100/s`, `600/m` or `1000/h`.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text;

/// How many events a period may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// Events per period; at least one.
    pub count: NonZeroU32,
    /// The period: a second, a minute, an hour or a day.
    pub period: Duration,
}

impl Rate {
    /// The time from one event to the next at this rate, at least a nanosecond.
    #[must_use]
    pub fn interval(&self) -> Duration {
        (self.period / self.count.get()).max(Duration::from_nanos(1))
    }
}

const PERIODS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];

impl FromStr for Rate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (count, period) = text.split_once('/').ok_or(ParseRateError)?;
        let count = count.trim_end().parse().map_err(|_error| ParseRateError)?;
        let (_, seconds) =
            PERIODS.iter().find(|(name, _)| *name == period.trim_start()).ok_or(ParseRateError)?;
        Ok(Self { count, period: Duration::from_secs(*seconds) })
    }
}

/// The text is not a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a rate; write a whole number above zero per s, m, h or d, such as 100/s, 600/m or 1000/h"
)]
pub struct ParseRateError;

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.period.as_secs();
        match PERIODS.iter().find(|(_, size)| *size == seconds) {
            Some((name, _)) => write!(f, "{}/{name}", self.count),
            None => write!(f, "{}/{seconds}s", self.count),
        }
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer, "a rate such as 100/s")
    }
}

impl JsonSchema for Rate {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[1-9][0-9]* ?/ ?(s|m|h|d)$",
            "examples": ["100/s"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_counts_per_period() {
        let rate: Rate = "100/s".parse().unwrap();
        assert_eq!(rate.interval(), Duration::from_millis(10));
        for text in ["100/s", "600/m", "1000/h", "1/d"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in ["", "100", "0/s", "-1/s", "1/w", "1.5/s", "/s", "5000000000/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
