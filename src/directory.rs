//! Agents by name: a copy of Wolkvox's listing, made when somebody starts typing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use crate::agent::{AgentId, Name};
use crate::net::error_chain;
use crate::retry::Backoff;
use crate::text::is_invisible;
use crate::wolkvox::{AgentRow, Wolkvox};

/// The most suggestions that Discord takes ("Application Commands", autocomplete).
const MAX_SUGGESTIONS: usize = 25;
/// The most agents that are named to a person whose text names none.
const MAX_CANDIDATES: usize = 5;
/// How much of what was typed is looked at, in characters and in words. Less than a name may have, so that a long
/// name which is typed in full is found although it was cut.
const MAX_TYPED: usize = 64;
const MAX_WORDS: usize = 8;

/// The agents of the operation. A text is answered from the copy at once; a copy that is too old is renewed meanwhile.
pub struct Directory {
    wolkvox: Wolkvox,
    max_age: Duration,
    stop: CancellationToken,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `None` until the listing was read for the first time.
    agents: Option<Arc<Agents>>,
    /// When Wolkvox may be asked again; `None` until it is asked for the first time.
    due: Option<Instant>,
    renewal: Option<JoinHandle<()>>,
    /// Since the listing was last read.
    failures: Option<Backoff>,
}

/// The agent that a text names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Agent(AgentId),
    /// It names none beyond doubt. These fit, five at most.
    Several(Vec<(AgentId, Option<Name>)>),
    None,
}

impl Directory {
    /// A directory without a copy. Wolkvox is asked at most once in `max_age`, and less often while that fails.
    /// Nothing is read once `stop` is cancelled.
    pub fn new(wolkvox: Wolkvox, max_age: Duration, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self { wolkvox, max_age, stop, state: Mutex::default() })
    }

    /// The agents that fit what was typed, the best first.
    pub fn suggest(self: &Arc<Self>, typed: &str) -> Vec<(AgentId, Option<Name>)> {
        self.agents().map_or_else(Vec::new, |agents| agents.search(typed))
    }

    /// The agent that a person means who typed this: a number, a suggestion's label ("Ana Gómez · 1001"), or a name in
    /// full. Never a guess.
    pub fn find(self: &Arc<Self>, typed: &str) -> Found {
        match AgentId::parse(typed) {
            Some(id) => Found::Agent(id),
            None => self.agents().unwrap_or_default().find(typed),
        }
    }

    pub fn name(&self, id: AgentId) -> Option<Name> {
        self.state().agents.as_ref()?.get(id)?.name.clone()
    }

    /// Whether the listing was ever read: before that, no name can be found.
    pub fn is_read(&self) -> bool {
        self.state().agents.is_some()
    }

    /// Whether Wolkvox lists this number, be it disabled; `None` where the listing was never read.
    pub fn lists(&self, id: AgentId) -> Option<bool> {
        self.state().agents.as_ref().map(|agents| agents.get(id).is_some())
    }

    fn agents(self: &Arc<Self>) -> Option<Arc<Agents>> {
        let mut state = self.state();
        let asking = state.renewal.as_ref().is_some_and(|renewal| !renewal.is_finished());
        if !asking && state.due.is_none_or(|due| Instant::now() >= due) {
            state.due = Some(Instant::now() + self.max_age);
            state.renewal = Some(tokio::spawn(self.clone().renew()));
        }
        state.agents.clone()
    }

    async fn renew(self: Arc<Self>) {
        let Some(rows) = self.stop.run_until_cancelled(self.wolkvox.agents()).await else { return };
        match rows {
            Ok(rows) => {
                // Away from the thread that serves commands.
                let Ok(agents) = spawn_blocking(|| Agents::new(rows)).await else { return };
                let enabled = agents.0.iter().filter(|agent| agent.enabled).count();
                tracing::info!(agents = enabled, "the agent directory was read");
                let mut state = self.state();
                state.agents = Some(Arc::new(agents));
                state.failures = None;
            }
            Err(error) => {
                let mut state = self.state();
                let first = state.failures.is_none();
                let failures = state.failures.get_or_insert_with(|| Backoff::new(self.max_age, 6 * self.max_age));
                let again = failures.pause();
                state.due = Some(Instant::now() + again);
                let why = error_chain(&error);
                if first {
                    tracing::warn!(
                        "the agent directory can't be read, so names may be missing: {why}. wolkvox-bot check says more"
                    );
                } else {
                    tracing::debug!(again_in_s = again.as_secs(), "the agent directory still can't be read: {why}");
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sorted by name, those without one last; no number twice.
#[derive(Default)]
struct Agents(Vec<Agent>);

struct Agent {
    id: AgentId,
    name: Option<Name>,
    /// The name as [`fold`] leaves it.
    folded: String,
    /// Disabled agents are neither suggested nor found by name.
    enabled: bool,
}

impl Agents {
    fn new(rows: Vec<AgentRow>) -> Self {
        let agents = rows.into_iter().map(|AgentRow { id, name, enabled }| {
            let name = Name::new(&name).map(|name| (fold(name.as_str()), name));
            // A name that nobody can read is none.
            let (folded, name) = name.filter(|(folded, _)| !folded.is_empty()).unzip();
            Agent { id, name, folded: folded.unwrap_or_default(), enabled }
        });
        let mut agents: Vec<Agent> = agents.collect();
        // An agent may be listed twice, for two skills.
        agents.sort_by_key(|agent| (agent.id, !agent.enabled, agent.name.is_none()));
        agents.dedup_by_key(|agent| agent.id);
        agents.sort_by(|a, b| (a.name.is_none(), &a.folded, a.id).cmp(&(b.name.is_none(), &b.folded, b.id)));
        Self(agents)
    }

    fn get(&self, id: AgentId) -> Option<&Agent> {
        self.0.iter().find(|agent| agent.id == id)
    }

    /// See [`Directory::find`], for a text that is no number.
    fn find(&self, typed: &str) -> Found {
        let label = label(typed);
        let full = self.named(&fold(typed));
        let candidates = match (&label, full.as_slice()) {
            (None, [agent]) => return Found::Agent(agent.id),
            (Some((id, name)), []) if self.fits(*id, name) => return Found::Agent(*id),
            (Some((id, name)), []) => {
                let labelled = self.get(*id).map(|agent| (agent.id, agent.name.clone()));
                let others = self.search(name).into_iter().filter(|(other, _)| other != id);
                labelled.into_iter().chain(others).collect()
            }
            _ => self.search(typed),
        };
        let candidates: Vec<_> = candidates.into_iter().take(MAX_CANDIDATES).collect();
        if candidates.is_empty() || fold(typed).is_empty() { Found::None } else { Found::Several(candidates) }
    }

    /// Whether a label may be trusted: the number's agent has its name or, where that is not known, no other agent has.
    fn fits(&self, id: AgentId, name: &str) -> bool {
        match self.get(id) {
            Some(agent) if agent.name.is_some() => agent.folded == name,
            _ => self.named(name).is_empty(),
        }
    }

    fn named(&self, folded: &str) -> Vec<&Agent> {
        self.0.iter().filter(|agent| agent.enabled && agent.name.is_some() && agent.folded == folded).collect()
    }

    /// The best matches: every word typed has to be in the name, or all of it has to begin the number.
    fn search(&self, typed: &str) -> Vec<(AgentId, Option<Name>)> {
        let typed: String = typed.trim_start().chars().take(MAX_TYPED).collect();
        let typed = fold(&typed);
        let words: Vec<&str> = typed.split_whitespace().take(MAX_WORDS).collect();
        let mut best: Vec<(u8, &Agent)> = Vec::with_capacity(MAX_SUGGESTIONS + 1);
        for agent in self.0.iter().filter(|agent| agent.enabled) {
            let Some(rank) = rank(agent, &typed, &words) else { continue };
            if best.len() == MAX_SUGGESTIONS && best.last().is_some_and(|(worst, _)| *worst >= rank) {
                continue;
            }
            let at = best.partition_point(|(other, _)| *other >= rank);
            best.insert(at, (rank, agent));
            best.truncate(MAX_SUGGESTIONS);
        }
        best.into_iter().map(|(_, agent)| (agent.id, agent.name.clone())).collect()
    }
}

/// How well an agent fits, the higher the better.
fn rank(agent: &Agent, typed: &str, words: &[&str]) -> Option<u8> {
    if typed.bytes().all(|byte| byte.is_ascii_digit()) && !typed.is_empty() {
        let number = agent.id.to_string();
        if number == typed {
            return Some(4);
        }
        if number.starts_with(typed) {
            return Some(3);
        }
    }
    if !words.iter().all(|word| agent.folded.contains(word)) {
        return None;
    }
    let first = words.first().copied().unwrap_or_default();
    Some(if agent.folded.starts_with(first) {
        2
    } else {
        u8::from(agent.folded.split_whitespace().any(|word| word.starts_with(first)))
    })
}

/// The number and the folded name in the label of a suggestion, which some clients send instead of its value.
fn label(typed: &str) -> Option<(AgentId, String)> {
    let (name, number) = typed.rsplit_once('·')?;
    Some((AgentId::parse(number)?, fold(name))).filter(|(_, name)| !name.is_empty())
}

/// Without regard to case, accents, invisible characters and the width of blanks: "Gómez" and "gomez" are equal.
fn fold(text: &str) -> String {
    let seen = text.nfd().filter(|char| !is_combining_mark(*char) && !is_invisible(*char));
    let folded: String = seen.flat_map(char::to_lowercase).collect();
    folded.split_whitespace().collect::<Vec<_>>().join(" ")
}
