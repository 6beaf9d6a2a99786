//! Two supervisors, one agent: the second is asked before the first one's toggle is reversed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serenity::model::id::{InteractionId, UserId};

use crate::agent::AgentId;
use crate::clock::{Deadline, Moment};

/// How much longer a toggle counts that another copy of the bot may be carrying out: Wolkvox's own limit for
/// a call is 60 s.
const ELSEWHERE: Duration = Duration::from_secs(60);

/// Remembers who toggled which agent lately, and who was asked whether to go on. What counts no more is removed when
/// the next command comes.
pub struct RecentToggles {
    window: Duration,
    question_window: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    toggles: HashMap<AgentId, Vec<Toggle>>,
    questions: HashMap<InteractionId, Question>,
}

struct Toggle {
    command: InteractionId,
    by: UserId,
    since: Moment,
    /// When it stops to count; `None` while it is under way.
    until: Option<Deadline>,
    certainty: Certainty,
}

/// How much is known of a toggle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// It waits or is being carried out.
    UnderWay,
    /// Wolkvox said that it was carried out.
    Done,
    /// It may have been carried out.
    Perhaps,
    /// Another copy of the bot may be carrying it out.
    Elsewhere,
}

struct Question {
    to: UserId,
    agent: AgentId,
    about: InteractionId,
    asked: Moment,
    answered: bool,
}

/// Somebody else's toggle that a command would reverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The command that toggled.
    pub command: InteractionId,
    /// Who gave it.
    pub by: UserId,
    /// How long ago.
    pub ago: Duration,
    /// Whether it was carried out.
    pub certainty: Certainty,
}

/// The permission to toggle, which counts as a toggle under way for as long as it lives.
pub struct Reservation {
    toggles: Arc<RecentToggles>,
    agent: AgentId,
    command: InteractionId,
    /// What it leaves behind when it is dropped: a toggle, or nothing.
    leaves: Option<Certainty>,
}

/// "Go on", said to one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consent {
    /// The agent that the question was about.
    pub agent: AgentId,
    /// The toggle that may be reversed.
    pub reverses: InteractionId,
}

/// Why a press of the button does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// It was pressed before.
    Used,
    /// Its time is over.
    Late,
    /// Somebody else was asked.
    NotYours,
    /// This process did not ask: it was restarted since, or another copy asked.
    Unasked,
}

/// Whether the latest toggle, by the command of `other`, keeps `by` from toggling without a question.
pub fn stands_in_the_way(command: InteractionId, other: UserId, by: UserId, consent: Option<Consent>) -> bool {
    other != by && consent.is_none_or(|consent| consent.reverses != command)
}

impl RecentToggles {
    /// Remembers toggles for `window` (zero remembers none) and questions for `question_window`.
    pub fn new(window: Duration, question_window: Duration) -> Arc<Self> {
        Arc::new(Self { window, question_window, state: Mutex::default() })
    }

    /// The toggle that stands in the way. The latest one decides: one's own may be reversed without a question, another
    /// supervisor's only with a consent that names it.
    pub fn conflict(&self, agent: AgentId, by: UserId, consent: Option<Consent>) -> Option<Conflict> {
        let mut state = self.state();
        state.remove_expired(self.question_window);
        let Toggle { command, by: other, since, certainty, .. } = *state.toggles.get(&agent)?.last()?;
        let conflict = Conflict { command, by: other, ago: since.elapsed(), certainty };
        stands_in_the_way(command, other, by, consent).then_some(conflict)
    }

    /// Counts a toggle as under way, for as long as what is returned lives.
    pub fn reserve(self: &Arc<Self>, agent: AgentId, by: UserId, command: InteractionId) -> Reservation {
        if !self.window.is_zero() {
            let (since, certainty) = (Moment::now(), Certainty::UnderWay);
            let toggle = Toggle { command, by, since, until: None, certainty };
            self.state().toggles.entry(agent).or_default().push(toggle);
        }
        Reservation { toggles: self.clone(), agent, command, leaves: None }
    }

    /// Remembers that `to` is asked, by the answer to `command`, whether to go on.
    pub fn ask(&self, command: InteractionId, to: UserId, agent: AgentId, about: InteractionId) {
        let question = Question { to, agent, about, asked: Moment::now(), answered: false };
        self.state().questions.insert(command, question);
    }

    /// Takes a question back that nobody got to see.
    pub fn unask(&self, command: InteractionId) {
        self.state().questions.remove(&command);
    }

    /// Makes the button work again: the press was not accepted by Discord, so nothing came of it.
    pub fn reopen(&self, command: InteractionId) {
        if let Some(question) = self.state().questions.get_mut(&command) {
            question.answered = false;
        }
    }

    /// Takes the answer "go on" to the question that `command` was answered with. It can be taken once.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn answer(&self, command: InteractionId, by: UserId) -> Result<Consent, Stale> {
        let mut state = self.state();
        let question = state.questions.get_mut(&command).ok_or(Stale::Unasked)?;
        if question.to != by {
            Err(Stale::NotYours)
        } else if question.answered {
            Err(Stale::Used)
        } else if question.asked.elapsed() >= self.question_window {
            Err(Stale::Late)
        } else {
            question.answered = true;
            Ok(Consent { agent: question.agent, reverses: question.about })
        }
    }

    /// For how long a toggle counts; zero where none does.
    pub fn window(&self) -> Duration {
        self.window
    }

    fn counts_for(&self, certainty: Certainty) -> Duration {
        self.window + if certainty == Certainty::Elsewhere { ELSEWHERE } else { Duration::ZERO }
    }

    /// No panic happens while the state is held, and if one did, the state would still be whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove_expired(&mut self, question_window: Duration) {
        for toggles in self.toggles.values_mut() {
            toggles.retain(|toggle| !toggle.until.is_some_and(Deadline::is_over));
        }
        self.toggles.retain(|_, toggles| !toggles.is_empty());
        self.questions.retain(|_, question| question.asked.elapsed() < question_window);
    }
}

impl Reservation {
    /// From now on the toggle may have been carried out, should nobody say more of it.
    pub fn call_begins(&mut self) {
        self.leaves = Some(Certainty::Perhaps);
    }

    /// What is known of the toggle: it was carried out or may have been, and counts from now on, or it was not, as if it
    /// had never been. What happens in another copy takes some time yet. Returns until when it counts.
    pub fn settle(mut self, certainty: Option<Certainty>) -> Option<SystemTime> {
        self.leaves = certainty;
        certainty.map(|certainty| SystemTime::now() + self.toggles.counts_for(certainty))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = self.toggles.state();
        let Some(toggles) = state.toggles.get_mut(&self.agent) else { return };
        match self.leaves {
            None => toggles.retain(|toggle| toggle.command != self.command),
            Some(certainty) => {
                let now = Moment::now();
                let until = Some(now.deadline(self.toggles.counts_for(certainty)));
                for toggle in toggles.iter_mut().filter(|toggle| toggle.command == self.command) {
                    (toggle.since, toggle.until, toggle.certainty) = (now, until, certainty);
                }
            }
        }
    }
}
