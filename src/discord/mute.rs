//! `/mute` and the button under its question, from the decoded interaction to the last word.
//!
//! Check access, ask the guard, take a place in the queue for the token: all that happens in the order of arrival. Then
//! acknowledge, and only if Discord accepts that, toggle. That order is what makes two running copies, a replayed
//! event and a late delivery harmless.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use secrecy::ExposeSecret as _;
use serenity::builder::{CreateAutocompleteResponse, CreateInteractionResponse};
use serenity::model::id::{InteractionId, UserId};
use tokio::time::{Instant, sleep, timeout};

use super::Context;
use super::error::RestError;
use super::interaction::{Callback, Interaction, Request};
use super::response::{self, Reply, Unacknowledged};
use super::rest::Original;
use crate::agent::AgentId;
use crate::audit;
use crate::clock::{Deadline, Moment};
use crate::directory::Name;
use crate::guard::{Certainty, Conflict, Consent, Reservation, Stale, stands_in_the_way};
use crate::language::Language;
use crate::net::error_chain;
use crate::outcome::{NotSent, Outcome, Unknown};
use crate::record::{Begun, Command, LastToggle, OtherToggle, Ownership, Stage, Unavailable};
use crate::reply::{self, Agent, Before};
use crate::retry::{Backoff, retry};
use crate::wolkvox::{CallReport, QueuedCall};

/// How long the copy that asked is left alone with its button before another copy says that it did not ask.
const OTHER_COPY: Duration = Duration::from_secs(1);

/// How old the toggle before may be for a reply to name it.
const BEFORE: Duration = Duration::from_secs(12 * 60 * 60);
/// How long a log that nobody reads is waited for before the record forgets a command.
const LOG_PATIENCE: Duration = Duration::from_secs(1);
const LOOK_BACKOFF: Backoff = Backoff::new(Duration::from_millis(250), LOOK_PAUSE);
const LOOK_PAUSE: Duration = Duration::from_secs(10);

/// What is to be done for an interaction.
enum Plan {
    /// Say so, and do nothing.
    Refuse { outcome: &'static str, text: String, after: Duration },
    /// Ask first.
    Ask { agent: Agent, conflict: Conflict },
    /// Toggle.
    Toggle(Box<Toggle>, QueuedCall),
    /// Nothing: it is told already as the command of a process that died.
    Leave,
}

/// A toggle on its way.
struct Toggle {
    agent: Agent,
    reservation: Reservation,
    /// As the record has it.
    command: Command,
    /// Whether the record may have it.
    is_recorded: bool,
}

/// How far a command has come in this process: what may be said of it should it break off. What the next process has to
/// know is its [`Stage`] in the record.
#[derive(Default)]
pub(super) struct Progress(Mutex<Milestone>);

#[derive(Clone, Default)]
enum Milestone {
    #[default]
    Unanswered,
    /// The first answer was not accepted, as far as is known, and the audit record of that is being written.
    Unacknowledged,
    /// The person sees "thinking…", and nothing was sent to Wolkvox.
    Acknowledged(Agent),
    /// The call has begun.
    Called(Agent),
    /// The outcome is known, and its audit record is being written.
    Reported(Agent, Outcome),
}

impl Progress {
    fn reach(&self, milestone: Milestone) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = milestone;
    }

    fn latest(&self) -> Milestone {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Carries a command or a press of the button out.
pub(super) async fn execute(context: &Context, interaction: &Interaction, received: Moment, progress: &Progress) {
    match plan(context, interaction, received).await {
        Plan::Refuse { outcome, text, after } => {
            sleep(after).await;
            let answered = respond(context, interaction, &response::private(text), received).await;
            let agent = match interaction.request {
                Request::Mute(Ok(agent)) => Some(agent),
                _ => None,
            };
            audit(interaction, agent, if answered.is_ok() { outcome } else { "unacknowledged" }, None);
        }
        Plan::Ask { agent, conflict } => ask(context, interaction, received, &agent, &conflict).await,
        Plan::Toggle(planned, call) => toggle(context, interaction, received, progress, *planned, call).await,
        Plan::Leave => {
            tracing::info!(interaction_id = %interaction.callback.id, "delivered after it was taken over, left alone");
        }
    }
}

/// Asks whether somebody else's toggle is to be reversed.
async fn ask(context: &Context, interaction: &Interaction, received: Moment, agent: &Agent, conflict: &Conflict) {
    let id = interaction.callback.id;
    context.recent_toggles.ask(id, interaction.user_id, agent.id, conflict.command);
    let _ = context.record.ask(id, interaction.user_id, agent.id, conflict.command).await;
    let text = reply::guarded(interaction.language, agent, conflict);
    let question = response::question(text, id, interaction.language);
    let asked = respond(context, interaction, &question, received).await;
    if let Err(Unacknowledged::Refused(_) | Unacknowledged::Elsewhere) = asked {
        context.recent_toggles.unask(id);
        let _ = context.record.drop_question(id).await;
    }
    audit(interaction, Some(agent.id), if asked.is_ok() { "guarded" } else { "unacknowledged" }, None);
}

/// Up to the first wait for the record, all that is decided here is decided in the order of arrival.
async fn plan(context: &Context, interaction: &Interaction, received: Moment) -> Plan {
    let Context { recent_toggles, record, .. } = context;
    let Interaction { language, user_id, callback, .. } = interaction;
    let refuse = |outcome, text: String| Plan::Refuse { outcome, text, after: Duration::ZERO };
    if let Err(denial) = context.allowlist.check(interaction.guild, interaction.roles.as_deref()) {
        return refuse("denied", reply::denied(*language, denial).to_owned());
    }
    let (agent, consent) = match &interaction.request {
        Request::Mute(Ok(agent)) => (*agent, None),
        Request::Mute(Err(_)) => return refuse("not_sent", reply::invalid_agent(*language)),
        Request::GoOn(question) => match answer(context, *question, *user_id, callback.id).await {
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
    let name = context.directory.as_ref().and_then(|directory| directory.name(agent));
    let agent = Agent { id: agent, name };
    // In the order of arrival, before anything is waited for.
    let conflict = recent_toggles.conflict(agent.id, *user_id, consent);
    let reserve = || recent_toggles.reserve(agent.id, *user_id, callback.id);
    let reservation = conflict.is_none().then(reserve);
    let call = context.wolkvox.queue_call();
    let command = recorded(interaction, &agent, received);
    // The record decides where it answers, since it knows of other processes too.
    let (user, guards) = (*user_id, !recent_toggles.window().is_zero());
    let in_the_way = move |latest: &OtherToggle| guards && stands_in_the_way(latest.command, latest.by, user, consent);
    let begun = record.begin(&command, in_the_way).await;
    let is_recorded = matches!(begun, Ok(Begun::Written) | Err(Unavailable::Late));
    let conflict = match begun {
        Ok(Begun::Written) => None,
        Ok(Begun::InTheWay(latest)) => Some(other_conflict(latest)),
        Ok(Begun::Inherited) => return Plan::Leave,
        Err(_) => conflict,
    };
    let Some(conflict) = conflict else {
        let reservation = reservation.unwrap_or_else(reserve);
        return Plan::Toggle(Box::new(Toggle { agent, reservation, command, is_recorded }), call);
    };
    drop((call, reservation));
    if is_recorded {
        // Only what was written late is there to be taken back.
        let _ = tokio::join!(record.settle_toggle(callback.id, None), record.finish(callback.id));
    }
    Plan::Ask { agent, conflict }
}

fn other_conflict(latest: OtherToggle) -> Conflict {
    let OtherToggle { command, by, since, certainty } = latest;
    Conflict { command, by, ago: since.elapsed().unwrap_or_default(), certainty }
}

/// Takes the answer to a question, which a process may have asked that is gone by now.
async fn answer(
    context: &Context,
    question: InteractionId,
    by: UserId,
    press: InteractionId,
) -> Result<Consent, Stale> {
    let Context { recent_toggles, record, limits, .. } = context;
    let window = limits.question;
    match recent_toggles.answer(question, by) {
        Err(Stale::Unasked) => match record.answer_question(question, by, press, window).await {
            Ok(Some(answer)) => answer,
            Ok(None) | Err(_) => Err(Stale::Unasked),
        },
        answer => {
            // Who takes this process's place has to know that it was answered. Nothing waits for that.
            let record = record.clone();
            tokio::spawn(async move { record.answer_question(question, by, press, window).await });
            answer
        }
    }
}

/// The command as the record has it.
fn recorded(interaction: &Interaction, agent: &Agent, received: Moment) -> Command {
    Command {
        interaction: interaction.callback.id,
        application: interaction.callback.application,
        token: interaction.callback.token.clone(),
        user_id: interaction.user_id,
        user: interaction.user.clone(),
        agent: agent.id,
        agent_name: agent.name.as_ref().map(|name| name.as_str().to_owned()),
        language: interaction.language,
        guild_language: interaction.guild_language,
        received_at: received.wall(),
        stage: Stage::Answering,
    }
}

/// A question that this process does not know of is too old, or from before a restart, or was asked by another copy,
/// which then gets the time to answer.
fn not_asked(context: &Context, question: InteractionId, why: Stale) -> (Stale, Duration) {
    if why != Stale::Unasked {
        return (why, Duration::ZERO);
    }
    let asked = u64::try_from(question.created_at().unix_timestamp()).unwrap_or_default();
    let late = seconds(SystemTime::now()).saturating_sub(asked) >= context.limits.question.as_secs();
    (if late { Stale::Late } else { Stale::Unasked }, OTHER_COPY)
}

/// Acknowledges, toggles if that was accepted in time, and reports what came of it.
async fn toggle(
    context: &Context,
    interaction: &Interaction,
    received: Moment,
    progress: &Progress,
    mut toggle: Toggle,
    call: QueuedCall,
) {
    let Context { rest, limits, stop, record, .. } = context;
    let callback = &interaction.callback;
    let deferred = response::deferred(context.visibility);
    // The place in the queue is given up when the acknowledgement is late, so that nobody behind it waits for that.
    let mut call = Some(call);
    let acknowledged = response::respond(rest, callback, &deferred, received, limits, || drop(call.take())).await;
    let (Ok(()), Some(call)) = (&acknowledged, call) else {
        return unacknowledged(context, interaction, received, progress, toggle, acknowledged).await;
    };
    progress.reach(Milestone::Acknowledged(toggle.agent.clone()));
    tracing::debug!(interaction_id = %callback.id, agent_id = toggle.agent.id.get(), "acknowledged");
    if call.must_wait() {
        toggle.command.stage = Stage::Acknowledged;
        toggle.is_recorded |= !matches!(record.save(&toggle.command).await, Err(Unavailable::NotWritten));
    }
    let send_by = send_by(context, received);
    let report = match call.turn(send_by, stop).await {
        Ok(turn) => {
            let waited = toggle.command.stage == Stage::Acknowledged;
            toggle.command.stage = Stage::Sending;
            let saved = match waited {
                // After a power failure the next start would say of one that waits that nothing has changed.
                true => record.save_for_good(&toggle.command).await,
                false => record.save(&toggle.command).await,
            };
            match saved {
                Ok(Ownership::TakenOver) => return taken_over(interaction),
                // What the record has would say that nothing was sent, should this process die now.
                Err(_) if toggle.is_recorded => turn.give_up(NotSent::NotRecorded),
                Ok(Ownership::Mine) | Err(_) => {
                    progress.reach(Milestone::Called(toggle.agent.clone()));
                    toggle.reservation.call_begins();
                    turn.mute(toggle.agent.id, send_by, stop).await
                }
            }
        }
        Err(report) => report,
    };
    conclude(context, interaction, received, progress, toggle, report).await;
}

/// Writes what came of a command, before anybody is told.
async fn conclude(
    context: &Context,
    interaction: &Interaction,
    received: Moment,
    progress: &Progress,
    toggle: Toggle,
    report: CallReport,
) {
    let Toggle { agent, reservation, mut command, .. } = toggle;
    let certainty = match report.outcome {
        Outcome::Done(_) => Some(Certainty::Done),
        Outcome::Unknown(_) => Some(Certainty::Perhaps),
        Outcome::Rejected(_) | Outcome::NotSent(_) => None,
    };
    let until = reservation.settle(certainty);
    command.stage = Stage::Known(report.clone());
    let before = match context.record.known(&command, certainty.zip(until)).await {
        Ok((Ownership::TakenOver, _)) => return taken_over(interaction),
        Ok((Ownership::Mine, before)) => before,
        Err(_) => None,
    };
    self::report(context, interaction, received, progress, &agent, &report, before.and_then(recent)).await;
}

/// Another process took this one for dead and has told the person: nothing is said that might contradict that.
fn taken_over(interaction: &Interaction) {
    tracing::error!(
        interaction_id = %interaction.callback.id,
        "another copy has taken this command over, so nothing more is done for it here"
    );
}

/// The toggle before this one, if it helps to tell muted from unmuted.
fn recent(before: LastToggle) -> Option<Before> {
    let recent = before.at.elapsed().is_ok_and(|ago| ago < BEFORE);
    recent.then_some(Before { by: before.by.get(), at: seconds(before.at) })
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
    toggle: Toggle,
    why: Result<(), Unacknowledged>,
) {
    let record = &context.record;
    let why = why.err().unwrap_or(Unacknowledged::Late);
    log_unacknowledged(&interaction.callback, &why);
    let id = interaction.callback.id;
    // By another copy with the same record, which then has all that there is to know.
    let known_elsewhere = matches!(record.also_elsewhere(id).await, Ok(true));
    if let Request::GoOn(question) = interaction.request {
        let nothing_came_of_it = match why {
            Unacknowledged::Late => true,
            // Discord does not always tell one that another copy has from one that it does not know.
            Unacknowledged::Refused(_) => !known_elsewhere,
            _ => false,
        };
        if nothing_came_of_it {
            context.recent_toggles.reopen(question);
            let _ = record.reopen_question(question, id).await;
        }
    }
    if let Unacknowledged::Late = why {
        let outcome = Outcome::NotSent(NotSent::AcknowledgedLate);
        let report = CallReport { outcome, queued: received.elapsed(), took: Duration::ZERO };
        return conclude(context, interaction, received, progress, toggle, report).await;
    }
    let Toggle { agent, reservation, .. } = toggle;
    let certainty = match why {
        // Another copy of the bot may be toggling right now.
        Unacknowledged::Elsewhere | Unacknowledged::Somewhere if !known_elsewhere => Some(Certainty::Elsewhere),
        _ => None,
    };
    let until = reservation.settle(certainty);
    let _ = record.settle_toggle(id, certainty.zip(until)).await;
    if !known_elsewhere {
        // Whoever else has it may have toggled.
        let _ = record.forget_last_toggle(agent.id).await;
    }
    progress.reach(Milestone::Unacknowledged);
    audit(interaction, Some(agent.id), "unacknowledged", None);
    if let Unacknowledged::Somewhere | Unacknowledged::Unknown(_) = why {
        look_again(context, interaction, received, reply::unconfirmed(interaction.language, &agent)).await;
    }
    finish(context, id).await;
}

/// A first answer may have been accepted without our learning of it: somebody who still sees "thinking…" after a
/// while is told what is true whoever answers later. Never over an answer that is there, so it is looked before each
/// try.
async fn look_again(context: &Context, interaction: &Interaction, received: Moment, text: String) {
    let Context { rest, limits, stop, record, .. } = context;
    let callback = &interaction.callback;
    // Until then Discord may accept an answer that is on its way.
    sleep(limits.first_answer.saturating_sub(received.elapsed())).await;
    // A bot that stops waits no longer.
    let _ = timeout(limits.look_again.saturating_sub(received.elapsed()), stop.cancelled()).await;
    let tell = || async {
        // Between the look and the edit another copy could tell the outcome, which the edit would then replace.
        if let Ok(true) = record.told_elsewhere(callback.id).await {
            return Ok(());
        }
        if let Original::Thinking = rest.original(callback).await? {
            rest.edit_original(callback, &response::edit(&text)).await?;
            let interaction_id = callback.id;
            tracing::info!(%interaction_id, "still unanswered, so the person was told what is known");
        }
        Ok(())
    };
    let told = until_discord_says(context, received, tell).await;
    if let Err(error) = told {
        let interaction_id = callback.id;
        let why = error_chain(&error);
        tracing::warn!(%interaction_id, "it is not known whether somebody is left on \"thinking…\": {why}");
    }
}

/// Repeats what may be repeated for as long as the interaction's token lives.
async fn until_discord_says<T, F: Future<Output = Result<T, RestError>>>(
    context: &Context,
    received: Moment,
    attempt: impl FnMut() -> F,
) -> Result<T, RestError> {
    let again =
        |error: &RestError| (!error.is_void_token()).then(|| error.transient().unwrap_or_default().min(LOOK_PAUSE));
    let deadline = Instant::now() + received.lenient_deadline(context.limits.delivery).left();
    retry(LOOK_BACKOFF, deadline, attempt, again, |_, _| {}).await
}

/// Tells everybody who is to know: the log, the audit channel, the invoker.
async fn report(
    context: &Context,
    interaction: &Interaction,
    received: Moment,
    progress: &Progress,
    agent: &Agent,
    report: &CallReport,
    before: Option<Before>,
) {
    progress.reach(Milestone::Reported(agent.clone(), report.outcome.clone()));
    publish(context, interaction, received, agent, report);
    let reply = outcome_reply(interaction.language, agent, &report.outcome, before);
    deliver(context, interaction, received, reply, report.outcome.name()).await;
}

/// Tells the log and the audit channel.
fn publish(context: &Context, interaction: &Interaction, received: Moment, agent: &Agent, report: &CallReport) {
    let outcome = &report.outcome;
    audit(interaction, Some(agent.id), outcome.name(), Some(report));
    if let Some(channel) = context.audit_channel.as_ref().filter(|_| outcome.may_have_toggled()) {
        let (language, user) = (interaction.guild_language, interaction.user_id.get());
        channel
            .post(interaction.callback.id, reply::audit_line(language, seconds(received.wall()), user, agent, outcome));
    }
}

fn outcome_reply(language: Language, agent: &Agent, outcome: &Outcome, before: Option<Before>) -> Reply {
    let own_words = reply::outcome_in_own_words(language, agent.id, outcome);
    Reply { text: reply::outcome(language, agent, outcome, before), own_words }
}

/// Tells what is known of a command that broke off.
pub(super) async fn broke_off(context: &Context, interaction: &Interaction, received: Moment, progress: &Progress) {
    let (record, id) = (&context.record, interaction.callback.id);
    let (agent, outcome, audited) = match progress.latest() {
        Milestone::Unanswered => {
            let text = reply::not_sent(interaction.language, NotSent::Fault);
            let text = response::private(text);
            let answered = respond(context, interaction, &text, received);
            // It may be written down as under way.
            let (answered, _) = tokio::join!(answered, record.settle_toggle(id, None));
            audit(interaction, None, if answered.is_ok() { "not_sent" } else { "unacknowledged" }, None);
            finish(context, id).await;
            return;
        }
        Milestone::Unacknowledged => {
            finish(context, id).await;
            return;
        }
        Milestone::Acknowledged(agent) => (agent, Outcome::NotSent(NotSent::Fault), false),
        Milestone::Called(agent) => (agent, Outcome::Unknown(Unknown::Fault), false),
        // This outcome, and no other, may have been told.
        Milestone::Reported(agent, outcome) => (agent, outcome, true),
    };
    if !audited {
        // As the guard counts it here.
        let until = SystemTime::now() + context.recent_toggles.window();
        let toggle = outcome.may_have_toggled().then_some((Certainty::Perhaps, until));
        let _ = record.settle_toggle(id, toggle).await;
        if toggle.is_some() {
            let _ = record.forget_last_toggle(agent.id).await;
        }
        audit(interaction, Some(agent.id), outcome.name(), None);
    }
    // Not in Wolkvox's words: what broke may be what was made of them.
    let own_words = reply::outcome_in_own_words(interaction.language, agent.id, &outcome);
    let reply = Reply { text: own_words.clone(), own_words };
    deliver(context, interaction, received, reply, outcome.name()).await;
}

/// Tells the person of a command that a dead process left open: nothing is sent for it.
pub(super) async fn resume(context: &Context, mut command: Command) {
    let Command { interaction: id, application, agent, .. } = command;
    let void = command.token.expose_secret().is_empty();
    let interaction = Interaction {
        callback: Callback { id, application, token: command.token.clone() },
        guild: None,
        roles: None,
        user_id: command.user_id,
        user: command.user.clone(),
        language: command.language,
        guild_language: command.guild_language,
        request: Request::Mute(Ok(agent)),
    };
    let received = Moment::at(command.received_at);
    let agent = Agent { id: agent, name: command.agent_name.as_deref().and_then(Name::new) };
    let outcome = match &command.stage {
        Stage::Answering => {
            audit(&interaction, Some(agent.id), "unacknowledged", None);
            if !void {
                look_again(context, &interaction, received, reply::interrupted(interaction.language, &agent)).await;
            }
            return finish(context, id).await;
        }
        Stage::Known(report) => {
            return self::report(context, &interaction, received, &Progress::default(), &agent, report, None).await;
        }
        Stage::Acknowledged => Outcome::NotSent(NotSent::Restarted),
        Stage::Sending => Outcome::Unknown(Unknown::Interrupted),
    };
    // The process that died may have told more than it could write down. That stands.
    let look = || context.rest.original(&interaction.callback);
    if !void
        && let Ok(Original::Answered(text)) = until_discord_says(context, received, look).await
        && !reply::leaves_the_outcome_open(&text)
    {
        tracing::info!(interaction_id = %id, "the person was told by the process that ended");
        return finish(context, id).await;
    }
    let report = CallReport::nothing(outcome);
    // Before anybody is told, here too: should this process die next, what it told would look like the first one's.
    command.stage = Stage::Known(report.clone());
    if let Ok(Ownership::TakenOver) = context.record.save(&command).await {
        return taken_over(&interaction);
    }
    self::report(context, &interaction, received, &Progress::default(), &agent, &report, None).await;
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
    let Context { rest, limits, visibility, end, record, .. } = context;
    let callback = &interaction.callback;
    let is_void = callback.token.expose_secret().is_empty();
    // A wall clock that is set meanwhile must not lose a result; whether its token is void Discord knows best.
    let deadline = received.lenient_deadline(limits.delivery);
    let why = tokio::select! {
        biased;
        () = finish(context, callback.id), if is_void => "its 15 minutes are over".to_owned(),
        delivered = response::deliver(rest, callback, &reply, *visibility, deadline, limits) => {
            finish(context, callback.id).await;
            match delivered {
                Ok(()) => return,
                Err(error) => error_chain(&error),
            }
        }
        () = end.cancelled() => {
            if record.outlives_the_process() {
                tracing::info!(interaction_id = %callback.id, outcome, "the next start tells what came of the command");
                return;
            }
            "the bot was stopped".to_owned()
        }
    };
    tracing::error!(
        interaction_id = %callback.id,
        user_id = %interaction.user_id,
        outcome,
        "the person was not told what came of the command: {why}"
    );
}

/// Forgets a command whose audit record is with the log: until that has written it, only the record knows of it.
async fn finish(context: &Context, command: InteractionId) {
    if let Some(log) = &context.log {
        let _ = timeout(LOG_PATIENCE, log.written()).await;
    }
    let _ = context.record.finish(command).await;
}

fn audit(interaction: &Interaction, agent: Option<AgentId>, outcome: &'static str, call: Option<&CallReport>) {
    let entry = audit::Entry {
        interaction: interaction.callback.id,
        user_id: interaction.user_id,
        user: &interaction.user,
        agent,
        outcome,
        code: call.and_then(|call| call.outcome.code()),
        queued: call.map(|call| call.queued).unwrap_or_default(),
        took: call.map(|call| call.took).unwrap_or_default(),
    };
    entry.write();
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
            "it is not known whether Discord accepted the first answer, so nothing was done: {}",
            error_chain(error)
        ),
        Unacknowledged::Refused(error) => tracing::warn!(
            %interaction_id,
            "Discord did not accept the first answer, so nothing was done: {}",
            error_chain(error)
        ),
    }
}

/// Seconds since 1970.
fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default()
}
