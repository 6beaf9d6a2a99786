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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::thread;

    use tokio::task::{JoinSet, yield_now};

    use super::*;

    #[tokio::test]
    async fn places_are_served_one_at_a_time_in_order_of_arrival_however_they_are_polled() {
        let queue = Queue::default();
        let first = queue.enter();
        let places: Vec<(usize, Place)> = (0..20_000).map(|n| (n, queue.enter())).collect();
        let served = Arc::new(Mutex::new(Vec::new()));
        let busy = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for (n, place) in places.into_iter().rev() {
            // Two in three leave: before anything happens, or while permits go round.
            if n % 3 == 0 {
                continue;
            }
            let (served, busy) = (served.clone(), busy.clone());
            tasks.spawn(async move {
                let leave = async {
                    for _ in 0..n % 97 {
                        yield_now().await;
                    }
                };
                let permit = tokio::select! {
                    () = leave, if n % 3 == 1 => return,
                    permit = place.permit() => permit,
                };
                assert!(!busy.swap(true, SeqCst), "two permits at once");
                yield_now().await;
                served.lock().unwrap().push(n);
                busy.store(false, SeqCst);
                drop(permit);
            });
        }
        yield_now().await;
        drop(first);
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        let served = served.lock().unwrap();
        assert!(served.is_sorted(), "order of arrival");
        assert_eq!(served.iter().filter(|n| *n % 3 == 2).count(), 20_000 / 3, "nobody who stays is left out");
        assert!(!queue.enter().must_wait(), "the token is free in the end");
    }

    #[tokio::test]
    async fn a_listing_waits_until_no_toggle_waits() {
        let queue = Queue::default();
        let first = queue.enter();
        let listing = queue.enter_behind_toggles();
        let toggles = [queue.enter(), queue.enter()];
        drop(first);
        for toggle in toggles {
            assert!(!toggle.must_wait() && listing.must_wait());
            drop(toggle.permit().await);
        }
        assert!(!listing.must_wait());
        assert!(queue.enter().must_wait());
    }

    #[test]
    fn a_permit_for_a_place_that_is_left_in_the_same_moment_is_not_lost() {
        let queue = Queue::default();
        for _ in 0..2_000 {
            let [held, leaving, last] = [queue.enter(), queue.enter(), queue.enter()];
            thread::scope(|scope| {
                scope.spawn(|| drop(leaving));
                scope.spawn(|| drop(held));
            });
            assert!(!last.must_wait());
        }
    }
}
