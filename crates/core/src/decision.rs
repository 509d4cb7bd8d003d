//! What the response policy decides about somebody, as enforcement, logs and sinks understand it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::Reason;
use crate::net::Network;

/// What is done about somebody, from the mildest to the hardest.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// People are told; nothing else changes.
    Alert,
    /// A tighter token bucket.
    Throttle,
    /// Each answer is held back for a while.
    Tarpit,
    /// Requests go to a quarantine upstream; an endpoint or a zone gets none.
    Isolate,
    /// Requests are refused.
    Block,
}

impl Measure {
    /// Every measure, the mildest first.
    pub const ALL: [Self; 5] =
        [Self::Alert, Self::Throttle, Self::Tarpit, Self::Isolate, Self::Block];

    /// The stable name: in the configuration, logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Throttle => "throttle",
            Self::Tarpit => "tarpit",
            Self::Isolate => "isolate",
            Self::Block => "block",
        }
    }
}

/// Whom a decision is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// An address or a network.
    Network(Network),
    /// Who asks, such as the `sub` of a token, at the provider of that name.
    Subject(Party),
    /// The client that acts, such as a token's `client_id` or the id of an API key.
    Client(Party),
    /// One token, by the SHA-256 of it in hexadecimal.
    Token(Box<str>),
    /// Everybody on a route.
    Route(Box<str>),
    /// One endpoint of an upstream.
    Endpoint {
        /// The upstream's name.
        upstream: Box<str>,
        /// Its address.
        endpoint: SocketAddr,
    },
    /// One zone of an upstream.
    Zone {
        /// The upstream's name.
        upstream: Box<str>,
        /// The zone's name.
        zone: Box<str>,
    },
}

/// Somebody whom a provider vouches for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Party {
    /// The provider's name in the configuration.
    pub provider: Box<str>,
    /// The provider's name for them.
    pub id: Box<str>,
}

impl Target {
    /// The kind's stable name: in logs and metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Network(_) => "network",
            Self::Subject(_) => "subject",
            Self::Client(_) => "client",
            Self::Token(_) => "token",
            Self::Route(_) => "route",
            Self::Endpoint { .. } => "endpoint",
            Self::Zone { .. } => "zone",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => write!(f, "{network}"),
            Self::Subject(party) => write!(f, "subject {} of {}", party.id, party.provider),
            Self::Client(party) => write!(f, "client {} of {}", party.id, party.provider),
            Self::Token(hash) => write!(f, "token {hash}"),
            Self::Route(route) => write!(f, "route {route}"),
            Self::Endpoint { upstream, endpoint } => write!(f, "endpoint {endpoint} of {upstream}"),
            Self::Zone { upstream, zone } => write!(f, "zone {zone} of {upstream}"),
        }
    }
}

/// What became of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is in force.
    Enforced,
    /// The rule is in dry-run: it would have been in force.
    DryRun,
    /// Too large a share of the recent clients is blocked: only told.
    Capped,
    /// The panic switch is on: only told.
    Panic,
    /// Its target is on an allow-list: only told.
    Protected,
}

impl Standing {
    /// The stable name: in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforced => "enforced",
            Self::DryRun => "dry_run",
            Self::Capped => "capped",
            Self::Panic => "panic",
            Self::Protected => "protected",
        }
    }
}

/// One decision, with what led to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// When it was made.
    pub time: SystemTime,
    /// The rule that made it.
    pub rule: Arc<str>,
    /// What is done.
    pub measure: Measure,
    /// About whom.
    pub target: Target,
    /// Until when; `None` if only lifting ends it.
    pub until: Option<SystemTime>,
    /// What became of it.
    pub standing: Standing,
    /// The how-manieth decision of this rule about this target it is, from 1.
    pub offence: u32,
    /// What led to it.
    pub evidence: Evidence,
}

/// What led to a decision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// How many events counted.
    pub count: u64,
    /// When the first of them was; `None` if there was none.
    pub since: Option<SystemTime>,
    /// Some of them, the newest last; bounded by whoever decides.
    pub samples: Vec<Sample>,
}

/// One event that counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// When.
    pub time: SystemTime,
    /// The request's id.
    pub request_id: Box<str>,
    /// Who asked.
    pub client: IpAddr,
    /// The route, if one was found.
    pub route: Option<Box<str>>,
    /// The status that was sent.
    pub status: u16,
    /// Why it was refused, by the reason's code.
    #[serde(serialize_with = "code")]
    pub reason: Option<Reason>,
}

fn code<S: serde::Serializer>(reason: &Option<Reason>, serializer: S) -> Result<S::Ok, S::Error> {
    reason.map(Reason::code).serialize(serializer)
}
