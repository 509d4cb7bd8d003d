//! The typed values of the configuration: durations, sizes, rates, percentages and statuses, each
//! with one spelling, a clear error and its JSON schema.

mod byte_size;
mod duration;
mod percent;
mod rate;
mod status;
mod text;

pub use byte_size::{ByteSize, ParseByteSizeError};
pub use duration::{ParseSpanError, Span};
pub use percent::{ParsePercentError, Percent};
pub use rate::{ParseRateError, Rate};
pub use status::StatusRange;
