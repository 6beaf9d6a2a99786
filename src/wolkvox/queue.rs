//! One call at a time on a token, first come, first served; toggles go before listings.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The token's queue; clones share it.
#[derive(Clone, Default)]
pub(super) struct Queue(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    busy: bool,
    toggles: Line,
    listings: Line,
}

/// The places that wait, the oldest first. One that was left stays until its turn comes, and is skipped then.
type Line = VecDeque<oneshot::Sender<Permit>>;

/// The right to use the token. Dropped, it goes to the next place that is still there.
pub(super) struct Permit(Queue);

/// A place in the queue. Dropping it leaves the queue.
pub(super) enum Place {
    Now(Permit),
    Later(oneshot::Receiver<Permit>),
}

impl Queue {
    /// Takes a place for a toggle. The order is that of the calls to this function.
    pub(super) fn enter(&self) -> Place {
        self.place(|state| &mut state.toggles)
    }

    /// Takes a place for a listing: it waits until no toggle waits.
    pub(super) fn enter_behind_toggles(&self) -> Place {
        self.place(|state| &mut state.listings)
    }

    fn place(&self, line: impl FnOnce(&mut State) -> &mut Line) -> Place {
        let mut state = self.state();
        if !state.busy {
            state.busy = true;
            return Place::Now(Permit(self.clone()));
        }
        let (sender, receiver) = oneshot::channel();
        line(&mut state).push_back(sender);
        Place::Later(receiver)
    }

    /// The next place that is still there. Without one the token is free.
    fn next(&self) -> Option<oneshot::Sender<Permit>> {
        let mut state = self.state();
        loop {
            let next = state.toggles.pop_front().or_else(|| state.listings.pop_front());
            if next.as_ref().is_none_or(|next| !next.is_closed()) {
                state.busy = next.is_some();
                return next;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(next) = self.0.next() {
            // If the place is left in this very moment, the new permit is dropped, and so passed on in its turn.
            let _ = next.send(Permit(self.0.clone()));
        }
    }
}

impl Place {
    /// Whether the token is another's.
    pub(super) fn must_wait(&self) -> bool {
        matches!(self, Self::Later(permit) if permit.is_empty())
    }

    /// Waits until it is this place's turn.
    pub(super) async fn permit(self) -> Permit {
        match self {
            Self::Now(permit) => permit,
            Self::Later(permit) => match permit.await {
                Ok(permit) => permit,
                // The queue is gone, and with it the client.
                Err(_) => pending().await,
            },
        }
    }
}
