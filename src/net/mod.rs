//! What all outgoing connections share: one TLS configuration, one kind of HTTP client, one proxy, one rule for the
//! addresses that a token may travel to, and words for what goes wrong.

mod error;
mod proxy;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use rustls::{ClientConfig, RootCertStore};

pub use error::{ClientError, HttpError, error_chain};
pub use proxy::Proxy;

use crate::language::{Both, both};

/// How long making a connection may take, the way through a proxy and the TLS handshake included. It is shared among
/// the addresses that a name has, so that one that does not answer leaves time for the next.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// After how long without traffic a connection is probed.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);
/// After how long a connection ends on which nothing that was sent is acknowledged.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);
/// Discord wants this form.
const USER_AGENT: &str = concat!("DiscordBot (wolkvox-bot, ", env!("CARGO_PKG_VERSION"), ")");

/// The TLS configuration of all connections.
#[derive(Clone)]
pub struct Tls {
    config: ClientConfig,
    /// What was found, where no authorities were.
    no_authorities: Option<String>,
}

impl Tls {
    /// Trusts the authorities that the system trusts, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
    ///
    /// # Errors
    /// When rustls can't be set up. That no authorities were found is an error only where TLS is used.
    pub fn load() -> Result<Self, rustls::Error> {
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(found.certs);
        let why = || found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        let no_authorities = store.is_empty().then(why);
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(Self { config, no_authorities })
    }
}

/// An HTTP client that does nothing on its own: no redirects (our tokens would travel along), no retries (those are
/// for the callers to decide), no proxy but the one that is given. Connections are kept unused for `keep`.
///
/// One retry can't be turned off, and does no harm: a request that was never written, because its kept connection
/// turned out to be closed, goes out on a new one.
pub fn http_client(
    base: &BaseUrl,
    proxy: Option<&Proxy>,
    tls: &Tls,
    connect: Duration,
    keep: Duration,
) -> Result<Client, ClientError> {
    if let ("https", Some(found)) = (base.0.scheme(), &tls.no_authorities) {
        return Err(ClientError::NoAuthorities(found.clone()));
    }
    let mut client = Client::builder()
        .tls_backend_preconfigured(tls.config.clone())
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .connect_timeout(connect)
        .pool_idle_timeout(keep)
        .tcp_keepalive(TCP_KEEPALIVE)
        .tcp_user_timeout(TCP_USER_TIMEOUT)
        .user_agent(USER_AGENT);
    if let Some(proxy) = proxy {
        client = client.proxy(proxy.rule()?);
    }
    Ok(client.build()?)
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The whole body, or why it did not arrive.
    pub body: Result<Vec<u8>, HttpError>,
}

/// Sends a request, once, and reads the whole answer, of which `max` bytes at most.
pub async fn send(request: RequestBuilder, max: usize) -> Result<Answer, HttpError> {
    let response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    Ok(Answer { status, headers, body: read_body(response, max).await })
}

/// Reads a body of at most `max` bytes.
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

/// The address of an API: `https`, or `http` on loopback, since a token travels there.
#[derive(Clone, Debug)]
pub struct BaseUrl(Url);

impl BaseUrl {
    /// Parses a base address; a slash at its end makes no difference.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Both> {
        let is_web = |url: &Url| url.has_host() && matches!(url.scheme(), "http" | "https");
        let Some(url) = Url::parse(text).ok().filter(is_web) else {
            return Err(both("it is not a web address", "no es una dirección web"));
        };
        if !keeps_secrets(&url) {
            return Err(both(
                "it is not https (http is allowed on this machine itself only, because the token travels there)",
                "no es https (http solo se permite dentro de esta misma máquina, porque por ahí viaja el token)",
            ));
        }
        let plain = url.username().is_empty() && url.password().is_none();
        if !plain || url.query().is_some() || url.fragment().is_some() {
            return Err(both(
                "it contains more than a host, a port and a path",
                "contiene más que un host, un puerto y una ruta",
            ));
        }
        Ok(Self(url))
    }

    pub fn host(&self) -> String {
        host(&self.0)
    }

    /// The address of `path` below this one.
    pub fn join(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&[self.0.path().trim_end_matches('/'), path.trim_start_matches('/')].join("/"));
        url
    }
}

/// The host as people are told of it, with the port where that is not the usual one.
pub fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
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
