//! The settings of the response policy, as users write them.

mod key;
mod when;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::Measure;
use tidegate_core::net::Network;
use tidegate_core::units::{Percent, Rate, Span};

pub use self::key::KeySettings;
pub use self::when::WhenSettings;
use crate::measures::{IsolateSettings, TarpitSettings, ThrottleSettings};

/// What is noticed in the requests, and what is done about it. Present, even if empty, it is the
/// shipped policy in dry-run: decisions are told, and change nothing.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct ResponseSettings {
    /// The rules that come with Tidegate: `off`, `dry_run` (only told) or `enforce`, unless a rule
    /// of the same name in `rules` says otherwise. Default: `dry_run`. A reload applies it.
    pub builtin: Builtin,
    /// Whom no rule counts and no measure hits, beside loopback, `trusted_proxies`, `bans.never`,
    /// the endpoints of upstreams and the addresses that are listened on: your monitoring, your
    /// offices. Default: nobody. A reload applies it.
    pub allow: Vec<Network>,
    /// The largest share of the clients who are served, of the last 15 minutes, that measures other
    /// than `alert` may hit; beyond it the policy only tells until the share is below four fifths of
    /// that. Default: 5%. A reload applies it.
    pub cap: Percent,
    /// How many clients may be hit whatever their share is, so that few clients do not make the
    /// policy powerless. Default: 5. A reload applies it.
    pub cap_floor: u32,
    /// How many keys each rule counts apart, which bounds its memory. When all are in use, a new key
    /// takes the place of the one with the least that counts against it. Default: 100000. A
    /// reload applies it, and a rule forgets what it counted.
    pub max_keys: NonZeroU32,
    /// Databases that tell where an address is.
    pub geo: GeoSettings,
    /// The bucket that each throttled target has.
    pub throttle: ThrottleSettings,
    /// How answers are held back.
    pub tarpit: TarpitSettings,
    /// Where isolated requests go. Default: nowhere, and the isolated are refused.
    pub isolate: Option<IsolateSettings>,
    /// While this file is there no measure is enforced; all is still noticed and told. It is looked
    /// for each quarter of a second. Default: none. A reload applies it.
    pub panic_file: Option<PathBuf>,
    /// Rules, by name. One with the name of a shipped rule changes the fields it gives and keeps the
    /// others. Default: none. A reload applies them; a rule whose detection did not change keeps
    /// what it counted.
    pub rules: BTreeMap<String, RuleSettings>,
}

impl Default for ResponseSettings {
    fn default() -> Self {
        Self {
            builtin: Builtin::default(),
            allow: Vec::new(),
            cap: Percent::new(5),
            cap_floor: 5,
            max_keys: const { NonZeroU32::new(100_000).unwrap() },
            geo: GeoSettings::default(),
            throttle: ThrottleSettings::default(),
            tarpit: TarpitSettings::default(),
            isolate: None,
            panic_file: None,
            rules: BTreeMap::new(),
        }
    }
}

/// What becomes of the rules that come with Tidegate.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Builtin {
    /// They are not there.
    Off,
    /// They tell what they would do.
    #[default]
    DryRun,
    /// They act.
    Enforce,
}

/// Databases in MaxMind's format (MMDB), such as GeoLite2.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct GeoSettings {
    /// The file that tells the country of an address. Default: none. A reload reads it again.
    pub country: Option<PathBuf>,
    /// The file that tells the autonomous system of an address. Default: none. A reload reads it
    /// again.
    pub asn: Option<PathBuf>,
}

/// One rule: which events count, for whom, how many are too many, and what is done then.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RuleSettings {
    /// What the rule is about, for people. Default: nothing. A reload applies it.
    pub about: Option<String>,
    /// Which events count: those that meet every condition. Required.
    pub when: Option<WhenSettings>,
    /// Which of them do not count after all: those that meet every condition here. Default: none.
    pub unless: Option<WhenSettings>,
    /// Who is counted apart, and so whom a decision is about. Default: `client_ip`.
    pub key: Option<KeySettings>,
    /// A bucket that each event fills and that leaks: too much is when it runs over. Each rule has
    /// this or `distinct`.
    pub leaky: Option<LeakySettings>,
    /// How many different values are too many.
    pub distinct: Option<DistinctSettings>,
    /// What is done: the first time the first of these, then the next; the last one stays. Default:
    /// `[alert]`.
    pub ladder: Option<Vec<Measure>>,
    /// How long a measure lasts.
    pub ttl: Option<TtlSettings>,
    /// For how long after its last decision somebody is remembered as an offender: the next one
    /// goes on up the ladder, and lasts longer. Default: 24h.
    pub remember: Option<Span>,
    /// Whether decisions are carried out; without it they are only told. Default: false, and of a
    /// shipped rule what `builtin` says.
    pub enforce: Option<bool>,
    /// Whether the rule is there at all. Default: true.
    pub enabled: Option<bool>,
}

/// A leaky bucket.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct LeakySettings {
    /// How many events it holds; the one after them is too many.
    pub capacity: NonZeroU32,
    /// How fast it leaks, such as `10/m`.
    pub leak: Rate,
}

/// A count of different values.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct DistinctSettings {
    /// What is counted.
    pub of: DistinctOf,
    /// How many different ones are still fine; at most 10000. Up to 32 the count is exact,
    /// beyond that it is an estimate, mostly within 5%.
    pub more_than: NonZeroU32,
    /// Within which time. Up to 32 values it slides; beyond that it is between half of it and all
    /// of it.
    pub within: Span,
}

/// What a rule counts different values of.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum DistinctOf {
    /// Client addresses, IPv6 by /64.
    ClientIp,
    /// Endpoints of upstreams.
    Endpoint,
    /// Paths, without their query.
    Path,
    /// Routes.
    Route,
    /// Rules of the firewall that matched.
    Rule,
    /// Subjects.
    Subject,
    /// Tokens that were shown, whether they hold or not. API keys are not told apart.
    Token,
    /// Values of `User-Agent`.
    UserAgent,
}

/// How long a measure lasts: `first`, and `factor` times as long with each further offence, up to
/// `max`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct TtlSettings {
    /// The first time. Default: 10m.
    pub first: Span,
    /// How many times as long each further time; from 1 to 100. Default: 2.
    pub factor: f64,
    /// The longest. Default: 24h.
    pub max: Span,
    /// By how much of it, longer or shorter, chance decides, so that nobody can tell when a block
    /// ends. Default: 10%.
    pub jitter: Percent,
}

impl Default for TtlSettings {
    fn default() -> Self {
        Self {
            first: Span::seconds(600),
            factor: 2.0,
            max: Span::seconds(86_400),
            jitter: Percent::new(10),
        }
    }
}

impl RuleSettings {
    /// This rule where it says something, `base` where it does not.
    #[must_use]
    pub fn over(&self, base: &Self) -> Self {
        let own = self.clone();
        let counts = own.leaky.is_some() || own.distinct.is_some();
        Self {
            about: own.about.or_else(|| base.about.clone()),
            when: own.when.or_else(|| base.when.clone()),
            unless: own.unless.or_else(|| base.unless.clone()),
            key: own.key.or_else(|| base.key.clone()),
            leaky: if counts { own.leaky } else { base.leaky },
            distinct: if counts { own.distinct } else { base.distinct },
            ladder: own.ladder.or_else(|| base.ladder.clone()),
            ttl: own.ttl.or(base.ttl),
            remember: own.remember.or(base.remember),
            enforce: own.enforce.or(base.enforce),
            enabled: own.enabled.or(base.enabled),
        }
    }
}
