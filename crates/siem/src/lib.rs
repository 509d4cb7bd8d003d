//! Events in the formats of others, and the sinks that take them there.
