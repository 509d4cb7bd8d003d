//! Addresses: one network as it is written, and [`AddressSet`], a compiled set of them.
//!
//! An IPv4 address inside IPv6 (`::ffff:192.0.2.1`, RFC 4291 §2.5.5.2) is the IPv4 address, in
//! the settings as well as in a look-up: a client must not change its identity by changing the
//! socket family. So `::/0` means every IPv6 address, and no IPv4 address.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A network in the configuration: `10.0.0.0/8`, `2001:db8::/32` or a single address. An address
/// with bits set below its prefix is refused, since one of the two is a slip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network(IpNet);

impl Network {
    /// The network, never IPv4 inside IPv6.
    #[must_use]
    pub fn net(self) -> IpNet {
        self.0
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self(IpNet::from(address.to_canonical()))
    }
}

impl From<IpNet> for Network {
    /// The network that the prefix covers; bits below it are dropped.
    fn from(net: IpNet) -> Self {
        Self(unmapped(net.trunc()))
    }
}

impl FromStr for Network {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(address.into());
        }
        let net: IpNet = text.parse().map_err(|_error| ParseNetworkError::Malformed)?;
        if net.trunc() != net {
            return Err(ParseNetworkError::HostBits { meant: net.trunc() });
        }
        Ok(Self(unmapped(net)))
    }
}

/// Turns `::ffff:a.b.c.d/n` into `a.b.c.d/(n - 96)`.
fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let short = v6.prefix_len().checked_sub(96);
    match (v6.addr().to_ipv4_mapped(), short) {
        (Some(address), Some(prefix)) => Ipv4Net::new(address, prefix).map_or(net, IpNet::V4),
        _ => net,
    }
}

/// The text is not a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseNetworkError {
    /// Bits are set that the prefix does not cover.
    #[error("not a network: bits are set below its prefix; write {meant}")]
    HostBits {
        /// The network that holds the address.
        meant: IpNet,
    },
    /// Neither an address nor a network.
    #[error("not an address or network; write one such as 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32")]
    Malformed,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            write!(f, "{}", self.0.addr())
        } else {
            write!(f, "{}", self.0)
        }
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|error| de::Error::custom(format_args!("`{text}` is {error}")))
    }
}

impl JsonSchema for Network {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9a-fA-F:.]+(/[0-9]{1,3})?$",
            "examples": ["10.0.0.0/8", "2001:db8::/32"],
        })
    }
}

/// The address of which only what one site or subscriber cannot choose is left: all of IPv4, and of
/// IPv6, which gives everybody as many addresses as they like, the first `bits`.
#[must_use]
pub fn site(address: IpAddr, bits: u32) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let rest = u128::MAX.checked_shr(bits).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & !rest).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// A set of networks, compiled for look-ups: sorted ranges that neither overlap nor touch, found
/// by binary search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet {
    v4: Box<[(Ipv4Addr, Ipv4Addr)]>,
    v6: Box<[(Ipv6Addr, Ipv6Addr)]>,
}

impl AddressSet {
    /// Compiles the set; the order of the networks and overlaps among them do not matter.
    #[must_use]
    pub fn new(networks: &[Network]) -> Self {
        let mut v4 = Vec::new();
        let mut v6 = Vec::new();
        for network in networks {
            match network.0 {
                IpNet::V4(net) => v4.push(range_v4(net)),
                IpNet::V6(net) => v6.push(range_v6(net)),
            }
        }
        Self {
            v4: merged(v4, |end, start| u32::from(end).saturating_add(1) >= u32::from(start)),
            v6: merged(v6, |end, start| u128::from(end).saturating_add(1) >= u128::from(start)),
        }
    }

    /// Whether the address lies in one of the networks.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => holds(&self.v4, address),
            IpAddr::V6(address) => holds(&self.v6, address),
        }
    }

    /// Whether the set holds no address at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

impl FromIterator<Network> for AddressSet {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        Self::new(&networks.into_iter().collect::<Vec<_>>())
    }
}

fn range_v4(net: Ipv4Net) -> (Ipv4Addr, Ipv4Addr) {
    (net.network(), net.broadcast())
}

fn range_v6(net: Ipv6Net) -> (Ipv6Addr, Ipv6Addr) {
    (net.network(), net.broadcast())
}

/// Sorts ranges and joins those that overlap or touch, as told by `joins(end, next_start)`.
fn merged<A: Copy + Ord>(mut ranges: Vec<(A, A)>, joins: fn(A, A) -> bool) -> Box<[(A, A)]> {
    ranges.sort_unstable();
    let mut out: Vec<(A, A)> = Vec::with_capacity(ranges.len());
    for (start, end) in ranges {
        match out.last_mut() {
            Some(last) if joins(last.1, start) => last.1 = last.1.max(end),
            _ => out.push((start, end)),
        }
    }
    out.into_boxed_slice()
}

fn holds<A: Copy + Ord>(ranges: &[(A, A)], address: A) -> bool {
    let after = ranges.partition_point(|(start, _)| *start <= address);
    after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|(_, end)| address <= *end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    #[test]
    fn a_site_is_what_its_hosts_have_in_common() {
        let check = |address: &str, bits, expected: &str| {
            assert_eq!(site(address.parse().unwrap(), bits).to_string(), expected, "{address}");
        };
        check("192.0.2.7", 48, "192.0.2.7");
        check("::ffff:192.0.2.7", 64, "192.0.2.7");
        check("2001:db8:1:2:3::4", 64, "2001:db8:1:2::");
        check("2001:db8:1:2:3::4", 48, "2001:db8:1::");
        check("2001:db8:1:2:3::4", 128, "2001:db8:1:2:3::4");
    }

    use super::*;

    fn set(networks: &[&str]) -> AddressSet {
        networks.iter().map(|text| text.parse::<Network>().unwrap()).collect()
    }

    #[track_caller]
    fn check(networks: &[&str], address: &str, expected: bool) {
        let address = address.parse().unwrap();
        assert_eq!(set(networks).contains(address), expected, "{networks:?} {address}");
    }

    #[test]
    fn a_set_holds_what_its_networks_hold() {
        check(&[], "192.0.2.1", false);
        check(&["192.0.2.1"], "192.0.2.1", true);
        check(&["192.0.2.1"], "192.0.2.2", false);
        check(&["10.0.0.0/8"], "10.255.255.255", true);
        check(&["10.0.0.0/8"], "11.0.0.0", false);
        check(&["0.0.0.0/0"], "255.255.255.255", true);
        check(&["0.0.0.0/0"], "2001:db8::1", false);
        check(&["2001:db8::/32"], "2001:db8:ffff::1", true);
        check(&["::/0"], "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true);
        check(&["10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/9"], "10.200.0.1", true);
    }

    #[test]
    fn an_ipv4_address_inside_ipv6_is_the_ipv4_address() {
        check(&["10.0.0.0/8"], "::ffff:10.1.2.3", true);
        check(&["::ffff:10.0.0.0/104"], "10.1.2.3", true);
        check(&["::ffff:10.0.0.1"], "10.0.0.1", true);
        check(&["::/0"], "::ffff:10.1.2.3", false);
    }

    #[test]
    fn neighbours_become_one_range() {
        assert_eq!(set(&["10.0.1.0/24", "10.0.0.0/24"]).v4.len(), 1);
        assert_eq!(set(&["255.0.0.0/8", "0.0.0.0/8"]).v4.len(), 2);
        assert_eq!(set(&["8000::/1", "::/1"]).v6.len(), 1);
    }

    #[test]
    fn a_network_that_is_not_one_says_what_to_write() {
        let message = |text: &str| text.parse::<Network>().unwrap_err().to_string();
        assert!(message("10.0.0.1/8").ends_with("write 10.0.0.0/8"));
        for text in ["", "10.0.0.0/33", "10.0.0", "localhost", "10.0.0.0/8 ", "::/129"] {
            assert_eq!(text.parse::<Network>(), Err(ParseNetworkError::Malformed), "{text}");
        }
    }

    #[test]
    fn a_network_prints_as_it_is_written() {
        for text in ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "::1"] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        }
        let networks: Vec<Network> = serde_json::from_str(r#"["10.0.0.0/8", "::1"]"#).unwrap();
        assert_eq!(serde_json::to_string(&networks).unwrap(), r#"["10.0.0.0/8","::1"]"#);
        let error = serde_json::from_str::<Network>(r#""10.0.0.1/8""#).unwrap_err().to_string();
        assert!(error.starts_with("`10.0.0.1/8` is not a network"), "{error}");
    }

    /// Few distinct bits, so that networks and addresses meet often.
    fn any_net() -> impl Strategy<Value = IpNet> {
        let v4 = (0_u32..64, 0_u8..=32).prop_map(|(bits, prefix)| {
            IpNet::V4(Ipv4Net::new(Ipv4Addr::from(bits << 26 | bits), prefix).unwrap().trunc())
        });
        let v6 = (0_u128..64, 0_u8..=128).prop_map(|(bits, prefix)| {
            IpNet::V6(Ipv6Net::new(Ipv6Addr::from(bits << 122 | bits), prefix).unwrap().trunc())
        });
        prop_oneof![v4, v6]
    }

    fn any_address() -> impl Strategy<Value = IpAddr> {
        let v4 = (0_u32..64, 0_u32..64).prop_map(|(a, b)| Ipv4Addr::from(a << 26 | b));
        let v6 = (0_u128..64, 0_u128..64).prop_map(|(a, b)| Ipv6Addr::from(a << 122 | b));
        prop_oneof![
            v4.clone().prop_map(IpAddr::V4),
            v4.prop_map(|v4| IpAddr::V6(v4.to_ipv6_mapped())),
            v6.prop_map(IpAddr::V6),
            any::<IpAddr>(),
        ]
    }

    proptest! {
        #[test]
        fn a_set_agrees_with_asking_each_network(
            nets in prop::collection::vec(any_net(), 0..12),
            addresses in prop::collection::vec(any_address(), 1..40),
        ) {
            let networks: Vec<_> = nets.iter().map(|net| Network(unmapped(*net))).collect();
            let set = AddressSet::new(&networks);
            for address in addresses {
                let canonical = address.to_canonical();
                let expected = networks.iter().any(|network| network.0.contains(&canonical));
                prop_assert_eq!(set.contains(address), expected, "{} in {:?}", address, networks);
            }
        }
    }
}
