//! The response policy: what is noticed in the stream of events, and what is decided about it.
//!
//! [`ResponsePolicy::observe`] takes each request's event, [`ResponsePolicy::observe_notice`] what
//! happens beside requests. Both answer decisions, which others carry out: nothing here refuses
//! anybody. Time is an argument and so is the seed of chance; nothing here reads a clock or a file.

pub mod settings;
mod upstreams;

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_core::decision::{Decision, Target};
use tidegate_core::net::Network;
use tidegate_core::{Event, Notice, SettingsError};

pub use self::settings::{ResponseSettings, RuleSettings};
pub use self::upstreams::{NoUpstreams, Remaining, Upstreams};
use crate::bans::Now;

/// A compiled policy. Its rules are immutable; what they counted lives on over a reload.
#[derive(Debug)]
pub struct ResponsePolicy {}

/// What an event led to.
#[derive(Clone, Debug, Default)]
pub struct Decisions {
    /// The decisions, each with what becomes of it.
    pub decided: Vec<Arc<Decision>>,
    /// What else is to be told: the cap was reached, or is so no more.
    pub notices: Vec<Notice>,
}

/// What a policy must know beside its settings.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// The shipped rules.
    pub builtin: &'a BTreeMap<String, RuleSettings>,
    /// The ids of all routes.
    pub routes: &'a [&'a str],
    /// Who is never counted and never hit, beside loopback and `allow`.
    pub protected: Vec<Network>,
    /// Who knows the upstreams.
    pub upstreams: Arc<dyn Upstreams>,
    /// Where chance comes from.
    pub seed: u64,
}

impl ResponsePolicy {
    /// Compiles a policy. A rule that `previous` had too keeps what it counted, if its detection is
    /// the same.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the settings, with paths relative to them.
    pub fn compile(
        _settings: &ResponseSettings,
        _around: Surroundings<'_>,
        _previous: Option<&Self>,
    ) -> Result<Self, Vec<SettingsError>> {
        Ok(Self {})
    }

    /// Takes the event of a request that has ended. Answers of enforcement count for nothing.
    pub fn observe(&self, _event: &Event<'_>, _now: Now) -> Option<Decisions> {
        None
    }

    /// Takes what happened beside requests.
    pub fn observe_notice(&self, _notice: &Notice, _now: Now) -> Option<Decisions> {
        None
    }

    /// Forgets what is over; to be called about once a second. Answers whether the cap is so no
    /// more.
    pub fn tick(&self, _now: Now) -> Option<Decisions> {
        None
    }

    /// Forgets offences of somebody whose measures were lifted by hand. The next offence is the
    /// first.
    pub fn forget(&self, _target: &Target) {}
}
