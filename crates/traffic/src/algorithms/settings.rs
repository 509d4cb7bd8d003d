//! The `balance` setting: an algorithm by name, or a hash and what it is taken of.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tidegate_core::Request;

use super::{Algorithm, consistent_hash, least_request, peak_ewma, random, round_robin};
use crate::hash_key::HashKey;

/// How an endpoint is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// The same key goes to the same endpoint, as long as that is available.
    Hash(HashKey),
    /// The less busy of two random endpoints, by weight.
    LeastRequest,
    /// The quicker of two random endpoints, by recent latency, requests in flight and weight.
    PeakEwma,
    /// At random, by weight.
    Random,
    /// In turn, by weight, evenly spread.
    #[default]
    RoundRobin,
}

impl Balance {
    /// The row of the table that this names.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Hash(_) => consistent_hash::ALGORITHM,
            Self::LeastRequest => least_request::ALGORITHM,
            Self::PeakEwma => peak_ewma::ALGORITHM,
            Self::Random => random::ALGORITHM,
            Self::RoundRobin => round_robin::ALGORITHM,
        }
    }

    /// The hash of the request's key; 0 if the algorithm uses none.
    #[must_use]
    pub fn key(&self, request: &Request<'_>) -> u64 {
        match self {
            Self::Hash(key) => key.hash(request),
            Self::LeastRequest | Self::PeakEwma | Self::Random | Self::RoundRobin => 0,
        }
    }
}

impl<'de> Deserialize<'de> for Balance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BalanceVisitor)
    }
}

struct BalanceVisitor;

const NAMES: &[&str] = &["round_robin", "random", "least_request", "peak_ewma"];

impl<'de> Visitor<'de> for BalanceVisitor {
    type Value = Balance;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "round_robin, random, least_request, peak_ewma, or a map such as `{ hash: client_ip }`",
        )
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Balance, E> {
        match name {
            "least_request" => Ok(Balance::LeastRequest),
            "peak_ewma" => Ok(Balance::PeakEwma),
            "random" => Ok(Balance::Random),
            "round_robin" => Ok(Balance::RoundRobin),
            "hash" => Err(E::custom("hash needs a key, such as `{ hash: client_ip }`")),
            _ => Err(E::unknown_variant(name, NAMES)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Balance, A::Error> {
        let map = HashMap::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Balance::Hash(map.hash))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HashMap {
    hash: HashKey,
}

impl JsonSchema for Balance {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Balance".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "enum": NAMES },
                { "type": "object", "additionalProperties": false, "required": ["hash"],
                  "properties": { "hash": generator.subschema_for::<HashKey>() } },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Result<Balance, &str>) {
        match (serde_json::from_str::<Balance>(json), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, expected) => panic!("{json}: {found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn balance_is_a_name_or_a_hash() {
        let header = http::HeaderName::from_static("x-user");
        check(r#""round_robin""#, Ok(Balance::RoundRobin));
        check(r#""least_request""#, Ok(Balance::LeastRequest));
        check(r#""random""#, Ok(Balance::Random));
        check(r#"{"hash":"client_ip"}"#, Ok(Balance::Hash(HashKey::ClientIp)));
        check(r#"{"hash":"path"}"#, Ok(Balance::Hash(HashKey::Path)));
        check(r#"{"hash":{"header":"X-User"}}"#, Ok(Balance::Hash(HashKey::Header(header))));
        check(r#""roundrobin""#, Err("unknown variant `roundrobin`, expected one of"));
        check(r#""hash""#, Err("hash needs a key"));
        check(r#"{"hash":"header"}"#, Err("header needs a name"));
        check(r#"{"hash":{"header":"a b"}}"#, Err("`a b` is not a header name"));
        check(r#"{"hash":"path","x":1}"#, Err("unknown field `x`"));
        check("7", Err("expected round_robin"));
    }
}
