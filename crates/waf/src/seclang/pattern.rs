//! Whether a pattern of `@rx` compiles. The engine compiles it again, for its own use.

use regex_automata::util::syntax;

/// Says what is wrong with a pattern, in one line.
pub(super) fn check(pattern: &str) -> Result<(), String> {
    let config = syntax::Config::new().unicode(false).utf8(false).dot_matches_new_line(true);
    match syntax::parse_with(pattern, &config) {
        Ok(_) => Ok(()),
        // Above 0x7F, `\x{bc}` and friends stand for a byte; the engine reads them so.
        Err(_) if syntax::parse_with(pattern, &config.unicode(true)).is_ok() => Ok(()),
        Err(error) => {
            let error = error.to_string();
            let what = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
            let shown: String = pattern.chars().take(80).collect();
            Err(format!(
                "the pattern `{shown}` does not compile: {what}; it is one of a linear \
                         engine, without backreferences and lookaround"
            ))
        }
    }
}
