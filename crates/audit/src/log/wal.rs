//! The private write-ahead log: a group of records is one write and one sync. Old segments are
//! removed by the tiler, when a durable checkpoint has what they hold.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{Disk, Growing};
use super::fault::Fault;
use super::frame::{Frame, MAGIC, Place};

/// The end of the write-ahead log.
#[derive(Debug)]
pub(crate) struct Wal {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    /// A segment of this size is followed by a new one.
    limit: u64,
    current: Segment,
    next: u64,
    closed: Arc<Closed>,
}

/// Segments that are not written any more, each with the index after its last record.
#[derive(Debug, Default)]
pub(crate) struct Closed(Mutex<Vec<(PathBuf, u64)>>);

#[derive(Debug)]
struct Segment {
    file: Box<dyn Growing>,
    path: PathBuf,
    first: u64,
    /// What is synced, in bytes.
    length: usize,
}

impl Wal {
    /// Starts a segment for the record with index `next`.
    pub(crate) fn start(
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        limit: u64,
        next: u64,
    ) -> Result<Self, Fault> {
        let current = Segment::start(&*disk, &folder, next)?;
        Ok(Self { disk, folder, limit, current, next, closed: Arc::default() })
    }

    /// The index that the next record gets.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// The index with which the current segment begins.
    pub(crate) const fn first(&self) -> u64 {
        self.current.first
    }

    /// The segments that can go once a checkpoint has their records.
    pub(crate) fn closed(&self) -> Arc<Closed> {
        Arc::clone(&self.closed)
    }

    /// Writes a group and syncs it. When this returns `Ok` the records survive a loss of power.
    /// After [`Fault::NoSpace`] nothing of the group is there, and the next may fit; after
    /// [`Fault::Broken`] nothing must be written any more.
    pub(crate) fn commit(&mut self, frame: &mut Frame) -> Result<(), Fault> {
        if u64::try_from(self.current.length).unwrap_or(u64::MAX) >= self.limit {
            self.rotate()?;
        }
        let segment = &mut self.current;
        frame.seal(self.next, Place { segment: segment.first, offset: segment.length });
        if let Err(error) = segment.file.append(frame.as_bytes()) {
            return Err(segment.cut(Fault::of("write", &segment.path, &error)));
        }
        segment.file.sync().map_err(|error| Fault::of_sync(&segment.path, &error))?;
        segment.length += frame.as_bytes().len();
        self.next = frame.end();
        Ok(())
    }

    fn rotate(&mut self) -> Result<(), Fault> {
        let next = Segment::start(&*self.disk, &self.folder, self.next)?;
        let closed = std::mem::replace(&mut self.current, next);
        self.closed.0.lock().push((closed.path, self.next));
        Ok(())
    }
}

impl Closed {
    /// Takes out those whose records are all below `size`.
    pub(crate) fn take_below(&self, size: u64) -> Vec<PathBuf> {
        let mut closed = self.0.lock();
        let gone = closed.extract_if(.., |(_path, end)| *end <= size);
        gone.map(|(path, _end)| path).collect()
    }
}

impl Segment {
    fn start(disk: &dyn Disk, folder: &Path, first: u64) -> Result<Self, Fault> {
        let path = folder.join(name(first));
        // What a failure leaves stays: without records it means nothing to whoever reads it, and
        // when the log is opened it may be the only segment, which says that there are none.
        let start = |error| Fault::of("start", &path, &error);
        let mut file = disk.create(&path).map_err(start)?;
        file.append(MAGIC).map_err(start)?;
        file.sync().map_err(|error| Fault::of_sync(&path, &error))?;
        let names = BTreeSet::from([folder, super::staging::parent(folder)]);
        names
            .into_iter()
            .try_for_each(|dir| disk.sync_dir(dir).map_err(|error| Fault::of_sync(dir, &error)))?;
        Ok(Self { file, path, first, length: MAGIC.len() })
    }

    /// After a write that found no room: cuts off what it left, or nothing is known any more.
    fn cut(&mut self, fault: Fault) -> Fault {
        let Fault::NoSpace(_) = fault else { return fault };
        let length = u64::try_from(self.length).unwrap_or(u64::MAX);
        match self.file.truncate(length) {
            Ok(()) => fault,
            Err(error) => Fault::Broken(format!(
                "{}, and cannot cut {} back: {error}",
                fault.text(),
                self.path.display()
            )),
        }
    }
}

/// The name of the segment that begins with the record `first`; names sort as their records.
pub(crate) fn name(first: u64) -> String {
    format!("{first:020}.wal")
}

/// The index in a segment's name; `None` for other files.
pub(crate) fn first_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".wal")?;
    let first = digits.parse().ok()?;
    (self::name(first) == format!("{digits}.wal")).then_some(first)
}
