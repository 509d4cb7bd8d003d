//! Patterns as ModSecurity's users write them, for PCRE, in the dialect of the linear engine that
//! runs them here.
//!
//! The same text means different things to the two: to PCRE `{` is a letter unless a repetition
//! follows, `[`, `&&`, `--` and `~~` are letters within a class, and `\<` is a letter where it would
//! be the start of a word here. Such places are rewritten; backreferences and lookaround, which
//! cannot run in linear time, are refused.

use regex_automata::util::syntax;

/// Why a pattern cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PatternError {
    /// It does not compile anywhere.
    Broken(String),
    /// PCRE would take it; it needs a backreference, lookaround or the like.
    Unsupported(String),
}

/// The pattern in the engine's dialect, checked: it compiles in byte mode.
pub(crate) fn translate(pattern: &str) -> Result<String, PatternError> {
    let translated = rewrite(pattern);
    let config = syntax::Config::new().unicode(false).utf8(false).dot_matches_new_line(true);
    let Err(error) = syntax::parse_with(&translated, &config) else { return Ok(translated) };
    let error = error.to_string();
    let what = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
    let shown: String = pattern.chars().take(80).collect();
    let message = format!("the pattern `{shown}` does not compile: {what}");
    if what.contains("look-around") || what.contains("backreferences") || shown.contains("(?>") {
        return Err(PatternError::Unsupported(message));
    }
    Err(PatternError::Broken(message))
}

fn rewrite(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    // How many members of the class were seen, if in one.
    let mut class: Option<usize> = None;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        match (c, class) {
            ('\\', _) => taken = escape(rest, class.is_some(), &mut out),
            ('[', None) => {
                class = Some(0);
                out.push('[');
                if rest.get(1..2) == Some("^") {
                    out.push('^');
                    taken = 2;
                }
            }
            // A bracket that comes first is a member, to both.
            (']', Some(0)) => out.push_str("\\]"),
            (']', Some(_)) => {
                class = None;
                out.push(']');
            }
            ('[', Some(_)) if rest.starts_with("[:") && rest.contains(":]") => {
                taken = rest.find(":]").map_or(1, |at| at + 2);
                out.push_str(rest.get(..taken).unwrap_or_default());
            }
            ('[' | '&' | '~', Some(_)) => {
                out.push('\\');
                out.push(c);
            }
            ('-', Some(members)) if members > 0 && rest.starts_with("--") => out.push('-'),
            ('{', None) if !is_repetition(rest) => out.push_str("\\{"),
            ('{', None) => {
                // `{,5}` is no repetition to PCRE; `{1,5}` is one to both.
                taken = rest.find('}').map_or(1, |at| at + 1);
                out.push_str(rest.get(..taken).unwrap_or_default());
            }
            ('}', None) => out.push_str("\\}"),
            _ => push(c, &mut out),
        }
        if let Some(members) = &mut class
            && !(c == '[' && *members == 0 && out.ends_with(['[', '^']) && !out.ends_with("\\["))
        {
            *members += 1;
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    out
}

/// Writes a letter; beyond ASCII, as the bytes that PCRE sees.
fn push(c: char, out: &mut String) {
    if c.is_ascii() {
        return out.push(c);
    }
    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
        out.push_str(&format!("\\x{byte:02x}"));
    }
}

/// Writes an escape, and says how long it was.
fn escape(rest: &str, in_class: bool, out: &mut String) -> usize {
    let Some(next) = rest.chars().nth(1) else {
        out.push('\\');
        return 1;
    };
    match next {
        '<' | '>' => out.push(next),
        'e' => out.push_str("\\x1b"),
        'h' if in_class => out.push_str("\\t "),
        'h' => out.push_str("[\\t ]"),
        'R' if !in_class => out.push_str("(?:\\r\\n|[\\n\\x0b\\x0c\\r])"),
        'v' if in_class => out.push_str("\\n\\x0b\\x0c\\r"),
        'v' => out.push_str("[\\n\\x0b\\x0c\\r]"),
        'Z' if !in_class => out.push_str("\\n?\\z"),
        'b' if in_class => out.push_str("\\x08"),
        '0' => return octal(rest, out),
        'x' => return hex(rest, out),
        'c' if rest.as_bytes().get(2).is_some_and(u8::is_ascii) => {
            let byte = rest.as_bytes().get(2).map_or(0, |byte| byte.to_ascii_uppercase() ^ 0x40);
            out.push_str(&format!("\\x{byte:02x}"));
            return 3;
        }
        'i' | 'j' | 'l' | 'm' | 'o' | 'q' | 'y' => out.push(next),
        next if next.is_ascii() => {
            out.push('\\');
            out.push(next);
        }
        next => push(next, out),
    }
    1 + next.len_utf8()
}

/// `\0`, `\07` and `\012` are bytes.
fn octal(rest: &str, out: &mut String) -> usize {
    let digits = rest.bytes().skip(1).take(3).take_while(|byte| (b'0'..=b'7').contains(byte));
    let (count, value) = digits
        .fold((0, 0_u32), |(count, value), digit| (count + 1, value * 8 + u32::from(digit - b'0')));
    out.push_str(&format!("\\x{:02x}", value & 0xFF));
    1 + count
}

/// `\xbc` and `\x{bc}` are bytes.
fn hex(rest: &str, out: &mut String) -> usize {
    let braced = rest.get(3..).and_then(|inner| inner.split_once('}')).map(|(digits, _)| digits);
    if let (Some("{"), Some(digits)) = (rest.get(2..3), braced)
        && let Ok(value) = u8::from_str_radix(digits, 16)
    {
        out.push_str(&format!("\\x{value:02x}"));
        return 4 + digits.len();
    }
    let digits = rest.bytes().skip(2).take(2).take_while(u8::is_ascii_hexdigit).count();
    let value = rest.get(2..2 + digits).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    out.push_str(&format!("\\x{:02x}", value.unwrap_or(0)));
    2 + digits
}

fn is_repetition(rest: &str) -> bool {
    let Some((inner, _)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
        return false;
    };
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match inner.split_once(',') {
        Some((least, most)) => number(least) && (most.is_empty() || number(most)),
        None => number(inner),
    }
}

#[cfg(test)]
mod tests {
    use regex::bytes::Regex;

    use super::*;

    #[track_caller]
    fn check(pattern: &str, hits: &[&[u8]], passes: &[&[u8]]) {
        let translated = translate(pattern).unwrap();
        let regex = Regex::new(&format!("(?s-u){translated}")).unwrap();
        for (values, expected) in [(hits, true), (passes, false)] {
            for value in values {
                assert_eq!(regex.is_match(value), expected, "{pattern} → {translated} {value:?}");
            }
        }
    }

    #[test]
    fn what_pcre_reads_otherwise_is_rewritten() {
        check("^{a}$", &[b"{a}"], &[b"a"]);
        check("^a{2}b{1,}{x$", &[b"aab{x"], &[b"ab{x"]);
        check("^a{,2}$", &[b"a{,2}"], &[b"aa"]);
        check("^[^a[b]$", &[b"c", b"]"], &[b"[", b"a"]);
        check("^[a&&b~~c]$", &[b"&", b"~", b"a"], &[b"d"]);
        check("^[[:digit:]x]$", &[b"5", b"x"], &[b":"]);
        check("^[]a]$", &[b"]", b"a"], &[b"b"]);
        check("^[^]a]$", &[b"b"], &[b"]"]);
        check(r"^\<[\<\>]$", &[b"<>"], &[b"<a"]);
        check(r"^\x{bc}\xbc[\x{80}-\xff]$", &[b"\xbc\xbc\x90"], &["\u{bc}".as_bytes()]);
        check(r"^[\b\h]\0\012\cA\e$", &[b"\x08\x00\n\x01\x1b"], &[]);
        check(r"^[\w.\-&]\d$", &[b"-1", b"&1", b".1"], &[b"[1"]);
        check("^[´a]+´?$", &["´a´".as_bytes()], &[b"b"]);
        check(r"^a\Z", &[b"a", b"a\n"], &[b"ab"]);
    }

    #[test]
    fn what_is_not_linear_is_refused() {
        for pattern in ["(?=a)b", "(?<!a)b", r"(a)\1"] {
            assert!(matches!(translate(pattern), Err(PatternError::Unsupported(_))), "{pattern}");
        }
        for pattern in ["(", "a)", "[a", "*"] {
            assert!(matches!(translate(pattern), Err(PatternError::Broken(_))), "{pattern}");
        }
    }
}
