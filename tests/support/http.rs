//! A small HTTP/1.1 server that can do what real ones do when they fail: cut, stall, lie about lengths.

use std::borrow::Borrow;
use std::future::Future;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::net::Shutdown;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug)]
pub enum Answer {
    /// A whole answer.
    Full { status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    /// These bytes, then the connection is closed.
    Raw(Vec<u8>),
    /// A head that promises JSON, then a body that never ends.
    Endless,
    /// The same head, then a blank each time that so much has passed.
    Trickle(Duration),
    /// Closed without a word.
    Cut,
    /// Never answered, and neither is what comes later on this connection, which stays open.
    Silent,
    /// The connection becomes a websocket.
    Upgrade,
}

impl Answer {
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self::Full { status, headers, body: body.to_string().into_bytes() }
    }

    pub fn html(status: u16, title: &str) -> Self {
        let headers = vec![("content-type", "text/html; charset=UTF-8".to_owned())];
        let body = format!("<!DOCTYPE html>\n<html><head><title>{title}</title></head><body>{title}</body></html>\n");
        Self::Full { status, headers, body: body.into_bytes() }
    }

    /// With one more header.
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        if let Self::Full { headers, .. } = &mut self {
            headers.push((name, value.to_string()));
        }
        self
    }

    /// Whether it comes to no end.
    pub fn hangs(&self) -> bool {
        matches!(self, Self::Endless | Self::Trickle(_) | Self::Silent)
    }

    pub fn empty(status: u16) -> Self {
        Self::Full { status, headers: Vec::new(), body: Vec::new() }
    }
}

const ENDLESS: &[u8] = b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";

pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

#[derive(Default)]
pub struct Connections {
    pub made: AtomicUsize,
    pub open: AtomicUsize,
    cut: Notify,
    stall: watch::Sender<()>,
}

impl Connections {
    /// Closes all that are open, as a server does with those that were not used for a while.
    pub async fn cut(&self) {
        self.cut.notify_waiters();
        while self.open.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Makes all that are open pass nothing on any more, as a proxy does that still acknowledges every byte.
    pub fn stall(&self) {
        self.stall.send_replace(());
    }

    /// For a connection that can be stalled.
    pub fn stalls(&self) -> Stalls {
        Stalls(Some(self.stall.subscribe()))
    }
}

/// Tells a connection when it has to stall.
pub struct Stalls(Option<watch::Receiver<()>>);

impl Stalls {
    pub const NEVER: Self = Self(None);

    async fn begun(&mut self) {
        let begun = match &mut self.0 {
            Some(stalls) => stalls.changed().await.is_ok(),
            None => false,
        };
        if !begun {
            std::future::pending().await
        }
    }

    fn have_begun(&self) -> bool {
        self.0.as_ref().is_some_and(|stalls| stalls.has_changed().unwrap_or(false))
    }
}

// What is closed here is shut down before, because a process that another test is about to start has it too, for a moment.

/// A port of this machine. It stays ours while nobody listens there, when it would be given to another test.
#[derive(Clone)]
pub struct Port {
    reserved: Arc<TcpSocket>,
    listener: Arc<Mutex<Option<Arc<TcpListener>>>>,
}

impl Port {
    pub fn new() -> Self {
        let reserved = Self::bind("127.0.0.1:0".parse().unwrap());
        Self { reserved: Arc::new(reserved), listener: Arc::default() }
    }

    pub fn address(&self) -> SocketAddr {
        self.reserved.local_addr().unwrap()
    }

    /// Connections are refused until then.
    pub fn listen(&self) -> Arc<TcpListener> {
        let listener = Arc::new(Self::bind(self.address()).listen(1024).unwrap());
        *self.listener.lock().unwrap() = Some(listener.clone());
        listener
    }

    /// Connections are refused from now on.
    pub fn close(&self) {
        if let Some(listener) = self.listener.lock().unwrap().take() {
            rustix::net::shutdown(&*listener, Shutdown::Both).unwrap();
        }
    }

    fn bind(address: SocketAddr) -> TcpSocket {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseport(true).unwrap();
        socket.bind(address).unwrap();
        socket
    }
}

/// Accepts connections for as long as the runtime lives and the port is open.
pub async fn accept<F, Fut>(listener: impl Borrow<TcpListener>, connections: Arc<Connections>, serve: F)
where
    F: Fn(tokio::net::TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    while let Ok((stream, _)) = listener.borrow().accept().await {
        let _ = stream.set_nodelay(true);
        connections.made.fetch_add(1, Ordering::SeqCst);
        connections.open.fetch_add(1, Ordering::SeqCst);
        let connection = stream.as_fd().try_clone_to_owned().unwrap();
        let serving = serve(stream);
        let connections = connections.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = serving => {}
                () = connections.cut.notified() => {}
            }
            let _ = rustix::net::shutdown(connection, Shutdown::Both);
            connections.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Serves one connection; gives it back where it is to become a websocket.
pub async fn serve<S, F, Fut>(stream: S, handle: F) -> Option<(S, Request)>
where
    S: Stream,
    F: Fn(Request) -> Fut,
    Fut: Future<Output = Answer>,
{
    serve_until_stalled(stream, Stalls::NEVER, handle).await
}

/// The same for a connection that can be stalled. What arrived before that is still carried out.
pub async fn serve_until_stalled<S, F, Fut>(mut stream: S, mut stalls: Stalls, handle: F) -> Option<(S, Request)>
where
    S: Stream,
    F: Fn(Request) -> Fut,
    Fut: Future<Output = Answer>,
{
    let mut buffer = Vec::new();
    loop {
        let request = tokio::select! {
            biased;
            () = stalls.begun() => {
                swallow(&mut stream).await;
                return None;
            }
            request = read_request(&mut stream, &mut buffer) => request?,
        };
        let answer = handle(request.clone()).await;
        match if stalls.have_begun() { Answer::Silent } else { answer } {
            Answer::Full { status, headers, body } => {
                let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
                for (name, value) in headers {
                    head += &format!("{name}: {value}\r\n");
                }
                let mut bytes = (head + "\r\n").into_bytes();
                bytes.extend_from_slice(&body);
                stream.write_all(&bytes).await.ok()?;
            }
            Answer::Raw(bytes) => {
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
                return None;
            }
            Answer::Endless => {
                stream.write_all(ENDLESS).await.ok()?;
                loop {
                    stream.write_all(b"400\r\n").await.ok()?;
                    stream.write_all(&[b' '; 0x400]).await.ok()?;
                    stream.write_all(b"\r\n").await.ok()?;
                }
            }
            Answer::Trickle(pause) => {
                stream.write_all(ENDLESS).await.ok()?;
                // Until the other side closes, which is seen at once.
                while timeout(pause, swallow(&mut stream)).await.is_err() {
                    stream.write_all(b"1\r\n \r\n").await.ok()?;
                }
                return None;
            }
            Answer::Cut => return None,
            Answer::Silent => {
                swallow(&mut stream).await;
                return None;
            }
            Answer::Upgrade => return Some((stream, request)),
        }
    }
}

/// Reads an answer to its end: its head and its body.
pub async fn read_answer<S: Stream>(stream: &mut S) -> (String, String) {
    let mut bytes = Vec::new();
    loop {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "the connection was closed");
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if body.len() >= length.parse().unwrap() {
            return (head.to_owned(), body.to_owned());
        }
    }
}

/// Reads until the other side closes, and answers nothing.
pub async fn swallow<S: Stream>(stream: &mut S) {
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
}

async fn read_request<S: Stream>(stream: &mut S, buffer: &mut Vec<u8>) -> Option<Request> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(buffer) {
            Ok(httparse::Status::Complete(head)) => {
                let target = parsed.path?;
                let (path, query) = target.split_once('?').unwrap_or((target, ""));
                let headers: Vec<(String, String)> = parsed
                    .headers
                    .iter()
                    .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()))
                    .collect();
                let mut request = Request {
                    method: parsed.method?.to_owned(),
                    path: path.to_owned(),
                    query: query.to_owned(),
                    headers,
                    body: Vec::new(),
                };
                let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
                while buffer.len() < head + length {
                    if stream.read_buf(buffer).await.ok()? == 0 {
                        return None;
                    }
                }
                request.body = buffer[head..head + length].to_vec();
                buffer.drain(..head + length);
                return Some(request);
            }
            Ok(httparse::Status::Partial) => {
                if stream.read_buf(buffer).await.ok()? == 0 {
                    return None;
                }
            }
            Err(_) => return None,
        }
    }
}
