//! How long things may take, and where each limit comes from.

use std::time::Duration;

/// The time limits of a command and of the connection to Discord.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The first answer to an interaction must reach Discord within 3 s (Discord, "Receiving and Responding").
    pub first_answer: Duration,
    /// An interaction's token lives for 15 min after that (same page): so long a result can be delivered.
    pub delivery: Duration,
    /// A command that has waited for its turn for 13 min is not sent any more: a call takes up to 2 min, and
    /// a result that can't be delivered would be a toggle that nobody knows of.
    pub queue: Duration,
    /// How long the button "go on" of a guarded command may be pressed.
    pub question: Duration,
    /// How long the bot stays up without Discord. Whatever keeps it running must see that it is not working.
    pub disconnected: Duration,
    /// How old the copy of the agent directory may get. Wolkvox wants listings at most every 5 min.
    pub directory: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            first_answer: Duration::from_secs(3),
            delivery: Duration::from_secs(15 * 60),
            queue: Duration::from_secs(13 * 60),
            question: Duration::from_secs(60),
            disconnected: Duration::from_secs(3 * 60),
            directory: Duration::from_secs(5 * 60),
        }
    }
}
