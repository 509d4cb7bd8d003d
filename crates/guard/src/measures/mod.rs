//! How measures are carried out that are neither a refusal nor a pass: [`Throttle`] gives those whom
//! it holds a tighter bucket, [`Tarpit`] counts the answers that are held back. Whom a measure
//! holds stands in [`bans`](crate::bans).
//!
//! Nothing here waits: the tarpit gives places, and the proxy does the waiting.

mod settings;
mod tarpit;

pub use self::settings::{IsolateSettings, TarpitSettings, ThrottleSettings};
pub use self::tarpit::{Place, Tarpit};
pub use crate::rate::Throttle;
