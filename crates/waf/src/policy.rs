//! A route's overlay on the shared rule set: which rules run, where they do not look, and what
//! their findings lead to.

use std::sync::Arc;

use http::{HeaderMap, Version, header};
use tidegate_core::units::ByteSize;
use tidegate_core::{Request, SettingsError};

use crate::bits::RuleBits;
use crate::evaluation::tx::Tx;
use crate::inspection::Inspection;
use crate::program::Program;
use crate::program::slots::Slot;
use crate::rules::RuleSet;
use crate::settings::{ExclusionSettings, Mode, OverLimit, WafSettings};
use crate::target::{Selector, Target};
use crate::transformations::Transformation;

/// More cannot be held back and sent on.
const MAX_BODY_LIMIT: ByteSize = ByteSize::kib(64);

/// What one request may cost, in steps of about a nanosecond. A request that spends it is a
/// finding in itself (`finding:limits`).
const WORK_BUDGET: u64 = 12_000_000;

/// A route's compiled policy; clones share it.
#[derive(Clone, Debug)]
pub struct Policy {
    compiled: Option<Arc<Compiled>>,
}

/// The policy of a route whose mode is not off.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) rules: Arc<RuleSet>,
    pub(crate) detect_only: bool,
    pub(crate) threshold: u32,
    pub(crate) body_limit: usize,
    pub(crate) over_limit: OverLimit,
    /// How much of a response's body is held back; `None` if none is.
    pub(crate) response_body_limit: Option<usize>,
    /// Off only for tests that hold the prefilter against exhaustive matching.
    pub(crate) prefilter: bool,
    /// What one request may cost, in steps of about a nanosecond.
    pub(crate) work: u64,
    /// The rules that run whatever the search finds.
    pub(crate) always: RuleBits,
    /// TX before the first rule.
    pub(crate) variables: Tx,
    /// What this policy puts into TX, behind the rule set's own setup.
    pub(crate) settings: Vec<(Slot, Box<[u8]>)>,
    /// For each target, the nodes to compute, parents first.
    plans: Vec<Vec<Step>>,
    exclusions: Vec<Exclusion>,
}

/// A node of the trie that some enabled rule needs for one target.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) node: usize,
    pub(crate) parent: usize,
    pub(crate) transformation: Option<&'static Transformation>,
    /// The enabled rules that look at the target in this form.
    pub(crate) rules: RuleBits,
}

#[derive(Debug)]
struct Exclusion {
    /// `None` stands for every rule.
    rules: Option<RuleBits>,
    selectors: Vec<Selector>,
}

impl Policy {
    /// Compiles a route's settings onto `rules`.
    ///
    /// # Errors
    /// Every setting that makes no sense, with its path below `waf`.
    pub fn compile(
        settings: &WafSettings,
        rules: Arc<RuleSet>,
    ) -> Result<Self, Vec<SettingsError>> {
        let mut errors = Vec::new();
        let sensitivity = settings.sensitivity.unwrap_or(1);
        if !(1..=4).contains(&sensitivity) {
            errors.push(SettingsError::new(["sensitivity"], "must be 1, 2, 3 or 4"));
        }
        let threshold = settings.threshold.unwrap_or(5);
        if threshold == 0 {
            let error = SettingsError::new(["threshold"], "0 would refuse every request");
            errors.push(error.with_hint("the usual threshold is 5, one critical rule"));
        }
        let body = settings.body.clone().unwrap_or_default();
        let limit = body.limit.unwrap_or(MAX_BODY_LIMIT);
        if limit > MAX_BODY_LIMIT {
            let message = format!("{limit} is more than can be held back and sent on");
            let hint = format!("at most {MAX_BODY_LIMIT}; `over_limit` says what happens beyond");
            errors.push(SettingsError::new(["body", "limit"], message).with_hint(hint));
        }
        let (disabled, exclusions) = exclusions(settings, &rules, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let mode = settings.mode.unwrap_or_default();
        if mode == Mode::Off {
            return Ok(Self::off());
        }
        let enabled = enabled(&rules, sensitivity, &disabled);
        let mut always = enabled.clone();
        always.subtract(&rules.program.searched);
        let program = &rules.program;
        let plans = program.rules_of_target.iter().map(|of| plan(program, of, &enabled)).collect();
        let compiled = Compiled {
            detect_only: mode == Mode::Detect,
            threshold,
            body_limit: limit.as_usize(),
            over_limit: body.over_limit.unwrap_or_default(),
            response_body_limit: None,
            prefilter: true,
            work: WORK_BUDGET,
            always,
            variables: Tx::new(&program.slots),
            settings: program.settings(&tx_of(settings)),
            plans,
            exclusions,
            rules,
        };
        Ok(Self { compiled: Some(Arc::new(compiled)) })
    }

    /// The policy that looks at nothing.
    #[must_use]
    pub const fn off() -> Self {
        Self { compiled: None }
    }

    /// Whether nothing is inspected.
    #[must_use]
    pub const fn is_off(&self) -> bool {
        self.compiled.is_none()
    }

    /// The same policy with every rule run on every value. It exists to prove that the prefilter
    /// loses nothing, and is slow.
    #[must_use]
    pub fn without_prefilter(settings: &WafSettings, rules: Arc<RuleSet>) -> Option<Self> {
        let policy = Self::compile(settings, rules).ok()?;
        let mut compiled = Arc::into_inner(policy.compiled?)?;
        compiled.prefilter = false;
        Some(Self { compiled: Some(Arc::new(compiled)) })
    }

    /// Begins the inspection of one request.
    #[must_use]
    pub fn begin(&self) -> Inspection {
        Inspection::new(self.compiled.clone())
    }

    /// How many bytes of the body to hold back for [`Inspection::body`], which then has to be
    /// called, even if there turns out to be no body; `None` if the body is not inspected. gRPC
    /// over HTTP/2 is not, since its streams cannot be held back.
    #[must_use]
    pub fn wants_body(&self, request: &Request<'_>) -> Option<usize> {
        self.compiled.as_ref()?.wants_body(request)
    }
}

impl Policy {
    /// Whether a body longer than [`Policy::wants_body`] is refused, so that it may be read whole
    /// before any of it is passed on.
    #[must_use]
    pub fn refuses_long_bodies(&self) -> bool {
        let blocks = |compiled: &Arc<Compiled>| {
            !compiled.detect_only && compiled.over_limit == OverLimit::Block
        };
        self.compiled.as_ref().is_some_and(blocks)
    }
}

pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn is_grpc(request: &Request<'_>) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE).map(|value| value.as_bytes());
    request.head.version == Version::HTTP_2
        && content_type.is_some_and(|value| value.starts_with(b"application/grpc"))
}

impl Compiled {
    pub(crate) fn wants_body(&self, request: &Request<'_>) -> Option<usize> {
        if self.body_limit == 0 {
            return None;
        }
        let length = content_length(request.headers());
        // Over HTTP/1 a body announces itself (RFC 9112 section 6.3).
        let announced = length.is_some()
            || request.head.version >= Version::HTTP_2
            || request.headers().contains_key(header::TRANSFER_ENCODING);
        let skipped = length == Some(0)
            || !announced
            || is_grpc(request)
            || self.over_limit == OverLimit::Skip && length > Some(self.body_limit as u64);
        (!skipped).then_some(self.body_limit)
    }

    pub(crate) fn plan(&self, target: Target) -> &[Step] {
        self.plans.get(target as usize).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether no rule looks at this value.
    pub(crate) fn leaves_out(&self, target: Target, name: &[u8]) -> bool {
        self.exclusions
            .iter()
            .any(|exclusion| exclusion.rules.is_none() && exclusion.selects(target, name))
    }

    /// Whether this rule does not look at this value.
    pub(crate) fn excludes(&self, rule: usize, target: Target, name: &[u8]) -> bool {
        self.exclusions.iter().any(|exclusion| {
            exclusion.rules.as_ref().is_some_and(|rules| rules.contains(rule))
                && exclusion.selects(target, name)
        })
    }
}

impl Exclusion {
    fn selects(&self, target: Target, name: &[u8]) -> bool {
        self.selectors.iter().any(|selector| selector.selects(target, name))
    }
}

/// The rules that are switched off altogether, and the exclusions of single targets.
fn exclusions(
    settings: &WafSettings,
    rules: &RuleSet,
    errors: &mut Vec<SettingsError>,
) -> (RuleBits, Vec<Exclusion>) {
    let mut disabled = RuleBits::empty(rules.program.rules.len());
    let mut exclusions = Vec::new();
    for (index, exclusion) in settings.exclude.iter().flatten().enumerate() {
        let mut found = Vec::new();
        let chosen = chosen_rules(exclusion, rules, &mut found);
        let mut selectors = Vec::new();
        for (index, text) in exclusion.targets.iter().enumerate() {
            match Selector::parse(text) {
                Ok(selector) => selectors.push(selector),
                Err(error) => {
                    found.push(SettingsError::new(
                        ["targets", &index.to_string()],
                        error.to_string(),
                    ));
                }
            }
        }
        match (chosen, selectors.is_empty()) {
            (None, true) if found.is_empty() => {
                let error = SettingsError::new(Vec::<String>::new(), "excludes nothing");
                found.push(
                    error.with_hint(
                        "give `rules`, `tags` or `targets`; `mode: off` switches all off",
                    ),
                );
            }
            (Some(rules), true) => disabled.union_with(&rules),
            (rules, _) => exclusions.push(Exclusion { rules, selectors }),
        }
        errors.extend(found.into_iter().map(|error| error.under(["exclude", &index.to_string()])));
    }
    (disabled, exclusions)
}

/// The rules that an exclusion names; `None` if it names none.
fn chosen_rules(
    exclusion: &ExclusionSettings,
    rules: &RuleSet,
    errors: &mut Vec<SettingsError>,
) -> Option<RuleBits> {
    let rules = &rules.program.rules;
    let mut chosen = RuleBits::empty(rules.len());
    for (index, id) in exclusion.rules.iter().enumerate() {
        match rules.iter().position(|rule| rule.id == *id) {
            Some(rule) => chosen.insert(rule),
            None => errors.push(SettingsError::new(
                ["rules", &index.to_string()],
                format!("there is no rule {id}"),
            )),
        }
    }
    for (index, tag) in exclusion.tags.iter().enumerate() {
        let mut known = false;
        for (rule, _) in rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.tags.iter().any(|other| **other == **tag))
        {
            chosen.insert(rule);
            known = true;
        }
        if !known {
            let mut tags: Vec<&str> =
                rules.iter().flat_map(|rule| rule.tags.iter()).map(|tag| &**tag).collect();
            tags.sort_unstable();
            tags.dedup();
            let error = SettingsError::new(
                ["tags", &index.to_string()],
                format!("no rule has the tag `{tag}`"),
            );
            errors.push(error.with_hint(format!("known are {}", tags.join(", "))));
        }
    }
    (!exclusion.rules.is_empty() || !exclusion.tags.is_empty()).then_some(chosen)
}

/// What the settings say to CRS, by the names of its variables.
fn tx_of(settings: &WafSettings) -> Vec<(&'static str, u32)> {
    let mut values = Vec::new();
    if let Some(threshold) = settings.threshold {
        values.push(("inbound_anomaly_score_threshold", threshold));
    }
    values
}

fn enabled(rules: &RuleSet, sensitivity: u8, disabled: &RuleBits) -> RuleBits {
    let mut enabled = RuleBits::empty(rules.program.rules.len());
    for (index, rule) in rules.program.rules.iter().enumerate() {
        let wanted = rule.own.is_none_or(|own| own.sensitivity <= sensitivity);
        if wanted && !disabled.contains(index) {
            enabled.insert(index);
        }
    }
    enabled
}

fn plan(program: &Program, of_target: &RuleBits, enabled: &RuleBits) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut needed = vec![false; program.trie.nodes().len()];
    for (node, (known, of_node)) in
        program.trie.nodes().iter().zip(&program.rules_of_node).enumerate().rev()
    {
        let mut bits = of_node.clone();
        bits.intersect_with(of_target);
        bits.intersect_with(enabled);
        if bits.is_empty() && needed.get(node) == Some(&false) {
            continue;
        }
        if let Some(parent) = needed.get_mut(known.parent) {
            *parent = true;
        }
        steps.push(Step { node, parent: known.parent, transformation: known.step, rules: bits });
    }
    steps.reverse();
    steps
}
