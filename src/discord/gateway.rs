//! The connection that interactions come in through (Discord, "Gateway").
//!
//! serenity's own client drops what it can't decode without a word, reconnects without a pause, goes on for ever with
//! a wrong token and wakes up twice a second; its `Shard` can't be read from outside the crate, and its TLS carries
//! known vulnerabilities. The protocol is small when only interactions are wanted, so it is spoken here.

use crate::language::Localized;
use std::pin::pin;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::{Upgraded, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use serenity::constants::{Opcode, close_codes};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_util::sync::CancellationToken;

use super::interaction::Payload;
use super::rest::{GatewayInfo, Rest, RestError, SessionStartLimit, leave_alone};
use crate::net;
use crate::retry::Backoff;

/// How long a connection may take to become ready once it is made.
const READY_TIMEOUT: Duration = Duration::from_secs(20);
/// How long sending one message may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that was ready for this long was a good one: the next is tried without a pause.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// The same for a session that Discord ended, since a new one counts towards the 1000 IDENTIFYs a day.
const SESSION_STABLE_AFTER: Duration = Duration::from_secs(300);
/// The pauses before the next connection otherwise: at most six are made within 10 s, one in 30 s in the long run.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
/// With fewer IDENTIFYs left than this, they are spread over the time until Discord allows more; with fewer than the
/// second number, none is sent.
const FEW_SESSIONS: u32 = 100;
const LAST_SESSIONS: u32 = 10;
/// Our own code for a connection that is given up: any but 1000 and 1001 leaves the session to be resumed.
const RESUMABLE: u16 = 4000;
/// A session began with an API version that Discord no longer speaks. serenity has no name for it.
const INVALID_API_VERSION: u16 = 4012;

/// The gateway's client.
pub struct Gateway<'a> {
    /// Tells the gateway's address, and makes the connection.
    pub rest: &'a Rest,
    /// The bot's token.
    pub token: &'a SecretString,
    /// How long it may be without a ready connection before it gives up.
    pub give_up_after: Duration,
    /// Is told when interactions begin to come in, and when they no longer do.
    pub tell: &'a (dyn Fn(bool) + Sync),
}

/// Why the bot can't go on.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Close code 4004, or 401 from the REST API.
    #[error("Discord does not accept DISCORD_TOKEN any more")]
    Token,
    /// Close codes 4010 to 4014: a fault of this program, or a bot in more servers than one connection may serve.
    #[error("Discord closed the gateway for good, with code {0}")]
    Closed(u16),
    /// No ready connection for too long.
    #[error("Discord's gateway could not be reached for {} s", .0.as_secs())]
    Unreachable(Duration),
}

impl Localized for GatewayError {
    fn spanish(&self) -> String {
        match self {
            Self::Token => "Discord ya no acepta DISCORD_TOKEN".to_owned(),
            Self::Closed(code) => format!("Discord cerró la conexión definitivamente, con el código {code}"),
            Self::Unreachable(after) => {
                format!("no hubo conexión con Discord durante {} s", after.as_secs())
            }
        }
    }
}

/// A session that can be resumed.
struct Session {
    id: String,
    resume_url: Option<Url>,
    /// The sequence number of the last event.
    seq: Option<u64>,
}

/// How one connection ended.
enum End {
    Stopped,
    Fatal(GatewayError),
    /// To be resumed where there is a session.
    Lost(String),
    /// No connection was made: Discord is there, and asks to be left alone for so long.
    Busy(Duration),
    /// The session is over.
    Invalid,
    /// Too few sessions may still be begun to begin one now.
    SessionsSpent {
        remaining: u32,
        wait: Duration,
    },
}

/// What survives a connection.
struct State {
    session: Option<Session>,
    ready_since: Option<Instant>,
    down_since: Instant,
    /// It has been waited already for the IDENTIFY that comes next.
    waited: bool,
}

impl State {
    fn unreachable(&self) -> GatewayError {
        GatewayError::Unreachable(self.down_since.elapsed())
    }
}

/// A message of the gateway.
#[derive(Deserialize)]
struct Frame<'a> {
    op: Opcode,
    s: Option<u64>,
    t: Option<&'a str>,
    #[serde(borrow)]
    d: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Hello {
    heartbeat_interval: u64,
}

#[derive(Deserialize)]
struct Ready {
    session_id: String,
    resume_gateway_url: Option<String>,
}

impl Gateway<'_> {
    /// Stays connected until `stop` is cancelled, and hands the payload of every interaction to `handle`.
    ///
    /// # Errors
    /// When Discord refuses for good, or was out of reach for too long.
    pub async fn run(&self, stop: &CancellationToken, mut handle: impl FnMut(Payload<'_>)) -> Result<(), GatewayError> {
        let mut state = State { session: None, ready_since: None, down_since: Instant::now(), waited: false };
        let mut backoff = BACKOFF;
        let mut pause = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = sleep_until(state.down_since + self.give_up_after) => {
                    return Err(state.unreachable());
                }
                () = sleep(pause) => {}
            }
            let end = self.connection(stop, &mut state, &mut handle).await;
            let stable_after = if matches!(end, End::Invalid) { SESSION_STABLE_AFTER } else { STABLE_AFTER };
            let ready_since = state.ready_since.take();
            if ready_since.is_some_and(|since| since.elapsed() >= stable_after) {
                backoff = BACKOFF;
                pause = Duration::ZERO;
            } else {
                // Not all bots that Discord dropped come back at once.
                pause = backoff.pause().mul_f64(1.0 + fastrand::f64() / 4.0);
            }
            match (ready_since, &mut state.session) {
                (Some(_), _) => {
                    state.down_since = Instant::now();
                    (self.tell)(false);
                }
                // The address to resume at may be what is out of reach.
                (None, Some(session)) => session.resume_url = None,
                (None, None) => {}
            }
            match end {
                End::Stopped => return Ok(()),
                End::Fatal(error) => return Err(error),
                End::Lost(why) => tracing::warn!("the connection to Discord was lost: {why}"),
                End::Busy(asked) => {
                    pause = leave_alone(asked, pause);
                    // To end and be started again would make it worse.
                    state.down_since = Instant::now() + pause;
                }
                End::SessionsSpent { remaining, wait } => {
                    tracing::error!(
                        remaining,
                        "nearly all connections that Discord allows in a day are spent; the next one is made in {} s, since \
                         Discord resets the bot's token when all are",
                        wait.as_secs()
                    );
                    pause = pause.max(wait);
                    // While there are some, one wait is enough; when there are none, it has to be looked again.
                    state.waited = remaining >= LAST_SESSIONS;
                    // It waits on purpose.
                    state.down_since = Instant::now() + pause;
                }
                End::Invalid => {
                    tracing::info!("Discord ended the session, a new one is begun");
                    state.session = None;
                    // "Wait a random amount of time, between 1 and 5 seconds" ("Gateway", resuming).
                    pause = pause.max(Duration::from_secs(1).mul_f64(1.0 + 4.0 * fastrand::f64()));
                }
            }
        }
    }

    async fn connection(
        &self,
        stop: &CancellationToken,
        state: &mut State,
        handle: &mut impl FnMut(Payload<'_>),
    ) -> End {
        let give_up = sleep_until(state.down_since + self.give_up_after);
        let socket = tokio::select! {
            biased;
            () = stop.cancelled() => return End::Stopped,
            () = give_up => return End::Fatal(state.unreachable()),
            socket = self.connect(state) => match socket {
                Ok(socket) => socket,
                Err(end) => return end,
            },
        };
        let mut connection = Connection {
            socket,
            heartbeat: None,
            next_beat: Instant::now(),
            acknowledged: true,
            ready_by: Instant::now() + READY_TIMEOUT,
        };
        let end = self.converse(&mut connection, stop, state, handle).await;
        let code = if matches!(end, End::Stopped) { CloseCode::Normal } else { CloseCode::Library(RESUMABLE) };
        let frame = CloseFrame { code, reason: "".into() };
        let _ = timeout(Duration::from_secs(1), connection.socket.close(Some(frame))).await;
        end
    }

    async fn connect(&self, state: &State) -> Result<WebSocketStream<Upgraded>, End> {
        let resume_url = state.session.as_ref().and_then(|session| session.resume_url.clone());
        let url = match resume_url {
            Some(url) => url,
            None => match self.rest.gateway().await {
                Ok(info) => {
                    let identifies = state.session.is_none() && !state.waited;
                    if let Some(wait) = info.wait_before_identify().filter(|_| identifies) {
                        return Err(End::SessionsSpent { remaining: info.session_start_limit.remaining, wait });
                    }
                    info.address().map_err(|error| End::Lost(error.to_string()))?
                }
                Err(error) if error.status() == Some(401) => return Err(End::Fatal(GatewayError::Token)),
                Err(error) => return Err(no_connection(&error)),
            },
        };
        let stream = self.rest.open_websocket(url).await.map_err(|error| no_connection(&error))?;
        Ok(WebSocketStream::from_raw_socket(stream, Role::Client, None).await)
    }

    async fn converse(
        &self,
        connection: &mut Connection,
        stop: &CancellationToken,
        state: &mut State,
        handle: &mut impl FnMut(Payload<'_>),
    ) -> End {
        let mut stopped = pin!(stop.cancelled());
        let mut late = pin!(sleep_until(connection.ready_by.min(state.down_since + self.give_up_after)));
        let mut beat = pin!(sleep_until(connection.next_beat));
        loop {
            if beat.deadline() != connection.next_beat {
                beat.as_mut().reset(connection.next_beat);
            }
            let message = tokio::select! {
                biased;
                () = &mut stopped => return End::Stopped,
                () = &mut late, if state.ready_since.is_none() => {
                    return End::Lost("it did not become ready".to_owned());
                }
                () = &mut beat, if connection.heartbeat.is_some() => {
                    if !connection.acknowledged {
                        return End::Lost("a heartbeat was not answered".to_owned());
                    }
                    connection.acknowledged = false;
                    if let Err(end) = connection.beat(state).await {
                        return end;
                    }
                    continue;
                }
                message = connection.socket.next() => message,
            };
            let end = match message {
                None => End::Lost("it was closed".to_owned()),
                Some(Err(error)) => End::Lost(net::error_chain(&error)),
                Some(Ok(Message::Close(frame))) => closed(frame.as_ref()),
                Some(Ok(Message::Text(text))) => match self.receive(&text, connection, state, handle).await {
                    Ok(()) => continue,
                    Err(end) => end,
                },
                Some(Ok(_)) => continue,
            };
            return end;
        }
    }

    async fn receive(
        &self,
        text: &str,
        connection: &mut Connection,
        state: &mut State,
        handle: &mut impl FnMut(Payload<'_>),
    ) -> Result<(), End> {
        let Ok(frame) = serde_json::from_str::<Frame<'_>>(text) else {
            tracing::warn!("a message from the gateway can't be understood");
            return Ok(());
        };
        let data = frame.d.map_or("null", RawValue::get);
        match frame.op {
            Opcode::Dispatch => {
                match frame.t.unwrap_or_default() {
                    "INTERACTION_CREATE" => match serde_json::from_str(data) {
                        Ok(payload) => handle(payload),
                        // Not the error's own words: they may quote the interaction's token.
                        Err(error) => tracing::warn!(
                            "an interaction was left alone because it can't be understood: {:?} error at column {}",
                            error.classify(),
                            error.column()
                        ),
                    },
                    "READY" => {
                        let Ok(ready) = serde_json::from_str::<Ready>(data) else {
                            return Err(End::Lost("its READY can't be understood".to_owned()));
                        };
                        let resume_url = ready.resume_gateway_url.as_deref().and_then(address);
                        state.session = Some(Session { id: ready.session_id, resume_url, seq: None });
                        state.ready_since = Some(Instant::now());
                        (self.tell)(true);
                        tracing::info!("connected to Discord, ready for commands");
                    }
                    "RESUMED" => {
                        state.ready_since = Some(Instant::now());
                        (self.tell)(true);
                        tracing::info!("connected to Discord again");
                    }
                    _ => {}
                }
                if let Some(session) = &mut state.session {
                    session.seq = frame.s.or(session.seq);
                }
            }
            Opcode::Heartbeat => connection.beat(state).await?,
            Opcode::Reconnect => return Err(End::Lost("Discord asked for a new connection".to_owned())),
            Opcode::InvalidSession if data == "true" => {
                return Err(End::Lost("Discord wants the session resumed".to_owned()));
            }
            Opcode::InvalidSession => return Err(End::Invalid),
            Opcode::Hello => {
                let Ok(hello) = serde_json::from_str::<Hello>(data) else {
                    return Err(End::Lost("its HELLO can't be understood".to_owned()));
                };
                let interval = Duration::from_millis(hello.heartbeat_interval.max(1));
                connection.heartbeat = Some(interval);
                connection.next_beat = Instant::now() + interval.mul_f64(fastrand::f64());
                connection.send(&self.identify_or_resume(state)).await?;
                state.waited = false;
            }
            Opcode::HeartbeatAck => connection.acknowledged = true,
            _ => {}
        }
        Ok(())
    }

    fn identify_or_resume(&self, state: &State) -> serde_json::Value {
        let token = self.token.expose_secret();
        match &state.session {
            Some(Session { id, seq, .. }) => {
                json!({"op": Opcode::Resume, "d": {"token": token, "session_id": id, "seq": seq}})
            }
            None => {
                let properties = json!({"os": std::env::consts::OS, "browser": "wolkvox-bot", "device": "wolkvox-bot"});
                // Interactions need no intent.
                json!({"op": Opcode::Identify, "d": {"token": token, "intents": 0, "properties": properties}})
            }
        }
    }
}

/// One connection.
struct Connection {
    socket: WebSocketStream<Upgraded>,
    heartbeat: Option<Duration>,
    next_beat: Instant,
    acknowledged: bool,
    ready_by: Instant,
}

impl Connection {
    async fn beat(&mut self, state: &State) -> Result<(), End> {
        if let Some(interval) = self.heartbeat {
            self.next_beat = Instant::now() + interval;
        }
        let seq = state.session.as_ref().and_then(|session| session.seq);
        self.send(&json!({"op": Opcode::Heartbeat, "d": seq})).await
    }

    async fn send(&mut self, message: &serde_json::Value) -> Result<(), End> {
        match timeout(SEND_TIMEOUT, self.socket.send(Message::text(message.to_string()))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::Lost(net::error_chain(&error))),
            Err(_) => Err(End::Lost("nothing can be sent".to_owned())),
        }
    }
}

fn no_connection(error: &RestError) -> End {
    match error {
        RestError::Refused { status: 429, retry_after, .. } => End::Busy(retry_after.unwrap_or_default()),
        error => End::Lost(net::error_chain(error)),
    }
}

/// A gateway address that a token may travel to, as the address of the HTTP request that opens the websocket.
fn address(url: &str) -> Option<Url> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = match scheme {
        "wss" => "https",
        "ws" => "http",
        _ => return None,
    };
    let mut url = Url::parse(&format!("{scheme}://{rest}")).ok().filter(net::keeps_secrets)?;
    url.set_query(Some("v=10&encoding=json"));
    Some(url)
}

impl GatewayInfo {
    /// How long to wait before an IDENTIFY, so that those of a day last. `None` while there are plenty; the very last ones
    /// are not sent.
    pub fn wait_before_identify(&self) -> Option<Duration> {
        let SessionStartLimit { remaining, reset_after } = self.session_start_limit;
        let until_reset = Duration::from_millis(reset_after);
        match remaining {
            0..LAST_SESSIONS => Some(until_reset),
            LAST_SESSIONS..FEW_SESSIONS => Some(until_reset / remaining),
            _ => None,
        }
    }

    /// Where the websocket is opened.
    ///
    /// # Errors
    /// When the bot's token may not travel there.
    pub fn address(&self) -> Result<Url, RestError> {
        address(&self.url).ok_or_else(|| RestError::Unreadable("the gateway's address is not wss".to_owned()))
    }
}

fn closed(frame: Option<&CloseFrame>) -> End {
    match frame.map(|frame| u16::from(frame.code)) {
        Some(close_codes::AUTHENTICATION_FAILED) => End::Fatal(GatewayError::Token),
        Some(
            code @ (close_codes::INVALID_SHARD
            | close_codes::SHARDING_REQUIRED
            | INVALID_API_VERSION
            | close_codes::INVALID_GATEWAY_INTENTS
            | close_codes::DISALLOWED_GATEWAY_INTENTS),
        ) => End::Fatal(GatewayError::Closed(code)),
        Some(close_codes::NOT_AUTHENTICATED | close_codes::INVALID_SEQUENCE | close_codes::SESSION_TIMEOUT) => {
            End::Invalid
        }
        Some(code) => End::Lost(format!("it was closed with code {code}")),
        None => End::Lost("it was closed".to_owned()),
    }
}
