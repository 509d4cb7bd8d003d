//! A route's demands, compiled, and the one function that decides whether a request meets them.

use std::sync::Arc;

use http::HeaderName;
use tidegate_core::{Denial, Request, SettingsError};

use crate::authorizer::{Authorizer, Word};
use crate::bearer::{self, Shown};
use crate::demand::{Demand, Methods};
use crate::dpop::{Dpop, ProofError};
use crate::forward::{Forward, Forwarded};
use crate::identity::{Authenticated, Caller, Permitted};
use crate::introspection::Question;
use crate::issuer::Issuer;
use crate::providers::Auth;
use crate::refusal::{Challenge, Scheme, forbidden, unavailable};
use crate::revocation::Revocations;
use crate::settings::{AccessSettings, RequireSettings, WaySettings};
use crate::way::{Look, Outcome, Way};

/// Who may pass a route.
#[derive(Clone, Debug, Default)]
pub struct Access(Option<Arc<Guard>>);

/// What a route with demands looks at.
#[derive(Debug)]
struct Guard {
    ways: Vec<Way>,
    demand: Demand,
    methods: Option<Methods>,
    bound: bool,
    external: Option<Arc<Authorizer>>,
    forward: Forward,
    challenge: Arc<Challenge>,
    dpop: Arc<Dpop>,
    revocations: Option<Arc<Revocations>>,
}

/// What has to be had before a request can be decided about.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Need {
    /// A policy service's word about somebody.
    Authorize(Arc<Authorizer>, Authenticated),
    /// An endpoint's answer about a token.
    Introspect(Question),
    /// The issuer's keys.
    Keys(Arc<Issuer>),
}

/// What was waited for already, so that nobody waits twice.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that was waited for")]
pub struct Waited {
    pub(crate) for_keys: bool,
    pub(crate) for_introspection: bool,
    /// Then the request's proof was looked at before, too.
    pub(crate) for_authorizer: bool,
    pub(crate) word: Option<Word>,
}

impl Waited {
    /// Notes that a need was waited for; `word` is what a policy service said, if it did.
    pub fn note(&mut self, need: &Need, word: Option<Word>) {
        match need {
            Need::Authorize(..) => {
                self.for_authorizer = true;
                self.word = word;
            }
            Need::Introspect(_) => self.for_introspection = true,
            Need::Keys(_) => self.for_keys = true,
        }
    }
}

/// What is decided about a request.
#[derive(Debug)]
pub enum Verdict {
    /// The route is for everybody.
    Open,
    /// It may pass.
    Permitted(Box<Permitted>),
    /// Meet the need, note it in [`Waited`], and ask again.
    Wait(Need),
    /// It may not; with who asked, if that was found out before.
    Refused(Box<Denial>, Option<Authenticated>),
}

impl Access {
    /// Compiles a route's demands.
    ///
    /// # Errors
    /// Everything that is wrong with the settings, with paths relative to them.
    pub fn compile(settings: &AccessSettings, auth: &Auth) -> Result<Self, Vec<SettingsError>> {
        let settings = match settings {
            AccessSettings::None => return Ok(Self(None)),
            AccessSettings::Require(settings) => settings,
        };
        let mut errors = Vec::new();
        let external =
            settings.external.as_ref().and_then(|name| auth.authorizer(name, &mut errors));
        let forward = settings.forward.clone().unwrap_or_default();
        let guard = Guard {
            ways: ways(settings, auth, &mut errors),
            demand: Demand::of_route(settings, &mut errors),
            methods: Methods::compile(settings, &mut errors),
            bound: settings.bound.unwrap_or(false),
            external,
            forward: Forward::compile(&forward, &mut errors),
            challenge: Arc::clone(auth.challenge()),
            dpop: Arc::clone(auth.dpop()),
            revocations: auth.revocations().cloned(),
        };
        if errors.is_empty() { Ok(Self(Some(Arc::new(guard)))) } else { Err(errors) }
    }

    /// Whether the route is for everybody.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// The fields that only the gateway may write.
    pub fn identity_fields(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().flat_map(|guard| {
            let given = guard.external.iter().flat_map(|external| external.given());
            guard.forward.names().chain(given)
        })
    }

    /// The fields that API keys come in, which end here unless the route keeps credentials.
    pub fn key_fields(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().flat_map(|guard| &guard.ways).filter_map(|way| match way {
            Way::ApiKey(keys) => Some(keys.header()),
            Way::Introspection(_) | Way::Jwt(_) | Way::Mtls(_) => None,
        })
    }

    /// Every scope that is demanded for some method.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|guard| {
            let methods = guard.methods.iter().flat_map(Methods::all);
            std::iter::once(&guard.demand).chain(methods).flat_map(Demand::scopes)
        })
    }

    /// Decides about a request. The first way whose credential is there counts: a credential that
    /// does not hold is not made up for by another one.
    #[must_use]
    pub fn check(&self, request: &Request<'_>, caller: &Caller<'_>, waited: &Waited) -> Verdict {
        let Some(guard) = &self.0 else { return Verdict::Open };
        let permitted = guard
            .authenticate(request, caller, waited)
            .and_then(|who| guard.permit(who, request))
            .and_then(|permitted| guard.ask_elsewhere(permitted, waited));
        match permitted {
            Ok(permitted) => Verdict::Permitted(Box::new(permitted)),
            Err(verdict) => verdict,
        }
    }
}

impl Guard {
    fn authenticate(
        &self,
        request: &Request<'_>,
        caller: &Caller<'_>,
        waited: &Waited,
    ) -> Result<Authenticated, Verdict> {
        let tokens = self.ways.iter().any(Way::takes_tokens);
        let shown = match bearer::shown(request) {
            Ok(shown) => shown,
            Err(_another) if !tokens => Shown::Nothing,
            Err(wrong) => return Err(refused(self.challenge.malformed(wrong.to_string()))),
        };
        let opaque_elsewhere = self.ways.iter().any(|way| matches!(way, Way::Introspection(_)));
        let (dpop, bound) = (&*self.dpop, self.bound);
        let look = Look { request, caller, waited, shown, dpop, opaque_elsewhere, bound };
        for way in &self.ways {
            let outcome = way.check(&look);
            if !matches!(outcome, Outcome::Absent) {
                return self.judge(outcome, way, &look);
            }
        }
        if self.ways.is_empty() {
            // The policy service alone decides.
            return Ok(Authenticated::unknown());
        }
        let scheme = match (tokens, self.bound) {
            (false, _) => Scheme::ApiKey,
            (true, false) => Scheme::Bearer,
            (true, true) => Scheme::Dpop,
        };
        Err(refused(self.challenge.missing(scheme)))
    }

    /// What a way found, as a verdict; who is revoked is refused here.
    fn judge(
        &self,
        outcome: Outcome,
        way: &Way,
        look: &Look<'_>,
    ) -> Result<Authenticated, Verdict> {
        let scheme = match (way.takes_tokens(), look.shown) {
            (false, _) => Scheme::ApiKey,
            (true, Shown::Dpop(_)) => Scheme::Dpop,
            (true, _) => Scheme::Bearer,
        };
        match outcome {
            Outcome::Absent => Err(refused(self.challenge.missing(scheme))),
            Outcome::Known(who) => {
                let revocations = self.revocations.as_ref();
                let now = look.caller.seconds();
                match revocations.and_then(|list| list.revoked(who.identity(), now)) {
                    Some(evidence) => {
                        Err(Verdict::Refused(self.challenge.invalid(scheme, evidence), Some(who)))
                    }
                    None => Ok(who),
                }
            }
            Outcome::Wait(need) => Err(Verdict::Wait(need)),
            Outcome::Refused(evidence) => Err(refused(self.challenge.invalid(scheme, evidence))),
            Outcome::BadProof(ProofError::Full) => Err(refused(unavailable("too many proofs"))),
            Outcome::BadProof(error) => {
                let nonce = matches!(error, ProofError::Nonce)
                    .then(|| self.dpop.nonce(look.caller.seconds()));
                let denial = self.challenge.bad_proof(nonce.as_deref(), error.to_string());
                Err(refused(denial))
            }
            Outcome::Unavailable(evidence) => Err(refused(unavailable(evidence))),
        }
    }

    fn permit(&self, who: Authenticated, request: &Request<'_>) -> Result<Permitted, Verdict> {
        match self.forwarded(&who, request) {
            Ok(forwarded) => Ok(Permitted::new(who, forwarded)),
            Err(denial) => Err(Verdict::Refused(denial, Some(who))),
        }
    }

    /// Whether somebody may do what they ask for; returned is what the upstream is told of them.
    fn forwarded(
        &self,
        who: &Authenticated,
        request: &Request<'_>,
    ) -> Result<Forwarded, Box<Denial>> {
        self.demand.check(who.identity(), &self.challenge)?;
        if let Some(methods) = &self.methods {
            match methods.demand(request.method()) {
                Some(demand) => demand.check(who.identity(), &self.challenge)?,
                None => return Err(forbidden("nobody may use this method here")),
            }
        }
        self.forward.write(who.identity())
    }

    /// The policy service's word, if there is one to ask.
    fn ask_elsewhere(&self, permitted: Permitted, waited: &Waited) -> Result<Permitted, Verdict> {
        let Some(external) = &self.external else { return Ok(permitted) };
        let who = || Some(permitted.who().clone());
        match &waited.word {
            Some(Word::Allowed(fields)) => Ok(permitted.with(fields)),
            Some(Word::Denied(denial)) => Err(Verdict::Refused(denial.clone(), who())),
            None if waited.for_authorizer => {
                let denial = unavailable(format!("no answer from `{}`", external.name()));
                Err(Verdict::Refused(denial, who()))
            }
            None => {
                let who = permitted.who().clone();
                Err(Verdict::Wait(Need::Authorize(Arc::clone(external), who)))
            }
        }
    }
}

fn refused(denial: Box<Denial>) -> Verdict {
    Verdict::Refused(denial, None)
}

fn ways(settings: &RequireSettings, auth: &Auth, errors: &mut Vec<SettingsError>) -> Vec<Way> {
    let (own, before) = (settings.own_way(), errors.len());
    let short = auth.way(&own, errors);
    let Some(any) = &settings.any else {
        if short.is_none() && errors.len() == before && settings.external.is_none() {
            errors.push(
                SettingsError::new([""; 0], "it is not said how clients show who they are")
                    .with_hint("name a provider, such as `jwt: corp`, or write `auth: none`"),
            );
        }
        return short.into_iter().collect();
    };
    if own != WaySettings::default() {
        errors.push(
            SettingsError::new(["any"], "`any` stands beside a way of its own")
                .with_hint("put all ways into `any`, or take one back with `~`"),
        );
    }
    let mut ways = Vec::with_capacity(any.len());
    for (index, settings) in any.iter().enumerate() {
        let mut own = Vec::new();
        match auth.way(settings, &mut own) {
            Some(way) => ways.push(way),
            None if own.is_empty() => {
                own.push(SettingsError::new([""; 0], "an empty way lets nobody pass"));
            }
            None => {}
        }
        errors.extend(own.into_iter().map(|error| error.under(["any", &index.to_string()])));
    }
    if any.is_empty() {
        errors.push(SettingsError::new(["any"], "an empty list lets nobody pass"));
    }
    ways
}
