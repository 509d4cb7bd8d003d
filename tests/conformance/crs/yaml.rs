//! A YAML file as a tree of texts. The test format is typed by its reader, and most of its values
//! are bytes to send, so no scalar is taken for a number, a truth or a date here.

use saphyr_parser::{Event, Parser, StrInput};

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Map(Vec<(String, Self)>),
    Sequence(Vec<Self>),
    Text(String),
}

impl Node {
    /// The first document of `text`; `None` if there is none.
    ///
    /// # Errors
    /// It is not YAML, or uses aliases.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, String> {
        let mut parser = Parser::new_from_str(text);
        loop {
            match next(&mut parser)? {
                Event::StreamEnd => return Ok(None),
                Event::DocumentStart(_) => {
                    let event = next(&mut parser)?;
                    return read(event, &mut parser).map(Some);
                }
                _ => {}
            }
        }
    }

    /// A key's value, if this is a map that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The entries of a map, in order.
    pub(crate) fn entries(&self) -> &[(String, Self)] {
        if let Self::Map(entries) = self { entries } else { &[] }
    }

    /// The items of a sequence.
    pub(crate) fn items(&self) -> &[Self] {
        if let Self::Sequence(items) = self { items } else { &[] }
    }
}

fn next<'t>(parser: &mut Parser<'t, StrInput<'t>>) -> Result<Event<'t>, String> {
    match parser.next_event() {
        Some(Ok((event, _span))) => Ok(event),
        Some(Err(error)) => Err(error.to_string()),
        None => Ok(Event::StreamEnd),
    }
}

fn read<'t>(event: Event<'t>, parser: &mut Parser<'t, StrInput<'t>>) -> Result<Node, String> {
    match event {
        Event::Scalar(text, ..) => Ok(Node::Text(text.into_owned())),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                match next(parser)? {
                    Event::SequenceEnd => return Ok(Node::Sequence(items)),
                    event => items.push(read(event, parser)?),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut entries = Vec::new();
            loop {
                match next(parser)? {
                    Event::MappingEnd => return Ok(Node::Map(entries)),
                    key => {
                        let key = read(key, parser)?;
                        let event = next(parser)?;
                        let key = key.text().ok_or("a key that is no text")?.to_owned();
                        entries.push((key, read(event, parser)?));
                    }
                }
            }
        }
        event => Err(format!("not expected here: {event:?}")),
    }
}

#[test]
fn scalars_stay_texts() {
    let read = Node::parse("a: [1, 'x', no]\nb: |-\n  l1\n  l2\nc: \"\\x41\\r\"\n").expect("YAML");
    let tree = read.expect("a document");
    let list: Vec<_> = tree.get("a").expect("a").items().iter().filter_map(Node::text).collect();
    assert_eq!(list, ["1", "x", "no"]);
    assert_eq!(tree.get("b").and_then(Node::text), Some("l1\nl2"));
    assert_eq!(tree.get("c").and_then(Node::text), Some("A\r"));
    assert_eq!(Node::parse("# nothing\n"), Ok(None));
}
