//! Standard output and standard error, for commands that a person or a script reads. What a
//! running Tidegate has to tell goes through `tracing` instead.

use std::io::{self, Write as _};

/// Writes a text and a line's end to standard output.
///
/// # Errors
/// When nobody reads it any more, as in `tidegate schema | head`.
pub(crate) fn say(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        output.write_all(b"\n")?;
    }
    output.flush()
}

/// Standard output for many lines; to be flushed.
pub(crate) fn lines() -> impl io::Write {
    io::BufWriter::new(io::stdout().lock())
}

/// Writes a line to standard error. If even that is closed, nobody is left to tell.
pub(crate) fn complain(text: &str) {
    writeln!(io::stderr().lock(), "{text}").ok();
}
