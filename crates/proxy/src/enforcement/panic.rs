//! The panic switch: while it is on no measure holds, and all is still noticed and told. It is on
//! while a file is there, or while somebody turned it on by a signal or an admin call; the former
//! outlives a restart, the latter does not.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Method, Response, StatusCode};
use parking_lot::Mutex;
use serde_json::json;
use tidegate_core::notice::NoticeKind;
use tokio::time::sleep;

use crate::admin::{json_answer, text};
use crate::bans::admin::value;
use crate::edge::Edge;
use crate::happened::notice;

/// How often the file is looked for.
const LOOK: Duration = Duration::from_millis(250);

/// Why the switch is on, if it is.
#[derive(Debug, Default)]
pub(crate) struct Switch {
    by_hand: AtomicBool,
    by_file: AtomicBool,
    turning: Mutex<()>,
}

impl Edge {
    /// Turns the switch by hand; the file may keep it on.
    pub(crate) fn panic_by_hand(&self, on: bool, by: &str) {
        self.panic_switch().by_hand.store(on, Ordering::Relaxed);
        self.apply_panic(by);
    }

    /// What a signal asks for: on, or off again.
    pub(crate) fn panic_by_signal(&self, signal: &str) {
        let on = !self.panic_switch().by_hand.load(Ordering::Relaxed);
        self.panic_by_hand(on, signal);
    }

    /// Looks whether the file is there.
    pub(crate) fn look_for_panic_file(&self) {
        let live = self.live();
        let response = live.snapshot.settings().response.as_ref();
        let path = response.and_then(|response| response.panic_file.as_deref());
        let before = self.panic_switch().by_file.load(Ordering::Relaxed);
        // What cannot be looked at now is as it was.
        let there = path.is_some_and(|path: &Path| path.try_exists().unwrap_or(before));
        self.panic_switch().by_file.store(there, Ordering::Relaxed);
        if there != before {
            self.apply_panic("file");
        }
    }

    fn apply_panic(&self, by: &str) {
        let switch = self.panic_switch();
        let _one_at_a_time = switch.turning.lock();
        let on = switch.by_hand.load(Ordering::Relaxed) || switch.by_file.load(Ordering::Relaxed);
        if !self.live().snapshot.bans().suspend(on) {
            return;
        }
        let (kind, summary) = match on {
            true => (NoticeKind::PanicOn, "the panic switch is on: no measure is enforced"),
            false => (NoticeKind::PanicOff, "the panic switch is off: measures are enforced again"),
        };
        let mut notice = notice(self, kind, summary);
        notice.by = Some(by.into());
        self.announce(&notice);
        self.audit_panic(on, by);
        self.isolate();
    }
}

/// Looks for the file, and keeps isolation up to date, until the process ends.
pub(crate) async fn watch(edge: Arc<Edge>) {
    loop {
        edge.look_for_panic_file();
        edge.isolate();
        sleep(LOOK).await;
    }
}

/// `GET /response/panic`, and `POST /response/panic?on=true` or `?on=false`.
pub(crate) fn answer(edge: &Edge, method: &Method, query: &str) -> Response<Vec<u8>> {
    if *method == Method::POST {
        match value(query, "on").as_deref() {
            Some("true") => edge.panic_by_hand(true, "admin"),
            Some("false") => edge.panic_by_hand(false, "admin"),
            _ => return text(StatusCode::BAD_REQUEST, "say ?on=true or ?on=false\n"),
        }
    }
    let switch = edge.panic_switch();
    let (hand, file) =
        (switch.by_hand.load(Ordering::Relaxed), switch.by_file.load(Ordering::Relaxed));
    let state = json!({ "panic": hand || file, "by_hand": hand, "by_file": file });
    json_answer(StatusCode::OK, &state)
}
