//! The suite against the engine alone: no socket and no gateway in between, so that what a rule
//! finds is seen in a second, and what differs is the engine's own. Requests are taken as they
//! are, also those that the gateway refuses.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri, Version, request, response};
use serde_json::json;
use tidegate_core::reading::RequestLine;
use tidegate_core::units::ByteSize;
use tidegate_core::{Clock, Request};
use tidegate_testkit::Reply;
use tidegate_waf::{
    BodySettings, CrsSource, Mode, Policy, RequestFacts, RuleSet, SecLangSources, Verdict,
    WafSettings,
};

use crate::rig;
use crate::run::Outcome;

/// The engine with the rules of CRS, set up as the rig does.
pub(crate) struct Engine {
    policy: Policy,
    _folder: tempfile::TempDir,
}

impl Engine {
    pub(crate) fn new(crs: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let setup = folder.path().join("rig.conf");
        std::fs::write(&setup, rig::SETUP).expect("writes");
        let sources = SecLangSources {
            crs: Some(CrsSource { path: crs.to_owned(), setup: None }),
            before: vec![setup],
            ..SecLangSources::default()
        };
        let rules = RuleSet::with_seclang(&[], &sources);
        let rules = rules.unwrap_or_else(|errors| panic!("{errors}"));
        let body = BodySettings { limit: Some(ByteSize::mib(1)), ..BodySettings::default() };
        let settings =
            WafSettings { mode: Some(Mode::Detect), body: Some(body), ..WafSettings::default() };
        let policy = Policy::compile(&settings, Arc::clone(&rules)).expect("a policy");
        Self { policy, _folder: folder }
    }

    /// What comes of a request, told as the access log tells it.
    pub(crate) fn outcome(&self, bytes: &[u8]) -> Outcome {
        let (head, body) = parse(bytes);
        let host = head.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
        let request = Request {
            head: &head,
            host,
            path: head.uri.path(),
            client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
            secure: false,
            received_at: Clock::System.now(),
        };
        let mut inspection = self.policy.begin();
        let passes = |verdict| assert!(matches!(verdict, Verdict::Pass), "detect mode refuses");
        let facts = RequestFacts { line: RequestLine::of(bytes), ..RequestFacts::default() };
        passes(inspection.head_with(&request, &facts));
        if let Some(limit) = self.policy.wants_body(&request) {
            let content_type = head.headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
            let held = &body[..body.len().min(limit)];
            passes(inspection.body(content_type, held, held.len() == body.len()));
        }
        let (response, reply) = answer(&head, &body);
        passes(inspection.response_head(&response));
        if let Some(limit) = inspection.wants_response_body(&response) {
            let held = &reply[..reply.len().min(limit)];
            passes(inspection.response_body(held, held.len() == reply.len()));
        }
        inspection.finish();
        let found = inspection.summary().unwrap_or_default().matches;
        let matches: Vec<_> = found
            .iter()
            .map(|it| json!({ "rule": it.rule, "message": it.message, "logdata": it.logdata }))
            .collect();
        let lines = vec![json!({ "waf": { "matches": matches } })];
        Outcome { status: Some(response.status.as_u16()), answer: reply, lines }
    }
}

fn answer(head: &request::Parts, body: &[u8]) -> (response::Parts, Vec<u8>) {
    let reply = rig::reply(head.method.as_str(), head.uri.path(), body);
    let Reply::Full { status, fields, body } = reply else { panic!("the rig replies in full") };
    let mut response = http::Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(name, value);
    }
    (response.body(()).expect("a response").into_parts().0, body)
}

/// A request's head and its body, as far as the types of the crate `http` can hold them.
fn parse(bytes: &[u8]) -> (request::Parts, Vec<u8>) {
    let end = |separator: &[u8]| bytes.windows(separator.len()).position(|it| it == separator);
    let at = end(b"\r\n\r\n").unwrap_or(bytes.len());
    let (head, body) = (&bytes[..at], bytes.get(at + 4..).unwrap_or_default());
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end());
    let line = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let mut words = line.splitn(2, ' ');
    let method = words.next().unwrap_or_default();
    let rest = words.next().unwrap_or("/");
    let (target, version) = rest.rsplit_once(' ').unwrap_or((rest, "HTTP/0.9"));
    let mut fields = HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(line[..colon].trim_ascii());
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            fields.append(name, value);
        }
    }
    let mut request = http::Request::new(());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap_or(Method::GET);
    *request.uri_mut() = uri(target);
    *request.version_mut() = match version {
        "HTTP/0.9" => Version::HTTP_09,
        "HTTP/1.0" => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    let chunked = fields.get("transfer-encoding").is_some_and(|it| it == "chunked");
    *request.headers_mut() = fields;
    let body = if chunked { unchunk(body) } else { body.to_vec() };
    (request.into_parts().0, body)
}

fn uri(target: &str) -> Uri {
    let mut text = String::new();
    let mut query = false;
    for byte in target.bytes() {
        query |= byte == b'?';
        let plain = byte.is_ascii_graphic() && !(query && matches!(byte, b'"' | b'<' | b'>'));
        if plain && byte != b'#' {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text.parse().unwrap_or_default()
}

fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let Some(end) = body.windows(2).position(|it| it == b"\r\n") else { return out };
        let size = String::from_utf8_lossy(&body[..end]).into_owned();
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16);
        let Some(data) = size.ok().and_then(|size| body.get(end + 2..end + 2 + size)) else {
            return out;
        };
        if data.is_empty() {
            return out;
        }
        out.extend_from_slice(data);
        body = body.get(end + 4 + data.len()..).unwrap_or_default();
    }
}
