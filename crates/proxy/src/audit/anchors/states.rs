//! How far each anchor is, for metrics and for the next start of its task.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tidegate_audit::note::Note;
use tidegate_observe::AuditAnchor;

/// All anchors that there were since the start, by their labels.
#[derive(Debug, Default)]
pub(in crate::audit) struct AnchorStates {
    states: Mutex<BTreeMap<String, Arc<AnchorState>>>,
    witnessed: Mutex<Option<(u64, Note)>>,
}

/// How far one anchor is.
#[derive(Debug, Default)]
pub(super) struct AnchorState {
    pub(super) label: String,
    sent: AtomicU64,
    failures: AtomicU64,
    /// The size of the last checkpoint that was taken.
    size: AtomicU64,
    /// When that was, in seconds since 1970; 0 if never.
    at: AtomicU64,
}

impl AnchorStates {
    pub(super) fn state(&self, label: &str) -> Arc<AnchorState> {
        let mut states = self.states.lock();
        let state = states.entry(label.to_owned()).or_insert_with(|| {
            Arc::new(AnchorState { label: label.to_owned(), ..AnchorState::default() })
        });
        Arc::clone(state)
    }

    /// Keeps what a witness signed; of the same checkpoint all cosignatures.
    pub(super) fn keep_witnessed(&self, size: u64, note: Note) {
        let mut kept = self.witnessed.lock();
        match &mut *kept {
            Some((known, before)) if *known == size && before.text() == note.text() => {
                for signature in note.signatures() {
                    if !before.signatures().contains(signature) {
                        before.add(signature.clone());
                    }
                }
            }
            Some((known, _)) if *known > size => {}
            _ => *kept = Some((size, note)),
        }
    }

    /// The latest checkpoint that a witness signed, with its cosignatures.
    pub(in crate::audit) fn witnessed(&self) -> Option<String> {
        self.witnessed.lock().as_ref().map(|(_, note)| note.to_string())
    }

    /// For metrics.
    pub(in crate::audit) fn sample(&self) -> Vec<AuditAnchor> {
        let states = self.states.lock();
        states.values().map(|state| state.sample()).collect()
    }
}

impl AnchorState {
    pub(super) fn taken(&self, size: u64, at: SystemTime) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.size.store(size, Ordering::Relaxed);
        let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.at.store(seconds, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a checkpoint of this size was taken already.
    pub(super) fn has(&self, size: u64) -> bool {
        self.at.load(Ordering::Relaxed) > 0 && self.size.load(Ordering::Relaxed) >= size
    }

    fn sample(&self) -> AuditAnchor {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        AuditAnchor {
            anchor: self.label.clone(),
            sent: load(&self.sent),
            failures: load(&self.failures),
            size: load(&self.size),
            at: load(&self.at),
        }
    }
}
