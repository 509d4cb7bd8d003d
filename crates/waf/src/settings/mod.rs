//! What an operator writes under `waf:`. Every field is optional, since policies merge; the
//! defaults stand in the fields' descriptions and take effect in [`crate::Policy::compile`].

mod body;
mod budget;
mod exclusion;
mod sources;

use schemars::JsonSchema;
use serde::Deserialize;

pub use self::body::{BodySettings, OverLimit, ResponseSettings};
pub use self::budget::{BudgetSettings, OnExceeded};
pub use self::exclusion::{ExclusionSettings, RuleIds};
pub use self::sources::{CrsSettings, RuleSources, SecLangSettings};

/// The web application firewall of a route.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case", default)]
pub struct WafSettings {
    /// `off` looks at nothing, `detect` only reports, `block` refuses with 403. Default: `block`.
    /// A reload applies it.
    pub mode: Option<Mode>,
    /// A checkout or package of the OWASP Core Rule Set: the folder that has `rules/`, relative to
    /// this file. Its rules are compiled once, however many routes use them. Default: none. A
    /// reload applies it, and reads the files anew if they changed.
    pub crs: Option<CrsSettings>,
    /// Files of SecLang, ModSecurity's language of rules, relative to this file; `*` and `?` stand
    /// for parts of their names. They come behind the rules of `crs`, or before them as well:
    /// `{ before: [..], after: [..] }`. Default: none. A reload applies it, and reads the files
    /// anew if they changed.
    pub seclang: Option<SecLangSettings>,
    /// Whether the rules that come with Tidegate run. Default: true, unless `crs` or `seclang` is
    /// given. A reload applies it.
    pub builtin: Option<bool>,
    /// Which of the built-in rules run: 1 (few false alarms) to 4 (strict). Default: 1. A reload
    /// applies it.
    pub sensitivity: Option<u8>,
    /// Which rules of `crs` count: paranoia level 1 to 4. Default: what its set-up says, else 1. A
    /// reload applies it.
    pub paranoia: Option<u8>,
    /// Which rules of `crs` run: what is above `paranoia` is only reported. Default: as
    /// `paranoia`. A reload applies it.
    pub detection_paranoia: Option<u8>,
    /// The anomaly score from which a request is refused; a critical rule adds 5, an error 4, a
    /// warning 3, a notice 2. The rules of `crs` and the built-in ones count apart. Default: 5, or
    /// what the set-up of `crs` says. A reload applies it.
    pub threshold: Option<u32>,
    /// The anomaly score from which the rules of `crs` refuse a response. Default: what its set-up
    /// says, else 4. A reload applies it.
    pub outbound_threshold: Option<u32>,
    /// What not to look at, so that false alarms can be tuned away. Default: nothing. A reload
    /// applies it.
    pub exclude: Option<Vec<ExclusionSettings>>,
    /// How request bodies are inspected. A reload applies it.
    pub body: Option<BodySettings>,
    /// How responses are inspected. A reload applies it.
    pub response: Option<ResponseSettings>,
    /// What one request may cost. A reload applies it.
    pub budget: Option<BudgetSettings>,
    /// A second evaluation beside this one that refuses nothing: what it would do is in the
    /// access log and in the metrics, so that other rules or a stricter level can be watched before
    /// they block. Default: none. A reload applies it.
    pub shadow: Option<ShadowSettings>,
}

/// In what the shadow differs from the firewall beside it; what is not given is the same.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case", default)]
pub struct ShadowSettings {
    /// The Core Rule Set that it runs, such as the next release. Default: as beside it. A reload
    /// applies it.
    pub crs: Option<CrsSettings>,
    /// The files of SecLang that it runs. Default: as beside it. A reload applies it.
    pub seclang: Option<SecLangSettings>,
    /// Whether it runs the built-in rules. Default: as beside it. A reload applies it.
    pub builtin: Option<bool>,
    /// Which of the built-in rules it runs, 1 to 4. Default: as beside it. A reload applies it.
    pub sensitivity: Option<u8>,
    /// Which rules of `crs` count in it, 1 to 4. Default: as beside it. A reload applies it.
    pub paranoia: Option<u8>,
    /// Which rules of `crs` it runs, 1 to 4. Default: as beside it, or as its own `paranoia`. A
    /// reload applies it.
    pub detection_paranoia: Option<u8>,
    /// The score from which it would refuse. Default: as beside it. A reload applies it.
    pub threshold: Option<u32>,
    /// The score from which it would refuse a response. Default: as beside it. A reload applies it.
    pub outbound_threshold: Option<u32>,
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
        let detection = if shadow.paranoia.is_some() { None } else { self.detection_paranoia };
        Some(Self {
            mode: Some(Mode::Detect),
            crs: shadow.crs.clone().or_else(|| self.crs.clone()),
            seclang: shadow.seclang.clone().or_else(|| self.seclang.clone()),
            builtin: shadow.builtin.or(self.builtin),
            sensitivity: shadow.sensitivity.or(self.sensitivity),
            paranoia: shadow.paranoia.or(self.paranoia),
            detection_paranoia: shadow.detection_paranoia.or(detection),
            threshold: shadow.threshold.or(self.threshold),
            outbound_threshold: shadow.outbound_threshold.or(self.outbound_threshold),
            exclude: shadow.exclude.clone().or_else(|| self.exclude.clone()),
            body: self.body.clone(),
            response: self.response.clone(),
            budget: self.budget.clone(),
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
