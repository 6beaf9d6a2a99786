//! The gateway.

use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use super::super::http::{self, Request, Stream};
use super::payloads::bot_user;
use super::{APPLICATION, Discord, GUILD, TOKEN};

/// In the place of a code to close with: the connection is dropped without any.
const DROPPED: u16 = 1006;

/// How the gateway treats connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gateway {
    #[default]
    Serves,
    /// The websocket is accepted and dropped.
    Drops,
    /// The connection is closed before it becomes a websocket.
    Refuses,
    /// Something on the way answers with a page, with this status.
    Page(u16),
    /// Cloudflare answers with its page for an address that it blocks.
    Banned,
    /// Heartbeats are not answered.
    Deaf,
    /// Closed with this code when the bot introduces itself.
    Closes(u16),
    /// RESUME is answered with "invalid session".
    ForgetsSessions,
    /// The connection is dropped after a RESUME.
    DropsResumes,
    /// Nothing follows a RESUME.
    IgnoresResumes,
    /// RESUME and IDENTIFY are answered with "invalid session".
    TakesNoSession,
}

#[derive(Default)]
pub(super) struct Session {
    pub(super) events: Vec<Value>,
    pub(super) connection: Option<u64>,
    /// No interaction comes in through it.
    pub(super) deaf: bool,
}

/// What a test makes the gateway do with a connection.
#[derive(Debug)]
pub enum Order {
    Send(Value),
    Close(u16),
    Drop,
    /// It stays open, but nothing passes in either direction any more.
    Stall,
}

/// How often bots may still introduce themselves.
#[derive(Clone, Copy, Debug)]
pub struct SessionStarts {
    pub remaining: u64,
    /// When there are `TOTAL` again.
    pub reset: Option<Instant>,
}

impl SessionStarts {
    pub const TOTAL: u64 = 1000;

    /// So many, and `TOTAL` again after that long.
    pub fn left(remaining: u64, reset_after: Duration) -> Self {
        Self { remaining, reset: Some(Instant::now() + reset_after) }
    }

    fn renew(&mut self) {
        if self.reset.is_some_and(|reset| reset <= Instant::now()) {
            *self = Self::default();
        }
    }

    pub(super) fn payload(&mut self) -> Value {
        self.renew();
        let reset_after = self.reset.map_or(Duration::ZERO, |reset| reset.saturating_duration_since(Instant::now()));
        json!({"total": Self::TOTAL, "remaining": self.remaining, "reset_after": reset_after.as_millis() as u64,
            "max_concurrency": 1})
    }

    /// Uses one up, if there is one.
    fn take(&mut self) -> bool {
        self.renew();
        let left = self.remaining > 0;
        self.remaining = self.remaining.saturating_sub(1);
        left
    }
}

impl Default for SessionStarts {
    fn default() -> Self {
        Self { remaining: Self::TOTAL, reset: None }
    }
}

impl Discord {
    pub async fn websocket<S: Stream>(&self, mut stream: S, request: &Request) {
        let gateway = self.state(|state| {
            state.gateway_connections.push(Instant::now());
            state.gateway
        });
        if request.query != "v=10&encoding=json" {
            self.violation(format!("the gateway's query {}", request.query));
        }
        let Some(key) = request.header("sec-websocket-key") else { return };
        let accept = derive_accept_key(key.as_bytes());
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n"
        );
        if stream.write_all(head.as_bytes()).await.is_err() || gateway == Gateway::Drops {
            return;
        }
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        let (orders, mut ordered) = mpsc::unbounded_channel();
        let connection = self.snowflake();
        let heartbeat = self.state(|state| state.heartbeat.unwrap_or(41_250));
        let hello = json!({"op": 10, "s": null, "t": null, "d": {"heartbeat_interval": heartbeat, "_trace": ["[]"]}});
        if socket.send(Message::text(hello.to_string())).await.is_err() {
            return;
        }
        let mut introduced = false;
        loop {
            tokio::select! {
                order = ordered.recv() => match order {
                    Some(Order::Send(event)) => {
                        if socket.send(Message::text(event.to_string())).await.is_err() { break }
                    }
                    Some(Order::Close(code)) => {
                        close(&mut socket, code).await;
                        break;
                    }
                    Some(Order::Stall) => {
                        http::swallow(socket.get_mut()).await;
                        break;
                    }
                    Some(Order::Drop) | None => break,
                },
                message = socket.next() => {
                    let Some(Ok(Message::Text(text))) = message else { break };
                    let Ok(message) = serde_json::from_str::<Value>(&text) else {
                        close(&mut socket, 4002).await;
                        break;
                    };
                    match message["op"].as_u64() {
                        Some(1) => {
                            self.state(|state| state.heartbeats += 1);
                            if !(message["d"].is_u64() || message["d"].is_null()) {
                                self.violation(format!("a heartbeat with {}", message["d"]));
                            }
                            if self.state(|state| state.gateway) != Gateway::Deaf {
                                let _ = socket.send(Message::text(json!({"op": 11}).to_string())).await;
                            }
                        }
                        Some(2 | 6) if introduced => {
                            close(&mut socket, 4005).await;
                            break;
                        }
                        Some(op @ (2 | 6)) => {
                            introduced = true;
                            match self.introduce(op, &message["d"], connection, &orders) {
                                Ok(events) => {
                                    for event in events {
                                        let _ = socket.send(Message::text(event.to_string())).await;
                                    }
                                }
                                Err(DROPPED) => break,
                                Err(code) => {
                                    close(&mut socket, code).await;
                                    break;
                                }
                            }
                        }
                        _ => {
                            self.violation(format!("the gateway was sent {text}"));
                            close(&mut socket, 4001).await;
                            break;
                        }
                    }
                }
            }
        }
        self.state(|state| {
            state.connected.remove(&connection);
            for session in state.sessions.values_mut() {
                if session.connection == Some(connection) {
                    session.connection = None;
                }
            }
        });
    }

    /// IDENTIFY or RESUME: what is to be sent, or the code to close with.
    fn introduce(
        &self,
        op: u64,
        data: &Value,
        connection: u64,
        orders: &mpsc::UnboundedSender<Order>,
    ) -> Result<Vec<Value>, u16> {
        let gateway = self.state(|state| state.gateway);
        if data["token"] != TOKEN {
            return Err(4004);
        }
        if let Gateway::Closes(code) = gateway {
            return Err(code);
        }
        if op == 6 {
            return self.resume(data, connection, orders);
        }
        if data["intents"] != 0 || !data["properties"]["os"].is_string() {
            self.violation(format!("an IDENTIFY with intents {} ", data["intents"]));
            return Err(4013);
        }
        if !self.state(|state| state.session_starts.take()) {
            self.violation("an IDENTIFY although none was left: Discord resets the token".to_owned());
            return Err(4004);
        }
        if gateway == Gateway::TakesNoSession {
            self.state(|state| state.identifies += 1);
            return Ok(vec![json!({"op": 9, "d": false})]);
        }
        let session = format!("session-{connection}");
        let ready = json!({"op": 0, "s": 1, "t": "READY", "d": {
            "v": 10, "user": bot_user(), "guilds": [{"id": GUILD.to_string(), "unavailable": true}],
            "session_id": session, "session_type": "normal",
            "resume_gateway_url": format!("{}/gateway-socket/", self.gateway_url),
            "application": {"id": APPLICATION.to_string(), "flags": 0},
            "private_channels": [], "relationships": [], "presences": [], "user_settings": {}, "_trace": ["[]"]
        }});
        self.state(|state| {
            state.identifies += 1;
            let events = vec![ready.clone()];
            state.sessions.insert(session, Session { events, connection: Some(connection), deaf: false });
            state.connected.insert(connection, orders.clone());
        });
        Ok(vec![ready])
    }

    fn resume(&self, data: &Value, connection: u64, orders: &mpsc::UnboundedSender<Order>) -> Result<Vec<Value>, u16> {
        let gateway = self.state(|state| state.gateway);
        self.state(|state| state.resumes += 1);
        match gateway {
            Gateway::DropsResumes => return Err(DROPPED),
            Gateway::IgnoresResumes => return Ok(Vec::new()),
            _ => {}
        }
        let session = data["session_id"].as_str().unwrap_or_default().to_owned();
        let Some(seq) = data["seq"].as_u64() else { return Err(4007) };
        Ok(self.state(|state| {
            let forgets = matches!(gateway, Gateway::ForgetsSessions | Gateway::TakesNoSession);
            let known = state.sessions.get_mut(&session).filter(|_| !forgets);
            let Some(known) = known else { return vec![json!({"op": 9, "d": false})] };
            known.connection = Some(connection);
            let mut missed: Vec<Value> = known.events.iter().skip(seq as usize).cloned().collect();
            let resumed = json!({"op": 0, "s": known.events.len() + 1, "t": "RESUMED", "d": {"_trace": []}});
            known.events.push(resumed.clone());
            missed.push(resumed);
            state.connected.insert(connection, orders.clone());
            missed
        }))
    }
}

async fn close<S: Stream>(socket: &mut WebSocketStream<S>, code: u16) {
    let _ = socket.close(Some(CloseFrame { code: code.into(), reason: "".into() })).await;
    // The other side's part of the closing handshake.
    while let Some(Ok(_)) = socket.next().await {}
}
