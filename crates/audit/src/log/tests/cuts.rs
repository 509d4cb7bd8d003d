//! Properties of the write-ahead log, by random records, groups and cuts.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::disk::Disk;
use super::super::frame::Frame;
use super::super::replay::{Outcome, Replay, all_segments};
use super::super::wal::Wal;
use super::sim::{Plan, Sim};

type Groups = Vec<Vec<Vec<u8>>>;

fn groups() -> impl Strategy<Value = Groups> {
    vec(vec(vec(any::<u8>(), 0..200), 1..12), 1..12)
}

/// Writes groups from index `start` on, into segments of a few hundred bytes.
fn written(groups: &Groups, start: u64, limit: u64) -> Sim {
    let sim = Sim::new(Plan::default());
    sim.make_dir(Path::new("/wal")).unwrap();
    let mut wal = Wal::start(sim.as_disk(), "/wal".into(), limit, start).unwrap();
    for group in groups {
        let mut frame = Frame::with_capacity(0);
        group.iter().for_each(|record| frame.push(record).unwrap());
        wal.commit(&mut frame).unwrap();
    }
    sim
}

fn replayed(sim: &Sim, start: u64) -> Result<(Outcome, Vec<Vec<u8>>), String> {
    let mut records = Vec::new();
    let outcome = Replay::new(sim, Path::new("/wal"), start)?.each(|_index, record| {
        records.push(record.to_vec());
        Ok::<_, String>(())
    })?;
    Ok((outcome, records))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_written_is_read_from_any_index_on(
        groups in groups(), start in 0..1_000_000_u64, limit in 1..2000_u64, skip in 0..30_u64,
    ) {
        let sim = written(&groups, start, limit);
        let all: Vec<_> = groups.concat();
        let skip = skip.min(u64::try_from(all.len()).unwrap());
        let (outcome, records) = replayed(&sim, start + skip).unwrap();
        prop_assert_eq!(&records[..], &all[usize::try_from(skip).unwrap()..]);
        let end = start + u64::try_from(all.len()).unwrap();
        prop_assert_eq!(outcome, Outcome { end, torn: 0 });
    }

    #[test]
    fn a_cut_leaves_the_groups_before_it(groups in groups(), cut in 0..10_000_usize) {
        let sim = written(&groups, 0, u64::MAX);
        let path = Path::new("/wal/00000000000000000000.wal");
        let whole = sim.read(path).unwrap();
        let cut = cut % (whole.len() + 1);
        sim.create(path).unwrap().append(&whole[..cut]).unwrap();
        let (outcome, records) = replayed(&sim, 0).unwrap();
        let mut length = 8;
        let mut expected = Vec::new();
        for group in &groups {
            length += 48 + group.iter().map(|record| record.len() + 2).sum::<usize>();
            if length > cut {
                break;
            }
            expected.extend(group.iter().cloned());
        }
        prop_assert_eq!(&records, &expected);
        prop_assert_eq!(outcome.end, u64::try_from(expected.len()).unwrap());
        prop_assert!(outcome.torn <= u64::try_from(cut).unwrap());
    }

    #[test]
    fn what_follows_the_last_group_is_left_out(groups in groups(), rest in vec(any::<u8>(), 0..300)) {
        let sim = written(&groups, 7, u64::MAX);
        let path = Path::new("/wal/00000000000000000007.wal");
        let mut bytes = sim.read(path).unwrap();
        bytes.extend_from_slice(&rest);
        sim.create(path).unwrap().append(&bytes).unwrap();
        let (outcome, records) = replayed(&sim, 7).unwrap();
        prop_assert_eq!(records, groups.concat());
        prop_assert_eq!(outcome.torn, u64::try_from(rest.len()).unwrap());
    }

    #[test]
    fn a_segment_that_is_missing_is_an_error(groups in groups(), which in 0..100_usize) {
        let sim = written(&groups, 0, 1);
        let segments = all_segments(&sim, Path::new("/wal")).unwrap();
        let (first, path) = &segments[which % segments.len()];
        sim.remove(path).unwrap();
        let last = segments.last().is_some_and(|(last, _path)| last == first);
        // Without the last the log is shorter: only a checkpoint could tell, and the head does.
        let outcome = replayed(&sim, 0);
        prop_assert_eq!(outcome.is_err(), !last || segments.len() == 1, "{:?}", outcome);
    }
}
