//! The heads of messages as they go on: the request's on its way to the upstream, the response's
//! on its way to the client.
//!
//! Trusted fields are written here and nowhere earlier: a client's own `Connection` field could
//! strip what is added before Pingora removes the hop-by-hop fields.

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, StatusCode, Uri, Version, header};
use pingora_error::{Error, ErrorType, OrErr, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use tidegate_auth::{Access, Permitted, is_twin};
use tidegate_core::forwarded::{DISTRUSTED_FIELDS, Hop};
use tidegate_engine::snapshot::{Action, Route};

use crate::context::{Arrival, Context};

/// No content coding (RFC 9110 §12.5.3).
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");
/// How we sign the messages that pass (RFC 9110 §7.6.3).
const VIA: HeaderValue = HeaderValue::from_static("1.1 tidegate");

/// Writes what the upstream shall see: the canonical path, who asks, and the route's own changes.
pub(crate) fn write_request(
    received: &RequestHeader,
    upstream: &mut RequestHeader,
    ctx: &Context,
) -> Result<()> {
    let (Some(arrival), Some(admitted)) = (&ctx.arrival, &ctx.admitted) else { return Ok(()) };
    let route = admitted.route();
    let pool = ctx.upstream().map_or("", |upstream| upstream.pool.name());
    write_target(upstream, arrival, (route, pool), admitted.matched_len())?;
    join_cookies(upstream)?;
    write_forwarded(received, upstream, arrival)?;
    upstream.insert_header("x-request-id", arrival.request_id.as_str())?;
    upstream.append_header(header::VIA, VIA)?;
    ctx.trace.write(upstream)?;
    if admitted.reads_responses() && upstream.headers.contains_key(header::ACCEPT_ENCODING) {
        // What is compressed cannot be inspected.
        upstream.insert_header(header::ACCEPT_ENCODING, IDENTITY)?;
    }
    write_identity(upstream, arrival, (&route.access, admitted.permitted()))?;
    if ctx.quarantine.is_some() {
        strip_credentials(upstream, &route.access);
    }
    let filter = &route.request_headers;
    for name in filter.removed() {
        upstream.remove_header(name);
    }
    for (name, value) in filter.set() {
        upstream.insert_header(name, value)?;
    }
    for (name, value) in filter.added() {
        upstream.append_header(name, value)?;
    }
    Ok(())
}

/// Tells the upstream who asks, and nothing that the client says about it itself: fields that some
/// route writes are removed on every route, in every spelling.
fn write_identity(
    upstream: &mut RequestHeader,
    arrival: &Arrival,
    (access, permitted): (&Access, Option<&Permitted>),
) -> Result<()> {
    let own = arrival.live.snapshot.identity_fields();
    if !own.is_empty() {
        let forged = |name: &&HeaderName| own.iter().any(|own| is_twin(name, own));
        let forged: Vec<HeaderName> = upstream.headers.keys().filter(forged).cloned().collect();
        for name in &forged {
            upstream.remove_header(name);
        }
    }
    let Some(forwarded) = permitted.map(Permitted::forwarded) else { return Ok(()) };
    if !forwarded.keeps_credential() {
        upstream.remove_header(&header::AUTHORIZATION);
        upstream.remove_header("dpop");
        for name in access.key_fields() {
            upstream.remove_header(name);
        }
    }
    for (name, value) in forwarded.fields() {
        upstream.insert_header(name, value)?;
    }
    Ok(())
}

/// Takes tokens and keys from a request that goes into quarantine: whoever sits there must not act
/// for a client.
fn strip_credentials(upstream: &mut RequestHeader, access: &Access) {
    upstream.remove_header(&header::AUTHORIZATION);
    upstream.remove_header("dpop");
    for name in access.key_fields() {
        upstream.remove_header(name);
    }
}

/// The canonical path, rewritten if the route says so, with the query as received.
fn write_target(
    upstream: &mut RequestHeader,
    arrival: &Arrival,
    (route, pool): (&Route, &str),
    matched_len: usize,
) -> Result<()> {
    let Action::Proxy { rewrite, .. } = &route.action else { return Ok(()) };
    let canonical = &*arrival.target.path;
    let path = match rewrite {
        None => canonical.into(),
        Some(rewrite) => rewrite
            .path(canonical, matched_len)
            .or_err(ErrorType::InvalidHTTPHeader, "the rewritten path is no path")?,
    };
    let new_host = rewrite.as_ref().and_then(|rewrite| rewrite.host());
    if let Some(host) = new_host {
        upstream.insert_header(header::HOST, host)?;
    } else if arrival.target.host.is_empty() {
        // HTTP/1.0 may name no host; what we send is HTTP/1.1 and has to (RFC 9112 §3.2).
        upstream.insert_header(header::HOST, pool)?;
    }
    // Pingora keeps an absolute target beside the URI; the origin gets a path (RFC 9112 §3.2.1).
    let is_origin_form = upstream.raw_path().starts_with(b"/");
    if path == upstream.uri.path() && is_origin_form && upstream.uri.authority().is_none() {
        return Ok(());
    }
    let target = match upstream.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.into_owned(),
    };
    let target = PathAndQuery::try_from(target);
    let mut parts = upstream.uri.clone().into_parts();
    parts.path_and_query = Some(target.or_err(ErrorType::InvalidHTTPHeader, "the target")?);
    if let (Some(authority), Some(host)) = (&mut parts.authority, new_host) {
        // HTTP/2 has the host in the target.
        *authority = Authority::try_from(host.as_bytes())
            .or_err(ErrorType::InvalidHTTPHeader, "the rewritten host")?;
    }
    upstream.set_uri(Uri::from_parts(parts).or_err(ErrorType::InvalidHTTPHeader, "the target")?);
    Ok(())
}

/// HTTP/2 splits `Cookie` into several fields; HTTP/1 knows one (RFC 9113 §8.2.3).
fn join_cookies(upstream: &mut RequestHeader) -> Result<()> {
    let cookies = upstream.headers.get_all(header::COOKIE);
    if cookies.iter().nth(1).is_none() {
        return Ok(());
    }
    let joined: Vec<_> = cookies.iter().map(HeaderValue::as_bytes).collect();
    let joined = HeaderValue::from_bytes(&joined.join(&b"; "[..]))
        .or_err(ErrorType::InvalidHTTPHeader, "the cookies")?;
    upstream.insert_header(header::COOKIE, joined)
}

/// Removes what the client says about its own connection (RFC 9110 §7.6.1), as Pingora does where
/// the exchange is its own.
///
/// # Errors
/// The client's `Connection` names a field that says where the request belongs or who sent it.
pub(crate) fn strip_hop_by_hop(request: &mut RequestHeader) -> Result<()> {
    const KEPT: [&str; 4] = ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
    let values = request.headers.get_all(header::CONNECTION);
    let named = values.iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let named: Vec<HeaderName> = named
        .map(<[u8]>::trim_ascii)
        .filter(|name| !name.is_empty())
        .map(HeaderName::from_bytes)
        .collect::<std::result::Result<_, _>>()
        .or_err(ErrorType::InvalidHTTPHeader, "Connection names what is no field")?;
    if named.iter().any(|name| KEPT.contains(&name.as_str())) {
        return Error::e_explain(ErrorType::InvalidHTTPHeader, "Connection names a vital field");
    }
    let own = [
        "connection",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let own = |name: &&HeaderName| own.contains(&name.as_str()) || named.contains(name);
    let gone: Vec<HeaderName> = request.headers.keys().filter(own).cloned().collect();
    for name in &gone {
        request.remove_header(name);
    }
    Ok(())
}

/// Puts host and version where the upstream's protocol has them: in the target of HTTP/2, where
/// the scheme is too, and in a field of HTTP/1.1.
pub(crate) fn suit_upstream(request: &mut RequestHeader, h2: Option<Scheme>) -> Result<()> {
    let Some(scheme) = h2 else {
        request.set_version(Version::HTTP_11);
        let authority = request.uri.authority().map(|authority| authority.as_str().to_owned());
        if let Some(host) = authority.filter(|_| !request.headers.contains_key(header::HOST)) {
            request.insert_header(header::HOST, host)?;
        }
        return Ok(());
    };
    request.set_version(Version::HTTP_2);
    let mut parts = request.uri.clone().into_parts();
    if let Some(host) = request.remove_header(&header::HOST) {
        let host = Authority::try_from(host.as_bytes());
        parts.authority = Some(host.or_err(ErrorType::InvalidHTTPHeader, "the host")?);
    }
    parts.scheme = Some(scheme);
    request.set_uri(Uri::from_parts(parts).or_err(ErrorType::InvalidHTTPHeader, "the target")?);
    Ok(())
}

fn write_forwarded(
    received: &RequestHeader,
    upstream: &mut RequestHeader,
    arrival: &Arrival,
) -> Result<()> {
    if !arrival.peer_is_trusted {
        // One look at what is there costs less than sixteen look-ups of what is not.
        let forged = |name: &&HeaderName| DISTRUSTED_FIELDS.contains(&name.as_str());
        let forged: Vec<HeaderName> = upstream.headers.keys().filter(forged).cloned().collect();
        for name in &forged {
            upstream.remove_header(name);
        }
    }
    let host = received.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let hop = Hop {
        inbound: &received.headers,
        peer: arrival.connection.peer.ip(),
        peer_is_trusted: arrival.peer_is_trusted,
        secure: arrival.connection.tls.is_some(),
        host: host.or(received.uri.authority().map(|host| host.as_str())).unwrap_or_default(),
    };
    upstream.insert_header("x-forwarded-for", hop.x_forwarded_for())?;
    upstream.insert_header("x-forwarded-proto", hop.x_forwarded_proto())?;
    if let Some(host) = hop.x_forwarded_host() {
        upstream.insert_header("x-forwarded-host", host)?;
    }
    if arrival.peer_is_trusted && received.headers.contains_key(header::FORWARDED) {
        upstream.insert_header(header::FORWARDED, hop.forwarded())?;
    }
    Ok(())
}

/// Writes what the client shall see beside the upstream's own fields.
pub(crate) fn write_response(response: &mut ResponseHeader, ctx: &Context) -> Result<()> {
    let (Some(arrival), Some(admitted)) = (&ctx.arrival, &ctx.admitted) else { return Ok(()) };
    remove_hop_by_hop(response);
    response.insert_header("x-request-id", arrival.request_id.as_str())?;
    set_cookies(response, arrival, ctx)?;
    for (name, value) in admitted.rate_headers() {
        response.append_header(name, value)?;
    }
    let filter = &admitted.route().response_headers;
    for name in filter.removed() {
        response.remove_header(name);
    }
    for (name, value) in filter.set() {
        response.insert_header(name, value)?;
    }
    for (name, value) in filter.added() {
        response.append_header(name, value)?;
    }
    Ok(())
}

/// Sets the cookies that keep a client on its side of a split, and with its endpoint.
fn set_cookies(response: &mut ResponseHeader, arrival: &Arrival, ctx: &Context) -> Result<()> {
    let journey = &ctx.journey;
    if let Some(cookie) = &journey.split_cookie {
        response.append_header(header::SET_COOKIE, cookie)?;
    }
    let sticky = ctx.upstream().and_then(|upstream| upstream.pool.sticky());
    if let (Some(sticky), Some(lease)) = (sticky, &journey.lease) {
        let secure = arrival.connection.tls.is_some();
        let cookie = sticky.renew(journey.bound.as_ref(), lease.address(), arrival.time, secure);
        if let Some(cookie) = cookie {
            response.append_header(header::SET_COOKIE, cookie)?;
        }
    }
    Ok(())
}

/// Removes what the upstream says about its own connection (RFC 9110 §7.6.1); Pingora writes the
/// fields of the client's.
fn remove_hop_by_hop(response: &mut ResponseHeader) {
    let switches = response.status == StatusCode::SWITCHING_PROTOCOLS;
    let nominated: Vec<HeaderName> = response
        .headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| *name != header::UPGRADE && *name != "close")
        .collect();
    let own = |name: &&HeaderName| match name.as_str() {
        "keep-alive" | "proxy-connection" | "te" => true,
        "upgrade" => !switches,
        _ => nominated.contains(name),
    };
    let own: Vec<HeaderName> = response.headers.keys().filter(own).cloned().collect();
    for name in &own {
        response.remove_header(name);
    }
}

/// An HTTP/1.0 client knows no chunks (RFC 9112 §7.1): without a length, the end of the connection
/// is the end of the body.
pub(crate) fn suit_http10(session: &mut Session, response: &mut ResponseHeader) {
    if response.headers.contains_key(header::TRANSFER_ENCODING) {
        response.remove_header(&header::TRANSFER_ENCODING);
        session.set_keepalive(None);
    }
    response.set_version(Version::HTTP_10);
}
