//! What a client may cost, finite by default.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::units::{ByteSize, Span};

/// Limits on connections and messages. A reload applies them to new connections.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct LimitsSettings {
    /// Connections in total; beyond, they are closed at once and counted. Default: 16384.
    #[schemars(range(min = 1))]
    pub connections: u32,
    /// Connections per client address (IPv6: per /64). Default: 1024.
    #[schemars(range(min = 1))]
    pub connections_per_client: u32,
    /// For the PROXY header and the TLS handshake. Default: 10s.
    pub handshake_timeout: Span,
    /// From the first byte of a request (or the accepted connection) to its complete head.
    /// Default: 10s.
    pub header_timeout: Span,
    /// The whole head of a request. Default: 32KiB.
    pub header_bytes: ByteSize,
    /// Fields in the head of a request. Default: 100.
    #[schemars(range(min = 1))]
    pub header_fields: u32,
    /// The request target. Default: 8KiB.
    pub uri_bytes: ByteSize,
    /// How long a kept connection may wait for its next request. Default: 75s.
    pub idle_timeout: Span,
    /// Between two reads of a request body. Default: 30s.
    pub body_timeout: Span,
    /// How much of a request body must arrive per second, after 10 seconds of grace. Default:
    /// 512B.
    pub body_min_rate: ByteSize,
    /// Bodies of requests and responses that are held in memory until the firewall has seen them,
    /// all requests together; what finds no room is refused with 503. Default: 256MiB.
    pub held_bodies: ByteSize,
    /// For a client that does not read its response. Default: 30s.
    pub send_timeout: Span,
    /// Requests on one connection before it is closed. Default: 10000.
    #[schemars(range(min = 1))]
    pub requests_per_connection: u32,
    /// HTTP/2 streams at the same time on one connection. Default: 128.
    #[schemars(range(min = 1))]
    pub h2_streams: u32,
    /// `RST_STREAM` frames either way, per connection and 30 seconds. Default: 200.
    #[schemars(range(min = 1))]
    pub h2_resets: u32,
    /// Control frames (PING, SETTINGS, PRIORITY, empty ones), per connection and 30 seconds.
    /// Default: 1000.
    #[schemars(range(min = 1))]
    pub h2_control_frames: u32,
}

impl Default for LimitsSettings {
    fn default() -> Self {
        Self {
            connections: 16_384,
            connections_per_client: 1_024,
            handshake_timeout: Span::seconds(10),
            header_timeout: Span::seconds(10),
            header_bytes: ByteSize::kib(32),
            header_fields: 100,
            uri_bytes: ByteSize::kib(8),
            idle_timeout: Span::seconds(75),
            body_timeout: Span::seconds(30),
            body_min_rate: ByteSize(512),
            held_bodies: ByteSize::mib(256),
            send_timeout: Span::seconds(30),
            requests_per_connection: 10_000,
            h2_streams: 128,
            h2_resets: 200,
            h2_control_frames: 1_000,
        }
    }
}
