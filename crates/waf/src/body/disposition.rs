//! A part's Content-Disposition, as strictly as libmodsecurity takes it.

use super::parts::Flags;

/// What a part is called, and the name of its file.
#[derive(Debug, Default)]
pub(super) struct Disposition {
    pub(super) name: Vec<u8>,
    pub(super) file_name: Vec<u8>,
}

const BROKEN: &str = "invalid Content-Disposition header";

/// Reads the field; `note` is told every `name` and `filename`, the latter with `true`.
pub(super) fn read(
    field: &[u8],
    flags: &mut Flags,
    mut note: impl FnMut(bool, &[u8]),
) -> Result<Disposition, &'static str> {
    let mut found = Disposition::default();
    let mut extended = false;
    let mut rest = trim(field.strip_prefix(b"form-data").ok_or(BROKEN)?);
    while !rest.is_empty() {
        rest = trim(rest.strip_prefix(b";").ok_or(BROKEN)?);
        let end = rest.iter().position(|byte| matches!(byte, b'=' | b' ' | b'\t')).ok_or(BROKEN)?;
        let (key, tail) = rest.split_at(end);
        let value = trim(trim(tail).strip_prefix(b"=").ok_or(BROKEN)?);
        if value.is_empty() {
            return Err(BROKEN);
        }
        if key == b"filename*" {
            if extended {
                return Err(BROKEN);
            }
            extended = true;
            rest = trim(extended_value(value)?);
            continue;
        }
        let (value, tail) = quoted_or_token(value, flags);
        rest = trim(tail);
        match key {
            b"name" => {
                note(false, &value);
                if !found.name.is_empty() {
                    return Err(BROKEN);
                }
                found.name = value;
            }
            b"filename" => {
                note(true, &value);
                if !found.file_name.is_empty() {
                    return Err(BROKEN);
                }
                found.file_name = value;
            }
            _ => return Err(BROKEN),
        }
        if !rest.is_empty() && !rest.starts_with(b";") {
            flags.invalid_quoting |= ends_in_quote(field, rest);
            return Err(BROKEN);
        }
    }
    if extended && found.file_name.is_empty() { Err(BROKEN) } else { Ok(found) }
}

/// Whether a quote stands right before `rest`, which is the end of `field`.
fn ends_in_quote(field: &[u8], rest: &[u8]) -> bool {
    let before = field.len().checked_sub(rest.len() + 1).and_then(|at| field.get(at));
    matches!(before, Some(b'\'' | b'"'))
}

fn trim(text: &[u8]) -> &[u8] {
    let blank = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    text.get(blank..).unwrap_or_default()
}

/// A value and what follows it. Apostrophes quote for some servers, and are told.
fn quoted_or_token<'a>(text: &'a [u8], flags: &mut Flags) -> (Vec<u8>, &'a [u8]) {
    let quote = match text.first() {
        Some(quote @ (b'"' | b'\'')) => *quote,
        _ => {
            let end = text.iter().position(|byte| !is_token(*byte)).unwrap_or(text.len());
            let (value, tail) = text.split_at(end);
            flags.invalid_quoting |= value.contains(&b'\'');
            return (value.to_vec(), tail);
        }
    };
    flags.invalid_quoting |= quote == b'\'';
    let mut value = Vec::new();
    let mut rest = text.get(1..).unwrap_or_default();
    loop {
        match rest {
            [b'\\', escaped, tail @ ..] if *escaped == quote || *escaped == b'\\' => {
                value.push(*escaped);
                rest = tail;
            }
            [byte, tail @ ..] if *byte == quote => return (value, tail),
            [byte, tail @ ..] => {
                value.push(*byte);
                rest = tail;
            }
            [] => return (value, rest),
        }
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(&byte)
}

/// `charset'language'name` (RFC 8187 §3.2); what follows it.
fn extended_value(text: &[u8]) -> Result<&[u8], &'static str> {
    let charset = memchr::memchr(b'\'', text).filter(|at| *at > 0).ok_or(BROKEN)?;
    let rest = text.get(charset + 1..).unwrap_or_default();
    let language = memchr::memchr(b'\'', rest).ok_or(BROKEN)?;
    let rest = rest.get(language + 1..).unwrap_or_default();
    let end = memchr::memchr(b';', rest).unwrap_or(rest.len());
    let (value, tail) = rest.split_at(end);
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~%".contains(byte);
    if value.iter().all(legal) { Ok(tail) } else { Err(BROKEN) }
}
