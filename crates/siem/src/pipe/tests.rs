//! Deliveries against receivers that fail in every way, without a network.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tidegate_core::notice::Severity;

use super::*;
use crate::deliver::{DeliverError, Delivered};
use crate::record::{REQUEST, Record};

type Script = dyn FnMut(&[Record]) -> Result<Delivered, DeliverError> + Send + Sync;

/// A receiver that does what the script says, and keeps what it took.
struct Scripted {
    script: Box<Script>,
    taken: Arc<Mutex<Vec<Record>>>,
}

#[async_trait]
impl Deliver for Scripted {
    async fn deliver(&mut self, batch: &[Record]) -> Result<Delivered, DeliverError> {
        let delivered = (self.script)(batch)?;
        let left: BTreeSet<_> = delivered.again.iter().chain(&delivered.refused).copied().collect();
        let taken = batch.iter().enumerate().filter(|(index, _)| !left.contains(index));
        self.taken.lock().extend(taken.map(|(_, record)| record.clone()));
        Ok(delivered)
    }
}

struct Rig {
    pipe: Pipe,
    taken: Arc<Mutex<Vec<Record>>>,
    notices: mpsc::Receiver<Notice>,
}

fn options() -> PipeOptions {
    PipeOptions {
        name: "soc".into(),
        kind: "test",
        queue: 1 << 20,
        batch: BatchLimits { records: 10, bytes: 1 << 20 },
        wait: Duration::from_millis(1),
        retry: (Duration::from_millis(1), Duration::from_millis(5)),
        timeout: Duration::from_secs(1),
    }
}

fn rig(
    spool: Option<(&Path, u64)>,
    script: impl FnMut(&[Record]) -> Result<Delivered, DeliverError> + Send + Sync + 'static,
) -> Rig {
    let (tell, notices) = mpsc::channel(8);
    let taken = Arc::new(Mutex::new(Vec::new()));
    let sink = Scripted { script: Box::new(script), taken: Arc::clone(&taken) };
    let rest = (tell, Clock::System);
    let pipe = Pipe::start(&options(), 7, spool, Box::new(sink), rest);
    Rig { pipe, taken, notices }
}

impl Rig {
    fn offer(&self, count: usize) {
        for number in 0..count {
            self.pipe.offer(Draft {
                time: SystemTime::UNIX_EPOCH,
                severity: Severity::Low,
                kind: REQUEST,
                body: Bytes::from(format!("record {number}")),
            });
        }
    }

    async fn finish(&self) -> SinkSample {
        self.pipe.finish(Duration::from_secs(10), Dropped::Stopped).await;
        self.pipe.sample(SystemTime::UNIX_EPOCH)
    }

    fn sequences(&self) -> Vec<u64> {
        self.taken.lock().iter().map(|record| record.key.sequence).collect()
    }
}

fn dropped(sample: &SinkSample, why: Dropped) -> u64 {
    sample.dropped[why as usize]
}

#[tokio::test]
async fn failures_are_tried_again_in_order_and_told_once() {
    let mut calls = 0;
    let mut rig = rig(None, move |_batch| {
        calls += 1;
        if calls % 3 == 0 { Ok(Delivered::all()) } else { Err(DeliverError::again("not now")) }
    });
    rig.offer(35);
    let sample = rig.finish().await;
    assert_eq!(rig.sequences(), (1..=35).collect::<Vec<_>>());
    assert_eq!((sample.taken, sample.sent, sample.waiting, sample.failing), (35, 35, 0, false));
    assert!(sample.failures >= 8, "{sample:?}");
    let kinds = [rig.notices.recv().await, rig.notices.recv().await].map(|n| n.unwrap().kind);
    assert_eq!(kinds, [NoticeKind::SinkFailing, NoticeKind::SinkRecovered]);
    assert!(rig.notices.try_recv().is_err(), "not with every failure");
}

#[tokio::test]
async fn the_guilty_record_of_a_batch_is_found_and_dropped() {
    let rig = rig(None, |batch| {
        let guilty = |record: &Record| record.key.sequence == 7;
        match batch.iter().any(guilty) {
            true => Err(DeliverError::split("cannot parse")),
            false => Ok(Delivered::all()),
        }
    });
    rig.offer(20);
    let sample = rig.finish().await;
    let expected: Vec<_> = (1..=20).filter(|sequence| *sequence != 7).collect();
    assert_eq!(rig.sequences(), expected);
    assert_eq!((sample.sent, dropped(&sample, Dropped::Refused)), (19, 1));
}

#[tokio::test]
async fn items_are_sent_again_or_dropped_one_by_one() {
    let mut seen = BTreeSet::new();
    let rig = rig(None, move |batch| {
        let mut delivered = Delivered::default();
        for (index, record) in batch.iter().enumerate() {
            match record.key.sequence {
                3 => delivered.refused.push(index),
                n if n % 2 == 0 && seen.insert(n) => delivered.again.push(index),
                _ => {}
            }
        }
        Ok(delivered)
    });
    rig.offer(10);
    let sample = rig.finish().await;
    let unique: BTreeSet<_> = rig.sequences().into_iter().collect();
    assert_eq!(unique, (1..=10).filter(|n| *n != 3).collect());
    assert_eq!((sample.sent, dropped(&sample, Dropped::Refused)), (9, 1));
}

#[tokio::test]
async fn what_must_not_be_repeated_is_sent_once() {
    let mut rig = rig(None, |batch| match batch.first().map(|record| record.key.sequence) {
        Some(1) => Err(DeliverError::give_up("401 no such token")),
        _ => Ok(Delivered::all()),
    });
    rig.offer(20);
    let sample = rig.finish().await;
    assert_eq!(rig.sequences(), (11..=20).collect::<Vec<_>>());
    assert_eq!((sample.sent, dropped(&sample, Dropped::Refused)), (10, 10));
    assert_eq!((sample.failures, sample.failing), (1, false));
    let kinds = [rig.notices.recv().await, rig.notices.recv().await].map(|n| n.unwrap().kind);
    assert_eq!(kinds, [NoticeKind::SinkFailing, NoticeKind::SinkRecovered]);
}

/// What stands between a receiver and us may not let an attack pass that a record quotes.
fn quotes_an_attack(record: &Record) -> bool {
    record.body.starts_with(b"attack")
}

fn with_a_guard(spool: Option<(&Path, u64)>) -> Rig {
    rig(spool, |batch| match batch.iter().any(quotes_an_attack) {
        true => Err(DeliverError::again("403 blocked")),
        false => Ok(Delivered::all()),
    })
}

impl Rig {
    fn attack(&self, count: usize) {
        for _ in 0..count {
            self.pipe.offer(Draft {
                time: SystemTime::UNIX_EPOCH,
                severity: Severity::Low,
                kind: REQUEST,
                body: Bytes::from_static(b"attack"),
            });
        }
    }

    /// Offers others until so many records were refused; answers how many others.
    async fn go_on_until_refused(&self, count: u64) -> u64 {
        let refused = || dropped(&self.pipe.sample(SystemTime::UNIX_EPOCH), Dropped::Refused);
        let mut others = 0;
        while refused() < count {
            assert!(others < 10_000, "refused so far: {}", refused());
            self.offer(1);
            others += 1;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        others
    }
}

#[tokio::test]
async fn what_alone_never_passes_blocks_no_other() {
    let rig = with_a_guard(None);
    // Alone until others come; then as the last of its batch, then as all of a batch.
    rig.attack(1);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(rig.pipe.sample(SystemTime::UNIX_EPOCH).waiting, 1);
    rig.offer(15);
    rig.attack(1);
    rig.attack(10);
    let others = 15 + rig.go_on_until_refused(12).await;
    let sample = rig.finish().await;
    assert_eq!((sample.sent, dropped(&sample, Dropped::Refused)), (others, 12), "{sample:?}");
    let taken = rig.taken.lock();
    assert!(!taken.iter().any(quotes_an_attack));
    assert_eq!(taken.len() as u64, others, "none is sent twice");
}

#[tokio::test]
async fn what_alone_never_passes_blocks_no_other_behind_a_spool() {
    let folder = tempfile::tempdir().unwrap();
    let rig = with_a_guard(Some((folder.path(), 1 << 20)));
    rig.attack(3);
    let others = rig.go_on_until_refused(3).await;
    let sample = rig.finish().await;
    assert_eq!((sample.sent, dropped(&sample, Dropped::Refused)), (others, 3), "{sample:?}");
    assert_eq!((sample.taken, sample.waiting), (others + 3, 0));
}

#[tokio::test]
async fn a_receiver_that_stumbles_when_it_returns_loses_nothing() {
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    // Away for a long time, back for two calls, away for three, back.
    let rig = rig(None, move |_batch| match counted.fetch_add(1, Ordering::Relaxed) {
        0..80 | 82..85 => Err(DeliverError::again("503")),
        _ => Ok(Delivered::all()),
    });
    rig.offer(10);
    let sample = rig.finish().await;
    assert!(calls.load(Ordering::Relaxed) > 85, "{sample:?}");
    assert_eq!((sample.sent, dropped(&sample, Dropped::Refused)), (10, 0), "{sample:?}");
}

#[tokio::test]
async fn nothing_is_lost_while_a_receiver_takes_nothing() {
    let (open, closed) = (Arc::new(AtomicBool::new(false)), DeliverError::again("401"));
    let door = Arc::clone(&open);
    let rig = rig(None, move |_batch| match door.load(Ordering::Relaxed) {
        true => Ok(Delivered::all()),
        false => Err(closed.clone()),
    });
    rig.offer(25);
    tokio::time::sleep(Duration::from_millis(300)).await;
    open.store(true, Ordering::Relaxed);
    let sample = rig.finish().await;
    assert_eq!((sample.sent, dropped(&sample, Dropped::Refused)), (25, 0));
}

#[tokio::test]
async fn a_receiver_that_refuses_every_item_is_not_said_to_have_recovered() {
    let mut rig = rig(None, |batch| {
        Ok(Delivered { refused: (0..batch.len()).collect(), ..Delivered::default() })
    });
    rig.offer(200);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let sample = rig.pipe.sample(SystemTime::UNIX_EPOCH);
    assert!(dropped(&sample, Dropped::Refused) < 50 && sample.failing, "{sample:?}");
    assert_eq!(rig.notices.recv().await.unwrap().kind, NoticeKind::SinkFailing);
    assert!(rig.notices.try_recv().is_err());
}

#[tokio::test]
async fn an_item_that_is_refused_alone_is_believed() {
    let rig = rig(None, |_batch| Ok(Delivered { refused: vec![0], ..Delivered::default() }));
    rig.offer(1);
    let sample = rig.finish().await;
    assert_eq!((sample.failures, dropped(&sample, Dropped::Refused)), (0, 1));
}

#[tokio::test]
async fn a_full_queue_drops_and_counts() {
    let rig = rig(None, |_batch| Err(DeliverError::again("never")));
    rig.offer(100_000);
    let sample = rig.pipe.sample(SystemTime::UNIX_EPOCH + Duration::from_secs(9));
    let lost = dropped(&sample, Dropped::QueueFull);
    assert!(lost > 90_000 && sample.queue_bytes <= 1 << 20, "{sample:?}");
    assert_eq!(sample.taken, lost + sample.waiting);
    assert_eq!(sample.lag, Duration::from_secs(9));
    rig.pipe.finish(Duration::from_millis(50), Dropped::Stopped).await;
    let sample = rig.pipe.sample(SystemTime::UNIX_EPOCH);
    assert_eq!(sample.taken, lost + dropped(&sample, Dropped::Stopped));
}

#[tokio::test]
async fn a_change_of_receivers_loses_nothing() {
    let rig = rig(None, |_batch| Err(DeliverError::again("never")));
    rig.offer(50);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let sink =
        Scripted { script: Box::new(|_| Ok(Delivered::all())), taken: Arc::clone(&rig.taken) };
    rig.pipe.change(&options(), None, Box::new(sink));
    rig.offer(50);
    let sample = rig.finish().await;
    assert_eq!(rig.sequences(), (1..=100).collect::<Vec<_>>());
    assert_eq!((sample.taken, sample.sent), (100, 100));
}

#[tokio::test]
async fn a_spool_keeps_what_a_dead_receiver_did_not_take() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Some((folder.path(), 1 << 20));
    let dead = rig(spool, |_batch| Err(DeliverError::again("never")));
    dead.offer(500);
    dead.pipe.finish(Duration::from_millis(300), Dropped::Stopped).await;
    let sample = dead.pipe.sample(SystemTime::UNIX_EPOCH);
    assert_eq!((sample.spooled, sample.waiting, sample.sent), (500, 500, 0));
    drop(dead);
    // Its tasks are gone, and with them the lock, when the runtime has looked at them.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (tell, _notices) = mpsc::channel(8);
    let taken = Arc::new(Mutex::new(Vec::new()));
    let sink = Scripted { script: Box::new(|_| Ok(Delivered::all())), taken: Arc::clone(&taken) };
    let rest = (tell, Clock::System);
    let pipe = Pipe::start(&options(), 8, spool, Box::new(sink), rest);
    pipe.finish(Duration::from_secs(10), Dropped::Stopped).await;
    let keys: Vec<_> =
        taken.lock().iter().map(|record| (record.key.origin, record.key.sequence)).collect();
    assert_eq!(keys, (1..=500).map(|sequence| (7, sequence)).collect::<Vec<_>>());
    let sample = pipe.sample(SystemTime::UNIX_EPOCH);
    assert_eq!((sample.recovered, sample.sent, sample.waiting), (500, 500, 0));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_receiver_that_refuses_everything_is_not_fed_at_full_speed() {
    let mut rig = rig(None, |_batch| Err(DeliverError::split("unknown tenant")));
    rig.offer(200);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let sample = rig.pipe.sample(SystemTime::UNIX_EPOCH);
    assert!(dropped(&sample, Dropped::Refused) < 50 && sample.failing, "{sample:?}");
    assert_eq!(rig.notices.recv().await.unwrap().kind, NoticeKind::SinkFailing);
}

#[tokio::test]
async fn a_spool_that_cannot_be_opened_is_tried_again_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spool");
    std::fs::write(&path, "a file").unwrap();
    let mut rig = rig(Some((&path, 1 << 20)), |_batch| Ok(Delivered::all()));
    rig.offer(50);
    assert_eq!(rig.notices.recv().await.unwrap().kind, NoticeKind::SinkFailing);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(rig.notices.recv().await.unwrap().kind, NoticeKind::SinkRecovered);
    let sample = rig.finish().await;
    assert_eq!((sample.taken, sample.sent), (50, 50));
}
