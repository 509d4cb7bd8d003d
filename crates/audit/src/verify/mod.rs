//! Verifying a log: everything is computed again from the entries up, and compared with what the
//! log signed, now and before. Nothing of the log is believed but its public key.

mod bundle;
mod finding;
mod tree;

use std::ops::Range;

pub use self::finding::{Finding, Whose};
use crate::checkpoint::{Checkpoint, CheckpointError, Signed};
use crate::cosignature;
use crate::note::{NoteError, VerifyingKey};
use crate::proof::Prover;
use crate::tile::{TILE_WIDTH, decimal};
use crate::tiles::Tiles;
use crate::tree::verify_consistency;

/// After so many findings a walk ends: the log is beyond doubt.
pub const MAX_FINDINGS: usize = 1_000;

/// What is to be verified, and what it is held against. The bytes are those of the files, read
/// before the walk: the head file first, since a running log writes it before its checkpoint.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    /// The log's `checkpoint`; `None` where it is missing.
    pub checkpoint: Option<Vec<u8>>,
    /// The head file: `None` if it is not asked for, `Some(None)` if it is missing.
    pub head: Option<Option<Vec<u8>>>,
    /// Earlier checkpoints of the log, from an anchor or a witness.
    pub earlier: Vec<Vec<u8>>,
    /// The log's `minimum`; `None` where there is none.
    pub minimum: Option<Vec<u8>>,
    /// Which entries are to be verified; all that the log has, if not given.
    pub range: Option<Range<u64>>,
    /// From which entry on the log has to have them; from its own minimum, if not given.
    pub kept: Option<u64>,
    /// Keys of the log before the one it has now, for what it signed with them.
    pub former_keys: Vec<VerifyingKey>,
    /// Witnesses whose cosignatures are looked for.
    pub witnesses: Vec<VerifyingKey>,
}

/// What verifying found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What the log signed, if its signature held.
    pub checkpoint: Option<Checkpoint>,
    /// The entries that were computed again.
    pub verified: Range<u64>,
    /// The first entry that the log still has.
    pub minimum: u64,
    /// The witnesses that cosigned the checkpoint, and when, in seconds since 1970.
    pub cosigned: Vec<(String, u64)>,
    /// What is wrong; empty for a log that is as it was signed.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether everything held.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.checkpoint.is_some() && self.findings.is_empty()
    }
}

/// Verifies a log. `progress` is told how many entries were computed again and how many there
/// are to do.
pub fn verify(
    tiles: &dyn Tiles,
    key: &VerifyingKey,
    claim: &Claim,
    progress: &mut dyn FnMut(u64, u64),
) -> Report {
    let mut report = Report::default();
    let signed = match &claim.checkpoint {
        Some(bytes) => open(bytes, (key, &claim.former_keys), Whose::Log, &mut report.findings),
        None => {
            report.findings.push(Finding::CheckpointMissing { whose: Whose::Log });
            None
        }
    };
    let Some(signed) = signed else { return report };
    let checkpoint = signed.checkpoint().clone();
    report.cosigned = cosigned(&signed, &claim.witnesses);
    report.minimum = minimum(claim, checkpoint.size, &mut report.findings);
    report.verified = range(claim, report.minimum, checkpoint.size);
    let total = report.verified.end - report.verified.start;
    let walked = report.verified.clone();
    let found = tree::walk(tiles, &checkpoint, walked, &mut |done| progress(done, total));
    report.findings.extend(found);
    let sound = report.findings.is_empty();
    compare_all((tiles, sound), key, claim, &checkpoint, &mut report.findings);
    report.checkpoint = Some(checkpoint);
    report
}

/// The entries to verify: whole bundles are, so it begins where the first of them does.
fn range(claim: &Claim, minimum: u64, size: u64) -> Range<u64> {
    let asked = claim.range.clone().unwrap_or(0..size);
    let end = asked.end.min(size);
    let start = asked.start.max(minimum).min(end);
    start / TILE_WIDTH * TILE_WIDTH..end
}

fn minimum(claim: &Claim, size: u64, findings: &mut Vec<Finding>) -> u64 {
    let stated = match &claim.minimum {
        None => Some(0),
        Some(bytes) => std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| decimal(text.strip_suffix('\n').unwrap_or(text))),
    };
    let Some(stated) = stated else {
        findings.push(Finding::Minimum { why: "it is no number".to_owned() });
        return 0;
    };
    if stated > size {
        let why = format!("{stated} is beyond the log's {size} entries");
        findings.push(Finding::Minimum { why });
        return 0;
    }
    if let Some(kept) = claim.kept.filter(|kept| stated > *kept) {
        findings.push(Finding::Pruned { minimum: stated, kept });
    }
    stated
}

fn cosigned(signed: &Signed, witnesses: &[VerifyingKey]) -> Vec<(String, u64)> {
    let note = signed.note();
    let cosigned = witnesses.iter().filter_map(|witness| {
        let time = note
            .signatures_by(witness)
            .find_map(|signature| cosignature::verify(witness, note.text(), &signature.bytes))?;
        Some((witness.name().to_owned(), time))
    });
    cosigned.collect()
}

/// Opens a checkpoint with the key or, if it was not signed with that one, with a former one.
fn open(
    bytes: &[u8],
    (key, former): (&VerifyingKey, &[VerifyingKey]),
    whose: Whose,
    findings: &mut Vec<Finding>,
) -> Option<Signed> {
    let opened = former.iter().fold(Signed::open(bytes, key), |opened, key| match opened {
        Err(CheckpointError::Note(NoteError::NotSigned)) => Signed::open(bytes, key),
        opened => opened,
    });
    opened.map_err(|why| findings.push(Finding::Checkpoint { whose, why })).ok()
}

/// Against everything that the log signed before. Beside the tiles stands whether they led to the
/// signed root.
fn compare_all(
    tiles: (&dyn Tiles, bool),
    key: &VerifyingKey,
    claim: &Claim,
    now: &Checkpoint,
    findings: &mut Vec<Finding>,
) {
    let key = (key, claim.former_keys.as_slice());
    match &claim.head {
        None => {}
        Some(None) => findings.push(Finding::CheckpointMissing { whose: Whose::Head }),
        Some(Some(bytes)) => {
            if let Some(head) = open(bytes, key, Whose::Head, findings) {
                findings.extend(compare_head(tiles, head.checkpoint(), now));
            }
        }
    }
    for bytes in &claim.earlier {
        if let Some(earlier) = open(bytes, key, Whose::Earlier, findings) {
            findings.extend(compare(tiles, Whose::Earlier, earlier.checkpoint(), now));
        }
    }
}

/// A head file that knows more than the checkpoint: entries are gone, or only the checkpoint is
/// old.
fn compare_head(
    (tiles, sound): (&dyn Tiles, bool),
    head: &Checkpoint,
    now: &Checkpoint,
) -> Option<Finding> {
    if head.size <= now.size {
        return compare((tiles, sound), Whose::Head, head, now);
    }
    let still_there = tree::walk(tiles, head, now.size..head.size, &mut |_| ()).is_empty();
    if still_there && compare((tiles, true), Whose::Log, now, head).is_none() {
        return Some(Finding::Behind { head: head.size, size: now.size });
    }
    Some(Finding::RolledBack { whose: Whose::Head, earlier: head.size, size: now.size })
}

/// Whether the log at `now` begins with the log at `earlier`.
fn compare(
    (tiles, sound): (&dyn Tiles, bool),
    whose: Whose,
    earlier: &Checkpoint,
    now: &Checkpoint,
) -> Option<Finding> {
    let (old, new) = ((earlier.size, earlier.root), (now.size, now.root));
    match Prover::new(tiles, now.size).consistency(old.0) {
        Ok(None) => Some(Finding::RolledBack { whose, earlier: old.0, size: new.0 }),
        Ok(Some(proof)) => {
            let error = verify_consistency(old, new, &proof).err()?;
            if sound {
                return Some(Finding::Forked { whose, earlier: old.0 });
            }
            // The proof was made of tiles that are not as they were signed.
            Some(Finding::Incomparable { whose, earlier: old.0, why: error.to_string() })
        }
        Err(why) => Some(Finding::Incomparable { whose, earlier: old.0, why: why.to_string() }),
    }
}
