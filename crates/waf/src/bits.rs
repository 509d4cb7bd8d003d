//! [`RuleBits`]: a set of rules, by their index in the rule set.

/// A set of rule indices; all sets of one rule set have the same length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RuleBits(Vec<u64>);

impl RuleBits {
    /// The empty set, with room for `rules` rules.
    pub(crate) fn empty(rules: usize) -> Self {
        Self(vec![0; rules.div_ceil(64)])
    }

    pub(crate) fn insert(&mut self, rule: usize) {
        if let Some(word) = self.0.get_mut(rule / 64) {
            *word |= 1 << (rule % 64);
        }
    }

    pub(crate) fn remove(&mut self, rule: usize) {
        if let Some(word) = self.0.get_mut(rule / 64) {
            *word &= !(1 << (rule % 64));
        }
    }

    pub(crate) fn contains(&self, rule: usize) -> bool {
        self.0.get(rule / 64).is_some_and(|word| word >> (rule % 64) & 1 == 1)
    }

    /// Makes this set a copy of `other`, reusing its memory.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.0.clear();
        self.0.extend_from_slice(&other.0);
    }

    /// Empties the set, keeping room for `rules` rules.
    pub(crate) fn reset(&mut self, rules: usize) {
        self.0.clear();
        self.0.resize(rules.div_ceil(64), 0);
    }

    /// Every rule that is not in the set. Bits beyond the last rule become set too: intersect
    /// before iterating.
    pub(crate) fn invert(&mut self) {
        self.0.iter_mut().for_each(|word| *word = !*word);
    }

    pub(crate) fn union_with(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    pub(crate) fn intersect_with(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a &= b);
    }

    pub(crate) fn subtract(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a &= !b);
    }

    pub(crate) fn intersects(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    /// The first rule from `start` on that is in this set or in `other`.
    #[inline]
    pub(crate) fn next_with(&self, other: &Self, start: usize) -> Option<usize> {
        let words = self.0.iter().zip(&other.0).enumerate().skip(start / 64);
        let mut wanted = u64::MAX << (start % 64);
        for (index, (a, b)) in words {
            let word = (a | b) & wanted;
            if word != 0 {
                return Some(index * 64 + word.trailing_zeros() as usize);
            }
            wanted = u64::MAX;
        }
        None
    }

    /// The rules in the set, in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(index, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros();
                rest &= rest.wrapping_sub(1);
                (bit < 64).then_some(index * 64 + bit as usize)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_lists_its_rules_in_order() {
        let mut bits = RuleBits::empty(130);
        for rule in [129, 0, 63, 64] {
            bits.insert(rule);
        }
        assert_eq!(bits.iter().collect::<Vec<_>>(), [0, 63, 64, 129]);
        bits.remove(63);
        assert!(!bits.contains(63) && bits.contains(64));
    }

    #[test]
    fn sets_combine() {
        let set = |rules: &[usize]| {
            let mut bits = RuleBits::empty(70);
            rules.iter().for_each(|rule| bits.insert(*rule));
            bits
        };
        let mut bits = set(&[1, 2, 69]);
        bits.intersect_with(&set(&[2, 69]));
        assert_eq!(bits, set(&[2, 69]));
        bits.subtract(&set(&[69]));
        assert_eq!(bits, set(&[2]));
        bits.union_with(&set(&[3]));
        assert_eq!(bits, set(&[2, 3]));
        assert!(bits.intersects(&set(&[3])) && !bits.intersects(&set(&[4])));
    }
}
