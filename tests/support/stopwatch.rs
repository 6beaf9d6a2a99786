//! The stand-ins with a stopwatch, for the benchmark. What they take would be counted as the bot's, so Discord's answers
//! to a command, which are given ten thousand times, come from here, unchecked. All else comes from the stand-ins.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::discord::{self, Discord, Order};
use super::http::{self, Answer, Request};
use super::wolkvox::Wolkvox;

/// How many agents the commands are about: as a large contact centre has. The bot remembers each one's last toggle.
const AGENTS: usize = 500;

/// Discord and Wolkvox for one process.
#[derive(Clone)]
pub struct Services {
    pub discord: Discord,
    pub wolkvox: Wolkvox,
    distance: Duration,
    interactions: usize,
    acknowledgements: Arrivals,
    replies: Arrivals,
}

/// When each of them arrived.
type Arrivals = watch::Sender<Vec<Instant>>;

impl Services {
    /// Every request takes `distance` to arrive, and its answer no time.
    pub async fn start(distance: Duration) -> Self {
        let for_discord = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = for_discord.local_addr().unwrap();
        let discord = Discord::new(format!("http://{host}"), format!("ws://{host}"));
        let for_wolkvox = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wolkvox = Wolkvox::new(format!("http://{}", for_wolkvox.local_addr().unwrap()));
        let [acknowledgements, replies] = <[Arrivals; 2]>::default();
        let services = Self { discord, wolkvox, distance, interactions: 0, acknowledgements, replies };
        let connections = [services.discord.connections.clone(), services.wolkvox.connections.clone()];
        for (listener, connections) in [for_discord, for_wolkvox].into_iter().zip(connections) {
            let server = services.clone();
            tokio::spawn(http::accept(listener, connections, move |stream| server.clone().serve(stream)));
        }
        services
    }

    /// Gives so many commands at once: the milliseconds until the last was acknowledged, and until it was answered.
    pub async fn commands(&mut self, count: usize) -> [f64; 2] {
        for _ in 0..count {
            self.interact(2, json!({"name": "agent_id", "type": 4, "value": self.interactions % AGENTS + 1}));
        }
        // They leave when this task waits.
        let sent = Instant::now();
        let acknowledged = until(&self.acknowledgements, self.interactions, sent).await;
        [acknowledged, until(&self.replies, self.interactions, sent).await]
    }

    /// Types a part of an agent's name: the milliseconds until agents were suggested.
    pub async fn keystroke(&mut self, typed: &str) -> f64 {
        self.interact(4, json!({"name": "agent_id", "type": 4, "value": typed, "focused": true}));
        until(&self.acknowledgements, self.interactions, Instant::now()).await
    }

    fn interact(&mut self, kind: u64, option: Value) {
        self.interactions += 1;
        let data = discord::command_data(option);
        let (_, payload) = self.discord.new_interaction(&discord::supervisor(), kind, data);
        let event = json!({"op": 0, "s": self.interactions + 1, "t": "INTERACTION_CREATE", "d": payload});
        self.discord.order(|| Order::Send(event.clone()));
    }

    async fn serve(self, stream: TcpStream) {
        if let Some((stream, request)) = http::serve(stream, |request| self.answer(request)).await {
            self.discord.websocket(stream, &request).await;
        }
    }

    async fn answer(&self, request: Request) -> Answer {
        let distance = self.distance;
        if !distance.is_zero() {
            // A thread sleeps, because the runtime's clock ticks in milliseconds, which would hide what the bot takes.
            tokio::task::spawn_blocking(move || thread::sleep(distance)).await.unwrap();
        }
        let arrived = |arrivals: &Arrivals| arrivals.send_modify(|all| all.push(Instant::now()));
        if request.path.starts_with("/api/v10/interactions/") {
            arrived(&self.acknowledgements);
            Answer::empty(204)
        } else if request.path.starts_with("/api/v10/webhooks/") {
            arrived(&self.replies);
            // About as long as Discord's.
            Answer::json(200, &json!({"id": "1420000000000000000", "content": "x".repeat(800)}))
        } else if request.path.starts_with("/api/v2/") {
            self.wolkvox.handle(request).await
        } else {
            self.discord.handle(request).await
        }
    }
}

/// The milliseconds from `sent` until so many had arrived.
async fn until(arrivals: &Arrivals, count: usize, sent: Instant) -> f64 {
    let mut arrivals = arrivals.subscribe();
    let all = timeout(Duration::from_secs(30), arrivals.wait_for(|all| all.len() == count)).await;
    let last = all.expect("the process under test does nothing").unwrap()[count - 1];
    (last - sent).as_secs_f64() * 1e3
}
