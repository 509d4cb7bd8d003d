//! What SecLang asks of a request beyond its message.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use tidegate_core::reading::RequestLine;

use super::Arena;
use crate::target::Target;

/// What the caller knows of a request beyond its message. All of it is optional.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestFacts<'a> {
    /// The port that the client's connection comes from.
    pub client_port: u16,
    /// The address that the connection came in on.
    pub server: Option<SocketAddr>,
    /// The request's id.
    pub id: &'a str,
    /// The wall clock; the `TIME` variables are in UTC.
    pub now: Option<SystemTime>,
    /// The request line as it came, where the head is one that was refused: the types of HTTP
    /// cannot hold what is wrong with it.
    pub line: Option<RequestLine<'a>>,
}

const TIMES: [Target; 9] = [
    Target::Time,
    Target::TimeDay,
    Target::TimeEpoch,
    Target::TimeHour,
    Target::TimeMin,
    Target::TimeMon,
    Target::TimeSec,
    Target::TimeWday,
    Target::TimeYear,
];

/// Adds the facts.
pub(crate) fn collect(arena: &mut Arena, facts: &RequestFacts<'_>) {
    arena.set_number(Target::RemotePort, facts.client_port);
    if let Some(server) = facts.server {
        arena.set_number(Target::ServerAddr, server.ip());
        arena.set_number(Target::ServerPort, server.port());
    }
    arena.set(Target::UniqueId, facts.id.as_bytes());
    if arena.wants(&TIMES) {
        let since = facts.now.and_then(|now| now.duration_since(SystemTime::UNIX_EPOCH).ok());
        collect_time(arena, since.unwrap_or_default());
    }
}

fn collect_time(arena: &mut Arena, since: Duration) {
    let seconds = since.as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    let (year, month, day) = civil(days);
    arena.set_number(Target::TimeEpoch, seconds);
    arena.set_number(Target::TimeHour, hour);
    arena.set_number(Target::TimeMin, minute);
    arena.set_number(Target::TimeSec, second % 60);
    arena.set_number(Target::TimeDay, day);
    // Months count from 0, as in ModSecurity; Monday is 1, and 1970 began on a Thursday.
    arena.set_number(Target::TimeMon, month - 1);
    arena.set_number(Target::TimeWday, (days + 3) % 7 + 1);
    arena.set_number(Target::TimeYear, year);
    arena.set_number(Target::Time, format!("{hour:02}:{minute:02}:{:02}", second % 60));
}

/// Year, month and day of a day since 1970-01-01, by eras of 400 years that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day_of_month = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_told_in_utc() {
        let mut arena = Arena::of_everything();
        // 2024-02-29 13:05:09, a Thursday.
        collect_time(&mut arena, Duration::from_secs(1_709_211_909));
        for (target, told) in [
            (Target::Time, "13:05:09"),
            (Target::TimeDay, "29"),
            (Target::TimeMon, "1"),
            (Target::TimeMin, "5"),
            (Target::TimeWday, "4"),
            (Target::TimeYear, "2024"),
        ] {
            assert_eq!(arena.value(target), Some(told.as_bytes()), "{target:?}");
        }
        assert_eq!((civil(0), civil(365)), ((1970, 1, 1), (1971, 1, 1)));
    }
}
