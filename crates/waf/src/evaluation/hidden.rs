//! What rules ask not to be told of a request: `sanitiseArg` and its relatives.

use tidegate_core::event::WafMatch;

use crate::seclang::ast::Sanitise;

/// What stands in the place of what is not told.
const HIDDEN: &str = "[redacted]";

/// The words for arguments, of both front ends.
const ARGUMENTS: [&str; 6] = ["ARGS", "ARGS_GET", "ARGS_POST", "args", "body", "query"];
const REQUEST_FIELDS: [&str; 2] = ["REQUEST_HEADERS", "header"];
const RESPONSE_FIELDS: [&str; 1] = ["RESPONSE_HEADERS"];

/// Places that are not told.
#[derive(Debug, Default)]
pub(crate) struct Hidden {
    asked: Vec<Sanitise>,
    /// As matches name them.
    exactly: Vec<Box<str>>,
    /// For each match that is told, all places that its rule matched at.
    matched: Vec<Vec<Box<str>>>,
}

impl Hidden {
    pub(super) fn add(&mut self, asked: &Sanitise) {
        if !self.asked.contains(asked) {
            self.asked.push(asked.clone());
        }
    }

    pub(super) fn add_exactly(&mut self, target: Box<str>) {
        self.exactly.push(target);
    }

    /// Notes where the rule of the next match that is told matched.
    pub(super) fn note_match(&mut self, places: Vec<Box<str>>) {
        self.matched.push(places);
    }

    /// The names of arguments that are not told.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &str> {
        let named = self.asked.iter().filter_map(|asked| match asked {
            Sanitise::Argument(name) => Some(&**name),
            Sanitise::Matched | Sanitise::RequestField(_) | Sanitise::ResponseField(_) => None,
        });
        let matched = self.exactly.iter().filter_map(|target| {
            let (kind, name) = target.split_once(':')?;
            ARGUMENTS.contains(&kind).then_some(name)
        });
        named.chain(matched)
    }

    /// Takes out of matches what is not told.
    pub(crate) fn hide_in(&self, matches: &mut [WafMatch]) {
        if self.asked.is_empty() && self.exactly.is_empty() {
            return;
        }
        // A later link's piece may be one of what an earlier link matched.
        for (found, places) in matches.iter_mut().zip(&self.matched) {
            if places.iter().any(|place| self.hides(place)) {
                found.piece = HIDDEN.into();
                if !found.logdata.is_empty() {
                    found.logdata = HIDDEN.into();
                }
            }
        }
    }

    fn hides(&self, target: &str) -> bool {
        let (kind, name) = target.split_once(':').unwrap_or((target, ""));
        let asked = |asked: &Sanitise| match asked {
            Sanitise::Argument(wanted) => {
                ARGUMENTS.contains(&kind) && name.eq_ignore_ascii_case(wanted)
            }
            Sanitise::RequestField(wanted) => {
                REQUEST_FIELDS.contains(&kind) && name.eq_ignore_ascii_case(wanted)
            }
            Sanitise::ResponseField(wanted) => {
                RESPONSE_FIELDS.contains(&kind) && name.eq_ignore_ascii_case(wanted)
            }
            Sanitise::Matched => false,
        };
        self.exactly.iter().any(|known| **known == *target) || self.asked.iter().any(asked)
    }
}
