//! Waiting for a condition instead of sleeping for a guess.

use std::thread;
use std::time::Duration;

use tidegate_core::Clock;

/// How long [`until`] waits before it fails the test; long enough for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Waits until `condition` holds; fails the test after [`PATIENCE`], naming `what`.
#[track_caller]
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    until_within(PATIENCE, what, condition);
}

/// Waits until `condition` holds; fails the test after `limit`, naming `what`.
#[track_caller]
pub fn until_within(limit: Duration, what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_within(limit, condition), "waited {limit:?} in vain for: {what}");
}

/// Whether `condition` comes to hold within `limit`.
pub fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let clock = Clock::System;
    let end = clock.now() + limit;
    loop {
        if condition() {
            return true;
        }
        if clock.now() >= end {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// How long `work` took, beside what it returned.
pub fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let clock = Clock::System;
    let start = clock.now();
    let result = work();
    (clock.now() - start, result)
}
