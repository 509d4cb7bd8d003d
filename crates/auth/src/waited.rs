//! What a request may have to wait for before it can be decided about, and what came of it.

use std::sync::Arc;

use crate::authorizer::{Authorizer, Word};
use crate::exchange::{Trade, Traded};
use crate::identity::Authenticated;
use crate::introspection::Question;
use crate::issuer::Issuer;

/// What has to be had before a request can be decided about.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Need {
    /// A policy service's word about somebody.
    Authorize(Arc<Authorizer>, Authenticated),
    /// A token for the upstream.
    Exchange(Trade),
    /// An endpoint's answer about a token.
    Introspect(Question),
    /// The issuer's keys.
    Keys(Arc<Issuer>),
}

/// What came of a need. Keys and what endpoints say of tokens are found where they are kept.
#[derive(Clone, Debug)]
pub enum Answer {
    /// What the token was exchanged for.
    Traded(Traded),
    /// What the policy service said.
    Word(Word),
}

/// What was waited for already, so that nobody waits twice.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that was waited for")]
pub struct Waited {
    pub(crate) for_keys: bool,
    pub(crate) for_introspection: bool,
    pub(crate) for_authorizer: bool,
    pub(crate) for_exchange: bool,
    pub(crate) word: Option<Word>,
    pub(crate) traded: Option<Traded>,
}

impl Waited {
    /// Notes that a need was waited for, and what came of it.
    pub fn note(&mut self, need: &Need, answer: Option<Answer>) {
        match need {
            Need::Authorize(..) => self.for_authorizer = true,
            Need::Exchange(_) => self.for_exchange = true,
            Need::Introspect(_) => self.for_introspection = true,
            Need::Keys(_) => self.for_keys = true,
        }
        match answer {
            None => {}
            Some(Answer::Traded(traded)) => self.traded = Some(traded),
            Some(Answer::Word(word)) => self.word = Some(word),
        }
    }

    /// Whether the request's proof was looked at before: what is waited for after that is needed
    /// only by who was known already.
    pub(crate) fn proof_was_seen(&self) -> bool {
        self.for_authorizer || self.for_exchange
    }
}
