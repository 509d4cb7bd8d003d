//! What the rules of Debian's package `modsecurity-crs` (3.3) decide in block mode, at paranoia
//! levels 1 and 2, through the running binary: `decisions.txt`, attacks and everyday requests of
//! our own. The verdicts are those of nginx with ModSecurity and the same package.

use std::path::Path;

use tidegate_testkit::{Gateway, Origin, Reply};

use crate::run;

const DECISIONS: &str = include_str!("decisions.txt");
const RULES: &str = "/usr/share/modsecurity-crs";

const CONFIG: &str = "\
defaults:
  waf:
    mode: block
    crs: { path: /usr/share/modsecurity-crs, setup: /etc/modsecurity/crs/crs-setup.conf }
    seclang: { before: [<dir>/bodies.conf] }
    paranoia: <paranoia>
routes: [{ id: all, path: /, to: api }]
upstreams: { api: { endpoints: [<origin>] } }
";

/// How bodies are read, as Debian's `modsecurity.conf` says it.
const BODIES: &str = r#"
SecRule REQUEST_HEADERS:Content-Type "^(?:application(?:/soap\+|/)|text/)xml" \
    "id:900001,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=XML"
SecRule REQUEST_HEADERS:Content-Type "^application/json" \
    "id:900002,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule REQBODY_ERROR "!@eq 0" "id:900003,phase:2,t:none,log,deny,status:400"
SecRule MULTIPART_STRICT_ERROR "!@eq 0" "id:900004,phase:2,t:none,log,deny,status:400"
"#;

#[test]
fn debians_rules_decide_as_they_do_behind_nginx() {
    if !Path::new(RULES).is_dir() {
        eprintln!("skipped: {RULES} is not there; scripts/setup --tests installs it");
        return;
    }
    let decisions: Vec<Decision> = lines().map(read).collect();
    assert!(decisions.len() >= 150, "{} decisions", decisions.len());
    let requests: Vec<Vec<u8>> = decisions.iter().map(|it| it.request.clone()).collect();
    let mut wrong = Vec::new();
    for paranoia in [1, 2] {
        let origin = Origin::script(|_request| Reply::ok("reached").with("X-Origin", "reached"));
        let gateway = Gateway::builder(CONFIG)
            .file("bodies.conf", BODIES)
            .set("paranoia", paranoia)
            .set("origin", origin.address())
            .start();
        let outcomes = run::all(&gateway, &requests);
        for (decision, outcome) in decisions.iter().zip(outcomes) {
            let blocked = !String::from_utf8_lossy(&outcome.answer).contains("reached");
            if blocked != decision.level.is_some_and(|level| level <= paranoia) {
                let (status, rules) = (outcome.status, outcome.rules());
                let verdict = if blocked { "refused" } else { "passed" };
                let line = &decision.line;
                wrong.push(format!("{verdict} at {paranoia}, {status:?}, {rules:?}: {line}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// One line.
struct Decision {
    line: String,
    /// The lowest paranoia level that refuses the request.
    level: Option<u32>,
    request: Vec<u8>,
}

fn lines() -> impl Iterator<Item = &'static str> {
    DECISIONS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn read(line: &str) -> Decision {
    let mut parts = line.split(" | ");
    let level = match parts.next() {
        Some("-") => None,
        level => Some(level.and_then(|it| it.parse().ok()).expect("a level")),
    };
    let target = parts.next().expect("a method and a target");
    let mut fields = vec![
        ("Host".to_owned(), "shop.example".to_owned()),
        ("User-Agent".to_owned(), "Mozilla/5.0 (X11; Linux x86_64; rv:133.0)".to_owned()),
        ("Accept".to_owned(), "*/*".to_owned()),
    ];
    let mut body = String::new();
    while let Some(part) = parts.next() {
        let named = part.split_once(": ").filter(|_| !part.starts_with("type "));
        if let Some((name, value)) = named {
            fields.retain(|(known, _)| known != name);
            fields.push((name.to_owned(), value.to_owned()));
            continue;
        }
        let (media, content) = content(part, parts.next().expect("a body"));
        fields.push(("Content-Type".to_owned(), media));
        body = content;
    }
    let has_length = fields.iter().any(|(name, _)| name == "Content-Length");
    if !has_length && (!body.is_empty() || target.starts_with('P')) {
        fields.push(("Content-Length".to_owned(), body.len().to_string()));
    }
    fields.push(("Connection".to_owned(), "close".to_owned()));
    let fields: String =
        fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("{target} HTTP/1.1\r\n{fields}\r\n{body}").into_bytes();
    Decision { line: line.to_owned(), level, request }
}

fn content(kind: &str, text: &str) -> (String, String) {
    let part = |head: &str, content: &str| {
        let disposition = "Content-Disposition: form-data";
        format!("--x7\r\n{disposition}; {head}\r\n\r\n{content}\r\n--x7--\r\n")
    };
    let multipart = "multipart/form-data; boundary=x7";
    let (media, body) = match kind {
        "form" => ("application/x-www-form-urlencoded", text.to_owned()),
        "json" => ("application/json", text.to_owned()),
        "multipart" => (multipart, part("name=\"text\"", text)),
        "multipart-file" => {
            let head = format!("name=\"file\"; filename=\"{text}\"\r\nContent-Type: image/png");
            (multipart, part(&head, "PNG"))
        }
        "xml" => ("text/xml", text.to_owned()),
        other => (other.strip_prefix("type ").expect("a kind of body"), text.to_owned()),
    };
    (media.to_owned(), body)
}
