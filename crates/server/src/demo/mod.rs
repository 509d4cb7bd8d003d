//! What `tidegate demo` brings along: an origin to stand before. The configuration it runs with
//! is `config/demo.yaml`.

pub(crate) mod origin;
