//! `name=value&name=value`: query strings and urlencoded forms (WHATWG URL §5.1). Nothing is
//! refused here: what is not a valid escape stays as it is.

use super::{Arena, Span, pieces};
use crate::target::Target;

/// The kinds that names and values become.
#[derive(Debug)]
pub(crate) struct Kinds {
    names: &'static [Target],
    values: Target,
}

/// Of a query string.
pub(crate) const QUERY: Kinds = Kinds { names: &[Target::ArgsGetNames], values: Target::ArgsGet };
/// Of a form or multipart body.
pub(crate) const BODY: Kinds =
    Kinds { names: &[Target::ArgsPostNames, Target::BodyName], values: Target::ArgsPost };

impl Kinds {
    /// Adds one argument.
    pub(crate) fn add(&self, arena: &mut Arena, name: Span, value: Span) {
        arena.note_argument(name, value);
        for target in self.names {
            arena.add(*target, name, name);
        }
        arena.add(self.values, name, value);
    }
}

/// Adds the names and values of `text`. As in libmodsecurity, two separators in a row make an
/// argument without name and value.
pub(crate) fn collect(arena: &mut Arena, text: &[u8], kinds: &Kinds) {
    if text.is_empty() {
        return;
    }
    for pair in pieces(text, b'&') {
        if arena.overflown() {
            return;
        }
        let (name, value) = match memchr::memchr(b'=', pair) {
            Some(at) => (pair.get(..at), pair.get(at + 1..)),
            None => (Some(pair), None),
        };
        arena.bad_escape |= has_bad_escape(pair);
        let name = arena.write(|out| decode(name.unwrap_or_default(), out));
        let value = arena.write(|out| decode(value.unwrap_or_default(), out));
        kinds.add(arena, name, value);
    }
}

/// Whether a percent sign starts no triplet.
fn has_bad_escape(text: &[u8]) -> bool {
    memchr::memchr_iter(b'%', text).any(|at| {
        let digits = text.get(at + 1..at + 3).unwrap_or_default();
        digits.len() < 2 || !digits.iter().all(u8::is_ascii_hexdigit)
    })
}

/// Appends `text` with `%XX` and `+` decoded.
pub(crate) fn decode(text: &[u8], out: &mut Vec<u8>) {
    decode_with(text, b' ', out);
}

/// Appends `text` with `%XX` decoded; a plus stays a plus, as in a path.
pub(crate) fn decode_path(text: &[u8], out: &mut Vec<u8>) {
    decode_with(text, b'+', out);
}

fn decode_with(text: &[u8], plus: u8, out: &mut Vec<u8>) {
    out.reserve(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'%', [high, low, tail @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = tail;
                }
                _ => out.push(b'%'),
            },
            (b'+', _) => out.push(plus),
            _ => out.push(byte),
        }
    }
}

/// The value of a hexadecimal digit.
pub(crate) fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, pairs: &[(&str, &str)]) {
        let mut arena = Arena::of_everything();
        collect(&mut arena, text.as_bytes(), &QUERY);
        let found: Vec<(Vec<u8>, Vec<u8>)> = arena
            .values()
            .iter()
            .filter(|value| value.target == Target::ArgsGet)
            .map(|value| (arena.bytes(value.name).to_vec(), arena.bytes(value.bytes).to_vec()))
            .collect();
        let wanted: Vec<(Vec<u8>, Vec<u8>)> =
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        assert_eq!(found, wanted, "{text}");
    }

    #[test]
    fn pairs_are_split_and_decoded_once() {
        check("a=1&b=2", &[("a", "1"), ("b", "2")]);
        check("a=1=2&&=x&c", &[("a", "1=2"), ("", ""), ("", "x"), ("c", "")]);
        check("a&", &[("a", "")]);
        check("", &[]);
        check("%61=x+y%2Bz", &[("a", "x y+z")]);
        check("a=%2541", &[("a", "%41")]);
        check("a=%zz%4&b=%", &[("a", "%zz%4"), ("b", "%")]);
    }
}
