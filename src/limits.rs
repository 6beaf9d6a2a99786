//! How long things may take, and where each limit comes from.

use std::time::Duration;

/// The time limits of a command and of the connection to Discord.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The first answer to an interaction must reach Discord within 3 s (Discord, "Receiving and Responding").
    pub first_answer: Duration,
    /// When the first answer was not accepted, as far as is known: how long after the command the bot looks whether
    /// the person sees "thinking…".
    pub look_again: Duration,
    /// An interaction's token lives for 15 min (Discord, "Receiving and Responding"): so long a result can be delivered.
    pub delivery: Duration,
    /// A command that has waited for its turn for 13 min is not sent any more, since a result that can't be
    /// delivered would be a toggle that nobody knows of. It is less where a call may take longer.
    pub queue: Duration,
    /// The part of the 15 min that is kept for telling the result.
    pub telling: Duration,
    /// How long the button "go on" of a guarded command may be pressed.
    pub question: Duration,
    /// After so long out of Discord's reach the bot ends, so that a renewed certificate or a new network is looked at
    /// afresh by the process that is started in its place.
    pub disconnected: Duration,
    /// How often to look whether the server still has the command.
    pub registration: Duration,
    /// After how long the log warns that a person still waits for an outcome that is known.
    pub undelivered: Duration,
    /// When the bot stops, how long it goes on telling people and the audit channel the outcomes, once no call is in
    /// progress.
    pub last_words: Duration,
    /// The same for people where the next start tells what is left.
    pub handing_over: Duration,
    /// How old the copy of the agent directory may get. Wolkvox wants listings at most every 5 min.
    pub directory: Duration,
    /// How long after the start Wolkvox is asked whether it accepts the token: until then, a call of a process that was
    /// killed may be in progress.
    pub token_first: Duration,
    /// How long after an answer it is asked again. Each time costs one of the day's API requests.
    pub token_again: Duration,
    /// The same where the answer did not say.
    pub token_unanswered: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            first_answer: Duration::from_secs(3),
            look_again: Duration::from_secs(15),
            delivery: Duration::from_secs(15 * 60),
            queue: Duration::from_secs(13 * 60),
            telling: Duration::from_secs(60),
            question: Duration::from_secs(60),
            disconnected: Duration::from_secs(30 * 60),
            registration: Duration::from_secs(5 * 60),
            undelivered: Duration::from_secs(30),
            last_words: Duration::from_secs(20),
            handing_over: Duration::from_secs(3),
            directory: Duration::from_secs(5 * 60),
            token_first: Duration::from_secs(60),
            token_again: Duration::from_secs(24 * 60 * 60),
            token_unanswered: Duration::from_secs(60 * 60),
        }
    }
}
