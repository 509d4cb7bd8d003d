//! How many connections are open: in total, and for each client. A place is taken with
//! [`ConnectionCounts::open`] and given back by dropping the [`Slot`].
//!
//! A client is an IPv4 address or an IPv6 /64, the smallest block that a subscriber holds; memory
//! is bounded by the number of open connections, since a client without one has no entry.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

/// How many connections may be open at the same time. The counts' owner changes them at any
/// time; connections that are open stay open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// From all clients together.
    pub total: u32,
    /// From one client.
    pub per_client: u32,
}

/// The open connections of one process; clones count together.
#[derive(Clone, Debug)]
pub struct ConnectionCounts {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    total: AtomicU32,
    max_total: AtomicU32,
    max_per_client: AtomicU32,
    hasher: RandomState,
    shards: [Mutex<HashMap<Client, u32>>; SHARDS],
}

const SHARDS: usize = 64;

/// A client's identity: an IPv4 address, or the upper half of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Client {
    V4(u32),
    V6(u64),
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.to_bits()),
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h, ..] = v6.octets();
                Self::V6(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
            }
        }
    }
}

/// Which limit a new connection would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// The client has as many connections as one client may have.
    #[error("too many connections from this client")]
    Client,
    /// All clients together have as many connections as are allowed.
    #[error("too many connections")]
    Total,
}

/// The place of one open connection, given back on drop.
#[derive(Debug)]
pub struct Slot {
    counts: Arc<Inner>,
    client: Client,
}

impl ConnectionCounts {
    /// Counts from zero, with these limits.
    #[must_use]
    pub fn new(limits: ConnectionLimits) -> Self {
        Self {
            inner: Arc::new(Inner {
                total: AtomicU32::new(0),
                max_total: AtomicU32::new(limits.total),
                max_per_client: AtomicU32::new(limits.per_client),
                hasher: RandomState::new(),
                shards: std::array::from_fn(|_| Mutex::default()),
            }),
        }
    }

    /// Changes the limits for connections to come.
    pub fn set_limits(&self, limits: ConnectionLimits) {
        self.inner.max_total.store(limits.total, Ordering::Relaxed);
        self.inner.max_per_client.store(limits.per_client, Ordering::Relaxed);
    }

    /// Takes a place for a connection from `address`.
    ///
    /// # Errors
    ///
    /// The limit that is reached; nothing is counted then.
    pub fn open(&self, address: IpAddr) -> Result<Slot, TooMany> {
        let inner = &self.inner;
        let max_total = inner.max_total.load(Ordering::Relaxed);
        let below = |open: u32| (open < max_total).then_some(open.saturating_add(1));
        let taken = inner.total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below);
        if taken.is_err() {
            return Err(TooMany::Total);
        }
        let client = Client::from(address);
        if inner.enter(client) {
            Ok(Slot { counts: Arc::clone(inner), client })
        } else {
            inner.total.fetch_sub(1, Ordering::Relaxed);
            Err(TooMany::Client)
        }
    }

    /// How many connections are open.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.inner.total.load(Ordering::Relaxed)
    }

    /// How many clients have a connection open.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.inner.shards.iter().map(|shard| shard.lock().len()).sum()
    }
}

impl Inner {
    /// Counts one more connection of the client, unless it has as many as it may.
    fn enter(&self, client: Client) -> bool {
        let max = self.max_per_client.load(Ordering::Relaxed);
        let Some(shard) = self.shard(client) else { return false };
        let mut shard = shard.lock();
        match shard.entry(client) {
            Entry::Occupied(mut open) if *open.get() < max => {
                *open.get_mut() += 1;
                true
            }
            Entry::Vacant(free) if max > 0 => {
                free.insert(1);
                true
            }
            Entry::Occupied(_) | Entry::Vacant(_) => false,
        }
    }

    fn leave(&self, client: Client) {
        if let Some(shard) = self.shard(client) {
            let mut shard = shard.lock();
            if let Entry::Occupied(mut open) = shard.entry(client) {
                if *open.get() > 1 {
                    *open.get_mut() -= 1;
                } else {
                    open.remove();
                }
            }
            if shard.is_empty() && shard.capacity() > KEPT_CAPACITY {
                shard.shrink_to(KEPT_CAPACITY);
            }
        }
        self.total.fetch_sub(1, Ordering::Relaxed);
    }

    fn shard(&self, client: Client) -> Option<&Mutex<HashMap<Client, u32>>> {
        let hash = self.hasher.hash_one(client);
        let [first, ..] = hash.to_le_bytes();
        self.shards.get(usize::from(first) % SHARDS)
    }
}

/// What an empty shard may keep after a flood.
const KEPT_CAPACITY: usize = 64;

impl Drop for Slot {
    fn drop(&mut self) {
        self.counts.leave(self.client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(total: u32, per_client: u32) -> ConnectionCounts {
        ConnectionCounts::new(ConnectionLimits { total, per_client })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_has_its_own_limit_and_all_have_one_together() {
        let counts = counts(3, 2);
        let first = counts.open(address("192.0.2.1")).unwrap();
        let _second = counts.open(address("192.0.2.1")).unwrap();
        assert_eq!(counts.open(address("192.0.2.1")).unwrap_err(), TooMany::Client);
        assert_eq!(counts.total(), 2);
        let _third = counts.open(address("192.0.2.2")).unwrap();
        assert_eq!(counts.open(address("192.0.2.3")).unwrap_err(), TooMany::Total);
        drop(first);
        let _fourth = counts.open(address("192.0.2.1")).unwrap();
        assert_eq!((counts.total(), counts.clients()), (3, 2));
    }

    #[track_caller]
    fn check_same_client(one: &str, other: &str, same: bool) {
        let counts = counts(10, 1);
        let _open = counts.open(address(one)).unwrap();
        assert_eq!(counts.open(address(other)).is_err(), same, "{one} {other}");
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_64() {
        check_same_client("192.0.2.1", "192.0.2.2", false);
        check_same_client("192.0.2.1", "::ffff:192.0.2.1", true);
        check_same_client("2001:db8::1", "2001:db8::ffff:1", true);
        check_same_client("2001:db8::1", "2001:db8:0:1::1", false);
        check_same_client("::c000:201", "192.0.2.1", false);
    }

    #[test]
    fn nothing_is_remembered_of_closed_connections() {
        let counts = counts(100_000, 10);
        let open: Vec<_> =
            (0..20_000_u32).map(|bits| counts.open(IpAddr::V4(bits.into())).unwrap()).collect();
        assert_eq!(counts.clients(), 20_000);
        drop(open);
        assert_eq!((counts.total(), counts.clients()), (0, 0));
        let kept: usize = counts.inner.shards.iter().map(|shard| shard.lock().capacity()).sum();
        assert!(kept <= SHARDS * KEPT_CAPACITY * 2, "{kept}");
    }

    #[test]
    fn limits_change_while_connections_are_open() {
        let counts = counts(10, 10);
        let _open: Vec<_> = (0..5).map(|_| counts.open(address("::1")).unwrap()).collect();
        counts.set_limits(ConnectionLimits { total: 10, per_client: 3 });
        assert_eq!(counts.open(address("::1")).unwrap_err(), TooMany::Client);
        counts.set_limits(ConnectionLimits { total: 5, per_client: 10 });
        assert_eq!(counts.open(address("::2")).unwrap_err(), TooMany::Total);
        counts.set_limits(ConnectionLimits { total: 6, per_client: 6 });
        let _sixth = counts.open(address("::1")).unwrap();
    }

    #[test]
    fn threads_never_exceed_a_limit() {
        let counts = counts(50, 20);
        let most = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8_u32 {
                let (counts, most) = (&counts, &most);
                scope.spawn(move || {
                    for _ in 0..2_000 {
                        let client = IpAddr::V4((thread % 4).into());
                        let open: Vec<_> =
                            (0..12).filter_map(|_| counts.open(client).ok()).collect();
                        most.fetch_max(counts.total(), Ordering::Relaxed);
                        drop(open);
                    }
                });
            }
        });
        assert_eq!((counts.total(), counts.clients()), (0, 0));
        assert!(most.into_inner() <= 50);
    }
}
