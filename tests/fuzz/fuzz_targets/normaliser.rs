#![no_main]
//! Any bytes as an HTTP/1 head. Whatever is accepted must be read the same way by the parser that
//! Pingora uses, have one framing, and be in its one spelling.

use http::request::Parts;
use libfuzzer_sys::fuzz_target;
use tidegate_core::reading::{
    EncodedSlash, ReadingRules, Target, check_http1_head, read_http1_head, read_http2_head,
};

fuzz_target!(|raw: &[u8]| {
    for encoded_slash in [EncodedSlash::Refuse, EncodedSlash::Keep] {
        let rules = ReadingRules { encoded_slash, ..ReadingRules::default() };
        let checked = check_http1_head(raw, &rules).is_ok();
        let parsed = parse(raw);
        if checked && let Some((_, end)) = &parsed {
            assert_eq!(*end, raw.len(), "the parser ends the head elsewhere");
        }
        let Some((parts, _)) = parsed else { continue };
        if let Ok(target) = read_http1_head(raw, &parts, &rules) {
            assert!(checked, "read but not checked");
            assert_one_framing(&parts);
            assert_canonical(&target);
            assert_same_as_http2(&target, &rules);
        }
    }
});

/// As Pingora parses, without its attempts to mend.
fn parse(raw: &[u8]) -> Option<(Parts, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 256];
    let mut request = httparse::Request::new(&mut headers);
    let end = request.parse(raw).ok().filter(httparse::Status::is_complete)?.unwrap();
    let version = if request.version == Some(0) {
        http::Version::HTTP_10
    } else {
        http::Version::HTTP_11
    };
    let mut builder = http::request::Builder::new().method(request.method?).version(version);
    for header in request.headers.iter() {
        builder = builder.header(header.name, header.value);
    }
    Some((builder.body(()).ok()?.into_parts().0, end))
}

fn assert_one_framing(parts: &Parts) {
    let count = |name| parts.headers.get_all(name).iter().count();
    assert!(count("content-length") + count("transfer-encoding") <= 1);
    assert!(count("host") <= 1);
}

fn assert_canonical(target: &Target<'_>) {
    let path = target.path.as_ref();
    assert!(path == "*" || path.starts_with('/'));
    assert!(!path.contains("//"));
    assert!(!path.split('/').any(|segment| matches!(segment, "." | "..")));
    assert!(!path.to_ascii_lowercase().contains("%2e"));
    assert!(path.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\?#".contains(&byte)));
    assert_eq!(target.host, target.host.to_ascii_lowercase());
    assert!(!target.host.contains(['/', '@', ' ', '%']));
}

/// A canonical target is canonical in HTTP/2, too, and stays as it is.
fn assert_same_as_http2(target: &Target<'_>, rules: &ReadingRules) {
    if target.host.is_empty() || target.path == "*" {
        return;
    }
    let uri = format!("https://{}{}", target.host, target.path);
    let request = http::Request::builder().uri(&uri).body(()).expect("a canonical target");
    let parts = request.into_parts().0;
    let again = read_http2_head(&parts, rules).expect("a canonical target");
    assert_eq!((again.host, again.path), (target.host.clone(), target.path.clone()));
}
