//! The last recorded trace of each bucket of a histogram, to get from a latency to a request that
//! had it.

use std::sync::OnceLock;
use std::time::SystemTime;

use parking_lot::Mutex;
use tidegate_core::Event;

/// One request that a bucket counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exemplar {
    trace_id: [u8; 32],
    /// What was counted, in seconds.
    pub(super) value: f64,
    /// When the request began.
    pub(super) at: SystemTime,
}

impl Exemplar {
    pub(super) fn trace_id(&self) -> &str {
        std::str::from_utf8(&self.trace_id).unwrap_or_default()
    }
}

/// The exemplars of one histogram; nothing is allocated before there is one.
#[derive(Debug)]
pub(super) struct Exemplars {
    bounds: &'static [f64],
    slots: OnceLock<Box<[Mutex<Option<Exemplar>>]>>,
}

impl Exemplars {
    /// For a histogram with these bounds.
    pub(super) const fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, slots: OnceLock::new() }
    }

    /// Keeps the event's trace for the bucket that counts `value`, if the trace is recorded.
    /// Whoever finds the place taken leaves it: somebody else's trace is as good.
    pub(super) fn keep(&self, event: &Event<'_>, value: f64) {
        let id = event.trace_id.filter(|_| event.sampled);
        let Some(trace_id) = id.and_then(|id| id.as_bytes().try_into().ok()) else { return };
        let slots = self.slots.get_or_init(|| {
            let empty = |_| Mutex::new(None);
            (0..=self.bounds.len()).map(empty).collect()
        });
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(mut slot) = slots.get(bucket).and_then(Mutex::try_lock) {
            *slot = Some(Exemplar { trace_id, value, at: event.time + event.duration });
        }
    }

    /// By bucket, the one without a bound last.
    pub(super) fn all(&self) -> Vec<Option<Exemplar>> {
        let slots = self.slots.get().map(|slots| &**slots).unwrap_or_default();
        slots.iter().map(|slot| *slot.lock()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::event;

    #[test]
    fn a_bucket_keeps_the_last_recorded_trace_that_it_counted() {
        let exemplars = Exemplars::new(&[0.1, 1.0]);
        let id = |digit: char| digit.to_string().repeat(32);
        let (a, b, c) = (id('a'), id('b'), id('c'));
        let keep = |id: &str, sampled, value| {
            exemplars.keep(&Event { trace_id: Some(id), sampled, ..event() }, value);
        };
        keep(&a, false, 0.05);
        assert!(exemplars.all().is_empty(), "nothing is allocated for what is not recorded");
        keep(&a, true, 0.1);
        keep(&b, true, 0.05);
        keep(&c, true, 7.0);
        keep("short", true, 0.5);
        let kept: Vec<_> = exemplars
            .all()
            .iter()
            .map(|kept| kept.map(|kept| (kept.trace_id().to_owned(), kept.value)))
            .collect();
        assert_eq!(kept, [Some((b, 0.05)), None, Some((c, 7.0))]);
    }
}
