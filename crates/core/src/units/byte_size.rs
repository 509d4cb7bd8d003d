//! [`ByteSize`]: a size written as `512B`, `64KiB`, `10MB` or `1GiB`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text;

/// A number of bytes in the configuration. `KB` is 1,000 and `KiB` is 1,024 (IEC 80000-13); a bare
/// number is refused, since nobody can see its unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// A size of whole kibibytes.
    #[must_use]
    pub const fn kib(kib: u64) -> Self {
        Self(kib << 10)
    }

    /// A size of whole mebibytes.
    #[must_use]
    pub const fn mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// The size as an index type, saturating on small machines.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

const UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("KB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

impl FromStr for ByteSize {
    type Err = ParseByteSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or(ParseByteSizeError)?;
        let (digits, unit) = text.split_at(unit_at);
        let count: u64 = digits.parse().map_err(|_error| ParseByteSizeError)?;
        let (_, size) =
            UNITS.iter().find(|(name, _)| *name == unit.trim_start()).ok_or(ParseByteSizeError)?;
        count.checked_mul(*size).map(Self).ok_or(ParseByteSizeError)
    }
}

/// The text is not a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a size; write a whole number and a unit, such as 512B, 64KiB, 10MB or 1GiB")]
pub struct ParseByteSizeError;

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, size) = UNITS
            .iter()
            .rev()
            .find(|(_, size)| self.0.is_multiple_of(*size) && self.0 > 0)
            .unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / size)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::deserialize(deserializer, "a size such as 64KiB")
    }
}

impl JsonSchema for ByteSize {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]+ ?(B|KB|KiB|MB|MiB|GB|GiB)$",
            "examples": ["64KiB"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, bytes: Option<u64>) {
        assert_eq!(text.parse::<ByteSize>().ok(), bytes.map(ByteSize), "{text}");
    }

    #[test]
    fn sizes_have_a_whole_number_and_a_unit() {
        check("512B", Some(512));
        check("64KiB", Some(65_536));
        check("10 MB", Some(10_000_000));
        check("1GiB", Some(1 << 30));
        check("1", None);
        check("1kb", None);
        check("1.5MB", None);
        check("-1B", None);
        check("99999999999GiB", None);
    }

    #[test]
    fn a_size_prints_in_its_largest_whole_unit() {
        for text in ["512B", "64KiB", "10MB", "3GiB", "0B"] {
            assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
        }
    }
}
