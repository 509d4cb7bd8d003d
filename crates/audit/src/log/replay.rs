//! Reading the write-ahead log back: every record that was acknowledged is found, what a crash
//! tore at the end is left out, and damage anywhere else is an error rather than a shorter log.

use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::frame::{self, Found, MAGIC, Place};
use super::wal;
use crate::bundle::Entries;

/// The segments that are needed, oldest first.
#[derive(Debug)]
pub(crate) struct Replay<'a> {
    disk: &'a dyn Disk,
    segments: Vec<(u64, PathBuf)>,
    start: u64,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The index after the last record.
    pub(crate) end: u64,
    /// Bytes of a group that a crash tore and nobody was told of.
    pub(crate) torn: u64,
}

impl<'a> Replay<'a> {
    /// Looks for the records from `start` on.
    pub(crate) fn new(disk: &'a dyn Disk, folder: &Path, start: u64) -> Result<Self, String> {
        let mut segments = all_segments(disk, folder)?;
        // A segment is needed unless the next begins at `start` or before.
        let first = segments.partition_point(|(first, _path)| *first <= start).saturating_sub(1);
        segments.drain(..first);
        match segments.first() {
            Some((first, _path)) if *first <= start => Ok(Self { disk, segments, start }),
            Some((first, path)) => Err(format!(
                "the write-ahead log has a gap: records {start} to {first} before {}",
                path.display()
            )),
            None => Err(format!("no write-ahead log in {}", folder.display())),
        }
    }

    /// Gives each record from `start` on to `take`, in order, with its index.
    pub(crate) fn each<E: From<String>>(
        &self,
        mut take: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<Outcome, E> {
        let mut found = Outcome { end: self.start, torn: 0 };
        let mut index = self.segments.first().map_or(self.start, |(first, _path)| *first);
        for (first, path) in &self.segments {
            if *first != index {
                let gap = format!("{}: it has to begin with record {index}", path.display());
                return Err(E::from(gap));
            }
            let bytes = self.disk.read(path).map_err(|e| format!("{}: {e}", path.display()))?;
            let mut segment = Reader { bytes: &bytes, place: Place { segment: *first, offset: 0 } };
            segment.open();
            while let Some(frame) = segment.next(index) {
                index = self.records(frame, &mut take)?;
            }
            found.torn = segment.rest().map_err(|e| format!("{}: {e}", path.display()))?;
        }
        if index < self.start {
            return Err(E::from(format!(
                "the write-ahead log ends with record {index}, before {}",
                self.start
            )));
        }
        found.end = index;
        Ok(found)
    }

    fn records<E: From<String>>(
        &self,
        frame: Found<'_>,
        take: &mut impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut index = frame.first;
        for entry in Entries::new(frame.payload) {
            let entry = entry.map_err(|error| format!("record {index}: {error}"))?;
            if index >= self.start {
                take(index, entry)?;
            }
            index += 1;
        }
        let sound = index == frame.end;
        sound.then_some(index).ok_or_else(|| E::from(format!("a group before {index} miscounts")))
    }
}

/// Every segment that is there, oldest first.
pub(crate) fn all_segments(disk: &dyn Disk, folder: &Path) -> Result<Vec<(u64, PathBuf)>, String> {
    let names = disk.list(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let segments = names.iter().filter_map(|name| Some((wal::first_of(name)?, folder.join(name))));
    let mut segments: Vec<_> = segments.collect();
    segments.sort();
    Ok(segments)
}

#[derive(Debug)]
struct Reader<'a> {
    bytes: &'a [u8],
    place: Place,
}

impl<'a> Reader<'a> {
    /// Steps over the beginning; without a whole one there is no frame either.
    fn open(&mut self) {
        if self.bytes.starts_with(MAGIC) {
            self.place.offset = MAGIC.len();
        }
    }

    /// The next whole frame; it has to begin with `index`.
    fn next(&mut self, index: u64) -> Option<Found<'a>> {
        let found = (self.place.offset > 0).then(|| frame::read(self.bytes, self.place))??;
        if found.first != index {
            return None;
        }
        self.place.offset += frame::HEADER + found.payload.len();
        Some(found)
    }

    /// How many bytes are left, which a crash tore. A frame is written when the one before it is
    /// synced; so a whole one among them says that this is no torn end but damage.
    fn rest(&self) -> Result<u64, String> {
        let Place { segment, offset } = self.place;
        let later = (offset..self.bytes.len())
            .find(|&offset| frame::read(self.bytes, Place { segment, offset }).is_some());
        match later {
            Some(later) => {
                Err(format!("damaged at byte {offset}: a whole group follows at {later}"))
            }
            None => Ok(u64::try_from(self.bytes.len() - offset).unwrap_or(u64::MAX)),
        }
    }
}
