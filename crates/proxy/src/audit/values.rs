//! Finds the values that a route records, in a request or a response.

use http::HeaderMap;
use http::header;
use serde_json::{Map, Value};
use tidegate_audit::settings::Source;

/// A message's body, as far as values are looked for in it.
pub(super) enum Body {
    /// It was read and understood.
    Read(Value),
    /// It was not read as a whole, or is neither JSON nor a form.
    Unread,
}

impl Body {
    /// Reads a whole body: JSON, or a form as a flat object.
    pub(super) fn parse(headers: &HeaderMap, bytes: &[u8]) -> Self {
        let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.and_then(|text| text.split(';').next()).unwrap_or_default();
        if media_type.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Self::Read(form(&String::from_utf8_lossy(bytes)));
        }
        // Whatever it calls itself: an upstream may read JSON under any name.
        serde_json::from_slice(bytes).map_or(Self::Unread, Self::Read)
    }

    fn at(&self, pointer: &str) -> Option<Value> {
        match self {
            Self::Read(value) => value.pointer(pointer).cloned(),
            Self::Unread => None,
        }
    }
}

/// Where values are looked for.
pub(super) struct Message<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) query: Option<&'a str>,
    pub(super) body: Option<&'a Body>,
    /// Finds a claim of the request's token.
    pub(super) claim: &'a dyn Fn(&str) -> Option<Value>,
}

impl Message<'_> {
    /// The value at a place; `None` if there is none.
    pub(super) fn value(&self, from: &Source) -> Option<Value> {
        match from {
            Source::Claim(name) => (self.claim)(name),
            Source::RequestBody(pointer) | Source::ResponseBody(pointer) => {
                self.body.and_then(|body| body.at(pointer))
            }
            Source::RequestHeader(name) | Source::ResponseHeader(name) => {
                let values = self.headers.get_all(name).iter();
                let values: Vec<_> =
                    values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
                (!values.is_empty()).then(|| values.join(", ").into())
            }
            Source::RequestQuery(name) => {
                let pairs = self.query.unwrap_or_default().split('&');
                let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
                let found = pairs.find(|(key, _)| decoded(key) == *name);
                found.map(|(_, value)| decoded(value).into())
            }
        }
    }
}

/// The name under which a place's own value is known to be secret.
pub(super) fn place(from: &Source) -> &str {
    match from {
        Source::Claim(name) | Source::RequestQuery(name) => name,
        Source::RequestBody(pointer) | Source::ResponseBody(pointer) => {
            pointer.rsplit('/').next().unwrap_or_default()
        }
        Source::RequestHeader(name) | Source::ResponseHeader(name) => name.as_str(),
    }
}

/// The value as a subject's name.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn form(body: &str) -> Value {
    let mut members = Map::new();
    for pair in body.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        members.entry(decoded(name)).or_insert_with(|| decoded(value).into());
    }
    Value::Object(members)
}

/// A text of a query or form as it was meant.
pub(crate) fn decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    let mut bytes = Vec::with_capacity(spaced.len());
    let mut rest = spaced.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let hex = |digit: &u8| char::from(*digit).to_digit(16).and_then(|d| u8::try_from(d).ok());
        match (byte, after) {
            (b'%', [high, low, behind @ ..]) => match (hex(high), hex(low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = behind;
                }
                _ => {
                    bytes.push(*byte);
                    rest = after;
                }
            },
            _ => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(from: &str, expected: Option<Value>) {
        let mut headers = HeaderMap::new();
        headers.insert("x-account", "a-1".parse().unwrap());
        headers.append("x-list", "1".parse().unwrap());
        headers.append("x-list", "2".parse().unwrap());
        let body = Body::parse(&headers, br#"{"card":{"number":"4111"},"items":[{"id":7}]}"#);
        let claim = |name: &str| (name == "sub").then(|| json!("alice"));
        let message = Message {
            headers: &headers,
            query: Some("a=1&b%20c=x+y%21&a=2"),
            body: Some(&body),
            claim: &claim,
        };
        let (found, wanted) = (message.value(&from.parse().unwrap()), expected);
        assert_eq!(found, wanted, "{from}");
    }

    #[test]
    fn values_are_found_where_they_are() {
        check("request.header:X-Account", Some(json!("a-1")));
        check("request.header:X-List", Some(json!("1, 2")));
        check("request.header:X-None", None);
        check("request.query:a", Some(json!("1")));
        check("request.query:b c", Some(json!("x y!")));
        check("request.query:z", None);
        check("request.body:/card/number", Some(json!("4111")));
        check("request.body:/items/0/id", Some(json!(7)));
        check("request.body:/nothing", None);
        check("claim:sub", Some(json!("alice")));
        check("claim:iss", None);
    }

    #[test]
    fn forms_are_flat_objects_and_other_bodies_are_not_read() {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        let body = Body::parse(&headers, b"amount=12%2C50&to=a+b&amount=1");
        assert_eq!(body.at("/amount"), Some(json!("12,50")));
        assert_eq!(body.at("/to"), Some(json!("a b")));
        headers.insert("content-type", "text/plain".parse().unwrap());
        assert!(matches!(Body::parse(&headers, b"{\"a\":"), Body::Unread));
        assert_eq!(Body::parse(&headers, b"{\"a\":1}").at("/a"), Some(json!(1)));
    }
}
