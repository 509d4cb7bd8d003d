//! What the targets of the body readers share: a policy that reads each kind of body as SecLang
//! does and tells what it saw, and a request to put to it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use http::HeaderValue;
use tidegate_core::{Clock, Request};
use tidegate_waf::{Policy, RuleSet, SecLangSources, Verdict, WafSettings};

/// Rule 10 sees the needle in an argument `q`, 11 in any value, 12 that the body was not readable;
/// 13 tells the size of all arguments.
const RULES: &str = r#"
SecRequestBodyAccess On
SecRule REQUEST_HEADERS:Content-Type "@beginsWith application/json" "id:1,phase:1,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule REQUEST_HEADERS:Content-Type "@beginsWith text/xml" "id:2,phase:1,pass,nolog,ctl:requestBodyProcessor=XML"
SecRule ARGS:q|ARGS:json.q|REQUEST_COOKIES:q|XML:/* "@contains needle" "id:10,phase:2,pass,log"
SecRule ARGS|ARGS_NAMES|FILES|FILES_NAMES|MULTIPART_PART_HEADERS|REQUEST_COOKIES|REQUEST_COOKIES_NAMES|XML:/*|XML://@*|REQUEST_BODY "@rx need.e" "id:11,phase:2,pass,log,t:urlDecodeUni,t:htmlEntityDecode,t:jsDecode,t:cssDecode,t:cmdLine,t:normalisePath,t:removeNulls,t:utf8toUnicode"
SecRule REQBODY_ERROR "!@eq 0" "id:12,phase:2,pass,log"
SecAction "id:13,phase:2,pass,log,logdata:'%{ARGS_COMBINED_SIZE}'"
"#;

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let file = std::env::temp_dir().join(format!("tidegate-fuzz-{}.conf", std::process::id()));
    std::fs::write(&file, RULES).unwrap();
    let sources = SecLangSources { after: vec![file.clone()], ..SecLangSources::default() };
    let rules = RuleSet::with_seclang(&[], &sources).unwrap();
    std::fs::remove_file(file).unwrap();
    Policy::compile(&WafSettings::default(), rules).unwrap()
});

/// What the rules saw.
#[derive(Debug, Default)]
pub struct Seen {
    pub rules: Vec<u32>,
    pub size: usize,
    pub exceeded: bool,
    /// Whether the body is refused, such as one that is not what its type says.
    pub refused: bool,
}

impl Seen {
    pub fn readable(&self) -> bool {
        !self.refused && !self.rules.contains(&12)
    }

    /// Whether the needle does not get through.
    pub fn stops_needle(&self) -> bool {
        self.refused || self.rules.contains(&10)
    }
}

/// Inspects a request with these fields and this body; `None` if a field is none.
pub fn inspect(fields: &[(&'static str, &[u8])], body: &[u8], complete: bool) -> Option<Seen> {
    let mut head = http::Request::builder().method("POST").uri("/a").header("host", "example.com");
    for (name, value) in fields {
        head = head.header(*name, HeaderValue::from_bytes(value).ok()?);
    }
    let head = head.header("content-length", body.len()).body(()).ok()?.into_parts().0;
    let request = Request {
        head: &head,
        host: "example.com",
        path: "/a",
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        secure: true,
        received_at: Clock::System.now(),
    };
    let mut inspection = POLICY.begin();
    let _verdict = inspection.head(&request);
    let content_type = head.headers.get("content-type").and_then(|value| value.to_str().ok());
    let refused = matches!(inspection.body(content_type, body, complete), Verdict::Block(_));
    assert!(inspection.work() < 200_000_000);
    let summary = inspection.summary().unwrap_or_default();
    let size = summary.matches.iter().find(|found| found.rule == 13);
    Some(Seen {
        size: size.and_then(|found| found.logdata.parse().ok()).unwrap_or(0),
        exceeded: summary.exceeded.is_some(),
        refused,
        rules: summary.matches.iter().map(|found| found.rule).collect(),
    })
}
