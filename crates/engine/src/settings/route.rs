//! Routes, and the policy fields that they share.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use tidegate_audit::settings::RouteAuditSettings;
use tidegate_auth::AccessSettings;
use tidegate_core::net::Network;
use tidegate_core::units::ByteSize;
use tidegate_guard::RateLimitSettings;
use tidegate_traffic::RouteMatch;
use tidegate_traffic::filters::{HeaderFilterSettings, RedirectSettings, RewriteSettings};
use tidegate_traffic::hedge::HedgeSettings;
use tidegate_traffic::retry::RetrySettings;
use tidegate_traffic::settings::TimeoutSettings;
use tidegate_traffic::split::SplitSettings;
use tidegate_waf::WafSettings;

/// Which requests go where, and under which policy. The fields of a match, of a route and of a
/// policy stand side by side in the file.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RouteSettings {
    /// Which requests it takes.
    #[serde(rename = "(match)")]
    pub matches: RouteMatch,
    /// The upstream that requests are sent to, or several by weight.
    pub to: Option<Target>,
    /// Answer with a redirect instead.
    pub redirect: Option<RedirectSettings>,
    /// Change the path or host before the upstream sees it.
    pub rewrite: Option<RewriteSettings>,
    /// Named policies, merged in their order: the last one wins per field. The route's own policy
    /// fields win over them.
    pub policies: Vec<String>,
    /// Its own policy fields, over those that it inherits.
    #[serde(rename = "(policy)")]
    pub policy: PolicySettings,
}

/// Where a route sends its requests.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Target {
    /// To one of several upstreams, by weight.
    Split(Box<SplitSettings>),
    /// To the upstream with this name.
    Upstream(String),
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TargetVisitor)
    }
}

struct TargetVisitor;

impl<'de> Visitor<'de> for TargetVisitor {
    type Value = Target;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of an upstream, or a map such as `{ split: { a: 95, b: 5 } }`")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Target, E> {
        Ok(Target::Upstream(name.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Target, A::Error> {
        let settings = SplitSettings::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Target::Split(Box::new(settings)))
    }
}

impl JsonSchema for Target {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Target".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string", "examples": ["api"] },
                generator.subschema_for::<SplitSettings>(),
            ],
        })
    }
}

/// What a route demands and grants. In `defaults` it applies to every route, under a name in
/// `policies` to those that use it, in a route to that route.
///
/// The last one wins per field. `audit`, `auth`, `timeouts`, `retries`, `hedge`, `waf`,
/// `request_headers` and
/// `response_headers` merge key by key, lists are replaced, and a key written as `~` takes back
/// what was inherited.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct PolicySettings {
    /// Who may pass: `none` for everybody, or by which tokens, with which scopes. Where `auth` at
    /// the top level names a provider, each route must have it. Default: everybody.
    pub auth: Option<AccessSettings>,
    /// Token buckets: one, or a list of which all must have a token. Those of a named policy count
    /// over all routes that use it. Default: no limit.
    pub rate_limit: Option<RateLimits>,
    /// Record each request as a key event in the audit log. Default: only refusals are recorded.
    pub audit: Option<RouteAuditSettings>,
    /// The web application firewall. Default: off.
    pub waf: Option<WafSettings>,
    /// Client addresses that may pass; all others are refused. Default: everybody.
    pub allow: Option<Vec<Network>>,
    /// Client addresses that are refused, also if `allow` has them. Default: nobody.
    pub deny: Option<Vec<Network>>,
    /// The largest request body. Default: 10MiB.
    pub max_body: Option<ByteSize>,
    /// How long the upstream may take.
    pub timeouts: Option<TimeoutSettings>,
    /// When a request is tried on another endpoint.
    pub retries: Option<RetrySettings>,
    /// Send a GET or HEAD to a second endpoint when the first is slow; `{}` takes the defaults.
    /// Default: never.
    pub hedge: Option<HedgeSettings>,
    /// Changes to the request's fields, before the upstream sees them.
    pub request_headers: Option<HeaderFilterSettings>,
    /// Changes to the response's fields, before the client sees them.
    pub response_headers: Option<HeaderFilterSettings>,
}

/// One rate limit or several.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimits(pub Vec<RateLimitSettings>);

impl<'de> Deserialize<'de> for RateLimits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RateLimitsVisitor)
    }
}

struct RateLimitsVisitor;

impl<'de> Visitor<'de> for RateLimitsVisitor {
    type Value = RateLimits;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map such as `{ rate: 100/s }`, or a list of them")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RateLimits, A::Error> {
        let one = RateLimitSettings::deserialize(MapAccessDeserializer::new(map))?;
        Ok(RateLimits(vec![one]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RateLimits, A::Error> {
        let mut limits = Vec::new();
        while let Some(limit) = list.next_element()? {
            limits.push(limit);
        }
        Ok(RateLimits(limits))
    }
}

impl JsonSchema for RateLimits {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RateLimits".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<RateLimitSettings>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}
