//! An interaction's way in: decode it, drop it where it was delivered before, and route it. A panic stays with the
//! interaction that caused it.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use serenity::model::id::InteractionId;
use tokio_util::task::TaskTracker;

use super::Context;
use super::interaction::{Interaction, Payload, Request};
use super::mute::{self, Progress};
use crate::clock::Moment;

/// How many interactions are remembered, to recognise one that Discord delivers again after a resume.
const REMEMBERED: usize = 1024;

/// Handles interactions.
pub struct Handler {
    context: Arc<Context>,
    /// The commands under way.
    tasks: TaskTracker,
    seen: Mutex<BTreeSet<InteractionId>>,
}

impl Handler {
    /// A handler whose commands are counted in `tasks`.
    pub fn new(context: Arc<Context>, tasks: TaskTracker) -> Self {
        Self { context, tasks, seen: Mutex::default() }
    }

    /// Begins with an interaction and returns; what has to be waited for happens in a task.
    pub fn handle(&self, payload: Payload<'_>) {
        let received = Moment::now();
        let interaction = match Interaction::try_from(payload) {
            Ok(interaction) => interaction,
            Err(why) => {
                tracing::warn!("an interaction was left alone because it can't be understood: {why}");
                return;
            }
        };
        // Keystrokes are many, and do no harm when they come twice.
        let is_command = !matches!(interaction.request, Request::Suggest(_));
        if is_command && !self.mark_seen(interaction.callback.id) {
            tracing::debug!(interaction_id = %interaction.callback.id, "delivered again, left alone");
            return;
        }
        let context = self.context.clone();
        let mut task = Box::pin(async move {
            tokio::select! {
                biased;
                () = route(&context, &interaction, received) => {}
                () = context.end.cancelled() => {
                    tracing::warn!(interaction_id = %interaction.callback.id, "left unanswered: the bot was stopped");
                }
            }
        });
        // The first step is made here: commands are checked and queued up in the order in which they arrive.
        if task.as_mut().now_or_never().is_none() {
            self.tasks.spawn(task);
        }
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

/// Looks for processes that died with the same record, and begins to tell their people. Nothing is sent to Wolkvox for
/// them. What was taken over is told, whoever stops waiting for this.
pub async fn take_over(context: &Arc<Context>, tasks: &TaskTracker) {
    let (context, resumed) = (context.clone(), tasks.clone());
    let taking_over = tasks.spawn(async move {
        let Context { record, recent_toggles, .. } = &*context;
        for command in record.take_over_dead(recent_toggles.window()).await.unwrap_or_default() {
            let (context, interaction_id) = (context.clone(), command.interaction);
            tracing::warn!(%interaction_id, "left open by a process that ended, told by this one");
            resumed.spawn(async move {
                let told = AssertUnwindSafe(mute::resume(&context, command)).catch_unwind();
                tokio::select! {
                    biased;
                    told = told => if told.is_err() {
                        tracing::error!(%interaction_id, "the answer broke off");
                    },
                    // The next start finds it.
                    () = context.end.cancelled() => {}
                }
            });
        }
        for command in record.tidy().await.unwrap_or_default() {
            let interaction_id = command.interaction;
            tracing::warn!(%interaction_id, "still open after 15 minutes, in which nobody could be told");
        }
    });
    let _ = taking_over.await;
}

async fn route(context: &Context, interaction: &Interaction, received: Moment) {
    let progress = Progress::default();
    let task = async {
        match &interaction.request {
            Request::Mute(_) | Request::GoOn(_) => mute::execute(context, interaction, received, &progress).await,
            Request::Suggest(typed) => mute::suggest(context, interaction, typed, received).await,
        }
    };
    if AssertUnwindSafe(task).catch_unwind().await.is_ok() {
        return;
    }
    tracing::error!(interaction_id = %interaction.callback.id, "the command broke off");
    let told = AssertUnwindSafe(mute::broke_off(context, interaction, received, &progress));
    if told.catch_unwind().await.is_err() {
        tracing::error!(interaction_id = %interaction.callback.id, "the answer broke off");
    }
}
