//! `rx`: a regular expression over bytes. Unicode is off, because a Unicode pattern cannot match
//! invalid UTF-8, and that would be a way around it; the engine is linear, so no pattern stalls.

use std::ops::Range;

use regex::bytes::{Regex, RegexBuilder};

use super::{Argument, Operator, OperatorKind};
use crate::prefilter::{self, Required};

pub(crate) const KIND: OperatorKind = OperatorKind {
    name: "rx",
    summary: "a regular expression (crate regex, bytes, no Unicode, dot takes line ends)",
    build,
};

/// The compiled program of one pattern may not take more memory than this.
const SIZE_LIMIT: usize = 4 << 20;

#[derive(Debug)]
struct Rx {
    regex: Regex,
    required: Required,
}

fn build(argument: Argument<'_>) -> Result<Box<dyn Operator>, String> {
    let pattern = argument.text()?;
    let regex = RegexBuilder::new(pattern)
        .unicode(false)
        .dot_matches_new_line(true)
        .size_limit(SIZE_LIMIT)
        .build()
        .map_err(|error| error.to_string())?;
    let required = prefilter::required_by_pattern(pattern).map_err(|error| error.to_string())?;
    Ok(Box::new(Rx { regex, required }))
}

impl Operator for Rx {
    fn find(&self, bytes: &[u8]) -> Option<Range<usize>> {
        self.regex.find(bytes).map(|found| found.range())
    }

    fn matches(&self, bytes: &[u8]) -> bool {
        self.regex.is_match(bytes)
    }

    fn required(&self) -> Required {
        self.required.clone()
    }
}
