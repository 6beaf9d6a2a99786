//! The audit record that the log has of every command: the person, the agent, the outcome, the duration. What the
//! bot itself may not forget is in [`crate::ledger`].

use std::time::Duration;

use serenity::model::id::{InteractionId, UserId};

use crate::agent::AgentId;
use crate::telemetry::AUDIT;
use crate::wolkvox::CallReport;

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
    /// The call, where one was to be made.
    pub call: Option<&'a CallReport>,
}

impl Entry<'_> {
    pub fn write(&self) {
        let millis =
            |duration: Option<Duration>| u64::try_from(duration.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            target: AUDIT,
            interaction_id = %self.interaction,
            user_id = %self.user_id,
            user = self.user,
            agent_id = self.agent.map(AgentId::get),
            outcome = self.outcome,
            code = self.call.and_then(|call| call.outcome.code()),
            wait_ms = millis(self.call.map(|call| call.queued)),
            call_ms = millis(self.call.map(|call| call.took)),
            "mute"
        );
    }
}
