//! The figures, as tables and plots for `docs/resilience.md`.

use std::fmt::Write as _;
use std::path::Path;

use crate::scenarios::Row;
use crate::world::Report;

/// Writes the page if `UPDATE_GENERATED` asks for it.
pub(crate) fn write(rows: &[Row]) {
    if std::env::var_os("UPDATE_GENERATED").is_none() {
        return;
    }
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    std::fs::create_dir_all(docs.join("figures")).unwrap();
    let mut page = HEAD.to_owned();
    for row in rows {
        let name = row.scenario.name.replace(' ', "-");
        std::fs::write(docs.join(format!("figures/{name}.svg")), plot(row)).unwrap();
        page += &section(row, &name);
    }
    std::fs::write(docs.join("resilience.md"), page).unwrap();
}

const HEAD: &str = "\
# Resilience, simulated

Twelve endpoints that answer in 10 ms on average, exponentially distributed, and slower beyond 16 \
requests at a time; requests at random moments; time is virtual and the seed is fixed. *Oracle* \
takes turns among the endpoints that it knows to be good; *plain* is round robin without checks, \
outlier detection and retries; the others have outlier detection, slow start, health checks every \
2 s (none in *errors*) and two further tries, 0.5 s each, at once and without a budget. *Recovered* is the time from the onset to \
the end of the last second in which more than 1 % of the requests failed.

Made by `UPDATE_GENERATED=1 cargo test -p tidegate-tests --test simulation`, which also holds \
every figure to a bound, and load to the weights within 2 %.
";

fn section(row: &Row, name: &str) -> String {
    let scenario = row.scenario;
    let mut text = format!(
        "\n## {}\n\n{}.\n\n| chosen by | failed | p50 | p99 | p99.9 | recovered |\n\
         |---|---|---|---|---|---|\n",
        capitalised(scenario.name),
        capitalised(scenario.summary)
    );
    for (name, report) in reports(row) {
        let recovered = match scenario.onset > 0.0 && name != "oracle" {
            true => format!("{:.0} s", report.recovery(scenario.onset)),
            false => "-".to_owned(),
        };
        let (p50, p99, p999) = (report.latency(0.5), report.latency(0.99), report.latency(0.999));
        let failed = report.failed_share() * 100.0;
        let _written = writeln!(
            text,
            "| {name} | {failed:.4} % | {p50:.0} ms | {p99:.0} ms | {p999:.0} ms | {recovered} |"
        );
    }
    let _written = writeln!(text, "\n![failed requests by second](figures/{name}.svg)");
    text
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

fn reports(row: &Row) -> impl Iterator<Item = (&str, &Report)> {
    let others = [("oracle", &row.oracle), ("plain", &row.plain)];
    others.into_iter().chain(row.full.iter().map(|(name, report)| (*name, report)))
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 160.0;
const LEFT: f64 = 48.0;

/// The share of failed requests by second, plain and with everything.
fn plot(row: &Row) -> String {
    let full = row.full.iter().find(|(name, _)| *name == "peak_ewma").map(|(_, report)| report);
    let series = [("plain", "#c0392b", Some(&row.plain)), ("peak_ewma", "#2471a3", full)];
    let end = row.plain.seconds.len() as f64;
    let width = row.plain.seconds.len().div_ceil(400);
    let most = steps(&row.plain, width).into_iter().fold(0.01, f64::max);
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{}" height="{}" font-family="sans-serif" font-size="11">
<rect width="100%" height="100%" fill="white"/>
<text x="4" y="16">{:.0} %</text><text x="4" y="{}">0 %</text>
<text x="{LEFT}" y="{}">0 s</text><text x="{}" y="{}" text-anchor="end">{end:.0} s</text>
"#,
        LEFT + WIDTH + 8.0,
        HEIGHT + 28.0,
        most * 100.0,
        HEIGHT + 8.0,
        HEIGHT + 22.0,
        LEFT + WIDTH,
        HEIGHT + 22.0,
    );
    for (nth, (name, colour, report)) in (0_u8..).zip(series) {
        let Some(report) = report else { continue };
        let points: Vec<String> = steps(report, width)
            .into_iter()
            .enumerate()
            .map(|(step, share)| {
                let x = LEFT + (step * width) as f64 / end * WIDTH;
                let y = 8.0 + HEIGHT * (1.0 - share / most);
                format!("{x:.1},{y:.1}")
            })
            .collect();
        let y = 20.0 + 14.0 * f64::from(nth);
        let _written = writeln!(
            svg,
            r#"<polyline fill="none" stroke="{colour}" points="{}"/><text x="{}" y="{y}" fill="{colour}">{name}</text>"#,
            points.join(" "),
            LEFT + 8.0,
        );
    }
    svg + "</svg>\n"
}

/// The share of failed requests in steps of so many seconds.
fn steps(report: &Report, width: usize) -> Vec<f64> {
    let share = |seconds: &[(u32, u32)]| {
        let asked: u32 = seconds.iter().map(|(asked, _)| asked).sum();
        let failed: u32 = seconds.iter().map(|(_, failed)| failed).sum();
        f64::from(failed) / f64::from(asked.max(1))
    };
    report.seconds.chunks(width.max(1)).map(share).collect()
}
