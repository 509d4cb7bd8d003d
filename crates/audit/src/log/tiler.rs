//! What stands in the log for others: synced records become bundles and tiles, and these a signed
//! checkpoint. Order is everything here. A checkpoint is signed when the records that it covers
//! are synced in the write-ahead log *and* its tiles are; the head file has it before anybody
//! else; a segment of the write-ahead log goes when a durable checkpoint has its records.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_core::Clock;

use super::disk::Disk;
use super::fault::Fault;
use super::levels::{Filled, Levels};
use super::options::Published;
use super::retention::Pruning;
use super::staging::{self, Staging};
use super::wal::Closed;
use crate::bundle::Entries;
use crate::checkpoint::Checkpoint;
use crate::hash::Hash;
use crate::note::SigningKey;
use crate::tile::Tile;

/// Where things stand in a log's directory.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
    pub(crate) head: PathBuf,
}

/// The writer of everything but the write-ahead log.
#[derive(Debug)]
pub(crate) struct Tiler {
    disk: Arc<dyn Disk>,
    layout: Layout,
    key: SigningKey,
    clock: Clock,
    levels: Levels,
    /// Full tiles that are not written yet.
    full: VecDeque<Filled>,
    staging: Staging,
    published: Option<Published>,
    closed: Arc<Closed>,
    pruning: Pruning,
}

impl Tiler {
    /// Goes on from the edge `levels`, whose tiles are durable, and the checkpoint over them.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        layout: Layout,
        (key, clock): (SigningKey, Clock),
        (levels, published): (Levels, Option<Published>),
        pruning: Pruning,
    ) -> Self {
        let staging = Staging::new(Arc::clone(&disk), layout.tmp());
        let (full, closed) = (VecDeque::new(), Arc::default());
        Self { disk, layout, key, clock, levels, full, staging, published, closed, pruning }
    }

    /// Whose segments are removed when a checkpoint has their records.
    pub(crate) fn retire(&mut self, closed: Arc<Closed>) {
        self.closed = closed;
    }

    /// How many records are in the tree.
    pub(crate) const fn size(&self) -> u64 {
        self.levels.size()
    }

    /// The hash over them.
    pub(crate) fn root(&self) -> Hash {
        self.levels.root()
    }

    /// Records with a lower index were removed.
    pub(crate) const fn minimum(&self) -> u64 {
        self.pruning.minimum()
    }

    /// The last checkpoint.
    pub(crate) const fn published(&self) -> Option<&Published> {
        self.published.as_ref()
    }

    /// Takes a group that is synced in the write-ahead log. After [`Fault::NoSpace`] it is taken
    /// nevertheless, and [`Self::write_full`] is to be called again before the next.
    pub(crate) fn apply(&mut self, first: u64, bundle: &[u8]) -> Result<(), Fault> {
        let broken = |what: String| Fault::Broken(format!("the tree at {first}: {what}"));
        if first != self.levels.size() {
            return Err(broken(format!("it has {} records", self.levels.size())));
        }
        let mut full = Vec::new();
        for entry in Entries::new(bundle) {
            let entry = entry.map_err(|error| broken(error.to_string()))?;
            self.levels.push(entry, &mut full).map_err(|error| broken(error.to_string()))?;
        }
        self.full.extend(full);
        self.write_full()
    }

    /// Takes one record that is synced in the write-ahead log.
    pub(crate) fn push(&mut self, entry: &[u8]) -> Result<(), Fault> {
        let mut full = Vec::new();
        let pushed = self.levels.push(entry, &mut full);
        pushed.map_err(|error| Fault::Broken(format!("the tree: {error}")))?;
        self.full.extend(full);
        self.write_full()
    }

    /// Writes the tiles that became full. They get their names at the next checkpoint, or before.
    pub(crate) fn write_full(&mut self) -> Result<(), Fault> {
        while let Some((tile, bytes)) = self.full.front() {
            self.staging.put(self.layout.tile(tile), bytes)?;
            if tile.kind == crate::tile::Kind::Entries {
                self.pruning.written(tile.index, bytes.len(), self.clock.wall());
            }
            self.full.pop_front();
        }
        Ok(())
    }

    /// Signs a checkpoint over all records taken, unless the last one covers them. After
    /// [`Fault::NoSpace`] nothing that was signed is lost, and it can be tried again.
    pub(crate) fn checkpoint(&mut self) -> Result<Option<Published>, Fault> {
        let before = self.published.as_ref().map(|published| published.size);
        if before == Some(self.levels.size()) {
            return Ok(None);
        }
        let published = self.sign()?;
        self.tidy(before.unwrap_or(0))?;
        Ok(Some(published))
    }

    /// Removes the oldest records when there are more than wanted, and gives the new minimum.
    /// Looks only now and then.
    pub(crate) fn prune(&mut self) -> Result<Option<u64>, Fault> {
        if !self.pruning.is_due(self.clock.now()) {
            return Ok(None);
        }
        let signed = self.published.as_ref().map_or(0, |published| published.size);
        self.pruning.prune(&*self.disk, &self.layout, signed, &self.clock)
    }

    fn sign(&mut self) -> Result<Published, Fault> {
        self.write_full()?;
        let written = self.write_partials();
        if written.is_err() {
            // Partial tiles of a size that gets no checkpoint are not wanted.
            self.staging.retain(|target| !is_partial(target));
        }
        written?;
        let (size, root) = (self.levels.size(), self.levels.root());
        let checkpoint = Checkpoint { origin: self.key.name().to_owned(), size, root };
        let signed = checkpoint.sign(&self.key);
        let note = signed.map_err(|e| Fault::Broken(format!("cannot sign: {e}")))?.to_string();
        let (disk, layout) = (&*self.disk, &self.layout);
        staging::replace(disk, &layout.head_temporary(), &layout.head, note.as_bytes())?;
        let temporary = layout.tmp().join("checkpoint");
        staging::replace(disk, &temporary, &layout.checkpoint(), note.as_bytes())?;
        let published = Published { size, root, note: note.into(), at: self.clock.wall() };
        Ok(self.published.insert(published).clone())
    }

    fn write_partials(&mut self) -> Result<(), Fault> {
        for (tile, bytes) in self.levels.partials() {
            self.staging.put(self.layout.tile(&tile), &bytes)?;
        }
        self.staging.settle()
    }

    /// Removes what the new checkpoint made superfluous: segments of the write-ahead log, and
    /// partial tiles whose full ones are there.
    fn tidy(&self, before: u64) -> Result<(), Fault> {
        let size = self.levels.size();
        for segment in self.closed.take_below(size) {
            gone(&segment, self.disk.remove(&segment))?;
        }
        let full_now = |tile: &Tile| {
            Tile::in_tree(tile.kind, tile.index, size).is_some_and(|tile| tile.is_full())
        };
        for tile in Tile::partials(before).filter(full_now) {
            let partial = self.layout.tile(&tile);
            let folder = staging::parent(&partial);
            gone(folder, self.disk.remove_dir(folder))?;
        }
        Ok(())
    }
}

impl Layout {
    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.root.join("checkpoint")
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub(crate) fn wal(&self) -> PathBuf {
        self.root.join("wal")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(crate) fn minimum(&self) -> PathBuf {
        self.root.join("minimum")
    }

    pub(crate) fn tile(&self, tile: &Tile) -> PathBuf {
        self.root.join(tile.path())
    }

    pub(crate) fn head_temporary(&self) -> PathBuf {
        beside(&self.head, ".tmp")
    }

    pub(crate) fn head_lock(&self) -> PathBuf {
        beside(&self.head, ".lock")
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn is_partial(target: &Path) -> bool {
    staging::parent(target).extension().is_some_and(|extension| extension == "p")
}

/// That something is not there any more, removed now or before.
pub(crate) fn gone(path: &Path, removed: std::io::Result<()>) -> Result<(), Fault> {
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Fault::of("remove", path, &error)),
        _ => Ok(()),
    }
}
