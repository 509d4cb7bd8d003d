//! Where the parts of a log stand: the coordinates and paths of C2SP tlog-tiles. A tile holds up
//! to 256 hashes of one level, a bundle up to 256 entries; both share the form of their paths.

use std::fmt;

/// Hashes of a full tile and entries of a full bundle.
pub const TILE_WIDTH: u64 = 256;

/// The highest level that a log of 2^63 entries has.
pub const MAX_LEVEL: u8 = 7;

/// A tile of hashes or a bundle of entries: what it holds, which one it is and how full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tile {
    /// Hashes of a level, or entries.
    pub kind: Kind,
    /// Which one at its level, from 0.
    pub index: u64,
    /// How many hashes or entries it holds: 1 to 256, and 256 means full.
    pub width: u16,
}

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The hashes of a level: 0 is that of the leaves, one hash of level n + 1 stands for a full
    /// tile of level n.
    Hashes(u8),
    /// The entries themselves: a bundle.
    Entries,
}

impl Tile {
    /// The tile of `level` with `index` in a tree of `size` entries: full, partial, or `None`
    /// where the tree does not reach it.
    #[must_use]
    pub fn in_tree(kind: Kind, index: u64, size: u64) -> Option<Self> {
        let level = kind.level();
        let at_level = hashes_at(level, size);
        let left = at_level.checked_sub(index.checked_mul(TILE_WIDTH)?)?;
        let width = u16::try_from(left.min(TILE_WIDTH)).ok()?;
        (width > 0).then_some(Self { kind, index, width })
    }

    /// Every tile of hashes at `level` that a tree of `size` has, from the left.
    pub fn all_at(kind: Kind, size: u64) -> impl Iterator<Item = Self> {
        let count = hashes_at(kind.level(), size).div_ceil(TILE_WIDTH);
        (0..count).filter_map(move |index| Self::in_tree(kind, index, size))
    }

    /// The partial tiles and the partial bundle of a tree of `size`, lowest level first: what has
    /// to be there for a checkpoint of that size beside the full ones.
    pub fn partials(size: u64) -> impl Iterator<Item = Self> {
        let levels = (0..=MAX_LEVEL).map(Kind::Hashes);
        std::iter::once(Kind::Entries).chain(levels).filter_map(move |kind| {
            let count = hashes_at(kind.level(), size);
            let tile = Self::in_tree(kind, count / TILE_WIDTH, size)?;
            (!tile.is_full()).then_some(tile)
        })
    }

    /// Whether it will never change again.
    #[must_use]
    pub fn is_full(&self) -> bool {
        u64::from(self.width) == TILE_WIDTH
    }

    /// The same one, full.
    #[must_use]
    pub fn full(self) -> Self {
        Self { width: 256, ..self }
    }

    /// The entries over which it stands: the first, and the one after the last of a full one.
    /// Pruning a log to `minimum` may remove what ends at `minimum` or before.
    #[must_use]
    pub fn range(&self) -> (u64, u64) {
        let each = entries_below(self.kind.level());
        let tile = each.saturating_mul(TILE_WIDTH);
        (self.index.saturating_mul(tile), self.index.saturating_add(1).saturating_mul(tile))
    }

    /// Where it stands below the log's directory or address: `tile/0/x001/234.p/5`.
    #[must_use]
    pub fn path(&self) -> String {
        self.to_string()
    }

    /// Reads a path, in the one form that [`Self::path`] writes.
    #[must_use]
    pub fn from_path(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("tile/")?;
        let (first, rest) = rest.split_once('/')?;
        let kind = match first {
            "entries" => Kind::Entries,
            level => Kind::Hashes(decimal(level)?.try_into().ok().filter(|&l| l <= 63)?),
        };
        let (number, width) = match rest.split_once(".p/") {
            Some((number, width)) => {
                (number, decimal(width).filter(|w| (1..TILE_WIDTH).contains(w))?)
            }
            None => (rest, TILE_WIDTH),
        };
        let tile = Self { kind, index: index(number)?, width: u16::try_from(width).ok()? };
        // What is left: leading groups of zeros.
        (tile.path() == path).then_some(tile)
    }
}

impl Kind {
    fn level(self) -> u8 {
        match self {
            Self::Hashes(level) => level,
            Self::Entries => 0,
        }
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Hashes(level) => write!(f, "tile/{level}/")?,
            Kind::Entries => f.write_str("tile/entries/")?,
        }
        let mut groups = vec![self.index % 1000];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        while let Some(group) = groups.pop() {
            if groups.is_empty() {
                write!(f, "{group:03}")?;
            } else {
                write!(f, "x{group:03}/")?;
            }
        }
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

/// How many hashes a tree of `size` has at `level` that will never change.
#[must_use]
pub fn hashes_at(level: u8, size: u64) -> u64 {
    size / entries_below(level)
}

/// The entries below one hash of `level`.
fn entries_below(level: u8) -> u64 {
    TILE_WIDTH.saturating_pow(u32::from(level))
}

/// A number without sign, space or leading zero, as it stands in checkpoints and paths.
#[must_use]
pub fn decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

fn index(path: &str) -> Option<u64> {
    let mut groups = path.split('/').peekable();
    let mut index: u64 = 0;
    while let Some(group) = groups.next() {
        let digits = if groups.peek().is_some() { group.strip_prefix('x')? } else { group };
        if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    Some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tile: Tile, path: &str) {
        assert_eq!(tile.path(), path);
        assert_eq!(Tile::from_path(path), Some(tile));
    }

    #[test]
    fn paths_are_those_of_tlog_tiles() {
        let tile = |kind, index, width| Tile { kind, index, width };
        check(tile(Kind::Hashes(0), 0, 256), "tile/0/000");
        check(tile(Kind::Hashes(3), 1_234_067, 256), "tile/3/x001/x234/067");
        check(tile(Kind::Hashes(0), 1000, 5), "tile/0/x001/000.p/5");
        check(tile(Kind::Entries, 999, 255), "tile/entries/999.p/255");
        check(
            tile(Kind::Entries, u64::MAX, 1),
            "tile/entries/x018/x446/x744/x073/x709/x551/615.p/1",
        );
    }

    #[test]
    fn other_forms_of_a_path_are_refused() {
        for path in [
            "",
            "tile",
            "tile/0",
            "tile/0/",
            "tile/0/0",
            "tile/0/0000",
            "tile/00/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/+1/000",
            "tile/0/x000/000",
            "tile/0/001/000",
            "tile/0/x001",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/0/000/",
            "/tile/0/000",
            "tile/0/../000",
            "tile/entries/x999/x999/x999/x999/x999/x999/x999/999",
            "tile/data/000",
        ] {
            assert_eq!(Tile::from_path(path), None, "{path}");
        }
    }

    /// The example of tlog-tiles, "Partial Tiles".
    #[test]
    fn a_tree_of_70_000_has_the_tiles_of_the_specification() {
        let full = |level| Tile::all_at(Kind::Hashes(level), 70_000).filter(Tile::is_full).count();
        assert_eq!((full(0), full(1), full(2)), (273, 1, 0));
        let partials: Vec<_> = Tile::partials(70_000).map(|tile| tile.path()).collect();
        assert_eq!(
            partials,
            ["tile/entries/273.p/112", "tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]
        );
        let at_256: Vec<_> = Tile::partials(256).map(|tile| tile.path()).collect();
        assert_eq!(at_256, ["tile/1/000.p/1"]);
        assert_eq!(Tile::partials(0).count(), 0);
    }

    #[test]
    fn a_tile_knows_its_entries() {
        let tile = |kind, index| Tile { kind, index, width: 256 }.range();
        assert_eq!(tile(Kind::Entries, 2), (512, 768));
        assert_eq!(tile(Kind::Hashes(0), 2), (512, 768));
        assert_eq!(tile(Kind::Hashes(1), 1), (65_536, 131_072));
    }
}
