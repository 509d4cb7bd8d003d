//! An ordinary event for tests to change.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use http::{Method, Version};
use tidegate_core::Event;

static GET: Method = Method::GET;

/// 2026-11-23T07:00:00.042Z.
pub(crate) const TIME: Duration = Duration::from_millis(1_795_417_200_042);

pub(crate) fn event() -> Event<'static> {
    let client = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    Event {
        time: SystemTime::UNIX_EPOCH + TIME,
        request_id: "0193b1c8",
        listener: "0.0.0.0:8443",
        client,
        peer: SocketAddr::new(client, 50_000),
        scheme: "https",
        tls: Some("TLSv1.3"),
        version: Version::HTTP_11,
        method: Some(&GET),
        host: "api.example.com",
        path: "/pay/1",
        user_agent: Some("curl/8"),
        route: Some("pay"),
        upstream: Some("api"),
        endpoint: Some(SocketAddr::from(([10, 0, 1, 11], 8080))),
        status: 200,
        upstream_status: Some(200),
        attempts: 1,
        request_bytes: 10,
        response_bytes: 1_000,
        duration: Duration::from_micros(12_345),
        upstream_duration: Some(Duration::from_millis(12)),
        overhead: Some(Duration::from_micros(45)),
        upstream_reused: true,
        ..Event::default()
    }
}
