//! YAML rules as rules of the program.

use std::ops::Range;

use super::pick::Pick;
use super::template::Template;
use super::{Condition, From, Link, Own, Question, Rule, Source, Then};
use crate::operators::Operator;
use crate::prefilter::Required;
use crate::rules;
use crate::transformations::trie::Trie;

pub(super) fn compile(rule: rules::Rule, trie: &mut Trie) -> Rule {
    let sources = rule.selectors.iter().map(|selector| Source {
        label: "",
        counted: false,
        from: From::Arena(Pick::from(selector)),
    });
    let operator: Box<dyn Operator> = if rule.also.is_empty() && rule.unless.is_empty() {
        rule.operator
    } else {
        Box::new(Guarded { main: rule.operator, also: rule.also, unless: rule.unless })
    };
    let link = Link {
        condition: Some(Condition {
            sources: sources.collect(),
            excepted: rule.except.iter().map(Pick::from).collect(),
            question: Question::Compiled(operator),
            negated: false,
        }),
        node: trie.node(&rule.chain),
        transformations: rule.chain.into(),
        multi_match: false,
        capture: false,
        set: Box::default(),
        controls: Box::default(),
    };
    Rule {
        id: rule.id,
        phase: 2,
        message: Template::text(&rule.message),
        logdata: Template::default(),
        tags: rule.tags.into(),
        severity: None,
        links: Box::new([link]),
        then: Then::Pass,
        next: 0,
        log: true,
        own: Some(Own { score: rule.score, sensitivity: rule.sensitivity }),
    }
}

/// An operator with conditions on the same value.
#[derive(Debug)]
struct Guarded {
    main: Box<dyn Operator>,
    also: Vec<Box<dyn Operator>>,
    unless: Vec<Box<dyn Operator>>,
}

impl Operator for Guarded {
    fn find(&self, bytes: &[u8]) -> Option<Range<usize>> {
        let found = self.main.find(bytes)?;
        let confirmed = self.also.iter().all(|operator| operator.matches(bytes))
            && !self.unless.iter().any(|operator| operator.matches(bytes));
        confirmed.then_some(found)
    }

    fn required(&self) -> Required {
        self.main.required()
    }
}
