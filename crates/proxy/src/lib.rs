//! The only room that knows Pingora: connections, TLS, calling the engine, doing what it decided.
//!
//! A connection comes in through [`mod@listener`], becomes a `ClientStream`, and hands Pingora one
//! message at a time; [`mod@gateway`] is what Pingora calls per request. Nothing is decided here
//! that `tidegate-engine` could decide without a socket.

mod admin;
mod announce;
mod attempt;
mod audit;
mod auth;
mod bans;
mod body;
mod client_stream;
mod connection;
mod context;
mod drain;
mod edge;
mod enforcement;
mod exchange;
mod faults;
mod framing;
mod gateway;
mod h2_watch;
mod happened;
mod health;
mod hedge;
mod held;
mod lanes;
mod life;
mod listener;
mod lookout;
mod outbound;
mod protocols;
mod proxy_protocol;
mod refused;
mod request_id;
mod resolve;
mod respond;
mod response;
mod retry;
mod serve;
mod signals;
mod sinks;
mod sockets;
mod tend;
mod tls;
mod trace;
mod upgrade;
mod upgrade_socket;
mod upstream_head;
mod upstream_peer;

use protocols::Protocols;
pub use serve::{Checked, ConfigSource, OnReady, Ready, ServeError, ServeOptions, check, serve};
pub use tidegate_observe::BuildInfo;
