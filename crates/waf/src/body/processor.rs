//! Bodies as SecLang reads them: the processor is what the content type or a rule says, never a
//! guess. What a processor objects to is in `REQBODY_ERROR` and its relatives.

use super::json::{self, JsonError};
use super::{parts, xml};
use crate::seclang::ast::BodyProcessor;
use crate::target::Target;
use crate::values::{Arena, urlencoded};

/// How a body is read (`ctl:requestBodyProcessor`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Processor {
    Json,
    Multipart,
    Urlencoded,
    Xml,
}

impl Processor {
    /// The one that a content type stands for by itself; the others are chosen by rules.
    pub(crate) fn of_content_type(value: &[u8]) -> Option<Self> {
        let starts = |prefix: &[u8]| {
            value.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        if starts(b"multipart/form-data") {
            Some(Self::Multipart)
        } else if starts(b"application/x-www-form-urlencoded") {
            Some(Self::Urlencoded)
        } else {
            None
        }
    }

    /// The one that a rule asks for; raw text has none.
    pub(crate) fn of(asked: BodyProcessor) -> Option<Self> {
        match asked {
            BodyProcessor::Json => Some(Self::Json),
            BodyProcessor::Multipart => Some(Self::Multipart),
            BodyProcessor::Raw => None,
            BodyProcessor::UrlEncoded => Some(Self::Urlencoded),
            BodyProcessor::Xml => Some(Self::Xml),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Multipart => "MULTIPART",
            Self::Urlencoded => "URLENCODED",
            Self::Xml => "XML",
        }
    }
}

/// What bounds the reading of a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    /// How deep JSON may be nested.
    pub(crate) json_depth: usize,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self { json_depth: json::DEPTH }
    }
}

/// Adds the body's values. Call it once before phase 2, with nothing if there is no body;
/// `complete` is false if only the body's first part is here.
pub(crate) fn process(
    arena: &mut Arena,
    processor: Option<Processor>,
    content_type: &[u8],
    (bytes, complete): (&[u8], bool),
    limits: BodyLimits,
) {
    let error = match processor {
        _ if bytes.is_empty() => None,
        Some(Processor::Json) => {
            json_error(json::collect(arena, bytes, limits.json_depth), complete)
                .map(|error| ("JSON parsing error: ", error))
        }
        Some(Processor::Multipart) => {
            let result = parts::collect(arena, content_type, bytes, complete);
            result.err().map(|error| ("Multipart parsing error: ", error))
        }
        Some(Processor::Urlencoded) => {
            urlencoded::collect(arena, bytes, &urlencoded::BODY);
            None
        }
        Some(Processor::Xml) => {
            let result = xml::collect(arena, bytes, complete);
            result.err().map(|error| ("XML parsing error: ", error))
        }
        None => None,
    };
    arena.note_arguments();
    let message = error.map(|(prefix, error)| [prefix, error].concat()).unwrap_or_default();
    let failed = u8::from(error.is_some());
    for (target, of_message) in [
        (Target::ReqbodyError, Target::ReqbodyErrorMsg),
        (Target::ReqbodyProcessorError, Target::ReqbodyProcessorErrorMsg),
    ] {
        arena.set_number(target, failed);
        arena.set(of_message, message.as_bytes());
    }
    // Rules mean XML by its texts and attributes, not by the names of its elements; what could not
    // be read as XML is looked at as it is.
    let is_read = processor == Some(Processor::Xml) && error.is_none();
    arena.set(Target::RequestBody, if is_read { b"" } else { bytes });
    let length = if bytes.is_empty() { String::new() } else { bytes.len().to_string() };
    arena.set(Target::RequestBodyLength, length.as_bytes());
    arena.set_number(Target::InboundDataError, u8::from(!complete));
    arena.set_absent(&OF_BODY, b"");
}

const OF_BODY: [Target; 17] = [
    Target::FilesCombinedSize,
    Target::FullRequest,
    Target::FullRequestLength,
    Target::MultipartBoundaryQuoted,
    Target::MultipartBoundaryWhitespace,
    Target::MultipartCrlfLfLines,
    Target::MultipartDataAfter,
    Target::MultipartDataBefore,
    Target::MultipartFileLimitExceeded,
    Target::MultipartHeaderFolding,
    Target::MultipartInvalidHeaderFolding,
    Target::MultipartInvalidPart,
    Target::MultipartInvalidQuoting,
    Target::MultipartLfLine,
    Target::MultipartMissingSemicolon,
    Target::MultipartStrictError,
    Target::MultipartUnmatchedBoundary,
];

fn json_error(result: Result<(), JsonError>, complete: bool) -> Option<&'static str> {
    match result {
        Ok(()) => None,
        Err(JsonError::Ended) if !complete => None,
        Err(JsonError::Ended) => Some("premature end"),
        Err(JsonError::Malformed) => Some("malformed document"),
        Err(JsonError::TooDeep) => Some("parsing depth limit exceeded"),
        Err(JsonError::TooMany) => Some("more values than are inspected"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn multipart(content_type: &str, body: &str, values: &[(Target, &str)]) {
        let mut arena = Arena::of_everything();
        let body = body.replace('|', "\r\n");
        let processor = Processor::of_content_type(content_type.as_bytes());
        process(
            &mut arena,
            processor,
            content_type.as_bytes(),
            (body.as_bytes(), true),
            BodyLimits::default(),
        );
        for (target, bytes) in values {
            let found: Vec<String> = arena
                .values()
                .iter()
                .filter(|value| value.target == *target)
                .map(|value| String::from_utf8_lossy(arena.bytes(value.bytes)).into_owned())
                .collect();
            assert!(found.iter().any(|it| it == bytes), "{body} {target:?} {found:?}");
        }
    }

    const FORM: &str = "multipart/form-data; boundary=b";

    #[test]
    fn parts_become_arguments_and_files() {
        multipart(
            FORM,
            "--b|Content-Disposition: form-data; name=\"f\"||v|--b|content-disposition: form-data; name=up; filename=\"a.txt\"|X: y||1|2|--b--|",
            &[
                (Target::ArgsPost, "v"),
                (Target::Files, "a.txt"),
                (Target::FilesNames, "up"),
                (Target::FilesSizes, "4"),
                (Target::FilesCombinedSize, "4"),
                (Target::FilesTmpContent, "1\r\n2"),
                (Target::MultipartPartHeaders, "X: y"),
                (Target::MultipartFilename, "a.txt"),
                (Target::MultipartName, "f"),
                (Target::MultipartStrictError, "0"),
                (Target::MultipartUnmatchedBoundary, "2"),
                (Target::ReqbodyError, "0"),
            ],
        );
    }

    #[test]
    fn what_is_odd_is_flagged() {
        const PART: &str = "--b|Content-Disposition: form-data; name=\"f\"||v|";
        let strict = (Target::MultipartStrictError, "1");
        let check = |body: &str, flag: Target| multipart(FORM, body, &[(flag, "1"), strict]);
        check(&format!("x|{PART}--b--|"), Target::MultipartDataBefore);
        check(&format!("{PART}--b--|x"), Target::MultipartDataAfter);
        check(&format!("{PART}--b--\n"), Target::MultipartLfLine);
        check(&format!("{PART}--b--\n"), Target::MultipartCrlfLfLines);
        check(&format!("{PART}--c|{PART}"), Target::ReqbodyError);
        check(&PART.replace("; n", ";|\tn"), Target::MultipartHeaderFolding);
        check(&PART.replace("\"", "'"), Target::MultipartInvalidQuoting);
        check("--b|A: b|--b|x", Target::MultipartInvalidPart);
        multipart(FORM, &format!("{PART}--c|--b--|"), &[(Target::ArgsPost, "v\r\n--c")]);
        let quoted = "multipart/form-data; boundary=\"b\"";
        multipart(quoted, PART, &[(Target::MultipartBoundaryQuoted, "1"), strict]);
        multipart(
            "multipart/form-data boundary=b",
            PART,
            &[(Target::MultipartMissingSemicolon, "1")],
        );
        multipart("multipart/form-data", PART, &[(Target::ReqbodyError, "1"), strict]);
    }

    #[test]
    fn a_processor_that_fails_says_so() {
        let mut arena = Arena::of_everything();
        process(&mut arena, Some(Processor::Json), b"", (b"{", true), BodyLimits::default());
        assert_eq!(arena.value(Target::ReqbodyError), Some(&b"1"[..]));
        assert_eq!(
            arena.value(Target::ReqbodyErrorMsg),
            Some(&b"JSON parsing error: premature end"[..])
        );
        assert_eq!(arena.value(Target::RequestBodyLength), Some(&b"1"[..]));
    }

    #[test]
    fn the_text_of_a_body_is_there_unless_it_was_read_as_xml() {
        let check = |processor, body: &str, text: &str| {
            let mut arena = Arena::of_everything();
            process(&mut arena, processor, b"", (body.as_bytes(), true), BodyLimits::default());
            assert_eq!(arena.value(Target::RequestBody), Some(text.as_bytes()), "{body}");
        };
        check(Some(Processor::Xml), "<a>b</a>", "");
        check(Some(Processor::Xml), "<a>b</b>", "<a>b</b>");
        check(Some(Processor::Urlencoded), "a=b", "a=b");
        check(Some(Processor::Json), "[1]", "[1]");
        check(None, "a", "a");
    }

    #[test]
    fn a_part_header_with_a_wrong_name_is_shown_to_rules() {
        multipart(
            FORM,
            "--b|Content-Disposition: form-data; name=\"f\"|A\u{e}: b||v|--b--|",
            &[
                (Target::MultipartPartHeaders, "A\u{e}: b"),
                (Target::ReqbodyError, "1"),
                (Target::MultipartStrictError, "1"),
            ],
        );
    }

    #[test]
    fn no_body_makes_more_values_than_are_looked_at() {
        let form = "a=1&".repeat(100_000);
        let json = format!("[{}1]", "1,".repeat(100_000));
        let parts = "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n\x00\r\n".repeat(20_000);
        for (processor, body) in
            [(Processor::Urlencoded, form), (Processor::Json, json), (Processor::Multipart, parts)]
        {
            let mut arena = Arena::of_everything();
            let bytes = (body.as_bytes(), true);
            process(&mut arena, Some(processor), FORM.as_bytes(), bytes, BodyLimits::default());
            assert!(arena.overflown(), "{processor:?}");
            assert!(arena.values().len() < crate::values::MAX_VALUES + 120, "{processor:?}");
        }
    }
}
