//! What all outgoing connections share: one TLS configuration, one kind of HTTP client, one rule for addresses.

use std::error::Error;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use hyper::Uri;
use hyper::header::HeaderValue;
use native_tls::{Protocol, TlsConnector};
use reqwest::{Client, Url};

/// How long a TCP and TLS handshake may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// After how long without traffic a connection is probed.
pub const TCP_KEEPALIVE: Duration = Duration::from_secs(15);
/// How we introduce ourselves; Discord wants this form.
pub const USER_AGENT: &str = concat!("DiscordBot (wolkvox-bot, ", env!("CARGO_PKG_VERSION"), ")");

/// TLS that trusts the system's authorities (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others), also when
/// OpenSSL is compiled in. One connector is shared by all clients, so that the authorities are read once.
///
/// # Errors
/// When OpenSSL can't be set up.
pub fn tls_connector() -> Result<TlsConnector, native_tls::Error> {
    TlsConnector::builder().min_protocol_version(Some(Protocol::Tlsv12)).build()
}

/// An HTTP client that does nothing on its own: no redirects (our tokens would travel along), no repeats
/// (those are for the callers to decide), no proxy from the environment. Connections are kept for `keep`.
///
/// What can't be turned off, and need not be: a request that was never written, because its kept connection
/// turned out to be closed, goes out on a new one.
///
/// # Errors
/// When the client can't be set up.
pub fn http_client(tls: &TlsConnector, connect: Duration, keep: Duration) -> Result<Client, reqwest::Error> {
    Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .connect_timeout(connect)
        .pool_idle_timeout(keep)
        .tcp_keepalive(TCP_KEEPALIVE)
        .user_agent(USER_AGENT)
        .build()
}

/// The address that an API lives at: `https`, or `http` on loopback, since a token travels there.
#[derive(Clone, Debug)]
pub struct BaseUrl {
    url: Url,
    origin: Uri,
    host: HeaderValue,
}

/// What is wrong with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBaseUrl {
    /// Not an absolute URL with a host.
    #[error("it is not a web address")]
    NotAUrl,
    /// The token would travel in the clear.
    #[error("it is not https (http is allowed on this machine itself only, because the token travels there)")]
    InTheClear,
    /// User name, password, query or fragment have no place in a base address.
    #[error("it contains more than a host, a port and a path")]
    TooMuch,
}

impl BaseUrl {
    /// Parses a base address; a slash at its end makes no difference.
    ///
    /// # Errors
    /// When it is not a plain address at which a token is safe.
    pub fn parse(text: &str) -> Result<Self, InvalidBaseUrl> {
        let url = Url::parse(text).map_err(|_| InvalidBaseUrl::NotAUrl)?;
        if !url.has_host() || !matches!(url.scheme(), "http" | "https") {
            return Err(InvalidBaseUrl::NotAUrl);
        }
        if !keeps_secrets(&url) {
            return Err(InvalidBaseUrl::InTheClear);
        }
        let plain = url.username().is_empty() && url.password().is_none();
        if !plain || url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidBaseUrl::TooMuch);
        }
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = url.host_str().unwrap_or_default().to_owned() + &port;
        let origin = Uri::builder().scheme(url.scheme()).authority(host.as_str()).path_and_query(url.path()).build();
        match (origin, HeaderValue::try_from(host)) {
            (Ok(origin), Ok(host)) => Ok(Self { url, origin, host }),
            _ => Err(InvalidBaseUrl::NotAUrl),
        }
    }

    /// Scheme, host and port: what to connect to.
    pub fn origin(&self) -> &Uri {
        &self.origin
    }

    /// Host and port, as the header `host` gives them.
    pub fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// The path of `path` below this address, as the request line gives it.
    pub fn target(&self, path: &str) -> String {
        format!("{}/{}", self.url.path().trim_end_matches('/'), path.trim_start_matches('/'))
    }

    /// The address of `path` below this one.
    pub fn join(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&self.target(path));
        url
    }
}

/// Whether a token may travel to this address: encrypted, or without leaving the machine.
pub fn keeps_secrets(url: &Url) -> bool {
    match url.scheme() {
        "https" | "wss" => true,
        "http" | "ws" => {
            let host = url.host_str().unwrap_or_default();
            let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
            host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
        }
        _ => false,
    }
}

/// The first cause of an error, without the libraries' layers around it.
pub fn cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// An error with all its causes, for the log. The address of a request is left out: it may hold a token.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            let _ = write!(text, ": {message}");
        }
        cause = error.source();
    }
    text
}
