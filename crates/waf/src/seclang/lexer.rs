//! From a file's text to directives: words, quotes, comments and lines that continue. What the
//! words mean is not known here.
//!
//! A backslash at the end of a line continues it, in a comment too, as ModSecurity reads it. A word
//! in double or single quotes may hold blanks; a backslash before the quote stands for the quote,
//! and all other backslashes stay, since patterns need them. What continues a quoted word begins
//! at the next line's first letter.

/// A directive and its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directive {
    /// The line where it begins, counted from 1.
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) words: Vec<String>,
}

/// What is wrong with a line, or odd about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Directive(Directive),
    /// This line looks like a directive, but continues a comment.
    Swallowed {
        line: usize,
    },
    /// A quote that is never closed, or is followed by something.
    Wrong {
        line: usize,
        message: &'static str,
    },
}

/// The directives of a text.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lexer = Lexer { rest: text, line: 1 };
    let mut tokens = Vec::new();
    while lexer.next_directive(&mut tokens) {}
    tokens
}

struct Lexer<'t> {
    rest: &'t str,
    line: usize,
}

impl Lexer<'_> {
    /// Reads one directive or comment; false at the end.
    fn next_directive(&mut self, tokens: &mut Vec<Token>) -> bool {
        self.skip_blanks();
        match self.peek() {
            None => return false,
            Some('\n') => {
                self.bump();
                return true;
            }
            Some('#') => {
                self.comment(tokens);
                return true;
            }
            Some(_) => {}
        }
        let line = self.line;
        let mut words = Vec::new();
        loop {
            self.skip_blanks();
            if matches!(self.peek(), None | Some('\n')) {
                break;
            }
            match self.word() {
                Ok(word) => words.push(word),
                Err(message) => {
                    tokens.push(Token::Wrong { line, message });
                    self.skip_line();
                    return true;
                }
            }
        }
        let mut words = words.into_iter();
        if let Some(name) = words.next() {
            let directive = Directive { line, name, words: words.collect() };
            tokens.push(Token::Directive(directive));
        }
        true
    }

    fn comment(&mut self, tokens: &mut Vec<Token>) {
        while self.skip_line() {
            let line = self.rest.trim_start_matches([' ', '\t']);
            if line.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("sec")) {
                tokens.push(Token::Swallowed { line: self.line });
            }
        }
    }

    fn word(&mut self) -> Result<String, &'static str> {
        match self.peek() {
            Some(quote @ ('"' | '\'' | '`')) => {
                self.bump();
                let word = self.quoted(quote)?;
                match self.peek() {
                    None | Some(' ' | '\t' | '\r' | '\n') => Ok(word),
                    // Two quoted words without a blank between them.
                    Some('"' | '\'') => Ok(word),
                    Some('\\') if self.continues() => Ok(word),
                    Some(_) => Err("a closing quote is followed by more text; quotes within a \
                                    quoted word need a backslash"),
                }
            }
            _ => Ok(self.bare()),
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, &'static str> {
        let mut word = String::new();
        loop {
            match self.peek() {
                None => return Err("a quote is never closed"),
                Some('\n') if quote != '`' => {
                    return Err("a quote is not closed on its line; a line continues with a \
                                backslash at its end");
                }
                Some('\\') if self.continues() => {
                    self.skip_line();
                    self.skip_blanks();
                }
                Some('\\') => {
                    self.bump();
                    match self.peek() {
                        Some(next) if next == quote => word.push(next),
                        Some('\\') => word.push_str("\\\\"),
                        _ => {
                            word.push('\\');
                            continue;
                        }
                    }
                    self.bump();
                }
                Some(next) if next == quote => {
                    self.bump();
                    return Ok(word);
                }
                Some(next) => {
                    word.push(next);
                    self.bump();
                }
            }
        }
    }

    fn bare(&mut self) -> String {
        let mut word = String::new();
        while let Some(next) = self.peek() {
            if matches!(next, ' ' | '\t' | '\r' | '\n') || next == '\\' && self.continues() {
                break;
            }
            word.push(next);
            self.bump();
        }
        word
    }

    /// Whether a backslash here is the last of its line.
    fn continues(&self) -> bool {
        self.rest.starts_with("\\\n") || self.rest.starts_with("\\\r\n")
    }

    /// Blanks, and lines that end in a backslash between two words.
    fn skip_blanks(&mut self) {
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t', '\r']);
            if !self.continues() {
                return;
            }
            self.skip_line();
        }
    }

    /// To the next line; says whether this one continues there.
    fn skip_line(&mut self) -> bool {
        let (line, rest) = match self.rest.split_once('\n') {
            Some((line, rest)) => {
                self.line += 1;
                (line, rest)
            }
            None => (self.rest, ""),
        };
        self.rest = rest;
        line.strip_suffix('\r').unwrap_or(line).ends_with('\\')
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self) {
        let mut chars = self.rest.chars();
        if chars.next() == Some('\n') {
            self.line += 1;
        }
        self.rest = chars.as_str();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(usize, &[&str])]) {
        let found: Vec<(usize, Vec<String>)> = tokens(text)
            .into_iter()
            .map(|token| match token {
                Token::Directive(d) => (d.line, [vec![d.name], d.words].concat()),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected: Vec<(usize, Vec<String>)> = expected
            .iter()
            .map(|(line, words)| (*line, words.iter().map(ToString::to_string).collect()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn words_are_bare_or_quoted() {
        check(
            "SecX a \"b c\" 'd e'\n\nSecY\r\n",
            &[(1, &["SecX", "a", "b c", "d e"]), (3, &["SecY"])],
        );
        check("A \"x \\\" y\"", &[(1, &["A", "x \" y"])]);
        check(r#"A "\d\\" b"#, &[(1, &["A", r"\d\\", "b"])]);
        check(r#"A "a\\\"b""#, &[(1, &["A", r#"a\\"b"#])]);
        check("\u{feff}A", &[(1, &["A"])]);
    }

    #[test]
    fn a_backslash_continues_a_line() {
        check("A x \\\n  y\nB", &[(1, &["A", "x", "y"]), (3, &["B"])]);
        check("A x\\\n\ty", &[(1, &["A", "x", "y"])]);
        check("A \"x, \\\n   y\"\\\r\n  z\r\nB", &[(1, &["A", "x, y", "z"]), (4, &["B"])]);
    }

    #[test]
    fn comments_continue_too() {
        check("# a \\\n b\nA # no\n  # b\nB", &[(3, &["A", "#", "no"]), (5, &["B"])]);
        assert_eq!(tokens("# a \\\nSecRule x"), [Token::Swallowed { line: 2 }]);
    }

    #[test]
    fn open_quotes_are_told_and_left_behind() {
        let found = tokens("A \"x\nB\nC \"x\"y\nD \"");
        let lines: Vec<usize> = found
            .iter()
            .map(|token| match token {
                Token::Directive(d) => d.line,
                Token::Wrong { line, .. } => 10 + line,
                Token::Swallowed { .. } => 0,
            })
            .collect();
        assert_eq!(lines, [11, 2, 13, 14]);
    }
}
