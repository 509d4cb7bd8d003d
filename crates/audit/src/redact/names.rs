//! Names under which secrets travel.

use tidegate_core::secret_names;

/// Names of values that prove that somebody holds a card (PCI DSS forbids to keep them), and of
/// fields that carry sessions.
const NAMES: [&str; 8] =
    ["cookie", "csc", "cvc", "cvc2", "cvv", "cvv2", "proxy-authorization", "set-cookie"];

/// Whether values of this name are secret: what the access log masks, cookies, and the codes on
/// cards.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    secret_names::is_secret(name) || NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}
