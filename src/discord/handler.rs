//! An interaction's way in: decode it, drop it where it was delivered before, and route it. A panic stays with the
//! interaction that caused it.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use serenity::model::id::InteractionId;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::Context;
use super::interaction::{Interaction, Payload, Request};
use super::mute::{self, Admitted};
use crate::clock::Moment;
use crate::command::{Breakdown, Entry};

/// How many interactions are remembered, to recognise one that Discord delivers again after a resume.
const REMEMBERED: usize = 1024;
/// How many keystrokes are answered at once. More are dropped, so that they keep no command from being answered.
const SUGGESTIONS: usize = 8;

pub struct Handler {
    context: Arc<Context>,
    /// The commands in progress.
    tasks: TaskTracker,
    seen: Mutex<BTreeSet<InteractionId>>,
    suggestions: Arc<Semaphore>,
    /// Whether the log was told of interactions of other servers.
    told_of_others: AtomicBool,
}

impl Handler {
    /// A handler whose commands are counted in `tasks`. It begins with telling the persons that an earlier process left.
    pub fn new(context: Arc<Context>, tasks: TaskTracker) -> Self {
        let handler = Self {
            seen: Mutex::new(context.ledger.ids().into_iter().collect()),
            context,
            tasks,
            suggestions: Arc::new(Semaphore::new(SUGGESTIONS)),
            told_of_others: AtomicBool::new(false),
        };
        for entry in handler.context.ledger.open() {
            tracing::warn!(interaction_id = %entry.command.callback.id, "recovering a command of a process that ended");
            handler.tasks.spawn(recover(handler.context.clone(), entry, Breakdown::Restart));
        }
        handler
    }

    /// Begins with an interaction and returns; what has to be waited for happens in a task.
    pub fn handle(&self, payload: Payload<'_>) {
        let received = Moment::now();
        let interaction = match Interaction::try_from(payload) {
            Ok(interaction) => interaction,
            Err(why) => {
                tracing::warn!("an interaction was ignored, because it can't be understood: {why}");
                return;
            }
        };
        if interaction.guild.is_some_and(|guild| guild != self.context.allowlist.guild()) {
            // A copy with the same token serves that server.
            if !self.told_of_others.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    server_id = interaction.guild.map(u64::from),
                    "commands from another server than DISCORD_GUILD_ID come in and are ignored: the bot was invited \
                     there too, or another copy runs with the same DISCORD_TOKEN"
                );
            }
        } else if let Request::Suggest(_) = interaction.request {
            self.suggest(interaction, received);
        } else if self.mark_seen(interaction.callback.id) {
            self.command(interaction, received);
        } else {
            tracing::debug!(interaction_id = %interaction.callback.id, "delivered again, ignored");
        }
    }

    /// Keystrokes are many, and do no harm when they come twice or get no answer.
    fn suggest(&self, interaction: Interaction, received: Moment) {
        let Ok(place) = self.suggestions.clone().try_acquire_owned() else { return };
        let context = self.context.clone();
        self.tasks.spawn(async move {
            let suggest = mute::suggest(&context, &interaction, received);
            context.end.run_until_cancelled(suggest).await;
            drop(place);
        });
    }

    fn command(&self, interaction: Interaction, received: Moment) {
        let context = self.context.clone();
        let interaction_id = interaction.callback.id;
        // Here, and not in the task: in the order of arrival.
        let admitted = catch_unwind(AssertUnwindSafe(|| mute::admit(&context, &interaction, received)));
        let Ok(admitted) = admitted else {
            return tracing::error!(%interaction_id, "the handler panicked before the command was admitted");
        };
        self.tasks.spawn(async move {
            let is_refused = admitted.number().is_none();
            let ended = carry_out(&context, &interaction, received, admitted);
            if is_refused {
                // The person is told while the file is being closed, too.
                ended.await;
            } else if context.end.run_until_cancelled(ended).await.is_none() {
                tracing::warn!(%interaction_id, "left unanswered: the bot was stopped");
            }
        });
    }

    /// Whether this is the first time that the interaction is delivered.
    fn mark_seen(&self, interaction: InteractionId) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let first = seen.insert(interaction);
        if seen.len() > REMEMBERED {
            // Ids grow with time, so the first is the oldest.
            seen.pop_first();
        }
        first
    }
}

async fn carry_out(context: &Arc<Context>, interaction: &Interaction, received: Moment, admitted: Admitted) {
    let number = admitted.number();
    let carried_out = AssertUnwindSafe(mute::carry_out(context, interaction, received, admitted)).catch_unwind();
    if carried_out.await.is_ok() {
        return;
    }
    tracing::error!(interaction_id = %interaction.callback.id, "the handler panicked");
    let interrupted = number.and_then(|number| context.ledger.interrupt(number, Breakdown::Panic));
    if let Some((entry, written)) = interrupted {
        written.stored().await;
        recover(context.clone(), entry, Breakdown::Panic).await;
    }
}

/// A panic here leaves the command for the next start.
async fn recover(context: Arc<Context>, entry: Entry, breakdown: Breakdown) {
    let interaction_id = entry.command.callback.id;
    if !entry.command.is_open() {
        return;
    }
    let recovered = AssertUnwindSafe(mute::recover(&context, entry, breakdown)).catch_unwind();
    if let Some(Err(_)) = context.end.run_until_cancelled(recovered).await {
        tracing::error!(%interaction_id, "the recovery panicked: the next start tells the person");
    }
}
