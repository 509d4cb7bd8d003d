//! One YAML document as a tree: the parser's events, put together.
//!
//! Bounded in size, depth and in what aliases expand to. Tags, merge keys and further documents
//! are refused, since the configuration has no use for them.

use std::collections::hash_map::Entry as Slot;

use rustc_hash::{FxHashMap, FxHashSet};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};

use super::problem::Problem;
use super::scalar;
use super::tree::{Entry, Mark, Node, Value};

/// Longer texts are refused unread.
const MAX_BYTES: usize = 64 << 20;
const MAX_DEPTH: usize = 32;
const MAX_NODES: usize = 4_000_000;
/// How many nodes all aliases of a file may repeat together.
const MAX_ALIASED_NODES: usize = 100_000;

/// Reads one YAML document; an empty one is [`Value::Empty`].
pub(crate) fn parse(text: &str, file: u32) -> Result<Node, Problem> {
    let mut builder = Builder::new(file);
    if text.len() > MAX_BYTES {
        return Err(builder.problem(Marker::default(), "the file is larger than 64MiB"));
    }
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = next_event(&mut parser, file)? {
        builder.accept(event)?;
    }
    Ok(builder.root.unwrap_or_else(|| Node::new(Value::Empty, Mark { file, line: 1, column: 1 })))
}

fn next_event<'t>(
    parser: &mut Parser<'t, StrInput<'t>>,
    file: u32,
) -> Result<Option<(Event<'t>, Span)>, Problem> {
    parser.next_event().transpose().map_err(|error| {
        let message = format!("not YAML: {}", error.info());
        let hint = tab_hint(error.info());
        Problem { hint, ..Problem::at(mark(file, *error.marker()), message) }
    })
}

fn tab_hint(info: &str) -> Option<String> {
    info.contains("tab").then(|| "indent with spaces".to_owned())
}

fn mark(file: u32, marker: Marker) -> Mark {
    let clamp = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Mark { file, line: clamp(marker.line().max(1)), column: clamp(marker.col() + 1) }
}

/// A collection that is not closed yet.
enum Open {
    Map { entries: Vec<Entry>, seen: FxHashMap<String, Mark>, key: Option<(String, Mark)> },
    Seq(Vec<Node>),
}

struct Frame {
    open: Open,
    mark: Mark,
    anchor: usize,
}

struct Builder {
    file: u32,
    stack: Vec<Frame>,
    root: Option<Node>,
    documents: usize,
    nodes: usize,
    aliased: usize,
    anchors: FxHashMap<usize, Node>,
    anchors_in_use: FxHashSet<usize>,
}

impl Builder {
    fn new(file: u32) -> Self {
        Self {
            file,
            stack: Vec::new(),
            root: None,
            documents: 0,
            nodes: 0,
            aliased: 0,
            anchors: FxHashMap::default(),
            anchors_in_use: FxHashSet::default(),
        }
    }

    fn problem(&self, at: Marker, message: &str) -> Problem {
        Problem::at(mark(self.file, at), message)
    }

    fn accept(&mut self, (event, span): (Event<'_>, Span)) -> Result<(), Problem> {
        let at = span.start;
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    let problem = self.problem(at, "a second document starts here");
                    return Err(problem.with_hint("put it into a file of its own and `include` it"));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let node = self.scalar(&text, (style, tag.as_deref()), at)?;
                self.finish(node, anchor, span)
            }
            Event::Alias(anchor) => self.alias(anchor, span),
            Event::SequenceStart(anchor, tag) => {
                self.open(Open::Seq(Vec::new()), (anchor, tag.as_deref()), at)
            }
            Event::MappingStart(anchor, tag) => {
                let open = Open::Map { entries: Vec::new(), seen: FxHashMap::default(), key: None };
                self.open(open, (anchor, tag.as_deref()), at)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn scalar(
        &self,
        text: &str,
        (style, tag): (ScalarStyle, Option<&Tag>),
        at: Marker,
    ) -> Result<Node, Problem> {
        let value = match tag {
            None if style == ScalarStyle::Plain => scalar::resolve(text),
            None => Value::String(text.to_owned()),
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => {
                Value::String(text.to_owned())
            }
            Some(_) => return Err(self.tag_problem(at)),
        };
        Ok(Node::new(value, mark(self.file, at)))
    }

    fn tag_problem(&self, at: Marker) -> Problem {
        self.problem(at, "YAML tags are not supported").with_hint("leave out the `!…`")
    }

    fn open(
        &mut self,
        open: Open,
        (anchor, tag): (usize, Option<&Tag>),
        at: Marker,
    ) -> Result<(), Problem> {
        if tag.is_some() {
            return Err(self.tag_problem(at));
        }
        if self.stack.len() >= MAX_DEPTH {
            return Err(self.problem(at, "nested too deeply"));
        }
        self.anchors_in_use.insert(anchor);
        self.stack.push(Frame { open, mark: mark(self.file, at), anchor });
        Ok(())
    }

    fn close(&mut self, span: Span) -> Result<(), Problem> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let value = match frame.open {
            Open::Map { entries, .. } => Value::Map(entries),
            Open::Seq(items) => Value::Seq(items),
        };
        self.finish(Node::new(value, frame.mark), frame.anchor, span)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), Problem> {
        let Some(node) = self.anchors.get(&anchor) else {
            let message = match self.anchors_in_use.contains(&anchor) {
                true => "an alias inside the node that it stands for",
                false => "an alias without an anchor",
            };
            return Err(self.problem(span.start, message));
        };
        self.aliased += node.count();
        if self.aliased > MAX_ALIASED_NODES {
            return Err(self.problem(span.start, "the aliases expand to more than 100000 nodes"));
        }
        let node = node.clone();
        self.finish(node, 0, span)
    }

    /// Puts a complete node where it belongs: as a key, a value, an item or the root.
    fn finish(&mut self, mut node: Node, anchor: usize, span: Span) -> Result<(), Problem> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(self.problem(span.start, "more than 4000000 nodes"));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut().map(|frame| &mut frame.open) {
            None => self.root = Some(node),
            Some(Open::Seq(items)) => items.push(node),
            Some(Open::Map { entries, key, .. }) if key.is_some() => {
                if let Some((key, key_mark)) = key.take() {
                    if node.value == Value::Empty {
                        node.mark = key_mark;
                    }
                    entries.push(Entry { key, key_mark, value: node });
                }
            }
            Some(Open::Map { seen, key, .. }) => *key = Some(take_key(&node, seen)?),
        }
        Ok(())
    }
}

fn take_key(node: &Node, seen: &mut FxHashMap<String, Mark>) -> Result<(String, Mark), Problem> {
    let text = match &node.value {
        Value::String(text) => text.clone(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Empty | Value::Map(_) | Value::Null | Value::Pruned | Value::Seq(_) => {
            return Err(Problem::at(node.mark, "a key must be a string"));
        }
    };
    if text == "<<" {
        let hint = "put the shared fields into a policy and name it in `policies`";
        return Err(Problem::at(node.mark, "merge keys are not supported").with_hint(hint));
    }
    match seen.entry(text) {
        Slot::Occupied(slot) => {
            let message = format!("the key `{}` is given twice", slot.key());
            let hint = format!("it is first given in line {}", slot.get().line);
            Err(Problem::at(node.mark, message).with_hint(hint))
        }
        Slot::Vacant(slot) => {
            let text = slot.key().clone();
            slot.insert(node.mark);
            Ok((text, node.mark))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &Value) {
        assert_eq!(parse(text, 0).unwrap().value, *expected, "{text}");
    }

    #[track_caller]
    fn check_error(text: &str, line: u32, message: &str) {
        let problem = parse(text, 0).unwrap_err();
        assert!(problem.message.contains(message), "{problem:?}");
        assert_eq!(problem.mark.line, line, "{problem:?}");
    }

    #[test]
    fn nodes_know_their_places() {
        let root = parse("a: 1\nb:\n  - x\n  - { c: yes }\nd:\ne: 2\n", 3).unwrap();
        let b = root.get("b").unwrap();
        let Value::Seq(items) = &b.value else { panic!("{b:?}") };
        assert_eq!(items[0].mark, Mark { file: 3, line: 3, column: 5 });
        assert_eq!(items[1].get("c").unwrap().mark, Mark { file: 3, line: 4, column: 10 });
        assert_eq!(root.get("d").unwrap().mark, Mark { file: 3, line: 5, column: 1 });
    }

    #[test]
    fn an_empty_file_is_a_tree() {
        check("", &Value::Empty);
        check("# nothing\n", &Value::Empty);
    }

    #[test]
    fn aliases_repeat_their_anchor() {
        let root = parse("a: &x { b: 1 }\nc: *x\n", 0).unwrap();
        assert_eq!(root.get("c").unwrap().get("b").unwrap().value, Value::Int(1));
    }

    #[test]
    fn what_the_configuration_has_no_use_for_is_refused() {
        check_error("a: 1\n---\nb: 2\n", 2, "second document");
        check_error("a: 1\nb: 2\na: 3\n", 3, "`a` is given twice");
        check_error("a: !!binary xyz\n", 1, "tags");
        check_error("a: &x { b: *x }\n", 1, "alias inside");
        check_error("<<: {}\n", 1, "merge keys");
        check_error("? [a]\n: b\n", 1, "must be a string");
        check_error("a: [1, 2\n", 2, "not YAML");
        check_error(&"[".repeat(100), 1, "nested too deeply");
    }

    #[test]
    fn aliases_of_aliases_do_not_explode() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let items = vec![format!("*a{}", level - 1); 10].join(", ");
            text += &format!("a{level}: &a{level} [{items}]\n");
        }
        check_error(&text, 5, "aliases expand");
    }
}
