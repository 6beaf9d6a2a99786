//! An agent: the number, the name, and both as people read them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text::{escape, is_invisible, one_line, plain_text, truncate};

/// The longest name, in UTF-16 units. With a number it fits into a suggestion, which may have 100.
const MAX_NAME: usize = 80;

/// An agent's extension number, as Wolkvox's `agent_id` takes it: 1 to 9,999,999,999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct AgentId(u64);

/// A number that no agent can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an agent's number is between {} and {}", AgentId::MIN, AgentId::MAX)]
pub struct InvalidAgentId;

impl AgentId {
    /// Discord's client enforces it too, as the option's `min_value`.
    pub const MIN: u64 = 1;
    /// Discord's client enforces it too, as the option's `max_value`.
    pub const MAX: u64 = 9_999_999_999;

    /// The number that a person typed: digits alone, with blanks and invisible characters around them.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.trim_matches(|char: char| char.is_whitespace() || is_invisible(char));
        let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok())??;
        Self::try_from(number).ok()
    }

    pub fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for AgentId {
    type Error = InvalidAgentId;

    fn try_from(number: u64) -> Result<Self, InvalidAgentId> {
        if (Self::MIN..=Self::MAX).contains(&number) { Ok(Self(number)) } else { Err(InvalidAgentId) }
    }
}

impl From<AgentId> for u64 {
    fn from(agent: AgentId) -> Self {
        agent.0
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An agent's name as it can be shown: plain text on one line, not too long, never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name(String);

impl Name {
    /// `None` where nothing is left to be shown.
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

/// An agent as people know it: by name where the directory has one, and by number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Agent {
    pub id: AgentId,
    pub name: Option<Name>,
    /// Whether Wolkvox's list of agents was read and does not have the number.
    #[serde(default)]
    pub is_unlisted: bool,
}

impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} ({})", escape(name.as_str(), usize::MAX), self.id),
            None => self.id.fmt(f),
        }
    }
}
