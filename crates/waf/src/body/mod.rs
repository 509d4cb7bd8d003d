//! A request's body as values. The content type chooses the reader; what cannot be read as it
//! claims is a finding, and is then searched as raw text. What claims to be something else is
//! looked at too if it reads as text, since many origins do not care what a client claims.

mod boundary;
mod disposition;
pub(crate) mod json;
mod media_type;
pub(crate) mod multipart;
mod parts;
mod processor;
mod xml;

use json::JsonError;
use media_type::MediaType;
pub(crate) use processor::{BodyLimits, Processor, process};

use crate::target::Target;
use crate::values::{Arena, urlencoded};

/// Adds the values of the body; `complete` is false if only its first part is here.
pub(crate) fn collect(arena: &mut Arena, content_type: Option<&str>, bytes: &[u8], complete: bool) {
    if bytes.is_empty() {
        return;
    }
    let content_type = MediaType::parse(content_type.unwrap_or_default().as_bytes());
    match content_type.essence.as_slice() {
        b"application/x-www-form-urlencoded" => {
            urlencoded::collect(arena, bytes, &urlencoded::BODY);
            if looks_like_json(bytes) {
                // Some clients label JSON as a form. The raw text was seen above.
                let _lenient = json::collect(arena, bytes, json::DEPTH);
            }
        }
        b"multipart/form-data" => collect_multipart(arena, &content_type, bytes, complete),
        essence if is_json(essence) => collect_json(arena, bytes, complete),
        essence => {
            let as_text = is_text(essence) || !looks_binary(bytes);
            if as_text
                && (!looks_like_json(bytes) || json::collect(arena, bytes, json::DEPTH).is_err())
            {
                add_raw(arena, bytes);
            }
        }
    }
}

fn collect_json(arena: &mut Arena, bytes: &[u8], complete: bool) {
    let objection = match json::collect(arena, bytes, json::DEPTH) {
        Ok(()) => return,
        Err(JsonError::Ended) if !complete => return,
        Err(JsonError::Ended) => "ends too early",
        Err(JsonError::Malformed) => "malformed",
        Err(JsonError::TooDeep) => "nested too deeply",
        // The arena says so itself.
        Err(JsonError::TooMany) => return,
    };
    arena.find("json", objection);
    add_raw(arena, bytes);
}

fn collect_multipart(arena: &mut Arena, content_type: &MediaType, bytes: &[u8], complete: bool) {
    if let Err(objection) = multipart::collect(arena, content_type, bytes, complete) {
        arena.find("multipart", objection);
        add_raw(arena, bytes);
    }
}

fn add_raw(arena: &mut Arena, bytes: &[u8]) {
    let (none, bytes) = (arena.copy(b""), arena.copy(bytes));
    arena.add(Target::RawBody, none, bytes);
}

fn is_json(essence: &[u8]) -> bool {
    matches!(essence, b"application/json" | b"text/json") || essence.ends_with(b"+json")
}

fn is_text(essence: &[u8]) -> bool {
    essence.starts_with(b"text/")
        || essence.ends_with(b"xml")
        || matches!(essence, b"application/graphql" | b"application/javascript")
}

fn looks_like_json(bytes: &[u8]) -> bool {
    matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// Whether the beginning holds what no text holds.
fn looks_binary(bytes: &[u8]) -> bool {
    let start = bytes.get(..1024).unwrap_or(bytes);
    let odd = start.iter().filter(|byte| matches!(byte, 0..=8 | 14..=26 | 28..=31)).count();
    start.contains(&0) || odd * 20 > start.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(content_type: &str, body: &[u8], values: &[(Target, &str)]) {
        let mut arena = Arena::of_everything();
        collect(&mut arena, Some(content_type), body, true);
        let found: Vec<(Target, &str)> = arena
            .values()
            .iter()
            .filter(|value| {
                use Target::{ArgsJsonNames, ArgsPostNames, BodyName};
                !matches!(value.target, ArgsJsonNames | ArgsPostNames | BodyName)
            })
            .map(|value| (value.target, std::str::from_utf8(arena.bytes(value.bytes)).unwrap()))
            .collect();
        assert_eq!(found, values, "{content_type}");
    }

    #[test]
    fn the_content_type_chooses_the_reader() {
        let (b, j) = (Target::ArgsPost, Target::ArgsJson);
        check("application/x-www-form-urlencoded; charset=utf-8", b"a=x+y", &[(b, "x y")]);
        check("application/json", br#"{"a":"x"}"#, &[(j, "x")]);
        check("application/vnd.api+json", br#"["x"]"#, &[(j, "x")]);
        check("text/plain", b"hello", &[(Target::RawBody, "hello")]);
        check("application/soap+xml", b"<a/>", &[(Target::RawBody, "<a/>")]);
        check("image/png", b"\x89PNG\x00\x01", &[]);
        check("application/json", b"", &[]);
    }

    #[test]
    fn what_is_mislabelled_is_still_read() {
        check("image/png", br#"{"a":"x"}"#, &[(Target::ArgsJson, "x")]);
        check("", b"hello", &[(Target::RawBody, "hello")]);
        check(
            "application/x-www-form-urlencoded",
            br#"{"a":"\u003cx"}"#,
            &[(Target::ArgsPost, ""), (Target::ArgsJson, "<x")],
        );
    }

    #[test]
    fn what_is_malformed_is_a_finding_and_searched_raw() {
        check(
            "application/json",
            b"{'a'}",
            &[(Target::Finding, "malformed"), (Target::RawBody, "{'a'}")],
        );
        check(
            "multipart/form-data",
            b"x",
            &[(Target::Finding, "no boundary"), (Target::RawBody, "x")],
        );
    }
}
