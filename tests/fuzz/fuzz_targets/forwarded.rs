#![no_main]
//! Any bytes as what a client claims about itself. Whatever it is, the address that the trusted
//! proxy appended wins.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tidegate_core::forwarded::{ForwardedHeader, Hop, client_addr};

fuzz_target!(|claim: &[u8]| {
    let peer = IpAddr::from([10, 0, 0, 1]);
    let client = IpAddr::from([198, 51, 100, 7]);
    let is_trusted = |address: IpAddr| address == peer;
    for (header, name, appended) in [
        (ForwardedHeader::XForwardedFor, "x-forwarded-for", "198.51.100.7"),
        (ForwardedHeader::Forwarded, "forwarded", "for=198.51.100.7"),
    ] {
        let Ok(alone) = HeaderValue::from_bytes(claim) else { return };
        let mut headers = HeaderMap::new();
        headers.append(name, alone);
        let _any = client_addr(&headers, header, peer, &|_| true);
        // As a field of its own.
        headers.append(name, HeaderValue::from_static(appended));
        assert_eq!(client_addr(&headers, header, peer, &is_trusted), client);
        // In one list with the claim.
        let list = [claim, b", ", appended.as_bytes()].concat();
        headers.insert(name, HeaderValue::from_bytes(&list).expect("two values and a comma"));
        assert_eq!(client_addr(&headers, header, peer, &is_trusted), client);
        check_hop(&headers, peer);
    }
});

/// What an untrusted peer claims does not reach the upstream.
fn check_hop(inbound: &HeaderMap, peer: IpAddr) {
    let hop = Hop { inbound, peer, peer_is_trusted: false, secure: true, host: "a" };
    assert_eq!(hop.x_forwarded_for(), "10.0.0.1");
    assert_eq!(hop.forwarded(), "for=10.0.0.1;proto=https;host=\"a\"");
    let trusted = Hop { peer_is_trusted: true, ..hop };
    let _any = (trusted.x_forwarded_for(), trusted.forwarded(), trusted.x_forwarded_host());
}
