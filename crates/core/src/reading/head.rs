//! The lines of an HTTP/1 head (RFC 9112 §2 to §5): where they end and what may stand in them.

use memchr::{memchr, memchr2};

use super::fields::{Fields, Protocol, is_token};
use super::{ReadingRules, Refusal};
use crate::Reason;

/// An HTTP/1 head, cut into its pieces.
#[derive(Debug)]
pub(super) struct Head<'a> {
    pub(super) method: &'a [u8],
    pub(super) target: &'a [u8],
    pub(super) is_http10: bool,
    pub(super) fields: Fields<'a>,
}

impl Head<'_> {
    pub(super) fn protocol(&self) -> Protocol {
        Protocol::Http1 { is_1_0: self.is_http10 }
    }
}

/// Cuts `raw`, which must be one whole head, into its pieces.
pub(super) fn read<'a>(raw: &'a [u8], rules: &ReadingRules) -> Result<Head<'a>, Refusal> {
    if raw.len() > rules.header_bytes {
        return Err(Refusal::new(Reason::HeadersTooLarge, "the head exceeds the limit"));
    }
    // RFC 9112 §2.2: one empty line before the request line may be ignored.
    let raw = raw.strip_prefix(b"\r\n").unwrap_or(raw);
    refuse_control_bytes(raw)?;
    let (line, mut rest) = split_line(raw)?;
    let (method, target, is_http10) = read_request_line(line, rules)?;
    let mut fields = Fields::default();
    loop {
        let (line, after) = split_line(rest)?;
        rest = after;
        if line.is_empty() {
            break;
        }
        let (name, value) = read_field_line(line)?;
        fields.note(name, value)?;
        if fields.count() > rules.header_fields {
            return Err(Refusal::new(Reason::HeadersTooLarge, "too many header fields"));
        }
    }
    if !rest.is_empty() {
        return Err(Refusal::malformed("bytes after the head"));
    }
    Ok(Head { method, target, is_http10, fields })
}

/// RFC 9110 §5.5: of the control bytes, only a tab may stand in a value. CR and LF are judged by
/// [`split_line`]. Written as a fold without an early exit, which compiles to vector code.
fn refuse_control_bytes(raw: &[u8]) -> Result<(), Refusal> {
    let found = raw.iter().fold(false, |found, &byte| {
        found
            | ((byte < b' ') & (byte != b'\t') & (byte != b'\r') & (byte != b'\n'))
            | (byte == 0x7f)
    });
    if found { Err(Refusal::malformed("a control byte in the head")) } else { Ok(()) }
}

/// Splits off the first line; every line must end in CR LF, and neither may stand alone
/// (RFC 9112 §2.2: a recipient may read a bare LF as the end of a line, and some do not).
fn split_line(rest: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let end = memchr2(b'\r', b'\n', rest).ok_or(Refusal::malformed("the head is cut off"))?;
    let (line, end) = rest.split_at_checked(end).unwrap_or((rest, &[]));
    match end.strip_prefix(b"\r\n") {
        Some(after) => Ok((line, after)),
        None => Err(Refusal::ambiguous("a bare CR or LF in the head")),
    }
}

/// RFC 9112 §3: `method SP request-target SP HTTP-version`, each SP exactly one.
fn read_request_line<'a>(
    line: &'a [u8],
    rules: &ReadingRules,
) -> Result<(&'a [u8], &'a [u8], bool), Refusal> {
    const SHAPE: Refusal = Refusal::malformed("not a request line");
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(SHAPE);
    };
    if target.len() > rules.uri_bytes {
        return Err(Refusal::new(Reason::UriTooLong, "the target exceeds the limit"));
    }
    let is_http10 = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        _ => return Err(SHAPE),
    };
    if method.is_empty() || target.is_empty() || !method.iter().copied().all(is_token) {
        return Err(SHAPE);
    }
    Ok((method, target, is_http10))
}

/// RFC 9112 §5: `field-name ":" OWS field-value OWS`. A folded line (§5.2) and white space before
/// the colon (§5.1) fail as they are no token.
fn read_field_line(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let colon = memchr(b':', line).ok_or(Refusal::malformed("a header line without a colon"))?;
    let (name, value) = line.split_at_checked(colon).unwrap_or((line, &[]));
    let value = value.strip_prefix(b":").unwrap_or(value);
    if name.is_empty() || !name.iter().copied().all(is_token) {
        return Err(Refusal::malformed("a field name that is no token"));
    }
    Ok((name, value.trim_ascii()))
}
