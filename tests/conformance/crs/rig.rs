//! What the suite runs against: the gateway in detect mode at paranoia level 4, the settings that
//! the suite's own rig adds to CRS, and an origin that reflects.

use std::path::Path;

use serde_json::Value;
use tidegate_testkit::{Gateway, Origin, Reply};

/// The limits that the suite's README asks for, and what `modsecurity.conf-recommended` says about
/// bodies.
pub(crate) const SETUP: &str = r#"
SecRequestBodyAccess On
SecResponseBodyAccess On
SecResponseBodyMimeType text/plain text/html text/xml application/json
SecRule REQUEST_HEADERS:Content-Type "^(?:application(?:/soap\+|/)|text/)xml" \
    "id:900001,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=XML"
SecRule REQUEST_HEADERS:Content-Type "^application/(?:[a-z0-9.-]+\+)?json" \
    "id:900002,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
SecAction "id:900005,phase:1,nolog,pass,\
    setvar:tx.blocking_paranoia_level=4,\
    setvar:tx.crs_validate_utf8_encoding=1,\
    setvar:tx.arg_name_length=100,\
    setvar:tx.arg_length=400,\
    setvar:tx.total_arg_length=64000,\
    setvar:tx.max_num_args=255,\
    setvar:tx.max_file_size=64100,\
    setvar:tx.combined_file_sizes=65535"
"#;

const CONFIG: &str = "\
defaults:
  waf:
    mode: detect
    crs: <crs>
    paranoia: 4
    seclang: { before: [<dir>/rig.conf] }
    body: { limit: 1MiB }
    response: { inspect: true, types: [text/plain, text/html, text/xml, application/json] }
";

const ROUTES: &str = "\
routes: [{ id: all, path: /, to: api }]
upstreams: { api: { endpoints: [<origin>] } }
";

/// The gateway with the rules of `crs`, or without any.
pub(crate) fn gateway(crs: Option<&Path>, origin: &Origin) -> Gateway {
    let config = if crs.is_some() { format!("{CONFIG}{ROUTES}") } else { ROUTES.to_owned() };
    let builder = Gateway::builder(&config).file("rig.conf", SETUP).set("origin", origin.address());
    match crs {
        Some(crs) => builder.set("crs", crs.display()).start(),
        None => builder.start(),
    }
}

/// An origin that answers 200 to everything, and to `POST /reflect` with the body and the fields
/// that the request's JSON names, as CRS's test backend does.
pub(crate) fn origin() -> Origin {
    Origin::script(|request| {
        let path = request.target.split('?').next().unwrap_or_default();
        reply(&request.method, path, &request.body)
    })
}

/// What the origin answers.
pub(crate) fn reply(method: &str, path: &str, body: &[u8]) -> Reply {
    if method != "POST" || path.trim_end_matches('/') != "/reflect" {
        return Reply::ok("");
    }
    match serde_json::from_slice(body) {
        Ok(wanted) => reflect(&wanted),
        Err(_not_json) => Reply::status(400, "Invalid JSON in request body")
            .with("Content-Type", "text/plain; charset=utf-8"),
    }
}

fn reflect(wanted: &Value) -> Reply {
    let body = wanted["body"].as_str().unwrap_or_default();
    let status = wanted["status"].as_u64().and_then(|it| u16::try_from(it).ok()).unwrap_or(200);
    let mut reply = Reply::status(status, body);
    let fields = wanted["headers"].as_object();
    for (name, value) in fields.into_iter().flatten() {
        reply = reply.with(name, value.as_str().unwrap_or_default());
    }
    let typed =
        fields.is_some_and(|it| it.keys().any(|it| it.eq_ignore_ascii_case("content-type")));
    if typed || body.is_empty() { reply } else { reply.with("Content-Type", sniff(body)) }
}

/// The type of a body that names none, as the backend's server guesses it.
fn sniff(body: &str) -> &'static str {
    const HTML: [&str; 15] = [
        "<!doctype html",
        "<html",
        "<head",
        "<script",
        "<iframe",
        "<h1",
        "<div",
        "<font",
        "<table",
        "<a",
        "<style",
        "<title",
        "<b",
        "<body",
        "<br",
    ];
    let start = body.trim_start().to_ascii_lowercase();
    let tag = |tag: &&str| {
        let after = start.strip_prefix(*tag).and_then(|rest| rest.bytes().next());
        matches!(after, Some(b' ' | b'>'))
    };
    let binary = |it: u8| it < 0x20 && !matches!(it, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b);
    if HTML.iter().any(&tag) || start.starts_with("<!--") || tag(&"<p") {
        "text/html; charset=utf-8"
    } else if start.starts_with("<?xml") {
        "text/xml; charset=utf-8"
    } else if body.bytes().take(512).any(binary) {
        "application/octet-stream"
    } else {
        "text/plain; charset=utf-8"
    }
}
