//! The process as Prometheus clients usually show it, read from /proc/self when it is scraped: more
//! of /proc a process that systemd confines may not see. Without it most families are absent.

use std::fs;
use std::time::SystemTime;

use super::family::{Families, as_float};
use super::unix_seconds;

/// `USER_HZ`: the unit of the times in /proc/self/stat, 100 on every architecture of Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Shows the process's families, as far as they can be read.
pub(super) fn show(started: SystemTime, families: &mut Families) {
    let gauges: [(&str, &str, Option<f64>); 6] = [
        (
            "process_start_time_seconds",
            "When the process started, in seconds since 1970.",
            Some(unix_seconds(started)),
        ),
        ("process_open_fds", "Open file descriptors.", open_fds()),
        ("process_max_fds", "File descriptors that the process may open.", max_fds()),
        ("process_resident_memory_bytes", "Memory in RAM.", status_bytes("VmRSS:")),
        ("process_virtual_memory_bytes", "Memory that is mapped.", status_bytes("VmSize:")),
        ("process_threads", "Threads of the process.", stat_field(THREADS)),
    ];
    for (name, help, value) in gauges {
        if let Some(value) = value {
            families.gauge(name, help, value);
        }
    }
    if let (Some(user), Some(system)) = (stat_field(USER_TIME), stat_field(SYSTEM_TIME)) {
        let (name, help) = ("process_cpu_seconds_total", "User and system time of the process.");
        families.counters(name, help, |family| {
            family.counter_float(&[], (user + system) / TICKS_PER_SECOND);
        });
    }
}

/// Fields of /proc/self/stat, counted from the one after the command's name (proc(5), from 3).
const USER_TIME: usize = 14 - 3;
const SYSTEM_TIME: usize = 15 - 3;
const THREADS: usize = 20 - 3;

fn stat_field(index: usize) -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name stands in parentheses and may itself contain some.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(index)?.parse().ok()
}

/// Since Linux 6.2 the directory's size is the number of descriptors; before, they are counted.
fn open_fds() -> Option<f64> {
    let size = fs::metadata("/proc/self/fd").ok()?.len();
    if size > 0 {
        return Some(as_float(size));
    }
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    u32::try_from(count).ok().map(f64::from)
}

fn max_fds() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    soft.split_ascii_whitespace().next()?.parse().ok()
}

fn status_bytes(field: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: f64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024.0)
}
