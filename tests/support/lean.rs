//! Both services in as few instructions as they can do with, for the benchmark: what they take would be counted
//! as the bot's. They answer everything, forget it, and tell when it arrived.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio_tungstenite::tungstenite::Message;

use super::http::{self, Answer, Connections, Request};
use super::{discord, wolkvox};

#[derive(Clone, Copy)]
pub enum Event {
    Acknowledged,
    Toggled,
    Replied,
    Ready,
}

/// Discord and Wolkvox for one process.
pub struct Services {
    /// Discord's, Wolkvox's and the gateway's.
    pub addresses: [SocketAddr; 3],
    /// To Discord and to Wolkvox.
    pub connections: [Arc<Connections>; 2],
    interactions: usize,
    frames: UnboundedSender<Message>,
    events: UnboundedReceiver<(Event, Instant)>,
}

impl Services {
    /// Every request takes `distance` to arrive, and its answer no time.
    pub async fn start(distance: Duration) -> Self {
        let (frames, to_send) = mpsc::unbounded_channel();
        let (seen, events) = mpsc::unbounded_channel();
        let [discord, wolkvox, gateway] = [listen().await, listen().await, listen().await];
        let addresses = [&discord, &wolkvox, &gateway].map(|listener| listener.local_addr().unwrap());
        let server = Arc::new(Server { gateway: format!("ws://{}", addresses[2]), distance, seen });
        let connections = <[Arc<Connections>; 2]>::default();
        for (listener, connections) in [discord, wolkvox].into_iter().zip(&connections) {
            let server = server.clone();
            tokio::spawn(http::accept(listener, connections.clone(), move |stream| server.clone().serve(stream)));
        }
        tokio::spawn(async move { server.serve_gateway(&gateway, to_send).await });
        Self { addresses, connections, interactions: 0, frames, events }
    }

    /// Gives so many commands at once: the seconds until the last was acknowledged, and until it was answered.
    pub async fn commands(&mut self, count: usize) -> [f64; 2] {
        let option = |agent| json!({"name": "agent_id", "type": 4, "value": agent});
        // They leave together, when this task waits.
        let sent = (0..count).map(|_| self.interact(2, option(self.interactions + 1))).last().unwrap();
        let mut seen = <[Vec<f64>; 3]>::default();
        while seen[Event::Replied as usize].len() < count {
            let (event, at) = self.event().await;
            seen[event as usize].push((at - sent).as_secs_f64());
        }
        assert_eq!(seen.each_ref().map(Vec::len), [count; 3], "acknowledged, handed to Wolkvox, answered");
        [Event::Acknowledged, Event::Replied].map(|event| seen[event as usize][count - 1])
    }

    /// Types a part of an agent's name: the seconds until agents were suggested.
    pub async fn keystroke(&mut self) -> f64 {
        let typed = json!({"name": "agent_id", "type": 4, "value": "nunez gutierrez 599", "focused": true});
        let sent = self.interact(4, typed);
        (self.event().await.1 - sent).as_secs_f64()
    }

    /// Sends an interaction with all the fields that Discord sends.
    fn interact(&mut self, kind: u64, option: Value) -> Instant {
        self.interactions += 1;
        let id = 1_420_000_000_000_000_000 + self.interactions as u64;
        let token = format!("interaction-token-{id}-aW50ZXJhY3Rpb24");
        let data = discord::command_data(option);
        let payload = discord::interaction_payload(id, &token, &discord::supervisor(), kind, data);
        let frame = json!({"op": 0, "s": self.interactions + 1, "t": "INTERACTION_CREATE", "d": payload});
        self.frames.send(Message::text(frame.to_string())).unwrap();
        Instant::now()
    }

    /// The next; the first is when the process is registered and ready.
    pub async fn event(&mut self) -> (Event, Instant) {
        let event = tokio::time::timeout(Duration::from_secs(30), self.events.recv()).await;
        event.expect("the process under test does nothing").unwrap()
    }
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

struct Server {
    gateway: String,
    distance: Duration,
    seen: UnboundedSender<(Event, Instant)>,
}

impl Server {
    async fn serve(self: Arc<Self>, stream: TcpStream) {
        http::serve(stream, |request| self.answer(request)).await;
    }

    async fn answer(&self, request: Request) -> Answer {
        let distance = self.distance;
        if !distance.is_zero() {
            // A thread sleeps, because the runtime's clock ticks in milliseconds, which would hide what the bot takes.
            tokio::task::spawn_blocking(move || std::thread::sleep(distance)).await.unwrap();
        }
        let path: Vec<&str> = request.path.split('/').skip(3).collect();
        match (request.method.as_str(), &path[..]) {
            ("POST", ["interactions", ..]) => self.saw(Event::Acknowledged, Answer::empty(204)),
            ("POST", ["agentbox.php"]) => {
                let done = json!({"code": "200", "error": null, "msg": wolkvox::SUCCESS});
                self.saw(Event::Toggled, Answer::json(200, &done))
            }
            ("PATCH", ["webhooks", ..]) => {
                // About as long as Discord's.
                let message = json!({"id": "1420000000000000000", "content": "x".repeat(800)});
                self.saw(Event::Replied, Answer::json(200, &message))
            }
            ("GET", ["gateway", "bot"]) => {
                let limit = json!({"total": 1000, "remaining": 1000, "reset_after": 0, "max_concurrency": 1});
                Answer::json(200, &json!({"url": self.gateway, "shards": 1, "session_start_limit": limit}))
            }
            ("GET", ["applications", "@me"]) => Answer::json(200, &discord::application_payload()),
            ("GET", ["guilds", _]) => Answer::json(200, &discord::guild_payload()),
            ("PUT", ["applications", _, "guilds", _, "commands"]) => Answer::json(200, &json!([])),
            ("GET", ["information.php"]) => {
                let names: Vec<_> = (0..60_000).map(|n| format!("María Fernanda Núñez Gutiérrez {n}")).collect();
                let agents: Vec<_> = (1..).zip(&names).map(|(id, name)| (id, name.as_str(), "yes")).collect();
                wolkvox::listing(&agents)
            }
            (method, _) => panic!("{method} {}", request.path),
        }
    }

    fn saw<T>(&self, event: Event, answer: T) -> T {
        self.seen.send((event, Instant::now())).unwrap();
        answer
    }

    async fn serve_gateway(&self, gateway: &TcpListener, mut frames: UnboundedReceiver<Message>) {
        let (stream, _) = gateway.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        // So seldom that no heartbeat is missed if nobody answers it.
        let hello = json!({"op": 10, "d": {"heartbeat_interval": 3_600_000}});
        socket.send(Message::text(hello.to_string())).await.unwrap();
        socket.next().await.unwrap().unwrap();
        let ready = json!({"v": 10, "session_id": "lean", "resume_gateway_url": self.gateway});
        let ready = self.saw(Event::Ready, json!({"op": 0, "s": 1, "t": "READY", "d": ready}));
        socket.send(Message::text(ready.to_string())).await.unwrap();
        while let Some(frame) = frames.recv().await {
            socket.send(frame).await.unwrap();
        }
    }
}
