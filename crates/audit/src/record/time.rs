//! Times in records: RFC 3339, UTC, always six decimals.

use std::time::SystemTime;

use jiff::Timestamp;

/// The text of a time, such as `2026-11-23T12:44:23.123456Z`. Texts sort as the times do.
#[must_use]
pub fn timestamp(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{time:.6}")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn times_have_six_decimals() {
        assert_eq!(timestamp(UNIX_EPOCH), "1970-01-01T00:00:00.000000Z");
        let time = UNIX_EPOCH + Duration::new(1_763_901_863, 123_456_789);
        assert_eq!(timestamp(time), "2025-11-23T12:44:23.123456Z");
    }
}
