//! One YAML in, one immutable snapshot out, and the one function that every request passes.
//!
//! [`Config::load`] reads the files, [`Snapshot::compile`] makes of them what the request path
//! uses, and [`admit`] decides about a request. There is no network I/O here, and nothing that
//! knows Pingora.

pub mod config;
pub mod enforcement;
pub mod pipeline;
pub mod settings;
pub mod snapshot;
pub mod trial;

pub use config::{Config, ConfigError, ConfigErrors};
pub use enforcement::Enforcement;
pub use pipeline::{Admission, Admitted, admit, admit_in_stages};
pub use settings::Settings;
pub use snapshot::Snapshot;
pub use tidegate_waf::RequestFacts;
pub use trial::Trial;
