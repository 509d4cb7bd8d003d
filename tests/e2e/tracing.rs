//! Traces: taken up, made, passed on, and told to a collector.

use std::process::Command;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use tidegate_testkit::client::get;
use tidegate_testkit::programs::output_of;
use tidegate_testkit::{Ask, Gateway, Origin, Received, Reply, needs, wait};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A gateway that traces, with these fields, and sends everything to one origin.
fn tracing(origin: &Origin, tracing: &str, rest: &str) -> Gateway {
    let config = format!(
        "tracing: {{ {tracing} }}
{rest}
routes: [{{ id: all, path: /, to: api }}]
upstreams: {{ api: {{ endpoints: [<origin>] }} }}
"
    );
    Gateway::start(&config, &[("origin", &origin.address())])
}

fn to(collector: &Origin) -> String {
    format!("sample: 100%, otlp: {{ url: \"http://{}/v1/traces\" }}", collector.address())
}

/// Version, trace, span and flags of a `traceparent`.
#[track_caller]
fn traceparent(received: &Received) -> [String; 4] {
    let value = received.header("traceparent").expect("a traceparent");
    let parts: Vec<_> = value.split('-').map(str::to_owned).collect();
    parts.try_into().expect("four parts")
}

/// All spans that a collector has, once there are as many.
#[track_caller]
fn spans(collector: &Origin, count: usize) -> Vec<Span> {
    let all = || -> Vec<Span> {
        let requests = collector.received().into_iter().map(|received| {
            assert_eq!(received.header("content-type"), Some("application/x-protobuf"));
            ExportTraceServiceRequest::decode(&*received.body).expect("a request of OTLP")
        });
        let resources = requests.flat_map(|request| request.resource_spans);
        resources.flat_map(|one| one.scope_spans).flat_map(|scope| scope.spans).collect()
    };
    wait::until("the spans came", || all().len() >= count);
    all()
}

fn said(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        Value::BoolValue(truth) => Some(truth.to_string()),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_trusted_trace_goes_on_under_our_own_span() {
    let origin = Origin::start(Reply::ok("hello"));
    let gateway = tracing(&origin, "sample: 0%, trust: [127.0.0.0/8]", "");
    let ask = || Ask::new("GET", "/a").field("traceparent", PARENT).field("tracestate", "a=1,b=2");
    assert_eq!(ask().send(gateway.address()).status, 200);
    let received = origin.received();
    let [version, trace, span, flags] = traceparent(&received[0]);
    assert_eq!((version.as_str(), trace.as_str(), flags.as_str()), ("00", TRACE, "01"));
    assert_ne!(span, "b7ad6b7169203331");
    assert_eq!(received[0].header("tracestate"), Some("a=1,b=2"));
    let line = gateway.logged(|line| line["path"] == "/a");
    assert_eq!(line["trace_id"], TRACE);
    assert_eq!(line["span_id"].as_str().map(str::len), Some(16));
    // The sender's flag decides, and a list that is none does not go on.
    let bad = ask().field("tracestate", "NOT A LIST");
    assert_eq!(bad.send(gateway.address()).status, 200);
    assert_eq!(origin.received()[1].header("tracestate"), None);
    assert_eq!(traceparent(&origin.received()[1])[1], TRACE);
}

#[test]
fn a_stranger_begins_no_trace_of_ours() {
    let origin = Origin::start(Reply::ok("hello"));
    let gateway = tracing(&origin, "sample: 0%", "");
    for (number, value) in [PARENT, "rubbish", ""].into_iter().enumerate() {
        let ask = Ask::new("GET", "/").field("traceparent", value).field("tracestate", "a=1");
        assert_eq!(ask.send(gateway.address()).status, 200, "{value}");
        let received = &origin.received()[number];
        let [_, trace, _, flags] = traceparent(received);
        assert_ne!(trace, TRACE);
        assert_eq!((flags.as_str(), received.header("tracestate")), ("02", None));
    }
}

#[test]
fn without_tracing_the_fields_pass_as_they_are() {
    let origin = Origin::start(Reply::ok("hello"));
    let gateway = crate::in_front_of(origin.address());
    let ask = Ask::new("GET", "/x").field("traceparent", PARENT).field("tracestate", "A B");
    assert_eq!(ask.send(gateway.address()).status, 200);
    assert_eq!(origin.received()[0].header("traceparent"), Some(PARENT));
    assert_eq!(origin.received()[0].header("tracestate"), Some("A B"));
    let line = gateway.logged(|line| line["path"] == "/x");
    assert_eq!((line["trace_id"].as_str(), line["span_id"].as_str()), (Some(TRACE), None));
}

#[test]
fn a_collector_gets_the_stages_and_the_tries() {
    let collector = Origin::start(Reply::ok(""));
    let origin = Origin::script(|request| match request.number {
        0 => Reply::Reset,
        _ => Reply::ok("hello"),
    });
    let rest = "defaults: { waf: { mode: block }, rate_limit: { key: client_ip, rate: 100/s }, \
                retries: { attempts: 2 } }";
    let gateway = tracing(&origin, &to(&collector), rest);
    let ask = Ask::new("PUT", "/pay?token=x").field("traceparent", PARENT).body("a=b");
    assert_eq!(ask.send(gateway.address()).status, 200);
    let spans = spans(&collector, 8);
    let server = spans.iter().find(|span| span.kind() == SpanKind::Server).expect("a server span");
    let line = gateway.logged(|line| line["path"] == "/pay");
    assert_eq!(line["trace_id"], hex(&server.trace_id));
    assert_eq!(line["span_id"], hex(&server.span_id));
    assert_eq!(said(server, "tidegate.request_id").as_deref(), line["request_id"].as_str());
    assert_eq!(server.name, "PUT all");
    assert_eq!(said(server, "http.response.status_code").as_deref(), Some("200"));
    assert_eq!(hex(&server.links[0].trace_id), TRACE, "a stranger's trace is a link");
    assert!(spans.iter().all(|span| span.trace_id == server.trace_id));
    let children = || spans.iter().filter(|span| span.parent_span_id == server.span_id);
    assert_eq!(children().count() + 1, spans.len());
    for child in children() {
        assert!(child.start_time_unix_nano >= server.start_time_unix_nano, "{child:?}");
        assert!(child.end_time_unix_nano <= server.end_time_unix_nano + 1_000_000, "{child:?}");
    }
    for stage in [
        "find route",
        "rate limits",
        "waf head",
        "auth",
        "read body",
        "waf body",
        "choose endpoint",
        "response",
    ] {
        assert!(children().any(|span| span.name == stage), "no {stage} in {spans:#?}");
    }
    let tries: Vec<_> = children().filter(|span| span.kind() == SpanKind::Client).collect();
    assert_tries(&origin, &tries);
}

/// A try that was reset and the one after it.
#[track_caller]
fn assert_tries(origin: &Origin, tries: &[&Span]) {
    let seen: Vec<_> =
        origin.received().iter().map(|received| traceparent(received)[2].clone()).collect();
    let told: Vec<_> = tries.iter().map(|span| hex(&span.span_id)).collect();
    assert_eq!(told, seen, "each try's own span is what its endpoint is told");
    assert_eq!(said(tries[0], "error.type").as_deref(), Some("reset"));
    assert_eq!(said(tries[1], "http.request.resend_count").as_deref(), Some("1"));
    let endpoint = origin.address().port().to_string();
    assert_eq!(said(tries[1], "network.peer.port"), Some(endpoint));
    assert!(tries.iter().all(|span| span.events[0].name == "connected"));
}

#[test]
fn a_hedge_is_a_try_of_its_own() {
    let collector = Origin::start(Reply::ok(""));
    let slow = Reply::Delayed(Duration::from_secs(3), Box::new(Reply::ok("late")));
    let (late, quick) = (Origin::start(slow), Origin::start(Reply::ok("quick")));
    let config = format!(
        "tracing: {{ {} }}
defaults: {{ hedge: {{ max_delay: 50ms }} }}
routes: [{{ id: all, path: /, to: api }}]
upstreams: {{ api: {{ endpoints: [<late>, <quick>] }} }}
",
        to(&collector)
    );
    let gateway =
        Gateway::start(&config, &[("late", &late.address()), ("quick", &quick.address())]);
    wait::until("a hedge won", || {
        assert_eq!(get(gateway.address(), "/").text(), "quick");
        !late.received().is_empty()
    });
    let line = gateway.logged(|line| line["hedge"] == "won");
    let mine = |span: &Span| hex(&span.trace_id) == line["trace_id"].as_str().unwrap_or_default();
    wait::until("its spans came", || {
        let tries = spans(&collector, 1);
        tries.iter().filter(|span| mine(span) && span.kind() == SpanKind::Client).count() == 2
    });
    let spans = spans(&collector, 1);
    let try_on = |origin: &Origin| {
        let port = Some(origin.address().port().to_string());
        let found = spans.iter().find(|span| mine(span) && said(span, "server.port") == port);
        found.expect("a try").clone()
    };
    let (first, second) = (try_on(&late), try_on(&quick));
    assert_eq!(said(&first, "tidegate.canceled").as_deref(), Some("true"));
    assert_eq!(said(&second, "tidegate.hedge").as_deref(), Some("true"));
    assert_eq!(said(&second, "http.response.status_code").as_deref(), Some("200"));
    let parents = |origin: &Origin| -> Vec<_> {
        origin.received().iter().map(|received| traceparent(received)[2].clone()).collect()
    };
    assert!(parents(&late).contains(&hex(&first.span_id)));
    assert!(parents(&quick).contains(&hex(&second.span_id)));
}

#[test]
fn a_refusal_is_a_span_too() {
    let collector = Origin::start(Reply::ok(""));
    let origin = Origin::start(Reply::ok("hello"));
    let gateway = tracing(&origin, &to(&collector), "defaults: { waf: { mode: block } }");
    assert_eq!(get(gateway.address(), "/?q=<script>alert(1)</script>").status, 403);
    let spans = spans(&collector, 5);
    let server = spans.iter().find(|span| span.kind() == SpanKind::Server).expect("a server span");
    assert_eq!(said(server, "tidegate.reason").as_deref(), Some("waf_blocked"));
    assert!(server.status.is_none(), "a client's fault is no error of the server's");
    assert!(!spans.iter().any(|span| span.kind() == SpanKind::Client));
}

#[test]
fn a_dead_collector_costs_spans_and_nothing_else() {
    let origin = Origin::start(Reply::ok("hello"));
    let nobody = tidegate_testkit::origin::closed_port();
    let otlp = format!(
        "sample: 100%, otlp: {{ url: \"http://{nobody}/v1/traces\", queue: 64KiB, max_pause: 1s }}"
    );
    let gateway = tracing(&origin, &otlp, "");
    for _request in 0..100 {
        assert_eq!(get(gateway.address(), "/").status, 200);
    }
    let metric = |name, labels: &[(&str, &str)]| gateway.metric(name, labels).unwrap_or(0.0);
    let full = [("reason", "queue_full")];
    wait::until("it is counted", || metric("tidegate_trace_spans_dropped_total", &full) > 0.0);
    wait::until("it is said", || metric("tidegate_trace_failing", &[]) > 0.0);
    assert!(metric("tidegate_trace_queue_bytes", &[]) <= 65_536.0);
    assert!(gateway.stderr().contains("the collector does not take spans"));
}

/// Prometheus' own parser is asked by the test of a real scrape; here it is what promtool says.
#[test]
fn a_scraper_that_asks_gets_exemplars() {
    needs!("promtool");
    let collector = Origin::start(Reply::ok(""));
    let origin = Origin::start(Reply::ok("hello"));
    let gateway = tracing(&origin, &to(&collector), "");
    assert_eq!(get(gateway.address(), "/").status, 200);
    let line = gateway.logged(|line| line["path"] == "/");
    let scrape =
        |accept: &str| Ask::new("GET", "/metrics").field("accept", accept).send(gateway.admin());
    let exemplar = format!("# {{trace_id=\"{}\"}}", line["trace_id"].as_str().unwrap_or_default());
    let open = scrape("application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    assert!(open.header("content-type").is_some_and(|kind| kind.contains("openmetrics")));
    assert!(open.text().contains(&exemplar), "{}", open.text());
    assert!(open.text().ends_with("# EOF\n"));
    let text = scrape("*/*");
    assert!(text.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")));
    assert!(!text.text().contains("trace_id"));
    let said = output_of(Command::new("promtool").args(["check", "metrics"]), &text.text());
    assert!(said.status.success() && said.stderr.trim().is_empty(), "{}", said.stderr);
}
