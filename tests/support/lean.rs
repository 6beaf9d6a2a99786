//! Both services in as few instructions as they can do with, for the benchmark: what they take would be counted
//! as the bot's. They answer everything at once, forget it, and tell when it arrived.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::discord;
use super::http::{self, Answer, Connections, Request};
use super::wolkvox;

/// Ids of interactions are this and the command's number, which is the agent's too.
const FIRST_ID: u64 = 1_420_000_000_000_000_000;
/// Longer than anything takes that does not hang.
const HANGS: Duration = Duration::from_secs(30);

/// What arrived from the process under test, or was sent to it, and when.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    Ready,
    Sent,
    Acknowledged(u64),
    Toggled(u64),
    Replied(u64),
}

/// How long after its frame a command was acknowledged and answered.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub acknowledged: Duration,
    pub replied: Duration,
}

/// Discord and Wolkvox for one process.
pub struct Services {
    pub discord_url: String,
    pub wolkvox_url: String,
    discord: Arc<Connections>,
    wolkvox: Arc<Connections>,
    bodies: Arc<AtomicUsize>,
    frames: mpsc::UnboundedSender<Vec<Message>>,
    events: mpsc::UnboundedReceiver<(Event, Instant)>,
    commands: u64,
}

impl Services {
    pub async fn start() -> Self {
        let (frames, to_send) = mpsc::unbounded_channel();
        let (seen, events) = mpsc::unbounded_channel();
        let (discord, wolkvox) = (Arc::<Connections>::default(), Arc::<Connections>::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let discord_url = format!("http://{}", listener.local_addr().unwrap());
        let gateway = discord_url.replacen("http", "ws", 1) + "/gateway-socket/";
        let bodies = Arc::<AtomicUsize>::default();
        let to_send = Mutex::new(to_send);
        let server = Arc::new(Discord { gateway, seen: seen.clone(), bodies: bodies.clone(), to_send });
        tokio::spawn(http::accept(listener, discord.clone(), move |stream| server.clone().serve(stream)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wolkvox_url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(http::accept(listener, wolkvox.clone(), move |stream| {
            let seen = seen.clone();
            async move {
                http::serve(stream, |request| std::future::ready(toggle(&request, &seen))).await;
            }
        }));
        Self { discord_url, wolkvox_url, discord, wolkvox, bodies, frames, events, commands: 0 }
    }

    /// The variables for a bot.
    pub fn variables(&self) -> HashMap<&'static str, String> {
        HashMap::from([
            ("DISCORD_TOKEN", discord::TOKEN.to_owned()),
            ("DISCORD_GUILD_ID", discord::GUILD.to_string()),
            ("ALLOWED_ROLE_IDS", format!("{}, {}", discord::SUPERVISOR_ROLE, discord::QUALITY_ROLE)),
            ("WOLKVOX_SERVER", "0042".to_owned()),
            ("WOLKVOX_TOKEN", wolkvox::TOKEN.to_owned()),
            ("DISCORD_API_URL", self.discord_url.clone()),
            ("WOLKVOX_API_URL", self.wolkvox_url.clone()),
        ])
    }

    /// The connections made so far to Discord, the gateway's included, and to Wolkvox.
    pub fn connections(&self) -> (usize, usize) {
        (self.discord.made.load(Ordering::SeqCst), self.wolkvox.made.load(Ordering::SeqCst))
    }

    /// The commands given so far.
    pub fn commands(&self) -> u64 {
        self.commands
    }

    /// The bytes that all answers to commands had so far.
    pub fn bodies(&self) -> usize {
        self.bodies.load(Ordering::SeqCst)
    }

    /// Waits for the process to be registered and ready.
    pub async fn ready(&mut self) -> Instant {
        let (event, at) = self.event().await;
        assert!(matches!(event, Event::Ready), "{event:?}");
        at
    }

    /// One command, from its frame to its final reply.
    pub async fn command(&mut self) -> Times {
        let frame = self.frame();
        let number = self.commands;
        self.frames.send(vec![frame]).unwrap();
        let (mut sent, mut acknowledged) = (None, None);
        loop {
            match self.event().await {
                (Event::Sent, at) => sent = Some(at),
                (Event::Acknowledged(command), at) if command == number => acknowledged = Some(at),
                (Event::Toggled(command), _) if command == number && acknowledged.is_some() => {}
                (Event::Replied(command), at) if command == number => {
                    let sent = sent.unwrap();
                    return Times { acknowledged: acknowledged.unwrap() - sent, replied: at - sent };
                }
                (event, _) => panic!("{event:?} in command {number}"),
            }
        }
    }

    /// Many commands in one go: how long it took until the last was acknowledged, and until the last was
    /// answered. They must be handed to Wolkvox in their order.
    pub async fn burst(&mut self, size: u64) -> Times {
        let first = self.commands + 1;
        let frames = (0..size).map(|_| self.frame()).collect();
        self.frames.send(frames).unwrap();
        let mut toggled = first..;
        let (mut acknowledgements, mut replies) = (0, 0);
        let (mut sent, mut acknowledged) = (None, None);
        loop {
            match self.event().await {
                (Event::Sent, at) => sent = Some(at),
                (Event::Toggled(command), _) => {
                    assert_eq!(Some(command), toggled.next(), "not handed to Wolkvox in order");
                }
                (Event::Acknowledged(_), at) => {
                    acknowledgements += 1;
                    acknowledged = Some(at);
                }
                (Event::Replied(_), at) => {
                    replies += 1;
                    if replies == size {
                        assert_eq!(acknowledgements, size, "not every command was acknowledged");
                        let sent = sent.unwrap();
                        return Times { acknowledged: acknowledged.unwrap() - sent, replied: at - sent };
                    }
                }
                (Event::Ready, _) => panic!("a second connection"),
            }
        }
    }

    async fn event(&mut self) -> (Event, Instant) {
        timeout(HANGS, self.events.recv()).await.expect("the process under test does nothing").unwrap()
    }

    /// The next command, with all the fields that Discord sends.
    fn frame(&mut self) -> Message {
        self.commands += 1;
        let id = FIRST_ID + self.commands;
        let data = discord::command_data(json!({"name": "agent_id", "type": 4, "value": self.commands}));
        let token = format!("interaction-token-{id}-aW50ZXJhY3Rpb24");
        let payload = discord::interaction_payload(id, &token, &discord::supervisor(), 2, data);
        let frame = json!({"op": 0, "s": self.commands + 1, "t": "INTERACTION_CREATE", "d": payload});
        Message::text(frame.to_string())
    }
}

struct Discord {
    gateway: String,
    seen: mpsc::UnboundedSender<(Event, Instant)>,
    bodies: Arc<AtomicUsize>,
    to_send: Mutex<mpsc::UnboundedReceiver<Vec<Message>>>,
}

impl Discord {
    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let upgrade = http::serve(stream, |request| std::future::ready(self.answer(&request))).await;
        if let Some((stream, request)) = upgrade {
            // Ends when the process does.
            self.websocket(stream, &request).await;
        }
    }

    fn answer(&self, request: &Request) -> Answer {
        let now = Instant::now();
        let path = request.path.strip_prefix("/api/v10/").unwrap_or(&request.path);
        let parts: Vec<&str> = path.split('/').collect();
        match (request.method.as_str(), &parts[..]) {
            ("POST", ["interactions", id, _, "callback"]) => {
                let command = id.parse::<u64>().unwrap() - FIRST_ID;
                self.bodies.fetch_add(request.body.len(), Ordering::SeqCst);
                self.seen.send((Event::Acknowledged(command), now)).unwrap();
                Answer::empty(204)
            }
            ("PATCH", ["webhooks", _, token, "messages", "@original"]) => {
                let id = token.split('-').nth(2).unwrap();
                let command = id.parse::<u64>().unwrap() - FIRST_ID;
                self.bodies.fetch_add(request.body.len(), Ordering::SeqCst);
                self.seen.send((Event::Replied(command), now)).unwrap();
                Answer::Full {
                    status: 200,
                    headers: vec![("content-type", "application/json".to_owned())],
                    body: MESSAGE.to_vec(),
                }
            }
            ("GET", ["", "gateway-socket", ""]) => Answer::Upgrade,
            ("GET", ["gateway"]) => Answer::json(200, &json!({"url": self.gateway})),
            ("GET", ["applications", "@me"]) => Answer::json(200, &discord::application_payload()),
            ("GET", ["guilds", _]) => Answer::json(200, &discord::guild_payload()),
            ("PUT", ["applications", _, "guilds", _, "commands"]) => Answer::json(200, &json!([])),
            (method, _) => panic!("{method} {}", request.path),
        }
    }

    async fn websocket(&self, mut stream: TcpStream, request: &Request) {
        use tokio::io::AsyncWriteExt as _;

        let accept = derive_accept_key(request.header("sec-websocket-key").unwrap().as_bytes());
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        let hello = json!({"op": 10, "s": null, "t": null, "d": {"heartbeat_interval": 41_250, "_trace": ["[]"]}});
        socket.send(Message::text(hello.to_string())).await.unwrap();
        let mut to_send = self.to_send.lock().await;
        loop {
            tokio::select! {
                frames = to_send.recv() => {
                    let Some(frames) = frames else { return };
                    self.seen.send((Event::Sent, Instant::now())).unwrap();
                    for frame in frames {
                        socket.feed(frame).await.unwrap();
                    }
                    socket.flush().await.unwrap();
                }
                message = socket.next() => {
                    let Some(Ok(Message::Text(message))) = message else { return };
                    let message: serde_json::Value = serde_json::from_str(&message).unwrap();
                    let answer = if message["op"] == 2 {
                        self.seen.send((Event::Ready, Instant::now())).unwrap();
                        json!({"op": 0, "s": 1, "t": "READY", "d": {"v": 10, "session_id": "lean",
                            "resume_gateway_url": self.gateway}})
                    } else {
                        json!({"op": 11})
                    };
                    socket.send(Message::text(answer.to_string())).await.unwrap();
                }
            }
        }
    }
}

fn toggle(request: &Request, seen: &mpsc::UnboundedSender<(Event, Instant)>) -> Answer {
    let agent = request.query.strip_prefix("agent_id=").and_then(|query| query.strip_suffix("&api=mute"));
    let agent = agent.and_then(|agent| agent.parse().ok()).expect("nothing but toggles");
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/api/v2/agentbox.php"));
    seen.send((Event::Toggled(agent), Instant::now())).unwrap();
    Answer::Full { status: 200, headers: vec![("content-type", "application/json".to_owned())], body: DONE.to_vec() }
}

const DONE: &[u8] = br#"{"code":"200","error":null,"msg":"Microphone agentbox has been excecuted"}"#;
/// What an edit is answered with, about as long as Discord's.
const MESSAGE: &[u8] = br#"{"id":"1420000000000000000","type":20,"content":"Microphone agentbox has been excecuted\n-# Agent 1001 \u00b7 MUTE is a toggle: run the command again to undo it","channel_id":"1400000000000000006","author":{"id":"1100000000000000777","username":"wolkvox-bot","avatar":null,"discriminator":"0042","public_flags":0,"flags":0,"bot":true,"banner":null,"accent_color":null,"global_name":null,"avatar_decoration_data":null,"collectibles":null,"clan":null,"primary_guild":null},"attachments":[],"embeds":[],"mentions":[],"mention_roles":[],"pinned":false,"mention_everyone":false,"tts":false,"timestamp":"2026-01-05T08:00:00.000000+00:00","edited_timestamp":"2026-01-05T08:00:00.000000+00:00","flags":0,"components":[],"position":0,"application_id":"1100000000000000001","webhook_id":"1100000000000000001"}"#;
