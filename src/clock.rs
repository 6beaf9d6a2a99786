//! Time that goes on while the machine sleeps.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::time::{Instant, sleep};

/// A moment, on both clocks: the monotonic one stands still while a laptop sleeps or a virtual machine is paused, and
/// the wall clock can be set. Only what passed between two moments counts, so a clock that is wrong does no harm.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    monotonic: Instant,
    wall: SystemTime,
}

impl Moment {
    pub fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    /// A moment of the past, by the wall clock; now if that lies ahead.
    fn at(wall: SystemTime) -> Self {
        let now = Self::now();
        match now.wall.duration_since(wall) {
            Ok(ago) => Self { monotonic: now.monotonic.checked_sub(ago).unwrap_or(now.monotonic), wall },
            Err(_) => now,
        }
    }

    /// Seconds since 1970.
    pub fn unix_seconds(self) -> u64 {
        self.wall.duration_since(SystemTime::UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default()
    }

    /// How long ago it was, on the clock on which that is longer: for what must not happen too late.
    pub fn elapsed(self) -> Duration {
        self.monotonic.elapsed().max(self.wall.elapsed().unwrap_or_default())
    }

    /// How long ago it was, on the monotonic clock: for what must not end because a clock is set.
    pub fn since(self) -> Duration {
        self.monotonic.elapsed()
    }

    /// When `limit` will have passed on the monotonic clock.
    pub fn after(self, limit: Duration) -> Instant {
        self.monotonic + limit
    }

    /// What is over when `limit` has passed since then, on either clock.
    pub fn deadline(self, limit: Duration) -> Deadline {
        Deadline { since: self, limit }
    }
}

/// As milliseconds since 1970: no other clock outlives the process.
impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = self.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        serializer.serialize_u64(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let since = Duration::from_millis(u64::deserialize(deserializer)?);
        Ok(Self::at(SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or_else(SystemTime::now)))
    }
}

/// The end of a limited time.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    since: Moment,
    limit: Duration,
}

impl Deadline {
    /// How much is left; zero once it is over.
    pub fn left(self) -> Duration {
        self.limit.saturating_sub(self.since.elapsed())
    }

    pub fn is_over(self) -> bool {
        self.left().is_zero()
    }

    /// Waits for the end. A machine that slept meanwhile is noticed when the monotonic clock gets there; what must
    /// not happen after the end asks [`Deadline::is_over`] once more.
    pub async fn over(self) {
        sleep(self.left()).await;
    }
}
