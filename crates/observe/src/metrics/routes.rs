//! What is counted for each route.

use std::sync::Arc;

use prometheus::Histogram;
use tidegate_core::{Event, Reason};

use super::exemplars::Exemplars;
use super::family::{Count, Families, Family, histogram};

/// The series of one route, resolved when the configuration is compiled.
#[derive(Debug)]
pub struct RouteMetrics {
    id: Box<str>,
    /// By the first digit of the status, 1 to 5.
    answers: [Count; 5],
    /// By [`Reason`], in the order of [`Reason::ALL`].
    refusals: [Count; Reason::ALL.len()],
    duration: Histogram,
    exemplars: Exemplars,
    request_bytes: Count,
    response_bytes: Count,
    dry_run: Count,
    waf_blocked: Count,
    waf_detected: Count,
    waf_exceeded: Count,
    shadow_requests: Count,
    shadow_blocks: Count,
    shadow_passes: Count,
}

/// From a millisecond to a minute: fine where services differ, coarse where they hang.
const DURATION_BOUNDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl RouteMetrics {
    pub(super) fn new(id: &str) -> Self {
        Self {
            id: id.into(),
            answers: Default::default(),
            refusals: std::array::from_fn(|_| Count::default()),
            duration: histogram(&DURATION_BOUNDS),
            exemplars: Exemplars::new(&DURATION_BOUNDS),
            request_bytes: Count::default(),
            response_bytes: Count::default(),
            dry_run: Count::default(),
            waf_blocked: Count::default(),
            waf_detected: Count::default(),
            waf_exceeded: Count::default(),
            shadow_requests: Count::default(),
            shadow_blocks: Count::default(),
            shadow_passes: Count::default(),
        }
    }

    /// The value of the label `route`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    fn show_answers(&self, family: &mut Family) {
        for (class, count) in CLASSES.iter().zip(&self.answers) {
            let labels = [("route", &*self.id), ("code", *class)];
            // A series that starts at zero lets `rate` see the first error.
            if *class == "1xx" {
                family.counter_if_any(&labels, count.value());
            } else {
                family.counter(&labels, count.value());
            }
        }
    }

    pub(super) fn record(&self, event: &Event<'_>) {
        let class = usize::from(event.status / 100).wrapping_sub(1);
        if let Some(answers) = self.answers.get(class) {
            answers.add(1);
        }
        if let Some(refusals) = event.reason.and_then(|reason| self.refusals.get(reason as usize)) {
            refusals.add(1);
        }
        let seconds = event.duration.as_secs_f64();
        self.duration.observe(seconds);
        self.exemplars.keep(event, seconds);
        self.request_bytes.add(event.request_bytes);
        self.response_bytes.add(event.response_bytes);
        if !event.dry_run_limits.is_empty() {
            self.dry_run.add(1);
        }
        if let Some(waf) = event.waf.filter(|waf| waf.blocked) {
            let outcome = if waf.detect_only { &self.waf_detected } else { &self.waf_blocked };
            outcome.add(1);
        }
        if event.waf.is_some_and(|waf| waf.exceeded.is_some()) {
            self.waf_exceeded.add(1);
        }
        if let Some(shadow) = event.waf_shadow {
            self.shadow_requests.add(1);
            match (event.waf.is_some_and(|waf| waf.blocked), shadow.blocked) {
                (false, true) => self.shadow_blocks.add(1),
                (true, false) => self.shadow_passes.add(1),
                (true, true) | (false, false) => {}
            }
        }
    }
}

type Figure = fn(&RouteMetrics) -> u64;

/// Counters that most routes have.
const COUNTERS: [(&str, &str, Figure); 2] = [
    (
        "tidegate_request_body_bytes_total",
        "Bytes of request bodies received from clients.",
        |route| route.request_bytes.value(),
    ),
    ("tidegate_response_body_bytes_total", "Bytes of response bodies sent to clients.", |route| {
        route.response_bytes.value()
    }),
];

/// Counters that most routes never need.
const RARE_COUNTERS: [(&str, &str, Figure); 7] = [
    (
        "tidegate_rate_limit_dry_run_total",
        "Requests that a rate limit would have refused, were it not in dry-run.",
        |route| route.dry_run.value(),
    ),
    (
        "tidegate_waf_blocked_total",
        "Requests that the web application firewall refused.",
        |route| route.waf_blocked.value(),
    ),
    (
        "tidegate_waf_detected_total",
        "Requests that the web application firewall would have refused, were it not only detecting.",
        |route| route.waf_detected.value(),
    ),
    (
        "tidegate_waf_budget_exceeded_total",
        "Requests with more work or more values than the firewall looks at.",
        |route| route.waf_exceeded.value(),
    ),
    (
        "tidegate_waf_shadow_requests_total",
        "Requests that the firewall's shadow looked at.",
        |route| route.shadow_requests.value(),
    ),
    (
        "tidegate_waf_shadow_would_block_total",
        "Requests that the shadow would refuse and the firewall itself would not.",
        |route| route.shadow_blocks.value(),
    ),
    (
        "tidegate_waf_shadow_would_pass_total",
        "Requests that the shadow would pass and the firewall itself would not.",
        |route| route.shadow_passes.value(),
    ),
];

/// Shows the series of all routes.
pub(super) fn show(routes: &[Arc<RouteMetrics>], families: &mut Families) {
    let (name, help) =
        ("tidegate_requests_total", "Requests by the class of the status they ended in.");
    families.counters(name, help, |family| {
        for route in routes {
            route.show_answers(family);
        }
    });
    let (name, help) =
        ("tidegate_refusals_total", "Requests that were refused or failed, by reason code.");
    families.counters(name, help, |family| {
        for route in routes {
            for (reason, count) in Reason::ALL.iter().zip(&route.refusals) {
                let labels = [("route", &*route.id), ("reason", reason.code())];
                family.counter_if_any(&labels, count.value());
            }
        }
    });
    let (name, help) = (
        "tidegate_request_duration_seconds",
        "From the arrival of a request's head to the last byte of its answer.",
    );
    families.histograms(name, help, |family| {
        for route in routes {
            family.histogram_with(&[("route", &route.id)], &route.duration, &route.exemplars);
        }
    });
    for (name, help, figure) in COUNTERS {
        families.counters(name, help, |family| {
            for route in routes {
                family.counter(&[("route", &route.id)], figure(route));
            }
        });
    }
    for (name, help, figure) in RARE_COUNTERS {
        families.counters(name, help, |family| {
            for route in routes {
                family.counter_if_any(&[("route", &route.id)], figure(route));
            }
        });
    }
}
