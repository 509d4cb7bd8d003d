//! Policy services: what they are told of a request, and what their answer means. The proxy makes
//! the calls.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use tidegate_core::{Denial, Reason, Request, SettingsError};

use crate::identity::Identity;
use crate::issuer::address_error;
use crate::settings::{AuthorizerSettings, Dialect};

/// A policy service.
#[derive(Debug)]
pub struct Authorizer {
    name: Arc<str>,
    settings: AuthorizerSettings,
    seen: Vec<HeaderName>,
    given: Vec<HeaderName>,
}

/// What a policy service says.
#[derive(Clone, Debug)]
pub enum Word {
    /// The request may pass, and the upstream gets these fields.
    Allowed(Vec<(HeaderName, HeaderValue)>),
    /// It may not.
    Denied(Box<Denial>),
}

/// A call to make. It is not printed: there may be a token or a secret in it.
pub struct Inquiry {
    /// The fields to send.
    pub headers: HeaderMap,
    /// The body to POST; a GET without.
    pub body: Option<String>,
}

impl fmt::Debug for Inquiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.keys().map(HeaderName::as_str).collect();
        f.debug_struct("Inquiry").field("headers", &names).finish_non_exhaustive()
    }
}

impl Authorizer {
    /// Compiles a policy service.
    ///
    /// # Errors
    /// Everything that is wrong with the settings, with paths relative to them.
    pub fn compile(name: &str, settings: &AuthorizerSettings) -> Result<Self, Vec<SettingsError>> {
        let mut errors: Vec<_> =
            address_error(&settings.url, settings.insecure_http, "url").into_iter().collect();
        if settings.timeout.0.is_zero() {
            errors.push(SettingsError::new(["timeout"], "zero would let nothing pass"));
        }
        let mut names = |list: &[String], field: &str| {
            let parsed = list.iter().filter_map(|name| {
                let parsed = HeaderName::from_bytes(name.as_bytes()).ok();
                if parsed.is_none() {
                    let message = format!("`{name}` is no field name");
                    errors.push(SettingsError::new([field], message));
                }
                parsed
            });
            parsed.collect::<Vec<_>>()
        };
        let seen = names(&settings.request_headers, "request_headers");
        let given = names(&settings.response_headers, "response_headers");
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self { name: name.into(), settings: settings.clone(), seen, given })
    }

    /// The name in the configuration.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &AuthorizerSettings {
        &self.settings
    }

    /// The fields that only it may write.
    pub(crate) fn given(&self) -> impl Iterator<Item = &HeaderName> {
        self.given.iter()
    }

    /// What to tell it of a request.
    #[must_use]
    pub fn inquiry(&self, request: &Request<'_>, who: Option<&Identity>) -> Inquiry {
        let mut headers = HeaderMap::new();
        for name in &self.seen {
            if let Some(value) = joined(request.headers(), name) {
                headers.insert(name.clone(), value);
            }
        }
        let target = match request.query() {
            Some(query) => format!("{}?{query}", request.path),
            None => request.path.to_owned(),
        };
        match self.settings.dialect {
            Dialect::ForwardAuth => {
                let scheme = if request.secure { "https" } else { "http" };
                let told = [
                    ("x-forwarded-method", request.method().as_str()),
                    ("x-forwarded-proto", scheme),
                    ("x-forwarded-host", request.host),
                    ("x-forwarded-uri", &target),
                    ("x-forwarded-for", &request.client.to_string()),
                    ("x-auth-subject", who.and_then(|who| who.subject.as_deref()).unwrap_or("")),
                    ("x-auth-client", who.and_then(|who| who.client.as_deref()).unwrap_or("")),
                ];
                for (name, value) in told {
                    if let (Ok(value), false) = (HeaderValue::from_str(value), value.is_empty()) {
                        headers.insert(HeaderName::from_static(name), value);
                    }
                }
                Inquiry { headers, body: None }
            }
            Dialect::Opa => {
                headers.clear();
                headers.insert("content-type", HeaderValue::from_static("application/json"));
                Inquiry { headers, body: Some(self.input(request, who)) }
            }
        }
    }

    /// Open Policy Agent's input document.
    fn input(&self, request: &Request<'_>, who: Option<&Identity>) -> String {
        let mut fields = serde_json::Map::new();
        for name in &self.seen {
            if let Some(value) = joined(request.headers(), name) {
                let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
                fields.insert(name.as_str().to_owned(), text.into());
            }
        }
        let path: Vec<&str> = request.path.split('/').filter(|part| !part.is_empty()).collect();
        let who = who.map(|who| {
            // Strict JSON becomes JSON again.
            let claims: Value = serde_json::from_str(&who.claims.to_string()).unwrap_or_default();
            json!({
                "provider": &*who.provider, "subject": who.subject.as_deref(),
                "client": who.client.as_deref(), "scopes": texts(&who.scopes),
                "roles": texts(&who.roles), "claims": claims,
            })
        });
        let input = json!({ "input": {
            "method": request.method().as_str(), "host": request.host, "path": request.path,
            "segments": path, "query": request.query(), "client_ip": request.client.to_string(),
            "headers": fields, "identity": who,
        } });
        input.to_string()
    }

    /// What an answer means; `None` if it is none, so that nobody passes.
    #[must_use]
    pub fn word(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Word> {
        match self.settings.dialect {
            Dialect::ForwardAuth if status.is_success() => Some(self.allowed(headers)),
            Dialect::ForwardAuth if status.is_client_error() || status.is_redirection() => {
                Some(Word::Denied(Box::new(self.denied(status, headers))))
            }
            Dialect::Opa if status == StatusCode::OK => {
                let answer: Value = serde_json::from_slice(body).ok()?;
                let result = answer.get("result");
                let allow = result.and_then(|result| result.get("allow")).or(result);
                match allow.and_then(Value::as_bool) {
                    Some(true) => Some(self.allowed(headers)),
                    // An undefined decision is none in favour.
                    Some(false) | None => {
                        let denial = self.denied(StatusCode::FORBIDDEN, &HeaderMap::new());
                        Some(Word::Denied(Box::new(denial)))
                    }
                }
            }
            Dialect::ForwardAuth | Dialect::Opa => None,
        }
    }

    fn allowed(&self, headers: &HeaderMap) -> Word {
        let given = self
            .given
            .iter()
            .filter_map(|name| headers.get(name).map(|value| (name.clone(), value.clone())));
        Word::Allowed(given.collect())
    }

    /// The service's own status; of its fields those that a client needs to go on.
    fn denied(&self, status: StatusCode, headers: &HeaderMap) -> Denial {
        let evidence = format!("`{}` says {}", self.name, status.as_u16());
        let mut denial = Denial::new(Reason::AccessDenied).with_evidence(evidence);
        denial.status = status;
        for name in ["location", "set-cookie", "www-authenticate"] {
            let name = HeaderName::from_static(name);
            for value in headers.get_all(&name) {
                denial.headers.append(name.clone(), value.clone());
            }
        }
        denial
    }
}

fn texts(list: &[Box<str>]) -> Vec<&str> {
    list.iter().map(|text| &**text).collect()
}

/// All values of a field as one (RFC 9110 §5.3), crumbs of a cookie as RFC 9113 §8.2.3 says: the
/// service has to see what the upstream will see.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let values: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    let between: &[u8] = if *name == http::header::COOKIE { b"; " } else { b", " };
    if values.is_empty() { None } else { HeaderValue::from_bytes(&values.join(between)).ok() }
}
