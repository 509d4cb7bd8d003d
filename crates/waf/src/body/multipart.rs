//! `multipart/form-data` (RFC 7578 over RFC 2046 §5.1), strictly: what two readers could split in
//! two ways is a finding. Fields become values by their name, files give their name and contents.

use memchr::memmem;

use super::media_type::MediaType;
use crate::target::Target;
use crate::values::Arena;

/// What was wrong first; the rest of the body is searched as raw text.
pub(crate) type Objection = &'static str;

/// RFC 2046 §5.1.1.
const MAX_BOUNDARY: usize = 70;
const MAX_PARTS: usize = 1_000;

/// Adds the fields and files of a body, as far as it can be read. A body that is not complete may
/// end anywhere.
pub(crate) fn collect(
    arena: &mut Arena,
    content_type: &MediaType,
    bytes: &[u8],
    complete: bool,
) -> Result<(), Objection> {
    let boundary = boundary(content_type)?;
    let first = [b"--", boundary].concat();
    let delimiter = [b"\r\n--", boundary].concat();
    let mut rest = bytes.strip_prefix(first.as_slice()).ok_or("data before the first boundary")?;
    for _ in 0..MAX_PARTS {
        if let Some(epilogue) = rest.strip_prefix(b"--") {
            let clean = epilogue.is_empty() || epilogue == b"\r\n";
            return if clean { Ok(()) } else { Err("data behind the last boundary") };
        }
        let Some(part) = rest.strip_prefix(b"\r\n") else {
            return if complete || rest.len() > 1 { Err("a broken boundary line") } else { Ok(()) };
        };
        let end = memmem::find(part, &delimiter);
        collect_part(arena, part.get(..end.unwrap_or(part.len())).unwrap_or_default(), boundary)?;
        match end.and_then(|end| part.get(end + delimiter.len()..)) {
            Some(tail) => rest = tail,
            None if complete => return Err("no last boundary"),
            None => return Ok(()),
        }
    }
    Err("more parts than are inspected")
}

fn boundary(content_type: &MediaType) -> Result<&[u8], Objection> {
    if content_type.malformed {
        return Err("a broken content type");
    }
    let boundary = content_type.param(b"boundary").ok_or("no boundary")?;
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte);
    let sound = (1..=MAX_BOUNDARY).contains(&boundary.len())
        && boundary.iter().all(legal)
        && !boundary.ends_with(b" ");
    if sound { Ok(boundary) } else { Err("an illegal boundary") }
}

fn collect_part(arena: &mut Arena, part: &[u8], boundary: &[u8]) -> Result<(), Objection> {
    let (head, content) = match part.strip_prefix(b"\r\n") {
        Some(_) => return Err("a part without a header"),
        None => match memmem::find(part, b"\r\n\r\n") {
            Some(end) => (part.get(..end), part.get(end + 4..)),
            None => return Err("a part header without an end"),
        },
    };
    let content = content.unwrap_or_default();
    let disposition = disposition(head.unwrap_or_default())?;
    let name = disposition.param(b"name").ok_or("a part without a name")?;
    let name = arena.copy(name);
    for target in [Target::ArgsPostNames, Target::BodyName] {
        arena.add(target, name, name);
    }
    let (file, extended) = (disposition.param(b"filename"), disposition.param(b"filename*"));
    for file in [file, extended].into_iter().flatten() {
        let file = arena.copy(file);
        arena.add(Target::Files, name, file);
    }
    let is_file = file.is_some() || extended.is_some();
    let bytes = arena.copy(content);
    arena.add(if is_file { Target::FilesTmpContent } else { Target::ArgsPost }, name, bytes);
    // A lenient reader would take this line for a boundary; files may hold anything by chance.
    let bare = [b"\n--", boundary].concat();
    if memmem::find(content, &bare).is_some() {
        return Err("a boundary behind a bare line feed");
    }
    Ok(())
}

/// The part's Content-Disposition; its other fields must at least be sound.
fn disposition(head: &[u8]) -> Result<MediaType, Objection> {
    let mut found = None;
    for line in split_lines(head) {
        let at = memchr::memchr(b':', line).ok_or("a part header line without a colon")?;
        let (name, value) =
            (line.get(..at).unwrap_or_default(), line.get(at + 1..).unwrap_or_default());
        if memchr::memchr3(b'\r', b'\n', 0, line).is_some() {
            return Err("a control character in a part header");
        }
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        if name.is_empty() || !name.iter().all(token) {
            return Err("an illegal part header name");
        }
        if name.eq_ignore_ascii_case(b"content-disposition") {
            let value = MediaType::parse(value);
            if found.is_some() || value.malformed || value.essence != b"form-data" {
                return Err("a broken Content-Disposition");
            }
            found = Some(value);
        } else if name.eq_ignore_ascii_case(b"content-transfer-encoding") {
            let value = value.trim_ascii().to_ascii_lowercase();
            if !matches!(value.as_slice(), b"7bit" | b"8bit" | b"binary") {
                return Err("a part with a transfer encoding");
            }
        } else if name.eq_ignore_ascii_case(b"content-type") && !is_known_charset(value) {
            return Err("a part in an unusual charset");
        }
    }
    found.ok_or("a part without Content-Disposition")
}

fn is_known_charset(content_type: &[u8]) -> bool {
    let parsed = MediaType::parse(content_type);
    let charset = parsed.param(b"charset").map(<[u8]>::to_ascii_lowercase);
    charset.is_none_or(|charset| {
        matches!(charset.as_slice(), b"utf-8" | b"us-ascii" | b"iso-8859-1" | b"windows-1252")
    })
}

/// The lines between CRLFs.
fn split_lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(head);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = memmem::find(text, b"\r\n");
        rest = end.and_then(|end| text.get(end + 2..));
        text.get(..end.unwrap_or(text.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELD: &str = "--b\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nv\r\n";

    #[track_caller]
    fn check(
        body: &str,
        complete: bool,
        result: Result<(), Objection>,
        values: &[(Target, &str, &str)],
    ) {
        let mut arena = Arena::of_everything();
        let content_type = MediaType::parse(b"multipart/form-data; boundary=b");
        assert_eq!(collect(&mut arena, &content_type, body.as_bytes(), complete), result, "{body}");
        let text = |span| std::str::from_utf8(arena.bytes(span)).unwrap();
        let found: Vec<(Target, &str, &str)> = arena
            .values()
            .iter()
            .filter(|value| !matches!(value.target, Target::ArgsPostNames | Target::BodyName))
            .map(|value| (value.target, text(value.name), text(value.bytes)))
            .collect();
        assert_eq!(found, values, "{body}");
    }

    #[test]
    fn fields_and_files_are_read() {
        let file = "--b\r\nContent-Disposition: form-data; name=up; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\n1\r\n2\r\n";
        let values = [
            (Target::ArgsPost, "f", "v"),
            (Target::Files, "up", "a.txt"),
            (Target::FilesTmpContent, "up", "1\r\n2"),
        ];
        check(&format!("{FIELD}{file}--b--\r\n"), true, Ok(()), &values);
        check(&format!("{FIELD}{file}--b--"), true, Ok(()), &values);
        check("--b--\r\n", true, Ok(()), &[]);
    }

    #[test]
    fn a_body_cut_off_is_read_as_far_as_it_goes() {
        check(FIELD, false, Ok(()), &[(Target::ArgsPost, "f", "v\r\n")]);
        check(&format!("{FIELD}--b\r"), false, Ok(()), &[(Target::ArgsPost, "f", "v")]);
    }

    #[test]
    fn what_could_be_split_in_two_ways_is_objected_to() {
        let v = [(Target::ArgsPost, "f", "v")];
        check("x\r\n--b--", true, Err("data before the first boundary"), &[]);
        check(&format!("{FIELD}--b--x"), true, Err("data behind the last boundary"), &v);
        check(&format!("{FIELD}--bc\r\n"), true, Err("a broken boundary line"), &v);
        check("--b\n--b--", true, Err("a broken boundary line"), &[]);
        check("--b\r\n\r\nv\r\n--b--", true, Err("a part without a header"), &[]);
        check("--b\r\nA: b\r\n--b--", true, Err("a part header without an end"), &[]);
        check(
            "--b\r\nA: b\r\n\r\nv\r\n--b--",
            true,
            Err("a part without Content-Disposition"),
            &[],
        );
        check("--b\r\nA b\r\n\r\nv\r\n--b--", true, Err("a part header line without a colon"), &[]);
        check(
            &FIELD.replace("form-data", "attachment"),
            true,
            Err("a broken Content-Disposition"),
            &[],
        );
        check(&FIELD.replace("; name=\"f\"", ""), true, Err("a part without a name"), &[]);
        check(&FIELD.replace("\"f\"", "f; name=g"), true, Err("a broken Content-Disposition"), &[]);
        check(
            &FIELD.replace("\r\n\r\n", "\r\nContent-Transfer-Encoding: base64\r\n\r\n"),
            true,
            Err("a part with a transfer encoding"),
            &[],
        );
        check(
            &FIELD.replace("\r\n\r\n", "\r\nContent-Type: text/plain; charset=utf-7\r\n\r\n"),
            true,
            Err("a part in an unusual charset"),
            &[],
        );
    }

    #[test]
    fn a_boundary_must_be_given_once_and_be_legal() {
        for content_type in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=a; boundary=b",
            "multipart/form-data; boundary=\"a",
            "multipart/form-data; boundary=a{",
        ] {
            assert!(
                boundary(&MediaType::parse(content_type.as_bytes())).is_err(),
                "{content_type}"
            );
        }
    }
}
