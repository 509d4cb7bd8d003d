//! What happened beside requests.

use tidegate_core::notice::{Notice, NoticeKind, Severity};

use super::family::{Count, Families};

/// How often each kind of notice was announced, by severity.
#[derive(Debug)]
pub(super) struct Notices([[Count; Severity::ALL.len()]; NoticeKind::ALL.len()]);

impl Default for Notices {
    fn default() -> Self {
        Self(std::array::from_fn(|_kind| Default::default()))
    }
}

impl Notices {
    pub(super) fn record(&self, notice: &Notice) {
        let kind = self.0.get(notice.kind as usize);
        if let Some(count) = kind.and_then(|kind| kind.get(notice.severity as usize)) {
            count.add(1);
        }
    }

    /// Kinds that never happened are shown with the severity that they usually have.
    pub(super) fn show(&self, families: &mut Families) {
        let (name, help) =
            ("tidegate_notices_total", "What happened beside requests, by kind and severity.");
        families.counters(name, help, |family| {
            for (kind, counts) in NoticeKind::ALL.iter().zip(&self.0) {
                for (severity, count) in Severity::ALL.iter().zip(counts) {
                    let labels = [("kind", kind.code()), ("severity", severity.name())];
                    if *severity == kind.severity() {
                        family.counter(&labels, count.value());
                    } else {
                        family.counter_if_any(&labels, count.value());
                    }
                }
            }
        });
    }
}
