//! Errors in the language of whoever runs the bot.
//!
//! An error's `Display` is English, which is also what the log is written in; its Spanish stands here. A kind of error
//! that is added does not compile until it has both. What a library says of a connection is for the log alone; what the
//! system says of a file stays as it came.

use std::fmt::Display;

use crate::access::InvalidAllowlist;
use crate::app::{self, RunError};
use crate::discord::{GatewayError, RestError};
use crate::net::{
    ClientError, HttpError, InvalidBaseUrl, InvalidProxy, Obstacle, ProxyFault, Unreachable, Untrusted, error_chain,
};
use crate::record::OpenError;
use crate::reply::Language;
use crate::telemetry::InvalidFilter;
use crate::wolkvox::{self, InformationError};

/// [`wolkvox::FIREWALL`] in Spanish.
pub const FIREWALL: &str = "Los servidores de Wolkvox tienen su propio firewall: la dirección IPv4 pública con la que \
                            sale esta máquina, o su proxy, debe estar registrada para la operación, en Wolkvox Manager o \
                            por el soporte de Wolkvox";

/// An error that can be told in English and in Spanish.
pub trait Localized: Display {
    /// In Spanish.
    fn spanish(&self) -> String;

    /// In the language of whoever runs the bot.
    fn in_language(&self, language: Language) -> String {
        language.pick_for_operator(Self::to_string as fn(&Self) -> String, Self::spanish)(self)
    }
}

impl Localized for InvalidAllowlist {
    fn spanish(&self) -> String {
        match self {
            Self::Empty => "no nombra ningún rol",
            Self::Everyone => {
                "nombra el ID que está en DISCORD_GUILD_ID, el del propio servidor, que es el rol de todos"
            }
        }
        .to_owned()
    }
}

impl Localized for InvalidFilter {
    fn spanish(&self) -> String {
        let Self = self;
        "no es un filtro de registro".to_owned()
    }
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

impl Localized for Obstacle {
    fn spanish(&self) -> String {
        match self {
            Self::Unreachable(why) => why.spanish(),
            Self::Untrusted(why) => why.spanish(),
            Self::Proxy(fault) => fault.spanish(),
        }
    }
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

impl Localized for wolkvox::BuildError {
    fn spanish(&self) -> String {
        match self {
            Self::Token => "el token de Wolkvox no se puede poner en un encabezado HTTP".to_owned(),
            Self::Client(error) => error.spanish(),
        }
    }
}

impl Localized for app::BuildError {
    fn spanish(&self) -> String {
        match self {
            Self::Tls(error) => format!("no se puede preparar TLS: {error}"),
            Self::Record(error) => format!("STATE_FILE: {}", error.spanish()),
            Self::Discord(error) => error.spanish(),
            Self::Wolkvox(error) => error.spanish(),
        }
    }
}

impl Localized for OpenError {
    fn spanish(&self) -> String {
        match self {
            Self::Directory(path) => {
                let path = path.display();
                format!("{path} es un directorio. Nombra un archivo dentro de él, por ejemplo {path}/wolkvox-bot.db")
            }
            Self::NoFolder(path) => {
                format!("la carpeta de {} no existe. Créala o nombra un archivo en otro lugar", path.display())
            }
            Self::NotPermitted(path) => format!(
                "no se puede escribir {}. Da permiso a este usuario para escribir el archivo y su carpeta, donde SQLite y \
                 el bot crean archivos junto a él",
                path.display()
            ),
            Self::NotARecord(path, why) => {
                let path = path.display();
                format!(
                    "{path} está dañado o no es un archivo de estado de este bot ({why}). Se dejó como está: muévelo \
                     junto con {path}-wal y {path}-shm, y el bot empieza uno nuevo, o nombra otro archivo"
                )
            }
            Self::Newer(path, version) => format!(
                "{} fue escrito por una versión más nueva del bot (su formato es {version}). Inicia esa versión o nombra \
                 otro archivo",
                path.display()
            ),
            Self::Locked(path) => {
                format!("otro programa tiene bloqueado {}. Cierra ese programa o nombra otro archivo", path.display())
            }
            Self::Other(path, why) => format!(
                "no se puede usar {} ({why}). Corrígelo, nombra otro archivo, o pon off para no guardar nada en disco",
                path.display()
            ),
        }
    }
}

impl Localized for RestError {
    fn spanish(&self) -> String {
        match self {
            Self::Refused { status, code: Some(code), .. } => {
                format!("Discord respondió HTTP {status} con el código {code}")
            }
            Self::Refused { status, code: None, .. } => format!("Discord respondió HTTP {status}"),
            Self::NoAnswer(error) => format!("Discord no respondió: {}", error.spanish()),
            Self::NotDiscord(status) => format!(
                "otra cosa respondió en lugar de Discord, con HTTP {status}; quizá un proxy en el camino pide iniciar sesión"
            ),
            Self::Unreadable(why) => format!("no se puede leer la respuesta de Discord: {why}"),
        }
    }
}

impl Localized for InformationError {
    fn spanish(&self) -> String {
        match self {
            Self::NoAnswer(error) if error.is_unconnected() => error.spanish(),
            Self::NoAnswer(error) => format!("Wolkvox no respondió: {}", error.spanish()),
            Self::Refused(rejected) => format!("Wolkvox lo rechazó con {}", rejected.code),
            Self::Unreadable(status) => format!("no se puede leer la respuesta de Wolkvox (HTTP {status})"),
        }
    }
}

impl Localized for GatewayError {
    fn spanish(&self) -> String {
        match self {
            Self::Token => "Discord ya no acepta DISCORD_TOKEN".to_owned(),
            Self::Closed(code) => format!("Discord cerró la conexión definitivamente, con el código {code}"),
            Self::Unreachable(after) => {
                format!("no hubo conexión con Discord durante {} s", after.as_secs())
            }
        }
    }
}

impl Localized for RunError {
    fn spanish(&self) -> String {
        match self {
            Self::Token => "DISCORD_TOKEN: Discord no lo acepta.\n    Cópialo de nuevo de \
                            https://discord.com/developers/applications, tu aplicación, \"Bot\", \"Reset Token\"."
                .to_owned(),
            Self::NotInGuild { invite } => format!(
                "DISCORD_GUILD_ID: el bot no está en ese servidor, o no puede agregarle comandos.\n    Revisa el ID y \
                 abre este enlace para invitar al bot:\n    {invite}"
            ),
            Self::Unreachable { after, last } => {
                let remedy = match last {
                    RestError::NoAnswer(error) if error.names_its_remedy() => "",
                    error if error.is_discords_own() => " Mira https://discordstatus.com.",
                    _ => {
                        " Revisa la conexión de esta máquina a internet, y DISCORD_API_URL y HTTPS_PROXY si están \
                          definidas."
                    }
                };
                format!("No hubo conexión con Discord durante {} s.{remedy}\n    {}", after.as_secs(), last.spanish())
            }
            Self::Refused(error) => format!(
                "El bot no puede iniciar: {}.\n    Revisa DISCORD_API_URL si está definida, y cualquier proxy en el camino. \
                 Si están bien, inténtalo más tarde y actualiza wolkvox-bot: puede ser demasiado antiguo para Discord.",
                error.spanish()
            ),
            Self::Gateway { error } => {
                let remedy = match error {
                    GatewayError::Token => {
                        "Restablece el token en https://discord.com/developers/applications, tu aplicación, \"Bot\", \
                         y pon el nuevo en DISCORD_TOKEN."
                    }
                    GatewayError::Closed(4010 | 4011) => {
                        "El bot está en demasiados servidores para una sola conexión: usa una aplicación de Discord \
                         propia, invitada solo a tu servidor, y pon su token en DISCORD_TOKEN."
                    }
                    GatewayError::Closed(_) => {
                        "Esta versión de wolkvox-bot es demasiado antigua para Discord: actualízala."
                    }
                    GatewayError::Unreachable(_) => {
                        "Lo que mantiene el bot en marcha debería iniciarlo de nuevo. Si continúa, revisa la conexión \
                         de esta máquina a internet y https://discordstatus.com."
                    }
                };
                format!("{}.\n    {remedy}", error.spanish())
            }
        }
    }
}
