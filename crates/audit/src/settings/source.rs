//! [`Source`]: where in a request or response a value comes from, written as
//! `request.body:/card/number`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use http::HeaderName;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A claim of the token that the request came with.
    Claim(String),
    /// A place in the request's body, as JSON pointer (RFC 6901); forms are read as flat objects.
    RequestBody(String),
    /// A field of the request.
    RequestHeader(HeaderName),
    /// A parameter of the query, as received.
    RequestQuery(String),
    /// A place in the response's body, as JSON pointer.
    ResponseBody(String),
    /// A field of the response.
    ResponseHeader(HeaderName),
}

impl Source {
    /// Whether it is known before the request is sent on.
    #[must_use]
    pub const fn is_request(&self) -> bool {
        !matches!(self, Self::ResponseBody(_) | Self::ResponseHeader(_))
    }
}

impl FromStr for Source {
    type Err = ParseSourceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (place, name) = text.split_once(':').ok_or(ParseSourceError)?;
        let pointer = || match name.is_empty() || name.starts_with('/') {
            true => Ok(name.to_owned()),
            false => Err(ParseSourceError),
        };
        let header = || HeaderName::from_str(name).map_err(|_error| ParseSourceError);
        let word = || match name.is_empty() {
            false => Ok(name.to_owned()),
            true => Err(ParseSourceError),
        };
        match place {
            "claim" => word().map(Self::Claim),
            "request.body" => pointer().map(Self::RequestBody),
            "request.header" => header().map(Self::RequestHeader),
            "request.query" => word().map(Self::RequestQuery),
            "response.body" => pointer().map(Self::ResponseBody),
            "response.header" => header().map(Self::ResponseHeader),
            _ => Err(ParseSourceError),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim(name) => write!(f, "claim:{name}"),
            Self::RequestBody(pointer) => write!(f, "request.body:{pointer}"),
            Self::RequestHeader(name) => write!(f, "request.header:{name}"),
            Self::RequestQuery(name) => write!(f, "request.query:{name}"),
            Self::ResponseBody(pointer) => write!(f, "response.body:{pointer}"),
            Self::ResponseHeader(name) => write!(f, "response.header:{name}"),
        }
    }
}

/// The text names no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no place of a value; write request.header:Name, request.query:name, request.body:/pointer, \
     response.header:Name, response.body:/pointer or claim:name"
)]
pub struct ParseSourceError;

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Source {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Source".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(claim:.+|request\\.(header|query):.+|response\\.header:.+|(request|response)\\.body:(/.*)?)$",
            "examples": ["request.body:/amount"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_written_as_it_is_read() {
        for text in [
            "claim:sub",
            "request.body:",
            "request.body:/card/number",
            "request.header:x-account",
            "request.query:id",
            "response.body:/id",
            "response.header:location",
        ] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "amount",
            "request.body:amount",
            "request.header:",
            "request.header:a b",
            "claim:",
            "body:/a",
        ] {
            assert_eq!(text.parse::<Source>(), Err(ParseSourceError), "{text}");
        }
    }
}
