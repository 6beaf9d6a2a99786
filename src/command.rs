//! One command's life.
//!
//! A [`Phase`] is written down before the step that it names begins. So the next process, or the handler of a panic,
//! knows the most that can have happened. All else follows from it:
//!
//! | phase in memory and in the file | the person sees | sent? | the next supervisor is asked | after a panic | after a restart |
//! | --- | --- | --- | --- | --- | --- |
//! | `Answering`: the first answer is in progress | nothing, or "thinking…" | no | "still in progress" | as `NotAccepted` | as `NotAccepted` |
//! | `NotAccepted`: the first answer was not accepted, as far as is known | nothing, or "thinking…", and after 15 s "Not sent from here" in place of that alone | not from here; perhaps by another copy | "it is not known whether" | the same | the same |
//! | `Waiting` | "thinking…" | no | "still in progress" | "Not sent: something broke in the bot" | "Not sent: the bot was restarted" |
//! | `Calling` | "thinking…" | perhaps | "still in progress" | "Unknown: something broke in the bot" | "Unknown: the bot was interrupted" |
//! | `Decided`, not told | "thinking…", or the outcome | as the outcome says | "toggled", "it is not known whether", or nothing | the outcome, in the bot's own words | the outcome |
//! | `Decided`, told | the outcome | as the outcome says | as the outcome says | nothing | nothing |
//! | `Asked` | the question, if it was accepted | no | nothing | nothing | nothing; its button works |
//!
//! `Waiting` is written only where the command has to wait; otherwise the file goes from `Answering` to `Calling`. The
//! audit record says `unacknowledged` where the first answer was not accepted, `guarded` for a question, otherwise the
//! outcome.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize, Serializer};
use serenity::model::id::{ApplicationId, InteractionId, UserId};

use crate::agent::Agent;
use crate::clock::Moment;
use crate::language::Language;
use crate::outcome::{NotSent, Outcome, Unknown};

/// How much longer a toggle counts that another copy of the bot may be carrying out. Wolkvox's own limit for a call is
/// 60 s.
const ANOTHER_COPY: Duration = Duration::from_secs(60);
/// How long a command may be named as the one before another.
const BEFORE: Duration = Duration::from_secs(12 * 60 * 60);
/// How late a call that broke off may still be carried out, as far as is known, with a margin.
const LATE_CALL: Duration = Duration::from_secs(2 * 60);

/// Where the answers to an interaction go.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Callback {
    pub id: InteractionId,
    pub application: ApplicationId,
    /// Empty once there is nobody to tell any more.
    #[serde(default, skip_serializing_if = "is_empty", serialize_with = "expose")]
    pub token: SecretString,
}

/// A command, or a press of the button under its question: what does not change during its life.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Command {
    #[serde(flatten)]
    pub callback: Callback,
    pub user_id: UserId,
    pub user: String,
    pub agent: Agent,
    pub language: Language,
    pub guild_language: Language,
    pub received: Moment,
    /// The question that a press answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<InteractionId>,
}

/// How far a command has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Phase {
    /// The first answer is in progress.
    Answering,
    /// The first answer was not accepted, as far as is known. Another copy of the bot may have the command.
    NotAccepted,
    /// The person sees "thinking…", and nothing was sent to Wolkvox.
    Waiting,
    /// The toggle is about to be sent, or was sent.
    Calling,
    /// The outcome is known. The person is told unless the command's token is empty.
    Decided {
        outcome: Outcome,
        /// The toggle before this one, where it is named.
        before: Option<Before>,
        at: Moment,
        /// Whether the audit channel needs no line of it any more.
        posted: bool,
    },
    /// The person is asked whether to reverse the toggle `about`.
    Asked {
        about: InteractionId,
        /// The press that answered.
        answered: Option<InteractionId>,
    },
}

/// What is known of a toggle that another supervisor is about to reverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    InProgress,
    Done,
    /// It may have been carried out.
    Perhaps,
}

/// How the task that carried a command out ended before the command did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breakdown {
    Panic,
    Restart,
}

/// The toggle of an agent before the one that is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// Who it was.
    pub by: u64,
    /// When, in seconds since 1970.
    pub at: u64,
}

/// A command with its place among all others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its admission number: later commands have higher ones, whatever any clock says.
    pub number: u64,
    pub command: Command,
    pub phase: Phase,
}

impl Command {
    /// Whether somebody may be waiting for the reply.
    pub fn is_open(&self) -> bool {
        !is_empty(&self.callback.token)
    }
}

impl Phase {
    /// What is known of the toggle; `None` where there was none.
    pub fn standing(&self) -> Option<Standing> {
        match self {
            Self::NotAccepted => Some(Standing::Perhaps),
            Self::Answering | Self::Waiting | Self::Calling => Some(Standing::InProgress),
            Self::Decided { outcome: Outcome::Done(_), .. } => Some(Standing::Done),
            Self::Decided { outcome: Outcome::Unknown(_), .. } => Some(Standing::Perhaps),
            Self::Decided { outcome: Outcome::Rejected(_) | Outcome::NotSent(_), .. } | Self::Asked { .. } => None,
        }
    }

    /// Whether the command is over here, and nothing was sent.
    pub fn is_unsent(&self) -> bool {
        matches!(self, Self::NotAccepted | Self::Decided { outcome: Outcome::NotSent(_), .. })
    }

    /// The outcome of a call or of a wait that nobody goes on with; `None` where there is none to be decided.
    pub fn verdict(&self, breakdown: Breakdown) -> Option<Outcome> {
        let (not_sent, unknown) = match breakdown {
            Breakdown::Panic => (NotSent::Fault, Unknown::Fault),
            Breakdown::Restart => (NotSent::Restarted, Unknown::Interrupted),
        };
        match self {
            Self::Waiting => Some(Outcome::NotSent(not_sent)),
            Self::Calling => Some(Outcome::Unknown(unknown)),
            Self::Answering | Self::NotAccepted | Self::Decided { .. } | Self::Asked { .. } => None,
        }
    }
}

impl Entry {
    /// When the toggle was carried out, or may have been, as far as is known.
    pub fn at(&self) -> Moment {
        match &self.phase {
            Phase::Decided { at, .. } => *at,
            _ => self.command.received,
        }
    }

    /// What the guard has to ask about, for `window` after the toggle.
    pub fn counts(&self, window: Duration) -> Option<Standing> {
        let standing = self.phase.standing()?;
        let counts = match self.phase {
            // A clock that is set must not let anybody reverse a toggle unasked.
            Phase::NotAccepted => self.at().since() < window + ANOTHER_COPY,
            Phase::Decided { .. } => self.at().since() < window,
            _ => true,
        };
        (counts && !window.is_zero()).then_some(standing)
    }

    /// Whether the audit channel is owed a line.
    pub fn is_unposted(&self) -> bool {
        matches!(self.phase, Phase::Decided { posted: false, .. })
    }

    pub fn is_done(&self) -> bool {
        self.phase.standing() == Some(Standing::Done)
    }

    /// Whether anybody may still need to know of it, beside a `later` toggle of the same agent that was done.
    pub fn matters(&self, later: Option<&Self>, window: Duration, question: Duration) -> bool {
        if self.command.is_open()
            || self.is_unposted()
            || matches!(self.phase, Phase::Answering | Phase::Waiting | Phase::Calling)
        {
            return true;
        }
        match self.phase.standing() {
            None => matches!(self.phase, Phase::Asked { .. }) && self.command.received.since() < question,
            Some(Standing::Done) => later.is_none() && self.at().since() < BEFORE,
            Some(_) if later.is_some_and(|later| later.comes_long_after(self)) => self.counts(window).is_some(),
            Some(_) => self.at().since() < BEFORE,
        }
    }

    /// Whether it lies so long after another one that even a call that broke off was carried out before.
    fn comes_long_after(&self, other: &Self) -> bool {
        other.at().since().saturating_sub(self.at().since()) >= LATE_CALL
    }

    /// Whether this is certainly the last toggle before the one that is done now, although there is the `other`.
    pub fn is_surely_the_last_beside(&self, other: &Self) -> bool {
        match other.phase.standing() {
            None | Some(Standing::Done) => true,
            Some(Standing::InProgress) => matches!(other.phase, Phase::Waiting),
            Some(Standing::Perhaps) => other.number < self.number && self.comes_long_after(other),
        }
    }

    /// Whether it can be named as the one before another.
    pub fn may_be_named(&self) -> bool {
        self.is_done() && self.at().elapsed() < BEFORE
    }
}

fn is_empty(token: &SecretString) -> bool {
    token.expose_secret().is_empty()
}

/// The file alone has the token, which the next process needs to tell the person.
fn expose<S: Serializer>(token: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(token.expose_secret())
}
