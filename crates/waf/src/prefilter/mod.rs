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
    rules: usize,
    /// Each distinct class, and the rules that need one of its bytes.
    classes: Vec<(ByteMask, RuleBits)>,
    automaton: Option<AhoCorasick>,
    /// For each literal, the rules that it makes candidates.
    rules_of_literal: Vec<Box<[usize]>>,
    needs_literal: RuleBits,
}

impl Prefilter {
    /// Builds the prefilter over what each rule requires, in the order of the rules.
    pub(crate) fn new(required: &[Required]) -> Result<Self, Box<BuildError>> {
        let mut classes: Vec<(ByteMask, RuleBits)> = Vec::new();
        let mut needs_literal = RuleBits::empty(required.len());
        let mut literals: Vec<&[u8]> = Vec::new();
        let mut rules_of_literal: Vec<Vec<usize>> = Vec::new();
        let mut index_of: FxHashMap<&[u8], usize> = FxHashMap::default();
        for (rule, needs) in required.iter().enumerate() {
            for class in &needs.classes {
                let known = classes.iter_mut().find(|(mask, _)| mask == class);
                if let Some((_, rules)) = known {
                    rules.insert(rule);
                } else {
                    let mut rules = RuleBits::empty(required.len());
                    rules.insert(rule);
                    classes.push((*class, rules));
                }
            }
            let Some(wanted) = &needs.literals else { continue };
            needs_literal.insert(rule);
            for literal in wanted {
                let index = *index_of.entry(literal).or_insert_with(|| {
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
            rules: required.len(),
            classes,
            automaton: automaton(&literals)?,
            rules_of_literal: rules_of_literal.into_iter().map(Into::into).collect(),
            needs_literal,
        })
    }

    /// The rules that no class of `mask` rules out.
    pub(crate) fn by_class(&self, mask: &ByteMask, out: &mut RuleBits) {
        out.reset(self.rules);
        for (class, rules) in &self.classes {
            if !mask.intersects(class) {
                out.union_with(rules);
            }
        }
        out.invert();
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

fn automaton(literals: &[&[u8]]) -> Result<Option<AhoCorasick>, Box<BuildError>> {
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
