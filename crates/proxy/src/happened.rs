//! What happens beside requests, as notices: the words for it, in one place.

use tidegate_audit::redact::clean;
use tidegate_core::notice::{Notice, NoticeKind};

use crate::audit::By;
use crate::edge::Edge;

/// A notice of now.
pub(crate) fn notice(edge: &Edge, kind: NoticeKind, summary: impl Into<Box<str>>) -> Notice {
    Notice::new(edge.clock().wall(), kind, summary)
}

pub(crate) fn config_applied(edge: &Edge, by: &By) -> Notice {
    by.caused(notice(edge, NoticeKind::ConfigApplied, "configuration reloaded"))
}

pub(crate) fn config_refused(edge: &Edge, by: &By, errors: &str) -> Notice {
    let summary = "configuration refused, the last one stays";
    let mut notice = by.caused(notice(edge, NoticeKind::ConfigRefused, summary));
    notice.details.push(("errors", clean(errors).into()));
    notice
}

impl By {
    /// The notice with who caused it.
    pub(crate) fn caused(&self, mut notice: Notice) -> Notice {
        match self {
            Self::Admin(peer) => {
                notice.by = Some("admin".into());
                notice.client = peer.map(|peer| peer.ip());
            }
            Self::Signal(name) => notice.by = Some((*name).into()),
        }
        notice
    }
}
