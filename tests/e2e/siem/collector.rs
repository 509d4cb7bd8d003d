//! A real OpenTelemetry collector, rotel, between the gateway and a receiver of ours: what it passes
//! on is what it understood of our traces and logs. It is stopped and started again under load.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use tidegate_testkit::nginx::free_port;
use tidegate_testkit::programs::{self, Running};
use tidegate_testkit::{Gateway, Origin, Reply, wait};

use super::http::{attribute, string};
use super::{Arrived, REQUESTS, assert_complete, count, gateway, origin, settle, under_load, venv};

struct Collector {
    program: PathBuf,
    folder: tempfile::TempDir,
    address: SocketAddr,
    /// What it sends on to.
    receiver: Origin,
    running: Option<Running>,
}

impl Collector {
    /// A running one; `None`, with a printed line, where it is not installed.
    fn start() -> Option<Self> {
        let packages = venv()?.join("lib").read_dir().expect("a folder").filter_map(Result::ok);
        let places = packages.map(|entry| entry.path().join("site-packages/rotel/rotel-agent"));
        let Some(program) = places.into_iter().find(|place| place.is_file()) else {
            assert!(std::env::var_os("CI").is_none(), "no collector");
            eprintln!("skipped: no collector: run scripts/setup --tests");
            return None;
        };
        let mut collector = Self {
            program,
            folder: tempfile::tempdir().expect("a folder"),
            address: SocketAddr::from(([127, 0, 0, 1], free_port())),
            receiver: Origin::start(Reply::ok("")),
            running: None,
        };
        collector.run();
        Some(collector)
    }

    fn run(&mut self) {
        let mut command = Command::new(&self.program);
        let file = |name: &str| self.folder.path().join(name);
        command
            .args(["start", "--otlp-http-endpoint", &self.address.to_string()])
            .args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{}", free_port())])
            .args(["--exporter", "otlp", "--otlp-exporter-protocol", "http"])
            .args(["--otlp-exporter-endpoint", &format!("http://{}", self.receiver.address())])
            .arg("--pid-file")
            .arg(file("pid"))
            .arg("--log-file")
            .arg(file("log"))
            .stderr(Stdio::null());
        self.running = Some(programs::start(&mut command).accepting(self.address));
    }

    /// Ends it, with what it has taken sent on.
    fn stop(&mut self) {
        self.running.take().into_iter().for_each(Running::terminate);
        fs::remove_file(self.folder.path().join("pid")).ok();
    }

    /// What it sent on so far, unpacked.
    fn passed_on<M: Message + Default>(&self, path: &str) -> Vec<M> {
        let requests = self.receiver.received().into_iter();
        let decode = |request: tidegate_testkit::Received| {
            assert_eq!(
                (&*request.target, request.header("content-encoding")),
                (path, Some("gzip"))
            );
            let mut body = Vec::new();
            GzDecoder::new(&*request.body).read_to_end(&mut body).expect("gzip");
            M::decode(&*body).expect("protobuf")
        };
        requests.map(decode).collect()
    }

    /// Traffic before, during and after its absence.
    fn goes_and_comes(&mut self, gateway: &Gateway) {
        under_load_of(gateway, |reach| {
            reach(300);
            self.stop();
            reach(600);
            self.run();
        });
    }
}

/// As [`under_load`], for a gateway that may have no sink: requests are counted by its access log.
fn under_load_of(gateway: &Gateway, trouble: impl FnOnce(&dyn Fn(usize))) {
    under_load(gateway, |_by_sink| {
        trouble(&|requests| {
            wait::until("requests run", || gateway.access_log().len() >= requests);
        });
    });
}

#[test]
fn a_real_collector_passes_every_log_record_on_although_it_went() {
    let Some(mut collector) = Collector::start() else { return };
    let upstream = origin();
    let kind = "otlp: { url: 'http://<collector>/v1/logs' }";
    let gateway = gateway(&upstream, kind).set("collector", collector.address).start();
    collector.goes_and_comes(&gateway);
    settle(&gateway, REQUESTS);
    let arrived = || -> Vec<Arrived> {
        let requests = collector.passed_on::<ExportLogsServiceRequest>("/v1/logs").into_iter();
        let resources = requests.flat_map(|request| request.resource_logs);
        let records = resources.flat_map(|resource| {
            let attributes = resource.resource.expect("a resource").attributes;
            assert_eq!(attribute(&attributes, "service.name"), "tidegate");
            resource.scope_logs.into_iter().flat_map(|scope| scope.log_records)
        });
        let arrived = records.map(|record| {
            let key = attribute(&record.attributes, "tidegate.key");
            (key, string(record.body.as_ref()))
        });
        arrived.collect()
    };
    let keys = || arrived().into_iter().map(|(key, _)| key).collect::<BTreeSet<_>>().len();
    wait::until("it has passed all on", || keys() as f64 >= count(&gateway, "sent_total"));
    assert_complete(&gateway, &arrived(), REQUESTS);
}

#[test]
fn a_real_collector_passes_every_span_on_although_it_went() {
    let Some(mut collector) = Collector::start() else { return };
    let upstream = origin();
    let config = "
tracing: { sample: 100%, otlp: { url: 'http://<collector>/v1/traces', max_pause: 1s } }
routes: [{ id: all, path: /, to: api }]
upstreams: { api: { endpoints: [<origin>] } }
";
    let gateway = Gateway::builder(config)
        .set("collector", collector.address)
        .set("origin", upstream.address())
        .start();
    collector.goes_and_comes(&gateway);
    wait::until("the requests are logged", || gateway.access_log().len() == REQUESTS);
    let arrived = || -> BTreeMap<String, Span> {
        let requests = collector.passed_on::<ExportTraceServiceRequest>("/v1/traces").into_iter();
        let resources = requests.flat_map(|request| request.resource_spans);
        let spans = resources.flat_map(|one| one.scope_spans).flat_map(|scope| scope.spans);
        spans.map(|span| (hex(&span.span_id), span)).collect()
    };
    let sum = |name: &str| gateway.metric(&format!("tidegate_trace_{name}"), &[]).unwrap_or(0.0);
    wait::until("all are sent", || sum("queue_bytes") == 0.0 && sum("failing") == 0.0);
    wait::until("it has passed all on", || arrived().len() as f64 >= sum("spans_sent_total"));
    let spans = arrived();
    assert_eq!((spans.len() as f64, sum("spans_dropped_total")), (sum("spans_sent_total"), 0.0));
    eprintln!("{REQUESTS} requests, {} spans", spans.len());
    for line in gateway.access_log() {
        let span = &spans[line["span_id"].as_str().expect("a span's id")];
        assert_eq!((span.kind(), hex(&span.trace_id)), (SpanKind::Server, text(&line["trace_id"])));
        assert_eq!(attribute(&span.attributes, "url.path"), text(&line["path"]));
        assert_eq!(attribute(&span.attributes, "tidegate.request_id"), text(&line["request_id"]));
    }
    let (mut servers, mut tries) = (0, 0);
    for span in spans.values() {
        match span.kind() {
            SpanKind::Server => servers += 1,
            kind => {
                let parent = &spans[&hex(&span.parent_span_id)];
                assert_eq!((parent.kind(), &parent.trace_id), (SpanKind::Server, &span.trace_id));
                tries += usize::from(kind == SpanKind::Client);
            }
        }
    }
    assert_eq!((servers, tries), (REQUESTS, REQUESTS));
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
