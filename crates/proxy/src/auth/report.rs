//! The report of scopes in the running process: fed by requests that passed, gathered every second,
//! and kept in a file over a restart. What is recorded stands in `auth`.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::{Response, StatusCode};
use parking_lot::Mutex;
use tidegate_auth::ScopeReport;
use tidegate_auth::report::StoreError;
use tidegate_auth::settings::ReportSettings;
use tidegate_engine::{Admitted, Snapshot};
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::sleep;

use crate::admin::{json_answer, text};
use crate::context::Arrival;
use crate::edge::Edge;

/// How often what was noted is gathered.
const PACE: Duration = Duration::from_secs(1);
/// The file is written once in so many gatherings, if something changed.
const WRITES: u32 = 10;
/// A large report takes a while to write: writing has at most this share of the time.
const WRITING_SHARE: u32 = 10;

/// The report, if there is to be one.
#[derive(Default)]
pub(crate) struct Reporting {
    report: ArcSwapOption<ScopeReport>,
    kept: Mutex<Kept>,
}

/// How it is kept.
#[derive(Default)]
struct Kept {
    file: Option<PathBuf>,
    keeper: Option<AbortHandle>,
}

impl Reporting {
    /// Notes that a request passed, if its route asks who it is.
    pub(crate) fn passed(&self, arrival: &Arrival, admitted: &Admitted) {
        let report = self.report.load();
        let (Some(report), Some(permitted)) = (&*report, admitted.permitted()) else { return };
        let route = admitted.route();
        let now = super::seconds(arrival.time);
        report.passed((&route.id, &route.access), &arrival.method, permitted.who(), now);
    }

    /// Puts the settings in force: the report begins, goes on, or ends.
    pub(super) fn attend(&self, snapshot: &Snapshot, edge: &Arc<Edge>) {
        let Some(settings) = &snapshot.settings().auth.report else {
            self.save(edge);
            self.report.store(None);
            let Kept { keeper, .. } = std::mem::take(&mut *self.kept.lock());
            keeper.iter().for_each(AbortHandle::abort);
            return;
        };
        let same = self.kept.lock().file == settings.file;
        match &*self.report.load() {
            Some(report) if same => return report.set_limits(settings),
            _ => {}
        }
        self.save(edge);
        let now = super::seconds(edge.clock().wall());
        self.report.store(Some(Arc::new(open(settings, now))));
        let mut kept = self.kept.lock();
        kept.file.clone_from(&settings.file);
        kept.keeper.get_or_insert_with(|| tokio::spawn(keep(Arc::clone(edge))).abort_handle());
    }

    fn gather(&self, edge: &Edge) {
        if let Some(report) = &*self.report.load() {
            let live = edge.live();
            report.gather(live.snapshot.auth(), super::seconds(edge.clock().wall()));
        }
    }

    /// Writes what changed; a failure is logged, and tried again by the next call.
    pub(crate) fn save(&self, edge: &Edge) {
        self.gather(edge);
        let report = self.report.load();
        // Held while the file is written, so that one writes at a time.
        let kept = self.kept.lock();
        let (Some(report), Some(file)) = (&*report, &kept.file) else { return };
        let Some(text) = report.changes() else { return };
        if let Err(error) = write(file, &text) {
            report.not_written();
            tracing::error!(%error, file = %file.display(), "the report is not written");
        }
    }

    /// `GET /report/scopes`.
    pub(crate) fn answer(&self, edge: &Edge) -> Response<Vec<u8>> {
        self.gather(edge);
        let report = self.report.load();
        let Some(report) = &*report else {
            return text(StatusCode::NOT_FOUND, "the configuration has no `auth.report`\n");
        };
        let live = edge.live();
        let routes = live.snapshot.routes().iter().map(|route| (&*route.id, &route.access));
        json_answer(StatusCode::OK, &report.view(routes, super::seconds(edge.clock().wall())))
    }
}

/// What the file holds. A file that is not there holds nothing; one that is no report is left
/// aside, and the report begins anew: it opens no door.
fn open(settings: &ReportSettings, now: u64) -> ScopeReport {
    let new = || ScopeReport::new(settings, now);
    let Some(file) = &settings.file else { return new() };
    match read(settings, file, now) {
        Ok(Some(report)) => report,
        Ok(None) => new(),
        Err(error) => {
            let aside = beside(file, ".bad");
            let kept = fs::rename(file, &aside).is_ok();
            let file = file.display();
            tracing::error!(%file, %error, kept, "the report's file is set aside, it begins anew");
            new()
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    File(#[from] io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn read(
    settings: &ReportSettings,
    file: &Path,
    now: u64,
) -> Result<Option<ScopeReport>, ReadError> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(ScopeReport::read(settings, &bytes, now)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Replaces the file as a whole, so that a crash leaves the old one or the new one. Only its owner
/// reads who the clients are.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let new = beside(path, ".new");
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(new, path)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Gathers and writes, until the process drains: from then on the file may be a successor's.
async fn keep(edge: Arc<Edge>) {
    let mut rounds = 0_u32;
    loop {
        sleep(PACE).await;
        rounds = rounds.wrapping_add(1);
        let writes = rounds.is_multiple_of(WRITES) && edge.is_ready();
        let (busy, start) = (Arc::clone(&edge), edge.clock().now());
        let done = spawn_blocking(move || {
            let reporting = busy.auth().report();
            if writes { reporting.save(&busy) } else { reporting.gather(&busy) }
        });
        if let Err(error) = done.await {
            tracing::error!(%error, "gathering the report failed");
        }
        let took = edge.clock().now().saturating_duration_since(start);
        sleep(took * (WRITING_SHARE - 1)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_report_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("scopes.json");
        let settings = ReportSettings { file: Some(file.clone()), ..ReportSettings::default() };
        drop(open(&settings, 1));
        assert!(!file.exists(), "nothing is written by looking");
        fs::write(&file, "{\"version\":1").unwrap();
        drop(open(&settings, 1));
        assert!(!file.exists() && folder.path().join("scopes.json.bad").exists());
        let report = ScopeReport::new(&settings, 1);
        report.not_written();
        write(&file, &report.changes().unwrap()).unwrap();
        assert!(read(&settings, &file, 1).unwrap().is_some());
    }
}
