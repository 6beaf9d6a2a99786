//! Listings: `GET information.php?api=...` with the same token. They take their turn like every call, and
//! let waiting toggles go first.

use crate::language::Localized;
use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read};
use std::marker::PhantomData;

use reqwest::{Method, Response};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::sync::mpsc;

use super::decode::{self, Fields, present};
use super::{MAX_ANSWER_BYTES, Wolkvox, no_answer};
use crate::agent::AgentId;
use crate::net::{self, HttpError};
use crate::outcome::{Outcome, Rejected};

/// The most that is read of a listing, in bytes: four times the 60,000 rows that Wolkvox documents.
const MAX_LISTING_BYTES: usize = 64 * 1024 * 1024;

/// An agent as the directory lists it. The national identity number that comes along is not even decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentRow {
    /// The number.
    pub id: AgentId,
    /// The name, as Wolkvox has it.
    pub name: String,
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

/// Why a listing could not be had.
#[derive(Debug, thiserror::Error)]
pub enum InformationError {
    /// No answer, or none to its end.
    #[error("{}", no_answer(.0))]
    NoAnswer(#[from] HttpError),
    /// Wolkvox refused.
    #[error("Wolkvox refused with {}", .0.code)]
    Refused(Rejected),
    /// An answer that can't be read.
    #[error("Wolkvox's answer (HTTP {0}) can't be read")]
    Unreadable(u16),
}

impl Localized for InformationError {
    fn spanish(&self) -> String {
        match self {
            Self::NoAnswer(error) if error.is_unconnected() => error.spanish(),
            Self::NoAnswer(error) => format!("Wolkvox no respondió: {}", error.spanish()),
            Self::Refused(rejected) => format!("Wolkvox lo rechazó con {}", rejected.code),
            Self::Unreadable(status) => format!("no se puede leer la respuesta de Wolkvox (HTTP {status})"),
        }
    }
}

impl Wolkvox {
    /// All agents that are not disabled, collected as they arrive: the listing itself is never held whole.
    ///
    /// # Errors
    /// When there is no answer, a refusal, or one that can't be read.
    pub async fn agents<C>(&self) -> Result<C, InformationError>
    where
        C: Default + Extend<AgentRow> + Send + 'static,
    {
        let _permit = self.0.queue.enter_behind_toggles().permit().await;
        let response = self.get("agents").await?;
        let status = response.status().as_u16();
        // Some servers answer an empty listing with 404.
        if status == 404 {
            let body = net::read_body(response, MAX_ANSWER_BYTES).await?;
            return match decode::outcome(status, &body) {
                Some(Outcome::Rejected(Rejected { code: 404, .. })) => Ok(C::default()),
                _ => Err(InformationError::Unreadable(status)),
            };
        }
        let (chunks, reader) = ChunkReader::new();
        let decoded = tokio::task::spawn_blocking(move || decode_listing::<C>(reader));
        feed(response, chunks).await?;
        let listing = decoded.await.ok().and_then(Result::ok).ok_or(InformationError::Unreadable(status))?;
        let Listing { code, error, msg, data } = listing;
        success(status, Fields { code, error, msg }).map(|()| data.0)
    }

    /// The token's quota. Costs one use of it.
    ///
    /// # Errors
    /// When there is no answer, a refusal, or one that can't be read.
    pub async fn token_info(&self) -> Result<TokenInfo, InformationError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(flatten)]
            fields: Fields,
            #[serde(default)]
            data: Value,
        }

        let _permit = self.0.queue.enter_behind_toggles().permit().await;
        let response = self.get("token_info").await?;
        let status = response.status().as_u16();
        let body = net::read_body(response, MAX_ANSWER_BYTES).await?;
        let Ok(answer) = serde_json::from_slice::<Answer>(decode::without_bom(&body)) else {
            return Err(InformationError::Unreadable(status));
        };
        success(status, answer.fields)?;
        let data = if answer.data.is_array() { &answer.data[0] } else { &answer.data };
        let left = ["available_consumption_options", "available_consumition_options"];
        Ok(TokenInfo {
            limit: number(&data["token_limit"]),
            used_today: number(&data["token_use_today"]),
            left_today: left.iter().find_map(|name| number(&data[name])),
        })
    }

    async fn get(&self, api: &str) -> Result<Response, InformationError> {
        let mut url = self.0.base.join("api/v2/information.php");
        url.set_query(Some(&format!("api={api}")));
        // As long as a toggle: given up sooner, it would still be under way at Wolkvox when the next call begins.
        let request = self.0.request(Method::GET, url).timeout(self.0.longest_exchange());
        Ok(request.send().await.map_err(HttpError::from)?)
    }
}

fn success(status: u16, fields: Fields) -> Result<(), InformationError> {
    match fields.outcome(status) {
        Some(Outcome::Done(_)) => Ok(()),
        Some(Outcome::Rejected(rejected)) => Err(InformationError::Refused(rejected)),
        _ => Err(InformationError::Unreadable(status)),
    }
}

/// A number, or a string that holds one.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

#[derive(Deserialize)]
#[serde(bound = "C: Default + Extend<AgentRow>")]
struct Listing<C> {
    #[serde(default)]
    code: Value,
    #[serde(default, deserialize_with = "present")]
    error: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    msg: Option<Value>,
    #[serde(default)]
    data: Rows<C>,
}

#[derive(Default)]
struct Rows<C>(C);

#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    agent_id: Value,
    #[serde(default)]
    agent_name: Value,
    #[serde(default)]
    enabled: Value,
}

impl Row {
    fn into_agent(self) -> Option<AgentRow> {
        let disabled = self.enabled.as_str().is_some_and(|enabled| enabled.trim().eq_ignore_ascii_case("no"));
        let id = AgentId::try_from(number(&self.agent_id)?).ok()?;
        let name = self.agent_name.as_str().unwrap_or_default().trim();
        (!disabled).then(|| AgentRow { id, name: name.to_owned() })
    }
}

impl<'de, C: Default + Extend<AgentRow>> Deserialize<'de> for Rows<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect<C>(PhantomData<C>);

        impl<'de, C: Default + Extend<AgentRow>> Visitor<'de> for Collect<C> {
            type Value = Rows<C>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of agents")
            }

            fn visit_unit<E>(self) -> Result<Rows<C>, E> {
                Ok(Rows::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Rows<C>, A::Error> {
                let mut collected = C::default();
                while let Some(row) = rows.next_element::<Row>()? {
                    collected.extend(row.into_agent());
                }
                Ok(Rows(collected))
            }
        }

        deserializer.deserialize_any(Collect(PhantomData))
    }
}

fn decode_listing<C: Default + Extend<AgentRow>>(reader: ChunkReader) -> io::Result<Listing<C>> {
    let mut reader = BufReader::new(reader);
    let first = reader.fill_buf()?;
    let bom = first.len() - decode::without_bom(first).len();
    reader.consume(bom);
    Ok(serde_json::from_reader(reader)?)
}

/// The body as a blocking reader, so that a listing of many megabytes is decoded chunk by chunk, away from
/// the thread that serves commands.
struct ChunkReader {
    chunks: mpsc::Receiver<Vec<u8>>,
    chunk: io::Cursor<Vec<u8>>,
}

impl ChunkReader {
    fn new() -> (mpsc::Sender<Vec<u8>>, Self) {
        let (sender, chunks) = mpsc::channel(4);
        (sender, Self { chunks, chunk: io::Cursor::default() })
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.chunk.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.chunks.blocking_recv() {
                Some(chunk) => self.chunk = io::Cursor::new(chunk),
                None => return Ok(0),
            }
        }
    }
}

async fn feed(mut response: Response, chunks: mpsc::Sender<Vec<u8>>) -> Result<(), InformationError> {
    let status = response.status().as_u16();
    let mut total = 0;
    while let Some(chunk) = response.chunk().await.map_err(HttpError::from)? {
        total += chunk.len();
        if total > MAX_LISTING_BYTES {
            return Err(InformationError::Unreadable(status));
        }
        // The decoder stops early where the listing makes no sense; its verdict is awaited after this.
        if chunks.send(chunk.to_vec()).await.is_err() {
            break;
        }
    }
    Ok(())
}
