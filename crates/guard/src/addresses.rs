//! Which client addresses a route serves: an allow list, a deny list, or both. Bans, which come
//! and go by themselves, are not here.

use std::net::IpAddr;

use tidegate_core::net::{AddressSet, Network};
use tidegate_core::{Denial, Reason, SettingsError};

/// A route's address lists, compiled. The deny list wins; an address that is on neither passes
/// only if there is no allow list.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    allow: Option<AddressSet>,
    deny: AddressSet,
}

impl AddressPolicy {
    /// Compiles the lists; `allow: None` means that everybody passes whom `deny` does not name.
    ///
    /// # Errors
    ///
    /// An allow list without an entry would lock everybody out, and looks like the opposite.
    pub fn compile(
        allow: Option<&[Network]>,
        deny: &[Network],
    ) -> Result<Self, Vec<SettingsError>> {
        if allow.is_some_and(<[Network]>::is_empty) {
            return Err(vec![
                SettingsError::new(["allow"], "an empty allow list lets nobody pass").with_hint(
                    "remove `allow`, or write [0.0.0.0/0, \"::/0\"] to let every address pass",
                ),
            ]);
        }
        Ok(Self { allow: allow.map(AddressSet::new), deny: AddressSet::new(deny) })
    }

    /// Whether the policy can refuse anybody.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.allow.is_none() && self.deny.is_empty()
    }

    /// Lets the client pass, or refuses it.
    ///
    /// # Errors
    ///
    /// The list that decided.
    pub fn check(&self, client: IpAddr) -> Result<(), AddressDenied> {
        if self.deny.contains(client) {
            return Err(AddressDenied::Listed);
        }
        match &self.allow {
            Some(allow) if !allow.contains(client) => Err(AddressDenied::NotListed),
            _ => Ok(()),
        }
    }
}

/// Why an address may not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressDenied {
    /// The deny list names it.
    #[error("on the deny list")]
    Listed,
    /// The allow list does not name it.
    #[error("not on the allow list")]
    NotListed,
}

impl From<AddressDenied> for Denial {
    fn from(denied: AddressDenied) -> Self {
        Self::new(Reason::AddressDenied).with_evidence(denied.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[track_caller]
    fn check(allow: Option<&[&str]>, deny: &[&str], client: &str, evidence: Option<&str>) {
        let allow = allow.map(networks);
        let policy = AddressPolicy::compile(allow.as_deref(), &networks(deny)).unwrap();
        let denial = policy.check(client.parse().unwrap()).err().map(Denial::from);
        assert_eq!(denial.as_ref().and_then(|denial| denial.evidence.as_deref()), evidence);
        assert!(denial.is_none_or(|denial| denial.reason == Reason::AddressDenied));
    }

    #[test]
    fn the_deny_list_wins_and_an_allow_list_is_complete() {
        check(None, &[], "192.0.2.1", None);
        check(None, &["192.0.2.0/24"], "192.0.2.1", Some("on the deny list"));
        check(None, &["192.0.2.0/24"], "198.51.100.1", None);
        check(Some(&["10.0.0.0/8"]), &[], "10.1.1.1", None);
        check(Some(&["10.0.0.0/8"]), &[], "192.0.2.1", Some("not on the allow list"));
        check(Some(&["10.0.0.0/8"]), &["10.1.0.0/16"], "10.1.1.1", Some("on the deny list"));
        check(Some(&["10.0.0.0/8"]), &[], "::ffff:10.1.1.1", None);
        check(Some(&["10.0.0.0/8"]), &[], "2001:db8::1", Some("not on the allow list"));
    }

    #[test]
    fn an_empty_allow_list_is_an_error() {
        let errors = AddressPolicy::compile(Some(&[]), &[]).unwrap_err();
        assert_eq!(errors[0].to_string(), "allow: an empty allow list lets nobody pass");
        assert!(AddressPolicy::compile(None, &[]).unwrap().is_open());
    }
}
