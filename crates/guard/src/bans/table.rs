//! The table that a look-up reads: bans flattened into ranges that do not overlap, found by binary
//! search. It is immutable; a change makes a new one.
//!
//! Where networks lie inside each other, each range names the ban that lasts longest.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ipnet::IpNet;
use tidegate_core::net::Network;

/// When a ban ends; later is greater, and a ban without an end is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    At(Instant),
    Never,
}

impl End {
    /// Whether the ban holds at `now`.
    pub(super) fn is_after(self, now: Instant) -> bool {
        match self {
            Self::At(end) => end > now,
            Self::Never => true,
        }
    }
}

/// The bans of one measure at one moment.
#[derive(Debug, Default)]
pub(super) struct Table {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
    ends: Box<[End]>,
    owners: Box<[(Network, Arc<str>)]>,
}

impl Table {
    /// Flattens the bans, each with who decided it. They come in the order of their networks, so
    /// that each network follows those that hold it.
    pub(super) fn new(bans: Vec<(Network, End, Arc<str>)>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        let mut ends = Vec::with_capacity(bans.len());
        let mut owners = Vec::with_capacity(bans.len());
        for (owner, (network, end, source)) in (0_u32..NOBODY).zip(bans) {
            match network.net() {
                IpNet::V4(net) => v4.push((net.network().into(), net.broadcast().into(), owner)),
                IpNet::V6(net) => v6.push((net.network().into(), net.broadcast().into(), owner)),
            }
            ends.push(end);
            owners.push((network, source));
        }
        let lasts_longer = |a: u32, b: u32| ends.get(a as usize) > ends.get(b as usize);
        Self {
            v4: Ranges::new(v4, lasts_longer),
            v6: Ranges::new(v6, lasts_longer),
            owners: owners.into(),
            ends: ends.into(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The network whose ban holds the canonical address at `now`, and who decided that.
    pub(super) fn find(&self, address: IpAddr, now: Instant) -> Option<&(Network, Arc<str>)> {
        let owner = match address {
            IpAddr::V4(address) => self.v4.owner(address.into()),
            IpAddr::V6(address) => self.v6.owner(address.into()),
        }?;
        let end = self.ends.get(owner)?;
        end.is_after(now).then(|| self.owners.get(owner))?
    }
}

/// The owner of a range in which nobody is banned.
const NOBODY: u32 = u32::MAX;

/// Ranges side by side: each reaches from its start to the next one's start. Starts stand apart
/// from their owners, so that a search touches few cache lines.
#[derive(Debug)]
struct Ranges<A> {
    /// The first start of each block: small enough to stay in a cache.
    fences: Box<[A]>,
    starts: Box<[A]>,
    owners: Box<[u32]>,
}

/// So many starts, a cache line of IPv4 addresses, share a fence.
const BLOCK: usize = 16;

impl<A> Default for Ranges<A> {
    fn default() -> Self {
        Self { fences: Box::default(), starts: Box::default(), owners: Box::default() }
    }
}

/// An address as a number.
trait Bits: Copy + Ord {
    fn next(self) -> Option<Self>;
}

impl Bits for u32 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Bits for u128 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl<A: Bits> Ranges<A> {
    /// Flattens `(first, last, owner)`, sorted by `first`, the wider one first.
    fn new(networks: Vec<(A, A, u32)>, lasts_longer: impl Fn(u32, u32) -> bool) -> Self {
        let mut flat = Flat { starts: Vec::with_capacity(networks.len()), owners: Vec::new() };
        // Networks around the current one, each with the ban that lasts longest so far.
        let mut around: Vec<(A, u32)> = Vec::new();
        for (first, last, owner) in networks {
            flat.close(&mut around, Some(first));
            let longest = match around.last() {
                Some((_, outer)) if !lasts_longer(owner, *outer) => *outer,
                _ => owner,
            };
            around.push((last, longest));
            flat.begin(first, longest);
        }
        flat.close(&mut around, None);
        let fences = flat.starts.iter().copied().step_by(BLOCK).collect();
        Self { fences, starts: flat.starts.into(), owners: flat.owners.into() }
    }

    fn owner(&self, address: A) -> Option<usize> {
        let is_before = |start: &A| *start <= address;
        let block = self.fences.partition_point(is_before).checked_sub(1)? * BLOCK;
        let starts = self.starts.get(block..)?;
        let starts = starts.get(..BLOCK).unwrap_or(starts);
        let at = block + starts.partition_point(is_before).checked_sub(1)?;
        let owner = *self.owners.get(at)?;
        if owner == NOBODY { None } else { usize::try_from(owner).ok() }
    }
}

struct Flat<A> {
    starts: Vec<A>,
    owners: Vec<u32>,
}

impl<A: Bits> Flat<A> {
    /// Ends the networks that do not reach `until`; `None` ends all.
    fn close(&mut self, around: &mut Vec<(A, u32)>, until: Option<A>) {
        while let Some((last, _)) = around.last().copied() {
            if until.is_some_and(|first| first <= last) {
                return;
            }
            around.pop();
            if let Some(after) = last.next() {
                self.begin(after, around.last().map_or(NOBODY, |(_, outer)| *outer));
            }
        }
    }

    fn begin(&mut self, start: A, owner: u32) {
        if self.starts.last() == Some(&start) {
            // What began here ends here, or lies around what begins.
            self.starts.pop();
            self.owners.pop();
        }
        if self.owners.last() != Some(&owner) {
            self.starts.push(start);
            self.owners.push(owner);
        }
    }
}
