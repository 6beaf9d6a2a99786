//! Listings: `GET information.php?api=...` with the same token. They take their turn like every call, and
//! let waiting toggles go first.

use std::collections::HashMap;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout, timeout_at};

use super::decode::{self, Fields, present};
use super::{MAX_ANSWER_BYTES, Wolkvox};
use crate::agent::AgentId;
use crate::language::Localized;
use crate::net::{self, HttpError};
use crate::outcome::{Outcome, Rejected};

/// What a listing may cost. It is little beside a toggle's: people wait for their turn meanwhile. A listing that is
/// given up may still be in progress at Wolkvox when the next call begins; it allows two at once, and a toggle that
/// it refuses as simultaneous is repeated.
struct Budget {
    /// From the request to the answer's head.
    head: Duration,
    whole: Duration,
    bytes: usize,
}

/// Of all agents. Wolkvox documents up to 60,000 rows, which are a quarter of these bytes.
const AGENTS: Budget = Budget { head: Duration::from_secs(5), whole: Duration::from_secs(20), bytes: 64 * 1024 * 1024 };

/// How long an answer about the token is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience(Duration);

impl Patience {
    /// For `check`: a person waits for it, and no toggle.
    pub const OF_A_PERSON: Self = Self(Duration::from_secs(15));
    /// For a bot that serves, as with the agents.
    pub const BEHIND_TOGGLES: Self = Self(AGENTS.head);
}

/// An agent as Wolkvox lists it. The national identity number that comes along is not even decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentRow {
    pub id: AgentId,
    pub name: String,
    pub enabled: bool,
}

/// What is left of the token's quota today, as far as Wolkvox says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenInfo {
    /// Uses of all tokens allowed a day (`token_limit`).
    pub limit: Option<u64>,
    /// Uses of this token today (`token_use_today`).
    pub used_today: Option<u64>,
    /// Uses left today (`available_consumption_options`).
    pub left_today: Option<u64>,
}

impl TokenInfo {
    /// Uses left today, told or worked out.
    pub fn left(&self) -> Option<u64> {
        self.left_today.or_else(|| self.limit?.checked_sub(self.used_today?))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum InformationError {
    #[error("{}", .0.no_answer_from("Wolkvox")[0])]
    NoAnswer(#[from] HttpError),
    #[error("Wolkvox refused with {}", .0.code)]
    Refused(Rejected),
    /// A status or code of 500 to 599.
    #[error("Wolkvox has a fault of its own ({0})")]
    Fault(u16),
    #[error("Wolkvox's answer (HTTP {0}) can't be read")]
    Unreadable(u16),
}

impl Localized for InformationError {
    fn spanish(&self) -> String {
        match self {
            Self::NoAnswer(error) => error.no_answer_from("Wolkvox")[1].clone(),
            Self::Refused(rejected) => format!("Wolkvox lo rechazó con {}", rejected.code),
            Self::Fault(code) => format!("Wolkvox tiene una falla propia ({code})"),
            Self::Unreadable(status) => format!("no se puede leer la respuesta de Wolkvox (HTTP {status})"),
        }
    }
}

impl Wolkvox {
    /// All agents, disabled ones too. They are decoded away from the thread that serves commands.
    ///
    /// # Errors
    /// When there is no answer, a refusal, or one that can't be read.
    pub async fn agents(&self) -> Result<Vec<AgentRow>, InformationError> {
        let (status, body) = self.get("agents", AGENTS).await?;
        let decoded = tokio::task::spawn_blocking(move || match rows(status, &object(status, &body)?) {
            Ok(rows) => Ok(rows.into_iter().filter_map(agent).collect()),
            // Some servers answer an empty listing so.
            Err(InformationError::Refused(Rejected { code: 404, .. })) if status == 404 => Ok(Vec::new()),
            Err(error) => Err(error),
        });
        decoded.await.unwrap_or(Err(InformationError::Unreadable(status)))
    }

    /// The token's quota. Costs one use of it.
    ///
    /// # Errors
    /// When there is no answer, a refusal, or one that can't be read.
    pub async fn token_info(&self, Patience(limit): Patience) -> Result<TokenInfo, InformationError> {
        let budget = Budget { head: limit, whole: limit, bytes: MAX_ANSWER_BYTES };
        let (status, body) = self.get("token_info", budget).await?;
        let object = object(status, &body)?;
        let row = rows(status, &object)?.first().and_then(|row| serde_json::from_str(row.get()).ok());
        let row: Value = row.unwrap_or_default();
        let left = ["available_consumption_options", "available_consumition_options"];
        Ok(TokenInfo {
            limit: number(&row["token_limit"]),
            used_today: number(&row["token_use_today"]),
            left_today: left.iter().find_map(|name| number(&row[name])),
        })
    }

    /// The answer's status and body. What was begun is dropped before the turn is, so that a connection which is given
    /// up is closed by the time that the next call begins.
    async fn get(&self, api: &str, budget: Budget) -> Result<(u16, Vec<u8>), InformationError> {
        let mut url = self.0.base.join("api/v2/information.php");
        url.set_query(Some(&format!("api={api}")));
        let request = self.0.request(Method::GET, url);
        let late = |_| HttpError::TimedOut;
        let _permit = self.0.queue.enter_behind_toggles().permit().await;
        let end = Instant::now() + budget.whole;
        let response = timeout(budget.head, request.send()).await.map_err(late)?.map_err(HttpError::from)?;
        let status = response.status().as_u16();
        let body = timeout_at(end, net::read_body(response, budget.bytes)).await.map_err(late)??;
        Ok((status, body))
    }
}

fn object(status: u16, body: &[u8]) -> Result<String, InformationError> {
    decode::object(body).ok_or_else(|| unreadable(status, None))
}

fn unreadable(status: u16, code: Option<u64>) -> InformationError {
    let code = code.and_then(|code| u16::try_from(code).ok());
    match [Some(status), code].into_iter().flatten().find(|code| (500..=599).contains(code)) {
        Some(code) => InformationError::Fault(code),
        None => InformationError::Unreadable(status),
    }
}

/// The rows of an answer, as they came.
fn rows(status: u16, answer: &str) -> Result<Vec<&RawValue>, InformationError> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(default)]
        code: Value,
        #[serde(default, deserialize_with = "present")]
        error: Option<Value>,
        #[serde(default, deserialize_with = "present")]
        msg: Option<Value>,
        #[serde(default, borrow)]
        data: Option<&'a RawValue>,
    }

    let answer = serde_json::from_str(answer).map_err(|_| unreadable(status, None))?;
    let Answer { code, error, msg, data } = answer;
    let given = number(&code).filter(|code| *code > 0);
    // In the vendor's own example it is "". A listing toggles nothing, so the HTTP status is enough.
    let code = if given.is_some() { code } else { status.into() };
    match (Fields { code, error, msg }.outcome(status), data.map_or(Some(Vec::new()), list)) {
        (Some(Outcome::Done(_)), Some(rows)) => Ok(rows),
        (Some(Outcome::Rejected(rejected)), _) => Err(InformationError::Refused(rejected)),
        _ => Err(unreadable(status, given)),
    }
}

/// The rows in `data`. PHP writes a list that lost an element as an object with numbers for keys, and a single row may
/// stand there by itself.
fn list(data: &RawValue) -> Option<Vec<&RawValue>> {
    if let Ok(rows) = serde_json::from_str(data.get()) {
        return Some(rows);
    }
    let fields: HashMap<String, &RawValue> = serde_json::from_str(data.get()).ok()?;
    let is_list = fields.keys().all(|key| key.bytes().all(|byte| byte.is_ascii_digit()));
    Some(if is_list { fields.into_values().collect() } else { vec![data] })
}

/// `None` for a row without a number that an agent can have: it costs the others nothing.
fn agent(row: &RawValue) -> Option<AgentRow> {
    #[derive(Deserialize)]
    struct Row {
        #[serde(default)]
        agent_id: Value,
        #[serde(default)]
        agent_name: Value,
        #[serde(default)]
        enabled: Value,
    }

    // Without the brace, a list would count as the fields in this order.
    let row: Row = row.get().starts_with('{').then(|| serde_json::from_str(row.get()).ok())??;
    let id = AgentId::try_from(number(&row.agent_id)?).ok()?;
    let disabled = row.enabled.as_str().is_some_and(|enabled| enabled.trim().eq_ignore_ascii_case("no"));
    Some(AgentRow { id, name: row.agent_name.as_str().unwrap_or_default().trim().to_owned(), enabled: !disabled })
}

/// A number, or a string that holds one.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}
