//! How many different values somebody showed: exact for a few of them, which slide out of the
//! window one by one; beyond that a bitmap (linear counting), of which there is one for each half
//! of the window.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::leaky::TooMany;
use super::table::Slot;

/// What a rule allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Distinct {
    /// How many are still fine.
    pub(super) more_than: usize,
    /// Within which time, in nanoseconds.
    pub(super) within: u64,
}

/// As many values as are counted exactly.
const EXACT: usize = 32;

/// The values of one key.
#[derive(Debug)]
pub(super) struct Values {
    key: u64,
    since: u64,
    last: u64,
    count: u64,
    within: u64,
    few: Vec<Value>,
    many: Option<Box<Bitmap>>,
}

/// A value's hash, and when it was last seen, in 2^24 ns (17 ms): for two years.
#[derive(Clone, Copy, Debug)]
struct Value {
    hash: u32,
    seen: u32,
}

const TICK: u32 = 24;

fn ticks(nanos: u64) -> u32 {
    u32::try_from(nanos >> TICK).unwrap_or(u32::MAX)
}

impl Values {
    pub(super) fn new(key: u64, now: u64, distinct: Distinct) -> Self {
        let within = distinct.within;
        Self { key, since: now, last: now, count: 0, within, few: Vec::new(), many: None }
    }

    /// Adds a value; too many are forgotten after that.
    pub(super) fn add(
        &mut self,
        value: u64,
        distinct: Distinct,
        now: u64,
        room: &Arc<Room>,
    ) -> Option<TooMany> {
        if now.saturating_sub(self.last) > distinct.within {
            *self = Self::new(self.key, now, distinct);
        }
        self.last = now;
        self.count += 1;
        let hash = u32::try_from(value >> 32).unwrap_or(0);
        let different = match &mut self.many {
            Some(bitmap) => bitmap.add(hash, now),
            None => self.add_exact(hash, distinct, now, room),
        };
        if different <= distinct.more_than {
            return None;
        }
        let too_many = TooMany { count: self.count, since: self.since };
        *self = Self::new(self.key, now, distinct);
        Some(too_many)
    }

    fn add_exact(&mut self, hash: u32, distinct: Distinct, now: u64, room: &Arc<Room>) -> usize {
        let (now_ticks, window) = (ticks(now), ticks(distinct.within).max(1));
        match self.few.iter_mut().find(|value| value.hash == hash) {
            Some(value) => value.seen = now_ticks,
            None => {
                self.few.retain(|value| now_ticks.saturating_sub(value.seen) <= window);
                if self.few.len() < EXACT.max(distinct.more_than.min(EXACT) + 1) {
                    self.few.push(Value { hash, seen: now_ticks });
                } else if let Some(mut bitmap) = Bitmap::new(distinct, room) {
                    let mut few = std::mem::take(&mut self.few);
                    few.sort_by_key(|value| value.seen);
                    for value in few {
                        bitmap.add(value.hash, u64::from(value.seen) << TICK);
                    }
                    let different = bitmap.add(hash, now);
                    self.many = Some(Box::new(bitmap));
                    return different;
                }
            }
        }
        self.few.len()
    }

    fn different(&self) -> usize {
        self.many.as_ref().map_or(self.few.len(), |bitmap| bitmap.estimate())
    }
}

impl Slot for Values {
    fn key(&self) -> u64 {
        self.key
    }

    fn weight(&self, now: u64) -> u64 {
        if now.saturating_sub(self.last) > self.within {
            return 0;
        }
        u64::try_from(self.different()).unwrap_or(u64::MAX).max(1)
    }

    fn held(&self) -> usize {
        let many = self.many.as_ref().map_or(0, |bitmap| bitmap.bytes + size_of::<Bitmap>());
        many + self.few.capacity() * size_of::<Value>()
    }
}

/// The bytes that the bitmaps of a rule may have together. Who finds no room is not counted beyond
/// the exact values.
#[derive(Debug)]
pub(super) struct Room {
    left: AtomicUsize,
}

impl Room {
    pub(super) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(bytes) })
    }

    fn take(&self, bytes: usize) -> bool {
        let take = |left: usize| left.checked_sub(bytes);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

/// Two bitmaps, of this half of the window and of the one before.
#[derive(Debug)]
struct Bitmap {
    room: Arc<Room>,
    bytes: usize,
    half: u64,
    began: u64,
    now: Box<[u64]>,
    before: Box<[u64]>,
    /// Bits that are set in either of them.
    set: u32,
}

impl Bitmap {
    /// Four bits for each value that is fine, so that the estimate is mostly within 5 %.
    fn new(distinct: Distinct, room: &Arc<Room>) -> Option<Self> {
        let words = (4 * distinct.more_than).next_power_of_two().clamp(256, 65_536) / 64;
        let bytes = 2 * words * size_of::<u64>();
        let empty = || vec![0; words].into_boxed_slice();
        room.take(bytes).then(|| Self {
            room: Arc::clone(room),
            bytes,
            half: (distinct.within / 2).max(1),
            began: 0,
            now: empty(),
            before: empty(),
            set: 0,
        })
    }

    fn add(&mut self, hash: u32, now: u64) -> usize {
        self.turn(now);
        let bits = self.now.len() * 64;
        let bit = usize::try_from(hash).unwrap_or(0) % bits;
        let mask = 1 << (bit % 64);
        if let (Some(word), Some(before)) = (self.now.get_mut(bit / 64), self.before.get(bit / 64))
        {
            self.set += u32::from((*word | before) & mask == 0);
            *word |= mask;
        }
        self.estimate()
    }

    /// Forgets what is older than the window.
    fn turn(&mut self, now: u64) {
        let halves = now.saturating_sub(self.began) / self.half;
        if halves == 0 {
            return;
        }
        std::mem::swap(&mut self.now, &mut self.before);
        self.now.fill(0);
        if halves > 1 {
            self.before.fill(0);
        }
        self.began = now;
        self.set = self.before.iter().map(|word| word.count_ones()).sum();
    }

    /// Linear counting (Whang, Vander-Zanden and Taylor, 1990).
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate that is neither negative nor larger than ten times the bits"
    )]
    fn estimate(&self) -> usize {
        let bits = f64::from(u32::try_from(self.now.len() * 64).unwrap_or(u32::MAX));
        let clear = (bits - f64::from(self.set)).max(0.5);
        (bits * (bits / clear).ln()).round() as usize
    }
}

impl Drop for Bitmap {
    fn drop(&mut self) {
        self.room.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::hash::Secret;
    use super::*;

    const MINUTE: u64 = 60_000_000_000;

    fn hash(n: usize) -> u64 {
        Secret::new(3).hash(0, &n)
    }

    /// After how many different values, each shown twice, it is too many.
    fn runs_over_at(more_than: usize, room: usize) -> Option<usize> {
        let distinct = Distinct { more_than, within: MINUTE };
        let (mut values, room) = (Values::new(1, 0, distinct), Room::new(room));
        (1..=2 * more_than)
            .find(|n| (0..2).any(|_| values.add(hash(*n), distinct, 1_000, &room).is_some()))
    }

    #[test]
    fn few_are_counted_exactly_and_many_closely() {
        for more_than in [1, 2, 10, 31, 32] {
            assert_eq!(runs_over_at(more_than, 0), Some(more_than + 1));
        }
        for more_than in [50, 100, 1_000, 10_000] {
            let at = runs_over_at(more_than, 1 << 20).unwrap();
            let off = at.abs_diff(more_than) * 100 / more_than;
            assert!(off <= 10, "{at} instead of {more_than}");
        }
    }

    #[test]
    fn without_room_nobody_is_accused() {
        assert_eq!(runs_over_at(100, 0), None);
        let distinct = Distinct { more_than: 100, within: MINUTE };
        let room = Room::new(4_096);
        for _ in 0..100 {
            let mut values = Values::new(1, 0, distinct);
            (0..90).for_each(|n| assert!(values.add(hash(n), distinct, 0, &room).is_none()));
        }
        assert_eq!(room.left.load(Ordering::Relaxed), 4_096);
    }

    #[test]
    fn old_values_slide_out_of_the_window() {
        for more_than in [10, 100] {
            let distinct = Distinct { more_than, within: MINUTE };
            let (mut values, room) = (Values::new(1, 0, distinct), Room::new(1 << 20));
            for n in 0..1_000_u32 {
                let at = u64::from(n) * MINUTE * 10 / (8 * u64::try_from(more_than).unwrap());
                let hash = hash(usize::try_from(n).unwrap());
                assert!(values.add(hash, distinct, at, &room).is_none(), "{more_than}: {n}");
            }
        }
    }
}
