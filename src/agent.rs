//! The number that names an agent.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text::is_invisible;

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
