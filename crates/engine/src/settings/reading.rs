//! What the settings allow of a request's head.

use http::Method;
use tidegate_core::reading::ReadingRules;

use super::Settings;

impl Settings {
    /// The limits and choices by which heads are read.
    #[must_use]
    pub fn reading_rules(&self) -> ReadingRules {
        let limits = &self.limits;
        // A method that no registry knows is one that a route names.
        let named = self.routes.iter().filter_map(|route| route.matches.methods.as_ref());
        let methods = named.flatten().filter_map(|name| Method::from_bytes(name.as_bytes()).ok());
        ReadingRules {
            header_bytes: limits.header_bytes.as_usize(),
            header_fields: limits.header_fields as usize,
            uri_bytes: limits.uri_bytes.as_usize(),
            methods: methods.collect(),
            encoded_slash: self.encoded_slash,
        }
    }
}
