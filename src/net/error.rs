//! Why there is no answer, or no client, in words for people: what is wrong, and what an administrator can do about it.

use std::error::Error;
use std::io::{self, ErrorKind};

use rustls::CertificateError;

use super::host;
use crate::language::Localized;

/// `SSL_CERT_FILE` takes the place of the system's authorities. A file with the company's certificate alone makes
/// Discord's or Wolkvox's unknown.
const ALL_AUTHORITIES: &str = "put its authority's certificate into one file with all others that are trusted (cat \
                               /etc/ssl/certs/ca-certificates.crt corp.pem > all.pem), and name that in SSL_CERT_FILE";
const ALL_AUTHORITIES_IN_SPANISH: &str = "reúne el certificado de su autoridad en un solo archivo con todas las demás en \
                                          las que se confía (cat /etc/ssl/certs/ca-certificates.crt corp.pem > \
                                          all.pem), y nómbralo en SSL_CERT_FILE";

/// Without authorities no certificate can be verified.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "no certificate authorities were found on this machine{0}. Install them (the package ca-certificates), or name \
     a file that has all that are trusted in SSL_CERT_FILE"
)]
pub struct NoAuthorities(pub(super) String);

/// Why there can be no client for a service.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(transparent)]
    NoAuthorities(#[from] NoAuthorities),
    #[error("the HTTP client can't be set up")]
    Http(#[from] reqwest::Error),
}

impl Localized for ClientError {
    fn spanish(&self) -> String {
        match self {
            Self::NoAuthorities(NoAuthorities(found)) => format!(
                "no se encontraron autoridades de certificación en esta máquina{found}. Instálalas (el paquete \
                 ca-certificates), o nombra en SSL_CERT_FILE un archivo que tenga todas en las que se confía"
            ),
            Self::Http(error) => format!("no se puede preparar el cliente HTTP: {}", error_chain(error)),
        }
    }
}

/// Why there is no answer. Its words are for people, and name the other side's host at most: an address may hold a
/// token. What a library said stands in its source, for the log.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HttpError {
    /// Nothing was sent: the request itself is at fault.
    #[error("the request can't be made")]
    NoRequest(#[source] Cause),
    /// Nothing was sent.
    #[error("no connection to {host}: {why}")]
    NoConnection {
        host: String,
        why: Obstacle,
        #[source]
        cause: Cause,
    },
    /// Something may have been sent.
    #[error("the connection broke")]
    Lost(#[source] Cause),
    /// Something may have been sent.
    #[error("it took too long")]
    TimedOut,
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

impl HttpError {
    /// Whether the request may have reached the other side.
    pub fn may_have_been_sent(&self) -> bool {
        !matches!(self, Self::NoRequest(_) | Self::NoConnection { .. })
    }

    pub fn is_unconnected(&self) -> bool {
        matches!(self, Self::NoConnection { .. })
    }

    /// Whether the other side's firewall may be the reason.
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

/// A library's own words.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Cause(String);

/// What keeps a connection from being made.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(transparent)]
pub enum Obstacle {
    Unreachable(Unreachable),
    Untrusted(Untrusted),
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

#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum Unreachable {
    #[error("no address was found for this name (DNS)")]
    UnknownName,
    /// By the host, or by something before it.
    #[error("the connection is turned down")]
    TurnedDown,
    #[error("nobody answered in time")]
    Unanswered,
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

/// Why the proxy made no connection.
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
    /// 407. The library hides which methods the proxy offers, and speaks Basic alone.
    #[error(
        "the proxy that HTTPS_PROXY names wants a user name and a password, or others than it was given (407). Write \
         them as in http://name:password@proxy.example:3128. Only Basic is spoken: if it wants NTLM or Kerberos \
         (Negotiate), put a local proxy such as cntlm or px before it"
    )]
    SignIn,
    /// Any other answer but 200: 403, or a gateway's error; tinyproxy's to a wrong password is 401.
    #[error(
        "the proxy that HTTPS_PROXY names refuses to make the connection, or can't make it. Check the user name and the \
         password in it, if it wants any, and ask its administrator to allow CONNECT to this host; if the host can be \
         reached without the proxy, name it in NO_PROXY"
    )]
    Refused,
    /// No answer to its end.
    #[error(
        "the proxy that HTTPS_PROXY names broke the connection off. Check its address: http or https, host and port; \
         ask its administrator whether it allows CONNECT to this host"
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
                             recibió (407). Escríbelos como en http://nombre:clave@proxy.example:3128. El bot solo \
                             habla Basic: si pide NTLM o Kerberos (Negotiate), pon delante un proxy local como \
                             cntlm o px"
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

/// Why the other side's TLS can't be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// Signed by nobody that this machine trusts, or by itself.
    #[error(
        "its certificate was issued by an authority that this machine does not trust. If SSL_CERT_FILE is set, this \
         authority may be missing in it; if a company's proxy stands in between, {ALL_AUTHORITIES}"
    )]
    Authority,
    #[error(
        "its certificate is for another host. Check the address; if a company's proxy stands in between, \
         {ALL_AUTHORITIES}"
    )]
    Host,
    #[error(
        "its certificate has expired or is not valid yet. Check this machine's clock; if that is right, the server's \
         operator, or that of a proxy in between (SSL_CERT_FILE), has to renew it"
    )]
    Time,
    /// Only encryption from before TLS 1.2.
    #[error(
        "it offers only encryption that is too old to be safe (TLS 1.2 is the least). If an old proxy stands in \
         between, go around it, or have it updated (SSL_CERT_FILE then has its authority too)"
    )]
    TooOld,
    #[error("its certificate can't be verified. If a company's proxy stands in between, {ALL_AUTHORITIES}")]
    Certificate,
}

impl Localized for Untrusted {
    fn spanish(&self) -> String {
        let all = ALL_AUTHORITIES_IN_SPANISH;
        match self {
            Self::Authority => format!(
                "su certificado fue emitido por una autoridad en la que esta máquina no confía. Si SSL_CERT_FILE está \
                 definida, puede que ahí falte esta autoridad; si hay un proxy de la empresa en medio, {all}"
            ),
            Self::Host => format!(
                "su certificado es de otro host. Revisa la dirección; si hay un proxy de la empresa en medio, {all}"
            ),
            Self::Time => {
                "su certificado venció o aún no es válido. Revisa el reloj de esta máquina; si está bien, debe \
                           renovarlo quien opera el servidor o un proxy en medio (SSL_CERT_FILE)"
                    .to_owned()
            }
            Self::TooOld => {
                "solo ofrece un cifrado demasiado antiguo para ser seguro (lo mínimo es TLS 1.2). Si hay un proxy \
                 antiguo en medio, evítalo o pide que lo actualicen (SSL_CERT_FILE tiene entonces también su autoridad)"
                    .to_owned()
            }
            Self::Certificate => {
                format!("no se puede verificar su certificado. Si hay un proxy de la empresa en medio, {all}")
            }
        }
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

/// What the library says of a proxy that made no connection. It has a type for that, which is private.
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

/// The first cause of an error, without the libraries' layers around it.
fn first_cause(error: &dyn Error) -> String {
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
