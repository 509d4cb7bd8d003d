//! From settings to a policy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidegate_core::SettingsError;

use super::population::Cap;
use super::rule::{Frame, Rule};
use super::settings::{Builtin, ResponseSettings, RuleSettings};
use super::when::Known;
use super::{ResponsePolicy, Shared, Surroundings, key};

impl ResponsePolicy {
    /// Compiles a policy. A rule that `previous` had too keeps what it counted, if it still counts
    /// the same; who offended stays known with it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the settings, with paths relative to them.
    pub fn compile(
        settings: &ResponseSettings,
        around: Surroundings<'_>,
        previous: Option<&Self>,
    ) -> Result<Self, Vec<SettingsError>> {
        let known = Known { routes: around.routes, geo: around.geo.knows() };
        let shared = previous.map(|old| Arc::clone(&old.shared));
        let shared = shared.unwrap_or_else(|| Arc::new(Shared::new(around.seed)));
        let max_keys = usize::try_from(settings.max_keys.get()).unwrap_or(usize::MAX);
        let frame = Frame { known, max_keys, secret: shared.secret };
        let (mut requests, mut notices, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for (name, rule) in rules(settings, around.builtin) {
            if !is_name(name) {
                let error = SettingsError::new(["rules", name], format!("{name:?} is not a name"));
                errors.push(error.with_hint("write up to 64 letters, digits, `_`, `-` and `.`"));
            }
            let shipped = around.builtin.contains_key(name);
            let says_what = rule.when.is_some() || rule.leaky.is_some() || rule.distinct.is_some();
            if !shipped && !says_what {
                let what =
                    "no shipped rule has this name, and nothing says what one of yours counts";
                let error = SettingsError::new(["rules", name], what);
                let error = error.with_hint("add `when: { .. }`, and `leaky` or `distinct`");
                errors.push(error.meaning(name, around.builtin.keys().map(String::as_str)));
                continue;
            }
            let by_default = shipped && settings.builtin == Builtin::Enforce;
            let enforce = rule.enforce.unwrap_or(by_default);
            let old = previous.and_then(|old| old.rule(name));
            match Rule::compile(name, rule, enforce, frame, old) {
                Ok(rule) if rule.is_about_notices() => notices.push(rule),
                Ok(rule) => requests.push(rule),
                Err(found) => {
                    errors.extend(found.into_iter().map(|error| error.under(["rules", name])));
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            requests: requests.into(),
            notices: notices.into(),
            protected: settings.allow.iter().copied().chain(key::loopback()).collect(),
            cap: Cap {
                share: settings.cap.basis_points().into(),
                floor: settings.cap_floor.into(),
            },
            geo: Arc::new(around.geo),
            upstreams: around.upstreams,
            shared,
        })
    }

    pub(super) fn rule(&self, name: &str) -> Option<&Rule> {
        self.requests.iter().chain(&self.notices).find(|rule| *rule.name == *name)
    }
}

/// Every rule that is there, by its name: the shipped ones, with what the settings change of them,
/// and the others.
fn rules<'a>(
    settings: &'a ResponseSettings,
    builtin: &'a BTreeMap<String, RuleSettings>,
) -> impl Iterator<Item = (&'a String, RuleSettings)> {
    let shipped = builtin.keys().filter(|_| settings.builtin != Builtin::Off);
    let names: BTreeSet<&String> = shipped.chain(settings.rules.keys()).collect();
    let rule = |name: &'a String| {
        let rule = match (settings.rules.get(name), builtin.get(name)) {
            (Some(own), Some(base)) => own.over(base),
            (Some(rule), None) | (None, Some(rule)) => rule.clone(),
            (None, None) => return None,
        };
        rule.enabled.unwrap_or(true).then_some((name, rule))
    };
    names.into_iter().filter_map(rule)
}

fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}
