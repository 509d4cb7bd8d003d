//! SecLang's operators (`@name argument`). To add one, write a file and add one row to the table
//! in `table`. Their meaning is that of libmodsecurity, checked with the vectors of
//! secrules-language-tests (`secrules`).
//!
//! The negation (`!@name`) is the engine's business: an operator only says whether it matches.

mod address;
mod constant;
mod injection;
mod number;
mod rx;
mod table;
mod text;
mod validate;
mod verify;
mod words;

use std::io;
use std::ops::Range;
use std::path::Path;

use super::Operator;

/// What an operator is compiled from.
pub(crate) struct Argument<'a> {
    /// The text after the operator's name.
    pub(crate) text: &'a [u8],
    /// The directory of the rule file, for the names of further files.
    pub(crate) base: &'a Path,
    /// Reads such a file.
    pub(crate) read: &'a dyn Fn(&Path) -> io::Result<Vec<u8>>,
}

/// A question whose argument is known only at run time, because it holds macros.
pub(crate) type Compare = fn(argument: &[u8], value: &[u8]) -> Option<Range<usize>>;

/// A row of the table.
pub(crate) struct SecLangOperator {
    /// As the manual writes it; compared without case.
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    kind: Kind,
}

type Build = fn(&Argument<'_>) -> Result<Box<dyn Operator>, String>;

enum Kind {
    /// The argument is what it is; macros in it are not expanded.
    Fixed(Build),
    /// The argument may hold macros.
    Dynamic(Build, Compare),
    /// Not supported; what to do instead.
    Refused(&'static str),
}

/// The operator of that name, without `@`, letters without case.
pub(crate) fn operator(name: &str) -> Option<&'static SecLangOperator> {
    table::TABLE.iter().find(|row| row.name.eq_ignore_ascii_case(name))
}

/// Every operator of SecLang: its name and summary.
pub fn reference() -> impl Iterator<Item = (&'static str, &'static str)> {
    table::TABLE.iter().map(|row| (row.name, row.summary))
}

impl SecLangOperator {
    /// Compiles the operator with an argument without macros.
    ///
    /// # Errors
    /// What is wrong with the argument, or why the operator is refused; for a message that begins
    /// with the operator's name.
    pub(crate) fn build(&self, argument: &Argument<'_>) -> Result<Box<dyn Operator>, String> {
        match self.kind {
            Kind::Fixed(build) | Kind::Dynamic(build, _) => build(argument),
            Kind::Refused(hint) => Err(format!("is not supported: {hint}")),
        }
    }

    /// How to ask with an argument that was expanded from macros; `None` if the operator takes its
    /// argument literally (then use [`Self::build`], whatever it looks like).
    pub(crate) fn dynamic(&self) -> Option<Compare> {
        match self.kind {
            Kind::Dynamic(_, compare) => Some(compare),
            Kind::Fixed(_) | Kind::Refused(_) => None,
        }
    }
}

/// Reads the file that the argument names, relative to the rule file's directory.
fn file(argument: &Argument<'_>) -> Result<Vec<u8>, String> {
    let name = String::from_utf8_lossy(argument.text.trim_ascii());
    if name.starts_with("https://") {
        return Err("takes a file; nothing is fetched, so keep a copy".to_owned());
    }
    let path = argument.base.join(name.as_ref());
    (argument.read)(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}
