//! What a match needs: the literals and byte classes without which a pattern cannot match,
//! computed from its syntax tree. Everything here may claim too little, never too much.

use regex_syntax::hir::{Class, Hir, HirKind, Repetition};
use regex_syntax::{Error, ParserBuilder};

use crate::mask::ByteMask;

/// What a value must contain for an operator to match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Required {
    /// At least one of these, ASCII letters without case; each has two bytes or more and is in
    /// lower case. `None` if no literal is needed.
    pub(crate) literals: Option<Vec<Vec<u8>>>,
    /// Of each of these classes at least one byte.
    pub(crate) classes: Vec<ByteMask>,
}

/// Shorter literals occur everywhere.
const MIN_LITERAL: usize = 2;
/// Longer literals tell nothing new.
const MAX_LITERAL: usize = 24;
/// More alternatives than this are given up.
const MAX_LITERALS: usize = 1_000;
/// How many strings an exact set holds before it is cut off.
const MAX_EXACT: usize = 48;
/// The most selective classes are enough.
const MAX_CLASSES: usize = 6;

impl Required {
    pub(crate) fn nothing() -> Self {
        Self::default()
    }

    /// The whole text must occur.
    pub(crate) fn text(text: &[u8]) -> Self {
        let classes = text.iter().map(|byte| ByteMask::of(&[*byte])).collect();
        let literals = usable(vec![text.to_ascii_lowercase()]);
        Self { literals, classes: most_selective(classes) }
    }

    /// A byte of the class must occur.
    pub(crate) fn class(class: ByteMask) -> Self {
        Self { literals: None, classes: vec![class] }
    }

    /// One of the lower-case texts must occur in any case.
    pub(crate) fn any_of(texts: Vec<Vec<u8>>) -> Self {
        if texts.iter().all(|text| text.len() >= MIN_LITERAL) {
            return Self { literals: (!texts.is_empty()).then_some(texts), classes: Vec::new() };
        }
        if texts.iter().any(Vec::is_empty) {
            return Self::nothing();
        }
        let firsts = texts.iter().filter_map(|text| text.first());
        let firsts: Vec<u8> = firsts
            .flat_map(|byte| [byte.to_ascii_lowercase(), byte.to_ascii_uppercase()])
            .collect();
        Self { literals: None, classes: vec![ByteMask::of(&firsts)] }
    }
}

/// The literals if all are long enough to be worth a search.
fn usable(literals: Vec<Vec<u8>>) -> Option<Vec<Vec<u8>>> {
    let fits = !literals.is_empty()
        && literals.len() <= MAX_LITERALS
        && literals.iter().all(|literal| literal.len() >= MIN_LITERAL);
    fits.then_some(literals)
}

/// What the byte-mode pattern needs; it is parsed as the `rx` operator compiles it.
pub(crate) fn required_by_pattern(pattern: &str) -> Result<Required, Box<Error>> {
    let hir = ParserBuilder::new()
        .utf8(false)
        .unicode(false)
        .dot_matches_new_line(true)
        .build()
        .parse(pattern)?;
    let needs = needs(&hir);
    let literals = better(needs.exact.and_then(usable), needs.literals);
    Ok(Required { literals, classes: most_selective(needs.classes) })
}

/// What one node of the tree needs.
#[derive(Debug, Default)]
struct Needs {
    /// All strings that the node matches, folded, if they are few.
    exact: Option<Vec<Vec<u8>>>,
    /// One of these must occur, folded.
    literals: Option<Vec<Vec<u8>>>,
    classes: Vec<ByteMask>,
}

impl Needs {
    /// Matches only the empty string.
    fn empty() -> Self {
        Self { exact: Some(vec![Vec::new()]), ..Self::default() }
    }

    /// The best literals of this node taken alone.
    fn best(&self) -> Option<Vec<Vec<u8>>> {
        better(self.exact.clone().and_then(usable), self.literals.clone())
    }
}

fn needs(hir: &Hir) -> Needs {
    match hir.kind() {
        // An assertion only narrows what matches, so it may be taken as empty.
        HirKind::Empty | HirKind::Look(_) => Needs::empty(),
        HirKind::Literal(literal) => Needs {
            exact: Some(vec![literal.0.to_ascii_lowercase()]),
            literals: None,
            classes: literal.0.iter().map(|byte| ByteMask::of(&[*byte])).collect(),
        },
        HirKind::Class(class) => class_needs(class),
        HirKind::Repetition(repetition) => repetition_needs(repetition),
        HirKind::Capture(capture) => needs(&capture.sub),
        HirKind::Concat(parts) => concat_needs(parts),
        HirKind::Alternation(branches) => alternation_needs(branches),
    }
}

fn class_needs(class: &Class) -> Needs {
    let Class::Bytes(class) = class else { return Needs::default() };
    let mut mask = ByteMask::EMPTY;
    for range in class.ranges() {
        mask = mask.union(&ByteMask::range(range.start(), range.end()));
    }
    let mut folded: Vec<Vec<u8>> = (0..=u8::MAX)
        .filter(|byte| mask.contains(*byte))
        .map(|byte| vec![byte.to_ascii_lowercase()])
        .collect();
    folded.sort_unstable();
    folded.dedup();
    let exact = (folded.len() <= 12).then_some(folded);
    let classes = if mask.len() < 200 { vec![mask] } else { Vec::new() };
    Needs { exact, literals: None, classes }
}

fn repetition_needs(repetition: &Repetition) -> Needs {
    let sub = needs(&repetition.sub);
    match (repetition.min, repetition.max) {
        (0, Some(1)) => {
            let exact = sub.exact.map(|mut strings| {
                strings.push(Vec::new());
                strings
            });
            Needs { exact, ..Needs::default() }
        }
        (0, _) => Needs::default(),
        (1, Some(1)) => sub,
        _ => Needs { literals: sub.best(), classes: sub.classes, exact: None },
    }
}

fn concat_needs(parts: &[Hir]) -> Needs {
    let mut all = Needs::default();
    // The run of exact strings that ends at the current part; `whole` while it began at the start.
    let mut run = vec![Vec::new()];
    let mut whole = true;
    for part in parts {
        let part = needs(part);
        let product = part.exact.as_ref().and_then(|strings| product(&run, strings));
        if let Some(product) = product {
            run = product;
        } else {
            whole = false;
            all.literals = better(all.literals.take(), usable(std::mem::take(&mut run)));
            run = match &part.exact {
                Some(strings) if strings.len() <= MAX_EXACT => strings.clone(),
                _ => vec![Vec::new()],
            };
        }
        all.literals =
            better(all.literals.take(), part.literals.or_else(|| part.exact.and_then(usable)));
        all.classes.extend(part.classes);
    }
    all.literals = better(all.literals.take(), usable(run.clone()));
    all.exact = whole.then_some(run);
    all
}

/// Every string of `left` followed by every string of `right`, if these are few and short.
fn product(left: &[Vec<u8>], right: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    let longest = |strings: &[Vec<u8>]| strings.iter().map(Vec::len).max().unwrap_or(0);
    let single = left.len() == 1 && left.iter().all(Vec::is_empty);
    if !single
        && (left.len() * right.len() > MAX_EXACT || longest(left) + longest(right) > MAX_LITERAL)
    {
        return None;
    }
    Some(left.iter().flat_map(|a| right.iter().map(move |b| [a.as_slice(), b].concat())).collect())
}

fn alternation_needs(branches: &[Hir]) -> Needs {
    let branches: Vec<Needs> = branches.iter().map(needs).collect();
    let exact = union(branches.iter().map(|branch| branch.exact.clone()));
    let literals = union(branches.iter().map(Needs::best));
    let mut class = Some(ByteMask::EMPTY);
    for branch in &branches {
        let best = branch.classes.iter().min_by_key(|mask| commonness(mask));
        class = class.zip(best).map(|(class, best)| class.union(best));
    }
    let classes = class.into_iter().filter(|mask| mask.len() < 200).collect();
    Needs { exact, literals, classes }
}

fn union(sets: impl Iterator<Item = Option<Vec<Vec<u8>>>>) -> Option<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    for set in sets {
        all.extend(set?);
        if all.len() > MAX_LITERALS {
            return None;
        }
    }
    all.sort_unstable();
    all.dedup();
    Some(all)
}

/// The set whose shortest literal is longer, then the one with fewer literals.
fn better(a: Option<Vec<Vec<u8>>>, b: Option<Vec<Vec<u8>>>) -> Option<Vec<Vec<u8>>> {
    let quality = |set: &Vec<Vec<u8>>| {
        let shortest = set.iter().map(Vec::len).min().unwrap_or(0);
        (shortest.min(6), std::cmp::Reverse(set.len()))
    };
    match (a, b) {
        (Some(a), Some(b)) => Some(if quality(&b) > quality(&a) { b } else { a }),
        (a, b) => a.or(b),
    }
}

fn most_selective(mut classes: Vec<ByteMask>) -> Vec<ByteMask> {
    classes.retain(|mask| *mask != ByteMask::EMPTY);
    classes.sort_by_key(commonness);
    classes.dedup();
    classes.truncate(MAX_CLASSES);
    classes
}

/// How often a benign value holds a byte of the class, in no particular unit.
fn commonness(mask: &ByteMask) -> u32 {
    (0..=u8::MAX)
        .filter(|byte| mask.contains(*byte))
        .map(|byte| match byte {
            b'a'..=b'z' => 20,
            b' ' | b'0'..=b'9' => 10,
            b'A'..=b'Z' | b'-' | b'.' | b'/' | b'_' | b',' => 4,
            0x80.. => 1,
            _ => 2,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, literals: Option<&[&str]>) {
        let required = required_by_pattern(pattern).unwrap();
        let literals =
            literals.map(|set| set.iter().map(|text| text.as_bytes().to_vec()).collect());
        assert_eq!(required.literals, literals, "{pattern}");
    }

    #[test]
    fn literals_are_found_where_they_are_needed() {
        check("union", Some(&["union"]));
        check("(?i)UNION", Some(&["union"]));
        check(r"['\x22]\s+or[ \t]", Some(&["or\t", "or "]));
        check(r"\d+(?:select|drop).*from", Some(&["from"]));
        check("(?:ab|cd)e?", Some(&["ab", "cd"]));
        check("a|bc", None);
        check("(?:abc)*", None);
        check("(?:abc)+", Some(&["abc"]));
        check(r"^\w+$", None);
    }

    #[test]
    fn classes_are_found_where_they_are_needed() {
        let required = required_by_pattern(r"['`]\s*\d").unwrap();
        assert!(required.classes.contains(&ByteMask::of(b"'`")));
        assert!(required.classes.contains(&ByteMask::range(b'0', b'9')));
        assert!(required_by_pattern("(?:<a|b)?").unwrap().classes.is_empty());
        assert_eq!(required_by_pattern("<a|>b").unwrap().classes, [ByteMask::of(b"<>")]);
    }
}
