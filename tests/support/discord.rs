//! Discord as far as the bot sees it: REST and gateway on one port. Whatever Discord would refuse is refused
//! here, and fails the test.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use super::eventually;
use super::http::{self, Answer, Connections, Request};

pub const TOKEN: &str = "MTIzNDU2Nzg5MDEy.stand-in.discord-token_abcdefghij";
pub const APPLICATION: u64 = 1_100_000_000_000_000_001;
pub const GUILD: u64 = 1_200_000_000_000_000_002;
pub const OTHER_GUILD: u64 = 1_200_000_000_000_000_009;
pub const SUPERVISOR_ROLE: u64 = 1_300_000_000_000_000_003;
pub const QUALITY_ROLE: u64 = 1_300_000_000_000_000_004;
pub const OTHER_ROLE: u64 = 1_300_000_000_000_000_005;
pub const CHANNEL: u64 = 1_400_000_000_000_000_006;
pub const AUDIT_CHANNEL: u64 = 1_400_000_000_000_000_007;

/// Somebody at a keyboard.
#[derive(Clone, Debug)]
pub struct Actor {
    pub id: u64,
    pub name: &'static str,
    pub roles: Vec<u64>,
    /// `None` for a direct message.
    pub guild: Option<u64>,
    pub locale: &'static str,
}

pub fn supervisor() -> Actor {
    Actor { id: 501, name: "ana", roles: vec![OTHER_ROLE, SUPERVISOR_ROLE], guild: Some(GUILD), locale: "en-US" }
}

pub fn second_supervisor() -> Actor {
    Actor { id: 502, name: "bruno", roles: vec![SUPERVISOR_ROLE], ..supervisor() }
}

pub fn stranger() -> Actor {
    Actor { id: 503, name: "carla", roles: vec![OTHER_ROLE], ..supervisor() }
}

/// What happens to one request; what is not told otherwise is carried out and answered.
#[derive(Clone, Debug)]
pub enum Fate {
    Accept,
    /// Carried out after a while.
    Slow(Duration),
    /// Not carried out: this status, with Discord's code where not 0.
    Refuse(u16, u64),
    /// Not carried out: 429, to be repeated after so many seconds.
    RateLimit(f64),
    /// Not carried out, connection closed.
    CutBefore,
    /// Carried out, connection closed.
    CutAfter,
    /// Another copy was faster by a hair: its answer is the accepted one.
    AnsweredElsewhere,
}

/// How the gateway treats connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gateway {
    #[default]
    Serves,
    /// The websocket is accepted and dropped.
    Drops,
    /// The connection is closed before it becomes a websocket.
    Refuses,
    /// Heartbeats are not answered.
    Deaf,
    /// Closed with this code when the bot introduces itself.
    Closes(u16),
    /// RESUME is answered with "invalid session".
    ForgetsSessions,
}

/// An interaction and what became of it.
#[derive(Clone, Debug)]
pub struct Interaction {
    pub token: String,
    pub kind: u64,
    pub sent: Instant,
    /// The accepted first answer.
    pub first: Option<Value>,
    pub accepted_after: Option<Duration>,
    /// What people see in the end: first answer or edit.
    pub shown: Option<Value>,
    pub edits: usize,
    pub refused_answers: usize,
    /// Answered by a copy that is not part of the test.
    pub elsewhere: bool,
}

impl Interaction {
    pub fn deferred(&self) -> bool {
        self.first.as_ref().is_some_and(|first| first["type"] == 5)
    }

    /// Whether only the invoker sees the answer.
    pub fn private(&self) -> bool {
        self.first.as_ref().is_some_and(|first| first["data"]["flags"].as_u64().unwrap_or(0) & 64 != 0)
    }

    pub fn text(&self) -> Option<String> {
        self.shown.as_ref()?["content"].as_str().map(str::to_owned)
    }

    /// The custom id of the first button.
    pub fn button(&self) -> Option<String> {
        let button = &self.shown.as_ref()?["components"][0]["components"][0];
        button["custom_id"].as_str().map(str::to_owned)
    }

    pub fn finished(&self) -> bool {
        self.shown.is_some()
    }
}

#[derive(Default)]
pub struct State {
    pub interactions: BTreeMap<u64, Interaction>,
    pub commands: Option<Value>,
    pub registrations: usize,
    pub posts: Vec<Value>,
    pub first_answer_fates: VecDeque<Fate>,
    pub edit_fates: VecDeque<Fate>,
    pub other_fates: VecDeque<Fate>,
    pub chance: Option<Box<dyn FnMut(&'static str) -> Fate + Send>>,
    pub gateway: Gateway,
    pub not_in_guild: bool,
    pub without_commands_scope: bool,
    pub heartbeat: Option<u64>,
    pub heartbeats: usize,
    pub gateway_connections: Vec<Instant>,
    pub identifies: usize,
    pub resumes: usize,
    pub connected: BTreeMap<u64, mpsc::UnboundedSender<Order>>,
    sessions: BTreeMap<String, Session>,
    pub violations: Vec<String>,
}

#[derive(Default)]
struct Session {
    events: Vec<Value>,
    connection: Option<u64>,
}

/// What a test makes the gateway do with a connection.
#[derive(Debug)]
pub enum Order {
    Send(Value),
    Close(u16),
    Drop,
}

#[derive(Clone)]
pub struct Discord {
    pub url: String,
    pub connections: Arc<Connections>,
    state: Arc<Mutex<State>>,
    changed: watch::Sender<()>,
    counter: Arc<AtomicU64>,
}

impl Discord {
    pub async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub fn on(listener: TcpListener) -> Self {
        let (changed, _) = watch::channel(());
        let discord = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            connections: Arc::default(),
            state: Arc::default(),
            changed,
            counter: Arc::default(),
        };
        let server = discord.clone();
        let accepting = http::accept(listener, discord.connections.clone(), move |stream| {
            let server = server.clone();
            async move {
                if let Some((stream, request)) = http::serve(stream, |request| server.handle(request)).await {
                    server.websocket(stream, &request).await;
                }
            }
        });
        tokio::spawn(accepting);
        discord
    }

    pub fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let looked = look(&mut self.state.lock().unwrap());
        self.changed.send_replace(());
        looked
    }

    pub async fn until(&self, what: &str, condition: impl Fn(&State) -> bool) {
        eventually(what, self.changed.subscribe(), || condition(&self.state.lock().unwrap())).await;
    }

    pub async fn until_ready(&self, copies: usize) {
        self.until("the bot is connected", |state| {
            state.registrations >= 1 && state.sessions.values().filter(|s| s.connection.is_some()).count() >= copies
        })
        .await;
    }

    /// `/mute agent_id:{agent}`
    pub fn mute(&self, actor: &Actor, agent: impl Into<Value>) -> u64 {
        let option = json!({"name": "agent_id", "type": 4, "value": agent.into()});
        self.interact(actor, 2, command_data(option))
    }

    /// What is sent while an agent is being typed.
    pub fn type_agent(&self, actor: &Actor, typed: &str) -> u64 {
        let option = json!({"name": "agent_id", "type": 4, "value": typed, "focused": true});
        self.interact(actor, 4, command_data(option))
    }

    /// The press of a button under the answer to `interaction`.
    pub fn press(&self, actor: &Actor, custom_id: &str) -> u64 {
        self.interact(actor, 3, json!({"id": 2, "component_type": 2, "custom_id": custom_id}))
    }

    pub fn snowflake(&self) -> u64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
        ((now - 1_420_070_400_000) << 22) | (self.counter.fetch_add(1, Ordering::SeqCst) & 0x3F_FFFF)
    }

    /// Sends an interaction to every connected copy, with all the fields that Discord sends.
    pub fn interact(&self, actor: &Actor, kind: u64, data: Value) -> u64 {
        let (id, payload) = self.new_interaction(actor, kind, data);
        self.broadcast("INTERACTION_CREATE", payload);
        id
    }

    /// Makes an interaction without sending it.
    pub fn new_interaction(&self, actor: &Actor, kind: u64, data: Value) -> (u64, Value) {
        let id = self.snowflake();
        let token = format!("interaction-token-{id}-aW50ZXJhY3Rpb24");
        let payload = interaction_payload(id, &token, actor, kind, data);
        let interaction = Interaction {
            token,
            kind,
            sent: Instant::now(),
            first: None,
            accepted_after: None,
            shown: None,
            edits: 0,
            refused_answers: 0,
            elsewhere: false,
        };
        self.state(|state| state.interactions.insert(id, interaction));
        (id, payload)
    }

    /// Sends an event to every session; those without a connection get it when they resume.
    pub fn broadcast(&self, event: &str, payload: Value) {
        self.state(|state| {
            for session in state.sessions.values_mut() {
                let seq = session.events.len() + 1;
                let event = json!({"op": 0, "s": seq, "t": event, "d": payload});
                session.events.push(event.clone());
                if let Some(connection) = session.connection.and_then(|id| state.connected.get(&id)) {
                    let _ = connection.send(Order::Send(event));
                }
            }
        });
    }

    /// Makes the bot log so many hundred warnings: more than half a megabyte for 20, and all of them once this is done.
    pub async fn flood(&self, hundreds: usize) {
        for _ in 0..hundreds {
            for _ in 0..100 {
                self.broadcast("INTERACTION_CREATE", json!("?"));
            }
            // In between, so that no command waits for long behind the flood.
            self.finished(self.mute(&stranger(), 1)).await;
        }
    }

    /// Makes the gateway do something with every connection.
    pub fn order(&self, order: impl Fn() -> Order) {
        self.state(|state| {
            for connection in state.connected.values() {
                let _ = connection.send(order());
            }
        });
    }

    pub fn interaction(&self, id: u64) -> Interaction {
        self.state(|state| state.interactions[&id].clone())
    }

    /// Waits until an interaction is answered for good.
    pub async fn finished(&self, id: u64) -> Interaction {
        self.until("the interaction is answered", |state| state.interactions[&id].finished()).await;
        self.interaction(id)
    }

    /// The text that is shown in the end.
    pub async fn reply(&self, id: u64) -> String {
        self.finished(id).await.text().unwrap()
    }

    pub async fn until_acknowledged(&self, id: u64) {
        self.until("the interaction is acknowledged", |state| state.interactions[&id].first.is_some()).await;
    }

    fn violation(&self, what: String) -> Answer {
        self.state(|state| state.violations.push(what));
        error(400, 50035, "Invalid Form Body")
    }

    async fn handle(&self, request: Request) -> Answer {
        if request.path == "/gateway-socket/" {
            if self.state(|state| state.gateway == Gateway::Refuses) {
                self.state(|state| state.gateway_connections.push(Instant::now()));
                return Answer::Cut;
            }
            return Answer::Upgrade;
        }
        let agent = request.header("user-agent").unwrap_or_default();
        if !agent.starts_with("DiscordBot (") {
            return self.violation(format!("the user agent {agent:?}"));
        }
        let Some(path) = request.path.strip_prefix("/api/v10") else {
            return self.violation(format!("{} {}", request.method, request.path));
        };
        if !request.query.is_empty() {
            return self.violation(format!("a query: {}", request.query));
        }
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let interaction = matches!(parts[0], "interactions" | "webhooks");
        if !interaction && request.header("authorization") != Some(&format!("Bot {TOKEN}")) {
            return error(401, 0, "401: Unauthorized");
        }
        let body = match request.method.as_str() {
            "GET" => Value::Null,
            _ if request.header("content-type") != Some("application/json") => {
                return self.violation("a body that is not called JSON".to_owned());
            }
            _ => match serde_json::from_slice(&request.body) {
                Ok(body) => body,
                Err(_) => return self.violation("a body that is not JSON".to_owned()),
            },
        };
        let (queue, kind): (fn(&mut State) -> &mut VecDeque<Fate>, _) = match parts[0] {
            "interactions" => (|state| &mut state.first_answer_fates, "first answer"),
            "webhooks" => (|state| &mut state.edit_fates, "edit"),
            _ => (|state| &mut state.other_fates, "other"),
        };
        let fate = self.state(|state| {
            let fate = queue(state).pop_front();
            fate.or_else(|| state.chance.as_mut().map(|draw| draw(kind))).unwrap_or(Fate::Accept)
        });
        match fate {
            Fate::Accept => self.route(&request.method, &parts, &body),
            Fate::Slow(time) => {
                sleep(time).await;
                self.route(&request.method, &parts, &body)
            }
            Fate::Refuse(status, code) => error(status, code, "refused"),
            Fate::RateLimit(seconds) => Answer::Full {
                status: 429,
                headers: vec![("content-type", "application/json".to_owned())],
                body: json!({"message": "You are being rate limited.", "retry_after": seconds, "global": false})
                    .to_string()
                    .into_bytes(),
            },
            Fate::CutBefore => Answer::Cut,
            Fate::CutAfter => {
                self.route(&request.method, &parts, &body);
                Answer::Cut
            }
            Fate::AnsweredElsewhere => {
                let id = parts.get(1).and_then(|id| id.parse::<u64>().ok()).unwrap_or_default();
                self.state(|state| {
                    if let Some(interaction) = state.interactions.get_mut(&id) {
                        interaction.elsewhere = true;
                        interaction.first = Some(json!({"type": 5}));
                    }
                });
                self.route(&request.method, &parts, &body)
            }
        }
    }

    fn route(&self, method: &str, parts: &[&str], body: &Value) -> Answer {
        let application = APPLICATION.to_string();
        let guild = GUILD.to_string();
        match (method, parts) {
            ("GET", ["applications", "@me"]) => Answer::json(200, &application_payload()),
            ("GET", ["users", "@me"]) => Answer::json(200, &bot_user()),
            ("GET", ["gateway"]) => {
                let url = self.url.replacen("http", "ws", 1) + "/gateway-socket/";
                Answer::json(200, &json!({"url": url}))
            }
            ("GET", ["guilds", id]) if *id == guild && !self.state(|state| state.not_in_guild) => {
                Answer::json(200, &guild_payload())
            }
            ("GET", ["guilds", _]) => error(404, 10004, "Unknown Guild"),
            ("GET", ["channels", id]) if *id == AUDIT_CHANNEL.to_string() => {
                Answer::json(200, &json!({"id": id, "type": 0, "name": "mute-audit", "guild_id": guild}))
            }
            ("GET", ["channels", _]) => error(404, 10003, "Unknown Channel"),
            ("POST", ["channels", id, "messages"]) if *id == AUDIT_CHANNEL.to_string() => match message_fault(body) {
                Some(fault) => self.violation(fault),
                None => {
                    self.state(|state| state.posts.push(body.clone()));
                    Answer::json(200, &json!({"id": self.snowflake().to_string(), "channel_id": id}))
                }
            },
            (_, ["applications", app, "guilds", id, "commands"])
                if *app == application
                    && (*id != guild || self.state(|state| state.not_in_guild || state.without_commands_scope)) =>
            {
                error(403, 50001, "Missing Access")
            }
            ("PUT", ["applications", app, "guilds", _, "commands"]) if *app == application => self.register(body),
            ("GET", ["applications", app, "guilds", _, "commands"]) if *app == application => {
                Answer::json(200, &self.state(|state| state.commands.clone()).unwrap_or_else(|| json!([])))
            }
            ("POST", ["interactions", id, token, "callback"]) => self.first_answer(id, token, body),
            ("PATCH", ["webhooks", app, token, "messages", "@original"]) if *app == application => {
                self.edit(token, body)
            }
            _ => self.violation(format!("{method} /{}", parts.join("/"))),
        }
    }

    fn register(&self, body: &Value) -> Answer {
        let Some(commands) = body.as_array() else {
            return self.violation("commands that are not a list".to_owned());
        };
        for command in commands {
            if let Some(fault) = command_fault(command) {
                return self.violation(fault);
            }
        }
        let registered: Vec<Value> = commands
            .iter()
            .map(|command| {
                let mut command = command.clone();
                command["id"] = json!(self.snowflake().to_string());
                command["application_id"] = json!(APPLICATION.to_string());
                command["guild_id"] = json!(GUILD.to_string());
                command["version"] = json!(self.snowflake().to_string());
                command["default_member_permissions"] = Value::Null;
                command
            })
            .collect();
        let registered = Value::from(registered);
        self.state(|state| {
            state.registrations += 1;
            state.commands = Some(registered.clone());
        });
        Answer::json(200, &registered)
    }

    fn first_answer(&self, id: &str, token: &str, body: &Value) -> Answer {
        let id = id.parse::<u64>().unwrap_or_default();
        let known = self.state(|state| state.interactions.get(&id).cloned());
        let Some(known) = known.filter(|known| known.token == token) else {
            return error(404, 10062, "Unknown interaction");
        };
        if known.first.is_some() {
            self.state(|state| state.interactions.get_mut(&id).unwrap().refused_answers += 1);
            return error(400, 40060, "Interaction has already been acknowledged.");
        }
        if known.sent.elapsed() > Duration::from_secs(3) {
            self.state(|state| state.interactions.get_mut(&id).unwrap().refused_answers += 1);
            return error(404, 10062, "Unknown interaction");
        }
        if let Some(fault) = first_answer_fault(known.kind, body) {
            return self.violation(fault);
        }
        self.state(|state| {
            let interaction = state.interactions.get_mut(&id).unwrap();
            interaction.first = Some(body.clone());
            interaction.accepted_after = Some(interaction.sent.elapsed());
            if body["type"] != 5 {
                interaction.shown = Some(body["data"].clone());
            }
        });
        Answer::empty(204)
    }

    fn edit(&self, token: &str, body: &Value) -> Answer {
        let known = self.state(|state| {
            state.interactions.iter().find(|(_, known)| known.token == token).map(|(id, known)| (*id, known.clone()))
        });
        let Some((id, known)) = known else {
            return error(404, 10015, "Unknown Webhook");
        };
        if known.first.is_none() || known.elsewhere {
            return self.violation("an edit of an answer that was never given".to_owned());
        }
        if let Some(fault) = message_fault(body) {
            return self.violation(fault);
        }
        self.state(|state| {
            let interaction = state.interactions.get_mut(&id).unwrap();
            interaction.shown = Some(body.clone());
            interaction.edits += 1;
        });
        Answer::json(200, &json!({"id": self.snowflake().to_string(), "content": body["content"]}))
    }

    async fn websocket(&self, mut stream: TcpStream, request: &Request) {
        use tokio::io::AsyncWriteExt as _;

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
            self.state(|state| state.resumes += 1);
            let session = data["session_id"].as_str().unwrap_or_default().to_owned();
            let Some(seq) = data["seq"].as_u64() else { return Err(4007) };
            return Ok(self.state(|state| {
                let forgets = gateway == Gateway::ForgetsSessions;
                let known = state.sessions.get_mut(&session).filter(|_| !forgets);
                let Some(known) = known else { return vec![json!({"op": 9, "d": false})] };
                known.connection = Some(connection);
                let mut missed: Vec<Value> = known.events.iter().skip(seq as usize).cloned().collect();
                let resumed = json!({"op": 0, "s": known.events.len() + 1, "t": "RESUMED", "d": {"_trace": []}});
                known.events.push(resumed.clone());
                missed.push(resumed);
                state.connected.insert(connection, orders.clone());
                missed
            }));
        }
        if data["intents"] != 0 || !data["properties"]["os"].is_string() {
            self.violation(format!("an IDENTIFY with intents {} ", data["intents"]));
            return Err(4013);
        }
        let session = format!("session-{connection}");
        let ready = json!({"op": 0, "s": 1, "t": "READY", "d": {
            "v": 10, "user": bot_user(), "guilds": [{"id": GUILD.to_string(), "unavailable": true}],
            "session_id": session, "session_type": "normal",
            "resume_gateway_url": self.url.replacen("http", "ws", 1) + "/gateway-socket/",
            "application": {"id": APPLICATION.to_string(), "flags": 0},
            "private_channels": [], "relationships": [], "presences": [], "user_settings": {}, "_trace": ["[]"]
        }});
        self.state(|state| {
            state.identifies += 1;
            let events = vec![ready.clone()];
            state.sessions.insert(session, Session { events, connection: Some(connection) });
            state.connected.insert(connection, orders.clone());
        });
        Ok(vec![ready])
    }
}

async fn close(socket: &mut WebSocketStream<TcpStream>, code: u16) {
    let _ = socket.close(Some(CloseFrame { code: code.into(), reason: "".into() })).await;
    // The other side's part of the closing handshake.
    while let Some(Ok(_)) = socket.next().await {}
}

fn error(status: u16, code: u64, message: &str) -> Answer {
    Answer::json(status, &json!({"message": message, "code": code}))
}

fn length(value: &Value) -> usize {
    value.as_str().map_or(0, |text| text.encode_utf16().count())
}

fn message_fault(message: &Value) -> Option<String> {
    let size = length(&message["content"]);
    if !(1..=2000).contains(&size) {
        return Some(format!("a message of {size} characters"));
    }
    if message["allowed_mentions"]["parse"] != json!([]) {
        return Some("a message that may ping".to_owned());
    }
    for row in message["components"].as_array().into_iter().flatten() {
        for button in row["components"].as_array().into_iter().flatten() {
            let fits = (1..=100).contains(&length(&button["custom_id"]))
                && (1..=80).contains(&length(&button["label"]))
                && matches!(button["style"].as_u64(), Some(1..=4));
            if row["type"] != 1 || button["type"] != 2 || !fits {
                return Some(format!("the button {button}"));
            }
        }
    }
    None
}

fn first_answer_fault(kind: u64, body: &Value) -> Option<String> {
    let data = &body["data"];
    match (kind, body["type"].as_u64()) {
        (4, Some(8)) => {
            let choices = data["choices"].as_array()?;
            let fits = |choice: &Value| (1..=100).contains(&length(&choice["name"])) && choice["value"].is_u64();
            (choices.len() > 25 || !choices.iter().all(fits)).then(|| format!("the choices {choices:?}"))
        }
        (2 | 3, Some(4)) => message_fault(data).or_else(|| {
            let flags = data["flags"].as_u64().unwrap_or_default();
            (flags != 64).then(|| format!("a message with flags {flags}"))
        }),
        (2 | 3, Some(5)) => {
            let flags = data["flags"].as_u64().unwrap_or_default();
            (!matches!(flags, 0 | 64) || !data["content"].is_null()).then(|| format!("a deferred answer with {data}"))
        }
        (kind, answer) => Some(format!("an answer of type {answer:?} to an interaction of type {kind}")),
    }
}

fn command_fault(command: &Value) -> Option<String> {
    const LOCALES: [&str; 31] = [
        "id", "da", "de", "en-GB", "en-US", "es-ES", "es-419", "fr", "hr", "it", "lt", "hu", "nl", "no", "pl", "pt-BR",
        "ro", "fi", "sv-SE", "vi", "tr", "cs", "el", "bg", "ru", "uk", "hi", "th", "zh-CN", "ja", "zh-TW",
    ];
    let described = |thing: &Value| {
        let name = thing["name"].as_str().unwrap_or_default();
        let named = (1..=32).contains(&name.len())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'));
        let translations = thing["description_localizations"].as_object();
        let translated = translations.is_none_or(|texts| {
            texts.iter().all(|(locale, text)| {
                LOCALES.contains(&locale.as_str()) && (1..=100).contains(&text.as_str().unwrap_or("").chars().count())
            })
        });
        let size = thing["description"].as_str().unwrap_or_default().chars().count();
        named && (1..=100).contains(&size) && translated
    };
    if !described(command) || !matches!(command["type"].as_u64(), None | Some(1)) {
        return Some(format!("the command {command}"));
    }
    for option in command["options"].as_array().into_iter().flatten() {
        let bounds = option["min_value"].as_i64().zip(option["max_value"].as_i64());
        let bounded = bounds.is_some_and(|(min, max)| min <= max && max < 1 << 53);
        if !described(option) || option["type"] != 4 || !bounded {
            return Some(format!("the option {option}"));
        }
    }
    None
}

pub fn command_data(option: Value) -> Value {
    json!({"id": "1500000000000000010", "name": "mute", "type": 1, "guild_id": GUILD.to_string(), "options": [option]})
}

fn bot_user() -> Value {
    json!({"id": "1100000000000000777", "username": "wolkvox-bot", "discriminator": "0042", "global_name": null,
        "avatar": null, "bot": true, "mfa_enabled": true, "verified": true, "email": null, "flags": 0,
        "public_flags": 0, "banner": null, "accent_color": null})
}

pub fn application_payload() -> Value {
    json!({"id": APPLICATION.to_string(), "name": "wolkvox-bot", "icon": null, "description": "", "type": null,
        "bot": bot_user(), "summary": "", "bot_public": false, "bot_require_code_grant": false, "verify_key": "00",
        "flags": 0, "redirect_uris": [], "interactions_endpoint_url": null, "team": null, "owner": bot_user(),
        "approximate_guild_count": 1, "explicit_content_filter": 0})
}

pub fn guild_payload() -> Value {
    let role = |id: u64, name: &str| {
        json!({"id": id.to_string(), "name": name, "permissions": "0", "position": 1, "color": 0, "hoist": false,
            "managed": false, "mentionable": false, "icon": null, "unicode_emoji": null, "flags": 0})
    };
    json!({"id": GUILD.to_string(), "name": "Contact centre", "icon": null, "owner_id": "42", "features": [],
        "preferred_locale": "es-419", "emojis": [], "stickers": [], "roles": [
            role(GUILD, "@everyone"), role(SUPERVISOR_ROLE, "Supervisor"), role(QUALITY_ROLE, "Quality"),
            role(OTHER_ROLE, "Agent")]})
}

pub fn interaction_payload(id: u64, token: &str, actor: &Actor, kind: u64, data: Value) -> Value {
    let user = json!({"id": actor.id.to_string(), "username": actor.name, "discriminator": "0",
        "global_name": actor.name.to_uppercase(), "avatar": null, "avatar_decoration_data": null,
        "public_flags": 0, "clan": null, "primary_guild": null, "collectibles": null});
    let mut payload = json!({
        "id": id.to_string(), "application_id": APPLICATION.to_string(), "type": kind, "token": token, "version": 1,
        "data": data, "locale": actor.locale, "app_permissions": "2147483648", "attachment_size_limit": 10_485_760,
        "entitlements": [], "context": 0, "channel_id": CHANNEL.to_string(),
        "channel": {"id": CHANNEL.to_string(), "type": 0, "name": "supervisors", "guild_id": actor.guild.map(|g| g.to_string()),
            "last_message_id": null, "nsfw": false, "parent_id": null, "permissions": "2147483648", "position": 1,
            "rate_limit_per_user": 0, "topic": null, "flags": 0},
        "authorizing_integration_owners": {"0": GUILD.to_string()},
    });
    match actor.guild {
        Some(guild) => {
            payload["guild_id"] = json!(guild.to_string());
            payload["guild_locale"] = json!("es-419");
            payload["guild"] = json!({"id": guild.to_string(), "locale": "es-419", "features": []});
            payload["member"] = json!({"user": user, "nick": null, "avatar": null, "banner": null,
                "roles": actor.roles.iter().map(u64::to_string).collect::<Vec<_>>(),
                "joined_at": "2026-01-05T08:00:00.000000+00:00", "premium_since": null, "deaf": false, "mute": false,
                "flags": 0, "pending": false, "permissions": "2147483648", "communication_disabled_until": null,
                "unusual_dm_activity_until": null});
        }
        None => {
            payload["context"] = json!(1);
            payload["user"] = user;
        }
    }
    payload
}
