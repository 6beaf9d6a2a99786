//! `/mute` and the button under its question, from the decoded interaction to the last word.
//!
//! Check access, ask the guard, take a place in the queue for the token: all that happens in the order of arrival. Then
//! acknowledge, and only if Discord accepts that, toggle. That order is what makes two running copies, a replayed
//! event and a late delivery harmless.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serenity::builder::{CreateAutocompleteResponse, CreateInteractionResponse};
use serenity::model::id::InteractionId;
use tokio::time::{Instant, sleep, timeout};

use super::Context;
use super::interaction::{Callback, Interaction, Request};
use super::response::{self, Reply, Unacknowledged};
use super::rest::{Original, RestError};
use crate::agent::AgentId;
use crate::audit;
use crate::clock::{Deadline, Moment};
use crate::guard::{Certainty, Conflict, Consent, Reservation, Stale};
use crate::outcome::{NotSent, Outcome, Unknown};
use crate::reply::{self, Agent, Language};
use crate::retry::{Backoff, retry};
use crate::wolkvox::{CallReport, QueuedCall};

/// How long the copy that asked is left alone with its button before another copy says that it did not ask.
const OTHER_COPY: Duration = Duration::from_secs(1);

const LOOK_BACKOFF: Backoff = Backoff::new(Duration::from_millis(250), LOOK_PAUSE);
const LOOK_PAUSE: Duration = Duration::from_secs(10);

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
    /// The first answer was not accepted, as far as is known, and the audit record of that is being written.
    Unacknowledged,
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
pub(super) async fn execute(context: &Context, interaction: &Interaction, received: Moment, progress: &Progress) {
    match plan(context, interaction) {
        Plan::Refuse { outcome, text, after } => {
            sleep(after).await;
            let answered = respond(context, interaction, &response::private(text), received).await;
            let agent = match interaction.request {
                Request::Mute(Ok(agent)) => Some(agent),
                _ => None,
            };
            audit(interaction, agent, if answered.is_ok() { outcome } else { "unacknowledged" }, None);
        }
        Plan::Ask { agent, conflict } => {
            let text = reply::guarded(interaction.language, &agent, &conflict);
            let question = response::question(text, interaction.callback.id, interaction.language);
            let asked = respond(context, interaction, &question, received).await;
            if let Err(Unacknowledged::Refused(_) | Unacknowledged::Elsewhere) = asked {
                context.recent_toggles.unask(interaction.callback.id);
            }
            audit(interaction, Some(agent.id), if asked.is_ok() { "guarded" } else { "unacknowledged" }, None);
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

/// Acknowledges, toggles if that was accepted in time, and reports what came of it.
async fn toggle(
    context: &Context,
    interaction: &Interaction,
    received: Moment,
    progress: &Progress,
    agent: Agent,
    mut reservation: Reservation,
    call: QueuedCall,
) {
    let Context { rest, limits, stop, .. } = context;
    let callback = &interaction.callback;
    let deferred = response::deferred(context.visibility);
    // The place in the queue is given up when the acknowledgement is late, so that nobody behind it waits for that.
    let mut call = Some(call);
    let acknowledged = response::respond(rest, callback, &deferred, received, limits, || drop(call.take())).await;
    let (Ok(()), Some(call)) = (&acknowledged, call) else {
        return unacknowledged(context, interaction, received, progress, agent, reservation, acknowledged).await;
    };
    progress.reach(Stage::Acknowledged(agent.clone()));
    tracing::debug!(interaction_id = %callback.id, agent_id = agent.id.get(), "acknowledged");
    let send_by = send_by(context, received);
    let report = match call.turn(send_by, stop).await {
        Ok(turn) => {
            progress.reach(Stage::Called(agent.clone()));
            reservation.call_begins();
            turn.mute(agent.id, send_by, stop).await
        }
        Err(report) => report,
    };
    match report.outcome {
        Outcome::Done(_) => reservation.commit(Certainty::Done),
        Outcome::Unknown(_) => reservation.commit(Certainty::Perhaps),
        Outcome::Rejected(_) | Outcome::NotSent(_) => reservation.release(),
    }
    self::report(context, interaction, received, progress, &agent, &report).await;
}

/// What may have been sent by then can still be told: a result needs some of the interaction's 15 minutes.
fn send_by(context: &Context, received: Moment) -> Deadline {
    let Context { limits, wolkvox, .. } = context;
    let last = limits.delivery.saturating_sub(wolkvox.longest_exchange() + limits.telling);
    received.deadline(limits.queue.min(last))
}

/// Nothing is done for a command whose first answer was not accepted in time. What its person sees decides what is
/// told.
async fn unacknowledged(
    context: &Context,
    interaction: &Interaction,
    received: Moment,
    progress: &Progress,
    agent: Agent,
    reservation: Reservation,
    why: Result<(), Unacknowledged>,
) {
    let why = why.err().unwrap_or(Unacknowledged::Late);
    log_unacknowledged(&interaction.callback, &why);
    if let (Request::GoOn(question), Unacknowledged::Late | Unacknowledged::Refused(_)) = (&interaction.request, &why) {
        context.recent_toggles.reopen(*question);
    }
    match why {
        // Another copy of the bot may be toggling right now: that counts for the guard.
        Unacknowledged::Elsewhere | Unacknowledged::Somewhere => reservation.commit(Certainty::Elsewhere),
        Unacknowledged::Late | Unacknowledged::Unknown(_) | Unacknowledged::Refused(_) => reservation.release(),
    }
    match why {
        Unacknowledged::Late => {
            let outcome = Outcome::NotSent(NotSent::AcknowledgedLate);
            let report = CallReport { outcome, queued: received.elapsed(), took: Duration::ZERO };
            self::report(context, interaction, received, progress, &agent, &report).await;
        }
        Unacknowledged::Somewhere | Unacknowledged::Unknown(_) => {
            progress.reach(Stage::Unacknowledged);
            audit(interaction, Some(agent.id), "unacknowledged", None);
            look_again(context, interaction, received, &agent).await;
        }
        Unacknowledged::Elsewhere | Unacknowledged::Refused(_) => {
            progress.reach(Stage::Unacknowledged);
            audit(interaction, Some(agent.id), "unacknowledged", None);
        }
    }
}

/// One of our own tries may have been accepted without our learning of it: somebody who still sees "thinking…" after a
/// while is told what is true whoever answers later. Never over an answer that is there, so it is looked before each
/// try.
async fn look_again(context: &Context, interaction: &Interaction, received: Moment, agent: &Agent) {
    let Context { rest, limits, stop, .. } = context;
    let callback = &interaction.callback;
    // A bot that stops looks at once.
    let _ = timeout(limits.look_again, stop.cancelled()).await;
    let text = reply::unconfirmed(interaction.language, agent);
    let tell = || async {
        if rest.original(callback).await? == Original::Thinking {
            rest.edit_original(callback, &response::edit(&text)).await?;
            let interaction_id = callback.id;
            tracing::info!(%interaction_id, "still unanswered, so the person was told that nothing was sent from here");
        }
        Ok(())
    };
    let again =
        |error: &RestError| (!error.is_void_token()).then(|| error.transient().unwrap_or_default().min(LOOK_PAUSE));
    let deadline = Instant::now() + received.lenient_deadline(limits.delivery).left();
    if let Err(error) = retry(LOOK_BACKOFF, deadline, tell, again, |_, _| {}).await {
        let interaction_id = callback.id;
        tracing::warn!(%interaction_id, "it is not known whether somebody is left on \"thinking…\": {error}");
    }
}

/// Tells everybody who is to know: the log, the audit channel, the invoker.
async fn report(
    context: &Context,
    interaction: &Interaction,
    received: Moment,
    progress: &Progress,
    agent: &Agent,
    report: &CallReport,
) {
    let outcome = &report.outcome;
    progress.reach(Stage::Reported(agent.clone()));
    audit(interaction, Some(agent.id), outcome.name(), Some(report));
    if let Some(channel) = context.audit_channel.as_ref().filter(|_| outcome.may_have_toggled()) {
        let (language, user) = (interaction.guild_language, interaction.user_id.get());
        channel.post(interaction.callback.id, reply::audit_line(language, unix_time(), user, agent, outcome));
    }
    let reply = outcome_reply(interaction.language, agent, outcome);
    deliver(context, interaction, received, reply, outcome.name()).await;
}

fn outcome_reply(language: Language, agent: &Agent, outcome: &Outcome) -> Reply {
    let own_words = reply::outcome_in_own_words(language, agent.id, outcome);
    Reply { text: reply::outcome(language, agent, outcome), own_words }
}

/// Tells what is known of a command that broke off.
pub(super) async fn broke_off(context: &Context, interaction: &Interaction, received: Moment, progress: &Progress) {
    let (agent, outcome, audited) = match progress.stage() {
        Stage::Unanswered => {
            let text = reply::not_sent(interaction.language, NotSent::Fault);
            let answered = respond(context, interaction, &response::private(text), received).await;
            return audit(interaction, None, if answered.is_ok() { "not_sent" } else { "unacknowledged" }, None);
        }
        Stage::Unacknowledged => return,
        Stage::Acknowledged(agent) => (agent, Outcome::NotSent(NotSent::Fault), false),
        Stage::Called(agent) => (agent, Outcome::Unknown(Unknown::Fault), false),
        Stage::Reported(agent) => (agent, Outcome::Unknown(Unknown::Fault), true),
    };
    if !audited {
        audit(interaction, Some(agent.id), outcome.name(), None);
    }
    let reply = outcome_reply(interaction.language, &agent, &outcome);
    deliver(context, interaction, received, reply, outcome.name()).await;
}

/// Suggestions are for those who may use the command; all others get none, and cause no call.
pub(super) async fn suggest(context: &Context, interaction: &Interaction, typed: &str, received: Moment) {
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
    // Whoever types on gets the next ones.
    let _ = respond(context, interaction, &suggestions, received).await;
}

/// Gives a first answer that is the last one too. One that was accepted late has been seen all the same.
async fn respond(
    context: &Context,
    interaction: &Interaction,
    response: &CreateInteractionResponse,
    received: Moment,
) -> Result<(), Unacknowledged> {
    let Context { rest, limits, .. } = context;
    match response::respond(rest, &interaction.callback, response, received, limits, || {}).await {
        Ok(()) | Err(Unacknowledged::Late) => Ok(()),
        Err(why) => {
            log_unacknowledged(&interaction.callback, &why);
            Err(why)
        }
    }
}

async fn deliver(context: &Context, interaction: &Interaction, received: Moment, reply: Reply, outcome: &'static str) {
    let Context { rest, limits, visibility, end, .. } = context;
    let callback = &interaction.callback;
    // A wall clock that is set meanwhile must not lose a result; whether its token is void Discord knows best.
    let deadline = received.lenient_deadline(limits.delivery);
    let why = tokio::select! {
        biased;
        delivered = response::deliver(rest, callback, &reply, *visibility, deadline, limits) => match delivered {
            Ok(()) => return,
            Err(error) => error.to_string(),
        },
        () = end.cancelled() => "the bot was stopped".to_owned(),
    };
    tracing::error!(
        interaction_id = %callback.id,
        user_id = %interaction.user_id,
        outcome,
        "the person was not told what came of the command: {why}"
    );
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
    let interaction_id = callback.id;
    match why {
        Unacknowledged::Late => {
            tracing::warn!(%interaction_id, "Discord accepted the first answer, but said so too late to act on it");
        }
        Unacknowledged::Elsewhere => {
            tracing::info!(%interaction_id, "answered already, so nothing was done here");
        }
        Unacknowledged::Somewhere => {
            tracing::info!(%interaction_id, "answered already, perhaps by a try of our own, so nothing was done here");
        }
        Unacknowledged::Unknown(error) => tracing::warn!(
            %interaction_id,
            "it is not known whether Discord accepted the first answer, so nothing was done: {error}"
        ),
        Unacknowledged::Refused(error) => tracing::warn!(
            %interaction_id,
            "Discord did not accept the first answer, so nothing was done: {error}"
        ),
    }
}

/// Seconds since 1970.
fn unix_time() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map(|now| now.as_secs()).unwrap_or_default()
}
