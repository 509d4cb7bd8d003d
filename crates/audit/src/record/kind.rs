//! [`Kind`]: what sort of thing a record tells.

use serde::{Deserialize, Serialize};

/// What sort of thing happened. Kinds that a later program of the same version adds read as
/// [`Kind::Other`].
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Something was asked of the admin listener.
    Admin,
    /// Somebody added or lifted a ban.
    Ban,
    /// A configuration was put in force or refused.
    Config,
    /// The response policy decided something, or the panic switch was turned.
    Decision,
    /// An answer whose outcome was recorded did not reach the client as a whole.
    Delivery,
    /// A subject's key was destroyed.
    Erasure,
    /// Certificates, keys or other secrets were read anew.
    Key,
    /// What became of a request of a key event.
    Outcome,
    /// Policy refused a request.
    Refusal,
    /// A request of a key event, before it is sent on.
    Request,
    /// The process started.
    Start,
    /// The process stops.
    Stop,
    /// Records that were counted instead of written.
    Summary,
    // The last, since serde wants it there.
    /// A kind that this program does not know.
    #[default]
    #[serde(other)]
    Other,
}

impl Kind {
    /// Every kind that is written.
    pub const ALL: [Self; 13] = [
        Self::Admin,
        Self::Ban,
        Self::Config,
        Self::Decision,
        Self::Delivery,
        Self::Erasure,
        Self::Key,
        Self::Outcome,
        Self::Refusal,
        Self::Request,
        Self::Start,
        Self::Stop,
        Self::Summary,
    ];

    /// The word in the record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Ban => "ban",
            Self::Config => "config",
            Self::Decision => "decision",
            Self::Delivery => "delivery",
            Self::Erasure => "erasure",
            Self::Key => "key",
            Self::Other => "other",
            Self::Outcome => "outcome",
            Self::Refusal => "refusal",
            Self::Request => "request",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Summary => "summary",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_is_what_is_written() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
            assert_eq!(serde_json::from_value::<Kind>(kind.as_str().into()).unwrap(), kind);
        }
        assert_eq!(serde_json::from_value::<Kind>("later".into()).unwrap(), Kind::Other);
    }
}
