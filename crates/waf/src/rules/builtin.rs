//! The rules that come with Tidegate. To add a file, write it in `config/rules` and add one row.

use super::RuleFile;

const FILES: &[(&str, &str)] = &[
    ("command-injection", include_str!("../../../../config/rules/command-injection.yaml")),
    ("cross-site-scripting", include_str!("../../../../config/rules/cross-site-scripting.yaml")),
    ("encoded-attacks", include_str!("../../../../config/rules/encoded-attacks.yaml")),
    ("lookups", include_str!("../../../../config/rules/lookups.yaml")),
    ("path-traversal", include_str!("../../../../config/rules/path-traversal.yaml")),
    ("protocol-abuse", include_str!("../../../../config/rules/protocol-abuse.yaml")),
    ("scanners", include_str!("../../../../config/rules/scanners.yaml")),
    (
        "server-side-request-forgery",
        include_str!("../../../../config/rules/server-side-request-forgery.yaml"),
    ),
    ("sql-injection", include_str!("../../../../config/rules/sql-injection.yaml")),
    ("template-injection", include_str!("../../../../config/rules/template-injection.yaml")),
];

pub(crate) fn files() -> Vec<RuleFile> {
    let file = |(name, text): &(&str, &str)| RuleFile {
        name: format!("config/rules/{name}.yaml"),
        text: (*text).to_owned(),
    };
    FILES.iter().map(file).collect()
}

#[cfg(test)]
mod tests {
    use crate::mask::ByteMask;
    use crate::rules::{Rule, RuleSet};
    use crate::transformations::trie::ROOT;

    #[test]
    fn every_rule_keeps_its_examples() {
        let rules = RuleSet::builtin().unwrap_or_else(|errors| panic!("{errors}"));
        let mut wrong = Vec::new();
        for rule in &rules.rules {
            for (examples, wanted) in [(&rule.examples.hits, true), (&rule.examples.passes, false)]
            {
                for example in examples.iter().filter(|text| matches(&rules, rule, text) != wanted)
                {
                    wrong.push(format!("{} ({wanted}): {example}", rule.id));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    fn matches(rules: &RuleSet, rule: &Rule, text: &str) -> bool {
        let bytes = transform(rules, rule.node, text.as_bytes());
        rule.operator.matches(&bytes)
            && rule.also.iter().all(|operator| operator.matches(&bytes))
            && !rule.unless.iter().any(|operator| operator.matches(&bytes))
    }

    fn transform(rules: &RuleSet, node: usize, bytes: &[u8]) -> Vec<u8> {
        if node == ROOT {
            return bytes.to_vec();
        }
        let node = &rules.trie.nodes()[node];
        let before = transform(rules, node.parent, bytes);
        let mut after = Vec::new();
        (node.step.unwrap().apply)(&before, &mut after);
        assert!(after == before || (node.step.unwrap().may_change)(&ByteMask::of(&before)));
        after
    }

    #[test]
    fn every_rule_has_an_example_a_tag_and_a_message() {
        for rule in &RuleSet::builtin().unwrap().rules {
            assert!(!rule.message.ends_with('.') && !rule.tags.is_empty(), "{}", rule.id);
            assert!(!rule.examples.hits.is_empty() || rule.sensitivity > 2, "{}", rule.id);
        }
    }
}
