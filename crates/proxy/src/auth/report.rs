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
use tokio::task::{AbortHandle, block_in_place, spawn_blocking};
use tokio::time::sleep;

use crate::admin::{answer, text};
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
    running: ArcSwapOption<Running>,
    keeper: Mutex<Option<AbortHandle>>,
}

/// A report, and where it is kept.
struct Running {
    report: ScopeReport,
    /// As the configuration names it.
    named: Option<PathBuf>,
    /// Where it is written; not where something stands that could not be read.
    file: Option<PathBuf>,
    /// Held while the file is written, or the report told: both take a while.
    busy: Mutex<()>,
}

impl Reporting {
    /// Notes that a request passed, if its route asks who it is.
    pub(crate) fn passed(&self, arrival: &Arrival, admitted: &Admitted) {
        let running = self.running.load();
        let (Some(running), Some(permitted)) = (&*running, admitted.permitted()) else { return };
        let (route, now) = (admitted.route(), super::seconds(arrival.time));
        let at = (&*route.id, &route.access);
        running.report.passed(at, &arrival.method, permitted.who(), now);
    }

    /// Puts the settings in force: the report begins, goes on, or ends.
    pub(super) fn attend(&self, snapshot: &Snapshot, edge: &Arc<Edge>) {
        let Some(settings) = &snapshot.settings().auth.report else {
            self.save(edge);
            self.running.store(None);
            self.keeper.lock().take().iter().for_each(AbortHandle::abort);
            return;
        };
        match &*self.running.load() {
            Some(running) if running.named == settings.file => {
                return running.report.set_limits(settings);
            }
            _ => {}
        }
        self.save(edge);
        let now = super::seconds(edge.clock().wall());
        self.running.store(Some(Arc::new(Running::open(settings, now))));
        let mut keeper = self.keeper.lock();
        keeper.get_or_insert_with(|| tokio::spawn(keep(Arc::clone(edge))).abort_handle());
    }

    fn gather(&self, edge: &Edge) {
        if let Some(running) = &*self.running.load() {
            let live = edge.live();
            running.report.gather(live.snapshot.auth(), super::seconds(edge.clock().wall()));
        }
    }

    /// Writes what changed; a failure is logged, and tried again by the next call.
    pub(crate) fn save(&self, edge: &Edge) {
        self.gather(edge);
        let Some(running) = self.running.load_full() else { return };
        let Some(file) = &running.file else { return };
        let _busy = running.busy.lock();
        let Some(text) = running.report.changes() else { return };
        if let Err(error) = write(file, &text) {
            running.report.not_written();
            tracing::error!(%error, file = %file.display(), "the report is not written");
        }
    }

    /// `GET /report/scopes`, one at a time.
    pub(crate) fn answer(&self, edge: &Edge) -> Response<Vec<u8>> {
        let Some(running) = self.running.load_full() else {
            return text(StatusCode::NOT_FOUND, "the configuration has no `auth.report`\n");
        };
        let told = block_in_place(|| {
            self.gather(edge);
            let _busy = running.busy.lock();
            let live = edge.live();
            let routes = live.snapshot.routes().iter().map(|route| (&*route.id, &route.access));
            let view = running.report.view(routes, super::seconds(edge.clock().wall()));
            view.to_string()
        });
        answer(StatusCode::OK, "application/json", told.into())
    }
}

impl Running {
    /// What the file holds. A file that is not there holds nothing. One that is no report is set
    /// aside, and the report begins anew: it opens no door. One that cannot be read is left alone.
    fn open(settings: &ReportSettings, now: u64) -> Self {
        let of = |report, file| Self {
            report,
            named: settings.file.clone(),
            file,
            busy: Mutex::default(),
        };
        let new = || ScopeReport::new(settings, now);
        let Some(file) = &settings.file else { return of(new(), None) };
        match read(settings, file, now) {
            Ok(report) => of(report.unwrap_or_else(new), Some(file.clone())),
            Err(error) => {
                let kept = error.set_aside(file);
                let what = if kept { "is set aside" } else { "cannot be read or written" };
                tracing::error!(file = %file.display(), %error, "the report's file {what}");
                of(new(), kept.then(|| file.clone()))
            }
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

impl ReadError {
    /// Sets a file aside that is no report, so that another can take its place; answers whether it
    /// was. One that cannot be read stays.
    fn set_aside(&self, file: &Path) -> bool {
        matches!(self, Self::Store(_)) && fs::rename(file, beside(file, ".bad")).is_ok()
    }
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
        drop(Running::open(&settings, 1));
        assert!(!file.exists(), "nothing is written by looking");
        fs::write(&file, "{\"version\":1").unwrap();
        assert!(Running::open(&settings, 1).file.is_some());
        assert!(!file.exists() && folder.path().join("scopes.json.bad").exists());
        let report = ScopeReport::new(&settings, 1);
        report.not_written();
        write(&file, &report.changes().unwrap()).unwrap();
        assert!(read(&settings, &file, 1).unwrap().is_some());
        // What cannot be read is neither moved nor written over.
        let settings = ReportSettings { file: Some(folder.path().into()), ..settings };
        assert!(Running::open(&settings, 1).file.is_none());
        assert!(folder.path().exists());
    }
}
