//! Who asks, when proxies stand in between: `X-Forwarded-For` and `Forwarded` (RFC 7239), believed
//! only as far as trusted proxies wrote them, and what we tell the upstream in turn.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::header::{FORWARDED, HeaderName};
use http::{HeaderMap, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;

/// Proxies looked through at most; a longer chain is nobody's.
const MAX_HOPS: usize = 32;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Fields in which upstreams look for who asked or for what; from a peer that is not trusted they
/// must not pass.
pub const DISTRUSTED_FIELDS: [&str; 16] = [
    "cf-connecting-ip",
    "client-ip",
    "fastly-client-ip",
    "forwarded",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
];

/// Which field the trusted proxies write.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ForwardedHeader {
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
}

/// The client's address: starting from `peer`, each trusted proxy's word is taken for who is
/// behind it. A word that is no address ends the walk at the proxy that wrote it.
#[must_use]
pub fn client_addr(
    headers: &HeaderMap,
    header: ForwardedHeader,
    peer: IpAddr,
    is_trusted: &dyn Fn(IpAddr) -> bool,
) -> IpAddr {
    let mut client = peer.to_canonical();
    let (name, read): (_, fn(&str) -> Option<IpAddr>) = match header {
        ForwardedHeader::Forwarded => (FORWARDED, read_forwarded_element),
        ForwardedHeader::XForwardedFor => (X_FORWARDED_FOR, read_node),
    };
    let values = headers.get_all(name).iter().rev();
    let elements = values.flat_map(|value| ElementsFromRight { rest: Some(value.as_bytes()) });
    for element in elements.take(MAX_HOPS) {
        if !is_trusted(client) {
            break;
        }
        let Some(address) = str::from_utf8(element).ok().and_then(read) else { break };
        client = address.to_canonical();
    }
    client
}

/// The comma-separated elements of a list, from the last to the first. Commas in quoted strings do
/// not separate. Read from the right, what a client wrote cannot change how the elements that
/// proxies appended are cut.
struct ElementsFromRight<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for ElementsFromRight<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let mut quoted = false;
        let comma = rest.iter().rposition(|&byte| {
            quoted ^= byte == b'"';
            byte == b',' && !quoted
        });
        let (before, element) = match comma.and_then(|at| rest.split_at_checked(at)) {
            Some((before, element)) => {
                (Some(before), element.strip_prefix(b",").unwrap_or(element))
            }
            None => (None, rest),
        };
        self.rest = before;
        Some(element.trim_ascii())
    }
}

/// RFC 7239 §4: `for=node;by=node;host=..;proto=..`, names in any case, each once.
fn read_forwarded_element(element: &str) -> Option<IpAddr> {
    let mut nodes = element.split(';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value.trim())
    });
    let node = nodes.next()?;
    if nodes.next().is_some() {
        return None;
    }
    let node = match node.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?,
        None => node,
    };
    read_node(node)
}

/// RFC 7239 §6, and what proxies write into `X-Forwarded-For`: an address, perhaps with a port.
/// `unknown` and `_obfuscated` are no addresses.
fn read_node(node: &str) -> Option<IpAddr> {
    if let Ok(address) = node.parse::<IpAddr>() {
        return Some(address);
    }
    if let Ok(address) = node.parse::<SocketAddr>() {
        return Some(address.ip());
    }
    let bracketed = node.strip_prefix('[')?.strip_suffix(']')?;
    bracketed.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

/// What the upstream is told about the hop to us.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    /// The request's fields as received.
    pub inbound: &'a HeaderMap,
    /// The connection's other end.
    pub peer: IpAddr,
    /// Whether `peer` may speak for others; if not, what it says is replaced.
    pub peer_is_trusted: bool,
    /// Whether the connection to us is encrypted.
    pub secure: bool,
    /// The host as received, with its port if it had one.
    pub host: &'a str,
}

impl Hop<'_> {
    /// `X-Forwarded-For`: the peer, after what a trusted peer says.
    #[must_use]
    pub fn x_forwarded_for(&self) -> HeaderValue {
        let mut value = self.inherited(&X_FORWARDED_FOR);
        append(&mut value, &self.peer.to_canonical().to_string());
        into_value(&value)
    }

    /// `X-Forwarded-Proto`: `http` or `https`.
    #[must_use]
    pub fn x_forwarded_proto(&self) -> HeaderValue {
        HeaderValue::from_static(self.proto())
    }

    /// `X-Forwarded-Host`: the host that the client asked for; `None` if it named none.
    #[must_use]
    pub fn x_forwarded_host(&self) -> Option<HeaderValue> {
        let inherited = self.inbound.get(X_FORWARDED_HOST).filter(|_| self.peer_is_trusted);
        inherited
            .cloned()
            .or_else(|| HeaderValue::from_str(self.host).ok())
            .filter(|host| !host.is_empty())
    }

    /// `Forwarded` (RFC 7239 §4): an element for the peer, after what a trusted peer says.
    #[must_use]
    pub fn forwarded(&self) -> HeaderValue {
        let mut value = self.inherited(&FORWARDED);
        let proto = self.proto();
        match self.peer.to_canonical() {
            IpAddr::V4(peer) => append(&mut value, &format!("for={peer};proto={proto}")),
            IpAddr::V6(peer) => append(&mut value, &format!("for=\"[{peer}]\";proto={proto}")),
        }
        let is_quotable = !self.host.contains(['"', '\\']);
        if is_quotable && !self.host.is_empty() {
            value.push_str(&format!(";host=\"{}\"", self.host));
        }
        into_value(&value)
    }

    fn proto(&self) -> &'static str {
        let inherited = self.inbound.get(X_FORWARDED_PROTO).filter(|_| self.peer_is_trusted);
        match inherited.map(HeaderValue::as_bytes) {
            Some(b"https") => "https",
            Some(b"http") => "http",
            _ if self.secure => "https",
            _ => "http",
        }
    }

    /// What a trusted peer sent in `name`, as one list.
    fn inherited(&self, name: &HeaderName) -> String {
        let mut list = String::new();
        if self.peer_is_trusted {
            for value in self.inbound.get_all(name).iter().filter_map(|it| it.to_str().ok()) {
                append(&mut list, value.trim());
            }
        }
        list
    }
}

fn append(list: &mut String, element: &str) {
    if !list.is_empty() {
        list.push_str(", ");
    }
    list.push_str(element);
}

fn into_value(list: &str) -> HeaderValue {
    HeaderValue::from_str(list).unwrap_or_else(|_control| HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests;
