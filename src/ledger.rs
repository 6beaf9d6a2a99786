//! All commands that still matter, in memory, in the order in which they were admitted. Everything is decided here, at
//! once; the [`Journal`] echoes it for the next process.

use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use secrecy::SecretString;
use serenity::model::id::{InteractionId, UserId};
use tokio::sync::Notify;

use crate::agent::{Agent, AgentId};
use crate::clock::Moment;
use crate::command::{Before, Breakdown, Command, Entry, Phase, Standing};
use crate::journal::{Journal, Write};
use crate::outcome::Outcome;

/// How many lines may wait for the audit channel.
const UNPOSTED: usize = 1000;
/// How often all agents are looked through for entries that matter to nobody any more.
const SWEEP: Duration = Duration::from_secs(60);

pub struct Ledger {
    /// For how long the guard asks after a toggle; zero asks nobody.
    window: Duration,
    /// For how long a question can be answered.
    question: Duration,
    /// Whether outcomes are posted to an audit channel.
    posts: bool,
    journal: Journal,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    last: u64,
    /// By their numbers.
    entries: BTreeMap<u64, Entry>,
    /// The numbers of each agent's entries, in their order.
    of_agents: HashMap<AgentId, Vec<u64>>,
    /// When all agents were last looked through for entries that matter to nobody any more.
    swept: Instant,
}

/// A command's place in the ledger.
pub struct Ticket {
    pub number: u64,
    pub command: Command,
    /// That it was admitted is being written.
    pub admitted: Write,
}

/// Another supervisor's toggle that a command would reverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub command: InteractionId,
    pub by: UserId,
    /// How long ago it was done, or asked for where it is not known to be done.
    pub ago: Duration,
    pub standing: Standing,
}

/// "Toggle anyway", said to one question.
#[derive(Clone, Debug)]
pub struct Consent {
    pub question: InteractionId,
    pub agent: Agent,
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
    /// This process knows of no such question: it was restarted without a file, or another copy asked.
    Unasked,
}

impl Ledger {
    /// Begins with what an earlier process left in the file. Its commands that nobody carries out any more are decided.
    pub fn new(journal: Journal, left: Vec<Entry>, (window, question): (Duration, Duration), posts: bool) -> Self {
        let numbers: Vec<u64> = left.iter().map(|entry| entry.number).collect();
        let mut state = State { last: 0, entries: BTreeMap::new(), of_agents: HashMap::new(), swept: Instant::now() };
        left.into_iter().for_each(|entry| state.insert(entry));
        let ledger = Self { window, question, posts, journal, state: Mutex::new(state), changed: Notify::new() };
        numbers.into_iter().for_each(|number| drop(ledger.interrupt(number, Breakdown::Restart)));
        ledger.sweep(&mut ledger.state());
        ledger
    }

    /// The commands whose persons may be waiting, with their outcomes where these are known.
    pub fn open(&self) -> Vec<Entry> {
        self.state().entries.values().filter(|entry| entry.command.is_open()).cloned().collect()
    }

    /// The ids of all commands.
    pub fn ids(&self) -> Vec<InteractionId> {
        self.state().entries.values().map(|entry| entry.command.callback.id).collect()
    }

    /// Whether the next process finds what this one leaves, as far as the disk works.
    pub fn outlives_the_process(&self) -> bool {
        self.journal.outlives_the_process()
    }

    /// Lets go of the file.
    pub async fn close(&self) {
        self.journal.close().await;
    }

    /// What a press of the button under a question consents to.
    ///
    /// # Errors
    /// Why it consents to nothing.
    pub fn consent(&self, question: InteractionId, by: UserId) -> Result<Consent, Stale> {
        let state = self.state();
        let entry = state.question(question);
        let Some((Phase::Asked { about, answered }, command)) = entry.map(|entry| (&entry.phase, &entry.command))
        else {
            return Err(Stale::Unasked);
        };
        if command.user_id != by {
            Err(Stale::NotYours)
        } else if answered.is_some() {
            Err(Stale::Used)
        } else if command.received.elapsed() >= self.question {
            Err(Stale::Late)
        } else {
            Ok(Consent { question, agent: command.agent.clone(), reverses: *about })
        }
    }

    /// Admits a command: its toggle counts from now on. Where another supervisor's toggle stands in the way, and no
    /// consent names it, the command becomes a question instead.
    pub fn admit(&self, mut command: Command, consent: Option<&Consent>) -> (Ticket, Option<Conflict>) {
        let mut state = self.state();
        if state.swept.elapsed() >= SWEEP {
            self.sweep(&mut state);
        }
        let conflict = state.conflict(&command, self.window).filter(|conflict| {
            let reverses = consent.map(|consent| consent.reverses);
            reverses != Some(conflict.command)
        });
        let phase = match conflict {
            Some(Conflict { command: about, .. }) => Phase::Asked { about, answered: None },
            None => Phase::Answering,
        };
        let number = state.last + 1;
        command.answers = consent.map(|consent| consent.question);
        let mut entry = Entry { number, command: command.clone(), phase };
        if conflict.is_some() {
            // A question is a whole message: there is nothing to tell later.
            entry.command.callback.token = SecretString::from("");
        }
        let answered = command.answers.and_then(|question| state.answer(question, [None, Some(command.callback.id)]));
        let admitted = self.write(answered, &entry);
        state.insert(entry);
        (Ticket { number, command, admitted }, conflict)
    }

    /// The next phase, in memory at once and on its way to the file.
    pub fn advance(&self, number: u64, phase: Phase) -> Write {
        let mut state = self.state();
        let Some(entry) = state.change(number, |entry| entry.phase = phase) else { return Write::unneeded() };
        // The file must not have the question as open where the press that answers it is sent.
        self.write(entry.command.answers.and_then(|question| state.question(question).cloned()), &entry)
    }

    /// The outcome is known. What is written has to be waited for before anybody is told. Where the outcome is "done",
    /// returns the toggle before it, if that is certain.
    pub fn decide(&self, number: u64, outcome: Outcome) -> (Write, Option<Before>) {
        let mut state = self.state();
        let before = if let Outcome::Done(_) = outcome { state.before(number) } else { None };
        let owes_line = self.posts && outcome.may_have_toggled();
        let posted = !owes_line || state.unposted() >= UNPOSTED;
        if owes_line && posted {
            tracing::warn!("a toggle is not posted to AUDIT_CHANNEL_ID, because too many lines are waiting");
        }
        let decided = Phase::Decided { outcome, before, at: Moment::now(), posted };
        let Some(entry) = state.change(number, |entry| entry.phase = decided) else {
            return (Write::unneeded(), None);
        };
        let write = self.put(&mut state, &entry, entry.phase.is_unsent());
        self.changed.notify_waiters();
        (write, before)
    }

    /// The first answer to a command, or the question in its place, was not accepted: nothing is sent from here.
    pub fn not_accepted(&self, number: u64) {
        let mut state = self.state();
        let not_accepted = |entry: &mut Entry| {
            if let Phase::Answering = entry.phase {
                entry.phase = Phase::NotAccepted;
            }
        };
        if let Some(entry) = state.change(number, not_accepted) {
            self.put(&mut state, &entry, true);
        }
    }

    /// Nobody carries the command out any more: it is decided, unless it was. Returns it as it is then.
    pub fn interrupt(&self, number: u64, breakdown: Breakdown) -> Option<(Entry, Write)> {
        let mut state = self.state();
        let entry = state.change(number, |entry| entry.interrupt(breakdown, self.posts))?;
        let write = self.put(&mut state, &entry, entry.phase.is_unsent());
        self.changed.notify_waiters();
        Some((entry, write))
    }

    /// Writes an entry. The question that it answers is open again if it was `unsent` from here.
    fn put(&self, state: &mut State, entry: &Entry, unsent: bool) -> Write {
        let question = entry.command.answers.filter(|_| unsent);
        let reopened = question.and_then(|question| state.answer(question, [Some(entry.command.callback.id), None]));
        self.write(reopened, entry)
    }

    /// Writes an entry, together with the question that it answers where that matters.
    fn write(&self, question: Option<Entry>, entry: &Entry) -> Write {
        match question {
            Some(question) => self.journal.put(&[&question, entry]),
            None => self.journal.put(&[entry]),
        }
    }

    /// The person was told, or can't be told any more: the token is of no use.
    pub fn release(&self, number: u64) {
        let told = self.state().change(number, |entry| entry.command.callback.token = SecretString::from(""));
        self.echo(told);
    }

    /// The commands that the audit channel is owed a line of, in order. Waits until there is one.
    pub async fn unposted(&self) -> Vec<Entry> {
        self.wait_until(|state| {
            let unposted: Vec<Entry> = state.entries.values().filter(|entry| entry.is_unposted()).cloned().collect();
            (!unposted.is_empty()).then_some(unposted)
        })
        .await
    }

    /// Waits until the audit channel is owed nothing.
    pub async fn all_posted(&self) {
        self.wait_until(|state| (state.unposted() == 0).then_some(())).await;
    }

    /// How many lines the audit channel is owed.
    pub fn lines_owed(&self) -> usize {
        self.state().unposted()
    }

    async fn wait_until<T>(&self, look: impl Fn(&State) -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(found) = look(&self.state()) {
                return found;
            }
            changed.await;
        }
    }

    /// The audit channel has the line, or never will.
    pub fn posted(&self, number: u64) {
        let entry = self.state().change(number, |entry| {
            if let Phase::Decided { posted, .. } = &mut entry.phase {
                *posted = true;
            }
        });
        self.changed.notify_waiters();
        self.echo(entry);
    }

    /// Writes what has changed, unless it matters to nobody any more.
    fn echo(&self, changed: Option<Entry>) {
        let Some(entry) = changed else { return };
        let mut state = self.state();
        self.tidy(&mut state, entry.command.agent.id);
        if state.entries.contains_key(&entry.number) {
            self.journal.put(&[&entry]);
        }
    }

    /// Removes the entries of all agents that matter to nobody any more.
    fn sweep(&self, state: &mut State) {
        let agents: Vec<AgentId> = state.of_agents.keys().copied().collect();
        agents.into_iter().for_each(|agent| self.tidy(state, agent));
        state.swept = Instant::now();
    }

    /// Removes the entries of an agent that matter to nobody any more.
    fn tidy(&self, state: &mut State, agent: AgentId) {
        let mut later = None;
        let mut gone = Vec::new();
        for entry in state.of_agent(agent).rev() {
            if !entry.matters(later, self.window, self.question) {
                gone.push(entry.number);
            }
            if entry.is_done() && later.is_none() {
                later = Some(entry);
            }
        }
        if !gone.is_empty() {
            state.remove(agent, &gone);
            self.journal.forget(gone);
        }
    }

    /// No panic happens while the state is held, and if one did, the state would still be whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, entry: Entry) {
        self.last = entry.number;
        self.of_agents.entry(entry.command.agent.id).or_default().push(entry.number);
        self.entries.insert(entry.number, entry);
    }

    fn remove(&mut self, agent: AgentId, numbers: &[u64]) {
        for number in numbers {
            self.entries.remove(number);
        }
        if let Some(of_agent) = self.of_agents.get_mut(&agent) {
            of_agent.retain(|number| !numbers.contains(number));
            if of_agent.is_empty() {
                self.of_agents.remove(&agent);
            }
        }
    }

    /// The entries of an agent, in their order.
    fn of_agent(&self, agent: AgentId) -> impl DoubleEndedIterator<Item = &Entry> {
        self.of_agents.get(&agent).into_iter().flatten().filter_map(|number| self.entries.get(number))
    }

    /// Changes an entry; returns it as it is then.
    fn change(&mut self, number: u64, change: impl FnOnce(&mut Entry)) -> Option<Entry> {
        let entry = self.entries.get_mut(&number)?;
        change(entry);
        Some(entry.clone())
    }

    /// Another supervisor's toggle that a command would reverse. The latest one that counts decides: one's own may be
    /// reversed without a question.
    fn conflict(&self, command: &Command, window: Duration) -> Option<Conflict> {
        let of_agent = self.of_agent(command.agent.id).rev();
        let (latest, standing) = of_agent.filter_map(|entry| Some((entry, entry.counts(window)?))).next()?;
        let by = latest.command.user_id;
        let since = if standing == Standing::Done { latest.at() } else { latest.command.received };
        let conflict = Conflict { command: latest.command.callback.id, by, ago: since.elapsed(), standing };
        (by != command.user_id).then_some(conflict)
    }

    fn question(&self, id: InteractionId) -> Option<&Entry> {
        self.entries.values().rev().find(|entry| entry.command.callback.id == id)
    }

    /// Changes the answer to a question from one press to another, if it is the first one; returns the question then.
    fn answer(&mut self, question: InteractionId, [before, now]: [Option<InteractionId>; 2]) -> Option<Entry> {
        let number = self.question(question)?.number;
        let entry = self.entries.get_mut(&number)?;
        match &mut entry.phase {
            Phase::Asked { answered, .. } if *answered == before => *answered = now,
            _ => return None,
        }
        Some(entry.clone())
    }

    /// The toggle before a command, if it is certain that none lies between.
    fn before(&self, number: u64) -> Option<Before> {
        let agent = self.entries.get(&number)?.command.agent.id;
        let others = || self.of_agent(agent).filter(|other| other.number != number);
        let last = others().rfind(|other| other.may_be_named())?;
        let is_last = others().all(|other| last.is_surely_the_last_beside(other));
        is_last.then(|| Before { by: last.command.user_id.get(), at: last.at().unix_seconds() })
    }

    fn unposted(&self) -> usize {
        self.entries.values().filter(|entry| entry.is_unposted()).count()
    }
}

impl Entry {
    /// Decides a command that nobody carries out any more.
    fn interrupt(&mut self, breakdown: Breakdown, posts: bool) {
        if let Phase::Decided { posted, .. } = &mut self.phase {
            // The channel may not be set any more.
            *posted |= !posts;
        } else if let Some(outcome) = self.phase.verdict(breakdown) {
            let posted = !(posts && outcome.may_have_toggled());
            self.phase = Phase::Decided { outcome, before: None, at: Moment::now(), posted };
        } else if let Phase::Answering = self.phase {
            self.phase = Phase::NotAccepted;
        }
    }
}
