//! Regular expressions over paths, as routes and rewrites write them.

use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Hir, Look};
use tidegate_core::SettingsError;

/// How large a compiled pattern may become.
const MAX_BYTES: usize = 1 << 20;

/// Compiles the pattern of the setting `key`. All of its alternatives have to be anchored at the
/// start of the path: an open one would match where nobody expects it, such as `/x/admin`.
pub(crate) fn compile_anchored(key: &str, text: &str) -> Result<(Regex, Hir), SettingsError> {
    let refused = |error: &dyn std::fmt::Display| {
        SettingsError::new([key], format!("`{text}` is not a usable regex: {error}"))
    };
    let hir = regex_syntax::parse(text).map_err(|error| refused(&error))?;
    if !hir.properties().look_set_prefix().contains(Look::Start) {
        let message = format!("the regex `{text}` is not anchored at the start of the path");
        return Err(SettingsError::new([key], message).with_hint(format!("write `^(?:{text})`")));
    }
    let regex =
        RegexBuilder::new(text).size_limit(MAX_BYTES).build().map_err(|error| refused(&error))?;
    Ok((regex, hir))
}
