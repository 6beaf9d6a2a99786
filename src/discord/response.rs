//! Getting an answer to Discord: the first one within its 3 s, the result within the token's 15 min.

use std::time::Duration;

use serde::Serialize;
use serenity::builder::{
    CreateActionRow, CreateAllowedMentions, CreateButton, CreateInteractionResponse, CreateInteractionResponseFollowup,
    CreateInteractionResponseMessage, EditInteractionResponse,
};
use serenity::model::application::{ButtonStyle, InteractionResponseFlags};
use serenity::model::channel::MessageFlags;
use serenity::model::id::InteractionId;
use tokio::time::Instant;

use super::error::RestError;
use super::interaction::{Callback, go_on_id};
use super::rest::Rest;
use crate::clock::{Deadline, Moment};
use crate::language::Language;
use crate::limits::Limits;
use crate::net::{HttpError, error_chain};
use crate::reply;
use crate::retry::{Backoff, Persistence, persist, retry};

/// Discord's code for an interaction that has its first answer already: another copy of the bot was faster, or our
/// own answer arrived although we did not learn of it.
const ALREADY_ACKNOWLEDGED: u32 = 40060;
/// Discord's code for a message that is not there: somebody deleted it.
const UNKNOWN_MESSAGE: u32 = 10008;
/// After so many times it is taken to be gone for good.
const DELETED_FOR_GOOD: u32 = 4;
/// Cloudflare, in front of Discord, asks for pauses of up to an hour and often lifts them much earlier.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));

/// Who sees the replies. Refusals and questions are always for the invoker alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Visibility {
    /// The whole channel.
    #[default]
    Public,
    /// The invoker alone.
    Private,
}

/// What became of a first answer that was not accepted in time. Whatever it is, nothing may be done for the
/// interaction.
#[derive(Debug)]
pub(super) enum Unacknowledged {
    /// Discord accepted it, and said so too late.
    Late,
    /// Another copy's answer was accepted before. That copy may be acting on it.
    Elsewhere,
    /// There is an answer: another copy's, or one of our own tries, whose answer was lost.
    Somewhere,
    /// It is not known whether Discord accepted it.
    Unknown(RestError),
    /// It was not accepted.
    Refused(RestError),
}

/// "Working on it" (a deferred answer). Its visibility is the final one's too.
pub(super) fn deferred(visibility: Visibility) -> CreateInteractionResponse {
    let message = CreateInteractionResponseMessage::new();
    CreateInteractionResponse::Defer(message.ephemeral(visibility == Visibility::Private))
}

/// An answer that only the invoker sees.
pub(super) fn private(text: impl Into<String>) -> CreateInteractionResponse {
    CreateInteractionResponse::Message(private_message(text))
}

/// The same with the button "go on".
pub(super) fn question(
    text: impl Into<String>,
    command: InteractionId,
    language: Language,
) -> CreateInteractionResponse {
    let button = CreateButton::new(go_on_id(command)).label(reply::go_on(language)).style(ButtonStyle::Danger);
    let row = CreateActionRow::Buttons(vec![button]);
    CreateInteractionResponse::Message(private_message(text).components(vec![row]))
}

fn private_message(text: impl Into<String>) -> CreateInteractionResponseMessage {
    let flags = InteractionResponseFlags::EPHEMERAL | InteractionResponseFlags::SUPPRESS_EMBEDS;
    let message = CreateInteractionResponseMessage::new().content(text).flags(flags);
    message.allowed_mentions(CreateAllowedMentions::new())
}

/// Sends the first answer: again after an error, and beside a try that stays silent, until its time is over. `late` is
/// called when that is so and some try is still open: should that be accepted yet, nothing may be done any more.
///
/// # Errors
/// What is known of the first answer, when it was not accepted in time.
pub(super) async fn respond(
    rest: &Rest,
    callback: &Callback,
    response: &impl Serialize,
    received: Moment,
    limits: &Limits,
    late: impl FnOnce(),
) -> Result<(), Unacknowledged> {
    let persistence = Persistence {
        backoff: BACKOFF,
        longest_pause: limits.first_answer,
        silence: limits.silence,
        last_try: received.deadline(limits.first_answer),
        patience: limits.late_answer,
    };
    let longest = limits.first_answer + limits.late_answer;
    let mut tries = 0_usize;
    let mut began = Instant::now();
    let attempt = |beside_a_silent_one, _: &[RestError]| {
        if beside_a_silent_one {
            rest.renew_connections(began);
        }
        tries += 1;
        began = Instant::now();
        rest.respond(callback, response, longest)
    };
    let again = |error: &RestError| {
        tracing::debug!(interaction_id = %callback.id, "a first answer failed: {}", error_chain(error));
        error.transient()
    };
    let mut late = Some(late);
    let mut was_late = false;
    let accepted = persist(persistence, attempt, again, || {
        was_late = true;
        if let Some(late) = late.take() {
            late();
        }
    });
    let mut errors = match accepted.await {
        Ok(()) if was_late => return Err(Unacknowledged::Late),
        Ok(()) => return Ok(()),
        Err(errors) => errors,
    };
    let unanswered = tries > errors.len();
    let unknown = unanswered || errors.iter().any(RestError::may_have_arrived);
    Err(if errors.iter().any(|error| error.code() == Some(ALREADY_ACKNOWLEDGED)) {
        if unknown { Unacknowledged::Somewhere } else { Unacknowledged::Elsewhere }
    } else {
        let error = errors.pop().unwrap_or(RestError::NoAnswer(HttpError::TimedOut));
        if unknown { Unacknowledged::Unknown(error) } else { Unacknowledged::Refused(error) }
    })
}

/// What is to be told to the person who sees "thinking…".
#[derive(Debug)]
pub(super) struct Reply {
    /// With what Wolkvox said.
    pub(super) text: String,
    /// The same in our own words alone, for when Discord does not take the other.
    pub(super) own_words: String,
}

/// Puts the result into the place of "working on it", and repeats that until `deadline`: an edit may be repeated as
/// often as one likes. Where somebody deleted the message, the result is posted as another one.
///
/// # Errors
/// Why the person was not told.
pub(super) async fn deliver(
    rest: &Rest,
    callback: &Callback,
    reply: &Reply,
    visibility: Visibility,
    deadline: Deadline,
    limits: &Limits,
) -> Result<(), RestError> {
    let persistence = Persistence {
        backoff: BACKOFF,
        longest_pause: LONGEST_PAUSE,
        silence: limits.silence * 2,
        last_try: deadline,
        patience: limits.late_answer,
    };
    let mut began = Instant::now();
    let attempt = |beside_a_silent_one, errors: &[RestError]| {
        if beside_a_silent_one {
            rest.renew_connections(began);
        }
        began = Instant::now();
        let refused = errors.iter().any(|error| error.status() == Some(400));
        let text = if refused { &reply.own_words } else { &reply.text };
        async move { rest.edit_original(callback, &edit(text)).await }
    };
    let mut deleted = 0;
    let again = |error: &RestError| {
        tracing::debug!(interaction_id = %callback.id, "the result could not be delivered: {}", error_chain(error));
        deleted += u32::from(error.code() == Some(UNKNOWN_MESSAGE));
        // A refusal may pass: somebody may have changed what it was about.
        let hopeless = error.is_void_token() || deleted >= DELETED_FOR_GOOD;
        (!hopeless).then(|| error.transient().unwrap_or_default())
    };
    let errors = match persist(persistence, attempt, again, || {}).await {
        Ok(()) => return Ok(()),
        Err(errors) => errors,
    };
    let error = errors.into_iter().last().unwrap_or(RestError::NoAnswer(HttpError::TimedOut));
    if deleted < DELETED_FOR_GOOD || error.is_void_token() {
        return Err(error);
    }
    // One message: unlike an edit, it is repeated only where it was plainly not posted.
    let message = follow_up(&reply.text, visibility);
    let own_words = follow_up(&reply.own_words, visibility);
    let mut errors = 0;
    let attempt = || {
        errors += 1;
        rest.follow_up(callback, if errors == 1 { &message } else { &own_words })
    };
    let again = |error: &RestError| {
        let posted = error.is_void_token() || error.may_have_arrived();
        (!posted).then(|| error.transient().unwrap_or_default().min(LONGEST_PAUSE))
    };
    retry(BACKOFF, Instant::now() + deadline.left(), attempt, again, |_, _| {}).await
}

pub(super) fn edit(text: &str) -> EditInteractionResponse {
    let message = EditInteractionResponse::new().content(text).flags(MessageFlags::SUPPRESS_EMBEDS);
    message.allowed_mentions(CreateAllowedMentions::new())
}

fn follow_up(text: &str, visibility: Visibility) -> CreateInteractionResponseFollowup {
    let private = if visibility == Visibility::Private { MessageFlags::EPHEMERAL } else { MessageFlags::empty() };
    let message = CreateInteractionResponseFollowup::new().content(text).flags(MessageFlags::SUPPRESS_EMBEDS | private);
    message.allowed_mentions(CreateAllowedMentions::new())
}
