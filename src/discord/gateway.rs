//! The connection that interactions come in through (Discord, "Gateway").
//!
//! serenity's own client (0.12.5) prints a payload that it can't decode into the log as a whole, with the interaction's
//! token. It resumes without a pause, wakes up twice a second, and its TLS has known vulnerabilities. twilight's knows no
//! way through a proxy, and connects again at once where a gateway accepts a connection and closes it. The protocol is
//! small when only interactions are wanted, so it is spoken here.
//!
//! When the bot resumes, identifies, waits and ends is decided in [`super::reconnect`].

use std::convert::Infallible;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::{Upgraded, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use serenity::constants::Opcode;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, sleep_until, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;

use super::error::RestError;
use super::interaction::Payload;
use super::payloads::GatewayInfo;
use super::reconnect::{GatewayError, Interruption, Session, State};
use super::rest::Rest;
use crate::net;

/// How long a connection may take to become ready once it is made.
const READY_TIMEOUT: Duration = Duration::from_secs(15);
/// How long sending one message may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// With fewer IDENTIFYs left than this, none is sent before there are more: past the last one Discord resets the token.
const LAST_SESSIONS: u32 = 10;
/// With at least so many left, one may be spent on a mere suspicion.
const PLENTY_OF_SESSIONS: u32 = 100;
/// Our own code for a connection that is given up: any but 1000 and 1001 leaves the session to be resumed.
const RESUMABLE: CloseCode = CloseCode::Library(4000);

type Socket = WebSocketStream<Upgraded>;

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
        let mut socket = None;
        let ended = stop.run_until_cancelled(self.stay_connected(&mut socket, &mut handle)).await;
        close(socket, CloseCode::Normal).await;
        match ended {
            Some(Err(error)) => Err(error),
            None => Ok(()),
        }
    }

    async fn stay_connected(
        &self,
        socket: &mut Option<Socket>,
        handle: &mut impl FnMut(Payload<'_>),
    ) -> Result<Infallible, GatewayError> {
        let mut state = State::new(self.give_up_after);
        loop {
            let Err(why) = self.connection(socket, &mut state, handle).await;
            if state.is_ready() {
                (self.tell)(false);
            }
            close(socket.take(), RESUMABLE).await;
            sleep(state.pause_after(why)?).await;
        }
    }

    /// One connection, until its end.
    async fn connection(
        &self,
        socket: &mut Option<Socket>,
        state: &mut State,
        handle: &mut impl FnMut(Payload<'_>),
    ) -> Result<Infallible, Interruption> {
        let socket = socket.insert(self.connect(state).await?);
        let ready_by = Instant::now() + READY_TIMEOUT;
        let interval = timeout_at(ready_by, hello(socket)).await.map_err(|_| Interruption::Silent)??;
        let mut beat = interval_at(Instant::now() + interval.mul_f64(fastrand::f64()), interval);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut connection = Connection { socket, beat, acknowledged: true };
        connection.send(&self.identify_or_resume(state)).await?;
        loop {
            tokio::select! {
                biased;
                () = sleep_until(ready_by), if !state.is_ready() => return Err(Interruption::Silent),
                _ = connection.beat.tick() => {
                    if !connection.acknowledged {
                        return Err(Interruption::Silent);
                    }
                    connection.acknowledged = false;
                    connection.beat(state).await?;
                }
                text = receive(connection.socket) => self.understand(&text?, &mut connection, state, handle).await?,
            }
        }
    }

    async fn connect(&self, state: &mut State) -> Result<Socket, Interruption> {
        let resume_url = state.session.as_ref().and_then(|session| session.resume_url.clone());
        let url = match resume_url {
            Some(url) => url,
            None => self.ask_for_address(state).await?,
        };
        let stream = self.rest.open_websocket(url).await.map_err(Interruption::NoConnection)?;
        Ok(WebSocketStream::from_raw_socket(stream, Role::Client, None).await)
    }

    async fn ask_for_address(&self, state: &mut State) -> Result<Url, Interruption> {
        let info = self.rest.gateway().await.map_err(Interruption::NoConnection)?;
        let remaining = info.session_start_limit.remaining;
        if remaining >= PLENTY_OF_SESSIONS && state.session.as_ref().is_some_and(Session::is_silent) {
            tracing::info!("no interaction came in for an hour, a new session begins");
            state.session = None;
        }
        match info.wait_before_identify() {
            Some(wait) if state.session.is_none() => Err(Interruption::FewIdentifies { remaining, wait }),
            _ => info.address().map_err(Interruption::NoConnection),
        }
    }

    async fn understand(
        &self,
        text: &str,
        connection: &mut Connection<'_>,
        state: &mut State,
        handle: &mut impl FnMut(Payload<'_>),
    ) -> Result<(), Interruption> {
        let Ok(frame) = serde_json::from_str::<Frame<'_>>(text) else {
            tracing::warn!("a message from the gateway can't be understood");
            return Ok(());
        };
        let data = frame.d.map_or("null", RawValue::get);
        match frame.op {
            Opcode::Dispatch => {
                self.dispatch(frame.t.unwrap_or_default(), data, state, handle);
                if let Some(session) = &mut state.session {
                    session.seq = frame.s.or(session.seq);
                }
            }
            Opcode::Heartbeat => {
                connection.beat.reset();
                connection.beat(state).await?;
            }
            Opcode::HeartbeatAck => connection.acknowledged = true,
            Opcode::Reconnect => return Err(Interruption::Asked),
            Opcode::InvalidSession if data == "true" => return Err(Interruption::Asked),
            Opcode::InvalidSession => return Err(Interruption::SessionOver),
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&self, event: &str, data: &str, state: &mut State, handle: &mut impl FnMut(Payload<'_>)) {
        match event {
            "INTERACTION_CREATE" => {
                if let Some(session) = &mut state.session {
                    session.last_interaction = Instant::now();
                }
                match serde_json::from_str(data) {
                    Ok(payload) => handle(payload),
                    // Not the error's own words: they may quote the interaction's token.
                    Err(error) => tracing::warn!(
                        "an interaction was ignored, because it can't be understood: {:?} error at column {}",
                        error.classify(),
                        error.column()
                    ),
                }
            }
            "READY" | "RESUMED" => {
                // RESUMED has no session of its own.
                if let Ok(Ready { session_id, resume_gateway_url }) = serde_json::from_str(data) {
                    let resume_url = resume_gateway_url.as_deref().and_then(address);
                    state.session = Some(Session::new(session_id, resume_url));
                }
                state.become_ready();
                (self.tell)(true);
                tracing::info!("connected to Discord, ready for commands");
            }
            _ => {}
        }
    }

    fn identify_or_resume(&self, state: &mut State) -> Value {
        let token = self.token.expose_secret();
        if let Some(session) = &mut state.session {
            session.resumes += 1;
            let Session { id, seq, .. } = session;
            return json!({"op": Opcode::Resume, "d": {"token": token, "session_id": id, "seq": seq}});
        }
        state.count_identify();
        let properties = json!({"os": std::env::consts::OS, "browser": "wolkvox-bot", "device": "wolkvox-bot"});
        // Interactions need no intent.
        json!({"op": Opcode::Identify, "d": {"token": token, "intents": 0, "properties": properties}})
    }
}

struct Connection<'a> {
    socket: &'a mut Socket,
    beat: Interval,
    /// Whether the last heartbeat was acknowledged.
    acknowledged: bool,
}

impl Connection<'_> {
    async fn beat(&mut self, state: &State) -> Result<(), Interruption> {
        let seq = state.session.as_ref().and_then(|session| session.seq);
        self.send(&json!({"op": Opcode::Heartbeat, "d": seq})).await
    }

    async fn send(&mut self, message: &Value) -> Result<(), Interruption> {
        let sent = timeout(SEND_TIMEOUT, self.socket.send(Message::text(message.to_string()))).await;
        sent.map_err(|_| Interruption::Silent)?.map_err(Interruption::Broken)
    }
}

/// The next message in text.
async fn receive(socket: &mut Socket) -> Result<Utf8Bytes, Interruption> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Ok(text),
            Some(Ok(Message::Close(frame))) => {
                let code = frame.map_or(CloseCode::Status, |frame| frame.code);
                return Err(Interruption::Closed(code.into()));
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(Interruption::Broken(error)),
            None => return Err(Interruption::Closed(CloseCode::Abnormal.into())),
        }
    }
}

/// Waits for HELLO, which comes first, and has the pause between heartbeats.
async fn hello(socket: &mut Socket) -> Result<Duration, Interruption> {
    loop {
        let message: Value = serde_json::from_str(&receive(socket).await?).unwrap_or_default();
        if let Some(interval) = message["d"]["heartbeat_interval"].as_u64() {
            return Ok(Duration::from_millis(interval.max(1)));
        }
    }
}

async fn close(socket: Option<Socket>, code: CloseCode) {
    let Some(mut socket) = socket else { return };
    let frame = CloseFrame { code, reason: Utf8Bytes::default() };
    let _ = timeout(Duration::from_secs(1), socket.close(Some(frame))).await;
}

/// A gateway address that a token may travel to, as the address of the HTTP request that opens the websocket.
fn address(url: &str) -> Option<Url> {
    let mut url = Url::parse(&["http", url.strip_prefix("ws")?].concat()).ok().filter(net::keeps_secrets)?;
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
    /// When the bot's token may not travel there: Discord names no such address.
    pub fn address(&self) -> Result<Url, RestError> {
        address(&self.url).ok_or(RestError::NotDiscord(200))
    }
}
