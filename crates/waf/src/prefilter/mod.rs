//! Which rules a value could match at all: required byte classes against the value's mask, then
//! one Aho-Corasick pass over the literals of all rules. It lets false candidates through and
//! never loses a true one; `tests/prefilter.rs` holds it against exhaustive matching.

mod required;

use aho_corasick::{AhoCorasick, AhoCorasickKind, BuildError};
use rustc_hash::FxHashMap;

pub(crate) use required::{Required, required_by_pattern};

use crate::bits::RuleBits;
use crate::mask::ByteMask;

/// Up to this many literals the automaton is a DFA: faster, and still small.
const DFA_LITERALS: usize = 1_500;

/// The prefilter of one rule set.
#[derive(Debug)]
pub(crate) struct Prefilter {
    /// For each rule, the classes that it needs one byte of, the rarest first.
    classes: Vec<Box<[ByteMask]>>,
    automaton: Option<AhoCorasick>,
    /// For each literal, the rules that it makes candidates.
    rules_of_literal: Vec<Box<[usize]>>,
    needs_literal: RuleBits,
}

impl Prefilter {
    /// Builds the prefilter over what each rule requires, in the order of the rules.
    pub(crate) fn new(required: Vec<Required>) -> Result<Self, Box<BuildError>> {
        let mut needs_literal = RuleBits::empty(required.len());
        let mut literals: Vec<Vec<u8>> = Vec::new();
        let mut rules_of_literal: Vec<Vec<usize>> = Vec::new();
        let mut index_of: FxHashMap<Vec<u8>, usize> = FxHashMap::default();
        let mut classes = Vec::with_capacity(required.len());
        for (rule, needs) in required.into_iter().enumerate() {
            classes.push(needs.classes.into());
            let Some(wanted) = needs.literals else { continue };
            needs_literal.insert(rule);
            for literal in wanted {
                let index = *index_of.entry(literal.clone()).or_insert_with(|| {
                    literals.push(literal);
                    rules_of_literal.push(Vec::new());
                    literals.len() - 1
                });
                if let Some(rules) = rules_of_literal.get_mut(index) {
                    rules.push(rule);
                }
            }
        }
        Ok(Self {
            classes,
            automaton: automaton(&literals)?,
            rules_of_literal: rules_of_literal.into_iter().map(Into::into).collect(),
            needs_literal,
        })
    }

    /// Whether a value with these bytes has what the rule needs of classes.
    #[inline]
    pub(crate) fn allows(&self, rule: usize, mask: &ByteMask) -> bool {
        let classes = self.classes.get(rule).map(AsRef::as_ref).unwrap_or_default();
        classes.iter().all(|class| mask.intersects(class))
    }

    /// The rarest class that the rule needs a byte of, if it needs any.
    pub(crate) fn first_class(&self, rule: usize) -> Option<&ByteMask> {
        self.classes.get(rule)?.first()
    }

    /// The rules that need no literal, and those of which one occurs in `bytes`.
    pub(crate) fn by_literal(&self, bytes: &[u8], out: &mut RuleBits) {
        out.copy_from(&self.needs_literal);
        out.invert();
        let Some(automaton) = &self.automaton else { return };
        for found in automaton.find_overlapping_iter(bytes) {
            let rules = self.rules_of_literal.get(found.pattern().as_usize());
            rules.into_iter().flatten().for_each(|rule| out.insert(*rule));
        }
    }

    /// The rules for which [`Self::by_literal`] has anything to say.
    pub(crate) fn needs_literal(&self) -> &RuleBits {
        &self.needs_literal
    }
}

fn automaton(literals: &[Vec<u8>]) -> Result<Option<AhoCorasick>, Box<BuildError>> {
    if literals.is_empty() {
        return Ok(None);
    }
    let kind = if literals.len() <= DFA_LITERALS {
        AhoCorasickKind::DFA
    } else {
        AhoCorasickKind::ContiguousNFA
    };
    let built =
        AhoCorasick::builder().ascii_case_insensitive(true).kind(Some(kind)).build(literals)?;
    Ok(Some(built))
}
