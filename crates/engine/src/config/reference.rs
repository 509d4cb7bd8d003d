//! `docs/reference/configuration.md`: every key with its type and description, out of the schema,
//! so that the two cannot differ.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::{Map, Value};

use super::schema::schema;

/// The reference, as Markdown.
#[must_use]
pub fn reference() -> String {
    let schema = schema();
    let mut page = Page { schema: &schema, text: INTRODUCTION.to_owned(), done: BTreeSet::new() };
    page.section("The file", &schema);
    page.text
}

const INTRODUCTION: &str = "\
# Configuration

Made from the settings' own descriptions; `tidegate schema` prints the same as JSON Schema.
Durations, sizes, rates and shares are written with their unit: `250ms` `30s` `5m` `1h` `2d`,
`512B` `64KiB` `10MB` `1GiB`, `100/s` `600/m` `1000/h`, `0.5%`. Any string may hold `${env:NAME}`
or `${file:path}`, which is replaced and never printed; `$${` stands for `${`. File names are
relative to the file that has them.
";

struct Page<'s> {
    schema: &'s Value,
    text: String,
    done: BTreeSet<String>,
}

impl Page<'_> {
    /// A table of the keys of one map, then the maps that those lead to.
    fn section(&mut self, title: &str, definition: &Value) {
        let Some(properties) = definition.get("properties").and_then(Value::as_object) else {
            return;
        };
        let _infallible = write!(self.text, "\n## {title}\n\n");
        if let Some(text) = definition.get("description").and_then(Value::as_str) {
            let _infallible = write!(self.text, "{text}\n\n");
        }
        self.text += "| key | value | meaning |\n|---|---|---|\n";
        let required = definition.get("required").and_then(Value::as_array);
        for (key, property) in properties {
            let needed = required.is_some_and(|names| names.iter().any(|name| name == key));
            let needed = if needed { " (required)" } else { "" };
            let description = property.get("description").and_then(Value::as_str).unwrap_or("");
            let kind = self.kind(property).replace('|', "\\|");
            let text = description.replace('\n', " ").replace('|', "\\|");
            let _infallible = writeln!(self.text, "| `{key}`{needed} | {kind} | {text} |");
        }
        for property in properties.values() {
            self.follow(property);
        }
    }

    /// Writes the sections of maps that a value may be.
    fn follow(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.follow(item)),
            Value::Object(object) => {
                if let Some(name) = referred(object)
                    && self.done.insert(name.to_owned())
                    && let Some(definition) = self.definition(name).cloned()
                {
                    self.section(&title(name), &definition);
                    if definition.get("properties").is_none() {
                        self.follow(&definition);
                    }
                    return;
                }
                object.values().for_each(|value| self.follow(value));
            }
            _ => {}
        }
    }

    fn definition(&self, name: &str) -> Option<&Value> {
        self.schema.get("definitions")?.get(name)
    }

    /// What a value may be, in a few words.
    fn kind(&self, value: &Value) -> String {
        let Some(object) = value.as_object() else { return "anything".to_owned() };
        if let Some(name) = referred(object) {
            return match self.definition(name) {
                Some(definition) if definition.get("properties").is_some() => {
                    format!("[{}](#{})", title(name), anchor(&title(name)))
                }
                Some(definition) => self.kind(definition),
                None => name.to_owned(),
            };
        }
        for joined in ["anyOf", "oneOf", "allOf"] {
            if let Some(parts) = object.get(joined).and_then(Value::as_array) {
                let mut kinds: Vec<String> = parts.iter().map(|part| self.kind(part)).collect();
                kinds.retain(|kind| kind != "null");
                kinds.dedup();
                return kinds.join(" or ");
            }
        }
        for listed in ["enum", "examples"] {
            if let Some(values) = object.get(listed).and_then(Value::as_array) {
                let quoted: Vec<String> = values
                    .iter()
                    .filter(|value| !value.is_null())
                    .map(|value| format!("`{}`", value.as_str().unwrap_or(&value.to_string())))
                    .collect();
                let such_as = if listed == "examples" { "such as " } else { "" };
                return such_as.to_owned() + &quoted.join(", ");
            }
        }
        if let Some(value) = object.get("const") {
            return format!("`{}`", value.as_str().unwrap_or(&value.to_string()));
        }
        self.plain_kind(object)
    }

    fn plain_kind(&self, object: &Map<String, Value>) -> String {
        let named = match object.get("type") {
            Some(Value::Array(types)) => types.iter().find(|name| *name != "null"),
            other => other,
        };
        match named.and_then(Value::as_str) {
            Some("array") => {
                let item = object.get("items").map(|item| self.kind(item));
                format!("list of: {}", item.unwrap_or_else(|| "anything".to_owned()))
            }
            Some("object") => match object.get("additionalProperties") {
                Some(value @ Value::Object(_)) => format!("map by name of: {}", self.kind(value)),
                _ => "map".to_owned(),
            },
            Some("integer") => "whole number".to_owned(),
            Some("boolean") => "`true`, `false`".to_owned(),
            Some(name) => name.to_owned(),
            None => "anything".to_owned(),
        }
    }
}

fn referred(object: &Map<String, Value>) -> Option<&str> {
    let direct = object.get("$ref").and_then(Value::as_str);
    let wrapped = || object.get("allOf")?.as_array()?.first()?.get("$ref")?.as_str();
    direct.or_else(wrapped)?.strip_prefix("#/definitions/")
}

/// `TlsSettings` as `Tls`, `RateLimit` as `Rate limit`.
fn title(name: &str) -> String {
    let name = name.strip_suffix("Settings").unwrap_or(name);
    let mut title = String::new();
    for (index, c) in name.chars().enumerate() {
        if index > 0 && c.is_uppercase() {
            title.push(' ');
            title.extend(c.to_lowercase());
        } else {
            title.push(c);
        }
    }
    title
}

fn anchor(title: &str) -> String {
    title.to_lowercase().replace(' ', "-")
}
