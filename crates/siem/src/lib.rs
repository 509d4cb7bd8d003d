//! Events in the formats of others, and the sinks that take them there.
//!
//! [`formats`] encodes; each sink has a bounded [`Queue`], maybe a spool on the disk, and a task
//! that sends batches through one of the files in `sinks`. Nothing here makes a request wait.
//!
//! To add a sink: a file in `sinks` that implements [`Deliver`] with a line in `sinks::make`, its
//! settings in `settings/kinds.rs` with a row in [`settings::Kind`], and its section in
//! `docs/guide/siem.md`.

mod address;
mod backoff;
mod compile;
mod deliver;
pub mod formats;
mod gate;
mod http;
mod otlp;
mod pipe;
mod queue;
mod record;
mod running;
pub mod settings;
mod sinks;
mod spool;
mod stats;
mod tls;
pub mod traces;

pub use compile::SinkSet;
pub use deliver::{Deliver, DeliverError, Delivered, Then};
pub use formats::{Format, Node};
pub use http::{HttpAnswer, HttpCall, HttpClient, HttpError};
pub use pipe::{Pipe, PipeOptions};
pub use queue::{BatchLimits, Full, Queue};
pub use record::{Draft, Key, REQUEST, Record};
pub use running::{Sinks, Surroundings};
pub use settings::SinkSettings;
pub use stats::{Dropped, SinkSample};
pub use tls::TlsMaterial;
pub use traces::{TraceStats, Traced, Traces};
