//! What is changed on the way: header fields, the path, or the whole answer into a redirect.
//!
//! Filters transform and never refuse a request. To add one: one file here with its settings, its
//! `compile` and its tests, and the lines `mod` and `pub use` below.

mod header_filter;
mod redirect;
mod rewrite;

pub use self::header_filter::{HeaderFilter, HeaderFilterSettings};
pub use self::redirect::{Redirect, RedirectPath, RedirectSettings};
pub use self::rewrite::{InvalidPath, Rewrite, RewriteSettings};
