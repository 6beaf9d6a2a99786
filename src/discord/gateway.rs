//! The connection that interactions come in through (Discord, "Gateway").
//!
//! serenity's own client (0.12.5) prints a payload that it can't decode into the log as a whole, with the interaction's
//! token. It resumes without a pause, wakes up twice a second, and its TLS has known vulnerabilities. twilight's knows no
//! way through a proxy, and connects again at once where a gateway accepts a connection and closes it. The protocol is
//! small when only interactions are wanted, so it is spoken here.

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

use super::error::RestError;
use super::interaction::Payload;
use super::payloads::GatewayInfo;
use super::reconnect::{End, GatewayError, Interruption, Introduction, Session, State};
use super::rest::Rest;
use crate::net;

/// How long a connection may take to become ready once it is made: with a new session, and with one that is resumed.
const READY_TIMEOUT: Duration = Duration::from_secs(20);
const RESUME_TIMEOUT: Duration = Duration::from_secs(10);
/// How long sending one message may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// With fewer IDENTIFYs left than this, none is sent before there are more: past the last one Discord resets the token.
const LAST_SESSIONS: u32 = 10;
/// With at least so many left, one may be spent on a mere suspicion.
const PLENTY_OF_SESSIONS: u32 = 100;
/// A session that carried no interaction for so long may carry none any more: Discord has had such sessions.
const SILENT_AFTER: Duration = Duration::from_secs(60 * 60);
/// Our own code for a connection that is given up: any but 1000 and 1001 leaves the session to be resumed.
const RESUMABLE: u16 = 4000;
/// A session began with an API version that Discord no longer speaks. serenity has no name for it.
const INVALID_API_VERSION: u16 = 4012;

pub struct Gateway<'a> {
    /// Tells the gateway's address, and makes the connection.
    pub rest: &'a Rest,
    pub token: &'a SecretString,
    /// How long it may be without a ready connection before it gives up.
    pub give_up_after: Duration,
    /// Is told when interactions begin to come in, and when they no longer do.
    pub tell: &'a (dyn Fn(bool) + Sync),
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
        let mut state = State::new(self.give_up_after);
        let mut pause = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = sleep(pause) => {}
            }
            let end = self.connection(stop, &mut state, &mut handle).await;
            if state.is_ready() {
                (self.tell)(false);
            }
            pause = match state.next_pause(end)? {
                Some(pause) => pause,
                None => return Ok(()),
            };
        }
    }

    async fn connection(
        &self,
        stop: &CancellationToken,
        state: &mut State,
        handle: &mut impl FnMut(Payload<'_>),
    ) -> End {
        let socket = tokio::select! {
            biased;
            () = stop.cancelled() => return End::Stopped,
            socket = self.connect(state) => match socket {
                Ok(socket) => socket,
                Err(end) => return end,
            },
        };
        let ready_within = if state.session.is_some() { RESUME_TIMEOUT } else { READY_TIMEOUT };
        let mut connection = Connection {
            socket,
            heartbeat: None,
            next_beat: Instant::now(),
            acknowledged: true,
            ready_by: Instant::now() + ready_within,
        };
        let end = self.converse(&mut connection, stop, state, handle).await;
        let code = if matches!(end, End::Stopped) { CloseCode::Normal } else { CloseCode::Library(RESUMABLE) };
        let frame = CloseFrame { code, reason: "".into() };
        let _ = timeout(Duration::from_secs(1), connection.socket.close(Some(frame))).await;
        end
    }

    async fn connect(&self, state: &mut State) -> Result<WebSocketStream<Upgraded>, End> {
        self.renew_silent_session(state).await;
        let resume_url = state.session.as_ref().and_then(|session| session.resume_url.clone());
        let url = match resume_url {
            Some(url) => url,
            None => match self.rest.gateway().await {
                Ok(info) => {
                    if let Some(wait) = info.wait_before_identify().filter(|_| state.session.is_none()) {
                        return Err(End::SessionsSpent { remaining: info.session_start_limit.remaining, wait });
                    }
                    info.address().map_err(no_connection)?
                }
                Err(error) if error.status() == Some(401) => return Err(End::Fatal(GatewayError::Token)),
                Err(error) => return Err(no_connection(error)),
            },
        };
        let stream = self.rest.open_websocket(url).await.map_err(no_connection)?;
        Ok(WebSocketStream::from_raw_socket(stream, Role::Client, None).await)
    }

    /// Forgets a session that may carry no interaction any more, where a new one may be begun.
    async fn renew_silent_session(&self, state: &mut State) {
        let Some(session) = state.session.as_mut().filter(|session| session.renew) else { return };
        session.renew = false;
        let plenty = |info: &GatewayInfo| info.session_start_limit.remaining >= PLENTY_OF_SESSIONS;
        if self.rest.gateway().await.as_ref().is_ok_and(plenty) {
            tracing::info!("no interaction came in for an hour, a new session is begun");
            state.session = None;
        }
    }

    async fn converse(
        &self,
        connection: &mut Connection,
        stop: &CancellationToken,
        state: &mut State,
        handle: &mut impl FnMut(Payload<'_>),
    ) -> End {
        let mut stopped = pin!(stop.cancelled());
        let mut late = pin!(sleep_until(connection.ready_by));
        let mut beat = pin!(sleep_until(connection.next_beat));
        loop {
            if beat.deadline() != connection.next_beat {
                beat.as_mut().reset(connection.next_beat);
            }
            let message = tokio::select! {
                biased;
                () = &mut stopped => return End::Stopped,
                () = &mut late, if !state.is_ready() => return End::Lost(Interruption::NotReady),
                () = &mut beat, if connection.heartbeat.is_some() => {
                    if !connection.acknowledged {
                        return End::Lost(Interruption::Heartbeat);
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
                None => End::Lost(Interruption::Dropped),
                Some(Err(error)) => End::Lost(Interruption::Broken(net::error_chain(&error))),
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
                self.dispatch(frame.t.unwrap_or_default(), data, state, handle)?;
                if let Some(session) = &mut state.session {
                    session.seq = frame.s.or(session.seq);
                }
            }
            Opcode::Heartbeat => connection.beat(state).await?,
            Opcode::Reconnect => {
                if let Some(session) = &mut state.session {
                    session.renew = session.last_interaction.elapsed() >= SILENT_AFTER;
                }
                return Err(End::Lost(Interruption::Asked));
            }
            Opcode::InvalidSession if data == "true" => return Err(End::Lost(Interruption::ToBeResumed)),
            Opcode::InvalidSession => return Err(End::Invalid),
            Opcode::Hello => {
                let Ok(hello) = serde_json::from_str::<Hello>(data) else {
                    return Err(End::Lost(Interruption::Unreadable));
                };
                let interval = Duration::from_millis(hello.heartbeat_interval.max(1));
                connection.heartbeat = Some(interval);
                connection.next_beat = Instant::now() + interval.mul_f64(fastrand::f64());
                let introduction = if state.session.is_some() { Introduction::Resume } else { Introduction::Identify };
                state.introduced = Some(introduction);
                connection.send(&self.identify_or_resume(state)).await?;
            }
            Opcode::HeartbeatAck => connection.acknowledged = true,
            _ => {}
        }
        Ok(())
    }

    fn dispatch(
        &self,
        event: &str,
        data: &str,
        state: &mut State,
        handle: &mut impl FnMut(Payload<'_>),
    ) -> Result<(), End> {
        match event {
            "INTERACTION_CREATE" => {
                if let Some(session) = &mut state.session {
                    session.last_interaction = Instant::now();
                }
                match serde_json::from_str(data) {
                    Ok(payload) => handle(payload),
                    // Not the error's own words: they may quote the interaction's token.
                    Err(error) => tracing::warn!(
                        "an interaction was left alone because it can't be understood: {:?} error at column {}",
                        error.classify(),
                        error.column()
                    ),
                }
            }
            "READY" => {
                let Ok(ready) = serde_json::from_str::<Ready>(data) else {
                    return Err(End::Lost(Interruption::Unreadable));
                };
                let resume_url = ready.resume_gateway_url.as_deref().and_then(address);
                state.session = Some(Session::new(ready.session_id, resume_url));
                state.become_ready();
                (self.tell)(true);
                tracing::info!("connected to Discord, ready for commands");
            }
            "RESUMED" => {
                state.become_ready();
                (self.tell)(true);
                tracing::info!("connected to Discord again");
            }
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
            Ok(Err(error)) => Err(End::Lost(Interruption::Broken(net::error_chain(&error)))),
            Err(_) => Err(End::Lost(Interruption::Stuck)),
        }
    }
}

fn no_connection(error: RestError) -> End {
    End::Lost(Interruption::NoConnection(error))
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
    /// How long to wait before an IDENTIFY, while nearly none is left.
    pub fn wait_before_identify(&self) -> Option<Duration> {
        let limit = self.session_start_limit;
        (limit.remaining < LAST_SESSIONS).then(|| Duration::from_millis(limit.reset_after))
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
        Some(code) => End::Lost(Interruption::Closed(code)),
        None => End::Lost(Interruption::Dropped),
    }
}
