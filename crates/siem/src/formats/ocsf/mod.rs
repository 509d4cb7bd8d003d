//! OCSF 1.8 (Open Cybersecurity Schema Framework), as JSON.
//!
//! A request is an HTTP Activity (4002), or an Authentication (3002) if it ended because nobody
//! proved who asks; notices go to the class that fits their kind. The schema knows no further
//! keys: what it has no place for stands in `unmapped`. A validator that others wrote reads what
//! the binary emits, see `tests/suites`.

mod notice;
mod request;

use tidegate_core::notice::Severity;
use tidegate_core::record::json::{Object, string};

pub(super) use self::notice::notice;
pub(super) use self::request::event;
use super::Node;
use super::outcome::Outcome;

/// The version of the schema.
const VERSION: &str = "1.8.0";

/// One class of the schema.
#[derive(Clone, Copy, Debug)]
struct Class {
    uid: u32,
    category: u32,
}

const NETWORK_ACTIVITY: Class = Class { uid: 4001, category: 4 };
const HTTP_ACTIVITY: Class = Class { uid: 4002, category: 4 };
const AUTHENTICATION: Class = Class { uid: 3002, category: 3 };
const DETECTION_FINDING: Class = Class { uid: 2004, category: 2 };
const APPLICATION_LIFECYCLE: Class = Class { uid: 6002, category: 6 };
const API_ACTIVITY: Class = Class { uid: 6003, category: 6 };
const APPLICATION_ERROR: Class = Class { uid: 6008, category: 6 };

/// Writes what every class has: what kind of event it is, how bad, what was done about it.
fn head(
    object: &mut Object<'_>,
    (class, activity): (Class, u32),
    severity: Severity,
    outcome: Outcome,
) {
    object.number("category_uid", class.category);
    object.number("class_uid", class.uid);
    object.number("activity_id", activity);
    object.number("type_uid", class.uid * 100 + activity);
    object.number("severity_id", severity as u32 + 1);
    let (action, disposition) = control(outcome);
    object.number("action_id", action);
    object.number("disposition_id", disposition);
}

/// The profile `security_control`: `action_id` and `disposition_id`.
const fn control(outcome: Outcome) -> (u32, u32) {
    match outcome {
        Outcome::Alerted => (3, 19),
        Outcome::Allowed => (1, 1),
        Outcome::Blocked => (2, 2),
        Outcome::Counted => (3, 20),
        Outcome::Delayed => (4, 14),
        Outcome::Detected => (3, 15),
        Outcome::Failed => (1, 27),
        Outcome::Isolated => (4, 4),
        Outcome::Left => (1, 16),
        Outcome::Rejected => (2, 25),
        Outcome::Unauthorized => (2, 26),
    }
}

/// Who tells, in which version, with which profiles; `fill` adds what names the record.
fn metadata(
    object: &mut Object<'_>,
    node: &Node,
    profiles: &[&str],
    fill: impl FnOnce(&mut Object<'_>),
) {
    object.object("metadata", |metadata| {
        metadata.text("version", VERSION);
        metadata.object("product", |product| {
            product.text("name", "Tidegate");
            product.text("vendor_name", "Tidegate");
            product.text("version", &node.version);
        });
        metadata.list("profiles", profiles, |out, profile| string(out, profile));
        fill(metadata);
    });
    object.object("device", |device| {
        device.text("hostname", &node.host);
        // A server.
        device.number("type_id", 1);
    });
}
