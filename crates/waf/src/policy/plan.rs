//! What to compute of a value, by its kind: the forms that some rule looks at, and which of the
//! rules a form could match at all, judged by the bytes that occur in it.
//!
//! A plan numbers its own few rules, so that its sets are a word or two long.

use crate::bits::RuleBits;
use crate::mask::ByteMask;
use crate::prefilter::Prefilter;
use crate::program::Program;
use crate::target::Target;
use crate::transformations::Transformation;

/// The plan for one kind of values.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The forms, parents first; the value as it is comes first.
    pub(crate) steps: Vec<Step>,
    /// The rules, by their number in the program, in their order.
    pub(crate) rules: Vec<u32>,
    /// The length of a set of these rules.
    pub(crate) words: usize,
    /// For each byte, the row of the rules that it makes candidates.
    row_of_byte: Vec<u8>,
    rows: Vec<u64>,
    /// The rules that need no particular byte.
    any_byte: Vec<u64>,
    /// The YAML rules.
    pub(crate) own: Vec<u64>,
    /// The rules that need a literal.
    pub(crate) needs_literal: Vec<u64>,
}

/// A node of the trie that some rule needs for a value of the kind.
#[derive(Debug)]
pub(crate) struct Step {
    /// The step that it goes on from.
    pub(crate) parent: usize,
    pub(crate) transformation: Option<&'static Transformation>,
    /// The rules that look at this form.
    pub(crate) rules: Vec<u64>,
}

/// A plan for each kind of values, with these rules and no others.
pub(crate) fn plans(program: &Program, live: &RuleBits) -> Vec<Plan> {
    let plan = |target: Target| {
        let mut rules = RuleBits::empty(program.rules.len());
        if let Some(of_target) = program.rules_of_target.get(target as usize) {
            rules.union_with(of_target);
        }
        rules.intersect_with(live);
        Plan::new(program, &rules)
    };
    Target::all().map(plan).collect()
}

impl Plan {
    fn new(program: &Program, wanted: &RuleBits) -> Self {
        let rules: Vec<u32> = wanted.iter().filter_map(|rule| u32::try_from(rule).ok()).collect();
        if rules.is_empty() {
            return Self::default();
        }
        let mut plan = Self { words: rules.len().div_ceil(64), rules, ..Self::default() };
        plan.steps = plan.steps(program, wanted);
        let is_own = |rule: usize| program.rules.get(rule).is_some_and(|rule| rule.own.is_some());
        plan.own = plan.set(is_own);
        plan.index(&program.prefilter);
        plan
    }

    fn steps(&self, program: &Program, wanted: &RuleBits) -> Vec<Step> {
        let nodes = program.trie.nodes();
        let mut needed = vec![false; nodes.len()];
        if let Some(root) = needed.first_mut() {
            *root = true;
        }
        for (node, (known, of_node)) in nodes.iter().zip(&program.rules_of_node).enumerate().rev() {
            if (of_node.intersects(wanted) || needed.get(node) == Some(&true))
                && let Some(parent) = needed.get_mut(known.parent)
            {
                *parent = true;
                if let Some(itself) = needed.get_mut(node) {
                    *itself = true;
                }
            }
        }
        let mut place_of = vec![0; nodes.len()];
        let mut steps = Vec::new();
        for (node, (known, of_node)) in nodes.iter().zip(&program.rules_of_node).enumerate() {
            if needed.get(node) != Some(&true) {
                continue;
            }
            if let Some(place) = place_of.get_mut(node) {
                *place = steps.len();
            }
            let parent = place_of.get(known.parent).copied().unwrap_or(0);
            let rules = self.set(|rule| of_node.contains(rule));
            steps.push(Step { parent, transformation: known.step, rules });
        }
        steps
    }

    fn index(&mut self, prefilter: &Prefilter) {
        self.needs_literal = self.set(|rule| prefilter.needs_literal().contains(rule));
        self.any_byte = self.set(|rule| prefilter.first_class(rule).is_none());
        let mut rows: Vec<Vec<u64>> = Vec::new();
        for byte in 0..=u8::MAX {
            let with = |class: &ByteMask| class.contains(byte);
            let row = self.set(|rule| prefilter.first_class(rule).is_some_and(with));
            let known = rows.iter().position(|known| *known == row).unwrap_or_else(|| {
                rows.push(row);
                rows.len() - 1
            });
            // There are no more rows than bytes.
            self.row_of_byte.push(u8::try_from(known).unwrap_or(u8::MAX));
        }
        self.rows = rows.concat();
    }

    /// The set of the rules for which `takes` holds.
    fn set(&self, takes: impl Fn(usize) -> bool) -> Vec<u64> {
        let mut set = vec![0; self.words];
        for (place, rule) in self.rules.iter().enumerate() {
            if takes(*rule as usize)
                && let Some(word) = set.get_mut(place / 64)
            {
                *word |= 1 << (place % 64);
            }
        }
        set
    }

    /// Leaves the rules of `set` that a value with these bytes has a first byte for.
    #[inline]
    pub(crate) fn retain_by_bytes(&self, mask: &ByteMask, set: &mut [u64], found: &mut Vec<u64>) {
        found.clear();
        found.extend_from_slice(&self.any_byte);
        for byte in mask.iter() {
            let row = self.row_of_byte.get(usize::from(byte)).map_or(0, |row| usize::from(*row));
            let row = self.rows.get(row * self.words..).unwrap_or_default();
            found.iter_mut().zip(row).for_each(|(found, row)| *found |= row);
        }
        set.iter_mut().zip(found).for_each(|(set, found)| *set &= *found);
    }

    /// The program's number of a rule of the plan.
    #[inline]
    pub(crate) fn rule(&self, place: usize) -> usize {
        self.rules.get(place).map_or(usize::MAX, |rule| *rule as usize)
    }
}

/// The places in a set, in ascending order.
pub(crate) fn places(set: &[u64]) -> impl Iterator<Item = usize> + '_ {
    set.iter().enumerate().flat_map(|(index, word)| {
        let mut rest = *word;
        std::iter::from_fn(move || {
            let bit = rest.trailing_zeros();
            rest &= rest.wrapping_sub(1);
            (bit < 64).then_some(index * 64 + bit as usize)
        })
    })
}

/// Leaves only the places for which `keep` holds.
#[inline]
pub(crate) fn retain(set: &mut [u64], keep: impl Fn(usize) -> bool) {
    for (index, word) in set.iter_mut().enumerate() {
        let mut rest = *word;
        while rest != 0 {
            let bit = rest.trailing_zeros();
            rest &= rest - 1;
            if !keep(index * 64 + bit as usize) {
                *word &= !(1 << bit);
            }
        }
    }
}
