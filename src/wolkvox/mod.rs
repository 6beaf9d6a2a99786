//! The client of Wolkvox's API. It knows nothing of Discord.
//!
//! Calls use the token one at a time, so each takes its place in the queue first. Wolkvox allows two: the other one is for
//! a second copy of the bot, and for a call whose connection broke, which may still be in progress there. [`Turn::mute`]
//! is the toggle; the listings let toggles go first.

mod decode;
mod information;
mod mute;
mod queue;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Url};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;

pub use information::{AgentRow, InformationError, Patience, TokenInfo};
pub use mute::{CallReport, QueuedCall, Turn};

use crate::language::Localized;
use crate::net::{self, BaseUrl, ClientError, HttpError, Proxy, Tls};

const TOKEN: HeaderName = HeaderName::from_static("wolkvox-token");

/// The most that is read of an answer, in bytes: far more than Wolkvox says. Listings have a limit of their own.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// How long an unused connection is kept. Shorter than the 5 s after which Apache, PHP's usual front, closes
/// one: a toggle must not be written to a connection that the server is just giving up, since nobody could
/// tell whether it arrived.
const KEEP_CONNECTION: Duration = Duration::from_secs(4);

/// What a connection that is refused or not answered most likely means while the rest of the network is there, in
/// English and in Spanish.
pub const FIREWALL: [&str; 2] = [
    "Wolkvox's servers have a firewall of their own: the public IPv4 address that this machine, or its proxy, goes out \
     with has to be allowed there for your operation, in Wolkvox Manager or by Wolkvox's support.",
    "Los servidores de Wolkvox tienen su propio firewall: la dirección IPv4 pública con la que sale esta máquina, o su \
     proxy, debe estar autorizada ahí para tu operación, en Wolkvox Manager o por el soporte de Wolkvox.",
];
/// After how long the log speaks of it again.
const FIREWALL_AGAIN: Duration = Duration::from_secs(10 * 60);

/// Where Wolkvox is and how to talk to it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `https://wv{server}.wolkvox.com`, or another address.
    pub base: BaseUrl,
    pub token: SecretString,
    /// The longest that Wolkvox may take to answer, 1 to 120 s. The vendor's own limit for a call is 60 s.
    pub timeout: Duration,
    pub proxy: Option<Proxy>,
}

/// The client; clones share its connection and its queue.
#[derive(Clone)]
pub struct Wolkvox(Arc<Inner>);

struct Inner {
    client: Client,
    base: BaseUrl,
    token: HeaderValue,
    longest_exchange: Duration,
    queue: queue::Queue,
    told_of_firewall: Mutex<Option<Instant>>,
}

/// Why the client can't be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("the Wolkvox token can't be put into an HTTP header")]
    Token,
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl Localized for BuildError {
    fn spanish(&self) -> String {
        match self {
            Self::Token => "el token de Wolkvox no se puede poner en un encabezado HTTP".to_owned(),
            Self::Client(error) => error.spanish(),
        }
    }
}

impl Wolkvox {
    /// A client for one token.
    ///
    /// # Errors
    /// When the token can't be sent in a header, or the HTTP client can't be set up.
    pub fn new(settings: &Settings, tls: &Tls) -> Result<Self, BuildError> {
        let mut token = HeaderValue::from_str(settings.token.expose_secret()).map_err(|_| BuildError::Token)?;
        token.set_sensitive(true);
        // Half of the whole exchange at the most, so that a connection that can't be made is always told apart from
        // an answer that does not come.
        let connect = net::CONNECT_TIMEOUT.min(settings.timeout / 2);
        Ok(Self(Arc::new(Inner {
            client: net::http_client(&settings.base, settings.proxy.as_ref(), tls, connect, KEEP_CONNECTION)?,
            base: settings.base.clone(),
            token,
            longest_exchange: connect + settings.timeout,
            queue: queue::Queue::default(),
            told_of_firewall: Mutex::default(),
        })))
    }

    /// The longest that one exchange may take, in which a connection may have to be made first.
    pub fn longest_exchange(&self) -> Duration {
        self.0.longest_exchange
    }

    /// Waits until no call is in progress and none waits.
    pub async fn idle(&self) {
        drop(self.0.queue.enter_behind_toggles().permit().await);
    }
}

impl Inner {
    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url).header(TOKEN, self.token.clone())
    }

    /// Lets the log say what may be behind this error, but not at every command.
    fn tell_of_firewall(&self, error: &HttpError) {
        let mut told = self.told_of_firewall.lock().unwrap_or_else(PoisonError::into_inner);
        if error.may_be_firewall() && told.is_none_or(|told| told.elapsed() > FIREWALL_AGAIN) {
            *told = Some(Instant::now());
            tracing::warn!("{}", FIREWALL[0]);
        }
    }
}
