//! Pauses, and retries, for everything that may be repeated.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Pauses that double from the first to the longest.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first, longest }
    }

    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause
    }

    /// Waits for the next pause, at least for `least`, but not beyond `deadline`. Whether there is time for another try:
    /// the last one begins at the deadline.
    pub async fn wait(&mut self, least: Duration, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        sleep(self.pause().max(least).min(left)).await;
        true
    }
}

/// Repeats `attempt` until it succeeds or its error is final; the last try begins at `deadline`. `again` says of an
/// error how long it has to be waited at least; `None` where it is final.
///
/// # Errors
/// The last one.
pub async fn retry<T, E, F: Future<Output = Result<T, E>>>(
    mut backoff: Backoff,
    deadline: Instant,
    mut attempt: impl FnMut() -> F,
    mut again: impl FnMut(&E) -> Option<Duration>,
) -> Result<T, E> {
    loop {
        let error = match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let Some(least) = again(&error) else { return Err(error) };
        if !backoff.wait(least, deadline).await {
            return Err(error);
        }
    }
}
