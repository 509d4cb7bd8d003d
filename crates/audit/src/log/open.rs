//! Opening a log: from whatever a crash left to a log that is whole. The tiles under the last
//! checkpoint are where it starts; the write-ahead log has what came after; the head file says
//! whether this is the log that was signed last, or an older copy of it.

use std::any::Any;
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tidegate_core::Clock;

use super::disk::Disk;
use super::fault::Fault;
use super::frame::Frame;
use super::levels::Levels;
use super::options::{Options, Predecessor, Published, Succession};
use super::replay::{self, Replay};
use super::retention::Pruning;
use super::staging;
use super::tiler::{Layout, Tiler, gone};
use super::wal::Wal;
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::hash::Hash;
use crate::note::{Note, NoteError, SigningKey, VerifyingKey};
use crate::tile::Tile;
use crate::tree::Frontier;

/// Why a log was not opened. Nothing was changed that a later attempt would need.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Records or tiles are not what the checkpoint says.
    #[error("the audit log is damaged: {0}")]
    Damaged(String),
    /// The directory has another tree than the one that was signed at this size.
    #[error(
        "the audit log at {path} is not the one that was signed: at {size} records it has another \
         root than {head} says; to go on it needs a new origin"
    )]
    Forked {
        /// The log's directory.
        path: PathBuf,
        /// The head file.
        head: PathBuf,
        /// The size at which they differ.
        size: u64,
    },
    /// The directory has a log, and what was last signed is not known.
    #[error(
        "{head} is missing: it is not known whether the audit log at {path} is the one that was \
         last signed; bring it back, or go on under a new origin"
    )]
    HeadMissing {
        /// The log's directory.
        path: PathBuf,
        /// The head file.
        head: PathBuf,
    },
    /// Another process, or this one, writes the log.
    #[error("{0} is locked: another process writes this audit log")]
    Locked(PathBuf),
    /// The checkpoint is not signed by the key, or by one of the earlier keys.
    #[error("{path} is not signed by the key of this audit log: {error}")]
    OtherKey {
        /// The file with the checkpoint.
        path: PathBuf,
        /// What is wrong with its signature.
        error: NoteError,
    },
    /// The directory, or the head file, is that of another origin.
    #[error(
        "{path} is that of the audit log {found}, not of {configured}: give each a directory and a \
         head file of its own, or go on with it as its successor"
    )]
    OtherOrigin {
        /// The log's directory, or the head file.
        path: PathBuf,
        /// The origin of the checkpoint in it.
        found: String,
        /// The origin of the key.
        configured: String,
    },
    /// The directory has fewer records than were signed.
    #[error(
        "the audit log at {path} has {found} records, and {signed} were signed ({head}): an older \
         copy was restored, or records are missing; to go on without them it needs a new origin"
    )]
    RolledBack {
        /// The log's directory.
        path: PathBuf,
        /// The head file.
        head: PathBuf,
        /// How many records there are.
        found: u64,
        /// How many were signed.
        signed: u64,
    },
    /// The key signs no checkpoints of its name.
    #[error("the key cannot sign for the audit log: {0}")]
    Unsigned(#[from] CheckpointError),
    /// The disk refused something.
    #[error("the audit log cannot be opened: {0}")]
    Unusable(String),
}

/// What was found, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Whether the log is new.
    pub fresh: bool,
    /// How many records it has.
    pub size: u64,
    /// How many of them came out of the write-ahead log, because no checkpoint covered them.
    pub replayed: u64,
    /// Bytes of a group that a crash tore. Nobody was told that it was written.
    pub torn: u64,
    /// The log from which this one goes on, under a new origin.
    pub predecessor: Option<Predecessor>,
}

/// Both writers, and the locks that keep others out.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) wal: Wal,
    pub(crate) tiler: Tiler,
    pub(crate) published: Published,
    pub(crate) minimum: u64,
    pub(crate) recovered: Recovered,
    pub(crate) locks: Vec<Box<dyn Any + Send + Sync>>,
}

/// Opens the log on a disk.
pub(crate) fn open(
    disk: &Arc<dyn Disk>,
    options: &mut Options,
    key: &SigningKey,
    clock: &Clock,
) -> Result<Opened, OpenError> {
    let layout = Layout { root: options.path.clone(), head: options.head.clone() };
    let locks = prepare(&**disk, &layout)?;
    let opening = Opening { disk, layout, options, key, clock };
    let mut opened = opening.run()?;
    opened.locks = locks;
    Ok(opened)
}

/// Directories and locks; what was being written when a crash came is swept away.
fn prepare(disk: &dyn Disk, layout: &Layout) -> Result<Vec<Box<dyn Any + Send + Sync>>, OpenError> {
    let mut changed = BTreeSet::new();
    let head = staging::parent(&layout.head);
    for dir in [&layout.root, head] {
        staging::make_dirs(disk, dir, &mut changed)?;
    }
    let mut locks = Vec::new();
    for path in [layout.lock(), layout.head_lock()] {
        locks.push(disk.lock(&path).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => OpenError::Locked(path),
            _ => Fault::of("lock", &path, &error).into(),
        })?);
    }
    for dir in [layout.tmp(), layout.wal()] {
        staging::make_dirs(disk, &dir, &mut changed)?;
    }
    let tmp = layout.tmp();
    for name in disk.list(&tmp).map_err(|error| Fault::of("list", &tmp, &error))? {
        let path = tmp.join(name);
        gone(&path, disk.remove(&path))?;
    }
    changed.insert(head.to_owned());
    for dir in changed {
        disk.sync_dir(&dir).map_err(|error| Fault::of_sync(&dir, &error))?;
    }
    Ok(locks)
}

struct Opening<'a> {
    disk: &'a Arc<dyn Disk>,
    layout: Layout,
    options: &'a mut Options,
    key: &'a SigningKey,
    clock: &'a Clock,
}

/// A checkpoint in a file.
struct Kept {
    checkpoint: Checkpoint,
    text: String,
}

impl Opening<'_> {
    fn run(self) -> Result<Opened, OpenError> {
        let checkpoint = self.kept(&self.layout.checkpoint())?;
        let head = self.kept(&self.layout.head)?;
        let Some(checkpoint) = checkpoint else { return self.begin(head.as_ref()) };
        let ours = self.key.name();
        let origin = &checkpoint.checkpoint.origin;
        // A crash can come between the head file of a successor and its first checkpoint.
        let begun = head.as_ref().is_some_and(|head| head.checkpoint.origin == *ours);
        if origin != ours && !begun {
            return match self.options.succession.take() {
                Some(succession) => self.succeed(&checkpoint, head, succession),
                None => Err(self.other_origin(&checkpoint, &self.layout.root)),
            };
        }
        let Some(head) = head else {
            return Err(OpenError::HeadMissing { path: self.layout.root, head: self.layout.head });
        };
        self.go_on(&checkpoint, &head)
    }

    /// A log that is not there yet.
    fn begin(self, head: Option<&Kept>) -> Result<Opened, OpenError> {
        let path = self.layout.wal();
        let segments = replay::all_segments(&**self.disk, &path).map_err(OpenError::Unusable)?;
        let records = match segments.is_empty() {
            true => 0,
            false => self.replay(0, |_index, _entry| Ok::<_, String>(()))?.end,
        };
        if let Some(head) = head {
            self.check_origin(head, &self.layout.head)?;
        }
        let signed = head.map_or(0, |head| head.checkpoint.size);
        if signed > 0 {
            let (path, head) = (self.layout.root, self.layout.head);
            return Err(OpenError::RolledBack { path, head, found: 0, signed });
        }
        let tiles = self.layout.root.join("tile");
        if records > 0 || self.disk.list(&tiles).is_ok_and(|names| !names.is_empty()) {
            let checkpoint = self.layout.checkpoint();
            let text = format!("it has records, and {} is missing", checkpoint.display());
            return Err(OpenError::Damaged(text));
        }
        let wal = self.wal(0)?;
        let mut tiler = self.tiler(Levels::default(), None)?;
        let fresh = Recovered { fresh: true, size: 0, replayed: 0, torn: 0, predecessor: None };
        let published = sign(&mut tiler)?;
        self.opened(wal, tiler, published, fresh)
    }

    /// A log as it should be: what was signed is what is there.
    fn go_on(self, checkpoint: &Kept, head: &Kept) -> Result<Opened, OpenError> {
        self.check_origin(head, &self.layout.head)?;
        let levels = self.signed_levels(&checkpoint.checkpoint)?;
        let start = levels.size();
        let signed = head.checkpoint.size;
        // Without changing anything: is this the tree that was signed?
        let mut tree = Frontier::clone(levels.frontier());
        let mut root_when_signed = (tree.size() == signed).then(|| tree.root());
        let end = self.replay(start, |_index, entry| {
            tree.push(Hash::of_leaf(entry));
            if tree.size() == signed {
                root_when_signed = Some(tree.root());
            }
            Ok::<_, String>(())
        })?;
        if signed < start {
            root_when_signed = Some(self.levels(signed, start)?.root());
        }
        let (path, file) = (&self.layout.root, &self.layout.head);
        match root_when_signed {
            Some(root) if root == head.checkpoint.root => {}
            Some(_other) => {
                let (path, head) = (path.clone(), file.clone());
                return Err(OpenError::Forked { path, head, size: signed });
            }
            None => {
                let (path, head, found) = (path.clone(), file.clone(), end.end);
                return Err(OpenError::RolledBack { path, head, found, signed });
            }
        }
        let recovered = Recovered {
            fresh: false,
            size: end.end,
            replayed: end.end - start,
            torn: end.torn,
            predecessor: None,
        };
        let published =
            (checkpoint.checkpoint.origin == self.key.name()).then(|| self.published(checkpoint));
        let mut tiler = self.tiler(levels, published)?;
        self.replay(start, |_index, entry| tiler.push(entry).map_err(OpenError::from))?;
        let published = sign(&mut tiler)?;
        let wal = self.wal(end.end)?;
        self.opened(wal, tiler, published, recovered)
    }

    /// Goes on with what is there under another origin, and says so in the first new record.
    fn succeed(
        self,
        checkpoint: &Kept,
        head: Option<Kept>,
        succession: Succession,
    ) -> Result<Opened, OpenError> {
        let levels = self.signed_levels(&checkpoint.checkpoint)?;
        let start = levels.size();
        let mut tiler = self.tiler(levels, None)?;
        let end = self.replay(start, |_index, entry| tiler.push(entry).map_err(OpenError::from));
        let (torn, damage) = match end {
            Ok(end) => (end.torn, None),
            Err(OpenError::Damaged(what)) => (0, Some(what)),
            Err(other) => return Err(other),
        };
        let size = tiler.size();
        let predecessor = Predecessor {
            origin: checkpoint.checkpoint.origin.clone(),
            head: head.map(|head| head.text),
            size,
            root: tiler.root(),
            damage,
        };
        let record = (succession.record)(&predecessor);
        let mut wal = self.wal(size)?;
        let mut frame = Frame::with_capacity(record.len() + 2);
        let too_long = |error| OpenError::Unusable(format!("the record of succession: {error}"));
        frame.push(&record).map_err(too_long)?;
        wal.commit(&mut frame)?;
        tiler.push(&record)?;
        let published = sign(&mut tiler)?;
        let recovered = Recovered {
            fresh: false,
            size: wal.next(),
            replayed: size - start,
            torn,
            predecessor: Some(predecessor),
        };
        self.opened(wal, tiler, published, recovered)
    }

    /// The edge of the tree under a checkpoint, when the tiles are those that were signed.
    fn signed_levels(&self, checkpoint: &Checkpoint) -> Result<Levels, OpenError> {
        let levels = self.levels(checkpoint.size, checkpoint.size)?;
        if levels.root() == checkpoint.root {
            return Ok(levels);
        }
        let size = checkpoint.size;
        Err(OpenError::Damaged(format!("its tiles have another root than was signed at {size}")))
    }

    fn levels(&self, size: u64, available: u64) -> Result<Levels, OpenError> {
        let read = |tile: Tile| {
            let path = self.layout.tile(&tile);
            let full = self.layout.tile(&tile.full());
            let bytes = self.disk.read(&path).or_else(|error| match error.kind() {
                ErrorKind::NotFound => self.disk.read(&full),
                _ => Err(error),
            });
            bytes.map_err(|error| format!("{}: {error}", path.display()))
        };
        Levels::load(size, available, read).map_err(OpenError::Damaged)
    }

    fn replay<E: From<String>>(
        &self,
        start: u64,
        take: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<replay::Outcome, OpenError>
    where
        OpenError: From<E>,
    {
        let log = Replay::new(&**self.disk, &self.layout.wal(), start);
        let log = log.map_err(OpenError::Damaged)?;
        Ok(log.each(take)?)
    }

    fn tiler(&self, levels: Levels, published: Option<Published>) -> Result<Tiler, OpenError> {
        let (disk, layout) = (Arc::clone(self.disk), self.layout.clone());
        let pruning = Pruning::load(&*disk, &layout, self.options.retention, levels.size())?;
        let who = (self.key.clone(), self.clock.clone());
        Ok(Tiler::new(disk, layout, who, (levels, published), pruning))
    }

    fn wal(&self, next: u64) -> Result<Wal, OpenError> {
        let (disk, folder) = (Arc::clone(self.disk), self.layout.wal());
        Ok(Wal::start(disk, folder, self.options.segment, next)?)
    }

    fn opened(
        self,
        wal: Wal,
        mut tiler: Tiler,
        published: Published,
        recovered: Recovered,
    ) -> Result<Opened, OpenError> {
        // All that the other segments have is under the checkpoint.
        let others = replay::all_segments(&**self.disk, &self.layout.wal());
        for (first, path) in others.map_err(OpenError::Unusable)? {
            if first != wal.first() {
                gone(&path, self.disk.remove(&path))?;
            }
        }
        tiler.retire(wal.closed());
        let minimum = tiler.minimum();
        Ok(Opened { wal, tiler, published, minimum, recovered, locks: Vec::new() })
    }

    fn published(&self, kept: &Kept) -> Published {
        let Checkpoint { size, root, .. } = kept.checkpoint;
        Published { size, root, note: kept.text.as_str().into(), at: self.clock.wall() }
    }

    /// Reads a checkpoint. One of our origin has to be signed by one of our keys; what another
    /// origin says is only shown.
    fn kept(&self, path: &Path) -> Result<Option<Kept>, OpenError> {
        let bytes = match self.disk.read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Fault::of("read", path, &error).into()),
        };
        let damaged = |error: &dyn std::error::Error| {
            OpenError::Damaged(format!("{}: {error}", path.display()))
        };
        let note = Note::parse(&bytes).map_err(|error| damaged(&error))?;
        let checkpoint = Checkpoint::parse(note.text()).map_err(|error| damaged(&error))?;
        if checkpoint.origin == self.key.name() {
            self.check_signature(path, &note)?;
        }
        let text = note.to_string();
        Ok(Some(Kept { checkpoint, text }))
    }

    fn check_origin(&self, kept: &Kept, path: &Path) -> Result<(), OpenError> {
        let ours = kept.checkpoint.origin == self.key.name();
        if ours { Ok(()) } else { Err(self.other_origin(kept, path)) }
    }

    fn other_origin(&self, kept: &Kept, path: &Path) -> OpenError {
        let (found, configured) = (kept.checkpoint.origin.clone(), self.key.name().to_owned());
        OpenError::OtherOrigin { path: path.to_owned(), found, configured }
    }

    fn check_signature(&self, path: &Path, note: &Note) -> Result<(), OpenError> {
        let earlier: &[VerifyingKey] = &self.options.earlier_keys;
        let keys = std::iter::once(self.key.verifying_key()).chain(earlier);
        let mut verdict = Err(NoteError::NotSigned);
        for key in keys {
            match note.verify(key) {
                Err(NoteError::NotSigned) => {}
                other => verdict = other,
            }
        }
        verdict.map_err(|error| OpenError::OtherKey { path: path.to_owned(), error })
    }
}

/// What is in the tree is on the disk and signed when this returns, whatever the write-ahead log's
/// own pages are worth after a failure.
fn sign(tiler: &mut Tiler) -> Result<Published, OpenError> {
    tiler.checkpoint()?;
    let published = tiler.published().cloned();
    published.ok_or_else(|| OpenError::Unusable("no checkpoint was signed".to_owned()))
}

impl From<Fault> for OpenError {
    fn from(fault: Fault) -> Self {
        Self::Unusable(fault.text().to_owned())
    }
}

impl From<String> for OpenError {
    fn from(damage: String) -> Self {
        Self::Damaged(damage)
    }
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Unusable(error.to_string())
    }
}
