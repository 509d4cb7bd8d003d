//! Removing the oldest records: the minimum is written first, then bundles and tiles wholly below
//! it go. What is left proves every record from the minimum on, in every tree not smaller than
//! it: a proof for such a record has no node inside a tile that ends at the minimum or before.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::{Duration, Instant, SystemTime};

use tidegate_core::Clock;

use super::disk::Disk;
use super::fault::Fault;
use super::options::Retention;
use super::staging;
use super::tiler::{Layout, gone};
use crate::hash::Hash;
use crate::tile::{Kind, MAX_LEVEL, TILE_WIDTH, Tile, decimal};

/// How often limits are compared with what is there.
const EVERY: Duration = Duration::from_secs(60);

/// What is there, and what may stay.
#[derive(Debug)]
pub(crate) struct Pruning {
    limits: Retention,
    minimum: u64,
    /// Full bundles from the minimum on: bytes with their hashes, and when they were written.
    bundles: VecDeque<(u64, SystemTime)>,
    bytes: u64,
    next: Option<Instant>,
}

impl Pruning {
    /// Reads the minimum, removes what a crash left below it, and looks at the bundles of a tree
    /// of `size`, when there are limits to compare them with.
    pub(crate) fn load(
        disk: &dyn Disk,
        layout: &Layout,
        limits: Retention,
        size: u64,
    ) -> Result<Self, Fault> {
        let minimum = read_minimum(disk, layout)?;
        let mut pruning = Self { limits, minimum, bundles: VecDeque::new(), bytes: 0, next: None };
        if minimum > 0 {
            remove_downwards(disk, layout, minimum)?;
        }
        for index in minimum / TILE_WIDTH..size / TILE_WIDTH {
            if pruning.is_limited() {
                let path = layout.tile(&Tile { kind: Kind::Entries, index, width: 256 });
                let facts = disk.facts(&path);
                let (bytes, written) = facts.map_err(|e| Fault::of("look at", &path, &e))?;
                pruning.add(bytes, written);
            }
        }
        Ok(pruning)
    }

    /// Records with a lower index were removed.
    pub(crate) const fn minimum(&self) -> u64 {
        self.minimum
    }

    /// Notes a full bundle; one that was noted before is not noted again.
    pub(crate) fn written(&mut self, index: u64, bytes: usize, at: SystemTime) {
        let known = self.minimum / TILE_WIDTH + u64::try_from(self.bundles.len()).unwrap_or(0);
        if self.is_limited() && index >= known {
            self.add(u64::try_from(bytes).unwrap_or(u64::MAX), at);
        }
    }

    /// Whether limits are to be compared again.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let due = self.is_limited() && self.next.is_none_or(|next| now >= next);
        if due {
            self.next = Some(now + EVERY);
        }
        due
    }

    /// Removes what is beyond the limits and covered by a checkpoint of `signed` records; gives
    /// the new minimum.
    pub(crate) fn prune(
        &mut self,
        disk: &dyn Disk,
        layout: &Layout,
        signed: u64,
        clock: &Clock,
    ) -> Result<Option<u64>, Fault> {
        let before = self.minimum;
        let mut minimum = before;
        let now = clock.wall();
        while let Some(&(bytes, written)) = self.bundles.front() {
            let old = self
                .limits
                .max_age
                .is_some_and(|limit| now.duration_since(written).is_ok_and(|age| age > limit));
            let much = self.limits.max_size.is_some_and(|limit| self.bytes > limit);
            // The bundle with the last records stays, so that there is always a tree to show.
            if !(old || much) || minimum + TILE_WIDTH >= signed {
                break;
            }
            self.bundles.pop_front();
            self.bytes -= bytes;
            minimum += TILE_WIDTH;
        }
        if minimum == before {
            return Ok(None);
        }
        let text = format!("{minimum}\n");
        let temporary = layout.tmp().join("minimum");
        staging::replace(disk, &temporary, &layout.minimum(), text.as_bytes())?;
        self.minimum = minimum;
        remove_upwards(disk, layout, before, minimum)?;
        Ok(Some(minimum))
    }

    const fn is_limited(&self) -> bool {
        self.limits.max_age.is_some() || self.limits.max_size.is_some()
    }

    fn add(&mut self, bytes: u64, written: SystemTime) {
        // With the tile of the leaves' hashes; those above it are hardly anything.
        let hashes = TILE_WIDTH * u64::try_from(Hash::LEN).unwrap_or(0);
        let bytes = bytes.saturating_add(hashes);
        self.bytes = self.bytes.saturating_add(bytes);
        self.bundles.push_back((bytes, written));
    }
}

fn read_minimum(disk: &dyn Disk, layout: &Layout) -> Result<u64, Fault> {
    let path = layout.minimum();
    let bytes = match disk.read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(Fault::of("read", &path, &error)),
    };
    let text = std::str::from_utf8(&bytes).ok().and_then(|text| text.strip_suffix('\n'));
    let minimum = text.and_then(decimal).filter(|minimum| minimum.is_multiple_of(TILE_WIDTH));
    minimum.ok_or_else(|| Fault::Broken(format!("{} has no minimum index", path.display())))
}

/// Each kind of tile, with the index of the first that stays when the log begins at `minimum`.
fn kept_from(minimum: u64) -> impl Iterator<Item = (Kind, u64)> {
    let levels = (0..=MAX_LEVEL).map(move |level| {
        let below = TILE_WIDTH.saturating_pow(u32::from(level) + 1);
        (Kind::Hashes(level), minimum / below)
    });
    std::iter::once((Kind::Entries, minimum / TILE_WIDTH)).chain(levels)
}

/// From the oldest on, so that after a crash what is left adjoins the minimum.
fn remove_upwards(disk: &dyn Disk, layout: &Layout, from: u64, to: u64) -> Result<(), Fault> {
    for ((kind, first), (_kind, end)) in kept_from(from).zip(kept_from(to)) {
        for index in first..end {
            let path = layout.tile(&Tile { kind, index, width: 256 });
            gone(&path, disk.remove(&path))?;
        }
    }
    Ok(())
}

fn remove_downwards(disk: &dyn Disk, layout: &Layout, minimum: u64) -> Result<(), Fault> {
    for (kind, end) in kept_from(minimum) {
        for index in (0..end).rev() {
            let path = layout.tile(&Tile { kind, index, width: 256 });
            match disk.remove(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                Err(error) => return Err(Fault::of("remove", &path, &error)),
            }
        }
    }
    Ok(())
}
