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
    use super::files;
    use crate::mask::ByteMask;
    use crate::rules::{Rule, read_all};

    #[test]
    fn every_rule_keeps_its_examples() {
        let rules = read_all(&files()).unwrap_or_else(|errors| panic!("{errors:?}"));
        let mut wrong = Vec::new();
        for rule in &rules {
            for (examples, wanted) in [(&rule.examples.hits, true), (&rule.examples.passes, false)]
            {
                for example in examples.iter().filter(|text| matches(rule, text) != wanted) {
                    wrong.push(format!("{} ({wanted}): {example}", rule.id));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    fn matches(rule: &Rule, text: &str) -> bool {
        let mut bytes = text.as_bytes().to_vec();
        for step in &rule.chain {
            let mut after = Vec::new();
            (step.apply)(&bytes, &mut after);
            assert!(after == bytes || (step.may_change)(&ByteMask::of(&bytes)));
            bytes = after;
        }
        rule.operator.matches(&bytes)
            && rule.also.iter().all(|operator| operator.matches(&bytes))
            && !rule.unless.iter().any(|operator| operator.matches(&bytes))
    }

    #[test]
    fn every_rule_has_an_example_a_tag_and_a_message() {
        for rule in &read_all(&files()).unwrap() {
            assert!(!rule.message.ends_with('.') && !rule.tags.is_empty(), "{}", rule.id);
            assert!(!rule.examples.hits.is_empty() || rule.sensitivity > 2, "{}", rule.id);
        }
    }
}
