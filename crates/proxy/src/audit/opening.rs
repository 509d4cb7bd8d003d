//! The log, which the successor of a running process gets only when that one lets go of it: a log
//! has one writer. Until then requests that promise records wait, as for a slow disk, and what
//! nobody waits for is kept in memory, up to a bound.

use std::sync::OnceLock;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_audit::log::{Durability, Log};
use tokio::sync::watch;
use tokio::time::timeout;

/// How many records are kept until the log is open.
const EARLY: usize = 1_000;

/// A log that may still be another process's.
#[derive(Debug)]
pub(super) struct Opening {
    log: OnceLock<Log>,
    opened: watch::Sender<bool>,
    early: Mutex<Vec<Vec<u8>>>,
}

impl Opening {
    pub(super) fn new(log: Option<Log>) -> Self {
        let opened = watch::Sender::new(log.is_some());
        let log = log.map_or_else(OnceLock::new, OnceLock::from);
        Self { log, opened, early: Mutex::default() }
    }

    pub(super) fn get(&self) -> Option<&Log> {
        self.log.get()
    }

    /// The log as soon as it is open; `None` if that takes longer.
    pub(super) async fn within(&self, patience: Duration) -> Option<&Log> {
        if self.log.get().is_none() {
            let mut opened = self.opened.subscribe();
            // Whether it is open in time shows below.
            drop(timeout(patience, opened.wait_for(|open| *open)).await);
        }
        self.log.get()
    }

    /// Keeps an entry until the log is open; false if there is no room, or it is open by now.
    pub(super) fn keep_early(&self, entry: Vec<u8>) -> bool {
        let mut early = self.early.lock();
        let room = self.log.get().is_none() && early.len() < EARLY;
        if room {
            early.push(entry);
        }
        room
    }

    /// Puts the open log in place; returns how many entries of before it did not take.
    pub(super) fn open(&self, log: Log) -> usize {
        let mut early = self.early.lock();
        let log = self.log.get_or_init(|| log);
        let mut lost = 0;
        for entry in early.drain(..) {
            lost += usize::from(log.append(entry, Durability::Grouped).is_err());
        }
        drop(early);
        self.opened.send_replace(true);
        lost
    }
}
