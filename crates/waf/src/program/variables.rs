//! SecLang's variables and macros, resolved to where their values are.

use regex::bytes::{Regex, RegexBuilder};

use super::pick::{Key, OtherNames, Pick, TxPick};
use super::slots::{Slots, prefix};
use super::template::{Piece, Template};
use super::{From, Matched, RuleField, Source};
use crate::seclang::ast::{self, Collection, Selector, Variable};
use crate::target::TargetSet;

/// What a variable of a condition gives.
pub(super) fn source(variable: &Variable, slots: &mut Slots) -> Result<Source, String> {
    let from = match place(variable.name) {
        Place::Matched(matched) => From::Matched(matched),
        Place::Rule => From::Rule(rule_field(&variable.selector)?),
        Place::Stored(prefix) => From::Tx(tx_pick(prefix, &variable.selector, slots)?),
        Place::Arena => From::Arena(pick(variable)?),
    };
    Ok(Source { label: variable.name, counted: variable.counted, from })
}

/// Which values of the request a variable stands for.
pub(super) fn pick(variable: &Variable) -> Result<Pick, String> {
    let key = match &variable.selector {
        Selector::All | Selector::Path(_) => Key::All,
        Selector::Name(name) => Key::Name(name.as_bytes().into()),
        Selector::Pattern(pattern) => Key::Pattern(regex(pattern)?),
    };
    let path = match &variable.selector {
        Selector::Path(path) => Some(&**path),
        Selector::All | Selector::Name(_) | Selector::Pattern(_) => None,
    };
    Ok(Pick::new(targets(variable.name, path)?, key))
}

/// Which values of the request a variable stands for; TX and its relatives are none.
pub(crate) fn pick_of(variable: &Variable) -> Result<Pick, String> {
    match place(variable.name) {
        Place::Arena => pick(variable),
        Place::Matched(_) | Place::Rule | Place::Stored(_) => {
            Err(format!("`{}` is no part of a request", variable.name))
        }
    }
}

/// Which variables of TX and its relatives a variable excludes.
pub(super) fn excluded(variable: &Variable, slots: &mut Slots) -> Result<Option<TxPick>, String> {
    match place(variable.name) {
        Place::Stored(prefix) => tx_pick(prefix, &variable.selector, slots).map(Some),
        Place::Arena | Place::Matched(_) | Place::Rule => Ok(None),
    }
}

/// Resolves the macros of a text.
pub(super) fn template(text: &ast::Template, slots: &mut Slots) -> Result<Template, String> {
    let piece = |piece: &ast::Piece| match piece {
        ast::Piece::Text(text) => Ok(Piece::Text(text.as_bytes().into())),
        ast::Piece::Macro { name, key } => macro_piece(name, key.as_deref(), slots),
    };
    let pieces: Result<Vec<Piece>, String> = text.pieces.iter().map(piece).collect();
    Ok(Template { pieces: pieces?.into() })
}

fn macro_piece(name: &'static str, key: Option<&str>, slots: &mut Slots) -> Result<Piece, String> {
    Ok(match (place(name), key) {
        (Place::Stored(prefix), Some(key)) => Piece::Tx(slots.intern(&format!("{prefix}{key}"))),
        (Place::Stored(_), None) => Piece::Text(Box::default()),
        (Place::Matched(matched), _) => Piece::Matched(matched),
        (Place::Rule, key) => {
            let selector = key.map_or(Selector::All, |key| Selector::Name(key.into()));
            Piece::Rule(rule_field(&selector)?)
        }
        (Place::Arena, key) => {
            let key = key.map_or(Key::All, |key| Key::Name(key.as_bytes().into()));
            Piece::Arena(Pick::new(targets(name, None)?, key))
        }
    })
}

enum Place {
    Arena,
    Matched(Matched),
    Rule,
    /// With what stands before its names.
    Stored(&'static str),
}

fn place(name: &str) -> Place {
    match name {
        "TX" => Place::Stored(prefix(Collection::Tx)),
        "ENV" => Place::Stored("env."),
        "GLOBAL" => Place::Stored(prefix(Collection::Global)),
        "IP" => Place::Stored(prefix(Collection::Ip)),
        "RESOURCE" => Place::Stored(prefix(Collection::Resource)),
        "SESSION" => Place::Stored(prefix(Collection::Session)),
        "USER" => Place::Stored(prefix(Collection::User)),
        "MATCHED_VAR" => Place::Matched(Matched::Value),
        "MATCHED_VARS" => Place::Matched(Matched::Values),
        "MATCHED_VAR_NAME" => Place::Matched(Matched::Name),
        "MATCHED_VARS_NAMES" => Place::Matched(Matched::Names),
        "RULE" => Place::Rule,
        _ => Place::Arena,
    }
}

fn targets(name: &str, path: Option<&str>) -> Result<TargetSet, String> {
    TargetSet::of_seclang(name, path).map_err(|error| error.to_string())
}

fn rule_field(selector: &Selector) -> Result<RuleField, String> {
    let Selector::Name(name) = selector else {
        return Err("RULE takes a name: id, msg, logdata or severity".to_owned());
    };
    match name.to_ascii_lowercase().as_str() {
        "id" => Ok(RuleField::Id),
        "logdata" => Ok(RuleField::LogData),
        "msg" => Ok(RuleField::Message),
        "severity" => Ok(RuleField::Severity),
        other => Err(format!("RULE has no `{other}`; known are id, msg, logdata and severity")),
    }
}

fn tx_pick(prefix: &'static str, selector: &Selector, slots: &mut Slots) -> Result<TxPick, String> {
    Ok(match selector {
        Selector::All => TxPick { prefix, slots: Box::default(), others: Some(OtherNames::All) },
        Selector::Name(name) | Selector::Path(name) => {
            let slot = slots.intern(&format!("{prefix}{name}"));
            TxPick { prefix, slots: Box::new([slot]), others: None }
        }
        Selector::Pattern(pattern) => {
            let others = Some(OtherNames::Pattern(regex(pattern)?));
            TxPick { prefix, slots: Box::default(), others }
        }
    })
}

fn regex(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .unicode(false)
        .case_insensitive(true)
        .dot_matches_new_line(true)
        .build()
        .map_err(|error| error.to_string())
}
