//! Hedging: when a request to an endpoint takes longer than most do, the same request goes to
//! another one, and the first good answer wins. The sending itself is `proxy`'s.

mod latencies;
mod settings;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use tidegate_core::SettingsError;

pub use self::latencies::Latencies;
pub use self::settings::HedgeSettings;

/// How the requests of one route are hedged, with what it learnt about them.
#[derive(Clone, Debug)]
pub struct Hedge {
    percentile: u8,
    min_delay: Duration,
    max_delay: Duration,
    latencies: Arc<Latencies>,
}

impl Hedge {
    /// Compiles a route's hedging; `previous`, the route's before a reload, hands over what it
    /// learnt.
    ///
    /// # Errors
    ///
    /// All settings that make no sense, with paths relative to `hedge`.
    pub fn compile(
        settings: &HedgeSettings,
        previous: Option<&Self>,
        now: Instant,
    ) -> Result<Self, Vec<SettingsError>> {
        let errors = settings::check(settings);
        if !errors.is_empty() {
            return Err(errors);
        }
        let latencies = match previous {
            Some(previous) => Arc::clone(&previous.latencies),
            None => Arc::new(Latencies::new(now)),
        };
        Ok(Self {
            percentile: settings.percentile,
            min_delay: settings.min_delay.0,
            max_delay: settings.max_delay.0,
            latencies,
        })
    }

    /// Whether a request may be sent twice at the same time: GET and HEAD, which are safe (RFC 9110
    /// §9.2.1).
    #[must_use]
    pub fn takes(&self, method: &Method) -> bool {
        matches!(*method, Method::GET | Method::HEAD)
    }

    /// How long the first endpoint is waited for: the percentile of what was seen lately, within
    /// the bounds; the upper bound while too little was seen.
    #[must_use]
    pub fn delay(&self, now: Instant) -> Duration {
        let usual = self.latencies.quantile(self.percentile, now);
        usual.map_or(self.max_delay, |usual| usual.clamp(self.min_delay, self.max_delay))
    }

    /// Takes the time that an endpoint took until its response head.
    pub fn record(&self, latency: Duration, now: Instant) {
        self.latencies.record(latency, now);
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::Clock;

    use super::*;

    fn hedge(json: &str, now: Instant) -> Hedge {
        Hedge::compile(&serde_json::from_str(json).unwrap(), None, now).unwrap()
    }

    #[test]
    fn the_delay_follows_the_percentile_within_its_bounds() {
        let now = Clock::System.now();
        let json = r#"{"percentile":95,"min_delay":"5ms","max_delay":"200ms"}"#;
        let millis = Duration::from_millis;
        let check = |usual: Duration, slow: Duration, expected: Duration| {
            let hedge = hedge(json, now);
            for number in 0..1_000 {
                hedge.record(if number % 10 == 0 { slow } else { usual }, now);
            }
            let found = hedge.delay(now).as_secs_f64();
            let ratio = found / expected.as_secs_f64();
            assert!((0.87..=1.14).contains(&ratio), "{found} instead of {expected:?}");
        };
        check(millis(10), millis(80), millis(80));
        check(millis(1), millis(2), millis(5));
        check(millis(50), millis(900), millis(200));
        assert_eq!(hedge(json, now).delay(now), millis(200), "nothing was seen");
    }

    #[test]
    fn a_reload_keeps_what_was_learnt() {
        let now = Clock::System.now();
        let old = hedge("{}", now);
        for _ in 0..100 {
            old.record(Duration::from_millis(20), now);
        }
        let settings = serde_json::from_str(r#"{"percentile":90}"#).unwrap();
        let new = Hedge::compile(&settings, Some(&old), now).unwrap();
        assert!(new.delay(now) < Duration::from_millis(25));
    }

    #[test]
    fn only_safe_methods_are_hedged() {
        let hedge = hedge("{}", Clock::System.now());
        assert!(hedge.takes(&Method::GET) && hedge.takes(&Method::HEAD));
        assert!(!hedge.takes(&Method::POST) && !hedge.takes(&Method::PUT));
    }
}
