//! `/mute` and the button under its question: admit → acknowledge → call → tell.
//!
//! [`admit`] decides in the order of arrival. Then Discord is told "working on it", and only if it accepts that, Wolkvox
//! is called: that order is what makes two running copies, a replayed event and a late delivery harmless. The table in
//! [`crate::command`] says what holds when it ends in between.

use std::time::{Duration, SystemTime};

use serenity::builder::{CreateAutocompleteResponse, CreateInteractionResponse};
use serenity::model::id::InteractionId;
use tokio::time::{sleep, timeout};

use super::Context;
use super::error::RestError;
use super::interaction::{Interaction, Request};
use super::response::{self, Reply};
use super::rest::Original;
use crate::agent::{Agent, AgentId};
use crate::audit;
use crate::clock::{Deadline, Moment};
use crate::command::{Before, Breakdown, Command, Entry, Phase};
use crate::directory::Found;
use crate::journal::Stored;
use crate::language::Language;
use crate::ledger::{Conflict, Stale, Ticket};
use crate::net::error_chain;
use crate::outcome::{NotSent, Outcome};
use crate::reply;
use crate::retry::{Backoff, retry};
use crate::wolkvox::{CallReport, QueuedCall};

/// How long the copy that asked is left alone with its button before another copy says that it did not ask.
const OTHER_COPY: Duration = Duration::from_secs(1);
/// The pauses between looks at what the person sees.
const LOOK_BACKOFF: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(30));

/// A command after [`admit`].
pub(super) enum Admitted {
    /// The person is told why not, after a while.
    Refused { text: String, outcome: &'static str, after: Duration },
    /// The person is asked first.
    Asked(Ticket, Conflict),
    /// It has a place in the queue for the token.
    Queued(Ticket, QueuedCall),
}

/// A command whose first answer Discord accepted.
struct Acknowledged {
    number: u64,
    command: Command,
    call: QueuedCall,
}

/// A command whose outcome is known, and written down.
struct Decided {
    number: u64,
    command: Command,
    report: CallReport,
    before: Option<Before>,
}

impl Admitted {
    /// The number in the ledger.
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Refused { .. } => None,
            Self::Asked(ticket, _) | Self::Queued(ticket, _) => Some(ticket.number),
        }
    }
}

/// Decides what happens with a command. Called in the order of arrival, and waits for nothing.
pub(super) fn admit(context: &Context, interaction: &Interaction, received: Moment) -> Admitted {
    let Context { ledger, .. } = context;
    let Interaction { language, user_id, callback, .. } = interaction;
    let refuse = |outcome, text: &str| Admitted::Refused { text: text.to_owned(), outcome, after: Duration::ZERO };
    if let Err(denial) = context.allowlist.check(interaction.guild, interaction.roles.as_deref()) {
        return refuse("denied", reply::denied(*language, denial));
    }
    if context.stop.is_cancelled() {
        return refuse("not_sent", reply::not_sent(*language, NotSent::Restarting));
    }
    let (agent, consent) = match &interaction.request {
        Request::Mute(typed) => match find(context, *language, typed) {
            Ok(agent) => (agent, None),
            Err(text) => return refuse("not_sent", &text),
        },
        Request::GoOn(question) => match ledger.consent(*question, *user_id) {
            Ok(consent) => (consent.agent.clone(), Some(consent)),
            Err(why) => {
                let (why, after) = not_asked(context, *question, why);
                return Admitted::Refused { text: reply::stale(*language, why).to_owned(), outcome: "denied", after };
            }
        },
        // Not a command: the handler routes it elsewhere.
        Request::Suggest(_) => return refuse("denied", ""),
    };
    let command = Command {
        callback: callback.clone(),
        user_id: *user_id,
        user: interaction.user.clone(),
        agent,
        language: *language,
        guild_language: interaction.guild_language,
        received,
        answers: None,
    };
    match ledger.admit(command, consent.as_ref()) {
        (ticket, Some(conflict)) => Admitted::Asked(ticket, conflict),
        (ticket, None) => Admitted::Queued(ticket, context.wolkvox.queue_call()),
    }
}

/// The agent that was typed, never on a guess; otherwise what the person is told.
fn find(context: &Context, language: Language, typed: &str) -> Result<Agent, String> {
    let Some(directory) = &context.directory else {
        let id = AgentId::parse(typed).ok_or_else(|| reply::invalid_agent(language))?;
        return Ok(Agent { id, name: None, is_unlisted: false });
    };
    match directory.find(typed) {
        Found::Agent(id) => Ok(Agent { id, name: directory.name(id), is_unlisted: directory.lists(id) == Some(false) }),
        Found::Several(agents) => Err(reply::several_agents(language, &agents)),
        Found::None if !typed.contains(char::is_alphabetic) => Err(reply::invalid_agent(language)),
        Found::None if directory.is_read() => Err(reply::no_agent(language)),
        Found::None => Err(reply::no_names_yet(language)),
    }
}

/// A question that this process does not know of is too old, or from before a restart, or was asked by another copy,
/// which then gets the time to answer.
fn not_asked(context: &Context, question: InteractionId, why: Stale) -> (Stale, Duration) {
    if why != Stale::Unasked {
        return (why, Duration::ZERO);
    }
    let asked = u64::try_from(question.created_at().unix_timestamp()).unwrap_or_default();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let late = now.saturating_sub(asked) >= context.limits.question.as_secs();
    (if late { Stale::Late } else { Stale::Unasked }, OTHER_COPY)
}

/// Carries a command out, from its first answer to the last word.
pub(super) async fn carry_out(context: &Context, interaction: &Interaction, received: Moment, admitted: Admitted) {
    match admitted {
        Admitted::Refused { text, outcome, after } => {
            sleep(after).await;
            let answer = response::private(text);
            let answered = response::respond(&context.rest, &interaction.callback, &answer, received, &context.limits);
            let agent = match &interaction.request {
                Request::Mute(typed) => AgentId::parse(typed),
                _ => None,
            };
            let outcome = if answered.await.is_ok() { outcome } else { "unacknowledged" };
            let (user_id, user) = (interaction.user_id, &interaction.user);
            audit::Entry { interaction: interaction.callback.id, user_id, user, agent, outcome, call: None }.write();
        }
        Admitted::Asked(ticket, conflict) => ask(context, ticket, &conflict).await,
        Admitted::Queued(ticket, call) => {
            let Some(acknowledged) = acknowledge(context, ticket, call).await else { return };
            let decided = self::call(context, acknowledged).await;
            tell(context, decided).await;
        }
    }
}

/// Asks whether somebody else's toggle is to be reversed.
async fn ask(context: &Context, ticket: Ticket, conflict: &Conflict) {
    let Ticket { number, command, admitted } = ticket;
    let Command { callback, language, received, .. } = &command;
    admitted.stored().await;
    let text = reply::guarded(*language, &command.agent, conflict);
    let question = response::question(text, callback.id, *language);
    let asked = response::respond(&context.rest, callback, &question, *received, &context.limits).await;
    if asked.is_err() {
        context.ledger.not_accepted(number);
    }
    audit(&command, if asked.is_ok() { "guarded" } else { "unacknowledged" }, None);
}

/// Tells Discord "working on it". Nothing is sent to Wolkvox unless that is accepted, for whatever reason it is not.
async fn acknowledge(context: &Context, ticket: Ticket, call: QueuedCall) -> Option<Acknowledged> {
    let Ticket { number, command, admitted } = ticket;
    admitted.stored().await;
    let deferred = response::deferred(context.visibility);
    let accepted = response::respond(&context.rest, &command.callback, &deferred, command.received, &context.limits);
    if let Err(error) = accepted.await {
        // Nobody behind it waits for what follows.
        drop(call);
        context.ledger.not_accepted(number);
        let interaction_id = command.callback.id;
        tracing::warn!(%interaction_id, "the first answer was not accepted, so nothing was sent: {}", error_chain(&error));
        audit(&command, "unacknowledged", None);
        let text = reply::unconfirmed(command.language, &command.agent);
        look_again(context, number, &command, &text).await;
        return None;
    }
    if call.must_wait() {
        // Not awaited: if this is lost, the phase before it stands for it, and the call is awaited in any case.
        drop(context.ledger.advance(number, Phase::Waiting));
    }
    tracing::debug!(interaction_id = %command.callback.id, agent_id = command.agent.id.get(), "acknowledged");
    Some(Acknowledged { number, command, call })
}

/// Calls Wolkvox, once, when it is the command's turn.
async fn call(context: &Context, Acknowledged { number, command, call }: Acknowledged) -> Decided {
    let Context { ledger, stop, .. } = context;
    let send_by = send_by(context, command.received);
    let report = match call.turn(send_by, stop).await {
        Err(report) => report,
        Ok(turn) => match ledger.advance(number, Phase::Calling).stored().await {
            Stored::Written | Stored::Nothing => turn.mute(command.agent.id, send_by, stop).await,
            // The next process would say that nothing was sent.
            Stored::Earlier => turn.give_up(NotSent::NotRecorded),
        },
    };
    let (written, before) = ledger.decide(number, report.outcome.clone());
    written.stored().await;
    Decided { number, command, report, before }
}

/// What is sent by then can still be told: a result needs some of the interaction's 15 minutes.
fn send_by(context: &Context, received: Moment) -> Deadline {
    let Context { limits, wolkvox, .. } = context;
    let last = limits.delivery.saturating_sub(wolkvox.longest_exchange() + limits.telling);
    received.deadline(limits.queue.min(last))
}

/// Tells the log and the person. The audit channel is told beside this.
async fn tell(context: &Context, Decided { number, command, report, before }: Decided) {
    audit(&command, report.outcome.name(), Some(&report));
    let text = reply::outcome(command.language, &command.agent, &report.outcome, before);
    deliver(context, number, &command, &report.outcome, text).await;
}

/// Puts the outcome into the place of "thinking…".
async fn deliver(context: &Context, number: u64, command: &Command, outcome: &Outcome, text: String) {
    let Context { ledger, end, .. } = context;
    let own_words = reply::outcome_in_own_words(command.language, command.agent.id, outcome);
    let reply = Reply { text, own_words };
    let interaction_id = command.callback.id;
    let why = tokio::select! {
        biased;
        delivered = response::deliver(context, command, &reply) => {
            ledger.release(number);
            match delivered {
                Ok(()) => return,
                Err(error) => error_chain(&error),
            }
        }
        () = end.cancelled() => {
            if ledger.outlives_the_process() {
                let outcome = outcome.name();
                return tracing::info!(%interaction_id, outcome, "the next start tells the outcome of the command");
            }
            "the bot was stopped".to_owned()
        }
    };
    let (user_id, outcome) = (command.user_id, outcome.name());
    tracing::error!(%interaction_id, %user_id, outcome, "the person was not told the outcome of the command: {why}");
}

/// Tells the person of a command that nobody carries out any more: its task panicked, or its process ended. Nothing is
/// sent to Wolkvox for it.
pub(super) async fn recover(context: &Context, entry: Entry, breakdown: Breakdown) {
    let Entry { number, command, phase } = entry;
    let Phase::Decided { outcome, before, .. } = phase else {
        audit(&command, "unacknowledged", None);
        let text = reply::interrupted(command.language, &command.agent);
        return look_again(context, number, &command, &text).await;
    };
    if outcome.is_verdict() || breakdown == Breakdown::Restart {
        audit(&command, outcome.name(), None);
    }
    // A process whose disk was full may have told more than it could write down. That stands.
    let look = || context.rest.original(&command.callback);
    if outcome.is_verdict()
        && let Ok(Original::Answered(text)) = until_discord_says(context, &command, look).await
        && !reply::leaves_the_outcome_open(&text)
    {
        tracing::info!(interaction_id = %command.callback.id, "the person was told by the process that ended");
        return context.ledger.release(number);
    }
    let text = match breakdown {
        Breakdown::Restart => reply::outcome(command.language, &command.agent, &outcome, before),
        // What broke may be the text that was made of Wolkvox's words.
        Breakdown::Panic => reply::outcome_in_own_words(command.language, command.agent.id, &outcome),
    };
    deliver(context, number, &command, &outcome, text).await;
}

/// Discord may have accepted a first answer without our learning of it: a person who still sees "thinking…" after a
/// while reads what is true whichever copy answers later. Never over an answer that is there.
async fn look_again(context: &Context, number: u64, command: &Command, text: &str) {
    let Context { rest, limits, stop, ledger, end, .. } = context;
    let Command { callback, received, .. } = command;
    // Until then Discord may accept an answer that is on its way.
    sleep(limits.first_answer.saturating_sub(received.elapsed())).await;
    // A bot that stops waits no longer.
    let _ = timeout(limits.look_again.saturating_sub(received.elapsed()), stop.cancelled()).await;
    let interaction_id = callback.id;
    let tell = || async {
        if let Original::Thinking = rest.original(callback).await? {
            rest.edit_original(callback, &response::edit(text)).await?;
            tracing::info!(%interaction_id, "still unanswered, so the person was told what is known");
        }
        Ok(())
    };
    let told = tokio::select! {
        biased;
        told = until_discord_says(context, command, tell) => told,
        () = end.cancelled() => {
            return tracing::warn!(%interaction_id, "the bot was stopped before it knew whether a person still waits");
        }
    };
    if let Err(error) = told {
        let why = error_chain(&error);
        tracing::warn!(%interaction_id, "it is not known whether a person still sees \"thinking…\": {why}");
    }
    ledger.release(number);
}

/// Retries for as long as the interaction's token lives.
async fn until_discord_says<T, F: Future<Output = Result<T, RestError>>>(
    context: &Context,
    command: &Command,
    attempt: impl FnMut() -> F,
) -> Result<T, RestError> {
    let again = |error: &RestError| Some(error.least_pause());
    retry(LOOK_BACKOFF, command.received.after(context.limits.delivery), attempt, again).await
}

/// Suggestions are for those who may use the command; all others get none, and cause no call.
pub(super) async fn suggest(context: &Context, interaction: &Interaction, received: Moment) {
    let Request::Suggest(typed) = &interaction.request else { return };
    let allowed = context.allowlist.check(interaction.guild, interaction.roles.as_deref()).is_ok();
    let mut suggestions = CreateAutocompleteResponse::new();
    if let Some(directory) = context.directory.as_ref().filter(|_| allowed) {
        for (id, name) in directory.suggest(typed) {
            suggestions = suggestions.add_string_choice(reply::choice(name.as_ref(), id), id.to_string());
        }
    }
    let suggestions = CreateInteractionResponse::Autocomplete(suggestions);
    // The next ones come with the next keystroke.
    let _ = response::respond(&context.rest, &interaction.callback, &suggestions, received, &context.limits).await;
}

fn audit(command: &Command, outcome: &'static str, call: Option<&CallReport>) {
    let Command { callback, user_id, user, agent, .. } = command;
    audit::Entry { interaction: callback.id, user_id: *user_id, user, agent: Some(agent.id), outcome, call }.write();
}
