//! The audit channel: one line for every toggle that was done or may have been, in order.

use std::sync::Arc;
use std::time::Duration;

use serenity::builder::{CreateAllowedMentions, CreateMessage};
use serenity::model::channel::{MessageFlags, Nonce};
use serenity::model::id::{ChannelId, InteractionId};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::markdown::width;
use super::rest::{Rest, RestError};
use crate::reply::MAX_MESSAGE;
use crate::retry::{Backoff, retry};

/// How many lines may wait.
const WAITING: usize = 10_000;
/// How long a message is tried for. A channel takes some 5 in 5 s; what waits meanwhile shares the next one.
const TRY_FOR: Duration = Duration::from_secs(600);
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));

/// The way into the channel. The lines that wait are posted before the future that [`AuditChannel::new`] gives ends.
pub struct AuditChannel(mpsc::Sender<Line>);

struct Line {
    interaction: InteractionId,
    text: String,
}

impl AuditChannel {
    /// The channel, and the task that posts into it until nobody has anything to post any more, or `end` is cancelled.
    pub fn new(rest: Arc<Rest>, channel: ChannelId, end: CancellationToken) -> (Self, impl Future<Output = ()>) {
        let (lines, waiting) = mpsc::channel(WAITING);
        (Self(lines), run(rest, channel, waiting, end))
    }

    /// Posts a line, of at most [`MAX_MESSAGE`] UTF-16 units, when its turn comes.
    pub(super) fn post(&self, interaction: InteractionId, text: String) {
        if self.0.try_send(Line { interaction, text }).is_err() {
            not_posted(interaction, 1, &"too many lines are waiting");
        }
    }
}

async fn run(rest: Arc<Rest>, channel: ChannelId, mut waiting: mpsc::Receiver<Line>, end: CancellationToken) {
    let mut next = waiting.recv().await;
    while let Some(Line { interaction, text: mut content }) = next.take() {
        let mut lines = 1_usize;
        while let Ok(line) = waiting.try_recv() {
            if width(&content) + 1 + width(&line.text) > MAX_MESSAGE {
                next = Some(line);
                break;
            }
            content = [content, line.text].join("\n");
            lines += 1;
        }
        // Discord posts one message for a nonce, however often it is sent: so it may be sent again.
        let message = CreateMessage::new()
            .content(content)
            .allowed_mentions(CreateAllowedMentions::new())
            .flags(MessageFlags::SUPPRESS_EMBEDS)
            .nonce(Nonce::String(interaction.to_string()))
            .enforce_nonce(true);
        let post = || rest.post_message(channel, &message);
        let posted = tokio::select! {
            biased;
            posted = retry(BACKOFF, Instant::now() + TRY_FOR, post, RestError::transient, |_, _| {}) => posted,
            () = end.cancelled() => {
                while waiting.try_recv().is_ok() {
                    lines += 1;
                }
                return not_posted(interaction, lines + usize::from(next.is_some()), &"the bot was stopped");
            }
        };
        if let Err(error) = posted {
            not_posted(interaction, lines, &error);
        }
        if next.is_none() {
            next = waiting.recv().await;
        }
    }
}

fn not_posted(first: InteractionId, lines: usize, why: &dyn std::fmt::Display) {
    tracing::warn!(interaction_id = %first, lines, "the toggle was not posted to AUDIT_CHANNEL_ID: {why}");
}
