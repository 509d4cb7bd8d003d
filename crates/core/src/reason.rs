//! Why a request was refused or failed: one closed list. Each variant is one metric label, one
//! code in logs and audit records, and one problem+json type (RFC 9457).

use http::StatusCode;

use crate::notice::Severity;

/// Who caused the end of a request that was not an ordinary answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// What the client sent cannot be served: malformed, ambiguous, too large, too slow.
    Client,
    /// What the client sent is understood and refused by policy.
    Policy,
    /// The upstream failed us.
    Upstream,
    /// We failed: overload, shutdown or a defect.
    Gateway,
}

macro_rules! reasons {
    ($($(#[$doc:meta])+ $variant:ident, $code:literal, $status:expr, $fault:ident, $title:literal;)+) => {
        /// Why a request was refused or failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[$doc])+ $variant,)+
        }

        impl Reason {
            /// Every reason, in the order of their declaration; `reason as usize` indexes it.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable code: metric label, log field, last segment of the problem type.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// The status that a client gets for it, unless a policy says otherwise.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => $status,)+ }
            }

            /// Who caused it.
            #[must_use]
            pub const fn fault(self) -> Fault {
                match self { $(Self::$variant => Fault::$fault,)+ }
            }

            /// One short sentence for people; it never says more than a client may know.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }
        }
    };
}

reasons! {
    /// Two readers could understand the message in two ways (request smuggling, RFC 9112 §11.2).
    AmbiguousRequest, "ambiguous_request", StatusCode::BAD_REQUEST, Client, "The request can be read in two ways";
    /// Who it is is known, and they may not: a role, a claim or a policy service says so.
    AccessDenied, "access_denied", StatusCode::FORBIDDEN, Policy, "This is not allowed";
    /// The address is on a deny list or not on the allow list.
    AddressDenied, "address_denied", StatusCode::FORBIDDEN, Policy, "This address may not use this service";
    /// The audit log cannot keep the record that the route promises.
    AuditUnavailable, "audit_unavailable", StatusCode::SERVICE_UNAVAILABLE, Gateway, "The request cannot be recorded";
    /// Who it is cannot be found out: no keys, no answer from a provider (closed by default).
    AuthUnavailable, "auth_unavailable", StatusCode::SERVICE_UNAVAILABLE, Gateway, "Access cannot be checked now";
    /// The address is banned for a while.
    Banned, "banned", StatusCode::FORBIDDEN, Policy, "This address may not use this service for now";
    /// The body exceeds the route's limit.
    BodyTooLarge, "body_too_large", StatusCode::PAYLOAD_TOO_LARGE, Client, "The request body is too large";
    /// The client went away before the answer was complete. 499 is nginx's convention; it is
    /// logged, never sent.
    ClientClosed, "client_closed", CLIENT_CLOSED_REQUEST, Client, "The client closed the connection";
    /// CONNECT, TRACE or a method that no route takes.
    MethodNotAllowed, "method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, Client, "The method is not allowed here";
    /// A method that HTTP does not know and no route names.
    MethodUnknown, "method_unknown", StatusCode::NOT_IMPLEMENTED, Client, "The method is not known";
    /// More is to be held in memory than all requests together may hold.
    Overloaded, "overloaded", StatusCode::SERVICE_UNAVAILABLE, Gateway, "The gateway has too much to do";
    /// The header section exceeds the limits in bytes or fields (RFC 6585 §5).
    HeadersTooLarge, "headers_too_large", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, Client, "The request header is too large";
    /// The token lacks a scope (RFC 6750 §3.1).
    InsufficientScope, "insufficient_scope", StatusCode::FORBIDDEN, Policy, "The token does not reach this far";
    /// A defect of ours.
    Internal, "internal_error", StatusCode::INTERNAL_SERVER_ERROR, Gateway, "The gateway failed";
    /// The credential is shown twice, or where it must not be (RFC 6750 §3.1).
    InvalidAuthRequest, "invalid_auth_request", StatusCode::BAD_REQUEST, Policy, "The credential is shown in a wrong way";
    /// The credential is malformed, forged, expired, revoked or somebody else's (RFC 6750 §3.1).
    InvalidToken, "invalid_token", StatusCode::UNAUTHORIZED, Policy, "The credential does not hold";
    /// The message breaks the grammar of HTTP.
    MalformedRequest, "malformed_request", StatusCode::BAD_REQUEST, Client, "The request is malformed";
    /// No route takes this request.
    NoRoute, "no_route", StatusCode::NOT_FOUND, Client, "Nothing is here";
    /// The pool has no endpoint that can take the request.
    NoHealthyUpstream, "no_healthy_upstream", StatusCode::SERVICE_UNAVAILABLE, Upstream, "No healthy upstream";
    /// A token bucket is empty (RFC 6585 §4).
    RateLimited, "rate_limited", StatusCode::TOO_MANY_REQUESTS, Policy, "Too many requests";
    /// Request header or body did not arrive in time, or slower than the minimum rate.
    RequestTimeout, "request_timeout", StatusCode::REQUEST_TIMEOUT, Client, "The request took too long to arrive";
    /// The response policy slows this client, token or route down.
    Throttled, "throttled", StatusCode::TOO_MANY_REQUESTS, Policy, "Too many requests for now";
    /// The request took longer than its route's total time.
    TotalTimeout, "total_timeout", StatusCode::GATEWAY_TIMEOUT, Upstream, "The request took too long";
    /// No credential came (RFC 6750 §3.1).
    Unauthenticated, "unauthenticated", StatusCode::UNAUTHORIZED, Policy, "A credential is needed";
    /// The upstream answered something that is not HTTP, or more header than allowed.
    UpstreamBadResponse, "upstream_bad_response", StatusCode::BAD_GATEWAY, Upstream, "The upstream sent an invalid response";
    /// No connection to the upstream could be made.
    UpstreamConnectFailed, "upstream_connect_failed", StatusCode::BAD_GATEWAY, Upstream, "The upstream cannot be reached";
    /// Connecting took longer than allowed.
    UpstreamConnectTimeout, "upstream_connect_timeout", StatusCode::GATEWAY_TIMEOUT, Upstream, "The upstream cannot be reached in time";
    /// The upstream closed or reset the connection before its answer was complete.
    UpstreamReset, "upstream_reset", StatusCode::BAD_GATEWAY, Upstream, "The upstream closed the connection";
    /// First byte or the next byte did not come in time.
    UpstreamTimeout, "upstream_timeout", StatusCode::GATEWAY_TIMEOUT, Upstream, "The upstream did not answer in time";
    /// As much is on the pool as its limits allow, or its breaker is open.
    UpstreamOverloaded, "upstream_overloaded", StatusCode::SERVICE_UNAVAILABLE, Upstream, "The upstream is overloaded";
    /// The upstream's TLS handshake or certificate failed.
    UpstreamTlsFailed, "upstream_tls_failed", StatusCode::BAD_GATEWAY, Upstream, "The upstream cannot be trusted";
    /// The request target exceeds the limit.
    UriTooLong, "uri_too_long", StatusCode::URI_TOO_LONG, Client, "The request target is too long";
    /// The web application firewall refused the request.
    WafBlocked, "waf_blocked", StatusCode::FORBIDDEN, Policy, "The request was refused";
}

impl Reason {
    /// How bad it is that a request ended so, in the steps of notices.
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::WafBlocked | Self::Internal | Self::AuditUnavailable | Self::AuthUnavailable => {
                Severity::High
            }
            Self::ClientClosed | Self::NoRoute => Severity::Informational,
            Self::AmbiguousRequest
            | Self::AccessDenied
            | Self::InvalidToken
            | Self::InvalidAuthRequest
            | Self::InsufficientScope => Severity::Medium,
            _ => match self.fault() {
                Fault::Client | Fault::Policy => Severity::Low,
                Fault::Upstream | Fault::Gateway => Severity::Medium,
            },
        }
    }
}

/// nginx's 499: the client closed the connection before the answer.
const CLIENT_CLOSED_REQUEST: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => StatusCode::BAD_REQUEST,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_snake_case() {
        let mut codes: Vec<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Reason::ALL.len());
        assert!(codes.iter().all(|code| code.bytes().all(|b| b == b'_' || b.is_ascii_lowercase())));
    }

    #[test]
    fn a_reason_indexes_the_list_of_all() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }
}
