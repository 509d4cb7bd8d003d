//! Files that change while they are used: API keys and revocations. They are looked at every other
//! second, and read again when size or time of change differ.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tidegate_auth::{Auth, Revocations};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::edge::Edge;

/// How often.
const LOOK: Duration = Duration::from_secs(2);

/// What tells a file from an earlier one.
type Mark = (u64, Option<SystemTime>);

/// Looks after the files until the task is aborted.
pub(crate) async fn watch(edge: Arc<Edge>) {
    let mut marks = HashMap::new();
    loop {
        sleep(LOOK).await;
        let auth = Arc::clone(edge.live().snapshot.auth());
        // Files may be on a slow disk, which requests must not wait for.
        let looked = spawn_blocking(move || {
            look(&auth, &mut marks);
            marks
        });
        marks = looked.await.unwrap_or_default();
    }
}

fn look(auth: &Auth, marks: &mut HashMap<PathBuf, Mark>) {
    for keys in auth.api_keys() {
        if has_changed(keys.file(), marks) {
            tell(keys.file(), keys.read_again());
        }
    }
    if let Some(revocations) = auth.revocations()
        && has_changed(revocations.file(), marks)
    {
        tell(revocations.file(), revocations.read_again());
    }
}

fn has_changed(file: &Path, marks: &mut HashMap<PathBuf, Mark>) -> bool {
    let data = fs::metadata(file);
    let mark = data.map_or((0, None), |data| (data.len(), data.modified().ok()));
    marks.insert(file.to_owned(), mark) != Some(mark)
}

#[expect(clippy::cognitive_complexity, reason = "each log macro counts as seven branches")]
fn tell(file: &Path, read: Result<usize, String>) {
    let file = file.display();
    match read {
        Ok(entries) => tracing::debug!(%file, entries, "read again"),
        Err(error) => tracing::warn!(%file, %error, "cannot be read, what was read before stays"),
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
