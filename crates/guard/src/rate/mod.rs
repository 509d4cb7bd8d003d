//! Token buckets per client, header or route.
//!
//! [`RateLimit::compile`] makes one limit from its settings; [`RateLimit::check`] takes a token
//! for a request and says what to tell the client. A request that passes several limits takes a
//! token from each, in their order; one that an early limit refuses costs the later ones nothing.

mod buckets;
mod headers;
mod settings;
mod throttle;

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use tidegate_core::{Denial, Reason, Request, SettingsError};

pub use self::buckets::TableStats;
pub(crate) use self::buckets::nanos;
use self::buckets::{Buckets, Gcra};
pub use self::headers::{RATE_LIMIT, RATE_LIMIT_POLICY};
pub use self::settings::{KeyPart, RateLimitKey, RateLimitSettings};
pub use self::throttle::Throttle;

/// One compiled rate limit. Its policy is immutable; its buckets live on over a reload.
#[derive(Clone, Debug)]
pub struct RateLimit {
    id: Box<str>,
    name: Box<str>,
    policy: HeaderValue,
    key: RateLimitKey,
    prefixes: Prefixes,
    gcra: Gcra,
    burst: u32,
    window: Duration,
    dry_run: bool,
    state: Arc<State>,
}

/// How many bits of a client address count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Prefixes {
    v4: u8,
    v6: u8,
}

/// Who asks, as far as it is known. Names of different providers are different names.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Who says so.
    pub provider: &'a str,
    /// The subject.
    pub subject: Option<&'a str>,
    /// The client that acts.
    pub client: Option<&'a str>,
}

/// What a reload keeps: the buckets, and the secret by which their keys are hashed.
#[derive(Debug)]
struct State {
    buckets: Buckets,
    max_keys: usize,
    hasher: RandomState,
}

/// What a limit says about one request.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    /// Whether a token was there.
    pub allowed: bool,
    /// Whether the limit only counts; see [`Decision::refuses`].
    pub dry_run: bool,
    /// The limit's name.
    pub name: &'a str,
    /// How many requests a full bucket allows.
    pub limit: u32,
    /// How many requests the bucket still allows now.
    pub remaining: u32,
    /// When the bucket will be full again.
    pub reset_after: Duration,
    /// When the next token is there; zero if the request was allowed.
    pub retry_after: Duration,
    /// How long an empty bucket takes to fill.
    pub window: Duration,
    policy: &'a HeaderValue,
}

impl RateLimit {
    /// Compiles a limit. `id` is stable over reloads; if `carried` has the same id and counts by
    /// the same key, its buckets are taken over, so that a reload refills nobody.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the settings, with paths relative to them.
    pub fn compile(
        id: &str,
        settings: &RateLimitSettings,
        carried: Option<&Self>,
    ) -> Result<Self, Vec<SettingsError>> {
        let burst = settings.burst.unwrap_or(settings.rate.count).get();
        let interval = nanos(settings.rate.interval());
        let tolerance = interval.saturating_mul(u64::from(burst));
        let name = settings.name.clone().unwrap_or_else(|| settings.key.to_string());
        let errors = errors_in(settings, &name, tolerance);
        if !errors.is_empty() {
            return Err(errors);
        }
        let window = Duration::from_nanos(tolerance);
        let policy = headers::policy(&name, burst, window).map_err(|error| vec![error])?;
        let prefixes = Prefixes { v4: settings.ipv4_prefix, v6: settings.ipv6_prefix };
        let max_keys = usize::try_from(settings.max_keys.get()).unwrap_or(usize::MAX);
        let state = carried
            .filter(|old| *old.id == *id && old.key == settings.key && old.prefixes == prefixes)
            .filter(|old| old.state.max_keys == max_keys)
            .map_or_else(|| Arc::new(State::new(max_keys)), |old| Arc::clone(&old.state));
        Ok(Self {
            id: id.into(),
            name: name.into(),
            policy,
            key: settings.key.clone(),
            prefixes,
            gcra: Gcra { interval, tolerance },
            burst,
            window,
            dry_run: settings.dry_run,
            state,
        })
    }

    /// The id that the limit was compiled with.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The limit's name, for clients and logs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it counts by who asks, so that [`RateLimit::check_known`] has to be used.
    #[must_use]
    pub fn needs_identity(&self) -> bool {
        self.key.needs_identity()
    }

    /// Takes a token for the request, which `route` was found for.
    #[must_use]
    pub fn check(&self, request: &Request<'_>, route: &str, now: Instant) -> Decision<'_> {
        self.check_known(request, route, Known::default(), now)
    }

    /// The same, where it is known who asks.
    #[must_use]
    pub fn check_known(
        &self,
        request: &Request<'_>,
        route: &str,
        known: Known<'_>,
        now: Instant,
    ) -> Decision<'_> {
        let taken = self.state.buckets.take(self.bucket_key(request, route, known), self.gcra, now);
        let left = self.gcra.tolerance.saturating_sub(taken.until_full) / self.gcra.interval.max(1);
        Decision {
            allowed: taken.wait.is_none(),
            dry_run: self.dry_run,
            name: &self.name,
            limit: self.burst,
            remaining: u32::try_from(left).unwrap_or(u32::MAX),
            reset_after: Duration::from_nanos(taken.until_full),
            retry_after: Duration::from_nanos(taken.wait.unwrap_or(0)),
            window: self.window,
            policy: &self.policy,
        }
    }

    /// How full the limit's table is. Looking forgets the keys whose bucket is full, and gives
    /// their memory back: do it now and then, such as at each scrape of the metrics.
    #[must_use]
    pub fn stats(&self, now: Instant) -> TableStats {
        self.state.buckets.sweep(now)
    }

    fn bucket_key(&self, request: &Request<'_>, route: &str, known: Known<'_>) -> u64 {
        let mut hasher = self.state.hasher.build_hasher();
        for part in self.key.parts() {
            match part {
                KeyPart::Client => match known.client {
                    Some(client) => (ACTOR_TAG, known.provider, client).hash(&mut hasher),
                    None => self.prefixes.hash_client(request.client, &mut hasher),
                },
                KeyPart::Subject => match known.subject {
                    Some(subject) => (SUBJECT_TAG, known.provider, subject).hash(&mut hasher),
                    None => self.prefixes.hash_client(request.client, &mut hasher),
                },
                KeyPart::ClientIp => self.prefixes.hash_client(request.client, &mut hasher),
                KeyPart::Header(name) => match only_value(request.headers(), name) {
                    Some(value) => (HEADER_TAG, value.as_bytes()).hash(&mut hasher),
                    None => self.prefixes.hash_client(request.client, &mut hasher),
                },
                KeyPart::Route => (ROUTE_TAG, route).hash(&mut hasher),
            }
        }
        hasher.finish()
    }
}

/// Keep the kinds of key apart: a header that spells an address is not that address.
const CLIENT_TAG: u8 = 0;
const HEADER_TAG: u8 = 1;
const ROUTE_TAG: u8 = 2;
const ACTOR_TAG: u8 = 3;
const SUBJECT_TAG: u8 = 4;

impl Prefixes {
    fn hash_client(self, client: IpAddr, hasher: &mut impl Hasher) {
        match client.to_canonical() {
            IpAddr::V4(address) => {
                let cut = 32_u32.saturating_sub(u32::from(self.v4));
                (CLIENT_TAG, address.to_bits().checked_shr(cut).unwrap_or(0)).hash(hasher);
            }
            IpAddr::V6(address) => {
                let cut = 128_u32.saturating_sub(u32::from(self.v6));
                (CLIENT_TAG, address.to_bits().checked_shr(cut).unwrap_or(0)).hash(hasher);
            }
        }
    }
}

/// The field's value, if it is there exactly once and not empty. With several, the upstream may
/// read another one than we count.
fn only_value<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|value| !value.is_empty())?;
    values.next().is_none().then_some(value)
}

impl State {
    fn new(max_keys: usize) -> Self {
        Self { buckets: Buckets::new(max_keys), max_keys, hasher: RandomState::new() }
    }
}

impl Decision<'_> {
    /// Whether the request is to be refused.
    #[must_use]
    pub fn refuses(&self) -> bool {
        !self.allowed && !self.dry_run
    }

    /// Whether the request would have been refused, were the limit not in dry-run.
    #[must_use]
    pub fn would_refuse(&self) -> bool {
        !self.allowed && self.dry_run
    }

    /// The refusal: 429 with `Retry-After`, `RateLimit` and `RateLimit-Policy`.
    #[must_use]
    pub fn denial(&self) -> Denial {
        let mut denial = Denial::new(Reason::RateLimited)
            .with_evidence(format!("rate limit `{}`", self.name))
            .with_retry_after(self.retry_after);
        self.append_headers(&mut denial.headers);
        denial
    }
}

fn errors_in(settings: &RateLimitSettings, name: &str, tolerance: u64) -> Vec<SettingsError> {
    let mut errors = Vec::new();
    if settings.rate.interval() < MIN_INTERVAL {
        errors.push(
            SettingsError::new(["rate"], format!("{} is too fast to be kept", settings.rate))
                .with_hint("write at most 1000000/s"),
        );
    }
    if Duration::from_nanos(tolerance) > MAX_WINDOW {
        errors.push(
            SettingsError::new(["burst"], "an empty bucket would take over ten years to fill")
                .with_hint("lower `burst`, or raise `rate`"),
        );
    }
    for (field, prefix, max) in
        [("ipv4_prefix", settings.ipv4_prefix, 32), ("ipv6_prefix", settings.ipv6_prefix, 128)]
    {
        if !(1..=max).contains(&prefix) {
            errors.push(SettingsError::new([field], format!("{prefix} is not from 1 to {max}")));
        }
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    if settings.name.is_some() && (name.is_empty() || name.len() > 64 || !name.bytes().all(plain)) {
        let message = format!("{name:?} is not a name");
        let hint = "write up to 64 letters, digits, `_`, `-` and `.`";
        errors.push(SettingsError::new(["name"], message).with_hint(hint));
    }
    errors
}

/// Below it, whole nanoseconds per token are too coarse to be exact.
const MIN_INTERVAL: Duration = Duration::from_micros(1);

/// Ten years; the arithmetic would hold 584.
const MAX_WINDOW: Duration = Duration::from_secs(3_653 * 86_400);

#[cfg(test)]
mod tests;
