//! Why there is no answer, or no client, in words for people: what is wrong, and what an administrator can do about it.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::iter::successors;

use super::host;
use crate::language::{Both, Localized, both};

/// Why there can be no client for a service.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No certificate can be verified. Holds what was found instead.
    #[error(
        "no certificate authorities were found on this machine{0}. Install the package \
         ca-certificates, or name a file with all trusted ones in SSL_CERT_FILE"
    )]
    NoAuthorities(String),
    #[error("the HTTP client can't be set up: {}", error_chain(.0))]
    Http(#[from] reqwest::Error),
}

impl Localized for ClientError {
    fn spanish(&self) -> String {
        match self {
            Self::NoAuthorities(found) => format!(
                "no se encontraron autoridades de certificación en esta máquina{found}. Instala el \
                 paquete ca-certificates, o indica en SSL_CERT_FILE un archivo que contenga todas las de confianza"
            ),
            Self::Http(error) => format!("no se puede preparar el cliente HTTP: {}", error_chain(error)),
        }
    }
}

/// Why there is no answer. Its words are for people, and name the other side's host at most: an address may hold a
/// token. What a library said stands in its source, for the log.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HttpError {
    /// Nothing was sent.
    #[error("no connection to {host}: {}", .why.words()[0])]
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
            Self::NoConnection { host, why, .. } => format!("no hay conexión con {host}: {}", why.words()[1]),
            Self::Lost(_) => "se cortó la conexión".to_owned(),
            Self::TimedOut => "tardó demasiado".to_owned(),
            Self::TooLong => "la respuesta es demasiado larga".to_owned(),
        }
    }
}

impl HttpError {
    /// Whether the request may have reached the other side.
    pub fn may_have_been_sent(&self) -> bool {
        !matches!(self, Self::NoConnection { .. })
    }

    /// That this service gave no answer. Without a connection, that says it all.
    pub fn no_answer_from(&self, service: &str) -> Both {
        if !self.may_have_been_sent() {
            return self.both();
        }
        both(format!("no answer from {service}: {self}"), format!("{service} no respondió: {}", self.spanish()))
    }

    /// Whether the other side's firewall may be the reason.
    pub fn may_be_firewall(&self) -> bool {
        use Obstacle::{AtHost, ProxyRefused};
        matches!(self, Self::NoConnection { why: AtHost(Fault::TurnedDown | Fault::Unanswered) | ProxyRefused, .. })
    }

    /// Whether its text says itself what to do about it.
    pub fn names_its_remedy(&self) -> bool {
        use Fault::{Otherwise, TurnedDown, Unanswered, UnknownName};
        let Self::NoConnection { why, .. } = self else { return false };
        !matches!(why, Obstacle::AtHost(UnknownName | TurnedDown | Unanswered | Otherwise))
    }
}

/// A library's own words.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Cause(String);

/// What keeps a connection from being made.
#[derive(Clone, Copy, Debug)]
pub enum Obstacle {
    AtHost(Fault),
    /// There is no connection to the proxy itself.
    AtProxy(Fault),
    /// 407. The library hides which methods the proxy offers, and speaks Basic alone.
    ProxyWantsSignIn,
    /// Any other answer but 200, or none to its end: 403, a gateway's error, tinyproxy's 401 to a wrong password.
    ProxyRefused,
}

impl Obstacle {
    fn words(self) -> Both {
        match self {
            Self::AtHost(fault) => fault.words().map(str::to_owned),
            Self::AtProxy(fault) => {
                let [english, spanish] = fault.words();
                [
                    format!(
                        "the proxy in HTTPS_PROXY can't be reached: {english}. Check that it is running, and its \
                         address: http or https, host and port"
                    ),
                    format!(
                        "no hay conexión con el proxy indicado en HTTPS_PROXY: {spanish}. Revisa que esté en marcha, \
                         y su dirección: http o https, host y puerto"
                    ),
                ]
            }
            Self::ProxyWantsSignIn => both(
                "the proxy in HTTPS_PROXY asks for a user name and a password, or does not accept those that it got (407). \
                 Write them as in http://name:password@proxy.example:3128. The bot supports only Basic: if the proxy wants \
                 NTLM or Kerberos (Negotiate), put a local proxy such as cntlm or px before it",
                "el proxy indicado en HTTPS_PROXY pide un usuario y una contraseña, o no acepta los que recibió (407). \
                 Escríbelos como en http://usuario:contraseña@proxy.example:3128. El bot solo usa Basic: si el proxy \
                 pide NTLM o Kerberos (Negotiate), pon delante un proxy local como cntlm o px",
            ),
            Self::ProxyRefused => both(
                "the proxy in HTTPS_PROXY refuses to make the connection, or can't make it. Check its address, and the \
                 user name and the password in it, if it wants any; ask its administrator to allow CONNECT to this \
                 host; if the host can be reached without the proxy, add it to NO_PROXY",
                "el proxy indicado en HTTPS_PROXY rechaza la conexión o no puede hacerla. Revisa su dirección, y en ella \
                 el usuario y la contraseña, si los pide; pide a quien administra el proxy que permita CONNECT a este \
                 host; si se puede llegar al host sin el proxy, agrégalo a NO_PROXY",
            ),
        }
    }
}

/// What is wrong with the way to a host, or with its certificate. `SSL_CERT_FILE` takes the place of the system's
/// authorities: a file with the company's certificate alone makes Discord's or Wolkvox's unknown.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    UnknownName,
    /// By the host, or by something before it.
    TurnedDown,
    Unanswered,
    Otherwise,
    UntrustedAuthority,
    OtherHost,
    Expired,
    /// Only encryption from before TLS 1.2.
    TooOld,
}

impl Fault {
    fn words(self) -> [&'static str; 2] {
        match self {
            Self::UnknownName => {
                ["no address was found for this name (DNS)", "no se encontró ninguna dirección para ese nombre (DNS)"]
            }
            Self::TurnedDown => ["the connection was refused", "la conexión fue rechazada"],
            Self::Unanswered => ["there was no answer in time", "no hubo respuesta a tiempo"],
            Self::Otherwise => [
                "the connection can't be made, or breaks at once",
                "la conexión no se puede establecer, o se corta enseguida",
            ],
            Self::UntrustedAuthority => [
                "its certificate was issued by an authority that this machine does not trust. If SSL_CERT_FILE is set, \
                 this authority may be missing in it; if a company's proxy is in between, put the certificate of its \
                 authority into one file with all others that are trusted (cat /etc/ssl/certs/ca-certificates.crt \
                 corp.pem > all.pem), and name that file in SSL_CERT_FILE",
                "su certificado es de una autoridad en la que esta máquina no confía. Si SSL_CERT_FILE está definida, \
                 puede que ahí falte esta autoridad; si hay un proxy intermedio de la empresa, junta el certificado de \
                 su autoridad y todos los demás de confianza en un solo archivo (cat \
                 /etc/ssl/certs/ca-certificates.crt corp.pem > all.pem), e indícalo en SSL_CERT_FILE",
            ],
            Self::OtherHost => [
                "its certificate is for another host. Check the address, and whether a proxy in between answers in its \
                 place",
                "su certificado es de otro host. Revisa la dirección, y si un proxy intermedio responde en su lugar",
            ],
            Self::Expired => [
                "its certificate has expired or is not valid yet. Check this machine's clock; if that is right, \
                 whoever runs the server, or a proxy in between, has to renew it",
                "su certificado venció o aún no es válido. Revisa el reloj de esta máquina; si está bien, debe \
                 renovarlo quien administra el servidor o un proxy intermedio",
            ],
            Self::TooOld => [
                "it offers only encryption that is too old to be safe (TLS 1.2 is the least). If an old proxy is in \
                 between, avoid it or have it updated",
                "solo ofrece un cifrado demasiado antiguo para ser seguro (lo mínimo es TLS 1.2). Si hay un proxy \
                 intermedio antiguo, evítalo o pide que lo actualicen",
            ],
        }
    }
}

impl From<reqwest::Error> for HttpError {
    fn from(error: reqwest::Error) -> Self {
        let host = error.url().map(host).unwrap_or_default();
        let error = error.without_url();
        // Without the libraries' layers around it.
        let first_cause = successors(error.source(), |&cause| cause.source()).last();
        let cause = Cause(first_cause.map_or_else(|| error.to_string(), |cause| cause.to_string()));
        if error.is_connect() || error.is_builder() {
            Self::NoConnection { host, why: obstacle(&error), cause }
        } else if error.is_timeout() {
            Self::TimedOut
        } else {
            Self::Lost(cause)
        }
    }
}

fn obstacle(error: &reqwest::Error) -> Obstacle {
    // The library has a type for a proxy that made no connection, which is private.
    match find(error, |error| Some(error.to_string().strip_prefix("tunnel error: ")?.to_owned())).as_deref() {
        None => Obstacle::AtHost(fault(error)),
        Some("failed to create underlying connection") => Obstacle::AtProxy(fault(error)),
        Some("proxy authorization required") => Obstacle::ProxyWantsSignIn,
        Some(_) => Obstacle::ProxyRefused,
    }
}

fn fault(error: &reqwest::Error) -> Fault {
    if let Some(fault) = find(error, |error| untrusted(error.downcast_ref()?)) {
        return fault;
    }
    let unreachable = find(error, |error| {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        match kind {
            // The library has no kind of its own for a look-up that failed, but words.
            _ if error.to_string() == "dns error" => Some(Fault::UnknownName),
            Some(ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset | ErrorKind::HostUnreachable) => {
                Some(Fault::TurnedDown)
            }
            Some(ErrorKind::TimedOut) => Some(Fault::Unanswered),
            _ => None,
        }
    });
    unreachable.unwrap_or(if error.is_timeout() { Fault::Unanswered } else { Fault::Otherwise })
}

fn untrusted(error: &rustls::Error) -> Option<Fault> {
    use rustls::CertificateError::{ExpiredContext, NotValidForNameContext, NotValidYetContext};
    use rustls::{AlertDescription as Alert, Error};

    Some(match error {
        Error::InvalidCertificate(NotValidForNameContext { .. }) => Fault::OtherHost,
        Error::InvalidCertificate(ExpiredContext { .. } | NotValidYetContext { .. }) => Fault::Expired,
        // Also one that signed itself, as a router's or an appliance's, and one that can't be verified otherwise.
        Error::InvalidCertificate(_) => Fault::UntrustedAuthority,
        Error::PeerIncompatible(_)
        | Error::AlertReceived(Alert::ProtocolVersion | Alert::HandshakeFailure | Alert::InsufficientSecurity) => {
            Fault::TooOld
        }
        _ => return None,
    })
}

/// The first `Some` that `what` gives for the error or one of its causes.
fn find<T>(error: &(dyn Error + 'static), what: impl Fn(&(dyn Error + 'static)) -> Option<T>) -> Option<T> {
    let mut causes = successors(Some(error), |&error| {
        // An I/O error passes its own contents over when it is asked for its source.
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inside.map_or_else(|| error.source(), |inside| Some(inside))
    });
    causes.find_map(what)
}

/// An error with all its causes, for the log.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    for cause in successors(error.source(), |&cause| cause.source()) {
        let message = cause.to_string();
        if !text.contains(&message) {
            text = [&text, ": ", &message].concat();
        }
    }
    text
}
