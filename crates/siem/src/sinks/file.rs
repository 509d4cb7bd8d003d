//! A file or the standard output, one record a line.
//!
//! A file is rotated by us (`<path>.1` is the youngest of the old ones) or by others, who rename it
//! and then have it reopened. What could be written of a batch only in part is taken back, so that
//! no line is torn.
//!
//! Two processes may write one file, which they do while a hand-over lasts: each batch is written,
//! and the file rotated, under a lock on the open file.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::deliver::{Deliver, DeliverError, Delivered};
use crate::record::{Key, Record};
use crate::settings::{FileSettings, RotateSettings};

/// Writes lines; what blocks is done beside the runtime, in one task at most.
pub(super) struct Lines {
    output: Arc<Mutex<Output>>,
    /// To open the file anew. It stands beside the lock, which a write that hangs holds.
    reopen: Arc<AtomicBool>,
    running: Option<Write>,
    /// What a write took that was given up and ended well all the same.
    written: HashSet<Key>,
}

/// A write that is not over; it may have been given up.
struct Write {
    keys: HashSet<Key>,
    task: JoinHandle<io::Result<()>>,
}

struct Output {
    target: Target,
    open: Option<File>,
}

enum Target {
    Stdout,
    File { path: PathBuf, rotate: Option<RotateSettings> },
}

impl Lines {
    pub(super) fn to_file(settings: &FileSettings) -> Self {
        let FileSettings { path, rotate } = settings.clone();
        Self::to(Target::File { path, rotate })
    }

    pub(super) fn to_stdout() -> Self {
        Self::to(Target::Stdout)
    }

    fn to(target: Target) -> Self {
        let output = Arc::new(Mutex::new(Output { target, open: None }));
        Self { output, reopen: Arc::default(), running: None, written: HashSet::new() }
    }

    /// Waits for the write that runs, and notes what it took. When this is given up the write goes
    /// on, and is waited for the next time.
    async fn ended(&mut self) -> Result<(), DeliverError> {
        let Some(write) = &mut self.running else { return Ok(()) };
        let ended = (&mut write.task).await;
        let keys = self.running.take().map(|write| write.keys).unwrap_or_default();
        let ended = ended.map_err(|_ended| DeliverError::again("the process ends"))?;
        ended.map_err(|error| DeliverError::again(error.to_string()))?;
        self.written = keys;
        Ok(())
    }
}

#[async_trait]
impl Deliver for Lines {
    async fn deliver(&mut self, batch: &[Record]) -> Result<Delivered, DeliverError> {
        self.ended().await?;
        let mut lines = Vec::new();
        for record in batch.iter().filter(|record| !self.written.contains(&record.key)) {
            lines.extend_from_slice(&record.body);
            lines.push(b'\n');
        }
        if lines.is_empty() {
            return Ok(Delivered::all());
        }
        let (output, reopen) = (Arc::clone(&self.output), Arc::clone(&self.reopen));
        let task = spawn_blocking(move || {
            let mut output = output.lock();
            if reopen.swap(false, Ordering::Relaxed) {
                output.open = None;
            }
            output.write(&lines)
        });
        let keys = batch.iter().map(|record| record.key).collect();
        self.running = Some(Write { keys, task });
        self.ended().await?;
        self.written.clear();
        Ok(Delivered::all())
    }

    fn reopen(&mut self) {
        self.reopen.store(true, Ordering::Relaxed);
    }
}

impl Output {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let (path, rotate) = match &self.target {
            Target::Stdout => {
                if self.open.is_none() {
                    self.open = Some(io::stdout().as_fd().try_clone_to_owned()?.into());
                }
                return self.open.as_mut().map_or(Ok(()), |stdout| stdout.write_all(lines));
            }
            Target::File { path, rotate } => (path, rotate),
        };
        let mut file = match self.open.take() {
            Some(file) => locked(file)?,
            None => locked(open(path)?)?,
        };
        if let Some(rotate) = rotate {
            while !is_at(&file, path)? {
                // Another process has rotated it.
                file = locked(open(path)?)?;
            }
            let len = file.metadata()?.len();
            if len > 0 && len + lines.len() as u64 > rotate.size.0 {
                shift(path, rotate.keep)?;
                file = locked(open(path)?)?;
            }
        }
        let len = file.metadata()?.len();
        if let Err(error) = file.write_all(lines) {
            // If that fails too, there is half a line before the next batch.
            drop(file.set_len(len));
            return Err(error);
        }
        flock(&file, FlockOperation::Unlock)?;
        self.open = Some(file);
        Ok(())
    }
}

/// The file, once no other process writes it. Closing it gives it back.
fn locked(file: File) -> io::Result<File> {
    flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

/// Whether the file is still the one at the path.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::metadata(path) {
        Ok(other) => Ok((own.dev(), own.ino()) == (other.dev(), other.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn open(path: &Path) -> io::Result<File> {
    let opened = OpenOptions::new().append(true).create(true).mode(0o640).open(path);
    opened.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Renames `path` to `path.1`, `path.1` to `path.2` and so on; what is older than `keep` goes.
fn shift(path: &Path, keep: u32) -> io::Result<()> {
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    if keep == 0 {
        return fs::remove_file(path);
    }
    for number in (1..keep).rev() {
        match fs::rename(numbered(number), numbered(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, numbered(1))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::time::Duration;

    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use tidegate_core::notice::Severity;
    use tidegate_core::units::ByteSize;
    use tokio::time::timeout;

    use super::*;
    use crate::record::{Draft, REQUEST};

    fn output(path: &Path, rotate: Option<RotateSettings>) -> Output {
        let target = Target::File { path: path.to_owned(), rotate };
        Output { target, open: None }
    }

    #[test]
    fn a_file_is_rotated_before_it_grows_too_large() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let rotate = RotateSettings { size: ByteSize(30), keep: 2 };
        let mut output = output(&path, Some(rotate));
        for number in 0..8 {
            output.write(format!("line number {number}\n").as_bytes()).unwrap();
        }
        let text = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(text("events"), "line number 6\nline number 7\n");
        assert_eq!(text("events.1"), "line number 4\nline number 5\n");
        assert_eq!(text("events.2"), "line number 2\nline number 3\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    fn record(sequence: u64) -> Record {
        let key = Key { origin: 1, sequence };
        let draft = Draft {
            time: std::time::SystemTime::UNIX_EPOCH,
            severity: Severity::Low,
            kind: REQUEST,
            body: bytes::Bytes::from(format!("record {sequence} {}", "x".repeat(100_000))),
        };
        Record::new(key, draft)
    }

    #[tokio::test]
    async fn a_write_that_hangs_is_waited_for_and_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        let (kind, mode) = (FileType::Fifo, Mode::from_raw_mode(0o600));
        mknodat(CWD, &path, kind, mode, 0).unwrap();
        // Somebody holds its other end, and does not read.
        let mut reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let settings = FileSettings { path, rotate: None };
        let mut lines = Lines::to_file(&settings);
        let batch = [1, 2, 3].map(record);
        for _attempt in 0..5 {
            let attempt = lines.deliver(&batch);
            assert!(timeout(Duration::from_millis(20), attempt).await.is_err());
            // This must not wait for what hangs.
            lines.reopen();
        }
        let read = std::thread::spawn(move || {
            let mut text = vec![0; 4 * 100_010];
            reader.read_exact(&mut text).unwrap();
            text
        });
        // Halves of the batch, as after many failures; the last one is new.
        for part in [&batch[..1], &batch[1..], &[record(4)]] {
            assert_eq!(lines.deliver(part).await, Ok(Delivered::all()));
        }
        let text = String::from_utf8(read.join().unwrap()).unwrap();
        let numbers: Vec<_> = text.lines().filter_map(|line| line.split(' ').nth(1)).collect();
        assert_eq!(numbers, ["1", "2", "3", "4"]);
    }

    #[test]
    fn two_that_write_one_file_rotate_it_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let rotate = RotateSettings { size: ByteSize(4000), keep: 1000 };
        // Each line has ten bytes: 400 fill a file.
        let writes = |name: char| {
            let mut output = output(&path, Some(rotate.clone()));
            move || {
                for number in 0..4000 {
                    output.write(format!("{name} {number:07}\n").as_bytes()).unwrap();
                }
            }
        };
        let threads = ['a', 'b'].map(|name| std::thread::spawn(writes(name)));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let mut lines = Vec::new();
        let files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            assert_eq!(text.len(), 4000, "{} is full", file.display());
            lines.extend(text.lines().map(str::to_owned));
        }
        lines.sort();
        let expected = ['a', 'b'].map(|name| (0..4000).map(move |n| format!("{name} {n:07}")));
        assert_eq!(lines, expected.into_iter().flatten().collect::<Vec<_>>());
    }

    #[test]
    fn a_renamed_file_is_opened_anew_when_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let mut output = output(&path, None);
        output.write(b"one\n").unwrap();
        fs::rename(&path, folder.path().join("old")).unwrap();
        output.write(b"two\n").unwrap();
        output.open = None;
        output.write(b"three\n").unwrap();
        assert_eq!(fs::read(folder.path().join("old")).unwrap(), b"one\ntwo\n");
        assert_eq!(fs::read(&path).unwrap(), b"three\n");
    }
}
