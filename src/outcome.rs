//! The outcome of a command: exactly one of four.
//!
//! The journal stores them as JSON. A change to what that looks like, such as a new variant, needs a new `VERSION` in
//! `journal/file.rs`: a bot refuses a file whose version it does not know.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Wolkvox says that it was carried out.
    Done(Done),
    /// Wolkvox says that it was not.
    Rejected(Rejected),
    /// Nothing was carried out, since the request never left, or was refused as simultaneous and not repeated.
    NotSent(NotSent),
    /// The request may have been carried out or not.
    Unknown(Unknown),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The answer's `code`, 200 to 299.
    pub code: u16,
    /// The answer's `msg`, as it came.
    pub msg: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// The answer's `code`, or the HTTP status where the answer had none.
    pub code: u16,
    /// The answer's `msg`, or its `error` where it had no `msg`.
    pub msg: String,
    /// Which of the documented refusals it was.
    pub reason: Refusal,
}

/// The refusals that Wolkvox documents ("API Response Codes"). `documented` in `wolkvox/decode.rs` recognises them by
/// these texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// `PLEASE ENTER THE WOLKVOX-TOKEN`
    TokenMissing,
    /// `PLEASE VALIDATE TOKEN`: wrong, expired or deleted.
    TokenWrong,
    /// `TOKEN LIMIT EXCEEDED`: the operation's daily quota is spent.
    DailyLimit,
    /// `EXCEEDS THE LIMIT OF SIMULTANEOUS REQUESTS PER TOKEN (2)`: the one refusal after which the call
    /// is made again.
    TokenBusy,
    /// A 403 with any other text. The server answers so during maintenance.
    Maintenance,
    /// Anything else; its `msg` says what.
    Other,
}

/// Why nothing was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NotSent {
    /// No connection to Wolkvox: refused, unreachable, not trusted.
    NoConnection,
    Restarting,
    /// The bot had stopped, and another process found the command.
    Restarted,
    /// It could not be written down that it was about to be sent.
    NotRecorded,
    /// Its turn came so late that its result might not have been delivered.
    WaitedTooLong,
    /// A fault of the bot's own, before anything was sent.
    Fault,
}

/// Why it can't be known whether a request was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unknown {
    TimedOut,
    /// The connection was lost after the request may have been sent.
    ConnectionLost,
    /// There was an answer, but not one that says what happened.
    Unreadable {
        status: u16,
    },
    /// A fault of the bot's own, after the request may have been sent.
    Fault,
    /// The process ended during the call.
    Interrupted,
}

impl Outcome {
    /// The name in the audit record.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Rejected(_) => "rejected",
            Self::NotSent(_) => "not_sent",
            Self::Unknown(_) => "unknown",
        }
    }

    /// The code that Wolkvox gave, or its answer's HTTP status where that had none; `None` where nothing is known of an
    /// answer.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Done(done) => Some(done.code),
            Self::Rejected(rejected) => Some(rejected.code),
            Self::NotSent(_) | Self::Unknown(_) => None,
        }
    }

    /// Whether it was inferred after a panic or a restart, and not observed.
    pub fn is_verdict(&self) -> bool {
        matches!(
            self,
            Self::NotSent(NotSent::Fault | NotSent::Restarted) | Self::Unknown(Unknown::Fault | Unknown::Interrupted)
        )
    }

    /// Whether the microphone may have changed.
    pub fn may_have_toggled(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Unknown(_))
    }
}
