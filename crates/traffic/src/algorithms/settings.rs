//! The `balance` setting: an algorithm by name, or a hash and what it is taken of.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tidegate_core::Request;

use super::{Algorithm, ketama, least_request, maglev, peak_ewma, random, round_robin};
use crate::hash_key::HashKey;

/// How an endpoint is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// The same key goes to the same endpoint, as long as that is available.
    Hash(HashBalance),
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

/// The same key goes to the same endpoint.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub struct HashBalance {
    /// What the hash is taken of: `client_ip`, `path`, `{ header: … }`, `{ cookie: … }` or
    /// `{ query: … }`. A request that lacks it is hashed by its client address.
    pub hash: HashKey,
    /// `maglev`, whose shares follow the weights within 1 %; or `ketama`, which moves not a single
    /// key that need not when endpoints come or go, and whose shares vary by 8 %. Default:
    /// `maglev`.
    #[serde(default)]
    pub algorithm: HashAlgorithm,
    /// The most that an endpoint may have of the requests in flight, as a percentage of its
    /// share by weight, from 101% to 1000%; beyond it, keys go to the next endpoint. HAProxy
    /// recommends 125% to 200% for its own. Default: no bound.
    #[serde(default)]
    pub bounded_load: Option<BoundedLoad>,
}

/// How keys are mapped to endpoints.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum HashAlgorithm {
    /// A ring with 160 points per weight.
    Ketama,
    /// A table of which each endpoint owns its exact share.
    #[default]
    Maglev,
}

/// The most of its share that an endpoint may have in flight, written as `125%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundedLoad {
    percent: u16,
}

impl BoundedLoad {
    /// From 101 to 1,000.
    #[must_use]
    pub const fn percent(self) -> u16 {
        self.percent
    }
}

impl Balance {
    /// The row of the table that this names.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Hash(HashBalance { algorithm: HashAlgorithm::Ketama, .. }) => ketama::ALGORITHM,
            Self::Hash(HashBalance { algorithm: HashAlgorithm::Maglev, .. }) => maglev::ALGORITHM,
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
            Self::Hash(settings) => settings.hash.hash(request),
            Self::LeastRequest | Self::PeakEwma | Self::Random | Self::RoundRobin => 0,
        }
    }

    /// The bound on the load of an endpoint, for algorithms that have one.
    #[must_use]
    pub const fn bounded_load(&self) -> Option<BoundedLoad> {
        match self {
            Self::Hash(settings) => settings.bounded_load,
            Self::LeastRequest | Self::PeakEwma | Self::Random | Self::RoundRobin => None,
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
        HashBalance::deserialize(MapAccessDeserializer::new(map)).map(Balance::Hash)
    }
}

impl<'de> Deserialize<'de> for BoundedLoad {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(BoundedLoadVisitor)
    }
}

struct BoundedLoadVisitor;

impl Visitor<'_> for BoundedLoadVisitor {
    type Value = BoundedLoad;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a percentage such as 150%")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<BoundedLoad, E> {
        let digits = text.strip_suffix('%').map(str::trim_end);
        let percent = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        match percent.and_then(|digits| digits.parse().ok()) {
            Some(percent @ 101..=1_000) => Ok(BoundedLoad { percent }),
            Some(_) => Err(E::custom(format_args!("`{text}` is not within 101% and 1000%"))),
            None => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }
}

impl JsonSchema for BoundedLoad {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "BoundedLoad".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(10[1-9]|1[1-9][0-9]|[2-9][0-9]{2}|1000) ?%$",
            "examples": ["150%"],
        })
    }
}

impl JsonSchema for Balance {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Balance".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let hash = generator.subschema_for::<HashBalance>();
        json_schema!({ "anyOf": [{ "enum": NAMES }, hash] })
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

    fn hash(hash: HashKey) -> Balance {
        let algorithm = HashAlgorithm::Maglev;
        Balance::Hash(HashBalance { hash, algorithm, bounded_load: None })
    }

    #[test]
    fn balance_is_a_name_or_a_hash() {
        let header = http::HeaderName::from_static("x-user");
        check(r#""round_robin""#, Ok(Balance::RoundRobin));
        check(r#""least_request""#, Ok(Balance::LeastRequest));
        check(r#""peak_ewma""#, Ok(Balance::PeakEwma));
        check(r#""random""#, Ok(Balance::Random));
        check(r#"{"hash":"client_ip"}"#, Ok(hash(HashKey::ClientIp)));
        check(r#"{"hash":"path"}"#, Ok(hash(HashKey::Path)));
        check(r#"{"hash":{"header":"X-User"}}"#, Ok(hash(HashKey::Header(header))));
        check(r#"{"hash":{"cookie":"sid"}}"#, Ok(hash(HashKey::Cookie("sid".into()))));
        check(
            r#"{"hash":"path","algorithm":"ketama","bounded_load":"125 %"}"#,
            Ok(Balance::Hash(HashBalance {
                hash: HashKey::Path,
                algorithm: HashAlgorithm::Ketama,
                bounded_load: Some(BoundedLoad { percent: 125 }),
            })),
        );
        check(r#""roundrobin""#, Err("unknown variant `roundrobin`, expected one of"));
        check(r#""hash""#, Err("hash needs a key"));
        check(r#"{"hash":"header"}"#, Err("header needs a name"));
        check(r#"{"hash":{"header":"a b"}}"#, Err("`a b` is not a header name"));
        check(r#"{"hash":"path","x":1}"#, Err("unknown field `x`"));
        check(r#"{"hash":"path","algorithm":"ring"}"#, Err("unknown variant `ring`"));
        check(r#"{"hash":"path","bounded_load":"100%"}"#, Err("not within 101% and 1000%"));
        check(r#"{"hash":"path","bounded_load":"1.5"}"#, Err("expected a percentage"));
        check(r#"{"hash":"path","bounded_load":1.5}"#, Err("expected a percentage"));
        check("7", Err("expected round_robin"));
    }
}
