//! `longer_than`: the value has more bytes than a number.

use std::ops::Range;

use super::{Argument, Operator, OperatorKind};
use crate::prefilter::Required;

pub(crate) const KIND: OperatorKind = OperatorKind {
    name: "longer_than",
    summary: "the value has more bytes than the number",
    build,
};

#[derive(Debug)]
struct LongerThan(usize);

fn build(argument: Argument<'_>) -> Result<Box<dyn Operator>, String> {
    let number = argument.text()?.parse().map_err(|_error| "takes a number of bytes".to_owned())?;
    Ok(Box::new(LongerThan(number)))
}

impl Operator for LongerThan {
    fn find(&self, bytes: &[u8]) -> Option<Range<usize>> {
        (bytes.len() > self.0).then_some(0..0)
    }

    fn required(&self) -> Required {
        Required::nothing()
    }
}
