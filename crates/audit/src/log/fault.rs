//! What can go wrong on a disk, in the two kinds that matter: no room, which passes and of which
//! the kernel says beforehand that nothing was lost; and everything else, after which nobody knows
//! what is on the disk and the log stops.

use std::io::{self, ErrorKind};
use std::path::Path;

/// Why something could not be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The disk, a quota or a limit is full; what was begun can be cut off and tried again.
    NoSpace(String),
    /// What is on the disk is not known any more.
    Broken(String),
}

impl Fault {
    /// Of anything but a sync.
    pub(crate) fn of(action: &str, path: &Path, error: &io::Error) -> Self {
        let text = describe(action, path, error);
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Self::NoSpace(text)
            }
            _ => Self::Broken(text),
        }
    }

    /// Of a sync, whatever the error: the kernel may have dropped what it could not write and
    /// calls the next sync of the same file a success.
    pub(crate) fn of_sync(path: &Path, error: &io::Error) -> Self {
        Self::Broken(describe("sync", path, error))
    }

    /// What happened, for people.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::NoSpace(text) | Self::Broken(text) => text,
        }
    }
}

fn describe(action: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {action} {}: {error}", path.display())
}
