//! The state machine of one endpoint's health: rise and fall.

use std::time::Instant;

/// What one check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Refused, timed out, or answered otherwise than expected.
    Failed,
    /// Answered as expected.
    Passed,
}

/// How many outcomes in a row turn the state; 0 counts as 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Passed checks that bring an endpoint back.
    pub rise: u32,
    /// Failed checks that take an endpoint out.
    pub fall: u32,
}

/// The state turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Into this state.
    pub healthy: bool,
}

/// What the checks of one endpoint found so far.
///
/// An endpoint starts as healthy, so that a start or a new pod in DNS serves at once, and its very
/// first check decides alone, so that a dead one is not sent `fall` intervals of requests. From
/// then on `rise` and `fall` count.
#[derive(Clone, Debug)]
pub struct Tracker {
    healthy: bool,
    checked: bool,
    against: u32,
    since: Option<Instant>,
    last: Option<(Outcome, Instant)>,
}

impl Tracker {
    /// Nothing is known yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { healthy: true, checked: false, against: 0, since: None, last: None }
    }

    /// Takes the outcome of one check; says whether it turned the state.
    pub fn observe(
        &mut self,
        outcome: Outcome,
        thresholds: Thresholds,
        now: Instant,
    ) -> Option<Transition> {
        let first = !self.checked;
        self.checked = true;
        self.last = Some((outcome, now));
        if (outcome == Outcome::Passed) == self.healthy {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        let needed = if self.healthy { thresholds.fall } else { thresholds.rise };
        if self.against < needed && !first {
            return None;
        }
        self.healthy = !self.healthy;
        self.against = 0;
        self.since = Some(now);
        Some(Transition { healthy: self.healthy })
    }

    /// Whether the endpoint counts as healthy.
    #[must_use]
    pub const fn is_healthy(&self) -> bool {
        self.healthy
    }

    /// The last check's outcome and when it came; `None` before the first.
    #[must_use]
    pub const fn last(&self) -> Option<(Outcome, Instant)> {
        self.last
    }

    /// When the state turned last; `None` if it never did.
    #[must_use]
    pub const fn since(&self) -> Option<Instant> {
        self.since
    }
}

impl Default for Tracker {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::Clock;

    use super::*;

    /// Feeds `+` and `-` and writes the state after each.
    #[track_caller]
    fn check(thresholds: (u32, u32), outcomes: &str, states: &str) {
        let thresholds = Thresholds { rise: thresholds.0, fall: thresholds.1 };
        let now = Clock::System.now();
        let mut tracker = Tracker::new();
        let mut before = true;
        let found: String = outcomes
            .chars()
            .map(|c| {
                let outcome = if c == '+' { Outcome::Passed } else { Outcome::Failed };
                let transition = tracker.observe(outcome, thresholds, now);
                assert_eq!(transition.is_some(), before != tracker.is_healthy());
                before = tracker.is_healthy();
                if before { 'U' } else { 'D' }
            })
            .collect();
        assert_eq!(found, states, "{outcomes}");
    }

    #[test]
    fn the_first_check_decides_alone() {
        check((2, 3), "-", "D");
        check((2, 3), "+", "U");
        check((2, 3), "-++", "DDU");
    }

    #[test]
    fn the_state_turns_after_rise_or_fall_in_a_row() {
        check((2, 3), "+---", "UUUD");
        check((2, 3), "+--+--+---", "UUUUUUUUUD");
        check((2, 3), "+---+-++", "UUUDDDDU");
        check((1, 1), "+-+-", "UDUD");
        check((0, 0), "+-+-", "UDUD");
    }
}
