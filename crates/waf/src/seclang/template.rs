//! Texts with macros, `%{NAME.key}`.

use super::ast::{Piece, Template};
use super::error::unknown;
use super::names;

impl Template {
    /// Reads a text in which each macro must name a variable.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        Self::read(text, |name| Err(unknown("variable", name, names::variables())))
    }

    /// Reads a text in which what names no variable is no macro: a pattern may hold `%{2}`.
    pub(super) fn parse_lenient(text: &str) -> Self {
        Self::read(text, |_| Ok(())).unwrap_or_default()
    }

    fn read(text: &str, otherwise: impl Fn(&str) -> Result<(), String>) -> Result<Self, String> {
        let mut template = Self::default();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("%{") {
            plain.push_str(before);
            let Some((inside, behind)) = after.split_once('}') else {
                plain.push_str("%{");
                rest = after;
                continue;
            };
            match macro_piece(inside) {
                Some(piece) => {
                    template.push_text(&mut plain);
                    template.pieces.push(piece);
                }
                None => {
                    otherwise(inside)?;
                    plain.push_str("%{");
                    plain.push_str(inside);
                    plain.push('}');
                }
            }
            rest = behind;
        }
        plain.push_str(rest);
        template.push_text(&mut plain);
        Ok(template)
    }

    fn push_text(&mut self, text: &mut String) {
        if !text.is_empty() {
            self.pieces.push(Piece::Text(std::mem::take(text).into()));
        }
    }

    /// The same with its text in lower case.
    pub(super) fn lowercase(mut self) -> Self {
        for piece in &mut self.pieces {
            if let Piece::Text(text) = piece {
                text.make_ascii_lowercase();
            }
        }
        self
    }
}

fn macro_piece(inside: &str) -> Option<Piece> {
    let inside = inside.trim();
    let (name, key) = match inside.split_once(['.', ':']) {
        Some((name, key)) => (name, Some(Box::from(key))),
        None => (inside, None),
    };
    Some(Piece::Macro { name: names::variable(name)?, key })
}
