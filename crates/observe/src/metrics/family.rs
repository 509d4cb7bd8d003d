//! Metric families built at scrape time, from atomics that their owners keep.
//!
//! The prometheus crate's own vectors are not used for labelled metrics: they hash label values
//! without a separator, so that (`api1`, `0.0.0.1`) and (`api`, `10.0.0.1`) would be one series.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::core::Metric as _;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Histogram, HistogramOpts};

use super::exemplars::{Exemplar, Exemplars};

/// The families of one scrape.
#[derive(Debug, Default)]
pub(super) struct Families {
    list: Vec<Shown>,
}

/// One family, ready to be written.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) family: MetricFamily,
    /// Of the histograms that have some: position in the family, and exemplars by bucket.
    pub(super) exemplars: Vec<(usize, Vec<Option<Exemplar>>)>,
}

/// Labels of one sample: names and values, in the order in which they are shown.
type Labels<'a> = &'a [(&'static str, &'a str)];

impl Families {
    /// Shows a family of counters, which `fill` adds; `name` ends in `_total`.
    pub(super) fn counters(&mut self, name: &str, help: &str, fill: impl FnOnce(&mut Family)) {
        self.add(name, help, MetricType::COUNTER, fill);
    }

    /// Shows a family of gauges, which `fill` adds.
    pub(super) fn gauges(&mut self, name: &str, help: &str, fill: impl FnOnce(&mut Family)) {
        self.add(name, help, MetricType::GAUGE, fill);
    }

    /// Shows a family of histograms, which `fill` adds.
    pub(super) fn histograms(&mut self, name: &str, help: &str, fill: impl FnOnce(&mut Family)) {
        self.add(name, help, MetricType::HISTOGRAM, fill);
    }

    /// Shows one gauge without labels.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.gauges(name, help, |family| family.gauge(&[], value));
    }

    /// Shows one counter without labels.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.counters(name, help, |family| family.counter(&[], value));
    }

    /// The families that have a sample, ordered by name.
    pub(super) fn into_sorted(mut self) -> Vec<Shown> {
        self.list.retain(|shown| !shown.family.get_metric().is_empty());
        self.list.sort_by(|one, other| one.family.name().cmp(other.family.name()));
        self.list
    }

    fn add(&mut self, name: &str, help: &str, kind: MetricType, fill: impl FnOnce(&mut Family)) {
        let mut family = Family::default();
        fill(&mut family);
        let Family(mut family, exemplars) = family;
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        self.list.push(Shown { family, exemplars });
    }
}

/// One family that takes samples.
#[derive(Debug, Default)]
pub(super) struct Family(MetricFamily, Vec<(usize, Vec<Option<Exemplar>>)>);

impl Family {
    /// Adds a counter's sample.
    pub(super) fn counter(&mut self, labels: Labels<'_>, value: u64) {
        self.counter_float(labels, as_float(value));
    }

    /// Adds a counter's sample that need not be whole.
    pub(super) fn counter_float(&mut self, labels: Labels<'_>, value: f64) {
        let mut counter = Counter::default();
        counter.set_value(value);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_counter(counter);
        self.push(metric);
    }

    /// Adds a counter's sample, unless it is zero: for the many that never happen.
    pub(super) fn counter_if_any(&mut self, labels: Labels<'_>, value: u64) {
        if value > 0 {
            self.counter(labels, value);
        }
    }

    /// Adds a gauge's sample.
    pub(super) fn gauge(&mut self, labels: Labels<'_>, value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_gauge(gauge);
        self.push(metric);
    }

    /// Adds a histogram's samples.
    pub(super) fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram) {
        let mut metric = histogram.metric();
        metric.set_label(pairs(labels));
        self.push(metric);
    }

    /// Adds a histogram's samples, with the traces that its buckets keep.
    pub(super) fn histogram_with(
        &mut self,
        labels: Labels<'_>,
        histogram: &Histogram,
        exemplars: &Exemplars,
    ) {
        let kept = exemplars.all();
        if !kept.is_empty() {
            self.1.push((self.0.get_metric().len(), kept));
        }
        self.histogram(labels, histogram);
    }

    /// Adds a sample that was counted elsewhere.
    pub(super) fn push(&mut self, metric: Metric) {
        self.0.mut_metric().push(metric);
    }
}

fn pairs(labels: Labels<'_>) -> Vec<LabelPair> {
    let pair = |(name, value): &(&'static str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    labels.iter().map(pair).collect()
}

/// Prometheus samples are floats: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "the exposition format has nothing better")]
pub(super) fn as_float(value: u64) -> f64 {
    value as f64
}

/// A histogram with these bucket bounds, in seconds, ascending.
pub(super) fn histogram(bounds: &[f64]) -> Histogram {
    let options = HistogramOpts::new("tidegate", "Replaced when it is shown.");
    #[expect(clippy::expect_used, reason = "name and bounds are constants, checked by a test")]
    Histogram::with_opts(options.buckets(bounds.to_vec())).expect("ascending bucket bounds")
}

/// A counter that never wraps in practice.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
