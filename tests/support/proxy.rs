//! A proxy as a company has it: takes CONNECT and nothing else, from whoever signs in, and sees what goes through. All
//! hosts are on this machine, whatever their names.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::http::{self, Answer, Connections, Port, Request};

/// As it stands in an address: it is `pr@xy/p:ss-word`.
pub const ENCODED_PASSWORD: &str = "pr%40xy%2Fp%3Ass-word";
/// The end of the password, which no encoding changes.
pub const PASSWORD: &str = "ss-word";
const AUTHORIZATION: &str = "Basic YW5hOnByQHh5L3A6c3Mtd29yZA==";

#[derive(Default)]
pub struct State {
    /// The hosts that were asked for, in order.
    pub hosts: Vec<String>,
    /// How CONNECT to a host is answered where it is not let through.
    pub refusals: BTreeMap<&'static str, fn() -> Answer>,
    /// Everything that was read, from both sides.
    pub seen: Vec<u8>,
    pub violations: Vec<String>,
}

#[derive(Clone)]
pub struct Proxy {
    /// Without user name and password.
    pub address: String,
    state: Arc<Mutex<State>>,
    port: Port,
}

impl Proxy {
    pub fn start() -> Self {
        let port = Port::new();
        let address = port.address().to_string();
        let state: Arc<Mutex<State>> = Arc::default();
        let served = state.clone();
        let connections = Arc::<Connections>::default();
        tokio::spawn(http::accept(port.listen(), connections, move |stream| serve(served.clone(), stream)));
        Self { address, state, port }
    }

    /// What `HTTPS_PROXY` is set to.
    pub fn url(&self) -> String {
        format!("http://ana:{ENCODED_PASSWORD}@{}", self.address)
    }

    pub fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    /// From now on CONNECT to this host is answered so.
    pub fn refuse(&self, host: &'static str, answer: fn() -> Answer) {
        self.state(|state| state.refusals.insert(host, answer));
    }

    /// How often a host was asked for.
    pub fn connects(&self, host: &str) -> usize {
        self.state(|state| state.hosts.iter().filter(|known| *known == host).count())
    }

    /// From now on connections are refused. Those that are there stay.
    pub fn go_down(&self) {
        self.port.close();
    }
}

async fn serve(state: Arc<Mutex<State>>, stream: TcpStream) {
    let Some((stream, request)) = http::serve(stream, |request| answer(&state, request)).await else { return };
    let port: u16 = request.path.rsplit_once(':').unwrap().1.parse().unwrap();
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let (from_client, mut to_client) = stream.into_split();
    let (from_server, to_server) = server.into_split();
    to_client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
    tokio::join!(pass(&state, from_client, to_server), pass(&state, from_server, to_client));
}

async fn answer(state: &Mutex<State>, request: Request) -> Answer {
    let mut state = state.lock().unwrap();
    state.seen.extend_from_slice(format!("{request:?}").as_bytes());
    if request.method != "CONNECT" {
        state.violations.push(format!("{} {}", request.method, request.path));
        return Answer::empty(405);
    }
    if request.header("proxy-authorization") != Some(AUTHORIZATION) {
        return Answer::empty(407).with("proxy-authenticate", "Basic realm=\"office\"");
    }
    let host = request.path.rsplit_once(':').unwrap().0.to_owned();
    let refusal = state.refusals.get(host.as_str()).copied();
    state.hosts.push(host);
    refusal.map_or(Answer::Upgrade, |answer| answer())
}

async fn pass(state: &Mutex<State>, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let mut bytes = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        state.lock().unwrap().seen.extend_from_slice(&bytes[..read]);
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
