//! Hand-built frames (RFC 9113 §6), fed in chunks of every size.

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const PRIORITY: u8 = 0x2;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;
const WINDOW_UPDATE: u8 = 0x8;
const CONTINUATION: u8 = 0x9;

/// `:method: GET`, `:scheme: https`, `:path: /`, and `:authority` as a literal.
const REQUEST: &[u8] = b"\x82\x87\x84\x41\x01a";

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags, 0, 0, 0, 1]);
    frame.extend(payload);
    frame
}

fn limits() -> FrameLimits {
    FrameLimits {
        resets: 20,
        control_frames: 20,
        window: Duration::from_secs(30),
        continuations: 3,
        header_block_bytes: 1000,
        header_block_fields: 50,
    }
}

fn start() -> Instant {
    crate::Clock::Manual(crate::clock::ManualClock::new()).now()
}

#[track_caller]
fn check(frames: &[u8], times: usize, expect: Result<(), Excess>) {
    let mut stream = PREFACE.to_vec();
    stream.extend(frames.repeat(times));
    for chunk in [1, 7, 9, 24, 1000, stream.len()] {
        let now = start();
        let mut guard = FrameGuard::new(limits(), now);
        let seen = stream.chunks(chunk).try_for_each(|piece| guard.received(piece, now));
        assert_eq!(seen, expect, "chunks of {chunk}");
    }
}

#[track_caller]
fn check_sent(frames: &[u8], times: usize, expect: Result<(), Excess>) {
    let stream = frames.repeat(times);
    for chunk in [1, 7, 9, 1000, stream.len()] {
        let now = start();
        let mut guard = FrameGuard::new(limits(), now);
        guard.received(PREFACE, now).unwrap();
        let seen = stream.chunks(chunk).try_for_each(|piece| guard.sent(piece, now));
        assert_eq!(seen, expect, "chunks of {chunk}");
    }
}

#[test]
fn rapid_reset_is_cut() {
    // CVE-2023-44487.
    let mut pair = frame(HEADERS, 0x5, REQUEST);
    pair.extend(frame(RST_STREAM, 0, &[0, 0, 0, 8]));
    check(&pair, 20, Ok(()));
    check(&pair, 21, Err(Excess::Resets));
}

#[test]
fn resets_that_a_client_provokes_are_cut() {
    // CVE-2025-8671.
    check_sent(&frame(RST_STREAM, 0, &[0, 0, 0, 1]), 20, Ok(()));
    check_sent(&frame(RST_STREAM, 0, &[0, 0, 0, 1]), 21, Err(Excess::Resets));
    // RFC 9113 §8.1: after a complete answer, NO_ERROR is no abuse.
    check_sent(&frame(RST_STREAM, 0, &[0, 0, 0, 0]), 500, Ok(()));
}

#[test]
fn floods_of_control_frames_are_cut() {
    let flood = Err(Excess::ControlFrames);
    for (kind, flags, payload) in [
        (PING, 0, &[0; 8][..]),
        (PING, 1, &[0; 8]),
        (SETTINGS, 0, &[]),
        (SETTINGS, 1, &[]),
        (PRIORITY, 0, &[0; 5]),
        (WINDOW_UPDATE, 0, &[0, 0, 0, 1]),
        (DATA, 0, &[]),
        (0xbe, 0, &[1, 2, 3]),
        // Padding is no data.
        (DATA, 0x8, &[3, 0, 0, 0]),
    ] {
        check(&frame(kind, flags, payload), 20, Ok(()));
        check(&frame(kind, flags, payload), 21, flood);
    }
}

#[test]
fn data_pays_for_control_frames() {
    let mut download = frame(PING, 0, &[0; 8]);
    download.extend(frame(DATA, 0, b"x"));
    check(&download, 500, Ok(()));
    let now = start();
    let mut guard = FrameGuard::new(limits(), now);
    guard.received(PREFACE, now).unwrap();
    for _ in 0..500 {
        guard.sent(&frame(DATA, 0, &[0; 16_384]), now).unwrap();
        for _ in 0..16 {
            guard.received(&frame(WINDOW_UPDATE, 0, &[0, 0, 4, 0]), now).unwrap();
        }
    }
}

#[test]
fn an_empty_data_frame_may_end_a_stream() {
    check(&frame(DATA, 0x1, &[]), 500, Ok(()));
}

#[test]
fn a_new_window_starts_from_nothing() {
    let mut now = start();
    let mut guard = FrameGuard::new(limits(), now);
    guard.received(PREFACE, now).unwrap();
    for _ in 0..10 {
        guard.received(&frame(PING, 0, &[0; 8]).repeat(20), now).unwrap();
        guard.received(&frame(RST_STREAM, 0, &[0; 4]).repeat(20), now).unwrap();
        now += Duration::from_secs(30);
    }
}

#[test]
fn header_blocks_are_bounded() {
    // CVE-2024-27316.
    let more = frame(CONTINUATION, 0, b"\x0f\x01\x01a");
    let block = |continuations: usize| {
        let mut block = frame(HEADERS, 0x1, REQUEST);
        block.extend(more.repeat(continuations));
        block
    };
    check(&block(3), 5, Ok(()));
    check(&block(4), 1, Err(Excess::Continuations));
    // One long literal.
    let mut long = b"\x00\x01a\x7f\xff\x06".to_vec();
    long.extend([b'x'; 1022]);
    check(&frame(HEADERS, 0x5, &long), 1, Err(Excess::HeaderBlock));
    check(&frame(HEADERS, 0x5, &[b'\x82'; 50]), 5, Ok(()));
    check(&frame(HEADERS, 0x5, &[b'\x82'; 51]), 1, Err(Excess::HeaderFields));
}

#[test]
fn fields_are_counted_in_every_representation() {
    // RFC 7541 §6.1, §6.2.1 to §6.2.3, §6.3; indices and lengths beyond their prefix.
    for field in [
        &b"\x82"[..],
        b"\xff\x00",
        b"\x41\x01a",
        b"\x40\x01a\x01b",
        b"\x7f\x00\x01b",
        b"\x00\x01a\x00",
        b"\x0f\x01\x81b",
        b"\x10\x01a\x01b",
        b"\x3f\xe1\x1f",
        b"\x00\x01a\x7f\x01xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
          xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ] {
        for chunk in [1, 2, 5, 200] {
            let mut counter = FieldCounter::default();
            for piece in field.repeat(7).chunks(chunk) {
                counter.feed(piece);
            }
            assert_eq!(counter.count(), 7, "{field:x?} in chunks of {chunk}");
        }
    }
}

#[test]
fn padding_and_priority_are_no_fields() {
    // RFC 9113 §6.2: pad length, dependency and weight come before the block, padding after it.
    let mut payload = vec![4, 0, 0, 0, 0, 16];
    payload.extend(REQUEST);
    payload.extend([0x82; 4]);
    let mut guard = FrameGuard::new(limits(), start());
    guard.received(PREFACE, start()).unwrap();
    guard.received(&frame(HEADERS, 0x2d, &payload), start()).unwrap();
    assert_eq!(guard.block.fields.count(), 4);
}

#[test]
fn another_protocol_passes_unwatched() {
    let now = start();
    let mut guard = FrameGuard::new(limits(), now);
    guard.received(b"GET / HTTP/1.1\r\n", now).unwrap();
    for _ in 0..1000 {
        guard.received(&frame(RST_STREAM, 0, &[0; 4]), now).unwrap();
        guard.sent(&frame(RST_STREAM, 0, &[0, 0, 0, 1]), now).unwrap();
    }
}
