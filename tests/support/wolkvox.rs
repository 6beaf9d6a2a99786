//! Wolkvox as far as the bot sees it: a microphone toggle an agent, one token, its documented refusals. Whatever
//! Wolkvox would refuse is refused here, and fails the test.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use super::eventually;
use super::http::{self, Answer, Connections, Port, Request, Stream};

pub const TOKEN: &str = "7b2263-wolkvox-token-6465616462656566";
pub const SUCCESS: &str = "Microphone agentbox has been excecuted";

/// What happens to one request; what is not told otherwise is carried out and confirmed.
#[derive(Clone, Debug)]
pub enum Fate {
    Confirm,
    /// Carried out and confirmed after a while.
    Slow(Duration),
    /// Carried out at once and confirmed after a while.
    Late(Duration),
    /// Carried out and confirmed when the test says so.
    Held(Arc<Notify>),
    /// Not carried out: refused with this status, code, error, msg.
    Refuse(u16, &'static str, &'static str),
    /// Carried out; answered with these bytes under HTTP.
    Say(u16, &'static str, Vec<u8>),
    /// Carried out; these raw bytes are the whole answer.
    Raw(Vec<u8>),
    /// Not carried out, connection closed.
    CutBefore,
    /// Carried out, connection closed.
    CutAfter,
    /// Carried out, then a body without end.
    Endless,
    /// Carried out, never answered.
    Silent,
    /// Not carried out, sent elsewhere.
    Redirect(String),
}

impl Fate {
    /// Waits until the request is carried out, where it is.
    async fn wait(&self) {
        match self {
            Self::Slow(time) => sleep(*time).await,
            Self::Held(held) => held.notified().await,
            _ => {}
        }
    }

    /// The answer in the end; this one where all is well.
    async fn answer(self, confirmation: Answer) -> Answer {
        match self {
            Self::Confirm | Self::Slow(_) | Self::Held(_) => confirmation,
            Self::Late(time) => {
                sleep(time).await;
                confirmation
            }
            Self::Refuse(status, error, msg) => refusal(status, error, msg),
            Self::Say(status, kind, body) => {
                Answer::Full { status, headers: vec![("content-type", kind.to_owned())], body }
            }
            Self::Raw(bytes) => Answer::Raw(bytes),
            Self::CutBefore | Self::CutAfter => Answer::Cut,
            Self::Endless => Answer::Endless,
            Self::Silent => Answer::Silent,
            Self::Redirect(to) => Answer::Full { status: 307, headers: vec![("location", to)], body: Vec::new() },
        }
    }

    fn is_unknowable(&self) -> bool {
        matches!(self, Self::Say(..) | Self::Raw(_) | Self::CutBefore | Self::CutAfter | Self::Endless | Self::Silent)
    }
}

pub const BUSY: Fate = Fate::Refuse(403, "FORBIDDEN", "EXCEEDS THE LIMIT OF SIMULTANEOUS REQUESTS PER TOKEN (2)");

#[derive(Default)]
pub struct State {
    /// How often each agent's microphone was toggled.
    pub toggles: BTreeMap<u64, usize>,
    /// The agents in the order in which their requests arrived.
    pub requests: Vec<u64>,
    /// Requests whose outcome nobody could know from the answer.
    pub unknowable: usize,
    pub fates: VecDeque<Fate>,
    /// Draws a fate where none is in the queue.
    pub chance: Option<Box<dyn FnMut() -> Fate + Send>>,
    pub in_flight: usize,
    pub most_in_flight: usize,
    pub listings: usize,
    pub agents: Option<Answer>,
    pub token_info: Option<Answer>,
    /// How often the token was asked about.
    pub token_questions: usize,
    /// What happens to questions for the token's quota that have no such answer.
    pub token_info_fate: Option<Fate>,
    pub violations: Vec<String>,
}

#[derive(Clone)]
pub struct Wolkvox {
    pub url: String,
    pub connections: Arc<Connections>,
    state: Arc<Mutex<State>>,
    changed: watch::Sender<()>,
    listening: Arc<Mutex<watch::Sender<()>>>,
    /// Its own, where it goes down and comes back.
    port: Option<Port>,
}

impl Wolkvox {
    pub async fn start() -> Self {
        let port = Port::new();
        let wolkvox = Self { port: Some(port.clone()), ..Self::new(format!("http://{}", port.address())) };
        wolkvox.listen(port.listen());
        wolkvox
    }

    /// Behind TLS, under a host's name.
    pub async fn behind_tls(host: &str, acceptor: TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wolkvox = Self::new(format!("https://{host}:{}", listener.local_addr().unwrap().port()));
        let server = wolkvox.clone();
        tokio::spawn(http::accept(listener, wolkvox.connections.clone(), move |stream| {
            let (server, acceptor) = (server.clone(), acceptor.clone());
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    server.serve(stream).await;
                }
            }
        }));
        wolkvox
    }

    pub fn listen(&self, listener: Arc<TcpListener>) {
        let server = self.clone();
        let accepting = http::accept(listener, self.connections.clone(), move |stream| {
            let server = server.clone();
            async move {
                // A connection ends when the server goes down, unless it has a request to answer.
                let mut listening = server.listening.lock().unwrap().subscribe();
                let serving = server.serve(stream);
                tokio::pin!(serving);
                loop {
                    tokio::select! {
                        () = &mut serving => break,
                        _ = listening.changed() => if server.state(|state| state.in_flight == 0) { break },
                    }
                }
            }
        });
        tokio::spawn(accepting);
    }

    /// From now on connections are refused, and the idle ones are closed.
    pub fn go_down(&self) {
        self.port.as_ref().unwrap().close();
        self.listening.lock().unwrap().send_replace(());
    }

    pub fn come_back(&self) {
        self.listen(self.port.as_ref().unwrap().listen());
    }

    pub fn new(url: String) -> Self {
        let (changed, _) = watch::channel(());
        let listening = Arc::new(Mutex::new(watch::channel(()).0));
        Self { url, connections: Arc::default(), state: Arc::default(), changed, listening, port: None }
    }

    pub fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let looked = look(&mut self.state.lock().unwrap());
        self.changed.send_replace(());
        looked
    }

    /// The next requests meet these fates.
    pub fn next(&self, fates: impl IntoIterator<Item = Fate>) {
        self.state(|state| state.fates.extend(fates));
    }

    /// The next request is carried out and confirmed when the returned handle is notified.
    pub fn hold(&self) -> Arc<Notify> {
        let held = Arc::new(Notify::new());
        self.next([Fate::Held(held.clone())]);
        held
    }

    pub fn toggles(&self, agent: u64) -> usize {
        self.state(|state| state.toggles.get(&agent).copied().unwrap_or_default())
    }

    pub fn all_toggles(&self) -> usize {
        self.state(|state| state.toggles.values().sum())
    }

    pub fn requests(&self) -> usize {
        self.state(|state| state.requests.len())
    }

    /// Closes the connections that are kept.
    pub async fn cut_connections(&self) {
        self.connections.cut().await;
    }

    pub fn connections_made(&self) -> usize {
        self.connections.made.load(Ordering::SeqCst)
    }

    pub async fn until(&self, what: &str, condition: impl Fn(&State) -> bool) {
        eventually(what, self.changed.subscribe(), || condition(&self.state.lock().unwrap())).await;
    }

    pub async fn until_requests(&self, count: usize) {
        self.until(&format!("{count} requests to Wolkvox"), |state| state.requests.len() >= count).await;
    }

    pub async fn serve<S: Stream>(&self, stream: S) {
        // What is not answered to its end is in progress for as long as its connection lasts.
        let hanging = Hanging(self.clone(), AtomicUsize::new(0));
        let handle = async |request| {
            let answer = self.begin(request).await;
            if answer.hangs() {
                hanging.1.fetch_add(1, Ordering::SeqCst);
            } else {
                self.state(|state| state.in_flight -= 1);
            }
            answer
        };
        http::serve_until_stalled(stream, self.connections.stalls(), handle).await;
    }

    /// For a server of somebody else's, which sends no answer that hangs.
    pub async fn handle(&self, request: Request) -> Answer {
        let answer = self.begin(request).await;
        self.state(|state| state.in_flight -= 1);
        answer
    }

    async fn begin(&self, request: Request) -> Answer {
        self.state(|state| {
            state.in_flight += 1;
            state.most_in_flight = state.most_in_flight.max(state.in_flight);
        });
        self.answer(request).await
    }

    fn violation(&self, what: String) -> Answer {
        self.state(|state| state.violations.push(what));
        refusal(400, "BAD REQUEST", "THE API YOU WANT TO CONSULT DOES NOT EXIST")
    }

    async fn answer(&self, request: Request) -> Answer {
        let asks_about_the_token = request.query == "api=token_info";
        self.state(|state| state.token_questions += usize::from(asks_about_the_token));
        match request.header("wolkvox-token") {
            None => {
                self.state(|state| state.violations.push("no wolkvox-token".to_owned()));
                return refusal(401, "UNAUTHORIZED", "PLEASE ENTER THE WOLKVOX-TOKEN");
            }
            Some(token) if token != TOKEN => {
                return refusal(403, "FORBIDDEN", "PLEASE VALIDATE TOKEN");
            }
            Some(_) => {}
        }
        if request.header("authorization").is_some() || request.header("cookie").is_some() {
            return self.violation("a header of somebody else's".to_owned());
        }
        match (request.method.as_str(), request.path.as_str(), request.query.as_str()) {
            ("POST", "/api/v2/agentbox.php", query) => {
                if !request.body.is_empty() || request.header("content-length") != Some("0") {
                    return self.violation("a POST with a body, or without a length".to_owned());
                }
                let agent = query.strip_prefix("agent_id=").and_then(|rest| rest.strip_suffix("&api=mute"));
                match agent.and_then(|agent| agent.parse().ok()) {
                    Some(agent) => self.mute(agent).await,
                    None => self.violation(format!("a query of {query}")),
                }
            }
            ("GET", "/api/v2/information.php", "api=agents") => {
                self.state(|state| state.listings += 1);
                let answer = self.state(|state| state.agents.take());
                answer.unwrap_or_else(|| listing(&[]))
            }
            ("GET", "/api/v2/information.php", "api=token_info") => {
                let (answer, fate) = self.state(|state| (state.token_info.take(), state.token_info_fate.clone()));
                match (answer, fate.unwrap_or(Fate::Confirm)) {
                    (Some(answer), _) => answer,
                    (None, fate) => {
                        fate.wait().await;
                        fate.answer(quota()).await
                    }
                }
            }
            (method, path, query) => self.violation(format!("{method} {path}?{query}")),
        }
    }

    async fn mute(&self, agent: u64) -> Answer {
        let (in_flight, fate) = self.state(|state| {
            state.requests.push(agent);
            let fate = state.fates.pop_front();
            let fate = fate.or_else(|| state.chance.as_mut().map(|draw| draw()));
            (state.in_flight, fate.unwrap_or(Fate::Confirm))
        });
        if fate.is_unknowable() {
            self.state(|state| state.unknowable += 1);
        }
        if in_flight > 2 {
            return refusal(403, "FORBIDDEN", "EXCEEDS THE LIMIT OF SIMULTANEOUS REQUESTS PER TOKEN (2)");
        }
        fate.wait().await;
        if !matches!(fate, Fate::Refuse(..) | Fate::CutBefore | Fate::Redirect(_)) {
            self.state(|state| *state.toggles.entry(agent).or_default() += 1);
        }
        fate.answer(Answer::json(200, &json!({"code": "200", "error": null, "msg": SUCCESS}))).await
    }
}

struct Hanging(Wolkvox, AtomicUsize);

impl Drop for Hanging {
    fn drop(&mut self) {
        self.0.state(|state| state.in_flight -= *self.1.get_mut());
    }
}

pub fn refusal(status: u16, error: &str, msg: &str) -> Answer {
    Answer::json(status, &json!({"code": status.to_string(), "error": error, "msg": msg}))
}

/// The token's quota, with all the fields that Wolkvox sends.
fn quota() -> Answer {
    let data = json!({"description": "bot", "token_limit": "5000", "token_use_today": 12, "all_token_today": "40",
        "available_consumption_options": "4960"});
    Answer::json(200, &json!({"code": 200, "error": null, "msg": "1 records were found", "data": [data]}))
}

/// A listing of agents, with all the fields that Wolkvox sends.
pub fn listing(agents: &[(u64, &str, &str)]) -> Answer {
    let rows: Vec<Value> = agents
        .iter()
        .map(|(id, name, enabled)| {
            json!({"agent_id": id.to_string(), "agent_name": name, "agent_dni": NATIONAL_ID,
                "agent_status": "Ready", "last_use": "2026-11-20 08:00:00", "agent_sso": "", "enabled": enabled})
        })
        .collect();
    let msg = format!("{} records were found", rows.len());
    Answer::json(200, &json!({"code": "200", "error": null, "msg": msg, "data": rows}))
}

pub const NATIONAL_ID: &str = "CC-79.513.402";
