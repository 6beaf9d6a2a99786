//! `/mute` and the button under its question, from the decoded interaction to the last word.
//!
//! Check access, ask the guard, take a place in the queue for the token: all that happens in the order of arrival. Then
//! acknowledge, and only if Discord accepts that, toggle. That order is what makes two running copies, a replayed
//! event and a late delivery harmless.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serenity::builder::{CreateAllowedMentions, CreateAutocompleteResponse, CreateInteractionResponse, CreateMessage};
use serenity::model::id::InteractionId;
use tokio::time::{Instant, sleep};

use super::Context;
use super::interaction::{Callback, Interaction, Request};
use super::response::{self, Unacknowledged};
use crate::agent::AgentId;
use crate::audit;
use crate::guard::{Certainty, Conflict, Consent, Reservation, Stale};
use crate::outcome::{NotSent, Outcome, Unknown};
use crate::reply::{self, Agent};
use crate::wolkvox::{CallReport, QueuedCall};

/// How long the copy that asked is left alone with its button before another copy says that it did not ask.
const OTHER_COPY: Duration = Duration::from_secs(1);

/// What is to be done for an interaction.
enum Plan {
    /// Say so, and do nothing.
    Refuse { outcome: &'static str, text: String, after: Duration },
    /// Ask first.
    Ask { agent: Agent, conflict: Conflict },
    /// Toggle.
    Toggle { agent: Agent, reservation: Reservation, call: QueuedCall },
}

/// How far a command has come: what may be said of it should it break off.
#[derive(Default)]
pub(super) struct Progress(Mutex<Stage>);

#[derive(Clone, Default)]
enum Stage {
    #[default]
    Unanswered,
    /// The person sees "thinking…", and nothing was sent to Wolkvox.
    Acknowledged(Agent),
    /// The call has begun.
    Called(Agent),
    /// The call is over, and its audit record is being written.
    Reported(Agent),
}

impl Progress {
    fn reach(&self, stage: Stage) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    fn stage(&self) -> Stage {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Carries a command or a press of the button out.
pub(super) async fn execute(context: &Context, interaction: &Interaction, received: Instant, progress: &Progress) {
    let deadline = received + context.limits.first_answer;
    match plan(context, interaction) {
        Plan::Refuse { outcome, text, after } => {
            sleep(after).await;
            let answered = respond(context, interaction, &response::private(text), deadline).await;
            let agent = match interaction.request {
                Request::Mute(Ok(agent)) => Some(agent),
                _ => None,
            };
            audit(interaction, agent, if answered { outcome } else { "unacknowledged" }, None);
        }
        Plan::Ask { agent, conflict } => {
            let text = reply::guarded(interaction.language, &agent, &conflict);
            let question = response::question(text, interaction.callback.id, interaction.language);
            let asked = respond(context, interaction, &question, deadline).await;
            if !asked {
                context.recent_toggles.unask(interaction.callback.id);
            }
            audit(interaction, Some(agent.id), if asked { "guarded" } else { "unacknowledged" }, None);
        }
        Plan::Toggle { agent, reservation, call } => {
            toggle(context, interaction, received, progress, agent, reservation, call).await;
        }
    }
}

fn plan(context: &Context, interaction: &Interaction) -> Plan {
    let Interaction { language, user_id, callback, .. } = interaction;
    let refuse = |outcome, text: String| Plan::Refuse { outcome, text, after: Duration::ZERO };
    if let Err(denial) = context.allowlist.check(interaction.guild, interaction.roles.as_deref()) {
        return refuse("denied", reply::denied(*language, denial).to_owned());
    }
    let (agent, consent) = match &interaction.request {
        Request::Mute(Ok(agent)) => (*agent, None),
        Request::Mute(Err(_)) => return refuse("not_sent", reply::invalid_agent(*language)),
        Request::GoOn(question) => match context.recent_toggles.answer(*question, *user_id) {
            Ok(consent @ Consent { agent, .. }) => (agent, Some(consent)),
            Err(why) => {
                let (why, after) = not_asked(context, *question, why);
                let text = reply::stale(*language, why).to_owned();
                return Plan::Refuse { outcome: "denied", text, after };
            }
        },
        // Not a command: the handler routes it elsewhere.
        Request::Suggest(_) => return refuse("denied", String::new()),
    };
    let named = Agent { id: agent, name: context.directory.as_ref().and_then(|directory| directory.name(agent)) };
    match context.recent_toggles.try_reserve(agent, *user_id, callback.id, consent) {
        Ok(reservation) => Plan::Toggle { agent: named, reservation, call: context.wolkvox.queue_call() },
        Err(conflict) => {
            context.recent_toggles.ask(callback.id, *user_id, agent, conflict.command);
            Plan::Ask { agent: named, conflict }
        }
    }
}

/// A question that this process does not know of is too old, or from before a restart, or was asked by another copy,
/// which then gets the time to answer.
fn not_asked(context: &Context, question: InteractionId, why: Stale) -> (Stale, Duration) {
    if why != Stale::Unasked {
        return (why, Duration::ZERO);
    }
    let asked = u64::try_from(question.created_at().unix_timestamp()).unwrap_or_default();
    let late = unix_time().saturating_sub(asked) >= context.limits.question.as_secs();
    (if late { Stale::Late } else { Stale::Unasked }, OTHER_COPY)
}

/// Acknowledges, toggles if that was accepted, and reports what came of it.
async fn toggle(
    context: &Context,
    interaction: &Interaction,
    received: Instant,
    progress: &Progress,
    agent: Agent,
    mut reservation: Reservation,
    call: QueuedCall,
) {
    let callback = &interaction.callback;
    let deferred = response::deferred(context.visibility);
    let deadline = received + context.limits.first_answer;
    if let Err(why) = response::respond(&context.rest, callback, &deferred, deadline).await {
        log_unacknowledged(callback, &why);
        match (why, &interaction.request) {
            // Another copy of the bot may be toggling right now: that counts for the guard.
            (Unacknowledged::Elsewhere, _) => reservation.commit(Certainty::Elsewhere),
            (Unacknowledged::Refused(_), Request::GoOn(question)) => context.recent_toggles.reopen(*question),
            (Unacknowledged::Refused(_), _) => {}
        }
        audit(interaction, Some(agent.id), "unacknowledged", None);
        return;
    }
    progress.reach(Stage::Acknowledged(agent.clone()));
    tracing::debug!(interaction_id = %callback.id, agent_id = agent.id.get(), "acknowledged");
    let report = match call.turn(received + context.limits.queue, &context.stop).await {
        Ok(turn) => {
            progress.reach(Stage::Called(agent.clone()));
            reservation.call_begins();
            turn.mute(agent.id, &context.stop).await
        }
        Err(report) => report,
    };
    match report.outcome {
        Outcome::Done(_) => reservation.commit(Certainty::Done),
        Outcome::Unknown(_) => reservation.commit(Certainty::Perhaps),
        Outcome::Rejected(_) | Outcome::NotSent(_) => reservation.release(),
    }
    progress.reach(Stage::Reported(agent.clone()));
    audit(interaction, Some(agent.id), report.outcome.name(), Some(&report));
    let text = reply::outcome(interaction.language, &agent, &report.outcome);
    tokio::join!(
        post_to_audit_channel(context, interaction, &agent, &report.outcome),
        deliver(context, interaction, text, received)
    );
}

/// Tells what is known of a command that broke off.
pub(super) async fn broke_off(context: &Context, interaction: &Interaction, received: Instant, progress: &Progress) {
    let (agent, outcome) = match progress.stage() {
        Stage::Unanswered => {
            let text = reply::not_sent(interaction.language, NotSent::Fault);
            let deadline = received + context.limits.first_answer;
            respond(context, interaction, &response::private(text), deadline).await;
            audit(interaction, None, "not_sent", None);
            return;
        }
        Stage::Acknowledged(agent) => (agent, Outcome::NotSent(NotSent::Fault)),
        Stage::Called(agent) => (agent, Outcome::Unknown(Unknown::Fault)),
        Stage::Reported(agent) => {
            let outcome = Outcome::Unknown(Unknown::Fault);
            return deliver(context, interaction, reply::outcome(interaction.language, &agent, &outcome), received)
                .await;
        }
    };
    audit(interaction, Some(agent.id), outcome.name(), None);
    deliver(context, interaction, reply::outcome(interaction.language, &agent, &outcome), received).await;
}

/// Suggestions are for those who may use the command; all others get none, and cause no call.
pub(super) async fn suggest(context: &Context, interaction: &Interaction, typed: &str, received: Instant) {
    let allowed = context.allowlist.check(interaction.guild, interaction.roles.as_deref()).is_ok();
    let mut suggestions = CreateAutocompleteResponse::new();
    if let Some(directory) = context.directory.as_ref().filter(|_| allowed) {
        for (id, name) in directory.suggest(typed) {
            // At most ten digits, so it always fits.
            let value = i64::try_from(id.get()).unwrap_or_default();
            suggestions = suggestions.add_int_choice(reply::choice(name.as_ref(), id), value);
        }
    }
    let suggestions = CreateInteractionResponse::Autocomplete(suggestions);
    respond(context, interaction, &suggestions, received + context.limits.first_answer).await;
}

async fn respond(
    context: &Context,
    interaction: &Interaction,
    response: &CreateInteractionResponse,
    deadline: Instant,
) -> bool {
    let answered = response::respond(&context.rest, &interaction.callback, response, deadline).await;
    answered.inspect_err(|why| log_unacknowledged(&interaction.callback, why)).is_ok()
}

async fn deliver(context: &Context, interaction: &Interaction, text: String, received: Instant) {
    let (callback, deadline) = (&interaction.callback, received + context.limits.delivery);
    if let Err(error) = response::deliver(&context.rest, callback, text, deadline).await {
        tracing::error!(interaction_id = %callback.id, "the person was not told what came of the command: {error}");
    }
}

async fn post_to_audit_channel(context: &Context, interaction: &Interaction, agent: &Agent, outcome: &Outcome) {
    let Some(channel) = context.audit_channel.filter(|_| outcome.may_have_toggled()) else { return };
    let (language, user) = (interaction.guild_language, interaction.user_id.get());
    let line = reply::audit_line(language, unix_time(), user, agent, outcome);
    let message = CreateMessage::new().content(line).allowed_mentions(CreateAllowedMentions::new());
    if let Err(error) = context.rest.post_message(channel, &message).await {
        let interaction = interaction.callback.id;
        tracing::warn!(interaction_id = %interaction, "the toggle was not posted to AUDIT_CHANNEL_ID: {error}");
    }
}

fn audit(interaction: &Interaction, agent: Option<AgentId>, outcome: &'static str, call: Option<&CallReport>) {
    let record = audit::Record {
        interaction: interaction.callback.id,
        user_id: interaction.user_id,
        user: &interaction.user,
        agent,
        outcome,
        code: call.and_then(|call| call.outcome.code()),
        queued: call.map(|call| call.queued).unwrap_or_default(),
        took: call.map(|call| call.took).unwrap_or_default(),
    };
    record.write();
}

fn log_unacknowledged(callback: &Callback, why: &Unacknowledged) {
    let interaction = callback.id;
    match why {
        Unacknowledged::Elsewhere => {
            tracing::info!(interaction_id = %interaction, "answered already, so nothing was done here");
        }
        Unacknowledged::Refused(error) => tracing::warn!(
            interaction_id = %interaction,
            "Discord did not accept the first answer, so nothing was done: {error}"
        ),
    }
}

/// Seconds since 1970.
fn unix_time() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map(|now| now.as_secs()).unwrap_or_default()
}
