//! Pauses and deadlines, for everything that may be repeated.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Pauses that double from the first to the longest.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    /// From `first` to `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first, longest }
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause
    }
}

/// Repeats `attempt` until it succeeds, its error is final, or the next try would begin after `deadline`. `again` says
/// of an error how long it has to be waited at least; `None` where it is final. `notify` learns of each error that is
/// followed by another try, and of the pause before that.
///
/// # Errors
/// The last one.
pub async fn retry<T, E, F: Future<Output = Result<T, E>>>(
    mut backoff: Backoff,
    deadline: Instant,
    mut attempt: impl FnMut() -> F,
    again: impl Fn(&E) -> Option<Duration>,
    notify: impl Fn(&E, Duration),
) -> Result<T, E> {
    loop {
        let error = match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let Some(least) = again(&error) else { return Err(error) };
        let pause = backoff.pause().max(least);
        if Instant::now() + pause >= deadline {
            return Err(error);
        }
        notify(&error, pause);
        sleep(pause).await;
    }
}
