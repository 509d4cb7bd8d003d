//! Regular expressions over paths, as routes and rewrites write them.

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, Look};
use tidegate_core::SettingsError;

/// How large a compiled pattern may become.
const MAX_BYTES: usize = 1 << 20;

/// Compiles the pattern of the setting `key`. Canonical paths are ASCII, and so is what classes
/// such as `\d` take, which keeps the automata small.
pub(crate) fn compile(key: &str, text: &str) -> Result<(Regex, Hir), SettingsError> {
    let refused = |error: &dyn std::fmt::Display| {
        SettingsError::new([key], format!("`{text}` is not a usable regex: {error}"))
    };
    if !text.is_ascii() {
        let message = format!("the regex `{text}` is not ASCII, which every path is");
        return Err(SettingsError::new([key], message).with_hint("write %C3%A9 for \u{e9}"));
    }
    let mut parser = ParserBuilder::new().unicode(false).utf8(false).build();
    let hir = parser.parse(text).map_err(|error| refused(&error))?;
    // All alternatives have to be anchored at the start: an open one would match where nobody
    // expects it, such as `/x/admin`.
    if !hir.properties().look_set_prefix().contains(Look::Start) {
        let message = format!("the regex `{text}` is not anchored at the start of the path");
        return Err(SettingsError::new([key], message).with_hint(format!("write `^(?:{text})`")));
    }
    let regex = RegexBuilder::new(text)
        .unicode(false)
        .size_limit(MAX_BYTES)
        .build()
        .map_err(|error| refused(&error))?;
    Ok((regex, hir))
}
