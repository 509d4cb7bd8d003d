//! [`Subjects`]: one key per subject, each in a file of its own, so that destroying it makes all
//! that was sealed with it unreadable, wherever copies of the log went.
//!
//! A file's name is the subject's pseudonym. Whoever comes back after an erasure gets a new key.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::rand;
use parking_lot::Mutex;
use serde_json::Value;

use super::seal::{SealError, Sealer, push_hex};

const ID: usize = 16;
const KEY: usize = 32;
/// How many keys stay in memory.
const CACHED: usize = 10_000;

/// The store of subjects' keys.
#[derive(Debug)]
pub struct Subjects {
    folder: PathBuf,
    cache: Mutex<Cache>,
}

/// One subject's key.
#[derive(Debug)]
pub struct SubjectKey {
    sealer: Sealer,
}

/// What an erasure did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// The name of the key that is gone, as sealed values have it.
    pub key: String,
}

/// Why a subject's key is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// A file cannot be read, written or removed.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The subject is no pseudonym.
    #[error("`{0}` is no pseudonym; it looks like hmac: and 64 hexadecimal digits")]
    Pseudonym(String),
    /// A value cannot be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The file holds no key.
    #[error("{} holds no subject's key", .0.display())]
    Shape(PathBuf),
}

#[derive(Debug, Default)]
struct Cache {
    keys: HashMap<String, Arc<SubjectKey>>,
    order: VecDeque<String>,
}

impl SubjectKey {
    /// Seals a field's value.
    pub(super) fn seal(
        &self,
        subject: &str,
        field: &str,
        value: &Value,
    ) -> Result<Value, SealError> {
        self.sealer.seal(subject, field, value)
    }

    /// Opens a field's value.
    ///
    /// # Errors
    /// It is no sealed value, or was sealed with another key or for another place.
    pub fn open(&self, subject: &str, field: &str, sealed: &Value) -> Result<Value, SealError> {
        self.sealer.open(subject, field, sealed)
    }
}

impl Subjects {
    /// Opens the store, and makes its folder if it is not there.
    ///
    /// # Errors
    /// The folder cannot be made or is none.
    pub fn open(folder: &Path) -> Result<Self, SubjectError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|source| failed("make", folder, source))?;
        Ok(Self { folder: folder.to_owned(), cache: Mutex::default() })
    }

    /// The key of the subject with this pseudonym; a new one, safely on the disk, if it has none.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn key(&self, subject: &str) -> Result<Arc<SubjectKey>, SubjectError> {
        let path = self.path(subject)?;
        let cached = self.cache.lock().keys.get(subject).cloned();
        // Another process may have erased it.
        if let Some(key) = cached.filter(|_key| path.exists()) {
            return Ok(key);
        }
        let key = match read(&path)? {
            Some(key) => key,
            None => create(&path)?,
        };
        let key = Arc::new(SubjectKey { sealer: key });
        self.cache.lock().keep(subject, &key);
        Ok(key)
    }

    /// The key of a subject that has one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn existing(&self, subject: &str) -> Result<Option<SubjectKey>, SubjectError> {
        Ok(read(&self.path(subject)?)?.map(|sealer| SubjectKey { sealer }))
    }

    /// Destroys a subject's key: its file is overwritten and removed. `None` if there was none.
    ///
    /// # Errors
    /// The file cannot be overwritten or removed; what is sealed may still be readable then.
    pub fn erase(&self, subject: &str) -> Result<Option<Erasure>, SubjectError> {
        let path = self.path(subject)?;
        self.cache.lock().forget(subject);
        let Some(sealer) = read(&path)? else { return Ok(None) };
        let failed = |doing| move |path: &Path, source| failed(doing, path, source);
        overwrite(&path).map_err(|source| failed("overwrite")(&path, source))?;
        fs::remove_file(&path).map_err(|source| failed("remove")(&path, source))?;
        sync_folder(&path).map_err(|source| failed("sync the folder of")(&path, source))?;
        self.cache.lock().forget(subject);
        Ok(Some(Erasure { key: sealer.id().to_owned() }))
    }

    fn path(&self, subject: &str) -> Result<PathBuf, SubjectError> {
        let hex = subject.strip_prefix("hmac:").filter(|hex| {
            hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        });
        let hex = hex.ok_or_else(|| SubjectError::Pseudonym(subject.to_owned()))?;
        let (shard, _rest) = hex.split_at(2);
        Ok(self.folder.join(shard).join(format!("{hex}.key")))
    }
}

impl Cache {
    fn keep(&mut self, subject: &str, key: &Arc<SubjectKey>) {
        if self.keys.insert(subject.to_owned(), Arc::clone(key)).is_none() {
            self.order.push_back(subject.to_owned());
        }
        while self.order.len() > CACHED {
            if let Some(oldest) = self.order.pop_front() {
                self.keys.remove(&oldest);
            }
        }
    }

    fn forget(&mut self, subject: &str) {
        if self.keys.remove(subject).is_some() {
            self.order.retain(|known| known != subject);
        }
    }
}

fn read(path: &Path) -> Result<Option<Sealer>, SubjectError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed("read", path, source)),
    };
    match bytes.split_at_checked(ID) {
        Some((id, key)) if key.len() == KEY && key.iter().any(|byte| *byte != 0) => {
            Ok(Some(Sealer::new(id, key)?))
        }
        _ => Err(SubjectError::Shape(path.to_owned())),
    }
}

/// Makes a key, unless somebody else just did.
fn create(path: &Path) -> Result<Sealer, SubjectError> {
    let mut bytes = [0; ID + KEY];
    rand::fill(&mut bytes).map_err(|_error| SealError::Encrypt)?;
    let mut nonce = [0; 8];
    rand::fill(&mut nonce).map_err(|_error| SealError::Encrypt)?;
    let mut name = String::from("new-");
    push_hex(&mut name, &nonce);
    let temporary = path.with_file_name(name);
    let linked = write_linked(path, &temporary, &bytes);
    // Whether it was linked or not, its first name is not needed any more.
    drop(fs::remove_file(&temporary));
    match linked {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(failed("write", path, source)),
    }
    sync_folder(path).map_err(|source| failed("sync the folder of", path, source))?;
    read(path)?.ok_or_else(|| SubjectError::Shape(path.to_owned()))
}

/// Writes the file under another name first, so that nobody reads half a key.
fn write_linked(path: &Path, temporary: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        sync_folder(folder)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::hard_link(temporary, path)
}

fn overwrite(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(&[0; ID + KEY])?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> SubjectError {
    SubjectError::File { doing, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn alice() -> String {
        format!("hmac:{}", "a1".repeat(32))
    }

    #[test]
    fn what_is_sealed_opens_until_its_key_is_destroyed() {
        let folder = tempfile::tempdir().unwrap();
        let subjects = Subjects::open(folder.path()).unwrap();
        let subject = alice();
        let value = json!({"iban": "DE02120300000000202051"});
        let sealed = subjects.key(&subject).unwrap().seal(&subject, "account", &value).unwrap();
        assert!(super::super::is_sealed(&sealed) && !sealed.to_string().contains("DE02"));
        let again = Subjects::open(folder.path()).unwrap();
        let key = again.existing(&subject).unwrap().unwrap();
        assert_eq!(key.open(&subject, "account", &sealed).unwrap(), value);
        assert_eq!(key.open(&subject, "other", &sealed), Err(SealError::Different));

        let erased = again.erase(&subject).unwrap().unwrap();
        assert_eq!(sealed["key"], erased.key.as_str());
        assert!(again.existing(&subject).unwrap().is_none());
        assert_eq!(again.erase(&subject).unwrap(), None);
        // The first store still has the key in memory, and must not use it any more.
        let fresh = subjects.key(&subject).unwrap();
        assert_eq!(fresh.open(&subject, "account", &sealed), Err(SealError::Different));
    }

    #[test]
    fn only_the_owner_reads_the_keys() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let subjects = Subjects::open(&folder.path().join("keys")).unwrap();
        subjects.key(&alice()).unwrap();
        let file = subjects.path(&alice()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&file), 0o600);
        assert_eq!(mode(file.parent().unwrap()), 0o700);
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_name_that_is_no_pseudonym_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let subjects = Subjects::open(folder.path()).unwrap();
        for name in ["alice", "hmac:../../etc/passwd", "hmac:", &alice().to_uppercase()] {
            assert!(matches!(subjects.key(name), Err(SubjectError::Pseudonym(_))), "{name}");
        }
    }
}
