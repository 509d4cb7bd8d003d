//! `check --effective` and `/config`: the merged configuration as YAML, each inherited value with
//! where it came from, secrets hidden.

use std::fmt::Write;

use super::policy::is_transparent;
use super::scalar;
use super::sources::Sources;
use super::tree::{Entry, Node, Value};

/// Prints the tree. It reads back as the same configuration, but for the secrets.
pub(crate) fn print(root: &Node, sources: &Sources) -> String {
    let mut printer = Printer { sources, out: String::new() };
    printer.map(root, 0);
    if printer.out.is_empty() {
        printer.out += "{}\n";
    }
    printer.out
}

struct Printer<'p> {
    sources: &'p Sources,
    out: String,
}

impl Printer<'_> {
    fn map(&mut self, node: &Node, indent: usize) {
        for entry in flat(node.entries()) {
            if (indent, entry.key.as_str()) == (0, "include") {
                continue;
            }
            self.pad(indent);
            self.entry(entry, indent);
        }
    }

    /// The key, and the value behind or below it; the line's indentation is already there.
    fn entry(&mut self, entry: &Entry, indent: usize) {
        self.out += &quoted(&entry.key);
        self.out.push(':');
        let secret = indent == 1 && entry.key == "token";
        match &entry.value.value {
            Value::Map(entries) if !entries.is_empty() => {
                self.end_of_line(&entry.value, indent);
                self.map(&entry.value, indent + 1);
            }
            Value::Seq(items) if !items.iter().all(is_scalar) => {
                self.end_of_line(&entry.value, indent);
                self.items(items, indent + 1);
            }
            _ => {
                let text = if secret { "<secret>".to_owned() } else { inline(&entry.value) };
                self.out.push(' ');
                self.out += &text;
                self.end_of_line(&entry.value, indent);
            }
        }
    }

    fn items(&mut self, items: &[Node], indent: usize) {
        for item in items {
            self.pad(indent);
            self.out += "- ";
            let entries: Vec<&Entry> = flat(item.entries()).collect();
            let Some((first, rest)) = entries.split_first() else {
                self.out += &inline(item);
                self.end_of_line(item, indent);
                continue;
            };
            if indent == 1 {
                let place = self.place(item);
                let _infallible = writeln!(self.out, "# {place}");
                self.pad(indent + 1);
            }
            self.entry(first, indent + 1);
            for entry in rest {
                self.pad(indent + 1);
                self.entry(entry, indent + 1);
            }
        }
    }

    fn pad(&mut self, indent: usize) {
        self.out.extend(std::iter::repeat_n("  ", indent));
    }

    fn end_of_line(&mut self, node: &Node, indent: usize) {
        let inherited = |entry: &Entry| entry.value.origin.is_some();
        if let Some(origin) = &node.origin
            && !node.entries().iter().any(inherited)
        {
            let place = self.place(node);
            let _infallible = write!(self.out, "  # from {place} ({})", origin.label);
        } else if indent == 1 && matches!(node.value, Value::Map(_)) {
            let place = self.place(node);
            let _infallible = write!(self.out, "  # {place}");
        }
        self.out.push('\n');
    }

    fn place(&self, node: &Node) -> String {
        format!("{}:{}", self.sources.name(node.mark), node.mark.line)
    }
}

/// The entries of a map, with what stands in transparent ones in their place.
fn flat(entries: &[Entry]) -> impl Iterator<Item = &Entry> {
    entries.iter().flat_map(|entry| match is_transparent(&entry.key) {
        true => entry.value.entries(),
        false => std::slice::from_ref(entry),
    })
}

fn is_scalar(node: &Node) -> bool {
    !matches!(node.value, Value::Map(_) | Value::Seq(_))
}

/// A value in one line.
fn inline(node: &Node) -> String {
    if node.secret {
        return "<secret>".to_owned();
    }
    match &node.value {
        Value::Bool(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Map(entries) => {
            let entries = flat(entries);
            let entry = |entry: &Entry| format!("{}: {}", quoted(&entry.key), inline(&entry.value));
            format!("{{{}}}", entries.map(entry).collect::<Vec<_>>().join(", "))
        }
        Value::Empty | Value::Null | Value::Pruned => "~".to_owned(),
        Value::Seq(items) => {
            format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        Value::String(text) => quoted(text),
    }
}

/// A string as YAML: plain where that is safe, else quoted as JSON does, which YAML reads too.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./%".contains(c);
    let safe_start = text.starts_with(|c: char| c.is_ascii_alphanumeric() || "_/.".contains(c));
    let colons = |c: char| plain(c) || c == ':';
    let safe = safe_start
        && text.chars().all(colons)
        && !text.ends_with(':')
        && scalar::resolve(text) == Value::String(text.to_owned());
    match safe {
        true => text.to_owned(),
        false => serde_json::Value::from(text).to_string(),
    }
}
