//! HTTP/2: floods end with their connection, and others are served meanwhile.

use std::net::SocketAddr;
use std::time::Duration;

use tidegate_testkit::{Gateway, Origin, Reply, client, wait};

use crate::bare_pingora::BarePingora;
use crate::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Http2, INITIAL_WINDOW_SIZE, PING,
    REQUEST, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, request, streams,
};
use crate::http1::ALL_TO_API;

const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough that a bare Pingora proxy would have cut the connection if it ever did.
const BARE_PATIENCE: Duration = Duration::from_secs(2);

fn start(origin: &Origin) -> Gateway {
    let config = format!("listeners: [{{ address: 127.0.0.1:0, h2c: true }}]\n{ALL_TO_API}");
    Gateway::start(&config, &[("origin", &origin.address())])
}

/// Floods Tidegate with `pieces`: it cuts the connection, and others are served.
#[track_caller]
fn check_cut(pieces: &[Vec<u8>]) {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = start(&origin);
    let mut flood = Http2::open(gateway.address(), &[]);
    flood.flood(pieces.iter().cloned());
    assert_eq!(client::get(gateway.address(), "/").status, 200);
    assert!(flood.is_cut_within(PATIENCE), "the flood goes on");
    assert_eq!(client::get(gateway.address(), "/").status, 200);
    let mut polite = Http2::open(gateway.address(), &[]);
    polite.send(&request(1));
    assert!(is_answered(&polite, 1));
}

/// Floods a bare Pingora proxy: the connection lives on.
#[track_caller]
fn check_uncut_on_pingora(pieces: &[Vec<u8>]) {
    let origin = Origin::start(Reply::ok("ok"));
    let bare = BarePingora::start(origin.address());
    let mut flood = Http2::open(bare.address(), &[]);
    flood.flood(pieces.iter().cloned());
    assert!(!flood.is_cut_within(BARE_PATIENCE), "Pingora cuts it, too");
}

fn is_answered(connection: &Http2, stream: u32) -> bool {
    while let Some(frame) = connection.next_frame(PATIENCE) {
        if frame.stream == stream && frame.kind == HEADERS {
            return true;
        }
    }
    false
}

#[test]
fn a_polite_client_is_served() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = start(&origin);
    let mut connection = Http2::open(gateway.address(), &[]);
    for stream in streams().take(300) {
        assert!(connection.send(&request(stream)), "the connection is open");
        assert!(is_answered(&connection, stream), "{stream} is not answered");
    }
}

#[test]
fn rapid_reset_is_cut() {
    // CVE-2023-44487.
    let pieces: Vec<_> = streams()
        .take(2000)
        .map(|id| [request(id), frame(RST_STREAM, 0, id, &8_u32.to_be_bytes())].concat())
        .collect();
    check_cut(&pieces);
}

#[test]
fn a_slow_reset_flood_is_cut() {
    // Each stream is accepted before it is reset, past the library's own count of unaccepted ones.
    let origin = Origin::start(Reply::Hang);
    let gateway = start(&origin);
    let mut flood = Http2::open(gateway.address(), &[]);
    for id in streams().take(300) {
        let reset = frame(RST_STREAM, 0, id, &8_u32.to_be_bytes());
        if !(flood.send(&request(id)) && flood.sync(PATIENCE) && flood.send(&reset)) {
            break;
        }
    }
    assert!(flood.is_cut_within(PATIENCE), "the flood goes on");
    assert!(origin.received().len() <= 210, "{} requests", origin.received().len());
}

#[test]
fn a_ping_flood_is_cut() {
    // CVE-2019-9512.
    let pieces = vec![frame(PING, 0, 0, &[7; 8]); 20_000];
    check_cut(&pieces);
    check_uncut_on_pingora(&pieces);
}

#[test]
fn a_settings_flood_is_cut() {
    // CVE-2019-9515.
    let pieces = vec![frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]); 5000];
    check_cut(&pieces);
    check_uncut_on_pingora(&pieces);
}

#[test]
fn a_window_update_flood_is_cut() {
    let pieces = vec![frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()); 5000];
    check_cut(&pieces);
}

#[test]
fn an_empty_frames_flood_is_cut() {
    // CVE-2019-9518.
    let mut pieces = vec![frame(HEADERS, END_HEADERS, 1, REQUEST)];
    pieces.extend(vec![frame(DATA, 0, 1, &[]); 5000]);
    check_cut(&pieces);
}

#[test]
fn a_continuation_flood_is_cut() {
    // CVE-2024-27316.
    let mut pieces = vec![frame(HEADERS, END_STREAM, 1, REQUEST)];
    pieces.extend(vec![frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b"); 5000]);
    check_cut(&pieces);
}

#[test]
fn a_flood_that_comes_with_the_preface_is_cut() {
    let origin = Origin::start(Reply::ok("ok"));
    let gateway = start(&origin);
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes.extend(frame(HEADERS, END_STREAM, 1, REQUEST));
    bytes.extend(vec![frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b"); 100].concat());
    let mut flood = client::Connection::open(gateway.address());
    flood.send(&bytes);
    assert!(flood.is_closed_within(PATIENCE), "the flood goes on");
    assert_eq!(client::get(gateway.address(), "/").status, 200);
}

#[test]
fn thousands_of_tiny_fields_are_cut() {
    let block = |id| {
        let mut block = REQUEST.to_vec();
        block.extend(b"\x00\x01a\x00".repeat(4000));
        let (first, rest) = block.split_at(16_000);
        let end = frame(CONTINUATION, END_HEADERS, id, rest);
        [frame(HEADERS, END_STREAM, id, first), end].concat()
    };
    let pieces: Vec<_> = streams().take(50).map(block).collect();
    check_cut(&pieces);
    check_uncut_on_pingora(&pieces);
}

/// Opens streams and makes the server reset each, so that none counts as open while its request
/// runs on (CVE-2025-8671).
fn made_you_reset(address: SocketAddr, origin: &Origin) -> Http2 {
    let before = origin.received().len();
    let mut flood = Http2::open(address, &[]);
    // A window must not exceed 2^31-1: a stream error (RFC 9113 §6.9.1).
    let overflow = 0x7fff_ffff_u32.to_be_bytes();
    for (number, id) in streams().take(400).enumerate() {
        if !(flood.send(&request(id)) && flood.sync(PATIENCE)) {
            break;
        }
        // A stream that is reset too early would never become a request to the origin.
        wait::until("the request reaches the origin", || origin.received().len() > before + number);
        if !flood.send(&frame(WINDOW_UPDATE, 0, id, &overflow)) {
            break;
        }
    }
    flood
}

#[test]
fn resets_that_a_client_provokes_are_cut() {
    let origin = Origin::start(Reply::Hang);
    let gateway = start(&origin);
    let flood = made_you_reset(gateway.address(), &origin);
    assert!(flood.is_cut_within(PATIENCE), "the flood goes on");
    assert!(origin.received().len() <= 210, "{} requests", origin.received().len());
    let bare = BarePingora::start(origin.address());
    let before = origin.received().len();
    let flood = made_you_reset(bare.address(), &origin);
    assert!(!flood.is_cut_within(BARE_PATIENCE), "Pingora cuts it, too");
    assert_eq!(origin.received().len() - before, 400);
}

/// 100 answers of 200 kB that the client never lets through.
fn stall(address: SocketAddr) -> Http2 {
    let mut stall = Http2::open(address, &[(INITIAL_WINDOW_SIZE, 0)]);
    for id in streams().take(100) {
        assert!(stall.send(&request(id)), "the connection is open");
    }
    stall
}

/// Whether all 100 streams were reset or the connection has gone.
fn is_ended(stall: &Http2, patience: Duration) -> bool {
    let mut resets = 0;
    while let Some(frame) = stall.next_frame(patience) {
        resets += usize::from(frame.kind == RST_STREAM);
        if resets == 100 {
            return true;
        }
    }
    stall.is_cut_within(Duration::ZERO)
}

#[test]
fn a_window_that_stays_shut_is_given_up() {
    let origin = Origin::start(Reply::ok(vec![b'x'; 200_000]));
    let config = format!(
        "limits: {{ send_timeout: 1s }}\n\
         listeners: [{{ address: 127.0.0.1:0, h2c: true }}]\n{ALL_TO_API}"
    );
    let gateway = Gateway::start(&config, &[("origin", &origin.address())]);
    let stalled = stall(gateway.address());
    assert!(is_ended(&stalled, PATIENCE), "the answers wait on");
    assert_eq!(client::get(gateway.address(), "/").status, 200);
    let bare = BarePingora::start(origin.address());
    assert!(!is_ended(&stall(bare.address()), BARE_PATIENCE), "Pingora gives up, too");
}
