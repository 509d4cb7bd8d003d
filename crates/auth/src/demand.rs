//! What an identity must be allowed to do: scopes, roles, claims; and who is refused for what.

use http::Method;
use tidegate_core::{Denial, SettingsError};

use crate::identity::Identity;
use crate::json::Json;
use crate::refusal::{Challenge, forbidden};
use crate::settings::{AllOrAny, ClaimSettings, DemandSettings, RequireSettings};

/// A demand, compiled.
#[derive(Debug, Default)]
pub(crate) struct Demand {
    scopes: AllOrAny,
    roles: AllOrAny,
    claims: Vec<(Box<str>, ClaimSettings)>,
}

/// The demands per method.
#[derive(Debug)]
pub(crate) struct Methods {
    named: Vec<(Method, Demand)>,
    others: Option<Demand>,
}

impl Demand {
    /// What a route demands of every request.
    pub(crate) fn of_route(settings: &RequireSettings, errors: &mut Vec<SettingsError>) -> Self {
        let demand = DemandSettings {
            scopes: settings.scopes.clone(),
            roles: settings.roles.clone(),
            claims: settings.claims.clone(),
        };
        Self::compile(&demand, errors)
    }

    fn compile(settings: &DemandSettings, errors: &mut Vec<SettingsError>) -> Self {
        let DemandSettings { scopes, roles, claims } = settings;
        check_list("scopes", scopes.as_ref(), errors);
        check_list("roles", roles.as_ref(), errors);
        for scope in scopes.iter().flat_map(|scopes| scopes.all.iter().chain(&scopes.any)) {
            if !is_scope(scope) {
                errors.push(
                    SettingsError::new(["scopes"], format!("{scope:?} is no scope"))
                        .with_hint("a scope is made of printable ASCII without space, `\"`, `\\`"),
                );
            }
        }
        for (name, claim) in claims.iter().flatten() {
            if claim.0.is_empty() {
                errors.push(SettingsError::new(
                    ["claims", name.as_str()],
                    "no value would be the right one",
                ));
            }
        }
        let claims = claims.iter().flatten();
        Self {
            scopes: scopes.clone().unwrap_or_default(),
            roles: roles.clone().unwrap_or_default(),
            claims: claims.map(|(name, claim)| (name.as_str().into(), claim.clone())).collect(),
        }
    }

    /// Lets an identity pass that is all that is demanded.
    ///
    /// # Errors
    /// The refusal, with what is missing.
    pub(crate) fn check(&self, who: &Identity, challenge: &Challenge) -> Result<(), Box<Denial>> {
        if !self.scopes.is_met(|scope| who.has_scope(scope)) {
            let needed = self.needed_scopes();
            return Err(challenge.insufficient(&needed, format!("needs the scopes {needed}")));
        }
        if !self.roles.is_met(|role| who.has_role(role)) {
            return Err(forbidden("not one of the roles that are needed"));
        }
        for (name, allowed) in &self.claims {
            let claim = who.claims.at(name);
            if !claim.is_some_and(|claim| allowed.is_met_by(claim)) {
                return Err(forbidden(format!("the claim `{name}` is not what it must be")));
            }
        }
        Ok(())
    }

    /// The scopes, as a client should ask for them (RFC 6750 §3).
    fn needed_scopes(&self) -> String {
        let scopes: Vec<&str> = self.scopes().collect();
        scopes.join(" ")
    }

    /// The scopes by which somebody meets it: all that it wants, and the first that they have of
    /// those among which it wants any.
    pub(crate) fn used_of(&self, granted: &[Box<str>]) -> impl Iterator<Item = &str> {
        let has = |scope: &&String| granted.iter().any(|own| **own == ***scope);
        let first = self.scopes.any.iter().find(has);
        self.scopes.all.iter().chain(first).map(String::as_str)
    }

    /// The scopes that it wants.
    pub(crate) fn all_scopes(&self) -> &AllOrAny {
        &self.scopes
    }

    /// All scopes that it names.
    pub(crate) fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scopes.all.iter().chain(&self.scopes.any).map(String::as_str)
    }
}

impl Methods {
    pub(crate) fn compile(
        settings: &RequireSettings,
        errors: &mut Vec<SettingsError>,
    ) -> Option<Self> {
        let methods = settings.methods.as_ref()?;
        let mut compiled = Self { named: Vec::new(), others: None };
        for (name, demand) in methods {
            let mut own = Vec::new();
            let demand = Demand::compile(demand, &mut own);
            if name == "*" {
                compiled.others = Some(demand);
            } else {
                match Method::from_bytes(name.as_bytes()) {
                    Ok(method) if name.bytes().all(|b| !b.is_ascii_lowercase()) => {
                        compiled.named.push((method, demand));
                    }
                    _ => own.push(
                        SettingsError::new([""; 0], format!("`{name}` is no method"))
                            .with_hint("write it in capitals, or `*` for all others"),
                    ),
                }
            }
            errors.extend(own.into_iter().map(|error| error.under(["methods", name.as_str()])));
        }
        Some(compiled)
    }

    /// What is demanded for a method; `None` if it is not to be used at all.
    pub(crate) fn demand(&self, method: &Method) -> Option<&Demand> {
        self.at(self.place(method))
    }

    /// Where the demand for a method is among all: the last place is that of all others.
    pub(crate) fn place(&self, method: &Method) -> usize {
        let named = |method: &Method| self.named.iter().position(|(own, _)| own == method);
        let found = named(method).or_else(|| {
            // A HEAD is a GET without the body (RFC 9110 §9.3.2).
            if *method == Method::HEAD { named(&Method::GET) } else { None }
        });
        found.unwrap_or(self.named.len())
    }

    /// The demand at a place.
    pub(crate) fn at(&self, place: usize) -> Option<&Demand> {
        self.named.get(place).map(|(_, demand)| demand).or(self.others.as_ref())
    }

    /// Which scopes each method demands; `*` stands for all others.
    pub(crate) fn scopes(&self) -> impl Iterator<Item = (&str, &AllOrAny)> {
        let named = self.named.iter().map(|(method, demand)| (method.as_str(), &demand.scopes));
        named.chain(self.others.iter().map(|demand| ("*", &demand.scopes)))
    }

    /// All demands.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Demand> {
        self.named.iter().map(|(_, demand)| demand).chain(&self.others)
    }
}

impl AllOrAny {
    fn is_met(&self, has: impl Fn(&str) -> bool) -> bool {
        self.all.iter().all(|name| has(name))
            && (self.any.is_empty() || self.any.iter().any(|name| has(name)))
    }
}

impl ClaimSettings {
    /// Whether a claim is one of the values, or a list with one of them in it.
    fn is_met_by(&self, claim: &Json) -> bool {
        match claim {
            Json::String(text) => self.0.iter().any(|value| **value == **text),
            Json::Number(number) => {
                let text = number.to_string();
                self.0.contains(&text)
            }
            Json::Bool(truth) => self.0.iter().any(|value| *value == truth.to_string()),
            Json::List(items) => items.iter().any(|item| {
                // Lists in lists say nothing that could be demanded.
                !matches!(item, Json::List(_)) && self.is_met_by(item)
            }),
            Json::Null | Json::Object(_) => false,
        }
    }
}

fn check_list(name: &str, list: Option<&AllOrAny>, errors: &mut Vec<SettingsError>) {
    if list.is_some_and(|list| list.all.is_empty() && list.any.is_empty()) {
        errors.push(
            SettingsError::new(
                [name],
                "an empty list demands nothing, and looks like the opposite",
            )
            .with_hint(format!("name the {name}, or take the key back with `~`")),
        );
    }
}

/// RFC 6749 §3.3.
pub(crate) fn is_scope(scope: &str) -> bool {
    let token = |b: u8| b == 0x21 || (0x23..=0x5b).contains(&b) || (0x5d..=0x7e).contains(&b);
    !scope.is_empty() && scope.bytes().all(token)
}
