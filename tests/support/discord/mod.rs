//! Discord as far as the bot sees it: REST and gateway on one port. Whatever Discord would refuse is refused
//! here, and fails the test.

mod fates;
mod gateway;
mod payloads;
pub mod permissions;
mod rest;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

use self::gateway::Session;
pub use self::gateway::{Gateway, Order, SessionStarts};
pub use self::payloads::{command_data, interaction_payload};
pub use self::permissions::Permissions;
use super::eventually;
use super::http::{self, Connections, Stream};

pub const TOKEN: &str = "MTIzNDU2Nzg5MDEy.stand-in.discord-token_abcdefghij";
pub const APPLICATION: u64 = 1_100_000_000_000_000_001;
/// The bot's own user.
pub const BOT: u64 = 1_100_000_000_000_000_777;
pub const GUILD: u64 = 1_200_000_000_000_000_002;
pub const OTHER_GUILD: u64 = 1_200_000_000_000_000_009;
pub const SUPERVISOR_ROLE: u64 = 1_300_000_000_000_000_003;
pub const QUALITY_ROLE: u64 = 1_300_000_000_000_000_004;
pub const OTHER_ROLE: u64 = 1_300_000_000_000_000_005;
/// The role that came with the bot.
pub const BOT_ROLE: u64 = 1_300_000_000_000_000_008;
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

/// What another copy of the bot answers.
pub const ELSEWHERE: &str = "answered by another copy";

pub fn supervisor() -> Actor {
    Actor { id: 501, name: "ana", roles: vec![OTHER_ROLE, SUPERVISOR_ROLE], guild: Some(GUILD), locale: "en-US" }
}

pub fn second_supervisor() -> Actor {
    Actor { id: 502, name: "bruno", roles: vec![SUPERVISOR_ROLE], ..supervisor() }
}

pub fn third_supervisor() -> Actor {
    Actor { id: 504, name: "diego", ..second_supervisor() }
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
    /// Carried out at once, answered after a while.
    Late(Duration),
    /// Not carried out: this status, with Discord's code where not 0.
    Refuse(u16, u64),
    /// Not carried out: 429, to be repeated after so many seconds.
    RateLimit(f64),
    /// Not carried out, connection closed.
    CutBefore,
    /// Carried out, connection closed.
    CutAfter,
    /// Not carried out, and nothing is answered on this connection any more, which stays open.
    Stall,
    /// Carried out, then as `Stall`.
    StallAfter,
    /// Not carried out: a company proxy's page, with this status.
    Page(u16),
    /// Not carried out: a company proxy's JSON, with this status.
    Json(u16),
    /// Not carried out: the head of an answer with this status, and the connection closed before the end of its body.
    Torn(u16),
    /// Not carried out: Cloudflare's 429, a page, to be repeated after so many seconds.
    Cloudflare(u64),
    /// Not carried out: Cloudflare's page for an address that it blocks.
    Banned,
    /// Not carried out: this status, with this body.
    Body(u16, Value),
    /// Not carried out: somebody has deleted the message.
    Deleted,
    /// Carried out, then a body without end.
    Endless,
    /// Carried out, and then called unknown (404 with 10062), which Discord does at times.
    Forget,
    /// Another copy was faster by a hair: its answer is the accepted one.
    AnsweredElsewhere,
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
    /// The id of the message that the first answer makes.
    pub message: u64,
    /// Whether links in that message stay folded.
    pub suppressed: bool,
    /// Every text that was shown, follow-up messages included, in order.
    pub history: Vec<String>,
    pub follow_ups: Vec<Value>,
    /// How often the bot asked for what is shown.
    pub looks: usize,
    /// Somebody has deleted the message.
    pub deleted: bool,
    /// The token is void, whatever its age.
    pub void: bool,
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

    /// Whether the bot's own first answer was accepted and made a message.
    fn acknowledged(&self) -> bool {
        self.first.is_some() && !self.elsewhere && self.kind != 4
    }
}

/// What Discord allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long after it was sent an interaction takes a first answer: when the request has arrived counts.
    pub first_answer: Duration,
    /// How long after it was sent an interaction's token lives.
    pub token: Duration,
    /// How many messages the channel takes in how long.
    pub posts: Option<(usize, Duration)>,
}

/// Discord's own limit for messages in a channel.
pub const POSTS: (usize, Duration) = (5, Duration::from_secs(5));

impl Default for Limits {
    fn default() -> Self {
        Self { first_answer: Duration::from_secs(3), token: Duration::from_secs(15 * 60), posts: None }
    }
}

#[derive(Default)]
pub struct State {
    pub limits: Limits,
    pub permissions: Permissions,
    /// Channels beside the audit channel, or in its place, as Discord sends them.
    pub channels: BTreeMap<u64, Value>,
    pub interactions: BTreeMap<u64, Interaction>,
    pub commands: Option<Value>,
    /// Those that the application has in all servers.
    pub global_commands: Vec<Value>,
    pub registrations: usize,
    pub posts: Vec<Value>,
    posted: VecDeque<Instant>,
    /// Messages that the channel had no room for.
    pub refused_posts: usize,
    /// Messages whose links unfold, be it by mistake or not.
    pub unfurled: Vec<String>,
    /// The texts that Discord does not take in answers and follow-up messages, for whatever reason.
    pub rejects_content: Option<fn(&str) -> bool>,
    pub first_answer_fates: VecDeque<Fate>,
    pub edit_fates: VecDeque<Fate>,
    /// For questions what is shown.
    pub look_fates: VecDeque<Fate>,
    pub follow_up_fates: VecDeque<Fate>,
    /// For requests that are no interaction's, but what the bot asks for beside its start.
    pub other_fates: VecDeque<Fate>,
    /// For one kind of request, such as "register" (see `kind_of` in fates.rs), for ever.
    pub always: BTreeMap<&'static str, Fate>,
    /// How often each kind of request was made that is no interaction's.
    pub asked: BTreeMap<&'static str, usize>,
    /// Draws a fate where none is in the queue, for a "first answer", an "edit", a "look", a "follow-up" or "other".
    pub chance: Option<Box<dyn FnMut(&'static str) -> Fate + Send>>,
    pub gateway: Gateway,
    /// The address that the application has interactions sent to, and not to the gateway.
    pub interactions_endpoint: Option<&'static str>,
    pub not_in_guild: bool,
    /// Anybody may invite the bot.
    pub bot_public: bool,
    /// What was acknowledged before is refused as unknown, which Discord does at times.
    pub forgets_acknowledged: bool,
    /// Somebody had another token made for the bot.
    pub token_reset: bool,
    pub without_commands_scope: bool,
    /// What the names of the application, the server, its roles and channels end in.
    pub names_end: &'static str,
    pub heartbeat: Option<u64>,
    pub heartbeats: usize,
    pub gateway_connections: Vec<Instant>,
    pub session_starts: SessionStarts,
    pub identifies: usize,
    pub resumes: usize,
    pub connected: BTreeMap<u64, mpsc::UnboundedSender<Order>>,
    sessions: BTreeMap<String, Session>,
    pub violations: Vec<String>,
}

#[derive(Clone)]
pub struct Discord {
    pub url: String,
    gateway_url: String,
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
        let address = listener.local_addr().unwrap();
        let discord = Self::new(format!("http://{address}"), format!("ws://{address}"));
        let server = discord.clone();
        tokio::spawn(http::accept(listener, discord.connections.clone(), move |stream| server.clone().serve(stream)));
        discord
    }

    /// Behind TLS, REST and gateway under a name each.
    pub async fn behind_tls(host: &str, gateway: &str, acceptor: TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let discord = Self::new(format!("https://{host}:{port}"), format!("wss://{gateway}:{port}"));
        let server = discord.clone();
        tokio::spawn(http::accept(listener, discord.connections.clone(), move |stream| {
            let (server, acceptor) = (server.clone(), acceptor.clone());
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    server.serve(stream).await;
                }
            }
        }));
        discord
    }

    pub fn new(url: String, gateway_url: String) -> Self {
        let (changed, _) = watch::channel(());
        Self { url, gateway_url, connections: Arc::default(), state: Arc::default(), changed, counter: Arc::default() }
    }

    async fn serve<S: Stream>(self, stream: S) {
        let stalls = self.connections.stalls();
        let served = http::serve_until_stalled(stream, stalls, |request| self.handle(request)).await;
        if let Some((stream, request)) = served {
            self.websocket(stream, &request).await;
        }
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

    /// Whether `/mute` is registered or not.
    pub async fn until_connected(&self) {
        self.until("the bot is connected", |state| !state.connected.is_empty()).await;
    }

    /// Somebody removes the bot from the server, which deletes the server's commands.
    pub fn kick(&self) {
        self.state(|state| (state.not_in_guild, state.commands) = (true, None));
    }

    /// The sessions of now carry no interaction any more, for all that they go on.
    pub fn deafen_sessions(&self) {
        self.state(|state| state.sessions.values_mut().for_each(|session| session.deaf = true));
    }

    pub async fn until_gone(&self) {
        self.until("no bot is connected", |state| state.connected.is_empty()).await;
    }

    /// `/mute agent_id:{agent}`
    pub fn mute(&self, actor: &Actor, agent: impl Into<Value>) -> u64 {
        let registered = self.state(|state| state.commands.as_ref().map(|all| all[0]["options"][0]["type"].clone()));
        // As the client sends what is typed, in the type that is registered.
        let (kind, value) = match (registered, agent.into()) {
            (Some(kind), Value::Number(number)) if kind == 3 => (kind, json!(number.to_string())),
            (kind, value) => (kind.unwrap_or(json!(4)), value),
        };
        let option = json!({"name": "agent_id", "type": kind, "value": value});
        self.interact(actor, 2, command_data(option))
    }

    /// What is sent while an agent is being typed.
    pub fn type_agent(&self, actor: &Actor, typed: &str) -> u64 {
        let option = json!({"name": "agent_id", "type": 3, "value": typed, "focused": true});
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
            message: self.snowflake(),
            suppressed: false,
            history: Vec::new(),
            follow_ups: Vec::new(),
            looks: 0,
            deleted: false,
            void: false,
        };
        self.state(|state| state.interactions.insert(id, interaction));
        (id, payload)
    }

    /// Sends an event to every session; those without a connection get it when they resume.
    pub fn broadcast(&self, event: &str, payload: Value) {
        self.state(|state| {
            for session in state.sessions.values_mut().filter(|session| !session.deaf) {
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

    /// Every connection that is open now passes nothing on any more, the gateway's included; new ones work.
    pub fn stall_connections(&self) {
        self.stall_rest_connections();
        self.order(|| Order::Stall);
    }

    /// The same without the gateway's.
    pub fn stall_rest_connections(&self) {
        self.connections.stall();
    }

    /// Somebody deletes the answer to an interaction.
    pub fn delete_message(&self, id: u64) {
        self.state(|state| state.interactions.get_mut(&id).unwrap().deleted = true);
    }

    /// From now on the interaction's token is worth nothing.
    pub fn void_token(&self, id: u64) {
        self.state(|state| state.interactions.get_mut(&id).unwrap().void = true);
    }

    /// The next first answers meet these fates.
    pub fn next(&self, fates: impl IntoIterator<Item = Fate>) {
        self.state(|state| state.first_answer_fates.extend(fates));
    }

    /// The next edits meet these fates.
    pub fn next_edits(&self, fates: impl IntoIterator<Item = Fate>) {
        self.state(|state| state.edit_fates.extend(fates));
    }

    /// Another copy of the bot puts its answer into the place of "thinking…".
    pub fn answer_elsewhere(&self, id: u64) {
        let answer = json!({"content": ELSEWHERE, "allowed_mentions": {"parse": []}});
        self.state(|state| state.interactions.get_mut(&id).unwrap().shown = Some(answer));
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

    /// The text of the first follow-up message.
    pub async fn follow_up(&self, id: u64) -> String {
        self.until("there is a follow-up", |state| !state.interactions[&id].follow_ups.is_empty()).await;
        self.interaction(id).follow_ups[0]["content"].as_str().unwrap().to_owned()
    }

    pub async fn until_acknowledged(&self, id: u64) {
        self.until("the interaction is acknowledged", |state| state.interactions[&id].first.is_some()).await;
    }
}
