//! Events in the formats of others, and the sinks that take them there.

pub mod formats;

pub use formats::{Format, Node};
