//! How many retries a pool may run at the same time: a share of what runs on it anyway, so that
//! retries cannot turn a partial outage into a whole one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::BudgetSettings;

/// The retries that run on one pool. Lock-free, and shared by all snapshots that have the pool.
#[derive(Debug, Default)]
pub struct RetryBudget {
    running: AtomicU32,
    refused: AtomicU64,
}

impl RetryBudget {
    /// Takes leave for one more retry, while `active` requests run on the pool or wait for it, the
    /// asking one included. `None` if as many as the settings allow run already.
    #[must_use]
    pub fn take(self: &Arc<Self>, active: u32, settings: BudgetSettings) -> Option<RetryPermit> {
        let limit = limit(active, settings);
        let more = |running: u32| (running < limit).then(|| running + 1);
        match self.running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_before) => Some(RetryPermit { budget: Arc::clone(self) }),
            Err(_full) => None,
        }
    }

    /// Counts a retry that is not made for want of budget.
    pub fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Retries that run now.
    #[must_use]
    pub fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    /// Retries that were not made for want of budget.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

fn limit(active: u32, settings: BudgetSettings) -> u32 {
    let share = u64::from(active) * u64::from(settings.percent.basis_points()) / 10_000;
    u32::try_from(share).unwrap_or(u32::MAX).max(settings.min)
}

/// The leave for one retry, which counts as running until this is dropped.
#[derive(Debug)]
pub struct RetryPermit {
    budget: Arc<RetryBudget>,
}

impl Drop for RetryPermit {
    fn drop(&mut self) {
        self.budget.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes as many as there are, and says how many.
    #[track_caller]
    fn check(active: u32, expected: usize) {
        let budget = Arc::new(RetryBudget::default());
        let take = || budget.take(active, BudgetSettings::default());
        let taken: Vec<_> = std::iter::from_fn(take).take(10_000).collect();
        assert_eq!(taken.len(), expected);
        assert_eq!(budget.running() as usize, expected);
        drop(taken);
        assert_eq!(budget.running(), 0);
        assert!(budget.take(active, BudgetSettings::default()).is_some());
    }

    #[test]
    fn a_fifth_of_the_requests_may_be_retries_and_at_least_three() {
        check(0, 3);
        check(1, 3);
        check(15, 3);
        check(20, 4);
        check(1_000, 200);
    }

    #[test]
    fn threads_cannot_take_more_than_there_is() {
        let budget = Arc::new(RetryBudget::default());
        let most = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _thread in 0..4 {
                scope.spawn(|| {
                    for _round in 0..10_000 {
                        let permit = budget.take(20, BudgetSettings::default());
                        most.fetch_max(budget.running(), Ordering::Relaxed);
                        drop(permit);
                    }
                });
            }
        });
        assert!(most.into_inner() <= 4);
        assert_eq!(budget.running(), 0);
    }
}
