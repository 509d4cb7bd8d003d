//! XML as SecLang looks at it: all text of the document as one value (`XML:/*`), and each
//! attribute's value (`XML://@*`). Entities are never expanded: a document that declares one, or
//! uses one that XML does not define, is malformed (so no document grows by reading it).

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::target::Target;
use crate::values::Arena;

/// As deep as libxml2 goes.
const MAX_DEPTH: usize = 256;

/// Adds the values of a document, as far as it can be read; what was wrong first.
pub(crate) fn collect(arena: &mut Arena, bytes: &[u8], complete: bool) -> Result<(), &'static str> {
    let mut text = Vec::new();
    let result = read(arena, bytes, complete, &mut text);
    arena.add_copy(Target::XmlText, b"", &text);
    result
}

fn read(
    arena: &mut Arena,
    bytes: &[u8],
    complete: bool,
    text: &mut Vec<u8>,
) -> Result<(), &'static str> {
    const MALFORMED: &str = "malformed document";
    let mut reader = Reader::from_reader(bytes);
    let mut depth = 0_usize;
    let mut roots = 0_usize;
    loop {
        let event = match reader.read_event() {
            Ok(event) => event,
            Err(_) if !complete => return Ok(()),
            Err(_) => return Err(MALFORMED),
        };
        let has_content = match event {
            Event::Start(element) => {
                roots += usize::from(depth == 0);
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err("nested too deeply");
                }
                attributes(arena, &element)?;
                false
            }
            Event::Empty(element) => {
                roots += usize::from(depth == 0);
                attributes(arena, &element)?;
                false
            }
            Event::End(_) => {
                depth = depth.saturating_sub(1);
                false
            }
            Event::Text(piece) => {
                text.extend_from_slice(piece.as_bytes());
                !piece.trim().is_empty()
            }
            Event::CData(piece) => {
                text.extend_from_slice(piece.as_bytes());
                true
            }
            Event::GeneralRef(name) => {
                refer(name.as_bytes(), text)?;
                true
            }
            Event::DocType(declaration) => {
                if memchr::memmem::find(declaration.as_bytes(), b"<!ENTITY").is_some() {
                    return Err("an entity declaration");
                }
                false
            }
            Event::Eof if !complete || depth == 0 && roots == 1 => return Ok(()),
            Event::Eof => return Err(MALFORMED),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => false,
        };
        if roots > 1 || has_content && depth == 0 {
            return Err(MALFORMED);
        }
        if arena.overflown() {
            return Err("more values than are inspected");
        }
    }
}

fn attributes(arena: &mut Arena, element: &BytesStart<'_>) -> Result<(), &'static str> {
    // That none comes twice would take quadratic time to say.
    for attribute in element.attributes().with_checks(false) {
        let attribute = attribute.or(Err("malformed attribute"))?;
        let mut value = Vec::with_capacity(attribute.value.len());
        unescape(attribute.value.as_bytes(), &mut value)?;
        arena.add_copy(Target::XmlAttributes, attribute.key.as_ref().as_bytes(), &value);
    }
    Ok(())
}

fn unescape(mut text: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    while let Some(at) = memchr::memchr(b'&', text) {
        let (plain, rest) = text.split_at(at);
        out.extend_from_slice(plain);
        let end = memchr::memchr(b';', rest).ok_or("an open reference")?;
        refer(rest.get(1..end).unwrap_or_default(), out)?;
        text = rest.get(end + 1..).unwrap_or_default();
    }
    out.extend_from_slice(text);
    Ok(())
}

/// Appends what a reference stands for (XML 1.0 §4.1, §4.6).
fn refer(name: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    let byte = match name {
        b"amp" => b'&',
        b"apos" => b'\'',
        b"gt" => b'>',
        b"lt" => b'<',
        b"quot" => b'"',
        _ => {
            let c = character(name).ok_or("an unknown entity")?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Ok(());
        }
    };
    out.push(byte);
    Ok(())
}

fn character(name: &[u8]) -> Option<char> {
    let number = std::str::from_utf8(name.strip_prefix(b"#")?).ok()?;
    let code = match number.strip_prefix('x') {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => number.parse(),
    };
    char::from_u32(code.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(document: &str, result: Result<(), &str>, text: &str, attributes: &[&str]) {
        let mut arena = Arena::of_everything();
        assert_eq!(collect(&mut arena, document.as_bytes(), true), result, "{document}");
        assert_eq!(arena.value(Target::XmlText), Some(text.as_bytes()), "{document}");
        let values = arena.values().iter().filter(|it| it.target == Target::XmlAttributes);
        let found: Vec<&[u8]> = values.map(|value| arena.bytes(value.bytes)).collect();
        let wanted: Vec<&[u8]> = attributes.iter().map(|value| value.as_bytes()).collect();
        assert_eq!(found, wanted, "{document}");
    }

    #[test]
    fn text_and_attributes_are_read() {
        check(
            "<?xml version=\"1.0\"?><a b='1' c=\"x&lt;&#x41;\"><d>one</d><e f=''/><![CDATA[<two>]]>&amp;<!-- no --></a>",
            Ok(()),
            "one<two>&",
            &["1", "x<A", ""],
        );
    }

    #[test]
    fn what_is_malformed_is_told() {
        let malformed = Err("malformed document");
        check("<a>x</b>", malformed, "x", &[]);
        check("<a>x", malformed, "x", &[]);
        check("no", malformed, "no", &[]);
        check("<a/><b/>", malformed, "", &[]);
        check("<a>&x;</a>", Err("an unknown entity"), "", &[]);
    }

    #[test]
    fn hostile_documents_end_soon() {
        let laughs = "<!DOCTYPE a [<!ENTITY b 'ha'><!ENTITY c '&b;&b;'>]><a>&c;</a>";
        check(laughs, Err("an entity declaration"), "", &[]);
        check(&"<a>".repeat(1_000_000), Err("nested too deeply"), "", &[]);
        let mut arena = Arena::of_everything();
        let many = format!("<a{}/>", " b='1'".repeat(100_000));
        assert_eq!(
            collect(&mut arena, many.as_bytes(), true),
            Err("more values than are inspected")
        );
    }
}
