//! Pauses, and repeats, for everything that may be repeated.

use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, sleep_until};

use crate::clock::Deadline;

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

/// Repeats `attempt` until it succeeds or its error is final; the last try begins at `deadline`. `again` says of an
/// error how long it has to be waited at least; `None` where it is final. `notify` learns of each error that is
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
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(error);
        }
        let pause = backoff.pause().max(least).min(left);
        notify(&error, pause);
        sleep(pause).await;
    }
}

/// When a request that may be repeated is repeated, and for how long.
#[derive(Clone, Debug)]
pub struct Persistence {
    /// The pauses after errors.
    pub backoff: Backoff,
    /// The longest that is waited because an error asks for it.
    pub longest_pause: Duration,
    /// A try without an answer for so long is left open, and another goes out beside it.
    pub silence: Duration,
    /// No try begins after this. The last one begins shortly before it, however long a pause was asked for.
    pub last_try: Deadline,
    /// How long the tries that are open then are waited for.
    pub patience: Duration,
}

/// How shortly before the end the last try begins, where a longer pause was asked for.
const LAST_CHANCE: Duration = Duration::from_millis(500);

/// Makes a request until one try succeeds, and at least once. A try that stays silent is waited for all the same, and
/// whichever succeeds first counts; `attempt` is told whether another one is silent, and the errors so far. `again` says
/// of an error how long it has to be waited at least before the next try; `None` where none will help, and then only
/// those that are open are waited for. `late` is called when no try will begin any more and some are open.
///
/// # Errors
/// All of them, in the order in which they came. Tries that were given up are not among them.
pub async fn persist<T, E, F: Future<Output = Result<T, E>>>(
    Persistence { mut backoff, longest_pause, silence, last_try, patience }: Persistence,
    mut attempt: impl FnMut(bool, &[E]) -> F,
    mut again: impl FnMut(&E) -> Option<Duration>,
    mut late: impl FnMut(),
) -> Result<T, Vec<E>> {
    let mut errors = Vec::new();
    let mut open = FuturesUnordered::new();
    open.push(attempt(false, &errors));
    let mut next = Some(Instant::now() + silence);
    let mut hopeless = false;
    while !last_try.is_over() && (next.is_some() || !open.is_empty()) {
        let end = Instant::now() + last_try.left();
        tokio::select! {
            biased;
            Some(result) = open.next(), if !open.is_empty() => match result {
                Ok(done) => return Ok(done),
                Err(error) => {
                    let asked = again(&error);
                    hopeless |= asked.is_none();
                    next = asked.filter(|_| !hopeless).and_then(|least| {
                        let left = last_try.left();
                        let chance = left.saturating_sub(LAST_CHANCE);
                        let pause = backoff.pause().max(least.min(longest_pause));
                        let pause = if chance.is_zero() { pause } else { pause.min(chance) };
                        (pause < left).then(|| Instant::now() + pause)
                    });
                    errors.push(error);
                }
            },
            () = sleep_until(next.map_or(end, |next| next.min(end))) => {
                if !last_try.is_over() && next.is_some_and(|next| next <= Instant::now()) {
                    open.push(attempt(!open.is_empty(), &errors));
                    next = Some(Instant::now() + silence);
                }
            }
        }
    }
    if open.is_empty() {
        return Err(errors);
    }
    late();
    let mut give_up = pin!(sleep(patience));
    loop {
        tokio::select! {
            biased;
            result = open.next() => match result {
                Some(Ok(done)) => return Ok(done),
                Some(Err(error)) => errors.push(error),
                None => return Err(errors),
            },
            () = &mut give_up => return Err(errors),
        }
    }
}
