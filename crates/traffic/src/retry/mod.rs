//! Whether a failed try is followed by another one, and when. The trying itself is `proxy`'s.
//!
//! What bounds a storm of retries is the pool's [`RetryBudget`]; what keeps a request from taking
//! effect twice is [`Retries::allows`].

mod budget;
mod settings;

use std::time::Duration;

use http::{HeaderName, Method};
use tidegate_core::SettingsError;

use crate::random::unit;

pub use self::budget::{RetryBudget, RetryPermit};
pub use self::settings::{BackoffSettings, BudgetSettings, RetryOn, RetrySettings};

/// With this field a client says that it may send the request again, and that the server knows it
/// again (draft-ietf-httpapi-idempotency-key-header).
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// More tries than this would multiply an outage.
const MAX_ATTEMPTS: u8 = 10;
/// What the proxy can replay of a request body.
pub const MAX_REPLAY: u64 = 64 * 1024;

/// Why a try failed, as far as it matters for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No connection was made; nothing was sent.
    ConnectFailure,
    /// What came was no valid response.
    BadResponse,
    /// The connection broke before the response head was complete.
    Reset,
    /// The endpoint says that it did not process the request (HTTP/2: REFUSED_STREAM, GOAWAY), so
    /// that any request may be sent again.
    Refused,
    /// A kept connection broke before the first byte of the response: most likely the endpoint had
    /// closed it already.
    StaleConnection,
    /// An answer that the route retries.
    Status(u16),
    /// No response head within the time of one try.
    Timeout,
}

impl Cause {
    /// The stable code: metric label and log field.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::ConnectFailure => "connect_failure",
            Self::BadResponse => "bad_response",
            Self::Reset => "reset",
            Self::Refused => "refused",
            Self::StaleConnection => "stale_connection",
            Self::Status(_) => "status",
            Self::Timeout => "per_try_timeout",
        }
    }

    /// Whether the endpoint certainly did nothing with the request.
    #[must_use]
    pub const fn is_harmless(self) -> bool {
        matches!(self, Self::ConnectFailure | Self::Refused)
    }

    /// Every code, for metrics.
    pub const CODES: [&'static str; 7] = [
        "bad_response",
        "connect_failure",
        "per_try_timeout",
        "refused",
        "reset",
        "stale_connection",
        "status",
    ];
}

/// When the requests of a route are tried again, compiled.
#[derive(Clone, Debug, PartialEq)]
pub struct Retries {
    /// Further tries after the first.
    pub attempts: u8,
    /// How long one try may wait for the response head, from the request sent.
    pub per_try_timeout: Option<Duration>,
    /// The longest request body that is replayed, in bytes.
    pub max_body: u64,
    /// What share of the pool's requests may be retries.
    pub budget: BudgetSettings,
    non_idempotent: bool,
    backoff: BackoffSettings,
    on: Box<[RetryOn]>,
}

impl Retries {
    /// No retries at all.
    #[must_use]
    pub fn none() -> Self {
        Self {
            attempts: 0,
            per_try_timeout: None,
            max_body: 0,
            budget: BudgetSettings::default(),
            non_idempotent: false,
            backoff: BackoffSettings::default(),
            on: Box::default(),
        }
    }

    /// Compiles a route's retries.
    ///
    /// # Errors
    ///
    /// All settings that make no sense, with paths relative to `retries`.
    pub fn compile(settings: &RetrySettings) -> Result<Self, Vec<SettingsError>> {
        let errors = settings::check(settings);
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            attempts: settings.attempts,
            per_try_timeout: settings.per_try_timeout.map(|span| span.0),
            max_body: settings.max_body.0,
            budget: settings.budget,
            non_idempotent: settings.non_idempotent,
            backoff: settings.backoff,
            on: settings.on.clone().into(),
        })
    }

    /// Whether an answer with this status counts as a failed try.
    #[must_use]
    pub fn retries_status(&self, status: u16) -> bool {
        self.attempts > 0
            && self.on.iter().any(|on| match on {
                RetryOn::GatewayError => (502..=504).contains(&status),
                RetryOn::ServerError => (500..=599).contains(&status),
                RetryOn::Status(listed) => *listed == status,
                RetryOn::ConnectFailure | RetryOn::PerTryTimeout | RetryOn::Reset => false,
            })
    }

    /// Whether a request that failed for `cause` may be sent again. `repeatable` says what
    /// [`Self::repeatable`] said of the request.
    ///
    /// A stale connection is not the endpoint's failure and needs no leave in the settings, but as
    /// nobody knows whether the request arrived, it has to be repeatable.
    #[must_use]
    pub fn allows(&self, cause: Cause, repeatable: bool) -> bool {
        let on = |wanted: RetryOn| self.on.contains(&wanted);
        let wanted = match cause {
            Cause::ConnectFailure => on(RetryOn::ConnectFailure),
            Cause::BadResponse => on(RetryOn::GatewayError) || on(RetryOn::ServerError),
            Cause::Reset => on(RetryOn::Reset),
            Cause::Refused | Cause::StaleConnection => true,
            Cause::Status(status) => self.retries_status(status),
            Cause::Timeout => on(RetryOn::PerTryTimeout),
        };
        wanted && (repeatable || cause.is_harmless())
    }

    /// Whether a request may reach two endpoints without harm: its method is idempotent (RFC 9110
    /// §9.2.2), it carries an `Idempotency-Key`, or the route says so.
    #[must_use]
    pub fn repeatable(&self, method: &Method, has_key: bool) -> bool {
        method.is_idempotent() || has_key || self.non_idempotent
    }

    /// How long to wait before the `number`th retry (from 0): a random time up to `base`, doubled
    /// with each retry, up to `max`. A connection that could not be made or was stale is made up
    /// for at once: no endpoint worked on the request.
    #[must_use]
    pub fn delay(&self, number: u8, cause: Cause, random: u64) -> Duration {
        if matches!(cause, Cause::ConnectFailure | Cause::StaleConnection | Cause::Refused) {
            return Duration::ZERO;
        }
        let ceiling = self.backoff.base.0.saturating_mul(1 << number.min(16));
        let ceiling = ceiling.min(self.backoff.max.0);
        ceiling.mul_f64(unit(random))
    }

    /// The longest pause before a retry.
    #[must_use]
    pub fn longest_pause(&self) -> Duration {
        self.backoff.max.0
    }
}

impl Default for Retries {
    fn default() -> Self {
        Self::compile(&RetrySettings::default()).unwrap_or_else(|_never| Self::none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retries(json: &str) -> Retries {
        Retries::compile(&serde_json::from_str(json).unwrap()).unwrap()
    }

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Again {
        /// Whatever the request.
        Always,
        /// If it is repeatable.
        Safe,
        Never,
    }

    #[track_caller]
    fn check(json: &str, cause: Cause, expected: Again) {
        let retries = retries(json);
        let found = match [true, false].map(|repeatable| retries.allows(cause, repeatable)) {
            [true, true] => Again::Always,
            [true, false] => Again::Safe,
            [false, _] => Again::Never,
        };
        assert_eq!(found, expected, "{json} {cause:?}");
    }

    #[test]
    fn by_default_only_what_certainly_failed_is_tried_again() {
        check("{}", Cause::ConnectFailure, Again::Always);
        check("{}", Cause::Refused, Again::Always);
        check("{}", Cause::Reset, Again::Safe);
        check("{}", Cause::StaleConnection, Again::Safe);
        check("{}", Cause::Timeout, Again::Safe);
        check("{}", Cause::Status(503), Again::Never);
        check("{}", Cause::BadResponse, Again::Never);
    }

    #[test]
    fn answers_are_tried_again_where_the_route_says_so() {
        let gateway = r#"{"on":["gateway_error",429]}"#;
        check(gateway, Cause::Status(500), Again::Never);
        for status in [502, 503, 504, 429] {
            check(gateway, Cause::Status(status), Again::Safe);
        }
        check(gateway, Cause::BadResponse, Again::Safe);
        check(gateway, Cause::ConnectFailure, Again::Never);
        check(r#"{"on":["5xx"]}"#, Cause::Status(599), Again::Safe);
        check(r#"{"on":["5xx"],"attempts":0}"#, Cause::Status(500), Again::Never);
    }

    #[test]
    fn methods_keys_and_routes_make_a_request_repeatable() {
        let (plain, bold) = (retries("{}"), retries(r#"{"non_idempotent":true}"#));
        assert!(plain.repeatable(&Method::GET, false));
        assert!(plain.repeatable(&Method::PUT, false));
        assert!(!plain.repeatable(&Method::POST, false));
        assert!(!plain.repeatable(&Method::PATCH, false));
        assert!(plain.repeatable(&Method::POST, true));
        assert!(bold.repeatable(&Method::POST, false));
    }

    #[test]
    fn the_back_off_is_random_and_grows_up_to_its_maximum() {
        let retries = retries(r#"{"backoff":{"base":"100ms","max":"250ms"}}"#);
        let longest = |number| retries.delay(number, Cause::Reset, u64::MAX).as_millis();
        assert_eq!([longest(0), longest(1), longest(2), longest(9)], [100, 200, 250, 250]);
        assert_eq!(retries.delay(1, Cause::Reset, 0), Duration::ZERO);
        assert_eq!(retries.delay(1, Cause::Reset, 1 << 63), Duration::from_millis(100));
        assert_eq!(retries.delay(1, Cause::ConnectFailure, u64::MAX), Duration::ZERO);
    }
}
