//! `multipart/form-data` line by line, as libmodsecurity reads it: parts, files, the header lines
//! of parts, and a flag for everything that another reader could understand in another way
//! (`MULTIPART_*`). Reading goes on behind an objection where it can.

use super::boundary::{self, Boundary};
use super::disposition;
use crate::target::Target;
use crate::values::{Arena, urlencoded};

/// No line of a part's head is longer.
const MAX_HEAD_LINE: usize = 4096;

/// A part has no more of them: each new name is compared with those before it.
const MAX_HEAD_LINES: usize = 64;

/// What was odd.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a variable of its own")]
pub(super) struct Flags {
    pub(super) error: bool,
    pub(super) boundary_quoted: bool,
    pub(super) boundary_whitespace: bool,
    pub(super) data_after: bool,
    pub(super) data_before: bool,
    pub(super) header_folding: bool,
    pub(super) invalid_header_folding: bool,
    pub(super) invalid_part: bool,
    pub(super) invalid_quoting: bool,
    pub(super) crlf_line: bool,
    pub(super) lf_line: bool,
    pub(super) missing_semicolon: bool,
    pub(super) unmatched_boundary: u8,
}

/// Adds the parts of a body; what was wrong last.
pub(crate) fn collect(
    arena: &mut Arena,
    content_type: &[u8],
    bytes: &[u8],
    complete: bool,
) -> Result<(), &'static str> {
    let mut reader = Reader { arena, flags: Flags::default(), error: None, part: None, files: 0 };
    match boundary::read(content_type, &mut reader.flags) {
        Ok(boundary) => reader.read(&boundary, bytes, complete),
        Err(error) => reader.object(error),
    }
    let (flags, error, files) = (reader.flags, reader.error, reader.files);
    set_flags(arena, &flags);
    arena.set_number(Target::FilesCombinedSize, files);
    error.map_or(Ok(()), Err)
}

struct Reader<'a> {
    arena: &'a mut Arena,
    flags: Flags,
    error: Option<&'static str>,
    part: Option<Part>,
    /// Bytes of all files.
    files: usize,
}

#[derive(Default)]
struct Part {
    headers: Vec<Vec<u8>>,
    name: Vec<u8>,
    file_name: Vec<u8>,
    /// Whether the head has ended.
    in_data: bool,
    has_data: bool,
    data: Vec<u8>,
}

impl Reader<'_> {
    fn object(&mut self, error: &'static str) {
        self.flags.error = true;
        self.error = Some(error);
    }

    fn read(&mut self, boundary: &Boundary, bytes: &[u8], complete: bool) {
        let mut boundaries = 0_usize;
        let mut after_bare_lf = false;
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let (line, tail) = rest.split_at(end);
            rest = tail;
            let is_data = match boundary.look(line) {
                boundary::Line::Other => true,
                boundary::Line::Similar => {
                    self.flags.unmatched_boundary = 1;
                    true
                }
                boundary::Line::Broken(error) => return self.object(error),
                boundary::Line::Boundary { last, ending } => {
                    self.flags.lf_line |= after_bare_lf;
                    let has_data = self.part.as_ref().is_none_or(|part| part.has_data);
                    if !has_data {
                        // It stands where a part's data should begin.
                        self.flags.invalid_part = true;
                    }
                    if has_data || last && rest.is_empty() && ending.is_empty() {
                        if boundaries > 0 {
                            self.flags.unmatched_boundary = 2;
                        }
                        match ending {
                            b"\r\n" => self.flags.crlf_line = true,
                            b"\n" => self.flags.lf_line = true,
                            b"" if last && boundaries > 0 => {}
                            _ if !complete && rest.is_empty() => return self.finish_part(),
                            _ => return self.object("invalid boundary"),
                        }
                        boundaries += 1;
                        self.finish_part();
                        if last {
                            self.flags.data_after |= !rest.is_empty();
                            return;
                        }
                        self.part = Some(Part::default());
                        false
                    } else {
                        true
                    }
                }
            };
            if is_data {
                self.take_line(line);
            }
            after_bare_lf = line.ends_with(b"\n") && !line.ends_with(b"\r\n");
        }
        self.finish_part();
        if complete {
            self.object(if boundaries > 0 {
                "final boundary missing"
            } else {
                "no boundaries found in payload"
            });
        }
    }

    fn take_line(&mut self, line: &[u8]) {
        let Some(mut part) = self.part.take() else {
            self.flags.data_before = true;
            return;
        };
        if part.in_data {
            part.has_data = true;
            part.data.extend_from_slice(line);
        } else if let Err(error) = self.take_head_line(&mut part, line) {
            self.object(error);
        }
        self.part = Some(part);
    }

    fn take_head_line(&mut self, part: &mut Part, line: &[u8]) -> Result<(), &'static str> {
        if line.len() > MAX_HEAD_LINE {
            return Err("part header line too long");
        }
        if line.contains(&0) {
            return Err("nul byte in part headers");
        }
        let (text, is_crlf) = match line.strip_suffix(b"\r\n") {
            Some(text) => (text, true),
            None => (line.strip_suffix(b"\n").unwrap_or(line), false),
        };
        self.flags.crlf_line |= is_crlf;
        self.flags.lf_line |= !is_crlf;
        if text.is_empty() {
            return self.finish_head(part);
        }
        if text.first().is_some_and(u8::is_ascii_whitespace) || text.starts_with(b"\x0b") {
            self.flags.header_folding = true;
            let value = text.trim_ascii_start();
            let white = text.get(..text.len() - value.len()).unwrap_or_default();
            self.flags.invalid_header_folding |=
                white.iter().any(|byte| !matches!(byte, b' ' | b'\t'));
            let header = part.headers.last_mut().ok_or("invalid part header (folding error)")?;
            header.push(b' ');
            header.extend_from_slice(value);
            return if header.len() > MAX_HEAD_LINE { Err("part header too long") } else { Ok(()) };
        }
        if part.headers.len() >= MAX_HEAD_LINES {
            return Err("too many part headers");
        }
        let colon = memchr::memchr(b':', text).ok_or("invalid part header (colon missing)")?;
        let name = text.get(..colon).unwrap_or_default();
        if name.is_empty() {
            return Err("invalid part header (header name missing)");
        }
        let is_legal = name.iter().all(u8::is_ascii_graphic);
        let is_known = part.header(name).is_some();
        part.headers.push(text.to_vec());
        match (is_legal, is_known) {
            (false, _) => Err("invalid part header (contains invalid character)"),
            (true, true) => Err("duplicate part header"),
            (true, false) => Ok(()),
        }
    }

    fn finish_head(&mut self, part: &mut Part) -> Result<(), &'static str> {
        let value = part.header(b"content-disposition").map(<[u8]>::to_vec);
        let value = value.ok_or("part missing Content-Disposition header")?;
        part.in_data = true;
        let read = disposition::read(&value, &mut self.flags, |is_file, name| {
            let target = if is_file { Target::MultipartFilename } else { Target::MultipartName };
            self.arena.add_copy(target, name, name);
        });
        let disposition = read?;
        part.name = disposition.name;
        part.file_name = disposition.file_name;
        if part.name.is_empty() {
            return Err("Content-Disposition header missing name field");
        }
        Ok(())
    }

    fn finish_part(&mut self) {
        let Some(part) = self.part.take() else { return };
        for line in &part.headers {
            self.arena.add_copy(Target::MultipartPartHeaders, &part.name, line);
        }
        let data = part.data.strip_suffix(b"\n").unwrap_or(&part.data);
        let data =
            data.strip_suffix(b"\r").filter(|_| part.data.ends_with(b"\r\n")).unwrap_or(data);
        if part.name.is_empty() {
            self.flags.invalid_part = true;
        }
        let (name, value) = (self.arena.copy(&part.name), self.arena.copy(data));
        if part.file_name.is_empty() {
            urlencoded::BODY.add(self.arena, name, value);
            return;
        }
        self.files += data.len();
        let file_name = self.arena.copy(&part.file_name);
        self.arena.add(Target::Files, name, file_name);
        self.arena.add(Target::FilesNames, name, name);
        self.arena.add(Target::FilesTmpContent, name, value);
        self.arena.add_copy(Target::FilesSizes, &part.name, data.len().to_string().as_bytes());
    }
}

impl Part {
    /// The value of a field of the part's head.
    fn header(&self, name: &[u8]) -> Option<&[u8]> {
        self.headers.iter().find_map(|line| {
            let (known, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
            let value = value.strip_prefix(b":")?;
            known.eq_ignore_ascii_case(name).then_some(value.trim_ascii_start())
        })
    }
}

fn set_flags(arena: &mut Arena, flags: &Flags) {
    let mixed = flags.crlf_line && flags.lf_line;
    let rows = [
        (Target::MultipartBoundaryQuoted, flags.boundary_quoted),
        (Target::MultipartBoundaryWhitespace, flags.boundary_whitespace),
        (Target::MultipartDataAfter, flags.data_after),
        (Target::MultipartDataBefore, flags.data_before),
        (Target::MultipartHeaderFolding, flags.header_folding),
        (Target::MultipartInvalidHeaderFolding, flags.invalid_header_folding),
        (Target::MultipartInvalidPart, flags.invalid_part),
        (Target::MultipartInvalidQuoting, flags.invalid_quoting),
        (Target::MultipartLfLine, flags.lf_line),
        (Target::MultipartMissingSemicolon, flags.missing_semicolon),
    ];
    let strict = flags.error || rows.iter().any(|(_, flag)| *flag);
    for (target, flag) in rows {
        arena.set_number(target, u8::from(flag));
    }
    arena.set_number(Target::MultipartCrlfLfLines, u8::from(mixed));
    arena.set_number(Target::MultipartFileLimitExceeded, 0);
    arena.set_number(Target::MultipartStrictError, u8::from(strict));
    arena.set_number(Target::MultipartUnmatchedBoundary, flags.unmatched_boundary);
}
