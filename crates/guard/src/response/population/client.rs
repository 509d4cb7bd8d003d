//! One client, as the cap knows it, and which clients a target means.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use rustc_hash::FxHasher;
use tidegate_core::decision::Target;
use tidegate_core::{Event, Reason, net};

use super::RECENT;
use crate::response::hash::Secret;
use crate::response::when::{answered, is_refused};

/// Somebody who asked for something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    address: IpAddr,
    /// When it was last seen, until when it is hit, and until when lightly or as far as its requests
    /// showed, in nanoseconds.
    pub(super) seen: u64,
    pub(super) hit_until: u64,
    pub(super) met_until: u64,
    /// Good answers and bad ones, and whether the last was good.
    good: u16,
    bad: u16,
    pub(super) content: bool,
    /// A bit for each route that it used, by hash, and one for each `User-Agent` that had a good
    /// answer.
    routes: u64,
    agents: u64,
    /// Whom it was last known as: hashes of subjects, clients and tokens.
    parties: [u32; PARTIES],
}

/// As many parties behind one address are known.
const PARTIES: usize = 6;

/// Behind an address with as many agents are many people, if they had as many good answers for each
/// bad one.
const CROWD: u32 = 12;
const GOOD_FOR_A_BAD: u32 = 4;

/// Who had so many bad answers for each good one, or fewer, is served.
const BAD_FOR_A_GOOD: u32 = 10;

impl Client {
    pub(super) fn new(address: IpAddr) -> Self {
        Self {
            address: site(address),
            seen: 0,
            hit_until: 0,
            met_until: 0,
            good: 0,
            bad: 0,
            content: false,
            routes: 0,
            agents: 0,
            parties: [0; PARTIES],
        }
    }

    /// It asked for something, and got an answer.
    pub(super) fn asked(&mut self, event: &Event<'_>, now: u64, secret: Secret) {
        self.seen = self.seen.max(now);
        self.routes |= event.route.map_or(0, |route| route_bit(route, secret));
        self.is_known_as(event, secret);
        self.got(event);
    }

    /// Whether many people are behind its address: many different `User-Agent`s had good answers,
    /// and nearly all that they did was good, so that one attacker does not pass for many at no cost.
    pub(super) fn is_crowd(&self) -> bool {
        let mostly_good = u32::from(self.bad) * GOOD_FOR_A_BAD <= u32::from(self.good);
        mostly_good && self.agents.count_ones() >= CROWD
    }

    /// Whether keeping it away would be an outage: it has good answers, and not too many bad ones
    /// for each.
    pub(super) fn is_served(&self) -> bool {
        self.good > 0 && u32::from(self.bad) <= u32::from(self.good) * BAD_FOR_A_GOOD
    }

    pub(super) fn is_hit(&self, now: u64) -> bool {
        self.hit_until.max(self.met_until) > now
    }

    pub(super) fn is_recent(&self, now: u64) -> bool {
        now.saturating_sub(self.seen) <= RECENT
    }

    /// Counts the answer, if it says anything about the client: what an upstream serves is good,
    /// what is refused is bad; faults of ours and answers of enforcement are neither.
    fn got(&mut self, event: &Event<'_>) {
        let left = event.reason == Some(Reason::ClientClosed) && event.upstream_status.is_none();
        if left || event.is_own_enforcement() {
            return;
        }
        let found = event.waf.is_some_and(|found| !found.matches.is_empty());
        let served = event.upstream_status.is_some() && !is_refused(event) && !found;
        match answered(event) {
            100..400 if served => {
                (self.good, self.content) = (self.good + 1, true);
                self.agents |= event.user_agent.map_or(0, agent_bit);
            }
            400..500 => (self.bad, self.content) = (self.bad + 1, false),
            _ => {}
        }
        if self.good.max(self.bad) == u16::MAX {
            (self.good, self.bad) = (self.good / 2, self.bad / 2);
        }
    }

    fn is_known_as(&mut self, event: &Event<'_>, secret: Secret) {
        let mut know = |party: u32| {
            if !self.parties.contains(&party) {
                self.parties.rotate_right(1);
                if let Some(first) = self.parties.first_mut() {
                    *first = party;
                }
            }
        };
        if let Some(identity) = event.identity {
            let provider = &*identity.provider;
            identity.subject.iter().for_each(|id| know(party(SUBJECT, provider, id, secret)));
            identity.client.iter().for_each(|id| know(party(ACTOR, provider, id, secret)));
        }
        event.credential.iter().for_each(|token| know(party(TOKEN, "", token, secret)));
    }
}

/// The hash of the client that has an address.
pub(super) fn hash_of(address: IpAddr, secret: Secret) -> u64 {
    secret.hash(CLIENT, &site(address))
}

const CLIENT: u8 = 101;
const ROUTE: u8 = 102;
const SUBJECT: u8 = 103;
const ACTOR: u8 = 104;
const TOKEN: u8 = 105;

fn party(kind: u8, provider: &str, id: &str, secret: Secret) -> u32 {
    u32::try_from(secret.hash(kind, &(provider, id)) >> 32).unwrap_or(0)
}

/// What counts as one client.
fn site(address: IpAddr) -> IpAddr {
    net::site(address, 48)
}

/// Not a secret hash: whoever makes agents collide has fewer.
fn agent_bit(agent: &str) -> u64 {
    let mut hasher = FxHasher::default();
    agent.hash(&mut hasher);
    1 << (hasher.finish() >> 58)
}

fn route_bit(route: &str, secret: Secret) -> u64 {
    1 << (secret.hash(ROUTE, route) % 64)
}

/// Which clients a target means.
pub(super) enum Meant {
    Nobody,
    /// The one with this hash.
    One(u64),
    /// Those in a network.
    Within(ipnet::IpNet),
    /// Those who used a route that has one of these bits.
    On(u64),
    /// Those who were known as somebody.
    As(u32),
}

impl Meant {
    pub(super) fn new(target: &Target, secret: Secret) -> Self {
        let one = |address| Self::One(hash_of(address, secret));
        match target {
            Target::Network(network) => {
                let net = network.net();
                let whole = if net.addr().is_ipv4() { 32 } else { 48 };
                if net.prefix_len() >= whole { one(net.addr()) } else { Self::Within(net) }
            }
            Target::Subject(who) => Self::As(party(SUBJECT, &who.provider, &who.id, secret)),
            Target::Client(who) => Self::As(party(ACTOR, &who.provider, &who.id, secret)),
            Target::Token(token) => Self::As(party(TOKEN, "", token, secret)),
            Target::Route(route) => Self::On(route_bit(route, secret)),
            Target::Endpoint { .. } | Target::Zone { .. } => Self::Nobody,
        }
    }

    pub(super) fn is_by_address(&self) -> bool {
        matches!(self, Self::One(_) | Self::Within(_))
    }

    pub(super) fn means(&self, client: &Client) -> bool {
        match self {
            Self::Within(net) => net.contains(&client.address),
            Self::On(bit) => client.routes & bit != 0,
            Self::As(party) => client.parties.contains(party),
            Self::Nobody | Self::One(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16) -> Event<'static> {
        Event { status, upstream_status: Some(status), ..Event::default() }
    }

    fn somebody() -> Client {
        Client::new(Event::default().client)
    }

    #[test]
    fn one_good_answer_for_ten_bad_ones_is_being_served() {
        let served = |good: u16, bad: u16| {
            let mut client = somebody();
            (0..good).for_each(|_| client.got(&answered(200)));
            (0..bad).for_each(|_| client.got(&answered(404)));
            client.is_served()
        };
        assert!(!served(0, 0) && !served(0, 1) && served(1, 0));
        assert!(served(1, 10) && !served(1, 11) && served(100, 900) && !served(5, 65_000));
    }

    #[test]
    fn what_says_nothing_of_a_client_counts_for_nothing() {
        let mut client = somebody();
        for event in [
            // Not from an upstream, a fault of ours, an answer of enforcement, gone before it.
            Event { status: 301, ..Event::default() },
            answered(503),
            Event { reason: Some(Reason::Banned), status: 403, ..Event::default() },
            Event { reason: Some(Reason::ClientClosed), status: 499, ..Event::default() },
        ] {
            client.got(&event);
        }
        assert_eq!((client.good, client.bad), (0, 0));
    }

    #[test]
    fn many_agents_that_do_well_are_many_people() {
        let is_crowd = |agents: u32, bad: u32| {
            let mut client = somebody();
            for agent in (0..agents).map(|n| format!("Browser/{n}.0")) {
                client.got(&Event { user_agent: Some(&agent), ..answered(200) });
            }
            (0..bad).for_each(|_| client.got(&answered(401)));
            client.is_crowd()
        };
        assert!(!is_crowd(0, 0) && !is_crowd(1, 0) && !is_crowd(9, 0));
        assert!(is_crowd(40, 0) && is_crowd(40, 10) && !is_crowd(40, 11));
    }
}
