//! Getting an answer to Discord: the first one within its 3 s, the result within the token's 15 min.

use std::time::Duration;

use serde::Serialize;
use serenity::builder::{
    CreateActionRow, CreateAllowedMentions, CreateButton, CreateInteractionResponse, CreateInteractionResponseMessage,
    EditInteractionResponse,
};
use serenity::model::application::ButtonStyle;
use serenity::model::id::InteractionId;
use tokio::time::Instant;

use super::interaction::{Callback, go_on_id};
use super::rest::{Rest, RestError};
use crate::reply::{self, Language};
use crate::retry::{Backoff, retry};

/// Discord's code for an interaction that has its first answer already: another copy of the bot was faster, or our
/// own answer arrived although we did not learn of it.
const ALREADY_ACKNOWLEDGED: u32 = 40060;
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

/// Why there is no accepted first answer. Whatever the reason, nothing may be done for the interaction.
#[derive(Debug)]
pub(super) enum Unacknowledged {
    /// Somebody's answer was accepted before. That somebody may be acting on it.
    Elsewhere,
    /// Refused, or not accepted in time.
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
    let message = CreateInteractionResponseMessage::new().content(text).ephemeral(true);
    message.allowed_mentions(CreateAllowedMentions::new())
}

/// Sends the first answer, and repeats it on 5xx and broken connections until `deadline`.
pub(super) async fn respond(
    rest: &Rest,
    callback: &Callback,
    response: &impl Serialize,
    deadline: Instant,
) -> Result<(), Unacknowledged> {
    let attempt = || {
        let left = deadline.saturating_duration_since(Instant::now());
        rest.respond(callback.id, &callback.token, response, left)
    };
    let notify = |error: &RestError, _| {
        tracing::debug!(interaction_id = %callback.id, "the first answer is repeated: {error}");
    };
    retry(BACKOFF, deadline, attempt, RestError::transient, notify).await.map_err(|error| match error.code() {
        Some(ALREADY_ACKNOWLEDGED) => Unacknowledged::Elsewhere,
        _ => Unacknowledged::Refused(error),
    })
}

/// Puts the result into the place of "working on it", and repeats that on 5xx, 429 and broken connections until
/// `deadline`: an edit may be repeated as often as one likes.
pub(super) async fn deliver(
    rest: &Rest,
    callback: &Callback,
    text: String,
    deadline: Instant,
) -> Result<(), RestError> {
    let message = EditInteractionResponse::new().content(text).allowed_mentions(CreateAllowedMentions::new());
    let attempt = || rest.edit_original(callback.application, &callback.token, &message);
    let notify = |error: &RestError, _| {
        tracing::debug!(interaction_id = %callback.id, "the result is sent again: {error}");
    };
    retry(BACKOFF, deadline, attempt, RestError::transient, notify).await
}
