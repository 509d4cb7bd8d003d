//! Who vouches: the top-level `auth`, compiled.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tidegate_core::SettingsError;

use crate::api_keys::ApiKeys;
use crate::authorizer::Authorizer;
use crate::dpop::Dpop;
use crate::exchange::Exchanger;
use crate::introspection::Introspector;
use crate::issuer::Issuer;
use crate::refusal::Challenge;
use crate::resource::Resource;
use crate::revocation::Revocations;
use crate::settings::{AuthSettings, LogSubject, WaySettings};
use crate::way::{Mtls, Way};

/// All providers, compiled.
#[derive(Debug)]
pub struct Auth {
    issuers: BTreeMap<String, Arc<Issuer>>,
    introspectors: BTreeMap<String, Arc<Introspector>>,
    api_keys: BTreeMap<String, Arc<ApiKeys>>,
    authorizers: BTreeMap<String, Arc<Authorizer>>,
    exchangers: BTreeMap<String, Arc<Exchanger>>,
    revocations: Option<Arc<Revocations>>,
    dpop: Arc<Dpop>,
    resource: Option<Resource>,
    challenge: Arc<Challenge>,
    log_subject: LogSubject,
    pseudonyms: hmac::Key,
}

/// Compiles each of a map; errors get the map's name and the entry's.
fn each<S, T>(
    map: &BTreeMap<String, S>,
    section: &str,
    errors: &mut Vec<SettingsError>,
    compile: impl Fn(&str, &S) -> Result<T, Vec<SettingsError>>,
) -> BTreeMap<String, Arc<T>> {
    let mut compiled = BTreeMap::new();
    for (name, settings) in map {
        match compile(name, settings) {
            Ok(one) => drop(compiled.insert(name.clone(), Arc::new(one))),
            Err(found) => {
                errors.extend(found.into_iter().map(|error| error.under([section, name])));
            }
        }
    }
    compiled
}

impl Auth {
    /// Compiles the providers. What they keep is taken over from `previous`. Providers that are
    /// right are there even if others are not, so that routes can be looked at all the same.
    pub fn compile(
        settings: &AuthSettings,
        previous: Option<&Self>,
        errors: &mut Vec<SettingsError>,
    ) -> Self {
        let issuers = each(&settings.issuers, "issuers", errors, |name, own| {
            let before = previous.and_then(|previous| previous.issuer(name));
            Issuer::compile(name, own, before.map(Arc::as_ref))
        });
        let introspectors = each(&settings.introspection, "introspection", errors, |name, own| {
            let before = previous.and_then(|previous| previous.introspectors.get(name));
            Introspector::compile(name, own, before.map(Arc::as_ref))
        });
        let api_keys = each(&settings.api_keys, "api_keys", errors, ApiKeys::compile);
        let authorizers = each(&settings.authorizers, "authorizers", errors, Authorizer::compile);
        let exchangers = each(&settings.exchange, "exchange", errors, |name, own| {
            let before = previous.and_then(|previous| previous.exchangers.get(name));
            Exchanger::compile(name, own, before.map(Arc::as_ref))
        });
        let revocations = settings.revocations.as_ref().and_then(|own| {
            let read = Revocations::read(&own.file).map(Arc::new);
            let told = |message| errors.push(SettingsError::new(["revocations", "file"], message));
            read.map_err(told).ok()
        });
        let resource = settings.resource.as_ref().and_then(|own| {
            let servers = settings.issuers.values().map(|issuer| issuer.issuer.as_str());
            let compiled = Resource::compile(own, servers);
            compiled.map_err(|error| errors.push(error.under(["resource"]))).ok()
        });
        let metadata = resource.as_ref().map(|resource| resource.address().into());
        let dpop = Dpop::new(&settings.dpop, previous.map(|previous| &*previous.dpop));
        Self {
            issuers,
            introspectors,
            api_keys,
            authorizers,
            exchangers,
            revocations,
            dpop: Arc::new(dpop),
            resource,
            challenge: Arc::new(Challenge { metadata }),
            log_subject: settings.log_subject,
            pseudonyms: pseudonyms(settings, previous, errors),
        }
    }

    /// A subject as the access log may name it.
    #[must_use]
    pub fn shown_subject(&self, subject: &str) -> Option<Box<str>> {
        match self.log_subject {
            LogSubject::Off => None,
            LogSubject::Plain => Some(subject.into()),
            LogSubject::Hashed => {
                let tag = hmac::sign(&self.pseudonyms, subject.as_bytes());
                let tag = URL_SAFE_NO_PAD.encode(tag.as_ref().get(..12).unwrap_or_default());
                Some(tag.into())
            }
        }
    }

    /// All endpoints that know about tokens.
    pub fn introspectors(&self) -> impl Iterator<Item = &Arc<Introspector>> {
        self.introspectors.values()
    }

    /// All lists of API keys.
    pub fn api_keys(&self) -> impl Iterator<Item = &Arc<ApiKeys>> {
        self.api_keys.values()
    }

    /// All policy services.
    pub fn authorizers(&self) -> impl Iterator<Item = &Arc<Authorizer>> {
        self.authorizers.values()
    }

    /// All endpoints that exchange tokens.
    pub fn exchangers(&self) -> impl Iterator<Item = &Arc<Exchanger>> {
        self.exchangers.values()
    }

    /// What passes no longer, if there is a list.
    #[must_use]
    pub fn revocations(&self) -> Option<&Arc<Revocations>> {
        self.revocations.as_ref()
    }

    pub(crate) fn dpop(&self) -> &Arc<Dpop> {
        &self.dpop
    }

    /// The provider with this name among those of a kind, or an error at `field`.
    pub(crate) fn named<'a, T>(
        known: &'a BTreeMap<String, Arc<T>>,
        (field, kind): (&str, &str),
        name: &str,
        errors: &mut Vec<SettingsError>,
    ) -> Option<&'a Arc<T>> {
        let found = known.get(name);
        if found.is_none() {
            let names: Vec<&str> = known.keys().map(String::as_str).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            errors.push(
                SettingsError::new([field], format!("nothing in `auth.{kind}` is called `{name}`"))
                    .with_hint(format!("add it to `auth.{kind}`; known: {names}")),
            );
        }
        found
    }

    /// A route's way.
    pub(crate) fn way(
        &self,
        settings: &WaySettings,
        errors: &mut Vec<SettingsError>,
    ) -> Option<Way> {
        let WaySettings { jwt, introspection, api_key, mtls } = settings;
        let count = usize::from(jwt.is_some())
            + usize::from(introspection.is_some())
            + usize::from(api_key.is_some())
            + usize::from(mtls.is_some());
        if count > 1 {
            errors.push(
                SettingsError::new([""; 0], "several ways stand side by side")
                    .with_hint("write `any: [{ … }, { … }]` if one of them is enough"),
            );
            return None;
        }
        if let Some(name) = introspection {
            let at = ("introspection", "introspection");
            let found = Self::named(&self.introspectors, at, name, errors)?;
            return Some(Way::Introspection(Arc::clone(found)));
        }
        if let Some(name) = api_key {
            let found = Self::named(&self.api_keys, ("api_key", "api_keys"), name, errors)?;
            return Some(Way::ApiKey(Arc::clone(found)));
        }
        if let Some(own) = mtls {
            return Some(Way::Mtls(Mtls {
                dns: own.dns.clone().map(|names| names.0),
                uri: own.uri.clone().map(|names| names.0),
                scopes: sorted(&own.scopes),
                provider: "mtls".into(),
            }));
        }
        let names = jwt.as_ref()?;
        if names.0.is_empty() {
            errors.push(SettingsError::new(["jwt"], "an empty list lets nobody pass"));
        }
        let issuers = names.0.iter();
        let issuers = issuers.filter_map(|name| {
            Self::named(&self.issuers, ("jwt", "issuers"), name, errors).cloned()
        });
        Some(Way::Jwt(issuers.collect()))
    }

    /// A route's policy service.
    pub(crate) fn authorizer(
        &self,
        name: &str,
        errors: &mut Vec<SettingsError>,
    ) -> Option<Arc<Authorizer>> {
        Self::named(&self.authorizers, ("external", "authorizers"), name, errors).cloned()
    }

    /// The endpoint that a route exchanges its tokens at.
    pub(crate) fn exchanger(
        &self,
        name: &str,
        errors: &mut Vec<SettingsError>,
    ) -> Option<Arc<Exchanger>> {
        let mut own = Vec::new();
        let found = Self::named(&self.exchangers, ("exchange", "exchange"), name, &mut own);
        errors.extend(own.into_iter().map(|error| error.under(["forward", "token"])));
        found.cloned()
    }

    /// The issuer with this name.
    #[must_use]
    pub fn issuer(&self, name: &str) -> Option<&Arc<Issuer>> {
        self.issuers.get(name)
    }

    /// All issuers.
    pub fn issuers(&self) -> impl Iterator<Item = &Arc<Issuer>> {
        self.issuers.values()
    }

    /// The protected resource's description, if there is one.
    #[must_use]
    pub fn resource(&self) -> Option<&Resource> {
        self.resource.as_ref()
    }

    pub(crate) fn challenge(&self) -> &Arc<Challenge> {
        &self.challenge
    }
}

/// The key by which subjects are hashed.
fn pseudonyms(
    settings: &AuthSettings,
    previous: Option<&Auth>,
    errors: &mut Vec<SettingsError>,
) -> hmac::Key {
    let Some(key) = &settings.log_key else {
        return previous.map_or_else(process_key, |previous| previous.pseudonyms.clone());
    };
    if key.reveal().len() < 16 {
        errors.push(SettingsError::new(["log_key"], "the key is shorter than 16 characters"));
    }
    hmac::Key::new(hmac::HMAC_SHA256, key.reveal().as_bytes())
}

/// A key that lasts as long as the process, from the system's randomness.
pub(crate) fn process_key() -> hmac::Key {
    let random = RandomState::new();
    let secret: Vec<u8> = (0_u8..4).flat_map(|part| random.hash_one(part).to_be_bytes()).collect();
    hmac::Key::new(hmac::HMAC_SHA256, &secret)
}

fn sorted(texts: &[String]) -> Box<[Box<str>]> {
    let mut texts: Vec<Box<str>> = texts.iter().map(|text| text.as_str().into()).collect();
    texts.sort_unstable();
    texts.into()
}
