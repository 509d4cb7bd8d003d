//! `type/subtype; name=value` (RFC 9110 §8.3.1): the grammar of Content-Type, and of
//! Content-Disposition, which looks the same (RFC 6266 §4.1).

/// More parameters are malformed: each new name is compared with those before it.
const MAX_PARAMS: usize = 32;

/// A field value's first word and its parameters.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct MediaType {
    /// In lower case, without whitespace around it.
    pub(crate) essence: Vec<u8>,
    /// Names in lower case, values without their quotes, in the order given.
    params: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether something in it breaks the grammar, such as an open quote or a name given twice.
    pub(crate) malformed: bool,
}

impl MediaType {
    pub(crate) fn parse(text: &[u8]) -> Self {
        let end = memchr::memchr(b';', text).unwrap_or(text.len());
        let (essence, mut rest) = text.split_at(end);
        let essence = essence.trim_ascii().to_ascii_lowercase();
        let mut parsed = Self { essence, ..Self::default() };
        while let Some(params) = rest.strip_prefix(b";") {
            if parsed.params.len() >= MAX_PARAMS {
                parsed.malformed = true;
                return parsed;
            }
            rest = parsed.take_param(params.trim_ascii_start());
        }
        parsed.malformed |= !rest.is_empty();
        parsed
    }

    /// The first value of a parameter.
    pub(crate) fn param(&self, name: &[u8]) -> Option<&[u8]> {
        self.params.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice())
    }

    /// Reads one parameter; what follows it.
    fn take_param<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        let end = text.iter().position(|byte| matches!(byte, b'=' | b';'));
        let (name, rest) = text.split_at(end.unwrap_or(text.len()));
        let name = name.trim_ascii().to_ascii_lowercase();
        let Some(value) = rest.strip_prefix(b"=") else {
            self.malformed |= !name.is_empty();
            return rest;
        };
        let (value, rest) = match value.trim_ascii_start().strip_prefix(b"\"") {
            Some(quoted) => self.quoted(quoted),
            None => {
                let end = memchr::memchr(b';', value).unwrap_or(value.len());
                let (token, rest) = value.split_at(end);
                (token.trim_ascii().to_vec(), rest)
            }
        };
        self.malformed |= name.is_empty() || self.param(&name).is_some();
        self.params.push((name, value));
        rest.trim_ascii_start()
    }

    /// Reads a quoted string behind its opening quote. A backslash escapes a quote or another
    /// backslash only, since browsers send Windows paths as they are.
    fn quoted<'a>(&mut self, text: &'a [u8]) -> (Vec<u8>, &'a [u8]) {
        let mut value = Vec::new();
        let mut rest = text;
        loop {
            match rest {
                [b'\\', escaped @ (b'"' | b'\\'), tail @ ..] => {
                    value.push(*escaped);
                    rest = tail;
                }
                [b'"', tail @ ..] => return (value, tail),
                [byte, tail @ ..] => {
                    value.push(*byte);
                    rest = tail;
                }
                [] => {
                    self.malformed = true;
                    return (value, rest);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, essence: &str, params: &[(&str, &str)], malformed: bool) {
        let parsed = MediaType::parse(text.as_bytes());
        let params: Vec<(Vec<u8>, Vec<u8>)> =
            params.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        assert_eq!(parsed, MediaType { essence: essence.into(), params, malformed }, "{text}");
    }

    #[test]
    fn parameters_are_read() {
        check("Text/HTML", "text/html", &[], false);
        check(
            "a/b; Charset=utf-8 ; x=\"y; z\"",
            "a/b",
            &[("charset", "utf-8"), ("x", "y; z")],
            false,
        );
        check(r#"form-data; name="a\"b\\c\d""#, "form-data", &[("name", r#"a"b\c\d"#)], false);
        check("a/b;", "a/b", &[], false);
    }

    #[test]
    fn broken_parameters_are_told() {
        check("a/b; x=\"y", "a/b", &[("x", "y")], true);
        check("a/b; x", "a/b", &[], true);
        check("a/b; x=1; X=2", "a/b", &[("x", "1"), ("x", "2")], true);
        check("a/b; x=\"y\"z; b=c", "a/b", &[("x", "y")], true);
    }
}
