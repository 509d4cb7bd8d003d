//! Which events a sink gets: two names, or a map.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Which events a sink gets.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum EventsSettings {
    /// Every request and every notice.
    All,
    /// Refusals, findings, failed proofs of identity, and every notice.
    #[default]
    Security,
    /// What the map says.
    Chosen(ChosenEvents),
}

/// Which events a sink gets, by their fields. What is not said restricts nothing.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct ChosenEvents {
    /// Requests that were refused or failed for one of these reasons, and no others. A reload
    /// applies it.
    pub reasons: Option<Vec<String>>,
    /// Requests of these routes, by their ids, and no others. A reload applies it.
    pub routes: Option<Vec<String>>,
    /// Notices of these kinds, and no others. A reload applies it.
    pub notices: Option<Vec<String>>,
    /// Requests and notices from this severity on. Default: informational. A reload applies it.
    pub severity: SeveritySettings,
}

/// How bad something has to be.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum SeveritySettings {
    /// Something has to be done at once.
    Critical,
    /// Something has to be done.
    High,
    /// Nothing is wrong.
    #[default]
    Informational,
    /// Nothing has to be done.
    Low,
    /// Somebody should look at it.
    Medium,
}

impl<'de> Deserialize<'de> for EventsSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EventsVisitor)
    }
}

struct EventsVisitor;

impl<'de> Visitor<'de> for EventsVisitor {
    type Value = EventsSettings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`security`, `all` or a map such as {severity: medium}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        match text {
            "all" => Ok(EventsSettings::All),
            "security" => Ok(EventsSettings::Security),
            other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        ChosenEvents::deserialize(MapAccessDeserializer::new(map)).map(EventsSettings::Chosen)
    }
}

impl JsonSchema for EventsSettings {
    fn schema_name() -> Cow<'static, str> {
        "SinkEvents".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Which events the sink gets: `security`, `all` or a map.",
            "anyOf": [
                { "type": "string", "enum": ["security", "all"] },
                generator.subschema_for::<ChosenEvents>(),
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Result<EventsSettings, &str>) {
        let actual =
            serde_json::from_str(json).map_err(|error: serde_json::Error| error.to_string());
        match (actual, expected) {
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (actual, expected) => assert_eq!(actual, expected.map_err(ToOwned::to_owned), "{json}"),
        }
    }

    #[test]
    fn events_have_a_name_or_a_map() {
        check(r#""all""#, Ok(EventsSettings::All));
        check(r#""security""#, Ok(EventsSettings::Security));
        let chosen = ChosenEvents {
            reasons: Some(vec!["waf_blocked".to_owned()]),
            severity: SeveritySettings::Medium,
            ..ChosenEvents::default()
        };
        check(
            r#"{"reasons": ["waf_blocked"], "severity": "medium"}"#,
            Ok(EventsSettings::Chosen(chosen)),
        );
        check(r#""some""#, Err("expected `security`, `all` or a map"));
        check(r#"{"reason": []}"#, Err("unknown field `reason`"));
    }
}
