//! Which trace a request belongs to: a trusted sender's, or a new one.

use std::net::IpAddr;

use http::HeaderMap;
use tidegate_core::SettingsError;
use tidegate_core::net::AddressSet;
use tidegate_core::trace::{SpanId, TraceContext, TraceId, is_valid_state};
use tidegate_siem::traces::settings::{TracingSettings, Untrusted};

use crate::settings::Settings;

/// How requests are traced.
#[derive(Debug)]
pub struct Tracing {
    /// Whose traces go on.
    trust: AddressSet,
    per_10_000: u16,
    links: bool,
}

/// The place of one request in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Our own span.
    pub context: TraceContext,
    /// The sender's span, if it is trusted.
    pub parent: Option<SpanId>,
    /// What a sender said who is not.
    pub link: Option<TraceContext>,
    /// Whether `tracestate` may go on: it belongs to the trace that does, and is well-formed.
    pub keeps_state: bool,
}

impl Tracing {
    fn compile(settings: &TracingSettings) -> Self {
        Self {
            trust: AddressSet::new(&settings.trust),
            per_10_000: settings.sample.basis_points(),
            links: settings.untrusted == Untrusted::Link,
        }
    }

    /// Takes up the trace of a request from `peer`, or begins one. `random` makes ids.
    pub fn begin(&self, headers: &HeaderMap, peer: IpAddr, random: impl Fn() -> u64) -> Begun {
        let received = TraceContext::received(headers);
        let span = SpanId::new(random());
        if let Some(parent) = received.filter(|_| self.trust.contains(peer)) {
            return Begun {
                context: parent.at(span),
                parent: Some(parent.span),
                link: None,
                keeps_state: is_valid_state(headers),
            };
        }
        let trace = TraceId::new(random(), random());
        let sampled = trace.is_sampled_at(self.per_10_000);
        Begun {
            context: TraceContext::root(trace, span).with_sampled(sampled),
            parent: None,
            link: received.filter(|_| self.links),
            keeps_state: false,
        }
    }
}

pub(super) fn compile(settings: &Settings, errors: &mut Vec<SettingsError>) -> Option<Tracing> {
    let tracing = settings.tracing.as_ref()?;
    errors.extend(tracing.errors().into_iter().map(|error| error.under(["tracing"])));
    Some(Tracing::compile(tracing))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tidegate_core::net::Network;
    use tidegate_core::units::Percent;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const CDN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    fn begin(settings: &TracingSettings, trusted: bool, fields: &[(&'static str, &str)]) -> Begun {
        let mut settings = settings.clone();
        settings.trust.extend(trusted.then(|| Network::from(CDN)));
        let next = Cell::new(0);
        let random = || {
            next.set(next.get() + 1);
            next.get()
        };
        let fields = fields
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        Tracing::compile(&settings).begin(&fields.collect(), CDN, random)
    }

    #[test]
    fn a_trusted_senders_trace_goes_on_as_it_decided() {
        let settings = TracingSettings { sample: Percent::new(0), ..TracingSettings::default() };
        let begun = begin(&settings, true, &[("traceparent", PARENT), ("tracestate", "a=1")]);
        assert_eq!(begun.context.trace.as_str(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(begun.parent.unwrap().as_str(), "b7ad6b7169203331");
        assert_ne!(Some(begun.context.span), begun.parent);
        assert!(begun.context.is_sampled() && begun.keeps_state);
        let off = PARENT.replace("-01", "-00");
        let all = TracingSettings { sample: Percent::new(100), ..TracingSettings::default() };
        assert!(!begin(&all, true, &[("traceparent", &off)]).context.is_sampled());
        let bad = [("traceparent", PARENT), ("tracestate", "A b c")];
        let begun = begin(&settings, true, &bad);
        assert!(begun.parent.is_some() && !begun.keeps_state);
    }

    #[test]
    fn everybody_elses_trace_is_at_most_a_link() {
        let settings = TracingSettings { sample: Percent::new(100), ..TracingSettings::default() };
        let fields = [("traceparent", PARENT), ("tracestate", "a=1")];
        let begun = begin(&settings, false, &fields);
        assert_ne!(begun.context.trace.as_str(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!((begun.parent, begun.keeps_state), (None, false));
        assert_eq!(begun.link, TraceContext::parse(PARENT.as_bytes()));
        assert!(begun.context.is_sampled());
        let drops = TracingSettings { untrusted: Untrusted::Drop, ..settings.clone() };
        assert_eq!(begin(&drops, false, &fields).link, None);
        let nobody = TracingSettings { sample: Percent::new(0), ..settings };
        assert!(!begin(&nobody, false, &fields).context.is_sampled(), "its wish is not followed");
    }

    #[test]
    fn only_who_is_on_the_list_is_trusted() {
        let trust = |list: &[&str]| TracingSettings {
            trust: list.iter().map(|net| net.parse().unwrap()).collect(),
            ..TracingSettings::default()
        };
        let fields = [("traceparent", PARENT)];
        assert!(begin(&trust(&[]), false, &fields).parent.is_none());
        assert!(begin(&trust(&["192.0.2.0/24"]), false, &fields).parent.is_some());
        assert!(begin(&trust(&["198.51.100.0/24"]), false, &fields).parent.is_none());
    }

    #[test]
    fn what_is_malformed_begins_a_trace_and_is_no_error() {
        let settings = TracingSettings::default();
        for bad in ["", "00-x", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"] {
            let begun = begin(&settings, true, &[("traceparent", bad), ("tracestate", "a=1")]);
            assert_eq!((begun.parent, begun.link, begun.keeps_state), (None, None, false));
        }
    }
}
