//! Calls about tokens that run: one per token at a time, whoever waits for it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

/// Calls that run at a time at one endpoint; further ones are not made, and nobody passes by it.
/// Each endpoint has its own, so that one that hangs takes nothing from the others.
const MAX_CALLS: usize = 512;

/// An endpoint's name, and the token's SHA-256.
pub(super) type Key = (Arc<str>, [u8; 32]);

/// The calls that run, and what who waits for each is told.
pub(super) struct RunningCalls<T>(Arc<Mutex<HashMap<Arc<str>, Calls<T>>>>);

/// The calls at one endpoint, by the token's SHA-256.
type Calls<T> = HashMap<[u8; 32], watch::Receiver<Option<T>>>;

impl<T> Default for RunningCalls<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Clone for RunningCalls<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// What a waiter does.
enum Part<T> {
    /// It makes the call; who waits is told by the sender.
    Call(watch::Sender<Option<T>>),
    /// It waits for the one who does.
    Wait(watch::Receiver<Option<T>>),
    /// Too many run.
    Nothing,
}

impl<T: Clone + Send + Sync + 'static> RunningCalls<T> {
    /// What comes of the call that runs about this token, or of this one. `None` if nothing did.
    pub(super) async fn share(
        &self,
        key: Key,
        call: impl Future<Output = Option<T>> + Send + 'static,
    ) -> Option<T> {
        match self.part(&key) {
            Part::Nothing => None,
            Part::Wait(mut told) => {
                // Without an answer the sender is dropped.
                drop(told.changed().await);
                told.borrow().clone()
            }
            Part::Call(told) => {
                let running = self.clone();
                // A task of its own: the first who asked may leave, the others still wait.
                let call = tokio::spawn(async move {
                    let answer = call.await;
                    running.end(&key);
                    // Whether somebody else waits does not matter.
                    told.send_replace(answer.clone());
                    answer
                });
                call.await.unwrap_or_default()
            }
        }
    }

    fn part(&self, (endpoint, digest): &Key) -> Part<T> {
        let mut running = self.0.lock();
        let calls = running.entry(Arc::clone(endpoint)).or_default();
        if let Some(told) = calls.get(digest) {
            return Part::Wait(told.clone());
        }
        if calls.len() >= MAX_CALLS {
            return Part::Nothing;
        }
        let (told, waits) = watch::channel(None);
        calls.insert(*digest, waits);
        Part::Call(told)
    }

    /// A call is over; an endpoint without calls is forgotten, since a reload may have removed it.
    fn end(&self, (endpoint, digest): &Key) {
        let mut running = self.0.lock();
        let Some(calls) = running.get_mut(endpoint) else { return };
        calls.remove(digest);
        if calls.is_empty() {
            running.remove(endpoint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(endpoint: &str, number: usize) -> Key {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_be_bytes());
        (endpoint.into(), digest)
    }

    #[test]
    fn an_endpoint_that_hangs_takes_no_calls_from_another() {
        let running = RunningCalls::<()>::default();
        let calls: Vec<_> = (0..MAX_CALLS).map(|n| running.part(&key("hangs", n))).collect();
        assert!(calls.iter().all(|part| matches!(part, Part::Call(_))));
        assert!(matches!(running.part(&key("hangs", MAX_CALLS)), Part::Nothing));
        assert!(matches!(running.part(&key("hangs", 0)), Part::Wait(_)));
        assert!(matches!(running.part(&key("answers", 0)), Part::Call(_)));
        running.end(&key("hangs", 0));
        assert!(matches!(running.part(&key("hangs", MAX_CALLS)), Part::Call(_)));
        for number in 0..=MAX_CALLS {
            running.end(&key("hangs", number));
        }
        assert_eq!(running.0.lock().len(), 1, "only the other endpoint is left");
    }

    #[tokio::test]
    async fn who_asks_for_the_same_waits_for_one_call_even_if_its_first_asker_leaves() {
        let running = RunningCalls::<u32>::default();
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        let first = running.share(key("e", 1), async move { wait.await.ok().map(|()| 7) });
        let second = running.share(key("e", 1), async { panic!("a second call") });
        {
            let first = std::pin::pin!(first);
            // Polled once, and dropped.
            drop(futures_poll(first));
        }
        go.send(()).unwrap();
        assert_eq!(second.await, Some(7));
        assert!(running.0.lock().is_empty());
    }

    fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }
}
