//! `unconditionalMatch` and `noMatch`.

use std::ops::Range;

use super::Argument;
use crate::mask::ByteMask;
use crate::operators::Operator;
use crate::prefilter::Required;

#[derive(Debug)]
struct Always;

impl Operator for Always {
    fn find(&self, _bytes: &[u8]) -> Option<Range<usize>> {
        Some(0..0)
    }

    fn required(&self) -> Required {
        Required::nothing()
    }
}

/// Matches nothing.
#[derive(Debug)]
pub(super) struct Never;

impl Operator for Never {
    fn find(&self, _bytes: &[u8]) -> Option<Range<usize>> {
        None
    }

    fn required(&self) -> Required {
        Required::class(ByteMask::EMPTY)
    }
}

pub(super) fn build_always(_argument: &Argument<'_>) -> Result<Box<dyn Operator>, String> {
    Ok(Box::new(Always))
}

pub(super) fn build_never(_argument: &Argument<'_>) -> Result<Box<dyn Operator>, String> {
    Ok(Box::new(Never))
}
