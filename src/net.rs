//! What all outgoing connections share: one TLS configuration, one kind of HTTP client, one rule for the addresses
//! that a token may travel to, and words for what goes wrong.

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use rustls::{CertificateError, ClientConfig, RootCertStore};

/// How long making a connection may take, TLS handshake included. It is shared among the addresses that a name has,
/// so that one that does not answer leaves time for the next.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// After how long without traffic a connection is probed.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);
/// How we introduce ourselves; Discord wants this form.
const USER_AGENT: &str = concat!("DiscordBot (wolkvox-bot, ", env!("CARGO_PKG_VERSION"), ")");

/// The TLS configuration of all connections.
#[derive(Clone)]
pub struct Tls {
    config: ClientConfig,
    authorities: Result<(), NoAuthorities>,
}

/// Without authorities no certificate can be verified.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "no certificate authorities were found on this machine{0}. Install them (the package ca-certificates), or name \
     a file that has them in SSL_CERT_FILE"
)]
pub struct NoAuthorities(pub(crate) String);

/// Why there can be no client for a service.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The service is reached over TLS, and its certificate could not be verified.
    #[error(transparent)]
    NoAuthorities(#[from] NoAuthorities),
    /// The HTTP client can't be set up.
    #[error("the HTTP client can't be set up")]
    Http(#[from] reqwest::Error),
}

impl Tls {
    /// Trusts the authorities that the system trusts, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
    ///
    /// # Errors
    /// When rustls can't be set up. That no authorities were found is an error only where one is needed.
    pub fn load() -> Result<Self, rustls::Error> {
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(found.certs);
        let why = || found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        let authorities = if store.is_empty() { Err(NoAuthorities(why())) } else { Ok(()) };
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(Self { config, authorities })
    }
}

/// An HTTP client that does nothing on its own: no redirects (our tokens would travel along), no repeats (those are
/// for the callers to decide), no proxy from the environment. Connections are kept unused for `keep`.
///
/// What can't be turned off, and need not be: a request that was never written, because its kept connection turned
/// out to be closed, goes out on a new one.
///
/// # Errors
/// When `base` needs TLS and there are no authorities, or the client can't be set up.
pub fn http_client(base: &BaseUrl, tls: &Tls, connect: Duration, keep: Duration) -> Result<Client, ClientError> {
    if base.0.scheme() == "https" {
        tls.authorities.clone()?;
    }
    let client = Client::builder()
        .tls_backend_preconfigured(tls.config.clone())
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .connect_timeout(connect)
        .pool_idle_timeout(keep)
        .tcp_keepalive(TCP_KEEPALIVE)
        .user_agent(USER_AGENT);
    Ok(client.build()?)
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

/// Why there is no answer. No variant holds an address, since that may hold a token.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HttpError {
    /// Nothing was sent: the request itself is at fault.
    #[error("the request can't be made: {0}")]
    NoRequest(String),
    /// Nothing was sent: no connection was made.
    #[error("no connection: {0}")]
    NoConnection(String),
    /// Nothing was sent: the other side could not be trusted.
    #[error("no connection that can be trusted: {0}")]
    Untrusted(Untrusted),
    /// Something may have been sent, and the connection broke.
    #[error("the connection broke: {0}")]
    Lost(String),
    /// Something may have been sent, and there was no answer in time.
    #[error("it took too long")]
    TimedOut,
    /// The answer is longer than it may be.
    #[error("the answer is too long")]
    TooLong,
}

impl HttpError {
    /// Whether the request may have reached the other side.
    pub fn may_have_been_sent(&self) -> bool {
        !matches!(self, Self::NoRequest(_) | Self::NoConnection(_) | Self::Untrusted(_))
    }

    /// Whether its text says itself what to do about it.
    pub fn names_its_remedy(&self) -> bool {
        matches!(self, Self::Untrusted(_))
    }
}

/// Why the other side's TLS can't be trusted, and what an administrator can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// Signed by nobody that this machine trusts, or by itself.
    #[error(
        "its certificate was issued by an authority that this machine does not trust. If a company's proxy stands in \
         between, put its authority's certificate into a file and name that in SSL_CERT_FILE"
    )]
    Authority,
    /// For another host.
    #[error(
        "its certificate is for another host. Check the address; if a company's proxy stands in between, name its \
         authority's certificate in SSL_CERT_FILE"
    )]
    Host,
    /// Expired, or not valid yet.
    #[error(
        "its certificate has expired or is not valid yet. Check this machine's clock; if that is right, the server's \
         operator, or that of a proxy in between (SSL_CERT_FILE), has to renew it"
    )]
    Time,
    /// Only encryption from before TLS 1.2.
    #[error(
        "it offers only encryption that is too old to be safe (TLS 1.2 is the least). If an old proxy stands in \
         between, go around it, or have it updated (SSL_CERT_FILE then names its authority)"
    )]
    TooOld,
    /// Anything else about its certificate.
    #[error(
        "its certificate can't be verified. If a company's proxy stands in between, name its authority's \
         certificate in SSL_CERT_FILE"
    )]
    Certificate,
}

impl From<reqwest::Error> for HttpError {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let why = first_cause(&error);
        if error.is_builder() {
            Self::NoRequest(why)
        } else if error.is_connect() {
            tls_error(&error).and_then(untrusted).map_or(Self::NoConnection(why), Self::Untrusted)
        } else if error.is_timeout() {
            Self::TimedOut
        } else {
            Self::Lost(why)
        }
    }
}

fn untrusted(error: &rustls::Error) -> Option<Untrusted> {
    use rustls::{AlertDescription as Alert, Error};

    Some(match error {
        Error::InvalidCertificate(error) => match error {
            // A certificate that signed itself, as a router's or an appliance's, is a `CaUsedAsEndEntity`.
            CertificateError::UnknownIssuer | CertificateError::Other(_) => Untrusted::Authority,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Untrusted::Host,
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Untrusted::Time,
            _ => Untrusted::Certificate,
        },
        Error::PeerIncompatible(_)
        | Error::AlertReceived(Alert::ProtocolVersion | Alert::HandshakeFailure | Alert::InsufficientSecurity) => {
            Untrusted::TooOld
        }
        _ => return None,
    })
}

fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    // An I/O error passes its own contents over when it is asked for its source.
    let inside = |error: &'a (dyn Error + 'static)| {
        let inner: &(dyn Error + 'static) = error.downcast_ref::<io::Error>()?.get_ref()?;
        tls_error(inner)
    };
    error.downcast_ref().or_else(|| inside(error)).or_else(|| tls_error(error.source()?))
}

/// Sends a request, once, and reads the whole answer, of which `max` bytes at most.
///
/// # Errors
/// Where there is no answer at all.
pub async fn send(request: RequestBuilder, max: usize) -> Result<Answer, HttpError> {
    let response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    Ok(Answer { status, headers, body: read_body(response, max).await })
}

/// Reads a body of at most `max` bytes.
///
/// # Errors
/// When there is more, or the connection breaks before its end.
pub async fn read_body(mut response: Response, max: usize) -> Result<Vec<u8>, HttpError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max {
            return Err(HttpError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The address that an API lives at: `https`, or `http` on loopback, since a token travels there.
#[derive(Clone, Debug)]
pub struct BaseUrl(Url);

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
        Ok(Self(url))
    }

    /// The address of `path` below this one.
    pub fn join(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&[self.0.path().trim_end_matches('/'), path.trim_start_matches('/')].join("/"));
        url
    }
}

/// Whether a token may travel to this address: encrypted, or without leaving the machine.
pub fn keeps_secrets(url: &Url) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => {
            let host = url.host_str().unwrap_or_default();
            let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
            host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
        }
        _ => false,
    }
}

/// The first cause of an error, without the libraries' layers around it.
pub fn first_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// An error with all its causes, for the log.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text = [&text, ": ", &message].concat();
        }
        cause = error.source();
    }
    text
}
