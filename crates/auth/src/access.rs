//! A route's demands, compiled, and the one function that decides whether a request meets them.

use std::sync::Arc;

use http::HeaderName;
use tidegate_core::{Denial, Request, SettingsError};

use crate::bearer::{self, Shown};
use crate::demand::{Demand, Methods};
use crate::forward::Forward;
use crate::identity::{Authenticated, Caller, Permitted};
use crate::issuer::Issuer;
use crate::providers::Auth;
use crate::refusal::{Challenge, forbidden, unavailable};
use crate::settings::{AccessSettings, RequireSettings, WaySettings};
use crate::way::{Outcome, Way};

/// Who may pass a route.
#[derive(Clone, Debug, Default)]
pub struct Access(Option<Arc<Guard>>);

/// What a route with demands looks at.
#[derive(Debug)]
struct Guard {
    ways: Vec<Way>,
    demand: Demand,
    methods: Option<Methods>,
    forward: Forward,
    challenge: Arc<Challenge>,
}

/// What has to be had before a request can be decided about.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Need {
    /// The issuer's keys.
    Keys(Arc<Issuer>),
}

/// What was waited for already, so that nobody waits twice.
#[derive(Clone, Debug, Default)]
pub struct Waited {
    /// For keys, whether they came or not.
    pub for_keys: bool,
}

impl Waited {
    /// Notes that a need was waited for.
    pub fn note(&mut self, need: &Need) {
        match need {
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
    /// It may not.
    Refused(Box<Denial>),
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
        let ways = ways(settings, auth, &mut errors);
        let demand = Demand::of_route(settings, &mut errors);
        let methods = Methods::compile(settings, &mut errors);
        let forward = settings.forward.clone().unwrap_or_default();
        let forward = Forward::compile(&forward, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let challenge = Arc::clone(auth.challenge());
        Ok(Self(Some(Arc::new(Guard { ways, demand, methods, forward, challenge }))))
    }

    /// Whether the route is for everybody.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// The fields that only the gateway may write.
    pub fn identity_fields(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().flat_map(|guard| guard.forward.names())
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
        let shown = match bearer::shown(request) {
            Ok(shown) => shown,
            Err(wrong) => return refused(guard.challenge.malformed(wrong.to_string())),
        };
        match guard.authenticate(shown, caller, waited) {
            Ok(who) => match guard.permit(who, request) {
                Ok(permitted) => Verdict::Permitted(Box::new(permitted)),
                Err(denial) => refused(denial),
            },
            Err(verdict) => verdict,
        }
    }
}

impl Guard {
    fn authenticate(
        &self,
        shown: Shown<'_>,
        caller: &Caller<'_>,
        waited: &Waited,
    ) -> Result<Authenticated, Verdict> {
        for way in &self.ways {
            match way.check(shown, caller, waited) {
                Outcome::Absent => {}
                Outcome::Known(who) => return Ok(who),
                Outcome::Wait(need) => return Err(Verdict::Wait(need)),
                Outcome::Refused(evidence) => {
                    return Err(refused(self.challenge.invalid(evidence)));
                }
                Outcome::Unavailable(evidence) => return Err(refused(unavailable(evidence))),
            }
        }
        Err(refused(self.challenge.missing()))
    }

    fn permit(&self, who: Authenticated, request: &Request<'_>) -> Result<Permitted, Denial> {
        self.demand.check(who.identity(), &self.challenge)?;
        if let Some(methods) = &self.methods {
            match methods.demand(request.method()) {
                Some(demand) => demand.check(who.identity(), &self.challenge)?,
                None => return Err(forbidden("nobody may use this method here")),
            }
        }
        let forwarded = self.forward.write(who.identity())?;
        Ok(Permitted::new(who, forwarded))
    }
}

fn refused(denial: Denial) -> Verdict {
    Verdict::Refused(Box::new(denial))
}

fn ways(settings: &RequireSettings, auth: &Auth, errors: &mut Vec<SettingsError>) -> Vec<Way> {
    let own = WaySettings { jwt: settings.jwt.clone() };
    let short = way(&own, auth, errors);
    let Some(any) = &settings.any else {
        if short.is_none() && errors.is_empty() {
            errors.push(
                SettingsError::new([""; 0], "it is not said how clients show who they are")
                    .with_hint("name a provider, such as `jwt: corp`, or write `auth: none`"),
            );
        }
        return short.into_iter().collect();
    };
    if short.is_some() {
        errors.push(
            SettingsError::new(["any"], "`any` stands beside a way of its own")
                .with_hint("put all ways into `any`, or take one back with `~`"),
        );
    }
    let mut ways = Vec::with_capacity(any.len());
    for (index, settings) in any.iter().enumerate() {
        let mut own = Vec::new();
        match way(settings, auth, &mut own) {
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

fn way(settings: &WaySettings, auth: &Auth, errors: &mut Vec<SettingsError>) -> Option<Way> {
    let names = settings.jwt.as_ref()?;
    if names.0.is_empty() {
        errors.push(SettingsError::new(["jwt"], "an empty list lets nobody pass"));
    }
    let mut issuers = Vec::with_capacity(names.0.len());
    for name in &names.0 {
        match auth.issuer(name) {
            Some(issuer) => issuers.push(Arc::clone(issuer)),
            None => {
                let hint = format!("add it to `auth.issuers`; known: {}", auth.issuer_names());
                let message = format!("no issuer is called `{name}`");
                errors.push(SettingsError::new(["jwt"], message).with_hint(hint));
            }
        }
    }
    Some(Way::Jwt(issuers))
}
