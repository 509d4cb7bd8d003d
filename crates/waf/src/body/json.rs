//! JSON (RFC 8259), strictly: scalars become arguments named by their path as libmodsecurity names
//! them, such as `json.items.array_0.text`; a null is an empty one. A document that is not UTF-8 is
//! malformed.

use rustc_hash::FxHashSet;

use crate::target::Target;
use crate::values::Arena;
use crate::values::urlencoded::hex;

/// Deeper documents are a finding unless a limit says otherwise; origins' own parsers stop at
/// similar depths.
pub(crate) const DEPTH: usize = 64;

/// No limit allows more: the reader calls itself once a level.
const MAX_DEPTH: usize = 512;

/// How many times the document's size its names and values may take, with some room beside that.
const GROWTH: usize = 8;
const ROOM: usize = 64 << 10;

/// Why a document could not be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JsonError {
    /// The text ends too early.
    Ended,
    /// The text breaks the grammar.
    Malformed,
    /// It has more values than are looked at.
    TooMany,
    /// It is nested deeper than the limit.
    TooDeep,
}

/// Adds the document's keys and strings, as far as it can be read.
pub(crate) fn collect(arena: &mut Arena, bytes: &[u8], depth: usize) -> Result<(), JsonError> {
    let max_depth = depth.min(MAX_DEPTH);
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let max_size = arena.len() + GROWTH * bytes.len() + ROOM;
    let mut reader = Reader {
        arena,
        max_size,
        rest: bytes,
        path: b"json".to_vec(),
        seen: FxHashSet::default(),
        max_depth,
    };
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
    max_depth: usize,
    /// How large the arena may become: names repeat the keys above them, so that a small document
    /// could fill any memory.
    max_size: usize,
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
        if self.arena.overflown() || self.arena.len() > self.max_size {
            self.arena.overflow();
            return Err(JsonError::TooMany);
        }
        if depth > self.max_depth {
            return Err(JsonError::TooDeep);
        }
        match self.token()? {
            b'{' => self.object(depth),
            b'[' => self.list(depth),
            b'"' => {
                let mut text = Vec::new();
                let result = self.string(&mut text);
                self.add(&text);
                result
            }
            b't' => self.literal(b"rue", b"true"),
            b'f' => self.literal(b"alse", b"false"),
            b'n' => self.literal(b"ull", b""),
            first @ (b'-' | b'0'..=b'9') => {
                let from = self.rest;
                if first == b'-' { self.number() } else { self.number_after(first) }?;
                let length = from.len() - self.rest.len();
                let mut text = vec![first];
                text.extend_from_slice(from.get(..length).unwrap_or_default());
                self.add(&text);
                Ok(())
            }
            _ => Err(JsonError::Malformed),
        }
    }

    fn add(&mut self, text: &[u8]) {
        let (name, text) = (self.arena.copy(&self.path), self.arena.copy(text));
        self.arena.note_argument(name, text);
        self.arena.add(Target::ArgsJsonNames, name, name);
        self.arena.add(Target::ArgsJson, name, text);
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
            self.path.extend_from_slice(if key.is_empty() { b"empty-key" } else { &key });
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
            self.path.extend_from_slice(b".array_");
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

    fn literal(&mut self, rest: &[u8], told: &[u8]) -> Result<(), JsonError> {
        match self.rest.strip_prefix(rest) {
            Some(tail) => {
                self.rest = tail;
                self.add(told);
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
            if let Err(error) = std::str::from_utf8(plain) {
                // A document that was cut off may end within a character.
                let cut = tail.is_empty() && error.error_len().is_none();
                return Err(if cut { JsonError::Ended } else { JsonError::Malformed });
            }
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
        let mut arena = Arena::of_everything();
        assert_eq!(collect(&mut arena, text.as_bytes(), DEPTH), result, "{text}");
        let found: Vec<(String, String)> = arena
            .values()
            .iter()
            .filter(|value| value.target == Target::ArgsJson)
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
    fn hostile_documents_take_bounded_memory_and_stack() {
        let deep = "[".repeat(MAX_DEPTH + 10);
        let read = move || {
            let mut arena = Arena::of_everything();
            collect(&mut arena, deep.as_bytes(), usize::MAX)
        };
        let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(read).unwrap();
        assert_eq!(thread.join().unwrap(), Err(JsonError::TooDeep));
        let long = format!(r#"{{"{}":[{}1]}}"#, "k".repeat(60_000), "1,".repeat(4_000));
        let mut arena = Arena::of_everything();
        assert_eq!(collect(&mut arena, long.as_bytes(), DEPTH), Err(JsonError::TooMany));
        assert!(arena.len() < 1 << 20, "{}", arena.len());
    }

    #[test]
    fn scalars_are_named_by_their_path() {
        check(
            r#"{"a":{"b":["x",1,["y"],{"k":null}]},"":true}"#,
            Ok(()),
            &[
                ("json.a.b.array_0", "x"),
                ("json.a.b.array_1", "1"),
                ("json.a.b.array_2.array_0", "y"),
                ("json.a.b.array_3.k", ""),
                ("json.empty-key", "true"),
            ],
        );
        check(r#" "top" "#, Ok(()), &[("json", "top")]);
        check(
            r#"["<\u0073\/\"\ud83d\ude00\ud800"]"#,
            Ok(()),
            &[("json.array_0", "<s/\"😀\u{fffd}")],
        );
        check("\u{feff}[]", Ok(()), &[]);
        check("[-0.5e+3]", Ok(()), &[("json.array_0", "-0.5e+3")]);
        check(r#"{"a":"1","a":"2"}"#, Ok(()), &[("json.a", "1"), ("json.a", "2")]);
    }

    #[test]
    fn the_grammar_is_kept() {
        for text in [
            "{,}",
            "{\"a\" 1}",
            "01",
            "1.",
            "[+1]",
            "'a'",
            "[] []",
            "tru e",
            "[\n\"\\u00zz\"]",
            "//x",
        ] {
            let mut arena = Arena::of_everything();
            assert_eq!(
                collect(&mut arena, text.as_bytes(), DEPTH),
                Err(JsonError::Malformed),
                "{text}"
            );
        }
        for text in ["", "[", "{\"a\":", "tru", "[\"\\u00", "-"] {
            let mut arena = Arena::of_everything();
            assert_eq!(
                collect(&mut arena, text.as_bytes(), DEPTH),
                Err(JsonError::Ended),
                "{text}"
            );
        }
        check("[\"a\nb\"]", Err(JsonError::Malformed), &[("json.array_0", "a")]);
        check("[\"a\",\"b", Err(JsonError::Ended), &[("json.array_0", "a"), ("json.array_1", "b")]);
        check(&"[".repeat(1_000_000), Err(JsonError::TooDeep), &[]);
        let mut arena = Arena::of_everything();
        assert_eq!(collect(&mut arena, b"[\"\xff\"]", DEPTH), Err(JsonError::Malformed));
    }
}
