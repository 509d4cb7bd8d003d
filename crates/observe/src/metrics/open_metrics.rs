//! The OpenMetrics text format, 1.0, which has exemplars; and whether a scraper asks for it.

use std::fmt::Write as _;
use std::time::UNIX_EPOCH;

use prometheus::proto::{Histogram, Metric, MetricType};

use super::exemplars::Exemplar;
use super::family::Shown;

/// How a scraper wants to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exposition {
    /// OpenMetrics 1.0, with exemplars.
    OpenMetrics,
    /// The Prometheus text format 0.0.4.
    #[default]
    Text,
}

impl Exposition {
    /// What an `Accept` field asks for (RFC 9110 §12.5.1): OpenMetrics, if it names that in a
    /// version that we write and likes nothing better.
    #[must_use]
    pub fn wanted(accept: &str) -> Self {
        let (mut open, mut text) = (0, 1);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let mut quality = 1_000;
            let mut version = "1.0.0";
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                match name.trim() {
                    "q" => quality = thousandths(value.trim()),
                    "version" => version = value.trim(),
                    _ => {}
                }
            }
            match media.as_str() {
                "application/openmetrics-text" if matches!(version, "1.0.0" | "0.0.1") => {
                    open = open.max(quality);
                }
                "text/plain" => text = text.max(quality),
                _ => {}
            }
        }
        if open >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// The media type of what is written.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => prometheus::TEXT_FORMAT,
        }
    }
}

fn thousandths(quality: &str) -> u32 {
    let quality: f64 = quality.parse().unwrap_or(0.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1000")]
    let thousandths = (quality.clamp(0.0, 1.0) * 1_000.0) as u32;
    thousandths
}

/// Writes families, sorted by name, as one exposition.
pub(super) fn write(families: &[Shown]) -> String {
    let mut out = String::new();
    for shown in families {
        write_family(&mut out, shown);
    }
    out.push_str("# EOF\n");
    out
}

fn write_family(out: &mut String, shown: &Shown) {
    let family = &shown.family;
    let kind = family.get_field_type();
    let (name, of_samples) = match kind {
        // A family of counters is named without the suffix of its samples.
        MetricType::COUNTER => {
            (family.name().strip_suffix("_total").unwrap_or(family.name()), "_total")
        }
        _ => (family.name(), ""),
    };
    let word = match kind {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        MetricType::SUMMARY | MetricType::UNTYPED => "unknown",
    };
    line(out, format_args!("# HELP {name} {}\n", escaped(family.help())));
    line(out, format_args!("# TYPE {name} {word}\n"));
    for (index, metric) in family.get_metric().iter().enumerate() {
        if kind == MetricType::HISTOGRAM {
            let exemplars = shown.exemplars.iter().find(|(of, _)| *of == index);
            let exemplars = exemplars.map(|(_, list)| list.as_slice()).unwrap_or_default();
            write_histogram(out, name, metric, exemplars);
            continue;
        }
        let value = match kind {
            MetricType::COUNTER => metric.get_counter().get_value(),
            _ => metric.get_gauge().get_value(),
        };
        let labels = labels(metric, None);
        line(out, format_args!("{name}{of_samples}{labels} {}\n", number(value)));
    }
}

fn write_histogram(out: &mut String, name: &str, metric: &Metric, exemplars: &[Option<Exemplar>]) {
    let histogram: &Histogram = metric.get_histogram();
    let count = histogram.get_sample_count();
    let bounds = histogram.get_bucket().iter();
    let bounds = bounds.map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
    let infinite = std::iter::once((f64::INFINITY, count));
    let finite = bounds.filter(|(bound, _)| bound.is_finite());
    for (index, (bound, below)) in finite.chain(infinite).enumerate() {
        let labels = labels(metric, Some(bound));
        line(out, format_args!("{name}_bucket{labels} {below}"));
        if let Some(exemplar) = exemplars.get(index).and_then(Option::as_ref) {
            let at = exemplar.at.duration_since(UNIX_EPOCH).unwrap_or_default();
            let (id, value, at) = (exemplar.trace_id(), exemplar.value, at.as_secs_f64());
            line(out, format_args!(" # {{trace_id=\"{id}\"}} {value} {at:.3}"));
        }
        out.push('\n');
    }
    let (labels, sum) = (labels(metric, None), number(histogram.get_sample_sum()));
    line(out, format_args!("{name}_sum{labels} {sum}\n{name}_count{labels} {count}\n"));
}

fn labels(metric: &Metric, bound: Option<f64>) -> String {
    let mut out = String::new();
    let mut pair = |name: &str, value: &str| {
        out.push(if out.is_empty() { '{' } else { ',' });
        line(&mut out, format_args!("{name}=\"{}\"", escaped(value)));
    };
    for label in metric.get_label() {
        pair(label.name(), label.value());
    }
    if let Some(bound) = bound {
        pair("le", &canonical(bound));
    }
    if !out.is_empty() {
        out.push('}');
    }
    out
}

/// A bound as the standard has it: a whole one with its `.0`.
fn canonical(bound: f64) -> String {
    match number(bound) {
        whole if bound.is_finite() && !whole.contains(['.', 'e']) => format!("{whole}.0"),
        other => other,
    }
}

fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    value.to_string()
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

fn line(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _infallible = out.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(accept: &str, expected: Exposition) {
        assert_eq!(Exposition::wanted(accept), expected, "{accept}");
    }

    #[test]
    fn the_scraper_decides() {
        use Exposition::{OpenMetrics, Text};
        // What Prometheus 2.42 sends.
        check(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;\
             q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            OpenMetrics,
        );
        check("application/openmetrics-text", OpenMetrics);
        check("Application/OpenMetrics-Text; version=0.0.1; charset=utf-8", OpenMetrics);
        check("", Text);
        check("*/*", Text);
        check("text/plain", Text);
        check("text/html,application/xhtml+xml,*/*;q=0.8", Text);
        check("application/openmetrics-text;q=0", Text);
        check("application/openmetrics-text;version=2.0.0", Text);
        check("application/openmetrics-text;q=0.3,text/plain;q=0.7", Text);
        check("application/openmetrics-text;q=x", Text);
    }

    #[test]
    fn bounds_are_canonical() {
        let shown: Vec<_> = [0.0005, 0.1, 1.0, 10.0, f64::INFINITY].map(canonical).into();
        assert_eq!(shown, ["0.0005", "0.1", "1.0", "10.0", "+Inf"]);
    }
}
