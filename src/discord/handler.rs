//! One interaction from its arrival to the last word.
//!
//! Check access, ask the guard, take a place in the queue for the token: all that happens in the order of
//! arrival. Then acknowledge, and only if Discord accepts that, toggle. That order is what makes two running
//! copies, a replayed event and a late delivery harmless.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use serenity::builder::{CreateAllowedMentions, CreateAutocompleteResponse, CreateInteractionResponse, CreateMessage};
use serenity::model::id::{ChannelId, InteractionId};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer::{self, Unacknowledged};
use super::interaction::{Callback, Interaction, Payload, Request};
use super::rest::Rest;
use crate::access::Allowlist;
use crate::agent::AgentId;
use crate::audit;
use crate::config::Visibility;
use crate::directory::Directory;
use crate::guard::{Certainty, Consent, Pass, Previous, Stale, ToggleGuard};
use crate::limits::Limits;
use crate::outcome::{NotSent, Outcome, Unknown};
use crate::reply::{self, Agent};
use crate::wolkvox::{Call, Turn, Wolkvox};

/// How many interactions are remembered, to recognise one that Discord delivers again after a resume.
const REMEMBERED: usize = 1024;
/// How long the copy that asked is left alone with its button before another copy says that it did not ask.
const OTHER_COPY: Duration = Duration::from_secs(1);

/// Handles interactions.
pub struct Handler {
    /// Discord's REST API.
    pub rest: Arc<Rest>,
    /// Wolkvox's API.
    pub wolkvox: Wolkvox,
    /// Who may use the command.
    pub allowlist: Allowlist,
    /// Who toggled what lately.
    pub guard: Arc<ToggleGuard>,
    /// The agents by name, where that is on.
    pub directory: Option<Arc<Directory>>,
    /// Who sees the replies.
    pub visibility: Visibility,
    /// Where toggles are posted too.
    pub audit_channel: Option<ChannelId>,
    /// How long things may take.
    pub limits: Limits,
    /// The commands under way.
    pub tasks: TaskTracker,
    /// Cancelled when the bot stops.
    pub stop: CancellationToken,
    /// The interactions seen lately; empty at first.
    pub seen: Mutex<BTreeSet<InteractionId>>,
}

/// What is to be done for an interaction.
enum Plan {
    /// Say so, and do nothing.
    Refuse { outcome: &'static str, text: String, after: Duration },
    /// Ask first.
    Ask { agent: Agent, previous: Previous },
    /// Toggle.
    Toggle { agent: Agent, pass: Pass, turn: Turn },
}

impl Handler {
    /// Takes in an interaction. Returns at once; the rest happens in a task. A panic stays with the interaction
    /// that caused it.
    pub fn dispatch(self: &Arc<Self>, payload: serde_json::Result<Payload<'_>>) {
        if catch_unwind(AssertUnwindSafe(|| self.take_in(payload))).is_err() {
            tracing::error!("an interaction broke off before it could be answered");
        }
    }

    fn take_in(self: &Arc<Self>, payload: serde_json::Result<Payload<'_>>) {
        let received = Instant::now();
        let interaction = match Interaction::understand(payload) {
            Ok(interaction) => interaction,
            Err(why) => {
                tracing::warn!("an interaction was left alone because it can't be understood: {why}");
                return;
            }
        };
        if !self.first_sight(interaction.callback.id) {
            tracing::debug!(interaction_id = %interaction.callback.id, "delivered again, left alone");
            return;
        }
        let handler = self.clone();
        if let Request::Suggest(typed) = &interaction.request {
            let typed = typed.clone();
            self.tasks.spawn(async move { handler.suggest(&interaction, &typed, received).await });
        } else {
            let plan = catch_unwind(AssertUnwindSafe(|| self.plan(&interaction)));
            let plan = plan.unwrap_or_else(|_| broken(&interaction));
            // Boxed, because a task's future is copied several times while it is spawned and when it ends.
            self.tasks.spawn(Box::pin(async move {
                let id = interaction.callback.id;
                if AssertUnwindSafe(handler.follow(plan, interaction, received)).catch_unwind().await.is_err() {
                    tracing::error!(interaction_id = %id, "the answer broke off");
                }
            }));
        }
    }

    fn first_sight(&self, interaction: InteractionId) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let first = seen.insert(interaction);
        if seen.len() > REMEMBERED {
            // Ids grow with time, so the first is the oldest.
            seen.pop_first();
        }
        first
    }

    fn plan(&self, interaction: &Interaction) -> Plan {
        let Interaction { language, user_id, callback, .. } = interaction;
        let refuse = |outcome, text: String| Plan::Refuse { outcome, text, after: Duration::ZERO };
        if let Err(denial) = self.allowlist.check(interaction.guild, interaction.roles.as_deref()) {
            return refuse("denied", reply::denied(*language, denial).to_owned());
        }
        let (agent, consent) = match &interaction.request {
            Request::Mute(Ok(agent)) => (*agent, None),
            Request::Mute(Err(_)) => return refuse("not_sent", reply::invalid_agent(*language)),
            Request::GoOn(question) => match self.guard.answer(*question, *user_id) {
                Ok(consent @ Consent { agent, .. }) => (agent, Some(consent)),
                Err(why) => {
                    let (why, after) = self.not_asked(*question, why);
                    let text = reply::stale(*language, why).to_owned();
                    return Plan::Refuse { outcome: "denied", text, after };
                }
            },
            // Not commands; they are handled elsewhere.
            Request::Suggest(_) => return refuse("denied", String::new()),
        };
        match self.guard.enter(agent, *user_id, callback.id, consent) {
            Ok(pass) => Plan::Toggle { agent: self.named(agent), pass, turn: self.wolkvox.turn() },
            Err(previous) => {
                self.guard.ask(callback.id, *user_id, agent, previous.command);
                Plan::Ask { agent: self.named(agent), previous }
            }
        }
    }

    /// A question that this process does not know of is too old, or from before a restart, or was asked by
    /// another copy, which then gets the time to answer.
    fn not_asked(&self, question: InteractionId, why: Stale) -> (Stale, Duration) {
        if why != Stale::Unasked {
            return (why, Duration::ZERO);
        }
        let asked = u64::try_from(question.created_at().unix_timestamp()).unwrap_or_default();
        let late = unix_time().saturating_sub(asked) >= self.limits.question.as_secs();
        (if late { Stale::Late } else { Stale::Unasked }, OTHER_COPY)
    }

    fn named(&self, id: AgentId) -> Agent {
        Agent { id, name: self.directory.as_ref().and_then(|directory| directory.name(id)) }
    }

    async fn follow(&self, plan: Plan, interaction: Interaction, received: Instant) {
        let deadline = received + self.limits.first_answer;
        match plan {
            Plan::Refuse { outcome, text, after } => {
                sleep(after).await;
                let answered = self.respond(&interaction, &answer::private(text), deadline).await;
                self.audit_refusal(&interaction, None, if answered { outcome } else { "unacknowledged" });
            }
            Plan::Ask { agent, previous } => {
                let text = reply::guarded(interaction.language, &agent, &previous);
                let question = answer::question(text, interaction.callback.id, interaction.language);
                let asked = self.respond(&interaction, &question, deadline).await;
                if !asked {
                    self.guard.unask(interaction.callback.id);
                }
                let outcome = if asked { "guarded" } else { "unacknowledged" };
                self.audit_refusal(&interaction, Some(agent.id), outcome);
            }
            Plan::Toggle { agent, pass, turn } => {
                // A panic ends here, with an answer. The call itself has a boundary of its own, so if
                // anything broke outside it, nothing was sent.
                let call = AssertUnwindSafe(self.carry_out(&interaction, agent.id, pass, turn, received));
                let call = call.catch_unwind().await.unwrap_or_else(|_| {
                    tracing::error!(interaction_id = %interaction.callback.id, "the command broke off");
                    let outcome = Outcome::NotSent(NotSent::Fault);
                    Some(Call { outcome, wait: Duration::ZERO, call: Duration::ZERO })
                });
                let Some(call) = call else {
                    self.audit_refusal(&interaction, Some(agent.id), "unacknowledged");
                    return;
                };
                let concluded = AssertUnwindSafe(self.conclude(&interaction, &agent, call, received));
                if concluded.catch_unwind().await.is_err() {
                    let text = reply::outcome(interaction.language, &agent, &Outcome::Unknown(Unknown::Fault));
                    self.deliver(&interaction, text, received).await;
                }
            }
        }
    }

    /// Acknowledges, and toggles if that was accepted; `None` if not.
    async fn carry_out(
        &self,
        interaction: &Interaction,
        agent: AgentId,
        pass: Pass,
        turn: Turn,
        received: Instant,
    ) -> Option<Call> {
        let Interaction { callback, .. } = interaction;
        let deferred = answer::deferred(self.visibility);
        let deadline = received + self.limits.first_answer;
        if let Err(why) = answer::respond(&self.rest, callback, &deferred, deadline).await {
            log_unacknowledged(callback, &why);
            match (why, &interaction.request) {
                // Another copy of the bot may be toggling right now: that counts for the guard.
                (Unacknowledged::Elsewhere, _) => pass.toggled(Certainty::Elsewhere),
                (Unacknowledged::Refused(_), Request::GoOn(question)) => self.guard.reopen(*question),
                (Unacknowledged::Refused(_), _) => {}
            }
            return None;
        }
        tracing::debug!(interaction_id = %callback.id, agent_id = agent.get(), "acknowledged");
        let call = turn.mute(agent, received + self.limits.queue, &self.stop).await;
        match call.outcome {
            Outcome::Done(_) => pass.toggled(Certainty::Done),
            Outcome::Unknown(_) => pass.toggled(Certainty::Perhaps),
            Outcome::Rejected(_) | Outcome::NotSent(_) => drop(pass),
        }
        Some(call)
    }

    /// Tells everybody who is to know: the log, the audit channel, the invoker.
    async fn conclude(&self, interaction: &Interaction, agent: &Agent, call: Call, received: Instant) {
        self.audit(interaction, Some(agent.id), call.outcome.name(), Some(&call));
        if call.outcome.may_have_toggled() {
            self.post_to_audit_channel(interaction, agent, &call.outcome);
        }
        self.deliver(interaction, reply::outcome(interaction.language, agent, &call.outcome), received).await;
    }

    async fn deliver(&self, interaction: &Interaction, text: String, received: Instant) {
        let (callback, deadline) = (&interaction.callback, received + self.limits.delivery);
        if let Err(error) = answer::deliver(&self.rest, callback, text, deadline).await {
            tracing::error!(
                interaction_id = %callback.id,
                "the person was not told what came of the command: {error}"
            );
        }
    }

    async fn respond(
        &self,
        interaction: &Interaction,
        response: &CreateInteractionResponse,
        deadline: Instant,
    ) -> bool {
        let answered = answer::respond(&self.rest, &interaction.callback, response, deadline).await;
        answered.inspect_err(|why| log_unacknowledged(&interaction.callback, why)).is_ok()
    }

    /// Suggestions are for those who may use the command; all others get none, and cause no call.
    async fn suggest(&self, interaction: &Interaction, typed: &str, received: Instant) {
        let allowed = self.allowlist.check(interaction.guild, interaction.roles.as_deref()).is_ok();
        let mut suggestions = CreateAutocompleteResponse::new();
        if let Some(directory) = self.directory.as_ref().filter(|_| allowed) {
            for (id, name) in directory.suggest(typed) {
                // At most ten digits, so it always fits.
                let value = i64::try_from(id.get()).unwrap_or_default();
                suggestions = suggestions.add_int_choice(reply::choice(&name, id), value);
            }
        }
        let response = CreateInteractionResponse::Autocomplete(suggestions);
        self.respond(interaction, &response, received + self.limits.first_answer).await;
    }

    fn audit_refusal(&self, interaction: &Interaction, agent: Option<AgentId>, outcome: &'static str) {
        let asked_for = match interaction.request {
            Request::Mute(Ok(agent)) => Some(agent),
            _ => None,
        };
        self.audit(interaction, agent.or(asked_for), outcome, None);
    }

    fn audit(&self, interaction: &Interaction, agent: Option<AgentId>, outcome: &'static str, call: Option<&Call>) {
        let record = audit::Record {
            interaction: interaction.callback.id,
            user_id: interaction.user_id,
            user: &interaction.user,
            agent,
            outcome,
            code: call.and_then(|call| call.outcome.code()),
            wait: call.map(|call| call.wait).unwrap_or_default(),
            call: call.map(|call| call.call).unwrap_or_default(),
        };
        record.write();
    }

    fn post_to_audit_channel(&self, interaction: &Interaction, agent: &Agent, outcome: &Outcome) {
        let Some(channel) = self.audit_channel else { return };
        let (language, user) = (interaction.guild_language, interaction.user_id.get());
        let line = reply::audit_line(language, unix_time(), user, agent, outcome);
        let message = CreateMessage::new().content(line).allowed_mentions(CreateAllowedMentions::new());
        let (rest, interaction) = (self.rest.clone(), interaction.callback.id);
        self.tasks.spawn(async move {
            if let Err(error) = rest.post_message(channel, &message).await {
                tracing::warn!(
                    interaction_id = %interaction,
                    "the toggle was not posted to AUDIT_CHANNEL_ID: {error}"
                );
            }
        });
    }
}

/// What is said where nothing was sent because of a fault of our own.
fn broken(interaction: &Interaction) -> Plan {
    tracing::error!(interaction_id = %interaction.callback.id, "the command broke off");
    let text = reply::not_sent(interaction.language, NotSent::Fault).to_owned();
    Plan::Refuse { outcome: "not_sent", text, after: Duration::ZERO }
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
