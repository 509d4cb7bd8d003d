//! The rules that come with Tidegate. To add a file, write it in `config/rules` and add one row.

use super::RuleFile;

const FILES: &[(&str, &str)] =
    &[("sql-injection.yaml", include_str!("../../../../config/rules/sql-injection.yaml"))];

pub(crate) fn files() -> Vec<RuleFile> {
    let file = |(name, text): &(&str, &str)| RuleFile {
        name: format!("config/rules/{name}"),
        text: (*text).to_owned(),
    };
    FILES.iter().map(file).collect()
}
