//! Bans in the running process: put in force, swept, and kept in a file over a restart. What a ban
//! is and whom it may name stands in `guard`.

pub(crate) mod admin;

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, mem};

use parking_lot::{Mutex, RwLock};
use tidegate_core::Clock;
use tidegate_guard::bans::file::BadLine;
use tidegate_guard::bans::{Now, file};
use tidegate_guard::{Ban, Bans};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::edge::Edge;
use crate::enforcement::own;
use crate::upgrade;

/// How often ended bans are forgotten and changes are written.
const PACE: Duration = Duration::from_secs(1);

/// After how many rounds it is looked which addresses this machine has.
const OWN_ROUNDS: u32 = 30;

/// How often the tables are made anew from what changed.
const SETTLING: Duration = Duration::from_millis(100);

/// Of so many failures to write, one is logged.
const TOLD_FAILURES: u32 = 60;

/// A file or tables of a million bans take a while: that has at most this share of the time.
const WRITING_SHARE: u32 = 10;

/// Both clocks' time.
pub(crate) fn now(clock: &Clock) -> Now {
    Now { instant: clock.now(), wall: clock.wall() }
}

/// The file that keeps the bans, and what of them is in it. Of two processes in a hand-over one at a
/// time writes it and takes changes by hand: the predecessor until it lets go, then the successor.
#[derive(Debug, Default)]
pub(crate) struct BanFile {
    path: Option<PathBuf>,
    written: Mutex<Written>,
    turn: RwLock<Turn>,
}

/// What is in the file.
#[derive(Debug, Default)]
struct Written {
    /// The bans' count of changes when they were last written.
    changes: u64,
    /// In how many attempts since then that failed.
    failures: u32,
}

/// Whose the bans are.
#[derive(Debug, Default)]
enum Turn {
    #[default]
    Ours,
    /// The predecessor's, who may still add and lift; the file had these when it was read.
    NotYet(Vec<Ban>),
    /// The successor's.
    NoMore,
}

impl BanFile {
    /// Takes over what the file holds. A file that is not there holds nothing; of one with bad
    /// lines a copy is left beside it, since it will be written anew.
    ///
    /// # Errors
    /// The file is there and cannot be read: whoever was banned must not come in by accident.
    pub(crate) fn open(path: Option<&Path>, bans: &Bans, now: Now) -> io::Result<Self> {
        let kept = path.map(read).transpose()?.unwrap_or_default();
        let is_ours = !upgrade::has_predecessor();
        let turn = if is_ours { Turn::Ours } else { Turn::NotYet(kept.clone()) };
        if path.is_some() {
            let (taken, refused) = bans.add(kept, now);
            tracing::info!(taken, over_or_refused = refused.len(), "bans taken from their file");
        }
        let written = Mutex::new(Written { changes: bans.stats().changes, failures: 0 });
        Ok(Self { path: path.map(Path::to_owned), written, turn: RwLock::new(turn) })
    }

    /// Keeps the bans ours while somebody changes them by hand; `None` if they are not.
    pub(crate) fn hold(&self) -> Option<impl Drop> {
        let turn = self.turn.read();
        matches!(*turn, Turn::Ours).then_some(turn)
    }

    /// The predecessor has let go, or says nothing any more: what it added and lifted since the file
    /// was read is done here, too.
    pub(crate) fn take_over(&self, bans: &Bans, now: Now) {
        let mut turn = self.turn.write();
        let Turn::NotYet(before) = &mut *turn else { return };
        let before = mem::take(before);
        *turn = Turn::Ours;
        let Some(path) = &self.path else { return };
        let kept = match read(path) {
            Ok(kept) => kept,
            Err(error) => {
                tracing::error!(%error, "the predecessor's last bans cannot be read");
                return;
            }
        };
        let key = |ban: &Ban| (ban.target.clone(), ban.measure, Arc::clone(&ban.source));
        let still: BTreeSet<_> = kept.iter().map(key).collect();
        let over = before.iter().map(key).filter(|key| !still.contains(key));
        let lifted = bans.lift_each(over, now).len();
        let (taken, _) = bans.add(kept, now);
        tracing::info!(taken, lifted, "bans taken over from the predecessor");
    }

    /// Writes the last changes; from now on the bans are the successor's.
    pub(crate) fn let_go(&self, bans: &Bans) {
        // Waits for changes that somebody is making.
        let mut turn = self.turn.write();
        self.write_changes(bans);
        *turn = Turn::NoMore;
    }

    /// Writes the bans if they are ours and changed since the last time; what fails is tried again
    /// by the next call, and logged about once a minute.
    pub(crate) fn save(&self, bans: &Bans) {
        if let Some(_ours) = self.hold() {
            self.write_changes(bans);
        }
    }

    fn write_changes(&self, bans: &Bans) {
        let Some(path) = &self.path else { return };
        let mut written = self.written.lock();
        let changes = bans.stats().changes;
        if written.changes == changes {
            return;
        }
        match write(path, &file::write(&bans.list(None, usize::MAX))) {
            Ok(()) => *written = Written { changes, failures: 0 },
            Err(error) => {
                if written.failures.is_multiple_of(TOLD_FAILURES) {
                    tracing::error!(%error, path = %path.display(), "bans are not written");
                }
                written.failures = written.failures.wrapping_add(1);
            }
        }
    }
}

/// What the file holds.
fn read(path: &Path) -> io::Result<Vec<Ban>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let (kept, bad) = file::read(&text);
    if !bad.is_empty() {
        keep_aside(path, &text, &bad)?;
    }
    Ok(kept)
}

/// Leaves a copy of a file with bad lines beside it.
fn keep_aside(path: &Path, text: &str, bad: &[BadLine]) -> io::Result<()> {
    let copy = beside(path, ".bad");
    fs::write(&copy, text)?;
    let (first, lines, copy) = (bad.first(), bad.len(), copy.display());
    tracing::error!(?first, lines, %copy, "lines of the bans' file are not bans");
    Ok(())
}

/// Replaces the file as a whole, so that a crash leaves the old one or the new one.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let new = beside(path, ".new");
    let mut file = fs::File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(new, path)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Forgets what has ended and writes what changed, until the process drains: from then on the file
/// may be somebody else's.
pub(crate) async fn keep(edge: Arc<Edge>) {
    let mut rounds = 0_u32;
    let mut own = Arc::new(own::addresses());
    while !edge.is_draining() {
        sleep(PACE).await;
        rounds = rounds.wrapping_add(1);
        if rounds.is_multiple_of(OWN_ROUNDS) {
            own = Arc::new(own::addresses());
        }
        if edge.is_draining() {
            return;
        }
        let own = Arc::clone(&own);
        let busy = edge.clone();
        let clock = edge.clock();
        let start = clock.now();
        let done = spawn_blocking(move || {
            let live = busy.live();
            let bans = live.snapshot.bans();
            bans.protect(&live.snapshot.protected_with(&own));
            bans.sweep(now(busy.clock()));
            busy.ban_file().save(live.snapshot.bans());
        });
        if let Err(error) = done.await {
            tracing::error!(%error, "looking after the bans failed");
        }
        sleep(clock.now().saturating_duration_since(start) * (WRITING_SHARE - 1)).await;
    }
}

/// Makes the tables anew when something changed, for as long as the process lives.
pub(crate) async fn settle(edge: Arc<Edge>) {
    loop {
        sleep(SETTLING).await;
        if !edge.live().snapshot.bans().is_unsettled() {
            continue;
        }
        let busy = edge.clone();
        let clock = edge.clock();
        let start = clock.now();
        let done = spawn_blocking(move || busy.live().snapshot.bans().settle(now(busy.clock())));
        if let Err(error) = done.await {
            tracing::error!(%error, "the bans' tables are not made anew");
        }
        sleep(clock.now().saturating_duration_since(start) * (WRITING_SHARE - 1)).await;
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::decision::{Measure, Target};

    use super::*;

    #[test]
    fn bans_outlive_the_process_and_a_bad_line_is_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bans");
        let (clock, bans) = (Clock::System, Bans::default());
        let kept = BanFile::open(Some(&path), &bans, now(&clock)).unwrap();
        let ban = Ban {
            target: Target::Network("192.0.2.0/24".parse().unwrap()),
            measure: Measure::Tarpit,
            until: None,
            since: 1,
            source: "s".into(),
            reason: "r".into(),
        };
        bans.add([ban.clone()], now(&clock));
        kept.save(&bans);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}nonsense\n")).unwrap();

        let again = Bans::default();
        BanFile::open(Some(&path), &again, now(&clock)).unwrap();
        assert_eq!(again.list(None, 9), [ban]);
        assert!(fs::read_to_string(folder.path().join("bans.bad")).unwrap().contains("nonsense"));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let opened = BanFile::open(Some(folder.path()), &Bans::default(), now(&Clock::System));
        assert!(opened.is_err());
    }
}
