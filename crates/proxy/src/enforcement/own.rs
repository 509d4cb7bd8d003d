//! The addresses of this machine, as the kernel's routing tables name them. Who they are is never
//! banned: it is us.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Once;

use tidegate_core::net::Network;

/// Where Linux tells them, also to a process that sees nothing of `/proc` but processes.
const V4: &str = "/proc/self/net/fib_trie";
const V6: &str = "/proc/self/net/if_inet6";

/// The addresses that this machine has now; none where nobody tells, which is logged once.
pub(crate) fn addresses() -> Vec<Network> {
    static TOLD: Once = Once::new();
    let v4 = fs::read_to_string(V4);
    if let Err(error) = &v4 {
        TOLD.call_once(|| {
            tracing::warn!(%error, path = V4, "this machine's own addresses may be banned");
        });
    }
    let v4 = v4.unwrap_or_default();
    // A machine without IPv6 has no such file.
    let v6 = fs::read_to_string(V6).unwrap_or_default();
    let mut all: Vec<IpAddr> = of_trie(&v4).map(IpAddr::V4).collect();
    all.extend(of_interfaces(&v6).map(IpAddr::V6));
    all.sort_unstable();
    all.dedup();
    all.into_iter().map(Network::from).collect()
}

/// An address stands on a line of its own, and the next line calls it `host LOCAL`.
fn of_trie(text: &str) -> impl Iterator<Item = Ipv4Addr> {
    let pairs = text.lines().zip(text.lines().skip(1));
    pairs.filter(|(_, next)| next.trim() == "/32 host LOCAL").filter_map(|(line, _)| {
        let address = line.trim().strip_prefix("|-- ")?;
        address.parse().ok()
    })
}

/// Each line begins with 32 hexadecimal digits.
fn of_interfaces(text: &str) -> impl Iterator<Item = Ipv6Addr> {
    text.lines().filter_map(|line| {
        let digits = line.split_whitespace().next().filter(|digits| digits.len() == 32)?;
        u128::from_str_radix(digits, 16).ok().map(Ipv6Addr::from_bits)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_its_addresses() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 192.0.2.7\n        /32 host LOCAL\n     |-- 192.0.2.255\n        /32 link BROADCAST\n";
        assert_eq!(of_trie(trie).collect::<Vec<_>>(), [Ipv4Addr::new(192, 0, 2, 7)]);
        let interfaces = "00000000000000000000000000000001 01 80 10 80       lo\nfe80 x\n";
        assert_eq!(of_interfaces(interfaces).collect::<Vec<_>>(), [Ipv6Addr::LOCALHOST]);
    }

    #[test]
    fn this_machine_has_loopback() {
        assert!(addresses().contains(&IpAddr::V4(Ipv4Addr::LOCALHOST).into()));
    }
}
