//! Where rules come from: the Core Rule Set, files of SecLang, the built-in rules.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use super::WafSettings;
use crate::seclang::{CrsSource, SecLangSources};

/// Where the Core Rule Set is: its folder, or that and its set-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrsSettings(CrsPlaces);

/// Where the Core Rule Set and its set-up are.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
struct CrsPlaces {
    /// The folder that has `rules/`, and `plugins/` if there are any.
    path: PathBuf,
    /// Its `crs-setup.conf`. Default: that or the `.example` in the folder; for Debian's package,
    /// /etc/modsecurity/crs/crs-setup.conf.
    #[serde(default)]
    setup: Option<PathBuf>,
}

/// Files of SecLang: behind the rules of `crs`, or before them as well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecLangSettings {
    places: SecLangPlaces,
    /// Whether they were written as a list.
    listed: bool,
}

/// Files of SecLang by their place.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "snake_case", default)]
struct SecLangPlaces {
    /// Between the set-up of `crs` and its rules: what configures and excludes.
    before: Vec<PathBuf>,
    /// Behind the rules of `crs`: what changes them, and rules of one's own.
    after: Vec<PathBuf>,
}

/// The rules that settings ask for; equal sources are compiled once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RuleSources {
    /// Whether the built-in rules are among them.
    pub builtin: bool,
    /// The files of SecLang.
    pub seclang: SecLangSources,
}

impl WafSettings {
    /// The rules that these settings ask for.
    #[must_use]
    pub fn sources(&self) -> RuleSources {
        let crs = self.crs.as_ref().map(|CrsSettings(places)| CrsSource {
            path: places.path.clone(),
            setup: places.setup.clone(),
        });
        let SecLangPlaces { before, after } = self.seclang.clone().unwrap_or_default().places;
        let seclang = SecLangSources { crs, before, after };
        RuleSources { builtin: self.builtin.unwrap_or(seclang.is_empty()), seclang }
    }

    /// Whether there are rules beside the built-in ones in this policy or its shadow.
    #[must_use]
    pub fn names_rules(&self) -> bool {
        let shadow = self.shadow.as_ref();
        self.crs.is_some()
            || self.seclang.is_some()
            || shadow.is_some_and(|shadow| shadow.crs.is_some() || shadow.seclang.is_some())
    }

    /// The setting that made a rule file be read, as a path below `waf`.
    #[must_use]
    pub fn place_of(&self, file: &str) -> Vec<String> {
        let path = |steps: &[&str]| steps.iter().map(|step| (*step).to_owned()).collect();
        if let Some(SecLangSettings { places, listed }) = &self.seclang {
            for (key, files) in [("before", &places.before), ("after", &places.after)] {
                if let Some(index) = files.iter().position(|known| *known == Path::new(file)) {
                    let index = index.to_string();
                    let long = ["seclang", key, &index];
                    return if *listed { path(&["seclang", &index]) } else { path(&long) };
                }
            }
        }
        let of_crs = self.crs.as_ref().is_some_and(|CrsSettings(crs)| {
            self.seclang.is_none()
                || Path::new(file).starts_with(&crs.path)
                || crs.setup.as_deref() == Some(Path::new(file))
        });
        match (of_crs, &self.seclang) {
            (true, _) => path(&["crs"]),
            (false, Some(_)) => path(&["seclang"]),
            (false, None) => path(&["builtin"]),
        }
    }
}

impl<'de> Deserialize<'de> for CrsSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CrsVisitor)
    }
}

struct CrsVisitor;

impl<'de> Visitor<'de> for CrsVisitor {
    type Value = CrsSettings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the folder of the Core Rule Set, or a map such as `{ path: .., setup: .. }`")
    }

    fn visit_str<E: de::Error>(self, path: &str) -> Result<CrsSettings, E> {
        if path.is_empty() {
            return Err(E::custom("the folder's name is empty"));
        }
        Ok(CrsSettings(CrsPlaces { path: path.into(), setup: None }))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<CrsSettings, A::Error> {
        CrsPlaces::deserialize(MapAccessDeserializer::new(map)).map(CrsSettings)
    }
}

impl<'de> Deserialize<'de> for SecLangSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecLangVisitor)
    }
}

struct SecLangVisitor;

impl<'de> Visitor<'de> for SecLangVisitor {
    type Value = SecLangSettings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of files, or a map such as `{ before: [..], after: [..] }`")
    }

    fn visit_str<E: de::Error>(self, file: &str) -> Result<SecLangSettings, E> {
        let places = SecLangPlaces { before: Vec::new(), after: vec![file.into()] };
        Ok(SecLangSettings { places, listed: true })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<SecLangSettings, A::Error> {
        let after = Vec::deserialize(SeqAccessDeserializer::new(list))?;
        Ok(SecLangSettings { places: SecLangPlaces { before: Vec::new(), after }, listed: true })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SecLangSettings, A::Error> {
        let places = SecLangPlaces::deserialize(MapAccessDeserializer::new(map))?;
        Ok(SecLangSettings { places, listed: false })
    }
}

impl JsonSchema for CrsSettings {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "CrsSettings".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string", "examples": ["/usr/share/modsecurity-crs"] },
                generator.subschema_for::<CrsPlaces>(),
            ],
        })
    }
}

impl JsonSchema for SecLangSettings {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "SecLangSettings".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "array", "items": { "type": "string" }, "examples": [["rules.d/*.conf"]] },
                generator.subschema_for::<SecLangPlaces>(),
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, builtin: bool, crs: Option<(&str, Option<&str>)>, files: (&str, &str)) {
        let settings: WafSettings = serde_json::from_str(json).unwrap();
        let list = |text: &str| text.split_whitespace().map(PathBuf::from).collect();
        let crs = crs
            .map(|(path, setup)| CrsSource { path: path.into(), setup: setup.map(PathBuf::from) });
        let seclang = SecLangSources { crs, before: list(files.0), after: list(files.1) };
        assert_eq!(settings.sources(), RuleSources { builtin, seclang });
    }

    #[track_caller]
    fn check_place(json: &str, file: &str, place: &str) {
        let settings: WafSettings = serde_json::from_str(json).unwrap();
        assert_eq!(settings.place_of(file).join("."), place);
    }

    #[test]
    fn a_file_was_named_somewhere() {
        let both = r#"{"crs": {"path": "/c", "setup": "s"}, "seclang": {"before": ["a"], "after": ["b/*"]}}"#;
        check_place(both, "/c/rules/x.conf", "crs");
        check_place(both, "s", "crs");
        check_place(both, "a", "seclang.before.0");
        check_place(both, "b/x", "seclang");
        check_place(r#"{"seclang": ["a", "b"]}"#, "b", "seclang.1");
        check_place(r#"{"crs": "/c"}"#, "/etc/modsecurity/crs/crs-setup.conf", "crs");
    }

    #[test]
    fn sources_are_written_short_or_long() {
        check("{}", true, None, ("", ""));
        check(r#"{"crs": "/c"}"#, false, Some(("/c", None)), ("", ""));
        check(
            r#"{"crs": {"path": "/c", "setup": "s"}, "builtin": true}"#,
            true,
            Some(("/c", Some("s"))),
            ("", ""),
        );
        check(r#"{"seclang": ["a", "b/*"]}"#, false, None, ("", "a b/*"));
        check(r#"{"seclang": {"before": ["a"]}}"#, false, None, ("a", ""));
        assert!(serde_json::from_str::<WafSettings>(r#"{"crs": {"setup": "s"}}"#).is_err());
    }
}
