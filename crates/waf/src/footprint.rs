//! What a compilation saw of the file system, so that it can be told whether the same would come
//! out of it now.

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};

/// Files with their contents' hashes, and what patterns found.
#[derive(Debug, Default)]
pub(crate) struct Footprint {
    files: Vec<(PathBuf, Option<Content>)>,
    found: Vec<(PathBuf, Vec<PathBuf>)>,
}

/// A content's length and hash: it tells files apart that nobody made to look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Content {
    length: usize,
    hash: u64,
}

impl Footprint {
    /// Reads a file, and notes what it held.
    pub(crate) fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let bytes = fs::read(path);
        self.note(path, bytes.as_deref().ok());
        bytes
    }

    /// Notes what a file holds, `None` if it cannot be read.
    pub(crate) fn note(&mut self, path: &Path, bytes: Option<&[u8]>) {
        self.files.push((path.to_owned(), bytes.map(Content::of)));
    }

    /// Notes the files that a pattern, or the one that a name, stood for.
    pub(crate) fn note_found(&mut self, pattern: &Path, files: &[PathBuf]) {
        self.found.push((pattern.to_owned(), files.to_vec()));
    }

    /// Adds what another part of the compilation saw.
    pub(crate) fn add(&mut self, other: Self) {
        self.files.extend(other.files);
        self.found.extend(other.found);
    }

    /// Whether the file system would still show the same.
    pub(crate) fn is_current(&self) -> bool {
        self.found.iter().all(|(pattern, files)| crate::seclang::files_of(pattern) == *files)
            && self
                .files
                .iter()
                .all(|(path, content)| fs::read(path).ok().as_deref().map(Content::of) == *content)
    }
}

impl Content {
    fn of(bytes: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        Self { length: bytes.len(), hash: hasher.finish() }
    }
}
