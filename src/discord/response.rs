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

use super::Context;
use super::error::RestError;
use super::interaction::go_on_id;
use super::rest::Rest;
use crate::clock::Moment;
use crate::command::{Callback, Command};
use crate::language::Language;
use crate::limits::Limits;
use crate::net::{HttpError, error_chain};
use crate::reply;
use crate::retry::{Backoff, retry};

/// Discord's code for a message that is not there: somebody deleted it.
const UNKNOWN_MESSAGE: u32 = 10008;
/// After so many times it is taken to be gone for good.
const DELETED_FOR_GOOD: u32 = 4;
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
/// How shortly before its end the last try of a first answer begins, where a longer pause was asked for.
const LAST_CHANCE: Duration = Duration::from_millis(500);

/// Who sees the replies. Refusals and questions are always for the invoker alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Visibility {
    /// The whole channel.
    #[default]
    Public,
    /// The invoker alone.
    Private,
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

/// Sends the first answer, and retries one try after the other until its time is over. An acceptance that is read later
/// counts as none.
///
/// # Errors
/// Why it was not accepted, as far as is known.
pub(super) async fn respond(
    rest: &Rest,
    callback: &Callback,
    response: &impl Serialize,
    received: Moment,
    limits: &Limits,
) -> Result<(), RestError> {
    let deadline = received.deadline(limits.first_answer);
    let attempt = || async {
        let answered = rest.respond(callback, response, deadline.left()).await;
        if deadline.is_over() { Err(RestError::NoAnswer(HttpError::TimedOut)) } else { answered }
    };
    let again = |error: &RestError| {
        tracing::debug!(interaction_id = %callback.id, "a first answer failed: {}", error_chain(error));
        // The last try begins shortly before the end, however long a pause was asked for.
        let chance = deadline.left().saturating_sub(LAST_CHANCE);
        error.transient().filter(|_| !deadline.is_over()).map(|least| least.min(chance))
    };
    retry(BACKOFF, received.after(limits.first_answer), attempt, again).await
}

/// What is to be told to the person who sees "thinking…".
#[derive(Debug)]
pub(super) struct Reply {
    /// With what Wolkvox said.
    pub(super) text: String,
    /// The same in our own words alone, for when Discord does not take the other.
    pub(super) own_words: String,
}

/// Puts the outcome into the place of "working on it", and retries that for as long as the token lives: an edit may be
/// repeated. Where somebody deleted the message, the outcome is posted as another one.
///
/// # Errors
/// Why the person was not told.
pub(super) async fn deliver(context: &Context, command: &Command, reply: &Reply) -> Result<(), RestError> {
    let (rest, callback) = (&context.rest, &command.callback);
    let deadline = command.received.after(context.limits.delivery);
    let began = Instant::now();
    let (mut backoff, mut text) = (BACKOFF, &reply.text);
    let (mut deleted, mut warned) = (0, false);
    loop {
        let Err(error) = rest.edit_original(callback, &edit(text)).await else { return Ok(()) };
        let (interaction_id, why) = (callback.id, error_chain(&error));
        tracing::debug!(%interaction_id, "the outcome could not be delivered: {why}");
        if !warned && began.elapsed() >= context.limits.undelivered {
            warned = true;
            tracing::warn!(%interaction_id, "the person still waits for the outcome, which is tried again: {why}");
        }
        if error.status() == Some(400) {
            text = &reply.own_words;
        }
        deleted += u32::from(error.code() == Some(UNKNOWN_MESSAGE));
        if deleted >= DELETED_FOR_GOOD {
            return post_below(context, command, reply).await;
        }
        // Any other refusal may pass: Discord has called fresh tokens invalid, and what a message is about may change.
        if !backoff.wait(error.least_pause(), deadline).await {
            return Err(error);
        }
    }
}

/// One message: unlike an edit, it is repeated only where it was plainly not posted, and may be yet.
async fn post_below(context: &Context, command: &Command, reply: &Reply) -> Result<(), RestError> {
    let deadline = command.received.after(context.limits.delivery);
    let (mut backoff, mut text) = (BACKOFF, &reply.text);
    loop {
        let message = follow_up(text, context.visibility);
        let Err(error) = context.rest.follow_up(&command.callback, &message).await else { return Ok(()) };
        if error.status() == Some(400) {
            text = &reply.own_words;
        }
        let is_final = error.may_have_arrived() || error.code() == Some(UNKNOWN_MESSAGE);
        if is_final || !backoff.wait(error.least_pause(), deadline).await {
            return Err(error);
        }
    }
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
