//! JSON (RFC 8259), strictly: keys and strings become values named by their path, such as
//! `json.items.0.text`. Numbers and literals cannot carry an attack and are left out.

use rustc_hash::FxHashSet;

use crate::target::Target;
use crate::values::Arena;
use crate::values::urlencoded::hex;

/// Deeper documents are a finding; origins' own parsers stop at similar depths.
const MAX_DEPTH: usize = 64;

/// Why a document could not be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JsonError {
    /// The text ends too early.
    Ended,
    /// The text breaks the grammar.
    Malformed,
    /// It is nested deeper than [`MAX_DEPTH`].
    TooDeep,
}

/// Adds the document's keys and strings, as far as it can be read.
pub(crate) fn collect(arena: &mut Arena, bytes: &[u8]) -> Result<(), JsonError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader =
        Reader { arena, rest: bytes, path: b"json".to_vec(), seen: FxHashSet::default() };
    reader.value(0)?;
    reader.skip_whitespace();
    if reader.rest.is_empty() { Ok(()) } else { Err(JsonError::Malformed) }
}

struct Reader<'a> {
    arena: &'a mut Arena,
    rest: &'a [u8],
    path: Vec<u8>,
    /// The keys that were added; in a list of records each comes once.
    seen: FxHashSet<Vec<u8>>,
}

impl Reader<'_> {
    fn skip_whitespace(&mut self) {
        while let Some((b' ' | b'\t' | b'\n' | b'\r', tail)) = self.rest.split_first() {
            self.rest = tail;
        }
    }

    /// The next byte that is not whitespace, taken.
    fn token(&mut self) -> Result<u8, JsonError> {
        self.skip_whitespace();
        let (byte, tail) = self.rest.split_first().ok_or(JsonError::Ended)?;
        self.rest = tail;
        Ok(*byte)
    }

    fn value(&mut self, depth: usize) -> Result<(), JsonError> {
        if depth > MAX_DEPTH {
            return Err(JsonError::TooDeep);
        }
        match self.token()? {
            b'{' => self.object(depth),
            b'[' => self.list(depth),
            b'"' => {
                let mut text = Vec::new();
                let result = self.string(&mut text);
                let (name, text) = (self.arena.copy(&self.path), self.arena.copy(&text));
                self.arena.add(Target::ArgsPost, name, text);
                result
            }
            b't' => self.literal(b"rue"),
            b'f' => self.literal(b"alse"),
            b'n' => self.literal(b"ull"),
            b'-' => self.number(),
            first @ b'0'..=b'9' => self.number_after(first),
            _ => Err(JsonError::Malformed),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), JsonError> {
        let outer = self.path.len();
        let mut next = self.token()?;
        if next == b'}' {
            return Ok(());
        }
        loop {
            if next != b'"' {
                return Err(JsonError::Malformed);
            }
            let mut key = Vec::new();
            self.string(&mut key)?;
            self.path.push(b'.');
            self.path.extend_from_slice(&key);
            self.add_key(key);
            if self.token()? != b':' {
                return Err(JsonError::Malformed);
            }
            self.value(depth + 1)?;
            self.path.truncate(outer);
            match self.token()? {
                b',' => next = self.token()?,
                b'}' => return Ok(()),
                _ => return Err(JsonError::Malformed),
            }
        }
    }

    fn add_key(&mut self, key: Vec<u8>) {
        if !self.seen.contains(&key) {
            let (name, bytes) = (self.arena.copy(&self.path), self.arena.copy(&key));
            self.arena.add(Target::BodyName, name, bytes);
            self.seen.insert(key);
        }
    }

    fn list(&mut self, depth: usize) -> Result<(), JsonError> {
        self.skip_whitespace();
        if let Some((b']', tail)) = self.rest.split_first() {
            self.rest = tail;
            return Ok(());
        }
        let outer = self.path.len();
        for index in 0_usize.. {
            self.path.push(b'.');
            self.path.extend_from_slice(index.to_string().as_bytes());
            self.value(depth + 1)?;
            self.path.truncate(outer);
            match self.token()? {
                b',' => {}
                b']' => break,
                _ => return Err(JsonError::Malformed),
            }
        }
        Ok(())
    }

    fn literal(&mut self, rest: &[u8]) -> Result<(), JsonError> {
        match self.rest.strip_prefix(rest) {
            Some(tail) => {
                self.rest = tail;
                Ok(())
            }
            None if rest.starts_with(self.rest) => Err(JsonError::Ended),
            None => Err(JsonError::Malformed),
        }
    }

    /// A number behind its minus sign.
    fn number(&mut self) -> Result<(), JsonError> {
        let (first, tail) = self.rest.split_first().ok_or(JsonError::Ended)?;
        self.rest = tail;
        if first.is_ascii_digit() { self.number_after(*first) } else { Err(JsonError::Malformed) }
    }

    fn number_after(&mut self, first: u8) -> Result<(), JsonError> {
        if self.digits() > 0 && first == b'0' {
            return Err(JsonError::Malformed);
        }
        if let Some(tail) = self.rest.strip_prefix(b".") {
            self.rest = tail;
            if self.digits() == 0 {
                return Err(JsonError::Malformed);
            }
        }
        if let Some((b'e' | b'E', tail)) = self.rest.split_first() {
            let tail = tail.strip_prefix(b"+").or(tail.strip_prefix(b"-")).unwrap_or(tail);
            self.rest = tail;
            if self.digits() == 0 {
                return Err(JsonError::Malformed);
            }
        }
        Ok(())
    }

    fn digits(&mut self) -> usize {
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.rest = self.rest.get(count..).unwrap_or_default();
        count
    }

    /// A string behind its opening quote, unescaped as far as it goes.
    fn string(&mut self, out: &mut Vec<u8>) -> Result<(), JsonError> {
        loop {
            let end = self.rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
            let (plain, tail) = self.rest.split_at(end.unwrap_or(self.rest.len()));
            out.extend_from_slice(plain);
            match tail {
                [b'"', tail @ ..] => {
                    self.rest = tail;
                    return Ok(());
                }
                [b'\\', tail @ ..] => self.rest = escape(tail, out)?,
                [] => return Err(JsonError::Ended),
                _ => return Err(JsonError::Malformed),
            }
        }
    }
}

/// Decodes what follows a backslash; what comes after it.
fn escape<'a>(text: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], JsonError> {
    let (kind, tail) = text.split_first().ok_or(JsonError::Ended)?;
    let byte = match kind {
        b'"' | b'\\' | b'/' => *kind,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => return code_unit(tail, out),
        _ => return Err(JsonError::Malformed),
    };
    out.push(byte);
    Ok(tail)
}

fn code_unit<'a>(text: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], JsonError> {
    let (unit, tail) = hex4(text)?;
    let (code, tail) = match (unit, tail) {
        (0xd800..=0xdbff, [b'\\', b'u', low @ ..]) => match hex4(low)? {
            (low @ 0xdc00..=0xdfff, tail) => {
                (0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00), tail)
            }
            _ => (unit, tail),
        },
        _ => (unit, tail),
    };
    let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(tail)
}

fn hex4(text: &[u8]) -> Result<(u32, &[u8]), JsonError> {
    let (digits, tail) = text.split_at_checked(4).ok_or(JsonError::Ended)?;
    let code = digits.iter().try_fold(0, |code, digit| Some(code << 4 | u32::from(hex(*digit)?)));
    code.map(|code| (code, tail)).ok_or(JsonError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, result: Result<(), JsonError>, values: &[(&str, &str)]) {
        let mut arena = Arena::default();
        assert_eq!(collect(&mut arena, text.as_bytes()), result, "{text}");
        let found: Vec<(String, String)> = arena
            .values()
            .iter()
            .filter(|value| value.target == Target::ArgsPost)
            .map(|value| {
                [value.name, value.bytes]
                    .map(|span| String::from_utf8_lossy(arena.bytes(span)).into_owned())
                    .into()
            })
            .collect();
        let values: Vec<(String, String)> =
            values.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        assert_eq!(found, values, "{text}");
    }

    #[test]
    fn strings_are_named_by_their_path() {
        check(
            r#"{"a":{"b":["x",1,"y"]},"c":""}"#,
            Ok(()),
            &[("json.a.b.0", "x"), ("json.a.b.2", "y")],
        );
        check(r#" "top" "#, Ok(()), &[("json", "top")]);
        check(r#"["<\u0073\/\"\ud83d\ude00\ud800"]"#, Ok(()), &[("json.0", "<s/\"😀\u{fffd}")]);
        check("\u{feff}[]", Ok(()), &[]);
        check("[-0.5e+3, 10, true, false, null, {}]", Ok(()), &[]);
        check(r#"{"a":"1","a":"2"}"#, Ok(()), &[("json.a", "1"), ("json.a", "2")]);
    }

    #[test]
    fn the_grammar_is_kept() {
        for text in [
            "[1,]",
            "{,}",
            "{\"a\" 1}",
            "[1 2]",
            "01",
            "1.",
            "[+1]",
            "'a'",
            "[] []",
            "tru e",
            "[\n\"\\u00zz\"]",
            "//x",
        ] {
            check(text, Err(JsonError::Malformed), &[]);
        }
        for text in ["", "[", "{\"a\":", "tru", "[\"\\u00", "-"] {
            check(text, Err(JsonError::Ended), &[]);
        }
        check("[\"a\nb\"]", Err(JsonError::Malformed), &[("json.0", "a")]);
        check("[\"a\",\"b", Err(JsonError::Ended), &[("json.0", "a"), ("json.1", "b")]);
        check(&"[".repeat(100_000), Err(JsonError::TooDeep), &[]);
    }
}
