//! Criterion benchmarks of the heart, and HTTP benchmarks beside the peers.
