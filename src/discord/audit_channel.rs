//! The audit channel: one line for every toggle that was done or may have been, in order. The ledger has the lines that
//! are owed, so a stop, a kill or a pause that Discord asks for loses none. Beside them it gets notices.

use std::time::Duration;

use serenity::builder::{CreateAllowedMentions, CreateMessage};
use serenity::model::channel::{MessageFlags, Nonce};
use serenity::model::id::ChannelId;
use tokio::time::Instant;

use super::error::RestError;
use super::rest::Rest;
use crate::clock::Moment;
use crate::command::{Command, Entry, Phase};
use crate::ledger::Ledger;
use crate::net::error_chain;
use crate::reply::{self, MAX_MESSAGE};
use crate::retry::{Backoff, retry};
use crate::text::width;

const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
/// How long one message is tried for before the lines are collected anew.
const TRY_FOR: Duration = Duration::from_secs(15 * 60);
/// So often Discord has to say that the channel is not there or may not be written to: after outages it has said so of
/// channels that bots could write to.
const REFUSALS: u32 = 4;

/// Posts the lines that are owed, for ever.
pub async fn post(rest: &Rest, ledger: &Ledger, channel: ChannelId) {
    // Lines that Discord refuses together are posted one by one, so that one of them costs no other.
    let mut together = true;
    loop {
        let owed = ledger.unposted().await;
        let lines: Vec<String> = owed.iter().map(line).collect();
        let count = if together { fitting(&lines) } else { 1 };
        let error = post_lines(rest, channel, &owed[..count], &lines[..count]).await.err();
        match &error {
            Some(error) if !is_final(error) => continue,
            Some(_) if count > 1 => {
                together = false;
                continue;
            }
            Some(error) => tracing::warn!(
                interaction_id = %owed[0].command.callback.id,
                "the toggle was not posted to AUDIT_CHANNEL_ID: {}. wolkvox-bot check says more",
                error_chain(error)
            ),
            None => {}
        }
        together = true;
        owed[..count].iter().for_each(|entry| ledger.posted(entry.number));
    }
}

fn line(entry: &Entry) -> String {
    let Command { guild_language, received, user_id, agent, .. } = &entry.command;
    match &entry.phase {
        Phase::Decided { outcome, .. } => {
            reply::audit_line(*guild_language, received.unix_seconds(), user_id.get(), agent, outcome)
        }
        _ => String::new(),
    }
}

/// Whether the channel will not take a message tomorrow either, unless a person does something.
fn is_final(error: &RestError) -> bool {
    error.transient().is_none() && matches!(error.status(), Some(400 | 403 | 404))
}

/// How many of the lines fit into one message; the first one does.
fn fitting(lines: &[String]) -> usize {
    let mut room = MAX_MESSAGE;
    let fits = |line: &&String| {
        let left = room.checked_sub(width(line));
        room = left.unwrap_or_default().saturating_sub(1);
        left.is_some()
    };
    lines.iter().take_while(fits).count().max(1)
}

/// Posts something else than a toggle.
///
/// # Errors
/// When Discord did not take it within 15 min, or never will.
pub async fn post_notice(rest: &Rest, channel: ChannelId, text: &str) -> Result<(), RestError> {
    send(rest, channel, text, format!("notice-{}", Moment::now().unix_seconds())).await
}

async fn post_lines(rest: &Rest, channel: ChannelId, owed: &[Entry], lines: &[String]) -> Result<(), RestError> {
    // A message with fewer lines is another one.
    let nonce = owed.first().map(|first| format!("{}-{}", first.command.callback.id, lines.len())).unwrap_or_default();
    send(rest, channel, &lines.join("\n"), nonce).await
}

/// Discord makes one message of what comes twice with the same nonce: so it may be sent again.
async fn send(rest: &Rest, channel: ChannelId, text: &str, nonce: String) -> Result<(), RestError> {
    let message = CreateMessage::new()
        .content(text)
        .allowed_mentions(CreateAllowedMentions::new())
        .flags(MessageFlags::SUPPRESS_EMBEDS)
        .nonce(Nonce::String(nonce))
        .enforce_nonce(true);
    let mut refused = 0;
    let again = |error: &RestError| {
        refused += u32::from(is_final(error));
        let gives_up = refused >= REFUSALS || error.status() == Some(400);
        (!gives_up).then(|| error.least_pause())
    };
    retry(BACKOFF, Instant::now() + TRY_FOR, || rest.post_message(channel, &message), again).await
}
