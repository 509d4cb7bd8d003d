//! The settings of the access log, as users write them.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tidegate_core::units::Percent;

/// Where the access log goes: `off`, or a map. A reload applies it.
#[derive(Clone, Debug, PartialEq)]
pub enum AccessLogSettings {
    /// No access log.
    Off,
    /// One line for each request.
    On(AccessLogTarget),
}

/// An access log that is written.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct AccessLogTarget {
    /// The file to append to, or `-` for the standard output (the default). SIGUSR1 opens it
    /// anew, for log rotation. A reload applies it.
    #[serde(default = "standard_output")]
    pub path: String,
    /// How a line looks. A reload applies it.
    #[serde(default)]
    pub format: AccessLogFormat,
    /// The share of requests that are logged. Those that were refused or failed, or were
    /// answered with 5xx, are logged always. Default: 100%. A reload applies it.
    #[serde(default = "every_request")]
    pub sample: Percent,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum AccessLogFormat {
    /// One JSON object for each line; the reference lists its fields.
    #[default]
    Json,
}

impl Default for AccessLogTarget {
    fn default() -> Self {
        Self {
            path: standard_output(),
            format: AccessLogFormat::default(),
            sample: every_request(),
        }
    }
}

impl Default for AccessLogSettings {
    fn default() -> Self {
        Self::On(AccessLogTarget::default())
    }
}

fn standard_output() -> String {
    "-".to_owned()
}

fn every_request() -> Percent {
    Percent::new(100)
}

impl<'de> Deserialize<'de> for AccessLogSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SettingsVisitor)
    }
}

struct SettingsVisitor;

impl<'de> Visitor<'de> for SettingsVisitor {
    type Value = AccessLogSettings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`off` or a map such as {path: /var/log/tidegate/access.log}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        match text {
            "off" => Ok(AccessLogSettings::Off),
            other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        AccessLogTarget::deserialize(MapAccessDeserializer::new(map)).map(AccessLogSettings::On)
    }
}

impl JsonSchema for AccessLogSettings {
    fn schema_name() -> Cow<'static, str> {
        "AccessLog".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Where the access log goes: `off`, or a map. A reload applies it.",
            "anyOf": [
                { "type": "string", "const": "off" },
                generator.subschema_for::<AccessLogTarget>(),
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Result<AccessLogSettings, &str>) {
        let actual =
            serde_json::from_str(json).map_err(|error: serde_json::Error| error.to_string());
        match (actual, expected) {
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (actual, expected) => assert_eq!(actual, expected.map_err(ToOwned::to_owned), "{json}"),
        }
    }

    #[test]
    fn the_log_is_off_or_has_a_target() {
        let on = |path: &str, sample| AccessLogTarget {
            path: path.to_owned(),
            format: AccessLogFormat::Json,
            sample: Percent::new(sample),
        };
        check(r#""off""#, Ok(AccessLogSettings::Off));
        check("{}", Ok(AccessLogSettings::default()));
        check(
            r#"{"path": "a.log", "format": "json", "sample": "5%"}"#,
            Ok(AccessLogSettings::On(on("a.log", 5))),
        );
        check(r#""on""#, Err("invalid value: string \"on\", expected `off` or a map"));
        check("true", Err("invalid type: boolean `true`, expected `off` or a map"));
        check(r#"{"file": "x"}"#, Err("unknown field `file`, expected one of `path`"));
        check(r#"{"format": "text"}"#, Err("unknown variant `text`, expected `json`"));
    }
}
