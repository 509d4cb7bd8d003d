//! What an appender waits with: a future that needs no particular runtime, and can be waited for
//! by a thread as well.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use parking_lot::Mutex;
use thiserror::Error;

/// A record on its way to the disk. Resolves to its index when it is synced. To drop it changes
/// nothing for the record.
#[derive(Debug)]
#[must_use = "nothing is durable before the ticket resolves"]
pub struct Ticket(pub(crate) Arc<Slot>);

/// Why a record that was taken is not in the log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Lost {
    /// The disk, or the process's share of it, was full; it is not there after a restart either.
    #[error("no space for the audit log: {0}")]
    NoSpace(Arc<str>),
    /// The log stopped. Whether the record is there after a restart is not known.
    #[error("the audit log stopped: {0}")]
    Failed(Arc<str>),
}

impl Ticket {
    /// Blocks this thread until the record is synced; gives its index.
    ///
    /// # Errors
    /// As the future.
    pub fn wait(self) -> Result<u64, Lost> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut ticket = pin!(self);
        loop {
            match ticket.as_mut().poll(&mut context) {
                Poll::Ready(outcome) => return outcome,
                Poll::Pending => thread::park(),
            }
        }
    }
}

impl Future for Ticket {
    type Output = Result<u64, Lost>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.0.lock();
        match &mut *state {
            State::Done(outcome) => Poll::Ready(outcome.clone()),
            State::Waiting(waker) => {
                match waker {
                    Some(waker) => waker.clone_from(context.waker()),
                    None => *waker = Some(context.waker().clone()),
                }
                Poll::Pending
            }
        }
    }
}

/// Where the outcome is put.
pub(crate) struct Slot(Mutex<State>);

enum State {
    Waiting(Option<Waker>),
    Done(Result<u64, Lost>),
}

impl Slot {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State::Waiting(None))))
    }

    /// Sets the outcome and wakes whoever waits for it.
    pub(crate) fn resolve(&self, outcome: Result<u64, Lost>) {
        let before = std::mem::replace(&mut *self.0.lock(), State::Done(outcome));
        if let State::Waiting(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot")
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_waits_is_woken() {
        let slot = Slot::new();
        let ticket = Ticket(Arc::clone(&slot));
        let waiting = thread::spawn(move || ticket.wait());
        slot.resolve(Ok(7));
        assert_eq!(waiting.join().unwrap(), Ok(7));
    }
}
