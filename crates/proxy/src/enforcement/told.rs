//! What is told of measures that somebody asked for, rather than a rule.

use tidegate_core::decision::Target;
use tidegate_core::notice::{Notice, NoticeKind};
use tidegate_guard::Ban;

use crate::edge::Edge;
use crate::happened::notice;

/// Of how many imported bans each is told and recorded; of more there is one sum.
pub(crate) const EXAMPLES: usize = 50;

/// Bans were taken over from elsewhere: how many, how many lifted, how many not taken; with some of
/// those that were.
pub(crate) fn imported(
    edge: &Edge,
    source: &str,
    (taken, lifted, refused): (usize, usize, usize),
    examples: &[Ban],
) {
    let summary = format!("{source}: {taken} bans added, {lifted} lifted");
    let mut sum = notice(edge, NoticeKind::BanAdded, summary);
    sum.by = Some(source.into());
    sum.details = vec![
        ("added", taken.to_string().into()),
        ("lifted", lifted.to_string().into()),
        ("not_taken", refused.to_string().into()),
    ];
    if taken > 0 && taken <= EXAMPLES {
        for ban in examples {
            added(edge, ban);
        }
        if lifted == 0 {
            return;
        }
    }
    if taken == 0 {
        sum.kind = NoticeKind::BanLifted;
        sum.severity = sum.kind.severity();
    }
    edge.announce(&sum);
    edge.audit_import(source, taken, lifted);
}

/// Somebody added a ban.
pub(crate) fn added(edge: &Edge, ban: &Ban) {
    let summary = format!("{}: {}", ban.measure.name(), ban.target);
    let mut notice = about(notice(edge, NoticeKind::BanAdded, summary), ban);
    notice.by = Some((*ban.source).into());
    edge.announce(&notice);
    edge.audit_ban("added", ban, &ban.source);
}

/// Somebody lifted a ban.
pub(crate) fn lifted(edge: &Edge, ban: &Ban, by: &str) {
    let summary = format!("lifted: {} of {}", ban.measure.name(), ban.target);
    let mut notice = about(notice(edge, NoticeKind::BanLifted, summary), ban);
    notice.by = Some(by.into());
    edge.announce(&notice);
    edge.audit_ban("lifted", ban, by);
}

fn about(mut notice: Notice, ban: &Ban) -> Notice {
    if let Target::Network(network) = &ban.target {
        let net = network.net();
        notice.client = (net.prefix_len() == net.max_prefix_len()).then(|| net.addr());
    }
    notice.details = vec![
        ("measure", ban.measure.name().into()),
        ("target", ban.target.to_string().into()),
        ("target_kind", ban.target.kind().into()),
        ("source", (*ban.source).into()),
    ];
    if !ban.reason.is_empty() {
        notice.details.push(("reason", (*ban.reason).into()));
    }
    if let Some(until) = ban.until {
        notice.details.push(("until", until.to_string().into()));
    }
    notice
}
