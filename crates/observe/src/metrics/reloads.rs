//! Loads of the configuration: whether they succeed, and when.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::family::{Count, Families, as_float};

/// Loads of the configuration.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    succeeded: Count,
    failed: Count,
    /// In seconds since 1970; 0 before the first.
    last: AtomicU64,
    last_success: AtomicU64,
    /// 1 if the last one succeeded.
    last_succeeded: AtomicU64,
}

impl Reloads {
    pub(super) fn record(&self, succeeded: bool, at: SystemTime) {
        let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.last.store(seconds, Ordering::Relaxed);
        self.last_succeeded.store(u64::from(succeeded), Ordering::Relaxed);
        if succeeded {
            self.last_success.store(seconds, Ordering::Relaxed);
            self.succeeded.add(1);
        } else {
            self.failed.add(1);
        }
    }

    pub(super) fn show(&self, families: &mut Families) {
        let (name, help) =
            ("tidegate_config_reloads_total", "Loads of the configuration by result.");
        families.counters(name, help, |family| {
            family.counter(&[("result", "failure")], self.failed.value());
            family.counter(&[("result", "success")], self.succeeded.value());
        });
        let gauges = [
            (
                "tidegate_config_last_reload_success",
                "Whether the last load of the configuration succeeded (1) or the one before is kept (0).",
                &self.last_succeeded,
            ),
            (
                "tidegate_config_last_reload_timestamp_seconds",
                "When the configuration was last loaded or refused, in seconds since 1970.",
                &self.last,
            ),
            (
                "tidegate_config_applied_timestamp_seconds",
                "When the running configuration was loaded, in seconds since 1970.",
                &self.last_success,
            ),
        ];
        for (name, help, value) in gauges {
            families.gauge(name, help, as_float(value.load(Ordering::Relaxed)));
        }
    }
}
