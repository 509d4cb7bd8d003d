//! Events and notices as JSON objects: the access log's line and the sinks' plain JSON are written
//! here, by one hand, so that they cannot disagree.
//!
//! What is secret by its name is masked here and nowhere else. Formats of others are in
//! `tidegate-siem`; they write with the same [`json`] and [`masks`].

pub mod event;
pub mod json;
pub mod masks;
pub mod notice;

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::Offset;

/// Writes a time as RFC 3339 in UTC with milliseconds, without quotes.
pub fn time(out: &mut Vec<u8>, time: SystemTime) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let second = i64::try_from(since.as_secs()).unwrap_or(0);
    let second = Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
    let at = Offset::UTC.to_datetime(second);
    let two = |value: i8| [digit(value.unsigned_abs() / 10), digit(value.unsigned_abs())];
    let year = at.year().unsigned_abs();
    let [century, rest] = [year / 100, year % 100].map(|part| i8::try_from(part).unwrap_or(0));
    out.extend(two(century));
    for (before, value) in [
        (&b""[..], rest),
        (b"-", at.month()),
        (b"-", at.day()),
        (b"T", at.hour()),
        (b":", at.minute()),
        (b":", at.second()),
    ] {
        out.extend_from_slice(before);
        out.extend(two(value));
    }
    let millis = since.subsec_millis();
    let digits = [millis / 100, millis / 10, millis].map(|v| u8::try_from(v % 10).unwrap_or(0));
    out.push(b'.');
    out.extend(digits.map(digit));
    out.push(b'Z');
}

fn digit(value: u8) -> u8 {
    b'0' + value % 10
}

#[cfg(test)]
mod tests;
