//! The `retries` of a route.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};
use tidegate_core::SettingsError;
use tidegate_core::units::{ByteSize, Percent, Span};

use super::{MAX_ATTEMPTS, MAX_REPLAY};

/// When a request is tried again, on another endpoint as long as there is one. A policy field; a
/// reload applies it to new requests.
///
/// Nothing is tried again once a byte of a response went to the client, nor after
/// `timeouts.total`. A request of which an endpoint may have seen something is sent again only if
/// its method is idempotent, it carries an `Idempotency-Key`, or `non_idempotent` says so.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RetrySettings {
    /// Further tries after the first; 0 switches retries off. Default: 2.
    #[schemars(range(max = 10))]
    pub attempts: u8,
    /// What is tried again. Default: `[connect_failure, reset, per_try_timeout]`.
    pub on: Vec<RetryOn>,
    /// How long one try may wait for the response head, once the request is sent. Default: as long
    /// as `timeouts.first_byte`, without another try.
    pub per_try_timeout: Option<Span>,
    /// The pause before a retry.
    pub backoff: BackoffSettings,
    /// Repeat requests that are not idempotent, too. Default: false.
    pub non_idempotent: bool,
    /// The longest request body that is kept for another try, at most 64KiB. Default: 64KiB.
    pub max_body: ByteSize,
    /// How many retries may run at the same time.
    pub budget: BudgetSettings,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            attempts: 2,
            on: vec![RetryOn::ConnectFailure, RetryOn::Reset, RetryOn::PerTryTimeout],
            per_try_timeout: None,
            backoff: BackoffSettings::default(),
            non_idempotent: false,
            max_body: ByteSize(MAX_REPLAY),
            budget: BudgetSettings::default(),
        }
    }
}

/// The pause before a retry: a random time up to `base`, doubled with each retry, up to `max`.
/// After a connection that could not be made there is none.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct BackoffSettings {
    /// The longest pause before the first retry. Default: 25ms.
    pub base: Span,
    /// The longest pause at all. Default: 250ms.
    pub max: Span,
}

impl Default for BackoffSettings {
    fn default() -> Self {
        Self { base: Span::millis(25), max: Span::millis(250) }
    }
}

/// How many retries may run on an upstream at the same time, hedges included. One that finds no
/// room waits for it, at most as long as `backoff.max`. What did not reach an endpoint, such as a
/// connection that could not be made, is made up for without.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct BudgetSettings {
    /// The share of the requests that run on the upstream. Default: 20%.
    pub percent: Percent,
    /// That many in any case. Default: 3.
    pub min: u32,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        Self { percent: Percent::new(20), min: 3 }
    }
}

/// A failure that is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryOn {
    /// No connection could be made.
    ConnectFailure,
    /// The connection broke before the response head was complete.
    Reset,
    /// 502, 503, 504, or an answer that is not valid HTTP.
    GatewayError,
    /// Any 5xx, or an answer that is not valid HTTP.
    ServerError,
    /// No response head within `per_try_timeout`.
    PerTryTimeout,
    /// An answer with this status.
    Status(u16),
}

const NAMES: &[&str] = &["connect_failure", "reset", "gateway_error", "5xx", "per_try_timeout"];

impl<'de> Deserialize<'de> for RetryOn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RetryOnVisitor)
    }
}

struct RetryOnVisitor;

impl Visitor<'_> for RetryOnVisitor {
    type Value = RetryOn;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a failure such as reset or gateway_error, or a status such as 429")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<RetryOn, E> {
        match name {
            "connect_failure" => Ok(RetryOn::ConnectFailure),
            "reset" => Ok(RetryOn::Reset),
            "gateway_error" => Ok(RetryOn::GatewayError),
            "5xx" => Ok(RetryOn::ServerError),
            "per_try_timeout" => Ok(RetryOn::PerTryTimeout),
            _ => Err(E::unknown_variant(name, NAMES)),
        }
    }

    fn visit_u64<E: de::Error>(self, status: u64) -> Result<RetryOn, E> {
        match u16::try_from(status) {
            Ok(status @ 400..=599) => Ok(RetryOn::Status(status)),
            _ => Err(E::custom(format_args!(
                "{status} is not the status of an error; write one from 400 to 599"
            ))),
        }
    }

    fn visit_i64<E: de::Error>(self, status: i64) -> Result<RetryOn, E> {
        self.visit_u64(u64::try_from(status).unwrap_or(0))
    }
}

impl JsonSchema for RetryOn {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RetryOn".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "enum": NAMES },
                { "type": "integer", "minimum": 400, "maximum": 599 },
            ],
        })
    }
}

/// What makes no sense in the settings.
pub(super) fn check(settings: &RetrySettings) -> Vec<SettingsError> {
    let mut errors = Vec::new();
    let attempts = settings.attempts;
    if attempts > MAX_ATTEMPTS {
        let message = format!("{attempts} further tries would multiply an outage");
        let error = SettingsError::new(["attempts"], message);
        errors.push(error.with_hint(format!("write at most {MAX_ATTEMPTS}")));
    }
    if settings.max_body.0 > MAX_REPLAY {
        let message = format!("at most {} of a body can be replayed", ByteSize(MAX_REPLAY));
        errors.push(SettingsError::new(["max_body"], message));
    }
    if settings.per_try_timeout.is_some_and(|span| span.0.is_zero()) {
        errors.push(
            SettingsError::new(["per_try_timeout"], "no upstream answers in no time")
                .with_hint("remove the key to get the default"),
        );
    }
    if settings.backoff.max < settings.backoff.base {
        let message = "the longest pause is shorter than the first one";
        errors.push(SettingsError::new(["backoff", "max"], message));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_on(json: &str, expected: Result<RetryOn, &str>) {
        match (serde_json::from_str::<RetryOn>(json), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, expected) => panic!("{json}: {found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn failures_are_names_or_statuses() {
        check_on(r#""reset""#, Ok(RetryOn::Reset));
        check_on(r#""5xx""#, Ok(RetryOn::ServerError));
        check_on("429", Ok(RetryOn::Status(429)));
        check_on("200", Err("200 is not the status of an error"));
        check_on("-1", Err("not the status of an error"));
        check_on(r#""4xx""#, Err("unknown variant `4xx`"));
        check_on("{}", Err("expected a failure such as"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let json = r#"{"attempts":11,"max_body":"1MiB","per_try_timeout":"0s",
                       "backoff":{"base":"1s","max":"10ms"}}"#;
        let errors = check(&serde_json::from_str(json).unwrap());
        let paths: Vec<_> = errors.iter().map(|error| error.path.join(".")).collect();
        assert_eq!(paths, ["attempts", "max_body", "per_try_timeout", "backoff.max"]);
    }
}
