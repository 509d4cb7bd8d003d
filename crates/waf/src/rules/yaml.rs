//! A rule file's YAML as a small tree with line numbers. Anchors, aliases, tags and duplicate keys
//! are refused: rules are data, and each reads one way.

use saphyr_parser::{Event, Parser, Span};

/// A mistake and its line, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) line: usize,
    pub(crate) message: String,
}

impl Mistake {
    pub(crate) fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

/// A node and where it begins.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
    Text(String),
}

/// Rules need no more nesting than this.
const MAX_DEPTH: usize = 8;

/// Reads the one document of `text`.
pub(crate) fn parse(text: &str) -> Result<Node, Mistake> {
    let mut reader = Reader { parser: Parser::new_from_str(text) };
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamStart | Event::DocumentStart(_) => {}
            Event::StreamEnd => return Err(Mistake::new(1, "the file is empty")),
            other => {
                let root = reader.node(other, span, 0)?;
                return reader.expect_end().map(|()| root);
            }
        }
    }
}

struct Reader<'input> {
    parser: Parser<'input, saphyr_parser::StrInput<'input>>,
}

impl<'input> Reader<'input> {
    fn next(&mut self) -> Result<(Event<'input>, Span), Mistake> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(Mistake::new(error.marker().line(), error.info())),
            None => Err(Mistake::new(1, "the file ends too early")),
        }
    }

    fn node(&mut self, event: Event<'input>, span: Span, depth: usize) -> Result<Node, Mistake> {
        let line = span.start.line();
        if depth > MAX_DEPTH {
            return Err(Mistake::new(line, "nested too deeply"));
        }
        let kind = match event {
            Event::Scalar(text, _, 0, None) => Kind::Text(text.into_owned()),
            Event::SequenceStart(0, None) => self.list(depth)?,
            Event::MappingStart(0, None) => self.map(depth)?,
            _ => return Err(Mistake::new(line, "anchors, aliases and tags are not taken here")),
        };
        Ok(Node { line, kind })
    }

    fn list(&mut self, depth: usize) -> Result<Kind, Mistake> {
        let mut nodes = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Kind::List(nodes)),
                (event, span) => nodes.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Kind, Mistake> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(Kind::Map(entries)),
                Event::Scalar(key, _, 0, None) => key.into_owned(),
                _ => return Err(Mistake::new(span.start.line(), "a key must be a plain word")),
            };
            if entries.iter().any(|(known, _)| *known == key) {
                return Err(Mistake::new(span.start.line(), format!("`{key}` is given twice")));
            }
            let (event, span) = self.next()?;
            entries.push((key, self.node(event, span, depth + 1)?));
        }
    }

    fn expect_end(&mut self) -> Result<(), Mistake> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(()),
                (Event::DocumentEnd, _) => {}
                (_, span) => {
                    return Err(Mistake::new(span.start.line(), "a file holds one document"));
                }
            }
        }
    }
}

impl Node {
    pub(crate) fn text(&self) -> Result<&str, Mistake> {
        match &self.kind {
            Kind::Text(text) => Ok(text),
            Kind::List(_) | Kind::Map(_) => Err(Mistake::new(self.line, "must be one text")),
        }
    }

    pub(crate) fn number<N: std::str::FromStr>(&self) -> Result<N, Mistake> {
        let text = self.text()?;
        text.parse().map_err(|_error| {
            Mistake::new(self.line, format!("`{text}` is not a number that fits here"))
        })
    }

    pub(crate) fn list(&self) -> Result<&[Self], Mistake> {
        match &self.kind {
            Kind::List(nodes) => Ok(nodes),
            Kind::Map(_) | Kind::Text(_) => Err(Mistake::new(self.line, "must be a list")),
        }
    }

    pub(crate) fn texts(&self) -> Result<Vec<String>, Mistake> {
        self.list()?.iter().map(|node| node.text().map(str::to_owned)).collect()
    }

    pub(crate) fn map(&self) -> Result<&[(String, Self)], Mistake> {
        match &self.kind {
            Kind::Map(entries) => Ok(entries),
            Kind::List(_) | Kind::Text(_) => Err(Mistake::new(self.line, "must be a map")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_keeps_its_lines() {
        let root = parse("a: 1\nb:\n  - x\n  - 'y: z'\n").unwrap();
        let [(a, one), (b, list)] = root.map().unwrap() else { panic!("two keys") };
        assert_eq!((a.as_str(), one.number::<u32>().unwrap()), ("a", 1));
        assert_eq!((b.as_str(), list.texts().unwrap()), ("b", vec!["x".into(), "y: z".into()]));
        assert_eq!(list.list().unwrap()[1].line, 4);
    }

    #[track_caller]
    fn check_mistake(text: &str, line: usize, part: &str) {
        let mistake = parse(text).unwrap_err();
        assert_eq!(mistake.line, line, "{mistake:?}");
        assert!(mistake.message.contains(part), "{mistake:?}");
    }

    #[test]
    fn what_reads_two_ways_is_refused() {
        check_mistake("", 1, "empty");
        check_mistake("a: 1\na: 2\n", 2, "twice");
        check_mistake("a: &x 1\n", 1, "anchors");
        check_mistake("a: 1\n---\nb: 1\n", 2, "one document");
        check_mistake("a: [1\n", 2, "");
        check_mistake(&"[".repeat(100), 1, "");
    }
}
