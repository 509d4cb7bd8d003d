//! Files that change while they are used: API keys and revocations. They are looked at every other
//! second, and read again when size or time of change differ, when the last reading failed, and
//! after a reload: what it read may be older than what was written while it did.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use tidegate_auth::{Auth, Revocations};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::edge::Edge;

/// How often.
const LOOK: Duration = Duration::from_secs(2);

/// Looks after the files until the task is aborted.
pub(crate) async fn watch(edge: Arc<Edge>) {
    let mut watched = Watched::default();
    loop {
        sleep(LOOK).await;
        let auth = Arc::clone(edge.live().snapshot.auth());
        // Files may be on a slow disk, which requests must not wait for.
        let looked = spawn_blocking(move || {
            watched.look(&auth);
            watched
        });
        watched = looked.await.unwrap_or_default();
    }
}

/// The files of one configuration, as they were when they were read last.
#[derive(Default)]
struct Watched {
    auth: Weak<Auth>,
    marks: HashMap<PathBuf, Mark>,
}

/// What tells a file from an earlier one, and why it could not be read, if so.
struct Mark {
    size: u64,
    modified: Option<SystemTime>,
    failed: Option<String>,
}

impl Watched {
    fn look(&mut self, auth: &Arc<Auth>) {
        if !std::ptr::eq(self.auth.as_ptr(), Arc::as_ptr(auth)) {
            self.marks.clear();
            self.auth = Arc::downgrade(auth);
        }
        for keys in auth.api_keys() {
            self.visit(keys.file(), || keys.read_again());
        }
        if let Some(revocations) = auth.revocations() {
            self.visit(revocations.file(), || revocations.read_again());
        }
    }

    fn visit(&mut self, file: &Path, read_again: impl FnOnce() -> Result<usize, String>) {
        let data = fs::metadata(file);
        let (size, modified) = data.map_or((0, None), |data| (data.len(), data.modified().ok()));
        let before = self.marks.get(file);
        if before.is_some_and(|mark| {
            mark.failed.is_none() && (mark.size, mark.modified) == (size, modified)
        }) {
            return;
        }
        let read = read_again();
        let failed = read.as_ref().err().cloned();
        // One that stays as it is would be told about every other second.
        if failed.is_none() || before.is_none_or(|mark| mark.failed != failed) {
            tell(file, read);
        }
        self.marks.insert(file.to_owned(), Mark { size, modified, failed });
    }
}

#[expect(clippy::cognitive_complexity, reason = "each log macro counts as seven branches")]
fn tell(file: &Path, read: Result<usize, String>) {
    let file = file.display();
    match read {
        Ok(entries) => tracing::debug!(%file, entries, "read again"),
        Err(error) => tracing::warn!(%file, %error, "cannot be read, what was read before stays"),
    }
}

/// Reads the revocations again that a reload just put in force: a line that was added while it read
/// everything else is in the file, and not yet in its list.
pub(crate) fn catch_up(auth: &Auth) {
    if let Some(revocations) = auth.revocations() {
        tell(revocations.file(), revocations.read_again());
    }
}

/// Adds a line to the revocations and puts it in force; it survives a crash of the machine.
///
/// # Errors
/// One sentence: there is no list, nothing is named, or the file cannot be written.
pub(super) fn revoke(
    revocations: Option<&Arc<Revocations>>,
    (kind, value): (&str, &str),
    before: Option<u64>,
) -> Result<(), String> {
    let revocations = revocations.ok_or("the configuration names no `auth.revocations`")?;
    let line = Revocations::line(kind, value, before)?;
    let file = revocations.file();
    let told = |error: std::io::Error| format!("cannot write `{}`: {error}", file.display());
    let mut open = OpenOptions::new().append(true).create(true).open(file).map_err(told)?;
    // Whoever edited the file may have left its last line open.
    open.write_all(format!("\n{line}").as_bytes()).map_err(told)?;
    open.sync_data().map_err(told)?;
    revocations.read_again().map(|_entries| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(settings: serde_json::Value) -> Arc<Auth> {
        let settings = serde_json::from_value(settings).unwrap();
        let mut errors = Vec::new();
        let auth = Auth::compile(&settings, None, &mut errors);
        assert!(errors.is_empty(), "{errors:?}");
        Arc::new(auth)
    }

    #[test]
    fn a_reload_that_read_the_list_before_a_line_was_added_has_it_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("revoked.jsonl");
        let settings = serde_json::json!({ "revocations": { "file": file } });
        // The reload reads the list, and takes a while for the rest.
        let (running, reloaded) = (auth(settings.clone()), auth(settings));
        let mut watched = Watched::default();
        watched.look(&running);
        revoke(running.revocations(), ("sub", "ann"), None).unwrap();
        watched.look(&running);
        let entries = || reloaded.revocations().unwrap().entries();
        assert_eq!(entries(), 0);
        catch_up(&reloaded);
        assert_eq!(entries(), 1);
        // One that comes from elsewhere, and was seen in the list that ran before.
        fs::write(&file, "{\"sub\":\"ann\"}\n{\"sub\":\"bob\"}\n").unwrap();
        watched.look(&running);
        watched.look(&reloaded);
        assert_eq!(entries(), 2);
    }

    #[test]
    fn a_file_that_could_not_be_read_is_read_again_although_it_looks_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.json");
        let whole = format!(r#"{{"keys": [{{"id": "shop", "sha256": "{}"}}]}}"#, "0".repeat(64));
        fs::write(&file, r#"{"keys": []}"#).unwrap();
        let auth = auth(serde_json::json!({ "api_keys": { "partners": { "file": file } } }));
        let mut watched = Watched::default();
        watched.look(&auth);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let write = |text: &str| {
            fs::write(&file, text).unwrap();
            OpenOptions::new().write(true).open(&file).unwrap().set_modified(time).unwrap();
        };
        write(&whole.replace('}', " "));
        watched.look(&auth);
        let failed = |watched: &Watched| watched.marks.get(&file).unwrap().failed.is_some();
        assert!(failed(&watched));
        write(&whole);
        watched.look(&auth);
        assert!(!failed(&watched));
        assert_eq!(auth.api_keys().next().unwrap().entries(), 1);
    }
}
