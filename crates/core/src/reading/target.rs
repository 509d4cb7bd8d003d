//! The four forms of a request target (RFC 9112 §3.2), of which a reverse proxy takes three.

use std::borrow::Cow;

use http::{Method, Uri};
use memchr::{memchr, memchr2, memchr3};

use super::Refusal;
use super::host::{self, Authority};

/// A request target, cut into its pieces.
#[derive(Debug)]
pub(super) struct Pieces<'a> {
    authority: Option<Authority<'a>>,
    default_port: u16,
    /// The path without the query.
    pub(super) path: &'a [u8],
}

impl<'a> Pieces<'a> {
    /// The host, which target and `Host` must agree on (RFC 9112 §3.2.2 would let the target win;
    /// an upstream might not).
    pub(super) fn host(&self, field: Option<&'a [u8]>) -> Result<Option<Cow<'a, str>>, Refusal> {
        let field = field.map(host::read).transpose()?;
        match (&self.authority, field) {
            (Some(authority), Some(field)) => {
                let port = |it: &Authority<'_>| it.port.unwrap_or(self.default_port);
                if authority.host != field.host || port(authority) != port(&field) {
                    return Err(Refusal::ambiguous("target and Host disagree"));
                }
                Ok(Some(field.host))
            }
            (Some(authority), None) => Ok(Some(authority.host.clone())),
            (None, field) => Ok(field.map(|it| it.host)),
        }
    }
}

/// Reads the target of an HTTP/1 request line.
pub(super) fn read<'a>(target: &'a [u8], method: &Method) -> Result<Pieces<'a>, Refusal> {
    check_bytes(target)?;
    let (authority, default_port, rest) = match target {
        [b'/', ..] => (None, 0, target),
        b"*" => {
            // RFC 9112 §3.2.4.
            let server_wide = *method == Method::OPTIONS;
            let refusal = Refusal::malformed("an asterisk for another method than OPTIONS");
            return if server_wide { Ok(asterisk(None, 0)) } else { Err(refusal) };
        }
        _ => {
            let (default_port, rest) = strip_scheme(target)?;
            let end = memchr2(b'/', b'?', rest).unwrap_or(rest.len());
            let (authority, rest) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            (Some(host::read(authority)?), default_port, rest)
        }
    };
    if rest.is_empty() && *method == Method::OPTIONS {
        return Ok(asterisk(authority, default_port));
    }
    let end = memchr(b'?', rest).unwrap_or(rest.len());
    let path = rest.get(..end).unwrap_or(rest);
    let path = if path.is_empty() { b"/" } else { path };
    Ok(Pieces { authority, default_port, path })
}

/// What no target may hold, whatever its form.
pub(super) fn check_bytes(target: &[u8]) -> Result<(), Refusal> {
    if memchr(b'#', target).is_some() {
        // RFC 9112 §3.2: no form has a fragment.
        return Err(Refusal::malformed("a fragment in the target"));
    }
    if !target.iter().all(|byte| matches!(byte, b'!'..=b'~')) {
        return Err(Refusal::malformed("a byte outside of visible ASCII in the target"));
    }
    Ok(())
}

/// `wire` with the bytes of the query's encode set in triplets, if its request line has any.
pub(super) fn encode_query(wire: &[u8]) -> Option<Vec<u8>> {
    // The line that may be empty before the request line has none of them.
    let start = wire.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let end = start + memchr(b'\r', wire.get(start..)?)?;
    let first = memchr3(b'"', b'<', b'>', wire.get(start..end)?)?;
    let query = start + memchr(b'?', wire.get(start..end)?)?;
    let (before, line) = wire.get(..end)?.split_at_checked(query.max(start + first))?;
    let mut encoded = Vec::with_capacity(wire.len() + 64);
    encoded.extend_from_slice(before);
    for byte in line {
        match byte {
            b'"' => encoded.extend_from_slice(b"%22"),
            b'<' => encoded.extend_from_slice(b"%3C"),
            b'>' => encoded.extend_from_slice(b"%3E"),
            other => encoded.push(*other),
        }
    }
    encoded.extend_from_slice(wire.get(end..)?);
    Some(encoded)
}

/// Reads the pseudo-fields of an HTTP/2 request (RFC 9113 §8.3.1).
pub(super) fn read_http2<'a>(uri: &'a Uri, method: &Method) -> Result<Pieces<'a>, Refusal> {
    let default_port = match uri.scheme_str() {
        Some("http") => 80,
        // The parser leaves the scheme out of a request without :authority.
        Some("https") | None => 443,
        Some(_) => return Err(Refusal::malformed("a scheme other than http and https")),
    };
    let authority = uri.authority().map(|it| host::read(it.as_str().as_bytes())).transpose()?;
    match uri.path() {
        "*" if *method == Method::OPTIONS => Ok(asterisk(authority, default_port)),
        path if path.starts_with('/') => {
            Ok(Pieces { authority, default_port, path: path.as_bytes() })
        }
        _ => Err(Refusal::malformed(":path does not start with a slash")),
    }
}

/// RFC 9112 §3.2.2: absolute-form; the scheme's name in any case.
fn strip_scheme(target: &[u8]) -> Result<(u16, &[u8]), Refusal> {
    for (scheme, port) in [(&b"http://"[..], 80), (b"https://", 443)] {
        if let Some((start, rest)) = target.split_at_checked(scheme.len())
            && start.eq_ignore_ascii_case(scheme)
        {
            return Ok((port, rest));
        }
    }
    Err(Refusal::malformed("the target is neither a path nor an http address"))
}

fn asterisk(authority: Option<Authority<'_>>, default_port: u16) -> Pieces<'_> {
    Pieces { authority, default_port, path: b"*" }
}
