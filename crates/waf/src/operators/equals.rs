//! `equals`: the whole value is one of the texts, exactly as written.

use std::ops::Range;

use super::{Argument, Operator, OperatorKind};
use crate::mask::ByteMask;
use crate::prefilter::Required;

pub(crate) const KIND: OperatorKind =
    OperatorKind { name: "equals", summary: "the whole value is one of the texts", build };

#[derive(Debug)]
struct Equals(Vec<Box<[u8]>>);

fn build(argument: Argument<'_>) -> Result<Box<dyn Operator>, String> {
    Ok(Box::new(Equals(argument.list()?.into_iter().map(|text| text.as_bytes().into()).collect())))
}

impl Operator for Equals {
    fn find(&self, bytes: &[u8]) -> Option<Range<usize>> {
        self.0.iter().any(|text| **text == *bytes).then_some(0..bytes.len())
    }

    fn required(&self) -> Required {
        let firsts = self.0.iter().filter_map(|text| text.first().copied());
        let first = ByteMask::of(&firsts.collect::<Vec<_>>());
        Required { literals: None, classes: vec![first] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_value_is_equal() {
        let operator = build(Argument::Text("TRACE")).unwrap();
        assert!(operator.matches(b"TRACE"));
        assert!(!operator.matches(b"TRACER") && !operator.matches(b"trace"));
    }
}
