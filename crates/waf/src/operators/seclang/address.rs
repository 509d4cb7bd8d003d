//! `ipMatch` and `ipMatchFromFile`: the value is an address within one of the networks.

use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;

use super::Argument;
use crate::mask::ByteMask;
use crate::operators::Operator;
use crate::prefilter::Required;

/// Networks, disjoint and in order.
#[derive(Debug)]
struct Networks(Vec<IpNet>);

/// Addresses and networks with commas between them.
pub(super) fn build(argument: &Argument<'_>) -> Result<Box<dyn Operator>, String> {
    networks(argument.text.split(|byte| *byte == b','))
}

/// Lines as [`build`] reads them; what follows a `#` is a comment.
pub(super) fn build_from_file(argument: &Argument<'_>) -> Result<Box<dyn Operator>, String> {
    let text = super::file(argument)?;
    let lines = text.split(|byte| *byte == b'\n');
    let lines = lines.map(|line| line.split(|byte| *byte == b'#').next().unwrap_or_default());
    networks(lines.flat_map(|line| line.split(|byte| *byte == b',')))
}

fn networks<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Result<Box<dyn Operator>, String> {
    let mut networks = Vec::new();
    for text in texts.map(<[u8]>::trim_ascii).filter(|text| !text.is_empty()) {
        let text = String::from_utf8_lossy(text);
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        networks.push(network.map_err(|_error| format!("`{text}` is no address and no network"))?);
    }
    let mut networks = IpNet::aggregate(&networks);
    networks.sort_unstable_by_key(IpNet::network);
    Ok(Box::new(Networks(networks)))
}

impl Operator for Networks {
    fn find(&self, bytes: &[u8]) -> Option<Range<usize>> {
        let address: IpAddr = std::str::from_utf8(bytes).ok()?.parse().ok()?;
        let after = self.0.partition_point(|network| network.network() <= address);
        let network = self.0.get(after.checked_sub(1)?)?;
        network.contains(&address).then_some(0..bytes.len())
    }

    fn required(&self) -> Required {
        Required::class(ByteMask::of(b".:"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn addresses_are_found_in_networks() {
        let read = |_: &Path| Ok(b"# ours\n10.0.0.0/8 # all\n\n2001:db8::/32,::1\n".to_vec());
        let argument = |text| Argument { text, base: Path::new("/rules"), read: &read };
        let file = build_from_file(&argument(b"ours.data")).unwrap();
        for (address, inside) in [
            ("10.1.2.3", true),
            ("11.0.0.1", false),
            ("2001:db8::7", true),
            ("::2", false),
            ("x", false),
        ] {
            assert_eq!(file.matches(address.as_bytes()), inside, "{address}");
        }
        let list = build(&argument(b"192.168.1.1, 10.10.10.0/21")).unwrap();
        assert!(list.matches(b"10.10.8.1") && list.matches(b"192.168.1.1"));
        assert!(!list.matches(b"10.10.16.1"));
        assert!(build(&argument(b"300.1.1.1")).is_err());
    }
}
