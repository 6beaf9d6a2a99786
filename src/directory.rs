//! Agents by name: a copy of Wolkvox's listing, made when somebody starts typing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use crate::agent::AgentId;
use crate::net::error_chain;
use crate::text::{one_line, plain_text, truncate};
use crate::wolkvox::{AgentRow, Wolkvox};

/// The most suggestions that Discord takes ("Application Commands", autocomplete).
const MAX_SUGGESTIONS: usize = 25;
/// The longest name, in UTF-16 units. With a number it fits into a suggestion, which may have 100.
const MAX_NAME: usize = 80;
/// How much of what was typed is looked at, in characters and in words. Less than a name may have, so that a long
/// name which is typed in full is found although it was cut.
const MAX_TYPED: usize = 64;
const MAX_WORDS: usize = 8;

/// An agent's name as it can be shown: plain text on one line, not too long, never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name(String);

impl Name {
    /// Makes a name of what Wolkvox has for one; `None` where nothing is left to be shown.
    pub fn new(text: &str) -> Option<Self> {
        let mut name = plain_text(&one_line(text));
        truncate(&mut name, MAX_NAME);
        (!name.is_empty()).then_some(Self(name))
    }

    /// The name, without Markdown's escapes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The directory. Typing is answered from the copy at once; a copy that is too old is renewed meanwhile.
pub struct Directory {
    wolkvox: Wolkvox,
    max_age: Duration,
    stop: CancellationToken,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    agents: Arc<Agents>,
    asked: Option<Instant>,
    renewal: Option<JoinHandle<()>>,
    failing: bool,
}

impl Directory {
    /// A directory without a copy. Wolkvox is asked at most once in `max_age`.
    /// Nothing is read once `stop` is cancelled.
    pub fn new(wolkvox: Wolkvox, max_age: Duration, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self { wolkvox, max_age, stop, state: Mutex::default() })
    }

    /// The agents that fit what was typed, the best first, from the copy as it is.
    pub fn suggest(self: &Arc<Self>, typed: &str) -> Vec<(AgentId, Option<Name>)> {
        let mut state = self.state();
        let asking = state.renewal.as_ref().is_some_and(|renewal| !renewal.is_finished());
        if !asking && state.asked.is_none_or(|asked| asked.elapsed() >= self.max_age) {
            state.asked = Some(Instant::now());
            state.renewal = Some(tokio::spawn(self.clone().renew()));
        }
        let agents = state.agents.clone();
        drop(state);
        agents.search(typed).collect()
    }

    /// An agent's name, if the copy has it.
    pub fn name(&self, id: AgentId) -> Option<Name> {
        self.state().agents.name(id)
    }

    async fn renew(self: Arc<Self>) {
        let Some(agents) = self.stop.run_until_cancelled(self.wolkvox.agents::<Agents>()).await else { return };
        let mut state = self.state();
        match agents {
            Ok(mut agents) => {
                agents.finish();
                tracing::info!(agents = agents.rows.len(), "the agent directory was read");
                state.agents = Arc::new(agents);
                state.failing = false;
            }
            Err(error) => {
                if !state.failing {
                    let why = error_chain(&error);
                    tracing::warn!("the agent directory can't be read, so names may be missing: {why}");
                }
                state.failing = true;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The agents, packed: two strings for all of them, and the places in these where each one's parts end.
#[derive(Default)]
struct Agents {
    names: String,
    folded: String,
    rows: Vec<Row>,
}

#[derive(Clone, Copy)]
struct Row {
    id: AgentId,
    name: Span,
    folded: Span,
}

#[derive(Clone, Copy)]
struct Span {
    start: u32,
    len: u16,
}

impl Span {
    /// Appends `text` to `to` and tells where it stands; text beyond 64 KiB is left out.
    fn append(to: &mut String, text: &str) -> Option<Self> {
        let span = Self { start: u32::try_from(to.len()).ok()?, len: u16::try_from(text.len()).ok()? };
        to.push_str(text);
        Some(span)
    }

    fn of(self, text: &str) -> &str {
        let start = self.start as usize;
        text.get(start..start + usize::from(self.len)).unwrap_or_default()
    }
}

impl Extend<AgentRow> for Agents {
    fn extend<I: IntoIterator<Item = AgentRow>>(&mut self, agents: I) {
        for agent in agents {
            let name = Name::new(&agent.name).map_or_else(String::new, |name| name.0);
            let folded = Span::append(&mut self.folded, &fold(&name));
            let name = Span::append(&mut self.names, &name);
            if let Some((name, folded)) = name.zip(folded) {
                self.rows.push(Row { id: agent.id, name, folded });
            }
        }
    }
}

impl Agents {
    /// Sorts by name, those without one last, and gives back what memory was reserved in advance.
    fn finish(&mut self) {
        let folded = &self.folded;
        let place = |row: &Row| (row.folded.len == 0, row.folded.of(folded), row.id);
        self.rows.sort_unstable_by(|a, b| place(a).cmp(&place(b)));
        self.rows.shrink_to_fit();
        self.names.shrink_to_fit();
        self.folded.shrink_to_fit();
    }

    fn name(&self, id: AgentId) -> Option<Name> {
        self.rows.iter().find(|row| row.id == id).and_then(|row| self.name_of(row))
    }

    fn name_of(&self, row: &Row) -> Option<Name> {
        let name = row.name.of(&self.names);
        (!name.is_empty()).then(|| Name(name.to_owned()))
    }

    /// The best matches: every word typed has to be in the name, or all of it has to begin the number.
    fn search(&self, typed: &str) -> impl Iterator<Item = (AgentId, Option<Name>)> {
        let typed: String = typed.trim_start().chars().take(MAX_TYPED).collect();
        let typed = fold(&typed);
        let typed = typed.trim();
        let words: Vec<&str> = typed.split_whitespace().take(MAX_WORDS).collect();
        let mut best: Vec<(u8, &Row)> = Vec::with_capacity(MAX_SUGGESTIONS + 1);
        for row in &self.rows {
            let Some(rank) = self.rank(row, typed, &words) else { continue };
            if best.len() == MAX_SUGGESTIONS && best.last().is_some_and(|(worst, _)| *worst >= rank) {
                continue;
            }
            let at = best.partition_point(|(other, _)| *other >= rank);
            best.insert(at, (rank, row));
            best.truncate(MAX_SUGGESTIONS);
        }
        best.into_iter().map(|(_, row)| (row.id, self.name_of(row)))
    }

    /// How well a row fits, the higher the better.
    fn rank(&self, row: &Row, typed: &str, words: &[&str]) -> Option<u8> {
        let name = row.folded.of(&self.folded);
        if typed.bytes().all(|byte| byte.is_ascii_digit()) && !typed.is_empty() {
            let number = row.id.to_string();
            if number == typed {
                return Some(4);
            }
            if number.starts_with(typed) {
                return Some(3);
            }
        }
        if !words.iter().all(|word| name.contains(word)) {
            return None;
        }
        let first = words.first().copied().unwrap_or_default();
        Some(if name.starts_with(first) {
            2
        } else {
            u8::from(name.split_whitespace().any(|word| word.starts_with(first)))
        })
    }
}

/// Without regard to case and accents: "Gómez" and "gomez" are the same.
fn fold(text: &str) -> String {
    text.nfd().filter(|char| !is_combining_mark(*char)).flat_map(char::to_lowercase).collect()
}
