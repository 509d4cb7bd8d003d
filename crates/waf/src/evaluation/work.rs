//! What an inspection costs, counted in steps of about a nanosecond, against a budget.

pub(crate) const PER_VALUE: u64 = 300;
/// Per form that a plan asks for.
pub(crate) const PER_FORM: u64 = 20;
pub(crate) const PER_CANDIDATE: u64 = 50;
pub(crate) const PER_SEARCHED_BYTE: u64 = 4;
pub(crate) const PER_TRANSFORMED_BYTE: u64 = 4;
pub(crate) const PER_MATCHED_BYTE: u64 = 6;
pub(crate) const PER_QUESTION: u64 = 50;
pub(crate) const PER_COPIED_BYTE: u64 = 1;

/// What was done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    done: u64,
    budget: u64,
}

impl Work {
    pub(crate) fn new(budget: u64) -> Self {
        Self { done: 0, budget }
    }

    pub(crate) fn done(self) -> u64 {
        self.done
    }

    pub(crate) fn exhausted(self) -> bool {
        self.done > self.budget
    }

    /// Raises the budget.
    pub(crate) fn grant(&mut self, more: u64) {
        self.budget = self.budget.max(self.done).saturating_add(more);
    }

    pub(crate) fn charge(&mut self, bytes: usize, steps: u64) {
        self.done = self.done.saturating_add((bytes as u64).saturating_mul(steps));
    }
}
