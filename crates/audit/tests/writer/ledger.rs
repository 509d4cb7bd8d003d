//! What a process said, held against what stands on the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use tidegate_audit::bundle;
use tidegate_audit::checkpoint::Signed;
use tidegate_audit::hash::Hash;
use tidegate_audit::log::{Durability, Log, OpenError, Options, Recovered};
use tidegate_audit::tile::{Kind, TILE_WIDTH, Tile};
use tidegate_audit::tree::Frontier;
use tidegate_core::Clock;

use super::child;

/// Everything that processes said about a log, one after another.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    acknowledged: BTreeMap<u64, String>,
    signed: BTreeSet<(u64, String)>,
    /// What is known to be right: a tree as large as the full bundles that were compared.
    checked: Frontier,
    seen: BTreeSet<String>,
}

/// What a process said of its own end.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) failures: Vec<String>,
    pub(crate) no_space: Vec<String>,
    pub(crate) not_opened: Vec<String>,
}

impl Ledger {
    /// Notes the lines of a process; the last may be cut.
    pub(crate) fn note(&mut self, output: &str) -> Said {
        let mut said = Said::default();
        let whole = output.rsplit_once('\n').map_or("", |(whole, _cut)| whole);
        for line in whole.lines() {
            let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
            match (kind, rest.split_once(' ')) {
                ("A", Some((index, record))) => {
                    let index = index.parse().unwrap();
                    let before = self.acknowledged.insert(index, record.to_owned());
                    assert_eq!(before, None, "two records were given the index {index}");
                }
                ("S", Some((size, root))) => {
                    self.signed.insert((size.parse().unwrap(), root.to_owned()));
                }
                ("F", _) => said.failures.push(rest.to_owned()),
                ("N", _) => said.no_space.push(rest.to_owned()),
                ("O", _) => said.not_opened.push(rest.to_owned()),
                _ => {}
            }
        }
        said
    }

    /// Opens the log as the next process would, and compares it with what was said. What was
    /// compared once, and stands in full bundles, is taken as it was: `check_all` looks again.
    pub(crate) fn check(&mut self, folder: &Path) -> Recovered {
        let recovered = open(child::options(folder)).unwrap_or_else(|e| panic!("{e}"));
        let path = folder.join("log");
        let signed = fs::read(path.join("checkpoint")).unwrap();
        let signed = Signed::open(&signed, child::key().verifying_key()).unwrap();
        let checkpoint = signed.checkpoint();
        self.signed.insert((checkpoint.size, checkpoint.root.to_string()));
        let mut tree = self.checked.clone();
        let mut pending: BTreeSet<_> = self.signed.clone();
        let first = tree.size() / TILE_WIDTH;
        for tile in Tile::all_at(Kind::Entries, checkpoint.size) {
            if tile.index < first {
                continue;
            }
            let bytes = fs::read(path.join(tile.path())).unwrap();
            for entry in bundle::entries(&bytes, usize::from(tile.width)).unwrap() {
                let record = String::from_utf8(entry.to_vec()).unwrap();
                if let Some(told) = self.acknowledged.get(&tree.size()) {
                    assert_eq!(&record, told, "record {}", tree.size());
                }
                let shape = record.split('.').count() == 4 || record.starts_with("ballast");
                assert!(shape, "record {} is nobody's: {record}", tree.size());
                tree.push(Hash::of_leaf(entry));
                pending.remove(&(tree.size(), tree.root().to_string()));
                if tile.is_full() {
                    assert!(self.seen.insert(record), "record {} is there twice", tree.size() - 1);
                }
            }
            if tile.is_full() {
                self.checked = tree.clone();
            }
        }
        assert_eq!(tree.size(), recovered.size);
        let beyond = self.acknowledged.range(recovered.size..).next();
        assert_eq!(beyond, None, "acknowledged, and lost: the log has {}", recovered.size);
        // What was signed below the part that was read was compared when that was.
        pending.retain(|(size, _root)| *size > first * TILE_WIDTH);
        assert_eq!(pending, BTreeSet::new(), "the tree is not the one that was signed");
        recovered
    }

    /// Compares everything, from the first record on.
    pub(crate) fn check_all(&mut self, folder: &Path) {
        (self.checked, self.seen) = (Frontier::new(), BTreeSet::new());
        self.check(folder);
    }

    /// Appends `count` records in this process, and notes them.
    pub(crate) fn work(&mut self, folder: &Path, round: &str, count: u64) {
        let (log, _recovered) =
            Log::open(child::options(folder), &child::key(), Clock::System).unwrap();
        for n in 0..count {
            let record = child::record(round, 0, n);
            let ticket = log.append(record.clone().into_bytes(), Durability::BeforeResponse);
            let before = self.acknowledged.insert(ticket.unwrap().wait().unwrap(), record);
            assert_eq!(before, None, "an index was given twice");
        }
        log.close().unwrap();
    }

    /// How many records were acknowledged, and how many checkpoints seen.
    pub(crate) fn count(&self) -> (usize, usize) {
        (self.acknowledged.len(), self.signed.len())
    }
}

/// Opens and closes the log.
fn open(options: Options) -> Result<Recovered, OpenError> {
    let (log, recovered) = Log::open(options, &child::key(), Clock::System)?;
    drop(log);
    Ok(recovered)
}
