//! One YAML in, one immutable snapshot out, and the one function that every request passes.
