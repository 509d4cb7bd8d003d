//! `phrases`: any of many texts, letters compared without case; one Aho-Corasick automaton.

use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use super::{Argument, Captures, Operator, OperatorKind};
use crate::prefilter::Required;

pub(crate) const KIND: OperatorKind = OperatorKind {
    name: "phrases",
    summary: "any of the texts occurs, ASCII letters without case",
    build,
};

#[derive(Debug)]
struct Phrases {
    automaton: AhoCorasick,
    phrases: Vec<Vec<u8>>,
}

fn build(argument: Argument<'_>) -> Result<Box<dyn Operator>, String> {
    let phrases: Vec<Vec<u8>> =
        argument.list()?.into_iter().map(|text| text.to_ascii_lowercase().into_bytes()).collect();
    new(phrases)
}

/// The operator of these phrases, all in lower case; none is empty.
pub(super) fn new(phrases: Vec<Vec<u8>>) -> Result<Box<dyn Operator>, String> {
    let automaton = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .kind(Some(AhoCorasickKind::ContiguousNFA))
        .build(&phrases)
        .map_err(|error| error.to_string())?;
    Ok(Box::new(Phrases { automaton, phrases }))
}

impl Operator for Phrases {
    fn find(&self, bytes: &[u8]) -> Option<Range<usize>> {
        self.automaton.find(bytes).map(|found| found.range())
    }

    fn capture(&self, bytes: &[u8], captures: &mut Captures) -> Option<Range<usize>> {
        captures.clear();
        let found = self.find(bytes)?;
        captures.set(0, found.clone());
        Some(found)
    }

    fn required(&self) -> Required {
        Required::any_of(self.phrases.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_found_in_any_case() {
        let operator = build(Argument::List(&["Nikto".to_owned(), "sqlmap".to_owned()])).unwrap();
        assert_eq!(operator.find(b"x SQLmap/1"), Some(2..8));
        assert_eq!(operator.find(b"nikt"), None);
    }
}
