//! Every key of the configuration, as typed settings. What belongs to one feature stands in that
//! feature's crate; here is what they are put together from.

mod limits;
mod listener;
mod reading;
mod route;
mod server;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_audit::settings::AuditSettings;
use tidegate_auth::AuthSettings;
use tidegate_core::forwarded::ForwardedHeader;
use tidegate_core::net::Network;
use tidegate_core::reading::EncodedSlash;
use tidegate_guard::{BansSettings, ResponseSettings};
use tidegate_observe::AccessLogSettings;
use tidegate_siem::SinkSettings;
use tidegate_siem::traces::settings::TracingSettings;
use tidegate_traffic::UpstreamSettings;

pub use self::limits::LimitsSettings;
pub use self::listener::{
    Alpn, BindAddress, CertificateSettings, ClientAuthMode, ClientAuthSettings, ListenerSettings,
    ProxyProtocolSettings, TlsSettings, TlsVersion,
};
pub use self::route::{PolicySettings, RateLimits, RouteSettings, Target};
pub use self::server::{AdminSettings, ServerSettings};
pub use tidegate_core::Secret;
pub use tidegate_traffic::RouteMatch;

/// The configuration of Tidegate.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct Settings {
    /// Further files, as globs relative to this file. At the top level their lists append and
    /// their maps merge; what is given twice is an error. A reload applies it.
    pub include: Vec<String>,
    /// The process itself.
    pub server: ServerSettings,
    /// The admin listener: health, metrics, state and mutations.
    pub admin: AdminSettings,
    /// Who vouches for clients: issuers of tokens and others. Default: nobody, and routes are open
    /// to everybody. A reload applies it.
    pub auth: AuthSettings,
    /// Where and how requests are logged; `off` switches the log off. Default: JSON lines on
    /// standard output. A reload applies it.
    pub access_log: AccessLogSettings,
    /// The audit log: what happened to key events, to the configuration and to the process, in a
    /// form that can be proven. Default: none.
    pub audit: Option<AuditSettings>,
    /// Traces of requests: whose go on, how many are recorded, and where their spans are sent.
    /// Default: none.
    pub tracing: Option<TracingSettings>,
    /// Who is refused, isolated, held back or throttled for a while, whatever they ask for.
    pub bans: BansSettings,
    /// Where events go beside the access log: syslog, a SIEM, a queue; by name. Default: nowhere. A
    /// reload applies it, and loses nothing of what waits for sinks that stay.
    pub sinks: BTreeMap<String, SinkSettings>,
    /// What is noticed in the requests, and what is done about it. Default: nothing.
    pub response: Option<ResponseSettings>,
    /// Peers whose `X-Forwarded-For` or `Forwarded` is believed, such as a CDN in front. Default:
    /// nobody. A reload applies it.
    pub trusted_proxies: Vec<Network>,
    /// Which field the trusted proxies write. Default: `x_forwarded_for`. A reload applies it.
    pub forwarded_header: ForwardedHeader,
    /// What becomes of an encoded slash (`%2F`) in a path: `refuse` with 400, since an upstream
    /// that decodes it serves another path than the one that was checked; or `keep` it as data, for
    /// upstreams such as package registries that take names with slashes. Default: `refuse`. A
    /// reload applies it.
    pub encoded_slash: EncodedSlash,
    /// Limits on connections and messages, all finite by default.
    pub limits: LimitsSettings,
    /// Where clients connect. A reload reads certificates again, binds new addresses and closes
    /// those that are gone.
    pub listeners: Vec<ListenerSettings>,
    /// Policy fields that apply to every route, unless a policy or the route says otherwise. A
    /// reload applies them.
    pub defaults: PolicySettings,
    /// Named sets of policy fields, for routes to use in `policies`. A reload applies them.
    pub policies: BTreeMap<String, PolicySettings>,
    /// What goes where. Their order in the file does not matter: an exact host goes before a
    /// wildcard before any host, an exact path before the longest prefix before a regular
    /// expression, then methods, then the number of conditions. A reload applies them.
    pub routes: Vec<RouteSettings>,
    /// The groups of endpoints that routes send requests to, by name. A reload applies them.
    pub upstreams: BTreeMap<String, UpstreamSettings>,
}
