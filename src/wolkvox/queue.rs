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
pub(super) type Permit = OwnedMutexGuard<()>;

/// A toggle's place in the queue, kept until it is dropped.
pub(super) struct Place {
    permit: Option<Permit>,
    waiting: Pin<Box<dyn Future<Output = Permit> + Send>>,
    _counted: Counted,
}

/// Counts a toggle that waits.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Queue {
    /// Takes a place for a toggle: the place counts from this call on, not from the first wait.
    pub(super) fn enter(&self) -> Place {
        self.toggles.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(self.toggles.clone());
        // A lock queues up when it is first polled, so that is done here. `unconstrained`, because a task that has
        // used up its budget would be told to wait without being queued.
        let lock = tokio::task::unconstrained(self.token.clone().lock_owned());
        let mut waiting: Pin<Box<dyn Future<Output = Permit> + Send>> = Box::pin(lock);
        Place { permit: waiting.as_mut().now_or_never(), waiting, _counted: counted }
    }

    /// Waits until the token is free and no toggle waits for it.
    pub(super) async fn enter_behind_toggles(&self) -> Permit {
        loop {
            let permit = self.token.clone().lock_owned().await;
            if self.toggles.load(Ordering::Relaxed) == 0 {
                return permit;
            }
            drop(permit);
            tokio::task::yield_now().await;
        }
    }
}

impl Place {
    /// Whether somebody else has the token.
    pub(super) fn must_wait(&self) -> bool {
        self.permit.is_none()
    }

    /// Waits until it is this place's turn.
    pub(super) async fn permit(self) -> Permit {
        match self.permit {
            Some(permit) => permit,
            None => self.waiting.await,
        }
    }
}
