//! What is demanded of scopes, roles and claims, as users write it.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// One name or a list of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl Names {
    /// These names.
    #[must_use]
    pub fn of(names: &[&str]) -> Self {
        Self(names.iter().map(|name| (*name).to_owned()).collect())
    }
}

/// Some names of which all, or any, are demanded: a list demands all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllOrAny {
    /// All of these.
    pub all: Vec<String>,
    /// At least one of these, if there are some.
    pub any: Vec<String>,
}

/// What a claim must be: this value, or one of these. In a claim that is a list, one of its
/// elements must be it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimSettings(pub Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor("a name or a list of names")).map(Names)
    }
}

impl<'de> Deserialize<'de> for ClaimSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor("a value or a list of values")).map(ClaimSettings)
    }
}

impl<'de> Deserialize<'de> for AllOrAny {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AllOrAnyVisitor)
    }
}

/// Reads a string, number or truth value as its text, or a list of them.
struct ListVisitor(&'static str);

/// One of the elements.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor).map(Self)
    }
}

impl<'de> Visitor<'de> for ListVisitor {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Vec<String>, E> {
        TextVisitor.visit_bool(value).map(|text| vec![text])
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Vec<String>, E> {
        TextVisitor.visit_i64(value).map(|text| vec![text])
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Vec<String>, E> {
        TextVisitor.visit_u64(value).map(|text| vec![text])
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<String>, E> {
        TextVisitor.visit_str(text).map(|text| vec![text])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        let mut items = Vec::new();
        while let Some(Text(item)) = list.next_element()? {
            items.push(item);
        }
        Ok(items)
    }
}

/// Reads a string, number or truth value as its text.
struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<String, E> {
        Ok(value.to_string())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

struct AllOrAnyVisitor;

impl<'de> Visitor<'de> for AllOrAnyVisitor {
    type Value = AllOrAny;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name, a list of names (all are demanded), or `{ all: […], any: […] }`")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<AllOrAny, E> {
        Ok(AllOrAny { all: vec![name.to_owned()], any: Vec::new() })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<AllOrAny, A::Error> {
        let all = ListVisitor("a list of names").visit_seq(list)?;
        Ok(AllOrAny { all, any: Vec::new() })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AllOrAny, A::Error> {
        let mut demanded = AllOrAny::default();
        while let Some(key) = map.next_key::<String>()? {
            let Names(names) = map.next_value()?;
            match key.as_str() {
                "all" => demanded.all = names,
                "any" => demanded.any = names,
                other => return Err(de::Error::unknown_field(other, &["all", "any"])),
            }
        }
        Ok(demanded)
    }
}

/// A value, or a list of values.
fn one_or_list(examples: &[&str]) -> Schema {
    let scalar = json_schema!({ "type": ["string", "integer", "boolean"] });
    json_schema!({
        "anyOf": [
            { "type": ["string", "integer", "boolean"], "examples": examples },
            { "type": "array", "items": scalar },
        ],
    })
}

impl JsonSchema for Names {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Names".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
        })
    }
}

impl JsonSchema for ClaimSettings {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Claim".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        one_or_list(&["payments"])
    }
}

impl JsonSchema for AllOrAny {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "AllOrAny".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let names = Names::json_schema(generator);
        json_schema!({
            "anyOf": [
                { "type": "string", "examples": ["pay:write"] },
                { "type": "array", "items": { "type": "string" } },
                {
                    "type": "object",
                    "properties": { "all": names, "any": names },
                    "additionalProperties": false,
                },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, all: &[&str], any: &[&str]) {
        let read: AllOrAny = serde_json::from_str(text).unwrap();
        assert_eq!(read, AllOrAny { all: Names::of(all).0, any: Names::of(any).0 }, "{text}");
    }

    #[test]
    fn a_list_demands_all_of_it() {
        check(r#""a""#, &["a"], &[]);
        check(r#"["a","b"]"#, &["a", "b"], &[]);
        check(r#"{"any":["a","b"]}"#, &[], &["a", "b"]);
        check(r#"{"all":"a","any":["b"]}"#, &["a"], &["b"]);
        assert!(serde_json::from_str::<AllOrAny>(r#"{"either":["a"]}"#).is_err());
        assert!(serde_json::from_str::<AllOrAny>(r#"[["a"]]"#).is_err());
    }

    #[test]
    fn a_claim_may_be_a_number_or_a_truth_value() {
        let read = |text: &str| serde_json::from_str::<ClaimSettings>(text).map(|claim| claim.0);
        assert_eq!(read("true").unwrap(), ["true"]);
        assert_eq!(read(r#"[1,"x"]"#).unwrap(), ["1", "x"]);
        assert!(read("{}").is_err());
    }
}
