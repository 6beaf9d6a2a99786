//! The connection that interactions come in through.
//!
//! serenity's own client drops what it can't decode without a word, reconnects without a pause, goes on for
//! ever with a wrong token and wakes up twice a second; its `Shard` can't be read from outside the crate. The
//! protocol is small when only interactions are wanted, so it is spoken here (Discord, "Gateway").

use std::pin::pin;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use native_tls::TlsConnector;
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};
use tokio_util::sync::CancellationToken;

use super::interaction::Payload;
use super::rest::Rest;
use crate::net;

/// How long a connection may take to be made, and then to become ready.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const READY_TIMEOUT: Duration = Duration::from_secs(20);
/// A connection that was ready for this long was a good one: the next is tried without a pause.
const GOOD: Duration = Duration::from_secs(10);
/// The same for a session that Discord ended, since a new one counts towards the 1000 IDENTIFYs a day.
const GOOD_SESSION: Duration = Duration::from_secs(300);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

const INTERACTION_CREATE: &str = "INTERACTION_CREATE";

/// The gateway's client.
pub struct Gateway<'a> {
    /// Tells the gateway's address.
    pub rest: &'a Rest,
    /// The bot's token.
    pub token: &'a SecretString,
    /// The TLS configuration.
    pub tls: &'a TlsConnector,
    /// How long it may be without a ready connection before it gives up.
    pub give_up_after: Duration,
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

/// A session that can be resumed.
struct Session {
    id: String,
    resume_url: Option<Url>,
}

/// How one connection ended.
enum End {
    Stopped,
    Fatal(GatewayError),
    /// To be resumed where there is a session.
    Lost(String),
    /// The session is over.
    Invalid,
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What survives a connection.
struct State {
    session: Option<Session>,
    seq: Option<u64>,
    ready_since: Option<Instant>,
    down_since: Instant,
}

/// A message of the gateway, with `D` as its data.
#[derive(Deserialize)]
struct Frame<'a, D> {
    op: u8,
    s: Option<u64>,
    t: Option<&'a str>,
    d: Option<D>,
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
    /// Stays connected until `stop` is cancelled, and hands the payload of every interaction to `dispatch`, or why
    /// it is none.
    ///
    /// # Errors
    /// When Discord refuses for good, or was out of reach for too long.
    pub async fn run(
        &self,
        stop: &CancellationToken,
        mut dispatch: impl FnMut(serde_json::Result<Payload<'_>>),
    ) -> Result<(), GatewayError> {
        let mut state = State { session: None, seq: None, ready_since: None, down_since: Instant::now() };
        let mut failures = 0;
        let mut extra = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = sleep_until(state.down_since + self.give_up_after) => {
                    return Err(GatewayError::Unreachable(self.give_up_after));
                }
                () = sleep(pause(failures).max(extra)) => {}
            }
            extra = Duration::ZERO;
            let end = self.connection(stop, &mut state, &mut dispatch).await;
            if let Some(ready_since) = state.ready_since.take() {
                let good = if matches!(end, End::Invalid) { GOOD_SESSION } else { GOOD };
                failures = if ready_since.elapsed() >= good { 0 } else { failures + 1 };
                state.down_since = Instant::now();
            } else {
                failures += 1;
                // The resume address may be what is out of reach.
                if let Some(session) = &mut state.session {
                    session.resume_url = None;
                }
            }
            match end {
                End::Stopped => return Ok(()),
                End::Fatal(error) => return Err(error),
                End::Lost(why) => tracing::warn!("the connection to Discord was lost: {why}"),
                End::Invalid => {
                    tracing::info!("Discord ended the session, a new one is begun");
                    state.session = None;
                    // "Wait a random amount of time, between 1 and 5 seconds" ("Gateway", resuming).
                    extra = Duration::from_secs(1).mul_f64(1.0 + 4.0 * fastrand::f64());
                }
            }
        }
    }

    async fn connection(
        &self,
        stop: &CancellationToken,
        state: &mut State,
        dispatch: &mut impl FnMut(serde_json::Result<Payload<'_>>),
    ) -> End {
        let give_up = sleep_until(state.down_since + self.give_up_after);
        let socket = tokio::select! {
            biased;
            () = stop.cancelled() => return End::Stopped,
            () = give_up => return End::Fatal(GatewayError::Unreachable(self.give_up_after)),
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
        let end = self.converse(&mut connection, stop, state, dispatch).await;
        // 1000 ends the session, any other code leaves it to be resumed ("Gateway", disconnecting).
        let code = if matches!(end, End::Stopped) { CloseCode::Normal } else { CloseCode::Library(4000) };
        let frame = CloseFrame { code, reason: "".into() };
        let _ = timeout(Duration::from_secs(1), connection.socket.close(Some(frame))).await;
        end
    }

    async fn connect(&self, state: &State) -> Result<Socket, End> {
        let lost = |why: String| End::Lost(why);
        let resume_url = state.session.as_ref().and_then(|session| session.resume_url.clone());
        let mut url = match resume_url {
            Some(url) => url,
            None => match self.rest.gateway().await {
                Ok(url) => address(&url).ok_or_else(|| lost("the gateway's address is not wss".to_owned()))?,
                Err(error) if error.status() == Some(401) => return Err(End::Fatal(GatewayError::Token)),
                Err(error) => return Err(lost(error.to_string())),
            },
        };
        url.set_query(Some("v=10&encoding=json"));
        let tls = Connector::NativeTls(self.tls.clone());
        let connecting = connect_async_tls_with_config(url.as_str(), None, true, Some(tls));
        match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok((socket, _))) => Ok(socket),
            Ok(Err(error)) => Err(lost(net::chain(&error))),
            Err(_) => Err(lost("it took too long".to_owned())),
        }
    }

    async fn converse(
        &self,
        connection: &mut Connection,
        stop: &CancellationToken,
        state: &mut State,
        dispatch: &mut impl FnMut(serde_json::Result<Payload<'_>>),
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
                    if let Err(end) = connection.beat(state.seq).await {
                        return end;
                    }
                    continue;
                }
                message = connection.socket.next() => message,
            };
            let end = match message {
                None => End::Lost("it was closed".to_owned()),
                Some(Err(error)) => End::Lost(net::chain(&error)),
                Some(Ok(Message::Close(frame))) => closed(frame.as_ref()),
                Some(Ok(Message::Text(text))) => match self.receive(&text, connection, state, dispatch).await {
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
        dispatch: &mut impl FnMut(serde_json::Result<Payload<'_>>),
    ) -> Result<(), End> {
        // Nearly every message is an interaction: to take it for one first spares it from being read twice.
        if let Ok(Frame { op: 0, s, t: Some(INTERACTION_CREATE), d: Some(payload) }) = serde_json::from_str(text) {
            dispatch(Ok(payload));
            state.seq = s.or(state.seq);
            return Ok(());
        }
        let Ok(frame) = serde_json::from_str::<Frame<'_, &RawValue>>(text) else {
            tracing::warn!("a message from the gateway can't be understood");
            return Ok(());
        };
        let data = frame.d.map_or("null", RawValue::get);
        match frame.op {
            0 => {
                match frame.t.unwrap_or_default() {
                    INTERACTION_CREATE => dispatch(serde_json::from_str(data)),
                    "READY" => {
                        let Ok(ready) = serde_json::from_str::<Ready>(data) else {
                            return Err(End::Lost("its READY can't be understood".to_owned()));
                        };
                        let resume_url = ready.resume_gateway_url.as_deref().and_then(address);
                        state.session = Some(Session { id: ready.session_id, resume_url });
                        state.ready_since = Some(Instant::now());
                        tracing::info!("connected to Discord, ready for commands");
                    }
                    "RESUMED" => {
                        state.ready_since = Some(Instant::now());
                        tracing::info!("connected to Discord again");
                    }
                    _ => {}
                }
                state.seq = frame.s.or(state.seq);
            }
            1 => connection.beat(state.seq).await?,
            7 => return Err(End::Lost("Discord asked for a new connection".to_owned())),
            9 if data == "true" => return Err(End::Lost("Discord wants the session resumed".to_owned())),
            9 => return Err(End::Invalid),
            10 => {
                let Ok(hello) = serde_json::from_str::<Hello>(data) else {
                    return Err(End::Lost("its HELLO can't be understood".to_owned()));
                };
                let interval = Duration::from_millis(hello.heartbeat_interval.max(1));
                connection.heartbeat = Some(interval);
                connection.next_beat = Instant::now() + interval.mul_f64(fastrand::f64());
                connection.send(&self.introduction(state)).await?;
            }
            11 => connection.acknowledged = true,
            _ => {}
        }
        Ok(())
    }

    /// RESUME where there is a session, else IDENTIFY. Interactions need no intent.
    fn introduction(&self, state: &mut State) -> serde_json::Value {
        let token = self.token.expose_secret();
        match &state.session {
            Some(session) => {
                json!({"op": 6, "d": {"token": token, "session_id": session.id, "seq": state.seq}})
            }
            None => {
                state.seq = None;
                let properties = json!({"os": std::env::consts::OS, "browser": "wolkvox-bot", "device": "wolkvox-bot"});
                json!({"op": 2, "d": {"token": token, "intents": 0, "properties": properties}})
            }
        }
    }
}

/// One connection.
struct Connection {
    socket: Socket,
    heartbeat: Option<Duration>,
    next_beat: Instant,
    acknowledged: bool,
    ready_by: Instant,
}

impl Connection {
    async fn beat(&mut self, seq: Option<u64>) -> Result<(), End> {
        if let Some(interval) = self.heartbeat {
            self.next_beat = Instant::now() + interval;
        }
        self.send(&json!({"op": 1, "d": seq})).await
    }

    async fn send(&mut self, message: &serde_json::Value) -> Result<(), End> {
        match timeout(CONNECT_TIMEOUT, self.socket.send(Message::Text(message.to_string()))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::Lost(net::chain(&error))),
            Err(_) => Err(End::Lost("nothing can be sent".to_owned())),
        }
    }
}

/// The pause before the next connection: none after a good one, then growing, so that at most six are made
/// within 10 s and one in 30 s in the long run.
fn pause(failures: u32) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
    let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_PAUSE);
    pause.mul_f64(1.0 + fastrand::f64() / 4.0)
}

/// A gateway address that a token may travel to.
fn address(url: &str) -> Option<Url> {
    Url::parse(url).ok().filter(|url| matches!(url.scheme(), "ws" | "wss") && net::keeps_secrets(url))
}

fn closed(frame: Option<&CloseFrame<'_>>) -> End {
    match frame.map(|frame| u16::from(frame.code)) {
        Some(4004) => End::Fatal(GatewayError::Token),
        Some(code @ 4010..=4014) => End::Fatal(GatewayError::Closed(code)),
        // Not authenticated, invalid sequence, session timed out: to be begun anew.
        Some(4003 | 4007 | 4009) => End::Invalid,
        Some(code) => End::Lost(format!("it was closed with code {code}")),
        None => End::Lost("it was closed".to_owned()),
    }
}
