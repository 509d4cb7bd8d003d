//! What verifying found wrong, and where. To add a kind: a variant, its word in
//! [`Finding::kind`], and its line in `docs/guide/audit.md`.

use std::ops::Range;

use thiserror::Error;

use crate::checkpoint::CheckpointError;
use crate::tile::Tile;

/// Something that is not as it was signed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Finding {
    /// There is no checkpoint where one has to be.
    #[error("{whose} is missing")]
    CheckpointMissing {
        /// The log's own, the head file's, or an earlier one.
        whose: Whose,
    },
    /// A checkpoint is damaged, not signed by the log's key, or of another log.
    #[error("{whose}: {why}")]
    Checkpoint {
        /// The log's own, the head file's, or an earlier one.
        whose: Whose,
        /// What is wrong with it.
        why: CheckpointError,
    },
    /// The log has fewer entries than it once signed.
    #[error("rolled back: {whose} has {earlier} entries, the log's checkpoint only {size}")]
    RolledBack {
        /// Which checkpoint knows more.
        whose: Whose,
        /// Its entries.
        earlier: u64,
        /// The log's.
        size: u64,
    },
    /// The checkpoint is older than the head file, and yet all entries are there: what a crash
    /// between the two writes leaves until the next start.
    #[error("the checkpoint has {size} entries and the head file {head}, which are all there")]
    Behind {
        /// The head file's entries.
        head: u64,
        /// The checkpoint's.
        size: u64,
    },
    /// The log does not begin with what it once signed.
    #[error("forked: the first {earlier} entries are not those that {whose} stands for")]
    Forked {
        /// Which checkpoint it differs from.
        whose: Whose,
        /// Its entries.
        earlier: u64,
    },
    /// It cannot be told whether the log begins with what it once signed.
    #[error("not comparable with {whose} at {earlier} entries: {why}")]
    Incomparable {
        /// Which checkpoint it could not be compared with.
        whose: Whose,
        /// Its entries.
        earlier: u64,
        /// What was in the way.
        why: String,
    },
    /// Tiles or bundles that have to be there are not.
    #[error("{tile} is missing")]
    Missing {
        /// The tile or bundle.
        tile: Tile,
    },
    /// A tile or bundle is not in its form: cut, extended, or with broken lengths.
    #[error("damaged: {tile}: {why}")]
    Damaged {
        /// The tile or bundle.
        tile: Tile,
        /// What is wrong with it.
        why: String,
    },
    /// The hashes in a tile are not those of what it stands over.
    #[error("changed: {tile}, at hash {position}")]
    TileChanged {
        /// The tile.
        tile: Tile,
        /// The first hash that is wrong, from 0.
        position: usize,
    },
    /// A single entry has another content.
    #[error("entry {index} was changed")]
    EntryChanged {
        /// The entry.
        index: u64,
    },
    /// A bundle lacks entries.
    #[error("entries were removed from {bundle}: the first is {first}")]
    EntriesRemoved {
        /// The bundle.
        bundle: Tile,
        /// The first that is not there.
        first: u64,
    },
    /// A bundle has more entries than were logged.
    #[error("entries were inserted into {bundle}: the first before {first}")]
    EntriesInserted {
        /// The bundle.
        bundle: Tile,
        /// The entry that the first of them stands before.
        first: u64,
    },
    /// The entries of a bundle stand in another order.
    #[error("entries of {bundle} stand in another order, from {first} on")]
    EntriesReordered {
        /// The bundle.
        bundle: Tile,
        /// The first that is out of place.
        first: u64,
    },
    /// A bundle holds the entries of another.
    #[error("{bundle} holds the entries of {other}")]
    BundleSwapped {
        /// The bundle.
        bundle: Tile,
        /// Whose entries it holds.
        other: Tile,
    },
    /// Entries have another content, and the tiles over them were made to fit.
    #[error("entries {} to {} were changed, and tiles made to fit", range.start, range.end - 1)]
    EntriesReplaced {
        /// The entries among which the changed ones are.
        range: Range<u64>,
    },
    /// The tiles fit together and lead to another root than the signed one.
    #[error("the log is not the one that was signed: its {size} entries have another root")]
    Root {
        /// The signed size.
        size: u64,
    },
    /// The file that says from where on entries are kept is damaged or cannot be true.
    #[error("`minimum`: {why}")]
    Minimum {
        /// What is wrong with it.
        why: String,
    },
    /// Entries are gone that should have been kept.
    #[error("entries up to {minimum} were pruned, and those from {kept} on have to be there")]
    Pruned {
        /// Where the log begins.
        minimum: u64,
        /// Where it has to begin.
        kept: u64,
    },
    /// A file could not be read.
    #[error("cannot read {what}: {why}")]
    Unreadable {
        /// The file.
        what: String,
        /// What the system says.
        why: String,
    },
}

/// Which checkpoint is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The log's own.
    Log,
    /// That of the head file.
    Head,
    /// An earlier one that was given.
    Earlier,
    /// One that a witness signed.
    Witness,
}

impl std::fmt::Display for Whose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Log => "the checkpoint",
            Self::Head => "the head file",
            Self::Earlier => "the earlier checkpoint",
            Self::Witness => "the checkpoint that a witness signed",
        })
    }
}

impl Finding {
    /// A word for programs.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Behind { .. } => "behind",
            Self::BundleSwapped { .. } => "bundle_swapped",
            Self::Checkpoint { .. } => "checkpoint",
            Self::CheckpointMissing { .. } => "checkpoint_missing",
            Self::Damaged { .. } => "damaged",
            Self::EntriesInserted { .. } => "entries_inserted",
            Self::EntriesRemoved { .. } => "entries_removed",
            Self::EntriesReordered { .. } => "entries_reordered",
            Self::EntriesReplaced { .. } => "entries_replaced",
            Self::EntryChanged { .. } => "entry_changed",
            Self::Forked { .. } => "forked",
            Self::Incomparable { .. } => "incomparable",
            Self::Minimum { .. } => "minimum",
            Self::Missing { .. } => "missing",
            Self::Pruned { .. } => "pruned",
            Self::RolledBack { .. } => "rolled_back",
            Self::Root { .. } => "root",
            Self::TileChanged { .. } => "tile_changed",
            Self::Unreadable { .. } => "unreadable",
        }
    }
}
