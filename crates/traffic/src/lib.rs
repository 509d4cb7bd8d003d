//! Where a request goes: routes, pools, endpoint state and balancing.
