#![no_main]
//! Any bytes as an HTTP/2 connection in both directions. However the bytes are cut, the verdict is
//! the same.

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use tidegate_core::Clock;
use tidegate_core::clock::ManualClock;
use tidegate_core::h2_guard::{Excess, FrameGuard, FrameLimits};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (chunk, bytes) = input;
    let now = Clock::Manual(ManualClock::new()).now();
    for outbound in [false, true] {
        let whole = verdict(&bytes, bytes.len().max(1), outbound, now);
        let cut = verdict(&bytes, usize::from(chunk).max(1), outbound, now);
        assert_eq!(whole, cut);
    }
});

fn verdict(bytes: &[u8], chunk: usize, outbound: bool, now: Instant) -> Result<(), Excess> {
    let limits = FrameLimits {
        resets: 3,
        control_frames: 5,
        window: Duration::from_secs(30),
        continuations: 2,
        header_block_bytes: 200,
        header_block_fields: 20,
    };
    let mut guard = FrameGuard::new(limits, now);
    guard.received(PREFACE, now)?;
    bytes.chunks(chunk).try_for_each(|piece| {
        if outbound { guard.sent(piece, now) } else { guard.received(piece, now) }
    })
}
