//! The audit channel: one line for every toggle that was done or may have been, in order.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use serenity::builder::{CreateAllowedMentions, CreateMessage};
use serenity::model::channel::{MessageFlags, Nonce};
use serenity::model::id::{ChannelId, InteractionId};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::error::RestError;
use super::rest::Rest;
use crate::net::error_chain;
use crate::reply::MAX_MESSAGE;
use crate::retry::{Backoff, retry};
use crate::text::width;

/// How many lines may wait.
const WAITING: usize = 10_000;
/// How long a message is tried for. A channel takes some 5 in 5 s; what waits meanwhile shares the next one.
const TRY_FOR: Duration = Duration::from_secs(300);
/// The longest pause that is taken, whatever is asked for: it may be lifted earlier.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), LONGEST_PAUSE);

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
        if let Err(TrySendError::Full(line) | TrySendError::Closed(line)) = self.0.try_send(Line { interaction, text })
        {
            not_posted(&[line].into(), &"too many lines are waiting");
        }
    }
}

async fn run(rest: Arc<Rest>, channel: ChannelId, mut waiting: mpsc::Receiver<Line>, end: CancellationToken) {
    let mut lines = VecDeque::new();
    // So many of them are posted one by one, since Discord refused them together.
    let mut singly = 0_usize;
    loop {
        if lines.is_empty() {
            match waiting.recv().await {
                Some(line) => lines.push_back(line),
                None => return,
            }
        }
        lines.extend(std::iter::from_fn(|| waiting.try_recv().ok()));
        let count = if singly > 0 { 1 } else { fitting(&lines) };
        let posted = tokio::select! {
            biased;
            posted = post(&rest, channel, lines.iter().take(count)) => posted,
            () = end.cancelled() => {
                lines.extend(std::iter::from_fn(|| waiting.try_recv().ok()));
                return not_posted(&lines, &"the bot was stopped");
            }
        };
        if let Err(error) = &posted
            && error.transient().is_none()
            && count > 1
        {
            singly = count;
            continue;
        }
        let done: VecDeque<Line> = lines.drain(..count).collect();
        singly = singly.saturating_sub(1);
        if let Err(error) = posted {
            not_posted(&done, &error_chain(&error));
        }
    }
}

/// How many of the lines fit into one message; the first one does.
fn fitting(lines: &VecDeque<Line>) -> usize {
    let mut room = MAX_MESSAGE;
    let fits = |line: &&Line| {
        let left = room.checked_sub(width(&line.text));
        room = left.unwrap_or_default().saturating_sub(1);
        left.is_some()
    };
    lines.iter().take_while(fits).count().max(1)
}

async fn post(rest: &Rest, channel: ChannelId, lines: impl Iterator<Item = &Line>) -> Result<(), RestError> {
    let lines: Vec<&Line> = lines.collect();
    let content: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    // Discord makes one message of what comes twice with the same nonce: so it may be sent again. A message with fewer
    // lines is another one.
    let nonce = lines.first().map(|first| format!("{}-{}", first.interaction, lines.len())).unwrap_or_default();
    let message = CreateMessage::new()
        .content(content.join("\n"))
        .allowed_mentions(CreateAllowedMentions::new())
        .flags(MessageFlags::SUPPRESS_EMBEDS)
        .nonce(Nonce::String(nonce))
        .enforce_nonce(true);
    let again = |error: &RestError| error.transient().map(|pause| pause.min(LONGEST_PAUSE));
    retry(BACKOFF, Instant::now() + TRY_FOR, || rest.post_message(channel, &message), again, |_, _| {}).await
}

fn not_posted(lines: &VecDeque<Line>, why: &dyn Display) {
    if let Some(Line { interaction, .. }) = lines.front() {
        tracing::warn!(
            interaction_id = %interaction,
            lines = lines.len(),
            "the toggle was not posted to AUDIT_CHANNEL_ID: {why}"
        );
    }
}
