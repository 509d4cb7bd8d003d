//! The `RateLimit` and `RateLimit-Policy` response fields, after the IETF draft "RateLimit header
//! fields for HTTP" (draft-ietf-httpapi-ratelimit-headers-10): `"name";q=100;w=60` is the policy,
//! `"name";r=50;t=30` what is left of it. `q` is the size of the bucket, `w` the seconds that an
//! empty one takes to fill, `r` the requests it allows now, `t` the seconds until it is full.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tidegate_core::SettingsError;

use super::Decision;

/// `RateLimit`: what is left.
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// `RateLimit-Policy`: what is allowed.
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

impl Decision<'_> {
    /// The values of `RateLimit` and of `RateLimit-Policy`.
    #[must_use]
    pub fn headers(&self) -> (HeaderValue, HeaderValue) {
        let reset = whole_seconds(self.reset_after);
        let text = format!("\"{}\";r={};t={reset}", self.name, self.remaining);
        // The name was fit for a field when the limit was compiled.
        let left = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
        (left, self.policy.clone())
    }

    /// Adds both fields; several limits make a list (RFC 9651 §3.1). A limit in dry-run adds
    /// nothing: clients must not obey it yet.
    pub fn append_headers(&self, headers: &mut HeaderMap) {
        if !self.dry_run {
            let (left, policy) = self.headers();
            headers.append(RATE_LIMIT, left);
            headers.append(RATE_LIMIT_POLICY, policy);
        }
    }
}

/// The value of `RateLimit-Policy`.
pub(super) fn policy(
    name: &str,
    burst: u32,
    window: Duration,
) -> Result<HeaderValue, SettingsError> {
    HeaderValue::try_from(format!("\"{name}\";q={burst};w={}", whole_seconds(window)))
        .map_err(|error| SettingsError::new(["name"], format!("cannot stand in a field: {error}")))
}

/// Rounded up: a client that waits that long is not early.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
