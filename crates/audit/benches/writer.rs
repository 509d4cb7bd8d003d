//! How fast the log is on the disk below a directory, given as an argument or the temporary one:
//! records per second with many in flight, and how long each of 1,000 appenders waits that begin
//! their next record when the last is durable. Prints a table for `docs/benchmarks.md`.

use std::env;
use std::future::Future as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use tidegate_audit::log::{Durability, Log, Options, Refused, Stats, Ticket};
use tidegate_audit::note::SigningKey;
use tidegate_core::Clock;

/// As long as a record of a payment.
const RECORD: usize = 430;
const DRIVERS: usize = 2;

#[expect(clippy::print_stdout, reason = "the table is what it is run for")]
fn main() {
    let given = env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let folder = given.map_or_else(env::temp_dir, PathBuf::from);
    println!("{RECORD}-byte records below {}\n", folder.display());
    println!("| load | records/s | p50 ms | p99 ms | p99.9 ms | max ms | records per sync |");
    println!("|---|---|---|---|---|---|---|");
    for round in 1..=3 {
        println!("{}", run(&folder, &format!("as fast as it goes, {round}"), as_fast_as_it_goes));
    }
    for appenders in [1, 10, 100, 1000] {
        let name = format!("{appenders} durable appenders");
        println!("{}", run(&folder, &name, |log| appending(log, appenders)));
    }
    for round in 2..=3 {
        println!("{}", run(&folder, &format!("1000 again, {round}"), |log| appending(log, 1000)));
    }
}

/// One load on a log of its own; a line of the table.
fn run(folder: &Path, name: &str, load: impl FnOnce(&Log) -> Vec<Duration>) -> String {
    let clock = Clock::System;
    let folder = folder.join(format!("tidegate-audit-bench-{}", std::process::id()));
    let options = Options::new(folder.join("log"), folder.join("head"));
    let key = SigningKey::from_seed("bench/audit", [1; 32]).unwrap_or_else(|e| unreachable!("{e}"));
    let (log, _new) =
        Log::open(options, &key, clock.clone()).unwrap_or_else(|error| unreachable!("{error}"));
    let start = clock.now();
    let mut waits = load(&log);
    let took = clock.now() - start;
    let stats = log.stats();
    log.close().unwrap_or_else(|error| unreachable!("{error}"));
    drop(log);
    std::fs::remove_dir_all(&folder).unwrap_or_else(|error| unreachable!("{error}"));
    waits.sort_unstable();
    line(name, &stats, took, &waits)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn line(name: &str, stats: &Stats, took: Duration, waits: &[Duration]) -> String {
    let at = |thousandths: usize| {
        let place = (waits.len() * thousandths / 1000).min(waits.len().saturating_sub(1));
        let wait = waits.get(place).map(Duration::as_secs_f64);
        wait.map_or_else(|| "–".to_owned(), |wait| format!("{:.2}", wait * 1000.0))
    };
    let rate = stats.records as f64 / took.as_secs_f64();
    let group = stats.records as f64 / stats.groups.max(1) as f64;
    let waits = [at(500), at(990), at(999), at(1000)].join(" | ");
    format!("| {name} | {rate:.0} | {waits} | {group:.1} |")
}

/// 500,000 records, the next as soon as there is room in memory for it, until all are durable.
fn as_fast_as_it_goes(log: &Log) -> Vec<Duration> {
    let tickets: Vec<_> = (0..500_000).map(|n| append(log, n, Durability::Grouped)).collect();
    let durable = tickets.into_iter().map(Ticket::wait).filter(Result::is_ok).count();
    assert_eq!(durable, 500_000, "all are durable");
    // How long each waited says nothing in this load.
    Vec::new()
}

/// For 6 seconds; how long each record took from append to the appender's knowing.
fn appending(log: &Log, appenders: usize) -> Vec<Duration> {
    let drivers = DRIVERS.min(appenders);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..drivers)
            .map(|_driver| scope.spawn(|| Driver::new(log, appenders / drivers).run()))
            .collect();
        let waits = threads.into_iter().filter_map(|thread| thread.join().ok());
        waits.flatten().collect()
    })
}

/// Appenders that share a thread, each woken by its own ticket.
struct Driver<'a> {
    log: &'a Log,
    clock: Clock,
    appenders: Vec<Appender>,
    woken: Receiver<usize>,
}

struct Appender {
    ticket: Option<(Ticket, Instant)>,
    waker: Waker,
}

struct Woken(usize, Sender<usize>);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        // Whoever does not listen any more has all that it waited for.
        self.1.send(self.0).unwrap_or_default();
    }
}

impl<'a> Driver<'a> {
    fn new(log: &'a Log, count: usize) -> Self {
        let (wake, woken) = channel();
        let appenders = (0..count).map(|place| {
            let waker = Waker::from(Arc::new(Woken(place, wake.clone())));
            waker.wake_by_ref();
            Appender { ticket: None, waker }
        });
        Self { log, clock: Clock::System, appenders: appenders.collect(), woken }
    }

    fn run(mut self) -> Vec<Duration> {
        let end = self.clock.now() + Duration::from_secs(6);
        let mut waits = Vec::new();
        let mut open = self.appenders.len();
        let mut next = 0;
        while open > 0 {
            let Ok(place) = self.woken.recv() else { break };
            let Some(appender) = self.appenders.get_mut(place) else { break };
            if let Some((ticket, since)) = &mut appender.ticket {
                match Pin::new(ticket).poll(&mut Context::from_waker(&appender.waker)) {
                    Poll::Pending => continue,
                    Poll::Ready(outcome) => {
                        outcome.unwrap_or_else(|error| unreachable!("{error}"));
                        waits.push(self.clock.now() - *since);
                        appender.ticket = None;
                    }
                }
            }
            let now = self.clock.now();
            if now >= end {
                open -= 1;
                continue;
            }
            next += 1;
            let mut ticket = append(self.log, next, Durability::BeforeResponse);
            let waker = &appender.waker;
            if Pin::new(&mut ticket).poll(&mut Context::from_waker(waker)).is_ready() {
                waker.wake_by_ref();
            }
            appender.ticket = Some((ticket, now));
        }
        waits
    }
}

/// Waits while there is no room in memory: then the disk does not keep up, and the wait counts.
fn append(log: &Log, n: usize, durability: Durability) -> Ticket {
    loop {
        match log.append(record(n), durability) {
            Ok(ticket) => return ticket,
            Err(Refused::Full) => thread::sleep(Duration::from_micros(200)),
            Err(error) => unreachable!("{error}"),
        }
    }
}

fn record(n: usize) -> Vec<u8> {
    let mut record = n.to_le_bytes().to_vec();
    record.resize(RECORD, b'.');
    record
}
