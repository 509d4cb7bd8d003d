//! A route's overlay on the shared rule set: which rules run, where they do not look, and what
//! their findings lead to.

mod exclusions;
mod limits;
pub(crate) mod plan;
mod tx;

use std::sync::Arc;

use http::{HeaderMap, Version, header};
use tidegate_core::{Request, SettingsError};

use self::exclusions::Exclusion;
pub(crate) use self::limits::Limits;
use self::plan::Plan;
use crate::bits::RuleBits;
use crate::evaluation::fold;
use crate::evaluation::tx::Tx;
use crate::inspection::Inspection;
use crate::program::slots::Slot;
use crate::rules::RuleSet;
use crate::seclang::ast::EngineSettings;
use crate::settings::{Mode, OverLimit, WafSettings};
use crate::target::{Target, TargetSet};

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
    pub(crate) limits: Limits,
    /// Off only for tests that hold the prefilter against exhaustive matching.
    pub(crate) prefilter: bool,
    /// The rules that run whatever the search finds.
    pub(crate) always: RuleBits,
    /// The kinds of values that any of the rules looks at.
    pub(crate) wanted: TargetSet,
    /// TX before the first rule.
    pub(crate) variables: Tx,
    /// What this policy puts into TX, behind the rule set's own setup.
    pub(crate) settings: Vec<(Slot, Box<[u8]>)>,
    /// For each target, what to compute of its values.
    plans: Vec<Plan>,
    /// Where nothing is to be computed.
    no_plan: Plan,
    exclusions: Vec<Exclusion>,
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
        let sensitivity = level("sensitivity", settings.sensitivity, &mut errors).unwrap_or(1);
        let threshold = settings.threshold.unwrap_or(5);
        let variables = tx::of(settings, Some(&rules), &mut errors);
        let limits = Limits::compile(settings, rules.engine(), &mut errors);
        let (disabled, exclusions) = exclusions::compile(settings, Some(&rules), &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let mode = settings.mode.unwrap_or_default();
        if mode == Mode::Off {
            return Ok(Self::off());
        }
        let enabled = enabled(&rules, sensitivity, &disabled);
        let program = &rules.program;
        let mut compiled = Compiled {
            detect_only: mode == Mode::Detect,
            threshold,
            limits,
            prefilter: true,
            always: RuleBits::default(),
            variables: Tx::new(&program.slots),
            settings: program.settings(&variables),
            plans: Vec::new(),
            no_plan: Plan::default(),
            wanted: TargetSet::default(),
            exclusions,
            rules,
        };
        let folded = fold(&compiled, &enabled);
        compiled.run_only(&folded.live);
        compiled.variables = folded.variables;
        Ok(Self { compiled: Some(Arc::new(compiled)) })
    }

    /// Checks what can be known of settings without the rules that they are about.
    ///
    /// # Errors
    /// As [`Policy::compile`].
    pub fn check(settings: &WafSettings) -> Result<(), Vec<SettingsError>> {
        let mut errors = Vec::new();
        level("sensitivity", settings.sensitivity, &mut errors);
        tx::of(settings, None, &mut errors);
        Limits::compile(settings, &EngineSettings::default(), &mut errors);
        exclusions::compile(settings, None, &mut errors);
        if errors.is_empty() { Ok(()) } else { Err(errors) }
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

    /// The rules that it is about; `None` if nothing is inspected.
    #[must_use]
    pub fn rules(&self) -> Option<&Arc<RuleSet>> {
        self.compiled.as_ref().map(|compiled| &compiled.rules)
    }

    /// The same policy with every rule run on every value, and nothing known beforehand. It exists
    /// to prove that neither loses anything, and is slow.
    #[must_use]
    pub fn exhaustive(settings: &WafSettings, rules: Arc<RuleSet>) -> Option<Self> {
        let policy = Self::compile(settings, rules).ok()?;
        let mut compiled = Arc::into_inner(policy.compiled?)?;
        compiled.prefilter = false;
        let (disabled, _) = exclusions::compile(settings, Some(&compiled.rules), &mut Vec::new());
        let enabled = enabled(&compiled.rules, settings.sensitivity.unwrap_or(1), &disabled);
        compiled.run_only(&enabled);
        compiled.variables = Tx::new(&compiled.rules.program.slots);
        Some(Self { compiled: Some(Arc::new(compiled)) })
    }

    /// Begins the inspection of one request.
    #[must_use]
    pub fn begin(&self) -> Inspection {
        Inspection::new(self.compiled.clone())
    }

    /// As [`Policy::begin`], and counts what each rule costs, for those who try rules.
    #[must_use]
    pub fn begin_counted(&self) -> Inspection {
        let mut inspection = self.begin();
        inspection.count_costs();
        inspection
    }

    /// `off`, `detect` or `block`.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        match &self.compiled {
            None => "off",
            Some(compiled) if compiled.detect_only => "detect",
            Some(_) => "block",
        }
    }

    /// What one request may cost, in steps of about a nanosecond.
    #[must_use]
    pub fn budget(&self) -> u64 {
        self.compiled.as_ref().map_or(0, |compiled| compiled.limits.work)
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
            !compiled.detect_only && compiled.limits.over_limit == OverLimit::Block
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
        && content_type
            .and_then(|value| value.strip_prefix(b"application/grpc"))
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

impl Compiled {
    /// Makes ready to run these rules and no others.
    fn run_only(&mut self, live: &RuleBits) {
        let program = &self.rules.program;
        self.plans = plan::plans(program, live);
        self.wanted = program.wanted_by(live);
        self.always = live.clone();
        self.always.subtract(&program.searched);
    }

    pub(crate) fn wants_body(&self, request: &Request<'_>) -> Option<usize> {
        if self.limits.body == 0 {
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
            || self.limits.over_limit == OverLimit::Skip && length > Some(self.limits.body as u64);
        (!skipped).then_some(self.limits.body)
    }

    pub(crate) fn plan(&self, target: Target) -> &Plan {
        self.plans.get(target as usize).unwrap_or(&self.no_plan)
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

/// A level from 1 to 4.
fn level(key: &str, level: Option<u8>, errors: &mut Vec<SettingsError>) -> Option<u8> {
    if level.is_some_and(|level| !(1..=4).contains(&level)) {
        errors.push(SettingsError::new([key], "must be 1, 2, 3 or 4"));
    }
    level
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
