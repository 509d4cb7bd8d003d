//! Decisions become deeds: what the response policy decides about events is put in force, told and
//! recorded ([`carry_out`]); requests that a measure holds are held back or led to the quarantine
//! ([`hold`]); endpoints and zones are isolated ([`isolation`]); and a panic switch ends all of that
//! at once ([`panic`]).
//!
//! A request only ever gives its event to the policy, and what came of it to a bounded queue.

pub(crate) mod alertmanager;
pub(crate) mod carry_out;
pub(crate) mod crowdsec;
pub(crate) mod hold;
mod isolation;
pub(crate) mod own;
pub(crate) mod panic;
pub(crate) mod told;
pub(crate) mod watch;

use std::sync::Arc;

use crate::bans;
use crate::edge::Edge;

/// Starts what goes on beside requests for as long as the process lives.
pub(crate) fn start(edge: &Arc<Edge>, decided: carry_out::Waiting) {
    tokio::spawn(bans::keep(edge.clone()));
    tokio::spawn(bans::settle(edge.clone()));
    // Before the first request.
    edge.look_for_panic_file();
    tokio::spawn(carry_out::carry_out(edge.clone(), decided));
    tokio::spawn(panic::watch(edge.clone()));
    tokio::spawn(crowdsec::follow(edge.clone()));
}
