//! What the policy asks about upstreams and about who is one of us: who knows them answers.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use tidegate_core::decision::Target;

/// Who knows the upstreams and their endpoints now.
pub trait Upstreams: fmt::Debug + Send + Sync {
    /// Whether the address is one that no measure may hit: of an upstream's endpoint, of a trusted
    /// proxy, of this machine.
    fn is_ours(&self, address: IpAddr) -> bool;

    /// The zone of an endpoint, if it has one.
    fn zone(&self, upstream: &str, endpoint: SocketAddr) -> Option<Box<str>>;

    /// How many endpoints of the target's upstream could take requests if the target, an endpoint or
    /// a zone, took none; `None` if there is no such upstream or target.
    fn without(&self, target: &Target) -> Option<Remaining>;
}

/// What is left of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// Endpoints that could take requests.
    pub able: usize,
    /// All endpoints that are not drained, the target's among them.
    pub total: usize,
}

impl Remaining {
    /// Whether the upstream can do without the target: at least half of it is left.
    #[must_use]
    pub const fn is_enough(self) -> bool {
        self.able > 0 && self.able * 2 >= self.total
    }
}

/// No upstream at all: for trials of a policy.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoUpstreams;

impl Upstreams for NoUpstreams {
    fn is_ours(&self, _: IpAddr) -> bool {
        false
    }

    fn zone(&self, _: &str, _: SocketAddr) -> Option<Box<str>> {
        None
    }

    fn without(&self, _: &Target) -> Option<Remaining> {
        None
    }
}
