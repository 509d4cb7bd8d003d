//! Texts with macros, resolved to slots and values.

use super::pick::Pick;
use super::slots::Slot;
use super::{Matched, RuleField};
use crate::target::TargetSet;

/// A text that is put together when it is needed.
#[derive(Debug, Default)]
pub(crate) struct Template {
    pub(crate) pieces: Box<[Piece]>,
}

#[derive(Debug)]
pub(crate) enum Piece {
    /// The first value of the request that it selects.
    Arena(Pick),
    Matched(Matched),
    Rule(RuleField),
    Text(Box<[u8]>),
    Tx(Slot),
}

impl Template {
    pub(crate) fn text(text: &str) -> Self {
        let pieces: Vec<Piece> =
            if text.is_empty() { Vec::new() } else { vec![Piece::Text(text.as_bytes().into())] };
        Self { pieces: pieces.into() }
    }

    /// The text with its macros left out.
    pub(crate) fn as_written(&self) -> Vec<u8> {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => text.to_vec(),
            Piece::Arena(_) | Piece::Matched(_) | Piece::Rule(_) | Piece::Tx(_) => b"*".to_vec(),
        };
        self.pieces.iter().flat_map(text).collect()
    }

    /// The kinds of values that its macros take.
    pub(crate) fn targets(&self) -> TargetSet {
        self.pieces.iter().fold(TargetSet::default(), |targets, piece| match piece {
            Piece::Arena(pick) => targets.union(pick.targets),
            Piece::Matched(_) | Piece::Rule(_) | Piece::Text(_) | Piece::Tx(_) => targets,
        })
    }

    /// The text, if there is no macro in it.
    pub(crate) fn literal(&self) -> Option<&[u8]> {
        match &*self.pieces {
            [] => Some(b""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }
}
