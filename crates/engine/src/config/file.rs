//! Files that the configuration names, read whole and with a bound.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use tidegate_core::units::ByteSize;

/// Reads a text file; what is no regular file (a device would never end) is refused.
pub(crate) fn read(path: &Path, most: ByteSize) -> Result<String, String> {
    let wrong = |error: io::Error| message(&error, path);
    let kind = fs::metadata(path).map_err(wrong)?;
    if kind.is_dir() {
        return Err(message(&io::ErrorKind::IsADirectory.into(), path));
    }
    if !kind.is_file() {
        return Err(format!("`{}` is not a regular file", path.display()));
    }
    let mut text = String::new();
    let file = File::open(path).map_err(wrong)?;
    file.take(most.0.saturating_add(1)).read_to_string(&mut text).map_err(wrong)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > most.0 {
        return Err(format!("`{}` is larger than {most}", path.display()));
    }
    Ok(text)
}

/// An I/O error in our words; the path says which file.
fn message(error: &io::Error, path: &Path) -> String {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => format!("no such file `{path}`"),
        io::ErrorKind::PermissionDenied => format!("no permission to read `{path}`"),
        io::ErrorKind::IsADirectory => format!("`{path}` is a directory"),
        io::ErrorKind::InvalidData => format!("`{path}` is not UTF-8 text"),
        _ => format!("cannot read `{path}`: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &Path, message: &str) {
        let error = read(path, ByteSize(4)).unwrap_err();
        assert!(error.contains(message), "{error}");
    }

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        assert_eq!(read(&file("four", b"four"), ByteSize(4)).unwrap(), "four");
        check(&file("seven", b"sevenxx"), "is larger than 4B");
        check(&file("binary", b"\xff"), "is not UTF-8 text");
        check(folder.path(), "is a directory");
        check(&folder.path().join("none"), "no such file");
        check(Path::new("/dev/zero"), "is not a regular file");
    }
}
