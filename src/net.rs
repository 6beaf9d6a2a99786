//! What all outgoing connections share: one TLS configuration, one kind of HTTP client, one proxy, one rule for the
//! addresses that a token may travel to, and words for what goes wrong.

use crate::language::Localized;
use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use reqwest::header::HeaderMap;
use reqwest::{Client, NoProxy, RequestBuilder, Response, StatusCode, Url};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use secrecy::{ExposeSecret as _, SecretString};

/// How long making a connection may take, the way through a proxy and the TLS handshake included. It is shared among
/// the addresses that a name has, so that one that does not answer leaves time for the next.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// After how long without traffic a connection is probed.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);
/// After how long without an acknowledgement of what was sent a connection counts as dead.
#[cfg(target_os = "linux")]
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);
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

impl Localized for ClientError {
    fn spanish(&self) -> String {
        match self {
            Self::NoAuthorities(found) => format!(
                "no se encontraron autoridades de certificación en esta máquina{}. Instálalas (el paquete \
                 ca-certificates), o nombra en SSL_CERT_FILE un archivo que las tenga",
                found.0
            ),
            Self::Http(error) => format!("no se puede preparar el cliente HTTP: {}", error_chain(error)),
        }
    }
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
/// for the callers to decide), no proxy but the one that is given. Connections are kept unused for `keep`.
///
/// What can't be turned off, and need not be: a request that was never written, because its kept connection turned
/// out to be closed, goes out on a new one.
///
/// # Errors
/// When `base` needs TLS and there are no authorities, or the client can't be set up.
pub fn http_client(
    base: &BaseUrl,
    proxy: Option<&Proxy>,
    tls: &Tls,
    connect: Duration,
    keep: Duration,
) -> Result<Client, ClientError> {
    if base.0.scheme() == "https" {
        tls.authorities.clone()?;
    }
    let mut client = Client::builder()
        .tls_backend_preconfigured(tls.config.clone())
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .connect_timeout(connect)
        .pool_idle_timeout(keep)
        .tcp_keepalive(TCP_KEEPALIVE)
        .user_agent(USER_AGENT);
    #[cfg(target_os = "linux")]
    {
        client = client.tcp_user_timeout(TCP_USER_TIMEOUT);
    }
    if let Some(proxy) = proxy {
        client = client.proxy(proxy.rule()?);
    }
    Ok(client.build()?)
}

/// A proxy that encrypted connections go through, by CONNECT: TLS goes from end to end, so that it sees the names of
/// hosts and no token. It has no part in anything else: an `http` address, which is always on this machine, would be
/// shown to it in the clear.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// With the user name and the password.
    url: SecretString,
    /// The hosts that are reached without it.
    except: String,
    /// Without user name and password.
    shown: String,
}

/// What is wrong with a proxy's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxy {
    /// Not a host with or without a port.
    #[error("it is not the address of a proxy")]
    NotAnAddress,
    /// Such as SOCKS.
    #[error("it is not an http or https proxy")]
    Kind,
    /// As when a password has characters in it that mean something in an address.
    #[error("it contains more than a user name, a password, a host and a port")]
    TooMuch,
}

impl Localized for InvalidProxy {
    fn spanish(&self) -> String {
        match self {
            Self::NotAnAddress => "no es la dirección de un proxy",
            Self::Kind => "no es un proxy http ni https",
            Self::TooMuch => "contiene más que un usuario, una contraseña, un host y un puerto",
        }
        .to_owned()
    }
}

impl Proxy {
    /// Parses an address as `HTTPS_PROXY` has it, with or without `http://`, and a list of hosts as `NO_PROXY` has it.
    ///
    /// # Errors
    /// When it is not the address of a proxy that can be used.
    pub fn parse(text: &str, except: &str) -> Result<Self, InvalidProxy> {
        let text = if text.contains("://") { text.to_owned() } else { ["http://", text].concat() };
        let url = Url::parse(&text).map_err(|_| InvalidProxy::NotAnAddress)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(InvalidProxy::Kind);
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidProxy::TooMuch);
        }
        // What the library can't read it would go around, and say nothing.
        let used = intercept(url.as_str(), "", "https://discord.com").ok_or(InvalidProxy::NotAnAddress)?;
        let shown = used.uri().to_string().trim_end_matches('/').to_owned();
        Ok(Self { url: String::from(url).into(), except: except.to_owned(), shown })
    }

    /// Whether what lives at this address is reached through it.
    pub fn serves(&self, base: &BaseUrl) -> bool {
        intercept(self.url.expose_secret(), &self.except, base.0.as_str()).is_some()
    }

    fn rule(&self) -> Result<reqwest::Proxy, reqwest::Error> {
        let proxy = reqwest::Proxy::https(self.url.expose_secret()).map_err(reqwest::Error::without_url)?;
        Ok(proxy.no_proxy(NoProxy::from_string(&self.except)))
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// The proxy that is used for an address. reqwest does not tell, and asks in the same way.
fn intercept(proxy: &str, except: &str, address: &str) -> Option<Intercept> {
    Matcher::builder().https(proxy).no(except).build().intercept(&address.parse().ok()?)
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

/// Why there is no answer. Its words are for people, and name the other side's host at most: an address may hold a
/// token. What a library said stands in its source, for the log.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HttpError {
    /// Nothing was sent: the request itself is at fault.
    #[error("the request can't be made")]
    NoRequest(#[source] Cause),
    /// Nothing was sent: there is no connection.
    #[error("no connection to {host}: {why}")]
    NoConnection {
        /// Whom there is none to.
        host: String,
        /// What is in the way.
        why: Obstacle,
        /// What the library said.
        #[source]
        cause: Cause,
    },
    /// Something may have been sent, and the connection broke.
    #[error("the connection broke")]
    Lost(#[source] Cause),
    /// Something may have been sent, and there was no answer in time.
    #[error("it took too long")]
    TimedOut,
    /// The answer is longer than it may be.
    #[error("the answer is too long")]
    TooLong,
}

impl Localized for HttpError {
    fn spanish(&self) -> String {
        match self {
            Self::NoRequest(_) => "no se puede armar la solicitud".to_owned(),
            Self::NoConnection { host, why, .. } => format!("no hay conexión con {host}: {}", why.spanish()),
            Self::Lost(_) => "se cortó la conexión".to_owned(),
            Self::TimedOut => "tardó demasiado".to_owned(),
            Self::TooLong => "la respuesta es demasiado larga".to_owned(),
        }
    }
}

/// A library's own words.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Cause(String);

/// What keeps a connection from being made.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum Obstacle {
    /// The host itself.
    #[error("{0}")]
    Unreachable(Unreachable),
    /// The host could not be trusted.
    #[error("{0}")]
    Untrusted(Untrusted),
    /// The proxy.
    #[error("{0}")]
    Proxy(ProxyFault),
}

impl Localized for Obstacle {
    fn spanish(&self) -> String {
        match self {
            Self::Unreachable(why) => why.spanish(),
            Self::Untrusted(why) => why.spanish(),
            Self::Proxy(fault) => fault.spanish(),
        }
    }
}

/// Why a host can't be reached.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum Unreachable {
    /// DNS gave no address for its name.
    #[error("no address was found for this name (DNS)")]
    UnknownName,
    /// It, or something before it, turned the connection down.
    #[error("the connection is turned down")]
    TurnedDown,
    /// Nobody answered while there was time to make a connection.
    #[error("nobody answered in time")]
    Unanswered,
    /// Anything else.
    #[error("the connection can't be made, or breaks off at once")]
    Otherwise,
}

impl Localized for Unreachable {
    fn spanish(&self) -> String {
        match self {
            Self::UnknownName => "no se encontró ninguna dirección para ese nombre (DNS)",
            Self::TurnedDown => "la conexión fue rechazada",
            Self::Unanswered => "nadie respondió a tiempo",
            Self::Otherwise => "la conexión no se puede establecer, o se corta enseguida",
        }
        .to_owned()
    }
}

impl HttpError {
    /// Whether the request may have reached the other side.
    pub fn may_have_been_sent(&self) -> bool {
        !matches!(self, Self::NoRequest(_) | Self::NoConnection { .. })
    }

    /// Whether there was no connection to send anything on.
    pub fn is_unconnected(&self) -> bool {
        matches!(self, Self::NoConnection { .. })
    }

    /// Whether it is what somebody gets whom the other side's firewall does not let in.
    pub fn may_be_firewall(&self) -> bool {
        let Self::NoConnection { why, .. } = self else { return false };
        matches!(
            why,
            Obstacle::Unreachable(Unreachable::TurnedDown | Unreachable::Unanswered)
                | Obstacle::Proxy(ProxyFault::Refused)
        )
    }

    /// Whether its text says itself what to do about it.
    pub fn names_its_remedy(&self) -> bool {
        matches!(self, Self::NoConnection { why: Obstacle::Untrusted(_) | Obstacle::Proxy(_), .. })
    }
}

/// Why the proxy made no connection, and what an administrator can do about it.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum ProxyFault {
    /// There is no connection to the proxy itself.
    #[error(
        "the proxy that HTTPS_PROXY names can't be reached: {0}. Check that it is running, and its address: http or \
         https, host and port"
    )]
    Unreachable(Unreachable),
    /// There is no connection to the proxy itself that can be trusted.
    #[error("the proxy that HTTPS_PROXY names is not to be trusted: {0}")]
    Untrusted(Untrusted),
    /// 407.
    #[error(
        "the proxy that HTTPS_PROXY names wants a user name and a password, or others than it was given (407). Write \
         them as in http://name:password@proxy.example:3128"
    )]
    SignIn,
    /// Any other answer but 200: 403, or a gateway's error; tinyproxy's to a wrong password is 401.
    #[error(
        "the proxy that HTTPS_PROXY names refuses to make the connection, or can't make it. Check the user name and the \
         password in it, if it wants any, and ask whoever runs it to allow CONNECT to this host; if the host can be \
         reached without the proxy, name it in NO_PROXY"
    )]
    Refused,
    /// No answer to its end.
    #[error(
        "the proxy that HTTPS_PROXY names broke the connection off. Check its address: http or https, host and port; \
         ask whoever runs it whether it allows CONNECT to this host"
    )]
    BrokeOff,
}

impl Localized for ProxyFault {
    fn spanish(&self) -> String {
        match self {
            Self::Unreachable(why) => format!(
                "no se puede llegar al proxy que nombra HTTPS_PROXY: {}. Revisa que esté funcionando, y su \
                 dirección: http o https, host y puerto",
                why.spanish()
            ),
            Self::Untrusted(why) => {
                format!("el proxy que nombra HTTPS_PROXY no es de confianza: {}", why.spanish())
            }
            Self::SignIn => "el proxy que nombra HTTPS_PROXY pide un usuario y una contraseña, u otros que los que \
                             recibió (407). Escríbelos como en http://nombre:clave@proxy.example:3128"
                .to_owned(),
            Self::Refused => {
                "el proxy que nombra HTTPS_PROXY se niega a hacer la conexión, o no puede hacerla. Revisa allí el \
                 usuario y la contraseña, si los pide, y solicita a quien lo administra que permita CONNECT a este \
                 host; si se puede llegar al host sin el proxy, ponlo en NO_PROXY"
                    .to_owned()
            }
            Self::BrokeOff => "el proxy que nombra HTTPS_PROXY cortó la conexión. Revisa su dirección: http o https, \
                               host y puerto; pregunta a quien lo administra si permite CONNECT a este host"
                .to_owned(),
        }
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

impl Localized for Untrusted {
    fn spanish(&self) -> String {
        match self {
            Self::Authority => {
                "su certificado fue emitido por una autoridad en la que esta máquina no confía. Si hay un proxy de la \
                 empresa en medio, guarda el certificado de su autoridad en un archivo y nómbralo en SSL_CERT_FILE"
            }
            Self::Host => {
                "su certificado es de otro host. Revisa la dirección; si hay un proxy de la empresa en medio, nombra \
                 el certificado de su autoridad en SSL_CERT_FILE"
            }
            Self::Time => {
                "su certificado venció o aún no es válido. Revisa el reloj de esta máquina; si está bien, debe \
                 renovarlo quien opera el servidor o un proxy en medio (SSL_CERT_FILE)"
            }
            Self::TooOld => {
                "solo ofrece un cifrado demasiado antiguo para ser seguro (lo mínimo es TLS 1.2). Si hay un proxy \
                 antiguo en medio, evítalo o pide que lo actualicen (SSL_CERT_FILE nombra entonces su autoridad)"
            }
            Self::Certificate => {
                "no se puede verificar su certificado. Si hay un proxy de la empresa en medio, nombra el certificado \
                 de su autoridad en SSL_CERT_FILE"
            }
        }
        .to_owned()
    }
}

impl From<reqwest::Error> for HttpError {
    fn from(error: reqwest::Error) -> Self {
        let host = error.url().map(host).unwrap_or_default();
        let error = error.without_url();
        let cause = Cause(first_cause(&error));
        if error.is_builder() {
            Self::NoRequest(cause)
        } else if error.is_connect() {
            Self::NoConnection { host, why: obstacle(&error), cause }
        } else if error.is_timeout() {
            Self::TimedOut
        } else {
            Self::Lost(cause)
        }
    }
}

fn obstacle(error: &reqwest::Error) -> Obstacle {
    let untrusted = tls_error(error).and_then(untrusted);
    match (proxy_fault(error), untrusted) {
        (Some(ProxyFault::Unreachable(_)), Some(untrusted)) => Obstacle::Proxy(ProxyFault::Untrusted(untrusted)),
        (Some(fault), _) => Obstacle::Proxy(fault),
        (None, Some(untrusted)) => Obstacle::Untrusted(untrusted),
        (None, None) if error.is_timeout() => Obstacle::Unreachable(Unreachable::Unanswered),
        (None, None) => Obstacle::Unreachable(why_unreachable(error)),
    }
}

/// What the library says of a proxy that made no connection. It has a type for it, but names it to nobody.
fn proxy_fault(error: &(dyn Error + 'static)) -> Option<ProxyFault> {
    let text = error.to_string();
    let Some(what) = text.strip_prefix("tunnel error: ") else { return proxy_fault(error.source()?) };
    Some(match what {
        "failed to create underlying connection" => ProxyFault::Unreachable(why_unreachable(error)),
        "proxy authorization required" => ProxyFault::SignIn,
        "unsuccessful" => ProxyFault::Refused,
        _ => ProxyFault::BrokeOff,
    })
}

/// The library has no kind of its own for a look-up that failed, but words.
fn why_unreachable(error: &(dyn Error + 'static)) -> Unreachable {
    if error.to_string() == "dns error" {
        return Unreachable::UnknownName;
    }
    match error.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset | ErrorKind::HostUnreachable) => {
            Unreachable::TurnedDown
        }
        Some(ErrorKind::TimedOut) => Unreachable::Unanswered,
        _ => error.source().map_or(Unreachable::Otherwise, why_unreachable),
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

impl Localized for InvalidBaseUrl {
    fn spanish(&self) -> String {
        match self {
            Self::NotAUrl => "no es una dirección web",
            Self::InTheClear => {
                "no es https (http solo se permite dentro de esta misma máquina, porque el token viaja hasta allí)"
            }
            Self::TooMuch => "contiene más que un host, un puerto y una ruta",
        }
        .to_owned()
    }
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

    /// Its host, as people are told of it.
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

/// The host, with the port where that is not the usual one.
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
