//! How much of bodies is inspected, and what happens to what is beyond.

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_core::units::ByteSize;

/// How request bodies are inspected.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case", default)]
pub struct BodySettings {
    /// How much of a body is held back and inspected; at most 16MiB, and `0B` inspects none.
    /// Default: 64KiB. A reload applies it.
    pub limit: Option<ByteSize>,
    /// What happens to a body beyond the limit: `block` refuses it with 413 (in block mode),
    /// `inspect_prefix` looks at the first part and lets the rest pass, `skip` does not look at
    /// it. Default: `block`. A reload applies it.
    pub over_limit: Option<OverLimit>,
    /// How deep JSON may be nested, 1 to 512; a deeper document is malformed to the rules.
    /// Default: 64, or what `SecRequestBodyJsonDepthLimit` says. A reload applies it.
    pub json_depth: Option<usize>,
    /// How many arguments are looked at, of query and body together, 1 to 5000. A request with
    /// more is treated as `budget.on_exceeded` says. Default: 1000, or what `SecArgumentsLimit`
    /// says. A reload applies it.
    pub arguments: Option<usize>,
}

/// How responses are inspected (the phases 3 and 4 of SecLang; the built-in rules look at requests
/// only).
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "snake_case", default)]
pub struct ResponseSettings {
    /// Whether bodies are held back and inspected; status and fields always are. Default: false,
    /// or what `SecResponseBodyAccess` says. A reload applies it.
    pub inspect: Option<bool>,
    /// The media types whose bodies are inspected; all others flow untouched. Default:
    /// `[text/html, text/plain, text/xml, application/json, application/xml]`, or what
    /// `SecResponseBodyMimeType` says. A reload applies it.
    pub types: Option<Vec<String>>,
    /// How much of a body is held back and inspected, at most 16MiB. Default: 512KiB, or what
    /// `SecResponseBodyLimit` says. A reload applies it.
    pub limit: Option<ByteSize>,
    /// What happens to a body beyond the limit: `block` answers with 502 in its place (in block
    /// mode), `inspect_prefix` looks at the first part and lets the rest pass, `skip` does not look
    /// at it. Default: `inspect_prefix`. A reload applies it.
    pub over_limit: Option<OverLimit>,
}

/// What happens to a body beyond its limit.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum OverLimit {
    /// It is refused in block mode, and reported in detect mode.
    #[default]
    Block,
    /// The part within the limit is inspected; the rest passes unseen.
    InspectPrefix,
    /// The body passes without a look.
    Skip,
}
