//! One event in; metrics and the access log out.
