//! An authorization server's metadata (RFC 8414, OpenID Connect Discovery): where its keys are.

use super::compile::address_error;
use crate::json;
use crate::settings::IssuerSettings;

/// Why metadata is not believed.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// No strict JSON object.
    #[error("not metadata: {0}")]
    Json(#[from] serde_json::Error),
    /// It is another issuer's (RFC 8414 §3.3).
    #[error("it is the metadata of `{0}`")]
    Issuer(String),
    /// It names no keys, or an address that is not to be used.
    #[error("no usable `jwks_uri`")]
    Keys,
}

/// Where an issuer's metadata may be, in the order in which to look: OpenID Connect puts its path
/// behind the issuer's, RFC 8414 §3.1 in front of it.
#[must_use]
pub fn metadata_addresses(issuer: &str) -> Vec<String> {
    let base = issuer.trim_end_matches('/');
    let mut addresses = vec![format!("{base}/.well-known/openid-configuration")];
    if let Some((scheme, rest)) = base.split_once("://") {
        let (host, path) = rest
            .split_once('/')
            .map_or((rest, String::new()), |(host, path)| (host, format!("/{path}")));
        addresses.push(format!("{scheme}://{host}/.well-known/oauth-authorization-server{path}"));
    }
    addresses
}

/// The address of the keys.
///
/// # Errors
/// The document is not this issuer's, or its keys are nowhere that may be asked.
pub fn metadata(text: &[u8], settings: &IssuerSettings) -> Result<String, MetadataError> {
    let document = json::object(text)?;
    let issuer = document.text("issuer").unwrap_or_default();
    if issuer != settings.issuer {
        return Err(MetadataError::Issuer(issuer.chars().take(200).collect()));
    }
    let keys = document.text("jwks_uri").ok_or(MetadataError::Keys)?;
    match address_error(keys, settings.insecure_http, "jwks_uri") {
        None => Ok(keys.to_owned()),
        Some(_wrong) => Err(MetadataError::Keys),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_looked_for_in_two_places() {
        let openid = "https://id.example.com/t/1/.well-known/openid-configuration";
        let oauth = "https://id.example.com/.well-known/oauth-authorization-server/t/1";
        assert_eq!(metadata_addresses("https://id.example.com/t/1"), [openid, oauth]);
        let addresses = metadata_addresses("https://id.example.com/");
        assert_eq!(addresses[1], "https://id.example.com/.well-known/oauth-authorization-server");
    }

    #[test]
    fn metadata_of_another_issuer_is_not_believed() {
        let settings: IssuerSettings =
            serde_json::from_str(r#"{"issuer":"https://id","audience":["api"]}"#).unwrap();
        let read = |text: &str| metadata(text.as_bytes(), &settings);
        let good = r#"{"issuer":"https://id","jwks_uri":"https://keys/x"}"#;
        assert_eq!(read(good).unwrap(), "https://keys/x");
        assert!(matches!(
            read(r#"{"issuer":"https://id/","jwks_uri":"https://keys"}"#),
            Err(MetadataError::Issuer(_))
        ));
        for keys in [r#""http://keys.example.com""#, r#""file:///etc/passwd""#, "1", "null"] {
            let text = format!(r#"{{"issuer":"https://id","jwks_uri":{keys}}}"#);
            assert!(matches!(read(&text), Err(MetadataError::Keys)), "{keys}");
        }
    }
}
