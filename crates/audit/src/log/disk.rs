//! What the log asks of a file system, so that its tests can put one under it that tears, loses
//! and refuses writes. Nothing here decides anything.

use std::any::Any;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::thread;
use std::time::SystemTime;

use parking_lot::Mutex;

/// A file system.
pub(crate) trait Disk: fmt::Debug + Send + Sync {
    /// Makes a new, empty file, or empties the one that is there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Growing>>;
    /// Reads a whole file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// The names in a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// A file's length in bytes, and when it was last changed.
    fn facts(&self, path: &Path) -> io::Result<(u64, SystemTime)>;
    /// Makes a directory; one that is there is fine.
    fn make_dir(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another name, replacing what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with the files in it.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes names durable: what was created, renamed and removed in `dir`.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes several files durable, in any order. An error says which of them was not.
    fn sync_all(&self, files: &mut [&mut Box<dyn Growing>]) -> Result<(), (usize, io::Error)> {
        let mut files = files.iter_mut().enumerate();
        files.try_for_each(|(place, file)| file.sync().map_err(|error| (place, error)))
    }
    /// Takes a lock that lasts as long as what is returned; `WouldBlock` when another has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>>;
}

/// A file that is written at its end.
pub(crate) trait Growing: fmt::Debug + Send {
    /// Writes all of `bytes`; after an error any part of them may be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was written durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to `length`, where the next bytes go.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// The machine's file system.
#[derive(Debug)]
pub(crate) struct Machine;

/// Records can say more than others should read: not for everybody on the machine.
const FILE_MODE: u32 = 0o640;
const DIR_MODE: u32 = 0o750;

/// Threads that help to sync many files: a journal commits what several ask for at once.
const HELPERS: usize = 7;

impl Disk for Machine {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Growing>> {
        // Appending: after a cut the next bytes go to the new end.
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(FILE_MODE).open(path)?;
        file.set_len(0)?;
        Ok(Box::new(file))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let names = fs::read_dir(dir)?.map(|entry| {
            let name = entry?.file_name();
            name.into_string().map_err(|_not_utf8| io::Error::from(io::ErrorKind::InvalidData))
        });
        names.collect()
    }

    fn facts(&self, path: &Path) -> io::Result<(u64, SystemTime)> {
        let facts = fs::metadata(path)?;
        Ok((facts.len(), facts.modified()?))
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(DIR_MODE).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn sync_all(&self, files: &mut [&mut Box<dyn Growing>]) -> Result<(), (usize, io::Error)> {
        let helpers = HELPERS.min(files.len() / 8);
        let queue = Mutex::new(files.iter_mut().enumerate());
        let failed = Mutex::new(None);
        let work = || {
            loop {
                let next = queue.lock().next();
                let Some((place, file)) = next else { break };
                if let Err(error) = file.sync() {
                    *failed.lock() = Some((place, error));
                }
            }
        };
        thread::scope(|scope| {
            for _helper in 0..helpers {
                // Without a thread the others do its share.
                drop(
                    thread::Builder::new().name("audit-sync".to_owned()).spawn_scoped(scope, work),
                );
            }
            work();
        });
        failed.into_inner().map_or(Ok(()), Err)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(FILE_MODE).open(path)?;
        file.try_lock()?;
        Ok(Box::new(file))
    }
}

impl Growing for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}
