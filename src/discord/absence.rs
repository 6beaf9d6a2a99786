//! How long Discord has been out of reach, what the log is told of it, and when the bot gives up.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

/// So often within the time until the bot gives up the log is told how long it has gone on: every 10 minutes of 30.
const REPORTS: u32 = 3;

pub struct Absence {
    limit: Duration,
    since: Instant,
    give_up: Instant,
    told: Instant,
}

impl Absence {
    /// One that begins now, after which the bot gives up in `limit`.
    pub fn new(limit: Duration) -> Self {
        let now = Instant::now();
        Self { limit, since: now, give_up: now + limit, told: now }
    }

    /// Time that is waited on purpose does not count.
    pub fn excuse(&mut self, pause: Duration) {
        self.give_up = Instant::now() + pause + self.limit;
    }

    pub fn duration(&self) -> Duration {
        self.since.elapsed()
    }

    /// How long until the bot gives up.
    pub fn left(&self) -> Duration {
        self.give_up.saturating_duration_since(Instant::now())
    }

    /// Tells the log now and then, with what the last try met.
    pub fn report(&mut self, last: &dyn Display) {
        if self.told.elapsed() >= self.limit / REPORTS {
            self.told = Instant::now();
            tracing::error!("Discord has been out of reach for {}; the last try: {last}", span(self.duration()));
        }
    }
}

/// A time in the unit that it is best read in, in English and in Spanish.
pub fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}
