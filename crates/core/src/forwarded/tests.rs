//! Walks and hops, as tables.

use super::*;

const PROXY: &str = "10.0.0.1";

#[track_caller]
fn check(header: ForwardedHeader, peer: &str, lines: &[&str], expect: &str) {
    let name = match header {
        ForwardedHeader::Forwarded => FORWARDED,
        ForwardedHeader::XForwardedFor => X_FORWARDED_FOR,
    };
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(&name, HeaderValue::from_bytes(line.as_bytes()).unwrap());
    }
    let is_trusted = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets()[0] == 10,
        IpAddr::V6(address) => address.segments()[0] == 0xfd00,
    };
    let client = client_addr(&headers, header, peer.parse().unwrap(), &is_trusted);
    assert_eq!(client.to_string(), expect, "{lines:?}");
}

#[test]
fn x_forwarded_for_is_read_from_the_right_over_trusted_proxies() {
    let check = |peer, lines: &[&str], expect| {
        check(ForwardedHeader::XForwardedFor, peer, lines, expect);
    };
    check("192.0.2.9", &["198.51.100.1"], "192.0.2.9");
    check(PROXY, &[], PROXY);
    check(PROXY, &["198.51.100.1"], "198.51.100.1");
    check(PROXY, &["1.1.1.1, 198.51.100.1"], "198.51.100.1");
    check(PROXY, &["1.1.1.1,198.51.100.1 ,10.0.0.2"], "198.51.100.1");
    check(PROXY, &["1.1.1.1", "198.51.100.1", "10.0.0.2"], "198.51.100.1");
    check(PROXY, &["10.0.0.4, 10.0.0.3"], "10.0.0.4");
    check(PROXY, &["198.51.100.1:4711"], "198.51.100.1");
    check(PROXY, &["2001:db8::1"], "2001:db8::1");
    check(PROXY, &["[2001:db8::1]"], "2001:db8::1");
    check(PROXY, &["[2001:db8::1]:443, fd00::1"], "2001:db8::1");
    check(PROXY, &["::ffff:198.51.100.1"], "198.51.100.1");
    check("::ffff:10.0.0.1", &["198.51.100.1"], "198.51.100.1");
}

#[test]
fn a_word_that_is_no_address_ends_the_walk() {
    let check = |lines: &[&str], expect| {
        check(ForwardedHeader::XForwardedFor, PROXY, lines, expect);
    };
    check(&["198.51.100.1, unknown"], PROXY);
    check(&["198.51.100.1, , 10.0.0.2"], "10.0.0.2");
    check(&["198.51.100.1,"], PROXY);
    check(&["198.51.100.1, \u{e9}"], PROXY);
    // Not even what is no text hides what the proxy appended.
    check(&["\u{e9}, 198.51.100.1"], "198.51.100.1");
    check(&["198.51.100.1 10.0.0.2"], PROXY);
    check(&["0198.51.100.1"], PROXY);
}

#[test]
fn forwarded_is_read_by_its_grammar() {
    let check = |lines: &[&str], expect| check(ForwardedHeader::Forwarded, PROXY, lines, expect);
    check(&["for=198.51.100.1"], "198.51.100.1");
    check(&["For=198.51.100.1;proto=https;by=10.0.0.1"], "198.51.100.1");
    check(&["proto=https; for=\"198.51.100.1:80\""], "198.51.100.1");
    check(&["for=\"[2001:db8::1]:80\", for=10.0.0.2"], "2001:db8::1");
    check(&["for=\"a, for=6.6.6.6\", for=198.51.100.1"], "198.51.100.1");
    // An open quote that the client sent does not swallow what the proxy appended.
    check(&["for=\"6.6.6.6, for=198.51.100.1"], "198.51.100.1");
    check(&["for=\"\\\", for=198.51.100.1"], "198.51.100.1");
    check(&["for=198.51.100.1, for=unknown"], PROXY);
    check(&["for=198.51.100.1, for=_hidden"], PROXY);
    check(&["for=198.51.100.1, by=10.0.0.1"], PROXY);
    check(&["for=1.1.1.1;for=2.2.2.2"], PROXY);
    check(&["for=\"198.51.100.1"], PROXY);
}

#[test]
fn a_chain_without_end_is_cut() {
    let chain = vec!["10.0.0.2"; 10_000].join(",");
    let chain = format!("198.51.100.1,{chain}");
    check(ForwardedHeader::XForwardedFor, PROXY, &[&chain], "10.0.0.2");
}

#[track_caller]
fn check_hop(trusted: bool, expect: [&'static str; 4]) {
    let mut inbound = HeaderMap::new();
    for (name, value) in [
        ("x-forwarded-for", "198.51.100.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop.example"),
        ("forwarded", "for=198.51.100.1"),
    ] {
        inbound.append(name, HeaderValue::from_static(value));
    }
    let peer = "2001:db8::7".parse().unwrap();
    let hop = Hop {
        inbound: &inbound,
        peer,
        peer_is_trusted: trusted,
        secure: false,
        host: "api.example:8080",
    };
    let host = hop.x_forwarded_host().unwrap();
    let seen = [hop.x_forwarded_for(), hop.x_forwarded_proto(), host, hop.forwarded()];
    assert_eq!(seen, expect.map(HeaderValue::from_static));
}

#[test]
fn what_an_untrusted_peer_says_is_replaced() {
    let forwarded = "for=\"[2001:db8::7]\";proto=http;host=\"api.example:8080\"";
    check_hop(false, ["2001:db8::7", "http", "api.example:8080", forwarded]);
}

#[test]
fn what_a_trusted_peer_says_is_continued() {
    let forwarded = "for=198.51.100.1, for=\"[2001:db8::7]\";proto=https;host=\"api.example:8080\"";
    check_hop(true, ["198.51.100.1, 2001:db8::7", "https", "shop.example", forwarded]);
}
