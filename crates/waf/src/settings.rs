//! What an operator writes under `waf:`. Every field is optional, since policies merge; the
//! defaults stand in the fields' descriptions and take effect in [`crate::Policy::compile`].

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::units::ByteSize;

/// The web application firewall of a route.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case", default)]
pub struct WafSettings {
    /// `off` looks at nothing, `detect` only reports, `block` refuses with 403. Default: `block`.
    /// A reload applies it.
    pub mode: Option<Mode>,
    /// Which rules run: 1 (few false alarms) to 4 (strict). Default: 1. A reload applies it.
    pub sensitivity: Option<u8>,
    /// The anomaly score from which a request is refused; a critical rule adds 5, an error 4, a
    /// warning 3, a notice 2. Default: 5. A reload applies it.
    pub threshold: Option<u32>,
    /// What not to look at, so that false alarms can be tuned away. Default: nothing. A reload
    /// applies it.
    pub exclude: Option<Vec<ExclusionSettings>>,
    /// How request bodies are inspected. A reload applies it.
    pub body: Option<BodySettings>,
    /// A second evaluation beside this one that refuses nothing: what it would do is in the
    /// access log and in the metrics, so that a stricter level can be watched before it blocks.
    /// Default: none. A reload applies it.
    pub shadow: Option<ShadowSettings>,
}

/// In what the shadow differs from the firewall beside it; what is not given is the same.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case", default)]
pub struct ShadowSettings {
    /// Which rules it runs, 1 to 4. Default: as beside it. A reload applies it.
    pub sensitivity: Option<u8>,
    /// The score from which it would refuse. Default: as beside it. A reload applies it.
    pub threshold: Option<u32>,
    /// What it does not look at; it takes the place of the exclusions beside it. Default: as beside
    /// it. A reload applies it.
    pub exclude: Option<Vec<ExclusionSettings>>,
}

impl WafSettings {
    /// The settings of the shadow, if there is one: they only detect, also where the firewall
    /// itself is off.
    #[must_use]
    pub fn shadow(&self) -> Option<Self> {
        let shadow = self.shadow.as_ref()?;
        Some(Self {
            mode: Some(Mode::Detect),
            sensitivity: shadow.sensitivity.or(self.sensitivity),
            threshold: shadow.threshold.or(self.threshold),
            exclude: shadow.exclude.clone().or_else(|| self.exclude.clone()),
            body: self.body.clone(),
            shadow: None,
        })
    }
}

/// What the firewall does with its findings.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Inspects nothing and costs nothing.
    Off,
    /// Inspects and reports, refuses nothing.
    Detect,
    /// Refuses a request whose score reaches the threshold.
    #[default]
    Block,
}

/// One exclusion. `rules` and `tags` say which rules, `targets` says where; without `targets` the
/// rules are switched off, without `rules` and `tags` the targets are not inspected at all.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case", default)]
pub struct ExclusionSettings {
    /// Rule ids, such as `[2101]`.
    pub rules: Vec<u32>,
    /// Rule tags, such as `[sqli]`.
    pub tags: Vec<String>,
    /// Parts of a request, such as `query:q`, `body:comment`, `header:x-note`, `cookie:prefs` or
    /// `body:json.items.*.text`; without a name all of that kind.
    pub targets: Vec<String>,
}

/// How request bodies are inspected.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case", default)]
pub struct BodySettings {
    /// How much of a body is held back and inspected; at most 64KiB, and `0B` inspects none.
    /// Default: 64KiB. A reload applies it.
    pub limit: Option<ByteSize>,
    /// What happens to a body beyond the limit: `block` refuses it with 413 (in block mode),
    /// `inspect_prefix` looks at the first part and lets the rest pass, `skip` does not look at
    /// it. Default: `block`. A reload applies it.
    pub over_limit: Option<OverLimit>,
}

/// What happens to a body beyond [`BodySettings::limit`].
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum OverLimit {
    /// The request is refused with 413 in block mode, and reported in detect mode.
    #[default]
    Block,
    /// The part within the limit is inspected; the rest passes unseen.
    InspectPrefix,
    /// The body passes without a look.
    Skip,
}
