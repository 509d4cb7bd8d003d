//! The protected resource's metadata (RFC 9728): where clients get tokens for it.

use serde_json::{Map, Value};
use tidegate_core::SettingsError;

use crate::settings::ResourceSettings;

/// RFC 9728 §3: it comes between the host and the path of the resource.
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The metadata, compiled.
#[derive(Debug)]
pub struct Resource {
    host: Box<str>,
    path: Box<str>,
    address: Box<str>,
    members: Map<String, Value>,
}

impl Resource {
    /// Compiles the metadata of a resource whose tokens come from these issuers.
    pub(crate) fn compile<'s>(
        settings: &ResourceSettings,
        issuers: impl Iterator<Item = &'s str>,
    ) -> Result<Self, SettingsError> {
        let identifier = &settings.identifier;
        let wrong = || {
            SettingsError::new(["identifier"], format!("`{identifier}` identifies no resource"))
                .with_hint("write an https URL without a fragment: https://api.example.com")
        };
        let rest = identifier.strip_prefix("https://").ok_or_else(wrong)?;
        let plain = |b: u8| b.is_ascii_graphic() && !b"\"\\<>#?".contains(&b);
        if !identifier.bytes().all(plain) {
            return Err(wrong());
        }
        let uri: http::Uri = identifier.parse().map_err(|_error| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        // RFC 9728 §3.1: a slash that ends the host or path is left out.
        let own_path = rest.split_once('/').map_or("", |(_, path)| path);
        let own_path = own_path.trim_end_matches('/');
        let slash = if own_path.is_empty() { "" } else { "/" };
        let path = format!("{WELL_KNOWN}{slash}{own_path}");
        let mut members = Map::new();
        members.insert("resource".to_owned(), identifier.as_str().into());
        let servers: Vec<Value> = issuers.map(Into::into).collect();
        members.insert("authorization_servers".to_owned(), servers.into());
        members.insert("bearer_methods_supported".to_owned(), vec![Value::from("header")].into());
        for (name, value) in
            [("resource_name", &settings.name), ("resource_documentation", &settings.documentation)]
        {
            if let Some(value) = value {
                members.insert(name.to_owned(), value.as_str().into());
            }
        }
        Ok(Self {
            host: authority.host().to_ascii_lowercase().into(),
            address: format!("https://{authority}{path}").into(),
            path: path.into(),
            members,
        })
    }

    /// Where the metadata is, as clients are told.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether a request with this canonical host and path asks for it.
    #[must_use]
    pub fn is_at(&self, host: &str, path: &str) -> bool {
        *self.path == *path && *self.host == *host
    }

    /// The document, with the scopes that are demanded somewhere.
    #[must_use]
    pub fn document<'s>(&self, scopes: impl Iterator<Item = &'s str>) -> String {
        let mut scopes: Vec<&str> = scopes.collect();
        scopes.sort_unstable();
        scopes.dedup();
        let mut members = self.members.clone();
        if !scopes.is_empty() {
            let scopes: Vec<Value> = scopes.into_iter().map(Into::into).collect();
            members.insert("scopes_supported".to_owned(), scopes.into());
        }
        Value::Object(members).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(identifier: &str, address: Option<&str>) {
        let identifier = identifier.to_owned();
        let settings = ResourceSettings { identifier, name: None, documentation: None };
        let compiled = Resource::compile(&settings, ["https://id"].into_iter());
        assert_eq!(compiled.ok().as_ref().map(Resource::address), address);
    }

    #[test]
    fn the_document_is_between_host_and_path() {
        let well_known = "https://api.example.com/.well-known/oauth-protected-resource";
        check("https://api.example.com", Some(well_known));
        check("https://api.example.com/", Some(well_known));
        check("https://api.example.com/v1/pay", Some(&format!("{well_known}/v1/pay")));
        check("http://api.example.com", None);
        check("https://", None);
        check("https://api.example.com/#x", None);
        check("https://api.example.com/\"", None);
    }
}
