//! What happens beside requests and is worth telling: faults of upstreams, changes of the
//! configuration, decisions of the response policy. With [`Event`](crate::Event), which is about
//! one request, this is all that logs, metrics and sinks know.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use crate::decision::Decision;

/// How bad it is, in the steps of OCSF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing is wrong.
    Informational,
    /// Nothing has to be done.
    Low,
    /// Somebody should look at it.
    Medium,
    /// Something has to be done.
    High,
    /// Something has to be done at once.
    Critical,
}

impl Severity {
    /// Every severity, the mildest first; `severity as usize` indexes it.
    pub const ALL: [Self; 5] =
        [Self::Informational, Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The stable name: in the configuration, logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Area {
    /// The process itself.
    Process,
    /// The configuration and what it names: certificates, lists, keys.
    Configuration,
    /// Who administers, and what they asked for.
    Administration,
    /// Upstreams and their endpoints.
    Upstream,
    /// Connections that never became a request.
    Connection,
    /// Providers of identities.
    Identity,
    /// The response policy and bans.
    Response,
    /// The audit log and the sinks.
    Delivery,
}

impl Area {
    /// The stable name: in logs and sinks.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Configuration => "configuration",
            Self::Administration => "administration",
            Self::Upstream => "upstream",
            Self::Connection => "connection",
            Self::Identity => "identity",
            Self::Response => "response",
            Self::Delivery => "delivery",
        }
    }
}

macro_rules! notices {
    ($($(#[$doc:meta])+ $variant:ident, $code:literal, $area:ident, $severity:ident;)+) => {
        /// What happened: one closed list.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum NoticeKind {
            $($(#[$doc])+ $variant,)+
        }

        impl NoticeKind {
            /// Every kind, in the order of their declaration; `kind as usize` indexes it.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable code: metric label and log field.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// What it is about.
            #[must_use]
            pub const fn area(self) -> Area {
                match self { $(Self::$variant => Area::$area,)+ }
            }

            /// How bad it is, unless the notice says otherwise.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)+ }
            }
        }
    };
}

notices! {
    /// Somebody asked the admin listener for a change.
    AdminCall, "admin_call", Administration, Low;
    /// Records cannot be kept.
    AuditFailing, "audit_failing", Delivery, Critical;
    /// Records are kept again.
    AuditRecovered, "audit_recovered", Delivery, Informational;
    /// A ban was added or prolonged.
    BanAdded, "ban_added", Response, Medium;
    /// A ban was lifted before its end.
    BanLifted, "ban_lifted", Response, Low;
    /// A certificate in use was replaced.
    CertificateChanged, "certificate_changed", Configuration, Informational;
    /// A configuration was put in force.
    ConfigApplied, "config_applied", Configuration, Informational;
    /// A configuration was refused; the one before stays in force.
    ConfigRefused, "config_refused", Configuration, Medium;
    /// A connection was refused before its first request: too many, a bad PROXY header.
    ConnectionRefused, "connection_refused", Connection, Low;
    /// The response policy decided something.
    Decided, "decided", Response, Medium;
    /// An endpoint was taken out of rotation after failures of requests.
    EndpointEjected, "endpoint_ejected", Upstream, Medium;
    /// The addresses behind an upstream's name changed.
    EndpointsChanged, "endpoints_changed", Upstream, Informational;
    /// An endpoint's requests fail; it would have been ejected, were that enforced.
    EndpointSuspected, "endpoint_suspected", Upstream, Low;
    /// Health checks found an endpoint unhealthy.
    EndpointDown, "endpoint_down", Upstream, Medium;
    /// An endpoint takes requests again.
    EndpointUp, "endpoint_up", Upstream, Informational;
    /// Too large a share of the recent clients would be blocked: the policy only tells.
    EnforcementCapped, "enforcement_capped", Response, High;
    /// The policy acts again.
    EnforcementResumed, "enforcement_resumed", Response, Informational;
    /// The panic switch is on: nothing is enforced.
    PanicOn, "panic_on", Response, High;
    /// The panic switch is off.
    PanicOff, "panic_off", Response, Informational;
    /// An upstream's name cannot be looked up; the last answer stays.
    NameUnresolved, "name_unresolved", Upstream, Medium;
    /// The process serves.
    ProcessStarted, "process_started", Process, Informational;
    /// The process ends, or hands over to its successor.
    ProcessStopped, "process_stopped", Process, Informational;
    /// Keys or answers of a provider cannot be had.
    ProviderFailing, "provider_failing", Identity, High;
    /// A provider answers again.
    ProviderRecovered, "provider_recovered", Identity, Informational;
    /// A sink does not take what it is sent.
    SinkFailing, "sink_failing", Delivery, High;
    /// A sink takes what it is sent again.
    SinkRecovered, "sink_recovered", Delivery, Informational;
    /// A TLS handshake failed.
    TlsFailed, "tls_failed", Connection, Low;
    /// An upstream has no endpoint that takes requests, or its breaker is open.
    UpstreamDown, "upstream_down", Upstream, High;
    /// An upstream has endpoints that take requests again.
    UpstreamUp, "upstream_up", Upstream, Informational;
    /// A zone was taken out: too few of its endpoints can serve.
    ZoneIsolated, "zone_isolated", Upstream, Medium;
    /// A zone is back.
    ZoneReturned, "zone_returned", Upstream, Informational;
}

/// Something that happened. It is rare beside requests, so it owns what it says.
#[derive(Clone, Debug)]
pub struct Notice {
    /// When.
    pub time: SystemTime,
    /// What.
    pub kind: NoticeKind,
    /// How bad it is.
    pub severity: Severity,
    /// One sentence for people, without secrets.
    pub summary: Box<str>,
    /// Whose connection or request it is about.
    pub client: Option<IpAddr>,
    /// The listener's address as configured.
    pub listener: Option<Arc<str>>,
    /// The upstream's name.
    pub upstream: Option<Arc<str>>,
    /// The upstream's endpoint.
    pub endpoint: Option<SocketAddr>,
    /// Who or what caused it: `admin`, a signal, a rule, a file.
    pub by: Option<Box<str>>,
    /// What else is known, by stable names.
    pub details: Vec<(&'static str, Box<str>)>,
    /// The decision, if it is about one.
    pub decision: Option<Arc<Decision>>,
}

impl Notice {
    /// The notice with one more detail.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Box<str>>) -> Self {
        self.details.push((name, value.into()));
        self
    }

    /// A notice of the kind's own severity that says no more than that.
    #[must_use]
    pub fn new(time: SystemTime, kind: NoticeKind, summary: impl Into<Box<str>>) -> Self {
        Self {
            time,
            kind,
            severity: kind.severity(),
            summary: summary.into(),
            client: None,
            listener: None,
            upstream: None,
            endpoint: None,
            by: None,
            details: Vec::new(),
            decision: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_a_kind_indexes_the_list_of_all() {
        let mut codes: Vec<_> = NoticeKind::ALL.iter().map(|kind| kind.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), NoticeKind::ALL.len());
        for (index, kind) in NoticeKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index);
        }
    }
}
