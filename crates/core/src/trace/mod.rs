//! Distributed traces: which trace a request belongs to (W3C Trace Context), whether it is looked
//! at closely, and what was measured on its way.
//!
//! Ids are kept as the text that headers and logs have. Nothing here sends anything: spans are
//! written and delivered by the crate of sinks.

mod context;
mod span;
mod state;

pub use self::context::{SpanId, TraceContext, TraceId};
pub use self::span::{Outcome, Stage, StageSpan, Stages, TrySpan};
pub use self::state::is_valid_state;
