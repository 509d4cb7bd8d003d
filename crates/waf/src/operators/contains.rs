//! `contains`: one text anywhere in the value, exactly as written.

use std::ops::Range;

use memchr::memmem::Finder;

use super::{Argument, Operator, OperatorKind};
use crate::prefilter::Required;

pub(crate) const KIND: OperatorKind =
    OperatorKind { name: "contains", summary: "the text occurs, exactly as written", build };

#[derive(Debug)]
struct Contains(Finder<'static>);

fn build(argument: Argument<'_>) -> Result<Box<dyn Operator>, String> {
    match argument.text()? {
        "" => Err("an empty text occurs everywhere".to_owned()),
        text => Ok(Box::new(Contains(Finder::new(text).into_owned()))),
    }
}

impl Operator for Contains {
    fn find(&self, bytes: &[u8]) -> Option<Range<usize>> {
        let start = self.0.find(bytes)?;
        Some(start..start + self.0.needle().len())
    }

    fn required(&self) -> Required {
        Required::text(self.0.needle())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_found_where_it_stands() {
        let operator = build(Argument::Text("b\u{e9}")).unwrap();
        assert_eq!(operator.find("ab\u{e9}".as_bytes()), Some(1..4));
        assert_eq!(operator.find(b"abc"), None);
        assert!(build(Argument::Text("")).is_err());
    }
}
