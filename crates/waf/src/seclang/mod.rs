//! SecLang, ModSecurity's language of rules: from the text of files to typed and resolved rules
//! ([`ast`]), with every mistake of every file at once.

pub(crate) mod ast;
