//! The words that every Tidegate crate speaks: a request as we see it, why one is refused, the
//! event that each one ends in, time, and the typed values of the configuration.
//!
//! There is no I/O here and nothing that knows Pingora.

pub mod cards;
pub mod clock;
pub mod decision;
pub mod denial;
pub mod event;
pub mod forwarded;
pub mod h2_guard;
pub mod net;
pub mod notice;
pub mod proxy_protocol;
pub mod reading;
pub mod reason;
pub mod record;
pub mod request;
pub mod secret;
pub mod secret_names;
pub mod settings;
pub mod suggest;
pub mod trace;
pub mod units;

pub use clock::Clock;
pub use decision::{Decision, Measure};
pub use denial::Denial;
pub use event::Event;
pub use notice::{Notice, NoticeKind};
pub use reason::{Fault, Reason};
pub use request::Request;
pub use secret::Secret;
pub use settings::SettingsError;
