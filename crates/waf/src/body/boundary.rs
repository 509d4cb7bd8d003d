//! The boundary of a multipart body, in its content type and in its lines, as strictly as
//! libmodsecurity takes it.

use memchr::memmem;

use super::parts::Flags;

/// The word between the parts.
#[derive(Debug)]
pub(super) struct Boundary {
    word: Vec<u8>,
    quoted: bool,
}

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    Boundary {
        last: bool,
        ending: &'a [u8],
    },
    Broken(&'static str),
    Other,
    /// It looks like a boundary, and is none.
    Similar,
}

/// Reads the content type.
pub(super) fn read(content_type: &[u8], flags: &mut Flags) -> Result<Boundary, &'static str> {
    const ESSENCE: &[u8] = b"multipart/form-data";
    if content_type.len() > 1024 {
        return Err("invalid boundary in C-T (length)");
    }
    let lower = content_type.to_ascii_lowercase();
    let params = lower.strip_prefix(ESSENCE).ok_or("invalid MIME type")?;
    if count(params) > 1 {
        return Err("multiple boundary parameters in C-T");
    }
    let at = memmem::find(content_type, b"boundary").ok_or("boundary not found in C-T")?;
    let before = content_type.get(ESSENCE.len()..at).unwrap_or_default();
    match before.trim_ascii() {
        b";" => {}
        b"" => flags.missing_semicolon = true,
        _ => return Err("invalid boundary in C-T (malformed)"),
    }
    let param = content_type.get(at + 8..).unwrap_or_default();
    let equals = memchr::memchr(b'=', param).ok_or("invalid boundary in C-T (malformed)")?;
    let (gap, value) = param.split_at(equals);
    let value = value.get(1..).unwrap_or_default();
    if !gap.trim_ascii().is_empty() {
        return Err("invalid boundary in C-T (parameter name)");
    }
    flags.boundary_whitespace |=
        !gap.is_empty() || value.first().is_some_and(u8::is_ascii_whitespace);
    let unquoted = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let quoted = unquoted.is_some();
    flags.boundary_quoted = quoted;
    if !quoted && (value.starts_with(b"\"") || value.ends_with(b"\"")) {
        return Err("invalid boundary in C-T (quote)");
    }
    let mut word = unquoted.unwrap_or(value);
    if count(&word.to_ascii_lowercase()) > 0 {
        return Err("invalid boundary in C-T (content)");
    }
    if !is_legal(word) {
        // Some clients write a charset behind the boundary.
        word = word.split(|byte| *byte == b';').next().unwrap_or_default();
    }
    if word.is_empty() {
        return Err("invalid boundary in C-T (empty)");
    }
    if !is_legal(word) {
        return Err("invalid boundary in C-T (characters)");
    }
    Ok(Boundary { word: word.to_vec(), quoted })
}

/// How many parameters look like a boundary, in lower case.
fn count(text: &[u8]) -> usize {
    memmem::find_iter(text, b"boundary")
        .filter(|at| text.get(*at..).is_some_and(|rest| rest.contains(&b'=')))
        .count()
}

fn is_legal(word: &[u8]) -> bool {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(byte);
    word.iter().all(legal) && !word.ends_with(b" ")
}

impl Boundary {
    /// What a line, with its end, is.
    pub(super) fn look<'a>(&self, line: &'a [u8]) -> Line<'a> {
        let word = self.word.as_slice();
        let Some(rest) = line.strip_prefix(b"--").filter(|_| line.len() > 3) else {
            let found = memmem::find(line, &[b"--", word].concat()).is_some();
            return if found { Line::Similar } else { Line::Other };
        };
        if let Some(ending) = rest.strip_prefix(word) {
            let (last, ending) = match ending.strip_prefix(b"--") {
                Some(ending) => (true, ending),
                None => (false, ending),
            };
            return Line::Boundary { last, ending };
        }
        if self.quoted && rest.strip_prefix(b"\"").is_some_and(|rest| rest.starts_with(word)) {
            return Line::Broken("invalid boundary (quotes)");
        }
        let trimmed = rest.trim_ascii_start();
        if trimmed.len() < rest.len() && trimmed.starts_with(word) {
            return Line::Broken("invalid boundary (whitespace)");
        }
        Line::Similar
    }
}
