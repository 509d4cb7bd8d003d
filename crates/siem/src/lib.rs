//! Events in the formats of others, and the sinks that take them there.
//!
//! [`formats`] encodes; each sink has a bounded [`Queue`], maybe a spool on the disk, and a task
//! that sends batches through one of the files in `sinks`. Nothing here makes a request wait.
//!
//! To add a sink: a file in `sinks` that implements [`Deliver`], its settings in
//! `settings/kinds.rs` with a row in `settings::Kind`, and its section in `docs/guide/siem.md`.

mod deliver;
pub mod formats;
mod http;
mod queue;
mod record;
mod tls;

pub use deliver::{Deliver, DeliverError, Delivered, Then};
pub use formats::{Format, Node};
pub use http::{HttpAnswer, HttpCall, HttpClient, HttpError};
pub use queue::{BatchLimits, Full, Queue};
pub use record::{Draft, Key, REQUEST, Record};
pub use tls::TlsMaterial;
