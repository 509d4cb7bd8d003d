//! Macros, given what is known at the moment.

use crate::program::template::{Piece, Template};
use crate::program::{Rule, RuleField};
use crate::values::Arena;

use super::matched::MatchedValues;
use super::tx::Tx;

/// What a macro can refer to.
pub(super) struct Known<'a> {
    pub(super) arena: &'a Arena,
    pub(super) matched: &'a MatchedValues,
    pub(super) rule: &'a Rule,
    pub(super) tx: &'a Tx,
}

impl Known<'_> {
    /// Appends the text with its macros replaced; what is not there stands for nothing.
    pub(super) fn expand(&self, template: &Template, out: &mut Vec<u8>) {
        for piece in &template.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Tx(slot) => out.extend_from_slice(self.tx.value(*slot).unwrap_or_default()),
                Piece::Matched(which) => out.extend_from_slice(self.matched.text_of(*which)),
                Piece::Rule(field) => self.rule_field(*field, out),
                Piece::Arena(pick) => {
                    let value = self
                        .arena
                        .values()
                        .iter()
                        .find(|value| pick.selects(value.target, self.arena.bytes(value.name)));
                    out.extend_from_slice(
                        value.map_or(b"".as_slice(), |value| self.arena.bytes(value.bytes)),
                    );
                }
            }
        }
    }

    /// Appends what the rule at hand says of itself.
    pub(super) fn rule_field(&self, field: RuleField, out: &mut Vec<u8>) {
        let plain = |template: &Template, out: &mut Vec<u8>| {
            // A message that refers to itself stops here.
            let of_rule = |piece: &Piece| matches!(piece, Piece::Rule(_));
            if !template.pieces.iter().any(of_rule) {
                self.expand(template, out);
            }
        };
        match field {
            RuleField::Id => out.extend_from_slice(self.rule.id.to_string().as_bytes()),
            RuleField::LogData => plain(&self.rule.logdata, out),
            RuleField::Message => plain(&self.rule.message, out),
            RuleField::Severity => {
                let number = self.rule.severity.map(|severity| (severity as u8).to_string());
                out.extend_from_slice(number.unwrap_or_default().as_bytes());
            }
        }
    }
}
