//! The three requests of a command: acknowledge, toggle, answer. They go out on kept connections, over hyper
//! itself.
//!
//! All other requests are made with reqwest. For these its layers would cost more than everything else that the
//! bot does for a command, and they leave open what matters most for a toggle: whether it was written or not.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Bytes};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::http::response::Parts;
use hyper::http::uri::InvalidUri;
use hyper::{Method, Request, StatusCode, Uri};
use hyper_tls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use native_tls::TlsConnector;
use tokio::select;
use tokio::time::{Instant, sleep_until, timeout};
use tower_service::Service as _;

use crate::net::{self, BaseUrl};

/// The most that is read of an answer, in bytes: far more than Discord or Wolkvox says to a command.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;

const TOO_LATE: &str = "it took too long";

/// The connections to one service.
pub struct Connections {
    origin: Uri,
    /// What every request has.
    headers: HeaderMap,
    connector: HttpsConnector<HttpConnector>,
    /// How long making a connection may take.
    connect: Duration,
    /// How long one may be unused and still be used again.
    keep: Duration,
    /// With the time from which on: the oldest in front.
    unused: Mutex<VecDeque<(Sender, Instant)>>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body, or why it did not arrive.
    pub body: Result<Vec<u8>, HttpError>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Nothing was sent, since there is no connection, or none that is trusted.
    #[error("no connection: {0}")]
    NotConnected(String),
    /// Something was sent, and the connection broke.
    #[error("{0}")]
    Lost(String),
    /// Something was sent, and there was no answer in time.
    #[error("{TOO_LATE}")]
    TimedOut,
    /// The answer has more than [`MAX_ANSWER_BYTES`].
    #[error("the answer is too long")]
    TooLong,
}

type Sender = SendRequest<Full<Bytes>>;

/// What became of a request that got no answer on a connection.
enum Failed {
    Broken(HttpError),
    /// The connection was closed before anything was written: here is the request again.
    Unsent(Box<Request<Full<Bytes>>>, String),
}

impl Connections {
    /// No connection is made yet. Making one takes `connect` at most; one that was unused for `keep` is not used
    /// again. Every request has `headers`.
    pub fn new(
        base: &BaseUrl,
        headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
        tls: &TlsConnector,
        connect: Duration,
        keep: Duration,
    ) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Shared among the addresses that a name has, so that one that does not answer leaves time for the next.
        tcp.set_connect_timeout(Some(connect));
        // A connection that died without a word is to be noticed before it is used again.
        tcp.set_keepalive(Some(net::TCP_KEEPALIVE));
        tcp.set_keepalive_interval(Some(net::TCP_KEEPALIVE));
        tcp.set_keepalive_retries(Some(2));
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(2 * net::TCP_KEEPALIVE));
        let connector = HttpsConnector::from((tcp, tls.clone().into()));
        let common = [
            (HOST, base.host().clone()),
            (ACCEPT, HeaderValue::from_static("*/*")),
            (USER_AGENT, HeaderValue::from_static(net::USER_AGENT)),
            // Of an empty body, which is announced too: some servers refuse a POST without a length (411).
            (CONTENT_LENGTH, HeaderValue::from_static("0")),
        ];
        // With room to spare: hyper would make a full map larger for every request.
        let mut template = HeaderMap::with_capacity(8);
        template.extend(common.into_iter().chain(headers));
        Self { origin: base.origin().clone(), headers: template, connector, connect, keep, unused: Mutex::default() }
    }

    /// Sends one request, once, and waits until `deadline` for the answer. `target` is what the request line has. A
    /// kept connection that turns out to be closed before anything was written to it is replaced.
    ///
    /// # Errors
    /// [`HttpError::NotConnected`] says that nothing was sent; with any other, it may have arrived.
    pub async fn send(
        &self,
        method: Method,
        target: String,
        body: Vec<u8>,
        deadline: Instant,
    ) -> Result<Answer, HttpError> {
        let mut request =
            self.request(method, target, body).map_err(|error| HttpError::NotConnected(error.to_string()))?;
        while let Some(sender) = self.take() {
            match self.exchange(sender, request, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(Failed::Broken(error)) => return Err(error),
                Err(Failed::Unsent(unsent, _)) => request = *unsent,
            }
        }
        let sender = self.connect(deadline).await?;
        self.exchange(sender, request, deadline).await.map_err(|failed| match failed {
            Failed::Broken(error) => error,
            Failed::Unsent(_, why) => HttpError::NotConnected(why),
        })
    }

    fn request(&self, method: Method, target: String, body: Vec<u8>) -> Result<Request<Full<Bytes>>, InvalidUri> {
        let mut headers = self.headers.clone();
        if let Some(length) = headers.get_mut(CONTENT_LENGTH).filter(|_| !body.is_empty()) {
            *length = body.len().into();
        }
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = target.try_into()?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// The connection that was used last, if that was lately.
    fn take(&self) -> Option<Sender> {
        let mut unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while unused.front().is_some_and(|(_, since)| now.duration_since(*since) >= self.keep) {
            unused.pop_front();
        }
        unused.pop_back().map(|(sender, _)| sender)
    }

    fn keep(&self, sender: Sender) {
        let mut unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        unused.push_back((sender, Instant::now()));
    }

    async fn connect(&self, deadline: Instant) -> Result<Sender, HttpError> {
        let not_connected = |error: &dyn std::error::Error| HttpError::NotConnected(net::cause(error));
        let connecting = async {
            let stream = self.connector.clone().call(self.origin.clone()).await;
            let stream = stream.map_err(|error| not_connected(error.as_ref()))?;
            http1::handshake(stream).await.map_err(|error| not_connected(&error))
        };
        let limit = self.connect.min(deadline.saturating_duration_since(Instant::now()));
        let late = |_| HttpError::NotConnected(TOO_LATE.to_owned());
        let (sender, io) = timeout(limit, connecting).await.map_err(late)??;
        tokio::spawn(io);
        Ok(sender)
    }

    async fn exchange(
        &self,
        mut sender: Sender,
        request: Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<Answer, Failed> {
        let mut late = pin!(sleep_until(deadline));
        let ready = select! {
            biased;
            ready = sender.ready() => ready.map_err(|closed| net::cause(&closed)),
            () = &mut late => Err(TOO_LATE.to_owned()),
        };
        if let Err(why) = ready {
            return Err(Failed::Unsent(Box::new(request), why));
        }
        let answered = select! {
            biased;
            answered = sender.try_send_request(request) => answered,
            () = &mut late => return Err(Failed::Broken(HttpError::TimedOut)),
        };
        let response = answered.map_err(|mut error| {
            let why = net::cause(error.error());
            match error.take_message() {
                Some(request) => Failed::Unsent(Box::new(request), why),
                None => Failed::Broken(HttpError::Lost(why)),
            }
        })?;
        let (Parts { status, headers, .. }, body) = response.into_parts();
        let body = select! {
            biased;
            body = read_body(body) => match body {
                Ok(whole) => whole.ok_or(HttpError::TooLong),
                Err(error) => Err(HttpError::Lost(net::cause(&error))),
            },
            () = &mut late => Err(HttpError::TimedOut),
        };
        if body.is_ok() && !sender.is_closed() {
            self.keep(sender);
        }
        Ok(Answer { status, headers, body })
    }
}

/// Reads a body of at most [`MAX_ANSWER_BYTES`]; `None` where there is more.
///
/// # Errors
/// When the connection breaks before its end.
pub async fn read_body<B: Body<Data = Bytes> + Unpin>(mut body: B) -> Result<Option<Vec<u8>>, B::Error> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        let part = frame.data_ref().map(Bytes::as_ref).unwrap_or_default();
        if whole.len() + part.len() > MAX_ANSWER_BYTES {
            return Ok(None);
        }
        whole.extend_from_slice(part);
    }
    Ok(Some(whole))
}
