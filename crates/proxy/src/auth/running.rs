//! Calls about tokens that run: one per token at a time, whoever waits for it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

/// Calls that run at a time at one endpoint; further ones are not made, and nobody passes by it.
/// Each endpoint has its own, so that one that hangs takes nothing from the others.
const MAX_CALLS: usize = 512;

/// What a call is about. Whoever waits takes its answer, so everything that the answer depends on
/// is in it: after a reload an endpoint of this name may be asked for something else.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// The endpoint's name in the configuration.
    pub(super) endpoint: Arc<str>,
    /// Which endpoint of this name, for as long as the call runs.
    pub(super) instance: usize,
    /// Whom it is trusted by.
    pub(super) trust: u64,
    /// The token's SHA-256.
    pub(super) digest: [u8; 32],
}

impl Key {
    fn own(&self) -> OwnKey {
        (self.instance, self.trust, self.digest)
    }
}

/// A key among those of one name.
type OwnKey = (usize, u64, [u8; 32]);

/// The calls that run, and what who waits for each is told.
pub(super) struct RunningCalls<T>(Arc<Mutex<HashMap<Arc<str>, Calls<T>>>>);

/// The calls at one endpoint.
type Calls<T> = HashMap<OwnKey, watch::Receiver<Option<T>>>;

/// A call that runs; it is over when this is dropped, even by a panic.
struct Entry<T> {
    running: RunningCalls<T>,
    key: Key,
}

impl<T> Drop for Entry<T> {
    fn drop(&mut self) {
        self.running.end(&self.key);
    }
}

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
                let entry = Entry { running: self.clone(), key };
                // A task of its own: the first who asked may leave, the others still wait.
                let call = tokio::spawn(async move {
                    let answer = call.await;
                    drop(entry);
                    // Whether somebody else waits does not matter.
                    told.send_replace(answer.clone());
                    answer
                });
                call.await.unwrap_or_default()
            }
        }
    }

    fn part(&self, key: &Key) -> Part<T> {
        let mut running = self.0.lock();
        let calls = running.entry(Arc::clone(&key.endpoint)).or_default();
        if let Some(told) = calls.get(&key.own()) {
            return Part::Wait(told.clone());
        }
        if calls.len() >= MAX_CALLS {
            return Part::Nothing;
        }
        let (told, waits) = watch::channel(None);
        calls.insert(key.own(), waits);
        Part::Call(told)
    }
}

impl<T> RunningCalls<T> {
    /// A call is over; an endpoint without calls is forgotten, since a reload may have removed it.
    fn end(&self, key: &Key) {
        let mut running = self.0.lock();
        let Some(calls) = running.get_mut(&key.endpoint) else { return };
        calls.remove(&key.own());
        if calls.is_empty() {
            running.remove(&key.endpoint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(endpoint: &str, number: usize) -> Key {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_be_bytes());
        Key { endpoint: endpoint.into(), instance: 1, trust: 0, digest }
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
    async fn a_call_under_other_settings_is_another_one_and_a_panic_ends_its_own() {
        let running = RunningCalls::<u32>::default();
        let first = key("e", 1);
        let Part::Call(_told) = running.part(&first) else { panic!("the first") };
        for other in [
            Key { instance: 2, ..first.clone() },
            Key { trust: 2, ..first.clone() },
            Key { digest: [9; 32], ..first.clone() },
        ] {
            assert_eq!(running.share(other, async { Some(2) }).await, Some(2));
        }
        let failed = running.share(key("e", 2), async { panic!("a fault") });
        assert_eq!(failed.await, None);
        assert_eq!(running.share(key("e", 2), async { Some(3) }).await, Some(3));
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
            assert!(futures_poll(first).is_pending());
        }
        go.send(()).unwrap();
        assert_eq!(second.await, Some(7));
        assert!(running.0.lock().is_empty());
    }

    fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
        future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
    }
}
