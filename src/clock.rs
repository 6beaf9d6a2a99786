//! Time that goes on while the machine sleeps.

use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

/// A moment, on both clocks: the monotonic one stands still while a laptop sleeps or a virtual machine is paused, and
/// the wall clock can be set. Only what passed between two moments counts, so a clock that is wrong does no harm.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    monotonic: Instant,
    wall: SystemTime,
}

impl Moment {
    /// This one.
    pub fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    /// A moment of the past, by the wall clock; this one if that lies ahead.
    pub fn at(wall: SystemTime) -> Self {
        let now = Instant::now();
        let ago = wall.elapsed().unwrap_or_default();
        Self { monotonic: now.checked_sub(ago).unwrap_or(now), wall }
    }

    /// The moment by the wall clock.
    pub fn wall(self) -> SystemTime {
        self.wall
    }

    /// How long ago it was, on the clock on which that is longer.
    pub fn elapsed(self) -> Duration {
        self.monotonic.elapsed().max(self.wall.elapsed().unwrap_or_default())
    }

    /// What is over when `limit` has passed since then, on either clock.
    pub fn deadline(self, limit: Duration) -> Deadline {
        Deadline { since: self, limit, elapsed: Self::elapsed }
    }

    /// The same on the monotonic clock alone: for what does no harm when it is done too late.
    pub fn lenient_deadline(self, limit: Duration) -> Deadline {
        Deadline { since: self, limit, elapsed: |moment| moment.monotonic.elapsed() }
    }
}

/// The end of a limited time.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    since: Moment,
    limit: Duration,
    elapsed: fn(Moment) -> Duration,
}

impl Deadline {
    /// How much is left; zero once it is over.
    pub fn left(self) -> Duration {
        self.limit.saturating_sub((self.elapsed)(self.since))
    }

    /// Whether it is over.
    pub fn is_over(self) -> bool {
        self.left().is_zero()
    }

    /// Waits for the end. A machine that slept meanwhile is noticed when the monotonic clock gets there; what must
    /// not happen after the end asks [`Deadline::is_over`] once more.
    pub async fn over(self) {
        sleep(self.left()).await;
    }
}
