//! The entries of a log one after another, bundle by bundle: for searching and exporting.

use std::ops::Range;

use crate::tile::{Kind, TILE_WIDTH, Tile};
use crate::tiles::{TileError, Tiles, entries};

/// Entries with their indexes. After an error it goes on with the next bundle.
#[expect(missing_debug_implementations, reason = "it holds a reference to any source of tiles")]
pub struct Scan<'a> {
    tiles: &'a dyn Tiles,
    size: u64,
    range: Range<u64>,
    bundle: std::vec::IntoIter<Vec<u8>>,
}

impl<'a> Scan<'a> {
    /// The entries of `range` in a log of `size` entries.
    #[must_use]
    pub fn new(tiles: &'a dyn Tiles, range: Range<u64>, size: u64) -> Self {
        let end = range.end.min(size);
        let range = range.start.min(end)..end;
        Self { tiles, size, range, bundle: Vec::new().into_iter() }
    }

    fn next_bundle(&mut self) -> Result<(), TileError> {
        let index = self.range.start / TILE_WIDTH;
        let Some(tile) = Tile::in_tree(Kind::Entries, index, self.size) else { return Ok(()) };
        match entries(self.tiles, tile) {
            Ok(entries) => self.bundle = entries.into_iter(),
            Err(error) => {
                self.range.start = ((index + 1) * TILE_WIDTH).min(self.range.end);
                return Err(error);
            }
        }
        let skip = usize::try_from(self.range.start % TILE_WIDTH).unwrap_or_default();
        self.bundle.by_ref().take(skip).for_each(drop);
        Ok(())
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<(u64, Vec<u8>), TileError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.range.is_empty() {
            return None;
        }
        if self.bundle.len() == 0
            && let Err(error) = self.next_bundle()
        {
            return Some(Err(error));
        }
        let entry = self.bundle.next()?;
        let index = self.range.start;
        self.range.start += 1;
        Some(Ok((index, entry)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;

    #[track_caller]
    fn check(range: Range<u64>, expected: Range<u64>) {
        let log = Memory::of((0..600_u64).map(|n| n.to_string().into_bytes()));
        let found: Vec<_> = Scan::new(&log, range, 600).map(Result::unwrap).collect();
        let expected: Vec<_> = expected.map(|n| (n, n.to_string().into_bytes())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_scan_gives_what_was_asked_for() {
        check(0..600, 0..600);
        check(255..257, 255..257);
        check(599..10_000, 599..600);
        check(512..512, 0..0);
        check(700..800, 0..0);
    }

    #[test]
    fn a_missing_bundle_is_told_and_passed() {
        let mut log = Memory::of((0..600_u64).map(|n| n.to_string().into_bytes()));
        log.files.retain(|tile, _| tile.kind != Kind::Entries || tile.index != 1);
        let (found, missing): (Vec<_>, Vec<_>) =
            Scan::new(&log, 0..600, 600).partition(Result::is_ok);
        assert_eq!((found.len(), missing.len()), (344, 1));
    }
}
