//! Answers with a redirect instead of sending the request upstream.

use std::borrow::Cow;
use std::fmt;

use http::{HeaderValue, StatusCode};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tidegate_core::{Request, SettingsError};

use super::rewrite::join;
use crate::path;
use crate::router::Scheme;

/// Where a request is sent instead. What is absent stays as the client asked for it; the query
/// stays always. A reload applies it to new requests.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RedirectSettings {
    /// 301, 302, 303, 307 or 308. Default: 308, permanent, the method stays.
    pub status: u16,
    /// `http` or `https`.
    pub scheme: Option<Scheme>,
    /// The host, without a port.
    pub host: Option<String>,
    /// The port. Default: the scheme's own.
    pub port: Option<u16>,
    /// The whole path, or `{prefix: ..}` in place of what the route matched.
    pub path: Option<RedirectPath>,
}

impl Default for RedirectSettings {
    fn default() -> Self {
        Self { status: 308, scheme: None, host: None, port: None, path: None }
    }
}

/// The path of a redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectPath {
    /// In place of what the route matched.
    Prefix(String),
    /// In place of the whole path.
    Whole(String),
}

/// A compiled redirect.
#[derive(Clone, Debug)]
pub struct Redirect {
    status: StatusCode,
    scheme: Option<Scheme>,
    host: Option<String>,
    port: Option<u16>,
    path: Option<RedirectPath>,
}

impl Redirect {
    /// Compiles the settings.
    ///
    /// # Errors
    ///
    /// A status that does not redirect, hosts and paths that cannot be used, and a redirect that
    /// leads to where the request came from.
    pub fn compile(settings: &RedirectSettings) -> Result<Self, Vec<SettingsError>> {
        let mut errors = Vec::new();
        let RedirectSettings { status, scheme, host, port, path } = settings.clone();
        let code = match status {
            301 | 302 | 303 | 307 | 308 => StatusCode::from_u16(status).unwrap_or_default(),
            _ => {
                let message = format!("{status} is not the status of a redirect");
                let error = SettingsError::new(["status"], message);
                errors.push(error.with_hint("use 301, 302, 303, 307 or 308"));
                StatusCode::PERMANENT_REDIRECT
            }
        };
        if let Some(host) = host.as_ref().filter(|host| !is_bare_host(host)) {
            let error = SettingsError::new(["host"], format!("`{host}` is not a host"));
            errors.push(error.with_hint("write it without scheme, port and path"));
        }
        if port == Some(0) {
            errors.push(SettingsError::new(["port"], "the port must be from 1 to 65535"));
        }
        if let Some(RedirectPath::Prefix(text) | RedirectPath::Whole(text)) = &path {
            errors.extend(path::check(text).err().map(|error| error.at(["path"])));
        }
        if scheme.is_none() && host.is_none() && port.is_none() && path.is_none() {
            let message = "the redirect leads to where the request came from";
            let nowhere: [&str; 0] = [];
            let error = SettingsError::new(nowhere, message);
            errors.push(error.with_hint("give it a `scheme`, `host`, `port` or `path`"));
        }
        let redirect = Self { status: code, scheme, host, port, path };
        if errors.is_empty() { Ok(redirect) } else { Err(errors) }
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The `Location` of the answer (RFC 9110 §10.2.2) for a request of whose path the route
    /// matched `matched_len` bytes. Whatever the client sent, it is one line of visible ASCII, and
    /// names no host but the configured or the canonical one.
    #[must_use]
    pub fn location(&self, request: &Request<'_>, matched_len: usize) -> HeaderValue {
        let mut location = self.origin(request);
        push_encoded(&mut location, &self.target_path(request.path, matched_len));
        if let Some(query) = request.query() {
            location.push('?');
            push_encoded(&mut location, query);
        }
        // Only ASCII from `!` to `~` was pushed.
        HeaderValue::try_from(location).unwrap_or_else(|_error| HeaderValue::from_static("/"))
    }

    /// Scheme, host and port; empty if none of them changes, since the client then keeps them,
    /// its port included.
    fn origin(&self, request: &Request<'_>) -> String {
        let host = self.host.as_deref().unwrap_or(request.host);
        let unchanged = self.scheme.is_none() && self.host.is_none() && self.port.is_none();
        if unchanged || host.is_empty() {
            return String::new();
        }
        let own = if request.secure { Scheme::Https } else { Scheme::Http };
        let scheme = self.scheme.unwrap_or(own);
        let default_port = match scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        };
        let mut origin = format!("{}://", scheme.name());
        push_encoded(&mut origin, host);
        if let Some(port) = self.port.filter(|port| *port != default_port) {
            origin.push_str(&format!(":{port}"));
        }
        origin
    }

    fn target_path<'a>(&'a self, path: &'a str, matched_len: usize) -> Cow<'a, str> {
        let target = match &self.path {
            None => Cow::Borrowed(path),
            Some(RedirectPath::Whole(path)) => Cow::Borrowed(path.as_str()),
            Some(RedirectPath::Prefix(prefix)) => {
                let rest = path.get(matched_len..).unwrap_or_default();
                Cow::Owned(join(prefix.strip_suffix('/').unwrap_or(prefix), rest))
            }
        };
        // Two slashes would make what follows a host (RFC 3986 §4.2).
        if target.starts_with("//") || !target.starts_with('/') {
            return Cow::Owned(format!("/{}", target.trim_start_matches('/')));
        }
        target
    }
}

/// A name or an address literal, and nothing beside it.
fn is_bare_host(host: &str) -> bool {
    let authority = host.parse::<http::uri::Authority>();
    authority.is_ok_and(|authority| authority.host() == host && !host.contains('@'))
}

/// Pushes what a URI can carry as it is and percent-encodes the rest, backslashes included, which
/// some clients take for slashes.
fn push_encoded(target: &mut String, text: &str) {
    for byte in text.bytes() {
        if path::is_plain(byte) || matches!(byte, b'%' | b'?' | b'[' | b']') {
            target.push(char::from(byte));
        } else {
            target.push_str(&format!("%{byte:02X}"));
        }
    }
}

impl<'de> Deserialize<'de> for RedirectPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RedirectPathVisitor)
    }
}

struct RedirectPathVisitor;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RedirectPathMap {
    prefix: String,
}

impl<'de> Visitor<'de> for RedirectPathVisitor {
    type Value = RedirectPath;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path, or a map with `prefix`")
    }

    fn visit_str<E: de::Error>(self, path: &str) -> Result<RedirectPath, E> {
        Ok(RedirectPath::Whole(path.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RedirectPath, A::Error> {
        let map = RedirectPathMap::deserialize(MapAccessDeserializer::new(map))?;
        Ok(RedirectPath::Prefix(map.prefix))
    }
}

impl JsonSchema for RedirectPath {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RedirectPath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string", "pattern": "^/" },
                { "type": "object", "additionalProperties": false, "required": ["prefix"],
                  "properties": { "prefix": { "type": "string", "pattern": "^/",
                    "description": "In place of what the route matched." } } },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::RequestParts;

    fn settings(json: &str) -> RedirectSettings {
        serde_json::from_str(json).unwrap()
    }

    #[track_caller]
    fn check(json: &str, uri: &str, matched_len: usize, expected: &str) {
        let parts = RequestParts::get(uri);
        let redirect = Redirect::compile(&settings(json)).unwrap();
        assert_eq!(redirect.location(&parts.request(), matched_len), expected, "{json} {uri}");
    }

    #[test]
    fn what_is_absent_stays() {
        check(r#"{"scheme":"https"}"#, "http://a.b/x/y?q=1", 1, "https://a.b/x/y?q=1");
        check(r#"{"host":"c.d"}"#, "http://a.b/x?q", 1, "http://c.d/x?q");
        check(r#"{"host":"c.d"}"#, "https://a.b/", 1, "https://c.d/");
        check(r#"{"port":8443,"scheme":"https"}"#, "http://a.b/", 1, "https://a.b:8443/");
        check(r#"{"port":443,"scheme":"https"}"#, "http://a.b/", 1, "https://a.b/");
        check(r#"{"path":"/new"}"#, "http://a.b/old/x?q=1", 4, "/new?q=1");
        check(r#"{"path":{"prefix":"/new/"}}"#, "http://a.b/old/x?q=1", 4, "/new/x?q=1");
        check(r#"{"path":{"prefix":"/"}}"#, "http://a.b/old/x", 4, "/x");
        check(r#"{"path":{"prefix":"/"}}"#, "http://a.b/old", 4, "/");
    }

    #[test]
    fn a_location_cannot_be_made_to_lie() {
        let parts = RequestParts::get("http://a.b/");
        let redirect = Redirect::compile(&settings(r#"{"path":{"prefix":"/"}}"#)).unwrap();
        for path in ["//evil", "/x//evil", "/\\evil", "/x\r\nset-cookie: a=b", "/x\u{e9}", "evil"] {
            let request = Request { path, ..parts.request() };
            let location = redirect.location(&request, if path.starts_with("/x") { 2 } else { 0 });
            let text = location.to_str().unwrap();
            assert!(text.starts_with('/') && !text.starts_with("//"), "{text}");
            assert!(text.bytes().all(|b| (b'!'..=b'~').contains(&b) && b != b'\\'), "{text}");
        }
        let hostless = Request { host: "", ..parts.request() };
        let redirect = Redirect::compile(&settings(r#"{"scheme":"https"}"#)).unwrap();
        assert_eq!(redirect.location(&hostless, 0), "/");
    }

    #[track_caller]
    fn check_refused(json: &str, expected: &str) {
        let errors = Redirect::compile(&settings(json)).unwrap_err();
        let found: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(found.join("; "), expected);
    }

    #[test]
    fn settings_say_what_is_wrong() {
        check_refused("{}", "the redirect leads to where the request came from");
        check_refused(
            r#"{"status":200,"path":"x"}"#,
            "status: 200 is not the status of a redirect; \
             path: `x` is not a path, since it does not start with a slash",
        );
        check_refused(r#"{"host":"https://x"}"#, "host: `https://x` is not a host");
        check_refused(r#"{"host":"x:80"}"#, "host: `x:80` is not a host");
        check_refused(r#"{"port":0}"#, "port: the port must be from 1 to 65535");
    }
}
