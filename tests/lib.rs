//! The repository's rules, end-to-end and conformance tests.
