//! One process's part of a spool: a folder with a lock, numbered segments, and a cursor that says
//! what has been sent. What lies there is read in its order and removed segment by segment.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};

use super::frame::{self, Frame};
use crate::queue::BatchLimits;
use crate::record::Record;

/// A folder whose lock we hold.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Held until this is dropped.
    _lock: File,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Lengths by number, as far as records are complete.
    segments: BTreeMap<u64, u64>,
    /// Up to here everything was sent.
    head: Position,
}

/// A place between two records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Peeked {
    pub(super) records: Vec<Record>,
    /// Behind the last of them.
    pub(super) end: Position,
    /// Places where records were damaged.
    pub(super) damaged: u64,
    /// Whether the segment that was read last ends in half a record.
    torn: bool,
}

impl Folder {
    /// Opens or makes the folder; `None` if another process holds it.
    pub(super) fn lock(path: PathBuf) -> io::Result<Option<Self>> {
        fs::create_dir_all(&path)?;
        let lock = path.join("lock");
        let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(lock)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let mut segments = BTreeMap::new();
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            if let Some(number) = segment_number(&entry.file_name().to_string_lossy()) {
                segments.insert(number, entry.metadata()?.len());
            }
        }
        let first = segments.keys().next().copied().unwrap_or(1);
        let start = Position { segment: first, offset: 0 };
        // Without a readable cursor everything is sent again: a duplicate is better than a gap.
        let head = read_cursor(&path).unwrap_or(start).max(start);
        let state = Mutex::new(State { segments, head });
        Ok(Some(Self { path, _lock: lock, state }))
    }

    /// The path of a segment.
    pub(super) fn segment(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:016}.seg"))
    }

    /// Says that a segment is there and complete up to `len`.
    pub(super) fn grown(&self, number: u64, len: u64) {
        self.state.lock().segments.insert(number, len);
    }

    /// All bytes on the disk.
    pub(super) fn bytes(&self) -> u64 {
        self.state.lock().segments.values().sum()
    }

    /// Reads the next records that were not sent; they stay. None means that there are none.
    pub(super) fn peek(&self, limits: BatchLimits) -> io::Result<Peeked> {
        let (segments, mut at) = {
            let state = self.state.lock();
            (state.segments.clone(), state.head)
        };
        let mut peeked = Peeked { end: at, ..Peeked::default() };
        let mut room = limits.bytes;
        for (number, len) in segments.range(at.segment..) {
            if at.segment != *number {
                at = Position { segment: *number, offset: 0 };
            }
            let full =
                self.peek_segment(&mut at, *len, (limits.records, &mut room), &mut peeked)?;
            let is_last = segments.keys().next_back() == Some(number);
            if std::mem::take(&mut peeked.torn) && !is_last {
                // Only where a process died may half a record stand.
                peeked.damaged += 1;
            }
            peeked.end = at;
            if full {
                break;
            }
        }
        Ok(peeked)
    }

    /// Reads from one segment; returns whether the batch is full.
    fn peek_segment(
        &self,
        at: &mut Position,
        len: u64,
        (most, room): (usize, &mut usize),
        peeked: &mut Peeked,
    ) -> io::Result<bool> {
        if at.offset >= len {
            return Ok(false);
        }
        let file = match File::open(self.segment(at.segment)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let mut buffer = Vec::new();
        let mut used = 0;
        loop {
            let frame = frame::read(buffer.get(used..).unwrap_or_default());
            match frame {
                Frame::Record(record, size) => {
                    let fits = peeked.records.is_empty() || record.body.len() <= *room;
                    if !fits || peeked.records.len() >= most {
                        return Ok(true);
                    }
                    *room = room.saturating_sub(record.body.len());
                    peeked.records.push(record);
                    (used, at.offset) = (used + size, at.offset + size as u64);
                }
                Frame::Damaged(size) => {
                    peeked.damaged += 1;
                    (used, at.offset) = (used + size, at.offset + size as u64);
                }
                Frame::Short(needed) => {
                    // `at.offset` is where the unread part of the buffer begins in the file.
                    if at.offset + needed as u64 > len {
                        // The end; half a record was written when the process died.
                        peeked.torn = at.offset < len;
                        at.offset = len;
                        return Ok(false);
                    }
                    let want = usize::try_from(len - at.offset).unwrap_or(usize::MAX);
                    let want = want.min(needed.max((*room).clamp(64 << 10, 1 << 20)));
                    buffer = read_at(&file, at.offset, want)?;
                    used = 0;
                    if buffer.len() < needed {
                        at.offset = len;
                        return Ok(false);
                    }
                }
                Frame::Lost => {
                    peeked.damaged += 1;
                    at.offset = len;
                    return Ok(false);
                }
            }
        }
    }

    /// Notes that everything before `end` was sent, and removes the segments that are sent whole,
    /// apart from `written`, which still grows.
    pub(super) fn done(&self, end: Position, written: Option<u64>) -> io::Result<()> {
        let head = {
            let mut state = self.state.lock();
            state.head = end.max(state.head);
            state.head
        };
        // First, since a full disk may have no room for the cursor; what is gone is not sent again.
        self.sweep(written)?;
        let cursor = self.path.join("cursor");
        let new = self.path.join("cursor.new");
        fs::write(&new, format!("{} {}\n", head.segment, head.offset))?;
        fs::rename(&new, &cursor)
    }

    /// Whether all of a segment was sent.
    pub(super) fn is_sent(&self, segment: u64, len: u64) -> bool {
        self.state.lock().head >= Position { segment, offset: len }
    }

    /// Has the disk keep the names of segments.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// Removes the segments that were sent whole, apart from `written`.
    pub(super) fn sweep(&self, written: Option<u64>) -> io::Result<()> {
        let gone: Vec<u64> = {
            let state = self.state.lock();
            let head = state.head;
            let sent = |(number, len): &(&u64, &u64)| {
                let whole =
                    **number < head.segment || (**number == head.segment && head.offset >= **len);
                whole && Some(**number) != written
            };
            state.segments.iter().filter(sent).map(|(number, _)| *number).collect()
        };
        for number in gone {
            match fs::remove_file(self.segment(number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => drop(self.state.lock().segments.remove(&number)),
            }
        }
        Ok(())
    }

    /// Removes the folder with all in it.
    pub(super) fn remove(&self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(folder = %self.path.display(), %error, "a spool's folder stays");
        }
    }
}

fn read_at(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; len];
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64)? {
            0 => break,
            more => filled += more,
        }
    }
    buffer.truncate(filled);
    Ok(buffer)
}

fn segment_number(name: &str) -> Option<u64> {
    name.strip_suffix(".seg")?.parse().ok()
}

fn read_cursor(folder: &Path) -> Option<Position> {
    let text = fs::read_to_string(folder.join("cursor")).ok()?;
    let (segment, offset) = text.strip_suffix('\n')?.split_once(' ')?;
    Some(Position { segment: segment.parse().ok()?, offset: offset.parse().ok()? })
}
