//! Files that appear whole: written under a name in `tmp/`, synced, and only then given their own
//! name. Several wait together, so that a checkpoint's syncs come in one run.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, Growing};
use super::fault::Fault;

/// So many wait at most: each holds a file open.
const MOST: usize = 64;

/// So many directories are remembered; forgetting them costs a few more syncs.
const MOST_KNOWN: usize = 4096;

/// Files on their way to their names.
#[derive(Debug)]
pub(crate) struct Staging {
    disk: Arc<dyn Disk>,
    /// Where they are written, on the file system where they go.
    folder: PathBuf,
    staged: Vec<Staged>,
    /// Directories whose names changed since they were synced.
    changed: BTreeSet<PathBuf>,
    /// Directories which this process has synced all the way up: one that was made before a crash
    /// may be there and still be lost.
    known: BTreeSet<PathBuf>,
    next: u64,
}

#[derive(Debug)]
struct Staged {
    file: Box<dyn Growing>,
    synced: bool,
    temporary: PathBuf,
    target: PathBuf,
}

impl Staging {
    /// Files are written in `folder`, which is there and has nothing else in it.
    pub(crate) fn new(disk: Arc<dyn Disk>, folder: PathBuf) -> Self {
        Self {
            disk,
            folder,
            staged: Vec::new(),
            changed: BTreeSet::new(),
            known: BTreeSet::new(),
            next: 0,
        }
    }

    /// Writes a file that is to become `target`. It may take its name before [`Self::settle`].
    pub(crate) fn put(&mut self, target: PathBuf, bytes: &[u8]) -> Result<(), Fault> {
        if self.staged.len() >= MOST {
            self.take_names()?;
        }
        let temporary = self.folder.join(self.next.to_string());
        self.next += 1;
        let written = self.disk.create(&temporary).and_then(|mut file| {
            file.append(bytes)?;
            Ok(file)
        });
        match written {
            Ok(file) => self.staged.push(Staged { file, synced: false, temporary, target }),
            Err(error) => {
                let fault = Fault::of("write", &target, &error);
                // What cannot be removed is removed when the log is next opened.
                drop(self.disk.remove(&temporary));
                return Err(fault);
            }
        }
        Ok(())
    }

    /// Everything put so far has its name when this returns, and survives a loss of power.
    pub(crate) fn settle(&mut self) -> Result<(), Fault> {
        self.take_names()?;
        while let Some(dir) = self.changed.first() {
            self.disk.sync_dir(dir).map_err(|error| Fault::of_sync(dir, &error))?;
            self.changed.pop_first();
        }
        Ok(())
    }

    /// Forgets what has not its name yet and is not `wanted`.
    pub(crate) fn retain(&mut self, wanted: impl Fn(&Path) -> bool) {
        self.staged.retain(|staged| {
            let keep = wanted(&staged.target);
            if !keep {
                drop(self.disk.remove(&staged.temporary));
            }
            keep
        });
    }

    fn take_names(&mut self) -> Result<(), Fault> {
        let mut unsynced: Vec<_> = self.staged.iter_mut().filter(|staged| !staged.synced).collect();
        let mut files: Vec<_> = unsynced.iter_mut().map(|staged| &mut staged.file).collect();
        if let Err((place, error)) = self.disk.sync_all(&mut files) {
            let target = unsynced.get(place).map(|staged| staged.target.as_path());
            return Err(Fault::of_sync(target.unwrap_or(&self.folder), &error));
        }
        unsynced.iter_mut().for_each(|staged| staged.synced = true);
        while let Some(staged) = self.staged.last() {
            place(&*self.disk, &staged.temporary, &staged.target, &mut self.changed)?;
            let dir = parent(&staged.target);
            if !self.known.contains(dir) {
                if self.known.len() >= MOST_KNOWN {
                    self.known.clear();
                }
                let root = parent(&self.folder);
                let above = dir.ancestors().take_while(|above| above.starts_with(root));
                self.changed.extend(above.map(Path::to_owned));
                self.known.insert(dir.to_owned());
            }
            self.staged.pop();
        }
        Ok(())
    }
}

/// Writes one file whole and durable: `temporary` stands beside `target`.
pub(crate) fn replace(
    disk: &dyn Disk,
    temporary: &Path,
    target: &Path,
    bytes: &[u8],
) -> Result<(), Fault> {
    let write = |error| Fault::of("write", target, &error);
    let mut file = disk.create(temporary).map_err(write)?;
    file.append(bytes).map_err(write)?;
    file.sync().map_err(|error| Fault::of_sync(target, &error))?;
    let mut changed = BTreeSet::new();
    place(disk, temporary, target, &mut changed)?;
    changed.iter().try_for_each(|dir| disk.sync_dir(dir).map_err(|e| Fault::of_sync(dir, &e)))
}

/// Makes a directory and those above it; the ones in which a name is new are added to `changed`.
pub(crate) fn make_dirs(
    disk: &dyn Disk,
    dir: &Path,
    changed: &mut BTreeSet<PathBuf>,
) -> Result<(), Fault> {
    match disk.make_dir(dir) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound && dir.parent().is_some() => {
            make_dirs(disk, parent(dir), changed)?;
            disk.make_dir(dir).map_err(|error| Fault::of("create", dir, &error))?;
        }
        Err(error) => return Err(Fault::of("create", dir, &error)),
    }
    changed.insert(parent(dir).to_owned());
    Ok(())
}

fn place(
    disk: &dyn Disk,
    temporary: &Path,
    target: &Path,
    changed: &mut BTreeSet<PathBuf>,
) -> Result<(), Fault> {
    let renamed = match disk.rename(temporary, target) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make_dirs(disk, parent(target), changed)?;
            disk.rename(temporary, target)
        }
        other => other,
    };
    renamed.map_err(|error| Fault::of("name", target, &error))?;
    changed.insert(parent(target).to_owned());
    Ok(())
}

/// The directory in which a name stands; that of a bare name is the current one.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
