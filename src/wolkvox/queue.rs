//! One call at a time on a token, first come, first served; a listing lets waiting toggles go first.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The token's queue.
#[derive(Default)]
pub(super) struct Queue {
    token: Arc<Mutex<()>>,
    toggles: Arc<AtomicUsize>,
}

/// The right to use the token until this is dropped.
pub(super) type Held = OwnedMutexGuard<()>;

/// A place in the queue, kept until it is dropped.
pub(super) struct Place {
    held: Option<Held>,
    lock: Pin<Box<dyn Future<Output = Held> + Send>>,
    _waiting: Waiting,
}

/// Counts a toggle that waits.
struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Queue {
    /// Takes a place for a toggle: the place counts from this call on, not from the first wait.
    pub(super) fn enter(&self) -> Place {
        self.toggles.fetch_add(1, Ordering::Relaxed);
        // A lock queues up when it is first polled, so that is done here. `unconstrained`, because a task
        // that has used up its budget would be told to wait without being queued.
        let lock = tokio::task::unconstrained(self.token.clone().lock_owned());
        let mut lock: Pin<Box<dyn Future<Output = Held> + Send>> = Box::pin(lock);
        let held = lock.as_mut().now_or_never();
        Place { held, lock, _waiting: Waiting(self.toggles.clone()) }
    }

    /// Waits until the token is free and no toggle waits for it.
    pub(super) async fn enter_behind_toggles(&self) -> Held {
        loop {
            let held = self.token.clone().lock_owned().await;
            if self.toggles.load(Ordering::Relaxed) == 0 {
                return held;
            }
            drop(held);
            tokio::task::yield_now().await;
        }
    }
}

impl Place {
    /// Waits until it is this place's turn. May be cancelled: the place is kept.
    pub(super) async fn wait(&mut self) {
        if self.held.is_none() {
            self.held = Some(self.lock.as_mut().await);
        }
    }

    /// The right to use the token, once [`Place::wait`] has returned.
    pub(super) fn take(self) -> Option<Held> {
        self.held
    }
}
