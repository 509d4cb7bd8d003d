//! The settings of health checks and their compilation.

use http::uri::PathAndQuery;
use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::SettingsError;
use tidegate_core::units::{Percent, Span, StatusRange};

use super::{Expect, HealthCheck, Probe, Thresholds};

/// How the endpoints of an upstream are asked whether they can serve. A reload applies it and keeps
/// what is known about each endpoint.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct HealthSettings {
    /// `http`, `tcp` or `grpc`. Default: `http`.
    pub r#type: HealthKind,
    /// What an `http` check gets. Default: `/`.
    pub path: Option<String>,
    /// From one check to the next. Default: 5s.
    pub interval: Span,
    /// How long one check may take. Default: 2s.
    pub timeout: Span,
    /// Passed checks in a row that bring an endpoint back. Default: 2.
    #[schemars(range(min = 1))]
    pub rise: u32,
    /// Failed checks in a row that take an endpoint out; the very first check of an endpoint
    /// decides alone. Default: 3.
    #[schemars(range(min = 1))]
    pub fall: u32,
    /// The share of the interval by which each delay is moved at random, either way. Default: 10%.
    pub jitter: Percent,
    /// The port to ask; 0 is the endpoint's own. Default: 0.
    pub port: u16,
    /// The host that `http` and `grpc` checks name. Default: the endpoint's own.
    pub host: Option<String>,
    /// The service that a `grpc` check asks about. Default: empty, the whole server.
    pub service: Option<String>,
    /// Which answers to an `http` check pass.
    pub expect: Option<ExpectSettings>,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            r#type: HealthKind::Http,
            path: None,
            interval: Span::seconds(5),
            timeout: Span::seconds(2),
            rise: 2,
            fall: 3,
            jitter: Percent::new(10),
            port: 0,
            host: None,
            service: None,
            expect: None,
        }
    }
}

/// The kind of a health check.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum HealthKind {
    /// The standard gRPC health service must answer `SERVING`.
    Grpc,
    /// A GET must be answered as expected.
    #[default]
    Http,
    /// A connection must be accepted.
    Tcp,
}

/// Which answers to an HTTP check pass; both conditions must hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct ExpectSettings {
    /// Statuses that pass: numbers such as `200`, classes such as `2xx` and ranges such as
    /// `"200-399"`. Default: `["200-299"]`.
    pub status: Option<Vec<StatusRange>>,
    /// Text that the body must contain, within its first 64 KiB. Default: the body is not read.
    pub body: Option<String>,
}

impl HealthCheck {
    /// Compiles the settings.
    ///
    /// # Errors
    ///
    /// All settings that contradict each other or cannot be used.
    pub fn compile(settings: &HealthSettings) -> Result<Self, Vec<SettingsError>> {
        let mut errors = Vec::new();
        check_numbers(settings, &mut errors);
        check_kind(settings, &mut errors);
        let probe = match settings.r#type {
            HealthKind::Grpc => Some(Probe::Grpc {
                service: settings.service.clone().unwrap_or_default(),
                host: settings.host.clone(),
            }),
            HealthKind::Http => http_probe(settings, &mut errors),
            HealthKind::Tcp => Some(Probe::Tcp),
        };
        match probe {
            Some(probe) if errors.is_empty() => Ok(Self {
                probe,
                interval: settings.interval.0,
                timeout: settings.timeout.0,
                jitter: settings.jitter.fraction(),
                port: Some(settings.port).filter(|port| *port != 0),
                thresholds: Thresholds { rise: settings.rise, fall: settings.fall },
            }),
            _ => Err(errors),
        }
    }
}

fn check_numbers(settings: &HealthSettings, errors: &mut Vec<SettingsError>) {
    for (name, span) in [("interval", settings.interval), ("timeout", settings.timeout)] {
        if span.0.is_zero() {
            errors.push(SettingsError::new([name], format!("{name} must be longer than 0")));
        }
    }
    for (name, count) in [("rise", settings.rise), ("fall", settings.fall)] {
        if count == 0 {
            errors.push(SettingsError::new([name], format!("{name} must be at least 1")));
        }
    }
}

/// Refuses what the kind of check would ignore.
fn check_kind(settings: &HealthSettings, errors: &mut Vec<SettingsError>) {
    let kind = settings.r#type;
    let unused = [
        ("path", settings.path.is_some() && kind != HealthKind::Http, "http"),
        ("expect", settings.expect.is_some() && kind != HealthKind::Http, "http"),
        ("service", settings.service.is_some() && kind != HealthKind::Grpc, "grpc"),
        ("host", settings.host.is_some() && kind == HealthKind::Tcp, "http or grpc"),
    ];
    for (name, _, kinds) in unused.into_iter().filter(|(_, unused, _)| *unused) {
        errors.push(SettingsError::new([name], format!("{name} is for checks of type {kinds}")));
    }
    let bad_host = |host: &String| host.parse::<http::uri::Authority>().is_err();
    if settings.host.as_ref().is_some_and(bad_host) {
        errors.push(SettingsError::new(["host"], "this is not a host"));
    }
}

fn http_probe(settings: &HealthSettings, errors: &mut Vec<SettingsError>) -> Option<Probe> {
    let text = settings.path.as_deref().unwrap_or("/");
    let path = text.parse::<PathAndQuery>().ok().filter(|_| text.starts_with('/'));
    if path.is_none() {
        errors.push(
            SettingsError::new(["path"], format!("`{text}` is not a path"))
                .with_hint("start it with a slash and percent-encode what a URI cannot carry"),
        );
    }
    let expect = settings.expect.clone().unwrap_or_default();
    let statuses = expect.status.unwrap_or_else(|| vec![StatusRange::SUCCESS]);
    if statuses.is_empty() {
        errors.push(SettingsError::new(["expect", "status"], "no status would ever pass"));
    }
    if expect.body.as_ref().is_some_and(String::is_empty) {
        errors.push(SettingsError::new(["expect", "body"], "the text is empty"));
    }
    let expect = Expect { statuses, body: expect.body };
    Some(Probe::Http { path: path?, host: settings.host.clone(), expect })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Result<(), &str>) {
        let found = serde_json::from_str::<HealthSettings>(json)
            .map_err(|error| error.to_string())
            .and_then(|settings| {
                HealthCheck::compile(&settings).map_err(|errors| {
                    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
                })
            });
        match expected {
            Ok(()) => assert!(found.is_ok(), "{json}: {found:?}"),
            Err(part) => assert!(found.as_ref().is_err_and(|e| e.contains(part)), "{found:?}"),
        }
    }

    #[test]
    fn settings_say_what_is_wrong() {
        check("{}", Ok(()));
        check(r#"{"path":"/healthz?full=1","expect":{"status":[200,"300-399"]}}"#, Ok(()));
        check(r#"{"type":"tcp","port":9000}"#, Ok(()));
        check(r#"{"type":"grpc","service":"pay.v1.Pay","host":"pay"}"#, Ok(()));
        check(r#"{"path":"healthz"}"#, Err("path: `healthz` is not a path"));
        check(r#"{"type":"tcp","path":"/"}"#, Err("path: path is for checks of type http"));
        check(r#"{"service":"x"}"#, Err("service is for checks of type grpc"));
        check(r#"{"interval":"0s","fall":0}"#, Err("interval must be longer than 0; fall"));
        check(r#"{"expect":{"status":[]}}"#, Err("expect.status: no status would ever pass"));
        check(r#"{"expect":{"status":[99]}}"#, Err("expected a status from 100 to 599"));
        check(r#"{"expect":{"status":["399-200"]}}"#, Err("expected a status"));
        check(r#"{"expect":{"body":""}}"#, Err("expect.body: the text is empty"));
        check(r#"{"host":"a b"}"#, Err("host: this is not a host"));
        check(r#"{"pth":"/"}"#, Err("unknown field `pth`"));
    }

    #[test]
    fn delays_stay_within_the_jitter() {
        let check = HealthCheck::compile(&HealthSettings::default()).unwrap();
        assert_eq!(check.delay(0), Duration::from_millis(4_500));
        assert!(check.delay(u64::MAX) <= Duration::from_millis(5_500));
        assert!(check.first_delay(u64::MAX) <= Duration::from_millis(500));
        assert_eq!(check.first_delay(0), Duration::ZERO);
    }

    #[test]
    fn a_check_can_ask_another_port() {
        let endpoint: SocketAddr = "10.0.0.1:8080".parse().unwrap();
        let mut settings = HealthSettings::default();
        assert_eq!(HealthCheck::compile(&settings).unwrap().target(endpoint), endpoint);
        settings.port = 9000;
        let check = HealthCheck::compile(&settings).unwrap();
        assert_eq!(check.target(endpoint), "10.0.0.1:9000".parse().unwrap());
    }

    #[test]
    fn an_answer_passes_by_status_and_body() {
        let json = r#"{"expect":{"status":[204,"300-399"],"body":"ok"}}"#;
        let check = HealthCheck::compile(&serde_json::from_str(json).unwrap()).unwrap();
        let Probe::Http { expect, .. } = check.probe else { panic!("an http probe") };
        assert!(expect.status(204) && expect.status(399) && !expect.status(200));
        assert!(expect.needs_body() && expect.body(b"all ok here") && !expect.body(b"o"));
    }
}
