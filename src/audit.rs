//! The audit record that the log has of every command: who, which agent, what came of it, how long it took. What the
//! bot itself may not forget is in [`crate::record`].

use std::time::Duration;

use serenity::model::id::{InteractionId, UserId};

use crate::agent::AgentId;
use crate::telemetry::AUDIT;

/// The audit record of one command; [`Entry::write`] puts it into the log, under the target `audit`.
#[derive(Debug)]
pub struct Entry<'a> {
    /// The interaction, Discord's id of the command or of the press of a button.
    pub interaction: InteractionId,
    /// Who gave the command.
    pub user_id: UserId,
    /// The same person's user name.
    pub user: &'a str,
    /// The agent, where a valid number was given.
    pub agent: Option<AgentId>,
    /// `done`, `rejected`, `not_sent`, `unknown`, `denied`, `guarded` or `unacknowledged`.
    pub outcome: &'static str,
    /// The code that Wolkvox gave, or its answer's HTTP status where that had none.
    pub code: Option<u16>,
    /// How long it waited for its turn.
    pub queued: Duration,
    /// How long the call took.
    pub took: Duration,
}

impl Entry<'_> {
    /// Writes it.
    pub fn write(&self) {
        tracing::info!(
            target: AUDIT,
            interaction_id = %self.interaction,
            user_id = %self.user_id,
            user = self.user,
            agent_id = self.agent.map(AgentId::get),
            outcome = self.outcome,
            code = self.code,
            wait_ms = millis(self.queued),
            call_ms = millis(self.took),
            "mute"
        );
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
