//! Who may pass now: address sets, connection counts and token buckets.
