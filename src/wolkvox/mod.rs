//! The client of Wolkvox's API. It knows nothing of Discord.
//!
//! A token may be used by one call at a time, so every call takes its place in the queue first. [`Turn::mute`] is
//! the toggle; the listings let toggles go first.

mod answer;
mod information;
mod mute;
mod queue;

use std::sync::Arc;
use std::time::Duration;

use native_tls::TlsConnector;
use reqwest::Client;
use reqwest::header::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

pub use information::{AgentRow, InformationError, TokenInfo};
pub use mute::{Call, Turn};

use crate::http::Connections;
use crate::net::{self, BaseUrl};

/// The header that carries the token.
const TOKEN: HeaderName = HeaderName::from_static("wolkvox-token");

/// How long an unused connection is kept. Shorter than the 5 s after which Apache, PHP's usual front, closes
/// one: a toggle must not be written to a connection that the server is just giving up, since nobody could
/// tell whether it arrived.
const KEEP_CONNECTION: Duration = Duration::from_secs(4);

/// Where Wolkvox is and how to talk to it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `https://wv{server}.wolkvox.com`, or another address.
    pub base: BaseUrl,
    /// The API token (`wolkvox-token`).
    pub token: SecretString,
    /// The longest that one exchange may take, 1 to 120 s. The vendor's own limit for a call is 60 s.
    pub timeout: Duration,
}

/// The client; clones share its connection and its queue.
#[derive(Clone)]
pub struct Wolkvox(Arc<Inner>);

struct Inner {
    client: Client,
    /// For the toggles. One is in use at a time.
    connections: Connections,
    /// The path that toggles are sent to.
    agentbox: String,
    base: BaseUrl,
    token: HeaderValue,
    timeout: Duration,
    queue: queue::Queue,
}

/// Why the client can't be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The token has characters that no HTTP header can carry.
    #[error("the Wolkvox token can't be put into an HTTP header")]
    Token,
    /// The HTTP client can't be set up.
    #[error("the HTTP client for Wolkvox can't be set up")]
    Http(#[source] reqwest::Error),
}

impl Wolkvox {
    /// A client for one token.
    ///
    /// # Errors
    /// When the token can't be sent in a header, or the HTTP client can't be set up.
    pub fn new(settings: &Settings, tls: &TlsConnector) -> Result<Self, BuildError> {
        let mut token = HeaderValue::from_str(settings.token.expose_secret()).map_err(|_| BuildError::Token)?;
        token.set_sensitive(true);
        // Half of the whole exchange at the most, so that a connection that can't be made is always told
        // apart from an answer that does not come.
        let connect = net::CONNECT_TIMEOUT.min(settings.timeout / 2);
        let headers = [(TOKEN, token.clone())];
        Ok(Self(Arc::new(Inner {
            client: net::http_client(tls, connect, KEEP_CONNECTION).map_err(BuildError::Http)?,
            connections: Connections::new(&settings.base, headers, tls, connect, KEEP_CONNECTION),
            agentbox: settings.base.target("api/v2/agentbox.php"),
            base: settings.base.clone(),
            token,
            timeout: settings.timeout,
            queue: queue::Queue::default(),
        })))
    }

    /// Takes the next place in the queue for the token, at once and in order of the calls to this function.
    pub fn turn(&self) -> Turn {
        Turn::new(self.0.clone())
    }
}
