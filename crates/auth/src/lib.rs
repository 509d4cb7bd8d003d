//! Who asks, and what they may do: tokens, scopes and claims, checked on bytes, keys and a time
//! that are given. Nothing here opens a connection or waits: what has to be fetched is a [`Need`],
//! the proxy meets it, and asks again.
//!
//! [`Auth::compile`] makes the providers of the top-level `auth`, [`Access::compile`] a route's
//! demands; [`Access::check`] decides about a request. Only it makes a [`Permitted`].
//!
//! To add a way to be somebody: a field in `settings/access.rs`, a variant of [`Way`](way::Way)
//! that turns a credential into an [`Identity`].

pub mod access;
pub mod api_keys;
pub mod authorizer;
mod bearer;
mod cache;
mod demand;
mod dpop;
pub mod exchange;
mod fingerprint;
pub mod form;
mod forward;
pub mod identity;
pub mod introspection;
pub mod issuer;
pub mod jose;
pub mod json;
mod key_store;
mod providers;
pub mod refusal;
pub mod report;
pub mod resource;
pub mod revocation;
pub mod settings;
mod waited;
mod way;

pub use self::access::{Access, Answer, Need, Verdict, Waited};
pub use self::api_keys::ApiKeys;
pub use self::authorizer::{Authorizer, Word};
pub use self::bearer::token_hash;
pub use self::exchange::{Exchanger, Trade, Traded};
pub use self::forward::{Forwarded, is_twin};
pub use self::identity::{Authenticated, Caller, Identity, Method, Permitted};
pub use self::introspection::{Introspector, Question};
pub use self::issuer::Issuer;
pub use self::key_store::KeyStore;
pub use self::providers::Auth;
pub use self::report::ScopeReport;
pub use self::revocation::Revocations;
pub use self::settings::{AccessSettings, AuthSettings};
