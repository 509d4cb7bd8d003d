//! The only room that knows Pingora: connections, TLS, calling the engine, doing what it decided.
