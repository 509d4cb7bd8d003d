//! A route's demands, compiled, and the one function that decides whether a request meets them.

use std::sync::Arc;

use http::{HeaderName, Method};
use tidegate_core::{Denial, Request, SettingsError};

use crate::authorizer::{Authorizer, Word};
use crate::bearer::{self, Shown};
use crate::demand::{Demand, Methods};
use crate::dpop::{Dpop, ProofError};
use crate::exchange::{Trade, Traded};
use crate::forward::{Forward, Forwarded};
use crate::identity::{Authenticated, Caller, Permitted};
use crate::jose::sha256;
use crate::providers::Auth;
use crate::refusal::{Challenge, Scheme, forbidden, unavailable};
use crate::revocation::Revocations;
use crate::settings::{AccessSettings, AllOrAny, RequireSettings, WaySettings};
pub use crate::waited::{Answer, Need, Waited};
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
            forward: Forward::compile(&forward, auth, &mut errors),
            challenge: Arc::clone(auth.challenge()),
            dpop: Arc::clone(auth.dpop()),
            revocations: auth.revocations().cloned(),
        };
        guard.check_exchange(&mut errors);
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

    /// Which of the demands a request with this method has to meet, for [`Access::used_scopes`].
    pub(crate) fn place(&self, method: &Method) -> usize {
        let methods = self.0.as_ref().and_then(|guard| guard.methods.as_ref());
        methods.map_or(0, |methods| methods.place(method))
    }

    /// The scopes for want of which somebody would not have passed: all that are demanded, and of
    /// alternatives the first that they have.
    pub(crate) fn used_scopes(&self, place: usize, granted: &[Box<str>]) -> Vec<&str> {
        let Some(guard) = &self.0 else { return Vec::new() };
        let own = guard.methods.as_ref().and_then(|methods| methods.at(place));
        let demands = std::iter::once(&guard.demand).chain(own);
        demands.flat_map(|demand| demand.used_of(granted)).collect()
    }

    /// Which scopes are demanded, by method; `*` stands for all others, and for all.
    pub(crate) fn demanded_scopes(&self) -> impl Iterator<Item = (&str, &AllOrAny)> {
        self.0.iter().flat_map(|guard| {
            let own = guard.methods.iter().flat_map(Methods::scopes);
            let shared = guard.methods.is_none() || guard.demand.scopes().next().is_some();
            shared.then(|| ("*", guard.demand.all_scopes())).into_iter().chain(own)
        })
    }

    /// Whether these are the demands of one route, and not only equal ones.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.address() == other.address()
    }

    /// What tells them from others for as long as they are kept.
    pub(crate) fn address(&self) -> usize {
        self.0.as_ref().map_or(0, |guard| Arc::as_ptr(guard).addr())
    }

    /// Decides about a request. The first way whose credential is there counts: a credential that
    /// does not hold is not made up for by another one.
    #[must_use]
    pub fn check(&self, request: &Request<'_>, caller: &Caller<'_>, waited: &Waited) -> Verdict {
        let Some(guard) = &self.0 else { return Verdict::Open };
        let permitted = guard
            .authenticate(request, caller, waited)
            .and_then(|who| guard.permit(who, request))
            .and_then(|permitted| guard.ask_elsewhere(permitted, waited))
            .and_then(|permitted| guard.exchange(permitted, request, caller, waited));
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
            (true, shown) => Scheme::of(shown),
        };
        match outcome {
            Outcome::Absent => Err(refused(self.challenge.missing(scheme))),
            Outcome::Known(who) => {
                let revocations = self.revocations.as_ref();
                let now = look.caller.seconds();
                match revocations.and_then(|list| list.revoked(who.identity(), now)) {
                    Some(evidence) => {
                        self.forward.forget(look.shown);
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
        // Where the service alone decides, nobody said who it is.
        let who = || Some(permitted.who().clone()).filter(|_| !self.ways.is_empty());
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

    /// Exchanges the caller's token for the upstream's, if the route does so.
    fn exchange(
        &self,
        permitted: Permitted,
        request: &Request<'_>,
        caller: &Caller<'_>,
        waited: &Waited,
    ) -> Result<Permitted, Verdict> {
        let Some(exchanger) = self.forward.exchanger() else { return Ok(permitted) };
        let who = Some(permitted.who().clone());
        let shown = bearer::shown(request).unwrap_or(Shown::Nothing);
        let Some(token) = shown.token() else {
            return Err(Verdict::Refused(unavailable("there is no token to exchange"), who));
        };
        let digest = sha256(token.as_bytes());
        let traded = waited.traded.clone();
        match traded.or_else(|| exchanger.recall(&digest, caller.seconds())) {
            Some(Traded::Token(token)) => Ok(permitted.with_token(token)),
            Some(Traded::Invalid(evidence)) => {
                Err(Verdict::Refused(self.challenge.invalid(Scheme::of(shown), evidence), who))
            }
            Some(Traded::Forbidden(evidence)) => Err(Verdict::Refused(forbidden(evidence), who)),
            None if waited.for_exchange => {
                let denial = unavailable(format!("no token from `{}`", exchanger.name()));
                Err(Verdict::Refused(denial, who))
            }
            None => {
                let (exchanger, ends) = (Arc::clone(exchanger), permitted.identity().expires_at);
                let trade = Trade { exchanger, token: token.into(), digest, ends };
                Err(Verdict::Wait(Need::Exchange(trade)))
            }
        }
    }

    /// Only tokens can be exchanged.
    fn check_exchange(&self, errors: &mut Vec<SettingsError>) {
        let tokens = !self.ways.is_empty() && self.ways.iter().all(Way::takes_tokens);
        if self.forward.exchanger().is_some() && !tokens && errors.is_empty() {
            errors.push(
                SettingsError::new(
                    ["forward", "token"],
                    "a way of this route shows no token that could be exchanged",
                )
                .with_hint("take it only with `jwt` and `introspection`"),
            );
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
