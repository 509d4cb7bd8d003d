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
    /// Earlier checkpoints of the log, from an anchor or a witness. What lies before the log's
    /// minimum cannot be compared any more, and need not be if a later one was.
    pub earlier: Vec<Vec<u8>>,
    /// Checkpoints with the signatures of witnesses, as the log keeps them in `cosigned/`.
    pub cosigned: Vec<Vec<u8>>,
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
    /// What the witnesses that were looked for have signed, the last of each.
    pub cosigned: Vec<Cosigned>,
    /// How many earlier checkpoints the log begins with.
    pub compared: usize,
    /// What is wrong; empty for a log that is as it was signed.
    pub findings: Vec<Finding>,
}

/// A witness's signature over a checkpoint of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// The witness.
    pub name: String,
    /// How many entries the log had.
    pub size: u64,
    /// When the witness saw it so, in seconds since 1970.
    pub time: u64,
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
    report.minimum = minimum(claim, checkpoint.size, &mut report.findings);
    report.verified = range(claim, report.minimum, checkpoint.size);
    let total = report.verified.end - report.verified.start;
    let walked = report.verified.clone();
    let found = tree::walk(tiles, &checkpoint, walked, &mut |done| progress(done, total));
    report.findings.extend(found);
    let sound = report.findings.is_empty();
    let now = Now { prover: Prover::new(tiles, checkpoint.size), checkpoint: &checkpoint, sound };
    let keys = (key, claim.former_keys.as_slice());
    if let Some(head) = &claim.head {
        compare_head(tiles, &now, head.as_deref(), keys, &mut report.findings);
    }
    compare_all(&now, claim, keys, &mut report);
    compare_cosigned(&now, signed, claim, keys, &mut report);
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

/// Opens a checkpoint with the key or, if it was not signed with that one, with a former one.
fn open(
    bytes: &[u8],
    (key, former): Keys<'_>,
    whose: Whose,
    findings: &mut Vec<Finding>,
) -> Option<Signed> {
    let opened = former.iter().fold(Signed::open(bytes, key), |opened, key| match opened {
        Err(CheckpointError::Note(NoteError::NotSigned)) => Signed::open(bytes, key),
        opened => opened,
    });
    opened.map_err(|why| findings.push(Finding::Checkpoint { whose, why })).ok()
}

/// The log as it is: what earlier checkpoints are compared with.
struct Now<'a> {
    prover: Prover<'a>,
    checkpoint: &'a Checkpoint,
    /// Whether the tiles lead to the signed root.
    sound: bool,
}

type Keys<'a> = (&'a VerifyingKey, &'a [VerifyingKey]);

/// Against earlier checkpoints.
fn compare_all(now: &Now<'_>, claim: &Claim, keys: Keys<'_>, report: &mut Report) {
    let mut too_old = Vec::new();
    for bytes in &claim.earlier {
        let Some(earlier) = open(bytes, keys, Whose::Earlier, &mut report.findings) else {
            continue;
        };
        match compare(now, Whose::Earlier, earlier.checkpoint()) {
            None => report.compared += 1,
            Some(finding @ Finding::Incomparable { earlier, .. }) if earlier < report.minimum => {
                too_old.push(finding);
            }
            Some(finding) => report.findings.push(finding),
        }
    }
    if report.compared == 0 {
        report.findings.extend(too_old);
    }
}

/// Against what witnesses signed.
fn compare_cosigned(
    now: &Now<'_>,
    signed: Signed,
    claim: &Claim,
    keys: Keys<'_>,
    report: &mut Report,
) {
    let mut notes = Vec::new();
    for bytes in &claim.cosigned {
        let Some(note) = open(bytes, keys, Whose::Witness, &mut report.findings) else { continue };
        match compare(now, Whose::Witness, note.checkpoint()) {
            None => notes.push(note),
            Some(finding) => report.findings.push(finding),
        }
    }
    notes.push(signed);
    report.cosigned = claim
        .witnesses
        .iter()
        .filter_map(|witness| {
            let all = notes.iter().filter_map(|note| cosigned(note, witness));
            all.max_by_key(|cosigned| (cosigned.size, cosigned.time))
        })
        .collect();
}

/// A witness's signature under a checkpoint.
fn cosigned(signed: &Signed, witness: &VerifyingKey) -> Option<Cosigned> {
    let (note, size) = (signed.note(), signed.checkpoint().size);
    let time = note
        .signatures_by(witness)
        .find_map(|signature| cosignature::verify(witness, note.text(), &signature.bytes))?;
    Some(Cosigned { name: witness.name().to_owned(), size, time })
}

/// Against the head file. If that knows more than the checkpoint, entries are gone, or only the
/// checkpoint is old.
fn compare_head(
    tiles: &dyn Tiles,
    now: &Now<'_>,
    bytes: Option<&[u8]>,
    keys: Keys<'_>,
    findings: &mut Vec<Finding>,
) {
    let Some(bytes) = bytes else {
        findings.push(Finding::CheckpointMissing { whose: Whose::Head });
        return;
    };
    let Some(head) = open(bytes, keys, Whose::Head, findings) else { return };
    let (head, size) = (head.checkpoint(), now.checkpoint.size);
    if head.size <= size {
        findings.extend(compare(now, Whose::Head, head));
        return;
    }
    let still_there = tree::walk(tiles, head, size..head.size, &mut |_| ()).is_empty();
    let then = Now { prover: Prover::new(tiles, head.size), checkpoint: head, sound: true };
    let is_behind = still_there && compare(&then, Whose::Log, now.checkpoint).is_none();
    findings.push(if is_behind {
        Finding::Behind { head: head.size, size }
    } else {
        Finding::RolledBack { whose: Whose::Head, earlier: head.size, size }
    });
}

/// Whether the log begins with the log at `earlier`.
fn compare(now: &Now<'_>, whose: Whose, earlier: &Checkpoint) -> Option<Finding> {
    let old = (earlier.size, earlier.root);
    let new = (now.checkpoint.size, now.checkpoint.root);
    match now.prover.consistency(old.0) {
        Ok(None) => Some(Finding::RolledBack { whose, earlier: old.0, size: new.0 }),
        Ok(Some(proof)) => {
            let error = verify_consistency(old, new, &proof).err()?;
            if now.sound {
                return Some(Finding::Forked { whose, earlier: old.0 });
            }
            // The proof was made of tiles that are not as they were signed.
            Some(Finding::Incomparable { whose, earlier: old.0, why: error.to_string() })
        }
        Err(why) => Some(Finding::Incomparable { whose, earlier: old.0, why: why.to_string() }),
    }
}
