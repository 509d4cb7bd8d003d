//! The requests that measure the firewall: six as a shop sees them, from a simple GET to ten
//! kilobytes of attack, and two that use up the limits.

use std::net::{IpAddr, Ipv4Addr};

use http::request::Parts;
use tidegate_core::{Clock, Request};
use tidegate_waf::{Policy, Verdict};

/// A request and whether the built-in rules let it pass.
#[derive(Debug)]
pub struct Case {
    /// What it is called in the reports.
    pub name: &'static str,
    /// Path and query.
    pub uri: String,
    /// What the body says it is.
    pub content_type: Option<&'static str>,
    /// The body.
    pub body: Vec<u8>,
    /// Whether both the built-in rules and CRS at their lowest level let it pass.
    pub passes: bool,
}

fn case(name: &'static str, uri: &str) -> Case {
    Case { name, uri: uri.to_owned(), content_type: None, body: Vec::new(), passes: true }
}

fn form(name: &'static str, body: String) -> Case {
    let content_type = Some("application/x-www-form-urlencoded");
    Case { content_type, body: body.into_bytes(), ..case(name, "/submit") }
}

const PROSE: &str = "The harbour was quiet when the first boats came in; nobody had expected them \
    before noon. \"It's the tide,\" she said, \"or the wind -- we'll see.\" They counted 14 crates \
    (two of them open) & carried the rest up to the market, where prices had dropped from 12.50 to \
    9.80. Select the best ones, he told them, and leave the others for the union's canteen. ";

/// All of them.
#[must_use]
pub fn cases() -> Vec<Case> {
    let eight = "/search?q=red+running+shoes&page=3&per_page=24&sort=-price&brand=acme%2Cnord\
        &utm_source=newsletter&session=7f9c24e8d1b04c3a&lang=en-GB";
    let fields: Vec<String> =
        (0..10).map(|n| format!("field_{n}=Some+ordinary+value+number+{n}%2C+with+text")).collect();
    let items: Vec<String> = (0..8)
        .map(|n| {
            format!(
                r#"{{"id":{n},"sku":"AB-{n}00-XY","title":"Garden chair, oak ({n})","price":19.9}}"#
            )
        })
        .collect();
    let json = format!(
        r#"{{"customer":"Jo O'Neil","note":"Leave it at the door","items":[{}]}}"#,
        items.join(",")
    );
    let prose = PROSE.repeat(8_600 / PROSE.len() + 1);
    let prose: String = prose.chars().take(8_600).collect();
    let hostile =
        "' or 1 union/**/select <img on=( {{ ${ ; cat ../ \\x3c &lt; %27 -- (select from ";
    vec![
        case("simple_get", "/products/42"),
        case("get_8_args", eight),
        form("form_10_fields", fields.join("&")),
        Case {
            content_type: Some("application/json"),
            body: json.into_bytes(),
            ..case("json_800b", "/orders")
        },
        form(
            "form_prose_8600b",
            format!("text={}", prose.replace('%', "%25").replace('&', "%26").replace(' ', "+")),
        ),
        Case {
            passes: false,
            ..form(
                "adversarial_10kb",
                format!("text={}", hostile.repeat(10_000 / hostile.len()).replace('&', "%26")),
            )
        },
        Case { passes: false, ..form("adversarial_64kb_values", "a=('<;&".repeat(64 * 1024 / 7)) },
        Case {
            content_type: Some("text/plain"),
            passes: false,
            ..form("adversarial_64kb_text", hostile.repeat(64 * 1024 / hostile.len()))
        },
    ]
}

/// The head as it comes from a browser.
///
/// # Panics
/// If a case is not well formed.
#[must_use]
#[expect(clippy::expect_used, reason = "every part of it stands in this file")]
pub fn head(case: &Case) -> Parts {
    let mut builder = http::Request::builder()
        .uri(&case.uri)
        .header("host", "shop.example.com")
        .header(
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        )
        .header("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
        .header("accept-language", "en-GB,en;q=0.5")
        .header("accept-encoding", "gzip, deflate, br, zstd")
        .header("referer", "https://shop.example.com/search?q=shoes&page=2");
    if let Some(content_type) = case.content_type {
        builder = builder
            .method("POST")
            .header("content-type", content_type)
            .header("content-length", case.body.len());
    }
    if case.name != "simple_get" {
        builder = builder.header("cookie", "_ga=GA1.2.1034.1699; theme=dark; sid=3f786850e387550f");
    }
    builder.body(()).expect("the head is well formed").into_parts().0
}

/// The request of that head.
#[must_use]
pub fn request(head: &Parts) -> Request<'_> {
    Request {
        head,
        host: "shop.example.com",
        path: head.uri.path(),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        secure: true,
        received_at: Clock::System.now(),
    }
}

/// Inspects it as the proxy does: the head, the body if one is asked for, the end. Whether it
/// passes.
#[must_use]
pub fn inspect(policy: &Policy, request: &Request<'_>, case: &Case) -> bool {
    let mut inspection = policy.begin();
    let mut verdict = inspection.head(request);
    if matches!(verdict, Verdict::Pass) && policy.wants_body(request).is_some() {
        verdict = inspection.body(case.content_type, &case.body, true);
    }
    inspection.finish();
    matches!(verdict, Verdict::Pass)
}
