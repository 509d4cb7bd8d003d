//! How a record lies in a segment: length and CRC-32 of what follows, both in four bytes, then the
//! key, the time, the severity, the kind and the body. All numbers are little-endian.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tidegate_core::notice::{NoticeKind, Severity};

use crate::record::{Key, REQUEST, Record};

/// Length and checksum.
pub(super) const HEADER: usize = 8;

/// A frame that says to be longer is none.
pub(super) const LONGEST: usize = 16 << 20;

/// Appends a record.
pub(super) fn write(out: &mut Vec<u8>, record: &Record) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    let micros = record.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let micros = u64::try_from(micros).unwrap_or(u64::MAX);
    for number in [record.key.origin, record.key.sequence, micros] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    let severity = Severity::ALL.iter().position(|severity| *severity == record.severity);
    out.push(severity.and_then(|index| u8::try_from(index).ok()).unwrap_or(0));
    let kind = record.kind.as_bytes();
    out.push(u8::try_from(kind.len()).unwrap_or(0));
    out.extend_from_slice(kind);
    out.extend_from_slice(&record.body);
    let Some((header, payload)) =
        out.get_mut(start..).and_then(|frame| frame.split_at_mut_checked(HEADER))
    else {
        return;
    };
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
    let crc = crc32(payload).to_le_bytes();
    for (byte, value) in header.iter_mut().zip(len.into_iter().chain(crc)) {
        *byte = value;
    }
}

/// What lies at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A record, and how long its frame is.
    Record(Record, usize),
    /// A frame of this length that holds no record.
    Damaged(usize),
    /// More bytes are needed: so many in all.
    Short(usize),
    /// No frame: nothing behind it can be read.
    Lost,
}

/// Reads the first frame.
pub(super) fn read(bytes: &[u8]) -> Frame {
    let Some((len, rest)) = bytes.split_first_chunk::<4>() else { return Frame::Short(HEADER) };
    let Some((crc, rest)) = rest.split_first_chunk::<4>() else { return Frame::Short(HEADER) };
    let len = usize::try_from(u32::from_le_bytes(*len)).unwrap_or(usize::MAX);
    if !(26..=LONGEST).contains(&len) {
        return Frame::Lost;
    }
    let Some(payload) = rest.get(..len) else { return Frame::Short(HEADER + len) };
    if crc32(payload) != u32::from_le_bytes(*crc) {
        return Frame::Damaged(HEADER + len);
    }
    match record(payload) {
        Some(record) => Frame::Record(record, HEADER + len),
        None => Frame::Damaged(HEADER + len),
    }
}

fn record(payload: &[u8]) -> Option<Record> {
    let (origin, rest) = payload.split_first_chunk::<8>()?;
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let (micros, rest) = rest.split_first_chunk::<8>()?;
    let ([severity, kind_len], rest) = rest.split_first_chunk::<2>()?;
    let (kind, body) = rest.split_at_checked(usize::from(*kind_len))?;
    let micros = Duration::from_micros(u64::from_le_bytes(*micros));
    Some(Record {
        key: Key { origin: u64::from_le_bytes(*origin), sequence: u64::from_le_bytes(*sequence) },
        time: UNIX_EPOCH.checked_add(micros).unwrap_or(SystemTime::UNIX_EPOCH),
        severity: *Severity::ALL.get(usize::from(*severity))?,
        kind: known(kind),
        body: Bytes::copy_from_slice(body),
    })
}

/// The code of a kind; one of another version's that this one does not know is a notice.
fn known(kind: &[u8]) -> &'static str {
    if kind == REQUEST.as_bytes() {
        return REQUEST;
    }
    let found = NoticeKind::ALL.iter().find(|known| known.code().as_bytes() == kind);
    found.map_or("notice", |kind| kind.code())
}

/// CRC-32 as in zip and Ethernet (reflected polynomial 0xEDB88320).
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        let index = (crc ^ u32::from(*byte)) & 0xff;
        let entry = usize::try_from(index).ok().and_then(|index| TABLE.get(index));
        (crc >> 8) ^ entry.copied().unwrap_or_default()
    };
    !bytes.iter().fold(!0, step)
}

static TABLE: [u32; 256] = table();

#[expect(clippy::indexing_slicing, reason = "computed by the compiler, which checks the bounds")]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    let mut start = 0_u32;
    while index < 256 {
        let mut crc = start;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
        start += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn some(body: &[u8], kind: &'static str) -> Record {
        Record {
            key: Key { origin: 0x1234, sequence: 99 },
            time: UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_001),
            severity: Severity::High,
            kind,
            body: Bytes::copy_from_slice(body),
        }
    }

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_record_comes_back_as_it_was() {
        for kind in [REQUEST, NoticeKind::SinkFailing.code()] {
            let record = some(b"{\"a\":1}", kind);
            let mut bytes = Vec::new();
            write(&mut bytes, &record);
            assert_eq!(read(&bytes), Frame::Record(record, bytes.len()));
        }
    }

    proptest! {
        #[test]
        fn a_changed_or_cut_frame_gives_no_other_record(
            body in proptest::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            flip in 1_u8..,
        ) {
            let record = some(&body, REQUEST);
            let mut bytes = Vec::new();
            write(&mut bytes, &record);
            let cut = at.index(bytes.len());
            prop_assert!(!matches!(read(&bytes[..cut]), Frame::Record(..)));
            bytes[cut] ^= flip;
            prop_assert!(!matches!(read(&bytes), Frame::Record(..)));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (Frame::Record(..) | Frame::Damaged(_) | Frame::Short(_) | Frame::Lost) =
                read(&bytes);
        }
    }
}
