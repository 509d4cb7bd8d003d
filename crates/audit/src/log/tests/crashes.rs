//! Crashes and failures at every operation of the writer, on a file system that loses what was
//! not synced. Whatever happens: each record that was acknowledged is there, and the tree agrees
//! with each checkpoint that was ever signed, whether anybody saw it or not.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::super::disk::Disk;
use super::super::fault::Fault;
use super::super::frame::Frame;
use super::super::open::{self, OpenError, Opened};
use super::key;
use super::sim::{Crash, Dice, Plan, Sim};
use crate::bundle;
use crate::checkpoint::Signed;
use crate::hash::Hash;
use crate::log::{Clock, Options};
use crate::tile::{Kind, Tile};
use crate::tree::Frontier;

/// What the world outside knows of a log.
#[derive(Clone, Debug, Default)]
struct Witness {
    /// Records that were given an index, by it: more than one when the disk was full.
    tried: BTreeMap<u64, Vec<Vec<u8>>>,
    /// Those whose appenders were told.
    acknowledged: BTreeMap<u64, Vec<u8>>,
    /// Every checkpoint that was signed.
    signed: BTreeSet<(u64, Hash)>,
}

fn options() -> Options {
    // Small segments, so that crashes find the log between two of them.
    Options { segment: 4096, ..Options::new("/var/log", "/apart/head") }
}

fn open(sim: &Sim) -> Result<Opened, OpenError> {
    open::open(&sim.as_disk(), &mut options(), &key(), &Clock::System)
}

impl Witness {
    /// Appends groups and signs checkpoints until something breaks, or enough is done.
    fn work(&mut self, sim: &Sim, mut opened: Opened, seed: u64) -> Result<(), Fault> {
        let mut dice = Dice(seed);
        for _ in 0..24 {
            self.group(&mut opened, &mut dice)?;
            if dice.below(3) == 0 {
                soften(opened.tiler.checkpoint().map(drop))?;
                self.look(sim);
            }
        }
        soften(opened.tiler.checkpoint().map(drop))
    }

    fn group(&mut self, opened: &mut Opened, dice: &mut Dice) -> Result<(), Fault> {
        let (mut frame, records) = self.some_records(opened.wal.next(), dice);
        match opened.wal.commit(&mut frame) {
            Ok(()) => self.acknowledged.extend(records),
            other => return soften(other),
        }
        let mut taken = opened.tiler.apply(frame.first(), frame.payload());
        while let Err(Fault::NoSpace(_)) = taken {
            taken = opened.tiler.write_full();
        }
        taken
    }

    fn some_records(&mut self, first: u64, dice: &mut Dice) -> (Frame, Vec<(u64, Vec<u8>)>) {
        let mut frame = Frame::with_capacity(0);
        let mut records = Vec::new();
        for index in (first..).take(1 + dice.below(60)) {
            let record = vec![dice.below(256).to_le_bytes()[0]; dice.below(90)];
            frame.push(&record).unwrap();
            self.tried.entry(index).or_default().push(record.clone());
            records.push((index, record));
        }
        (frame, records)
    }

    /// Notes what was signed, wherever it was written.
    fn look(&mut self, sim: &Sim) {
        for bytes in sim.contents() {
            if let Ok(signed) = Signed::open(&bytes, key().verifying_key()) {
                self.signed.insert((signed.checkpoint().size, signed.checkpoint().root));
            }
        }
    }

    /// That the log tells the same story.
    #[track_caller]
    fn check(&self, sim: &Sim, context: &str) {
        let (records, tree) = read(&*sim.as_disk());
        let size = u64::try_from(records.len()).unwrap();
        for (index, record) in &self.acknowledged {
            let found = records.get(usize::try_from(*index).unwrap());
            assert_eq!(found, Some(record), "record {index} of {size}, {context}");
        }
        for (index, record) in (0..).zip(&records) {
            let tried = self.tried.get(&index).is_some_and(|tried| tried.contains(record));
            assert!(tried, "record {index} of {size} was never appended, {context}");
        }
        for (size, root) in &self.signed {
            let found = tree.get(usize::try_from(*size).unwrap());
            assert_eq!(found, Some(root), "the tree of {size} changed, {context}");
        }
    }
}

/// No room is no reason to stop.
fn soften(outcome: Result<(), Fault>) -> Result<(), Fault> {
    match outcome {
        Err(Fault::NoSpace(_)) => Ok(()),
        other => other,
    }
}

/// All records under the checkpoint, and the root at each size.
fn read(disk: &dyn Disk) -> (Vec<Vec<u8>>, Vec<Hash>) {
    let root = Path::new("/var/log");
    let checkpoint = disk.read(&root.join("checkpoint")).unwrap();
    let signed = Signed::open(&checkpoint, key().verifying_key()).unwrap();
    let mut records = Vec::new();
    for tile in Tile::all_at(Kind::Entries, signed.checkpoint().size) {
        let bytes = disk.read(&root.join(tile.path())).unwrap();
        let entries = bundle::entries(&bytes, usize::from(tile.width)).unwrap();
        records.extend(entries.into_iter().map(<[u8]>::to_vec));
    }
    for level in 0..2 {
        for tile in Tile::all_at(Kind::Hashes(level), signed.checkpoint().size) {
            let hashes = disk.read(&root.join(tile.path())).unwrap();
            assert_eq!(hashes.len(), usize::from(tile.width) * Hash::LEN, "{tile}");
        }
    }
    let mut tree = Frontier::new();
    let mut roots = vec![tree.root()];
    for record in &records {
        tree.push(Hash::of_leaf(record));
        roots.push(tree.root());
    }
    assert_eq!(roots.last(), Some(&signed.checkpoint().root));
    (records, roots)
}

/// A log that has worked once without trouble, and what is known of it. By every other seed it was
/// opened again since, and its only segment is one without records.
fn worked(seed: u64) -> (Sim, Witness) {
    let sim = Sim::new(Plan::default());
    let mut witness = Witness::default();
    let opened = open(&sim).unwrap();
    witness.work(&sim, opened, seed).unwrap();
    if seed.is_multiple_of(2) {
        open(&sim).unwrap();
    }
    witness.look(&sim);
    witness.check(&sim, "untroubled");
    (sim, witness)
}

/// How many operations a run has: opening a log that worked, and work.
fn operations(seed: u64) -> u64 {
    let (sim, mut witness) = worked(seed);
    let again = sim.crashed(Crash::Process);
    let opened = open(&again).unwrap();
    witness.work(&again, opened, seed + 1).unwrap();
    again.operations()
}

/// Opens after a crash, checks, works on, and crashes without a loss: twice.
fn recover(sim: &Sim, mut witness: Witness, (seed, context): (u64, &str)) {
    let opened = open(sim).unwrap_or_else(|error| panic!("{error}, {context}"));
    witness.look(sim);
    witness.check(sim, context);
    // What was found and signed stays, however little of the rest is kept.
    let opened_again = open(&sim.crashed(Crash::KeepsNothing));
    assert!(opened_again.is_ok(), "{:?}, {context}", opened_again.err());
    witness.check(&sim.crashed(Crash::KeepsNothing), context);
    witness.work(sim, opened, seed).unwrap();
    witness.look(sim);
    witness.check(sim, context);
    let off = sim.crashed(Crash::KeepsNothing);
    open(&off).unwrap_or_else(|error| panic!("{error}, {context}"));
    witness.check(&off, context);
}

/// A run that dies at an operation, and what is left by crashes of all kinds.
fn die(seed: u64, at: u64, part: usize) {
    let (sim, mut witness) = worked(seed);
    let sim = sim.crashed(Crash::Process);
    sim.plan(Plan { dies_at: Some(at), part, ..Plan::default() });
    if let Ok(opened) = open(&sim) {
        assert!(witness.work(&sim, opened, seed + 1).is_err());
    }
    witness.look(&sim);
    let kinds = [
        Crash::Process,
        Crash::KeepsAll,
        Crash::KeepsNothing,
        Crash::KeepsSome(at),
        Crash::KeepsSome(at ^ 0x5555),
    ];
    for crash in kinds {
        let context = format!("seed {seed}, operation {at}, part {part}, {crash:?}");
        recover(&sim.crashed(crash), witness.clone(), (seed + 2, &context));
    }
}

/// Every operation with `TIDEGATE_AUDIT_THOROUGH` set; otherwise those that open the log, and every
/// few of its work.
fn steps(count: u64) -> impl Iterator<Item = u64> {
    let thorough = std::env::var_os("TIDEGATE_AUDIT_THOROUGH").is_some();
    (1..=count).filter(move |step| thorough || *step <= 24 || step % 31 == 0)
}

#[test]
fn a_crash_at_any_operation_loses_nothing_that_was_acknowledged() {
    for seed in [1, 2] {
        for at in steps(operations(seed)) {
            die(seed, at, usize::try_from(at * 37 % 257).unwrap());
        }
    }
}

/// It makes directories, which the next process finds and which may yet be lost.
#[test]
fn a_crash_at_any_operation_of_the_first_checkpoint_loses_nothing() {
    for at in 1.. {
        let sim = Sim::new(Plan::default());
        let mut witness = Witness::default();
        let mut opened = open(&sim).unwrap();
        witness.group(&mut opened, &mut Dice(2)).unwrap();
        sim.plan(Plan { dies_at: Some(at), part: 128, ..Plan::default() });
        let done = opened.tiler.checkpoint().is_ok();
        witness.look(&sim);
        for crash in [Crash::Process, Crash::KeepsAll, Crash::KeepsSome(at)] {
            let context = format!("operation {at}, {crash:?}");
            recover(&sim.crashed(crash), witness.clone(), (13, &context));
        }
        if done {
            assert!(at > 20, "{at} operations make no checkpoint");
            break;
        }
    }
}

#[test]
fn a_crash_at_any_byte_of_a_group_loses_nothing_that_was_acknowledged() {
    let (sim, witness) = worked(3);
    let opened = open(&sim).unwrap();
    drop(opened);
    let before = sim.operations();
    // The first write after opening is that of a group.
    for part in steps(257).map(|step| usize::try_from(step - 1).unwrap()) {
        let sim = sim.crashed(Crash::Process);
        let mut witness = witness.clone();
        let opened = open(&sim).unwrap();
        sim.plan(Plan { dies_at: Some(1), part, ..Plan::default() });
        assert!(witness.work(&sim, opened, 9).is_err());
        for crash in [Crash::KeepsAll, Crash::KeepsSome(u64::try_from(part).unwrap())] {
            let context = format!("part {part} after {before} operations, {crash:?}");
            recover(&sim.crashed(crash), witness.clone(), (4, &context));
        }
    }
}

#[test]
fn a_crash_while_recovering_from_a_crash_loses_nothing() {
    for seed in [5, 6] {
        let mut dice = Dice(seed);
        let (start, known) = worked(seed);
        for round in 0..25 {
            let (mut sim, mut witness) = (start.crashed(Crash::Process), known.clone());
            for _ in 0..3 {
                let at = u64::try_from(1 + dice.below(60)).unwrap();
                let plan = Plan { dies_at: Some(at), part: dice.below(257), ..Plan::default() };
                sim.plan(plan);
                if let Ok(opened) = open(&sim) {
                    drop(witness.work(&sim, opened, seed + round));
                }
                witness.look(&sim);
                let keeps = u64::try_from(dice.below(1 << 20)).unwrap();
                sim = sim.crashed(Crash::KeepsSome(keeps));
            }
            recover(&sim, witness, (seed, &format!("seed {seed}, round {round}")));
        }
    }
}

/// A failure is no crash: the process sees it, and what it does next is seen by the disk.
#[track_caller]
fn fail(seed: u64, at: u64, kind: ErrorKind) {
    let (sim, mut witness) = worked(seed);
    let sim = sim.crashed(Crash::Process);
    let part = usize::try_from(at * 41 % 257).unwrap();
    sim.plan(Plan { fails_at: Some((at, kind)), part, ..Plan::default() });
    let mut outcome = None;
    if let Ok(opened) = open(&sim) {
        outcome = Some(witness.work(&sim, opened, seed + 1));
    }
    witness.look(&sim);
    sim.plan(Plan::default());
    // The process starts again on a machine that was not switched off, where a failed sync left
    // pages that are not on the disk; then the machine loses power.
    for crash in [Crash::Process, Crash::KeepsNothing, Crash::KeepsSome(at)] {
        let context = format!("seed {seed}, operation {at} {kind}, {outcome:?}, {crash:?}");
        recover(&sim.crashed(crash), witness.clone(), (seed + 2, &context));
    }
}

#[test]
fn a_failure_of_any_operation_loses_nothing_that_was_acknowledged() {
    for seed in [7, 12] {
        for at in steps(operations(seed)) {
            fail(seed, at, ErrorKind::Other);
        }
    }
}

#[test]
fn no_room_at_any_operation_loses_nothing_that_was_acknowledged() {
    for at in steps(operations(8)) {
        fail(8, at, ErrorKind::StorageFull);
    }
}

#[test]
fn a_full_disk_is_no_end() {
    let (sim, mut witness) = worked(9);
    let used: usize = sim.contents().iter().map(Vec::len).sum();
    for more in [0, 100, 3000, 20_000, 60_000] {
        let sim = sim.crashed(Crash::Process);
        let mut opened = open(&sim).unwrap();
        let mut mine = witness.clone();
        let mut dice = Dice(more);
        sim.plan(Plan { capacity: Some(used + usize::try_from(more).unwrap()), ..Plan::default() });
        let mut refused = 0;
        while refused < 3 {
            let before = mine.acknowledged.len();
            // The tiler gives up as a closing log's does: the write-ahead log has it.
            let done = one_group(&mut mine, &mut opened, &mut dice);
            refused += usize::from(done.is_none() || mine.acknowledged.len() == before);
            drop(opened.tiler.checkpoint());
            mine.look(&sim);
        }
        sim.plan(Plan::default());
        opened.tiler.write_full().unwrap();
        mine.work(&sim, opened, 10).unwrap();
        mine.look(&sim);
        mine.check(&sim, "with room again");
        recover(&sim.crashed(Crash::KeepsNothing), mine, (11, &format!("{more} bytes of room")));
    }
    witness.look(&sim);
}

fn one_group(witness: &mut Witness, opened: &mut Opened, dice: &mut Dice) -> Option<()> {
    let mut frame = Frame::with_capacity(0);
    let record = vec![b'x'; 500 + dice.below(500)];
    frame.push(&record).unwrap();
    let index = opened.wal.next();
    witness.tried.entry(index).or_default().push(record.clone());
    match opened.wal.commit(&mut frame) {
        Ok(()) => {}
        Err(Fault::NoSpace(_)) => return None,
        Err(Fault::Broken(why)) => panic!("{why}"),
    }
    witness.acknowledged.insert(index, record);
    soften(opened.tiler.apply(frame.first(), frame.payload())).unwrap();
    Some(())
}

#[test]
fn a_group_behind_a_damaged_one_says_that_it_is_damage() {
    let sim = Sim::new(Plan::default());
    let mut witness = Witness::default();
    let mut opened = open(&sim).unwrap();
    let mut dice = Dice(1);
    for _ in 0..3 {
        witness.group(&mut opened, &mut dice).unwrap();
    }
    let path = Path::new("/var/log/wal/00000000000000000000.wal");
    let disk: Arc<dyn Disk> = sim.as_disk();
    let good = disk.read(path).unwrap();
    let write = |bytes: &[u8]| disk.create(path).unwrap().append(bytes).unwrap();
    for byte in (8..good.len()).step_by(5) {
        let mut bad = good.clone();
        bad[byte] ^= 0x10;
        write(&bad);
        match open(&sim.crashed(Crash::Process)) {
            Err(OpenError::Damaged(what)) => assert!(what.contains("damaged at byte"), "{what}"),
            // Only the last group cannot be told from one that a crash tore.
            Ok(opened) => assert!(opened.recovered.torn > 0 && opened.recovered.size > 0),
            Err(other) => panic!("{other}"),
        }
    }
    write(&good);
    recover(&sim, witness, (2, "repaired"));
}
