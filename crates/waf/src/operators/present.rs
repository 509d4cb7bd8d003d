//! `present`: the value is there at all.

use std::ops::Range;

use super::{Argument, Operator, OperatorKind};
use crate::prefilter::Required;

pub(crate) const KIND: OperatorKind =
    OperatorKind { name: "present", summary: "the value is there and not empty; `true`", build };

#[derive(Debug)]
struct Present;

fn build(argument: Argument<'_>) -> Result<Box<dyn Operator>, String> {
    match argument.text()? {
        "true" => Ok(Box::new(Present)),
        _ => Err("takes `true` and nothing else".to_owned()),
    }
}

impl Operator for Present {
    fn find(&self, bytes: &[u8]) -> Option<Range<usize>> {
        Some(0..bytes.len())
    }

    fn required(&self) -> Required {
        Required::nothing()
    }
}
