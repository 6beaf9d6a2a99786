//! Why the bot does not start, or ends, and what to do about it.

use std::time::Duration;

use crate::discord::{self, GatewayError, RestError};
use crate::journal::OpenError;
use crate::language::Localized;
use crate::net::ClientError;
use crate::wolkvox;

/// Why the bot can't be put together.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("TLS can't be set up: {0}")]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Discord(#[from] ClientError),
    #[error(transparent)]
    Wolkvox(#[from] wolkvox::BuildError),
}

/// Why the bot ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Build(#[from] BuildError),
    /// 401 at start.
    #[error("{}.\n    {}", GatewayError::Token, remedy(&GatewayError::Token).0)]
    Token,
    /// Registering the command is refused.
    #[error(
        "DISCORD_GUILD_ID: the bot is not in that server, or may not add commands to it.\n    Check the id, and \
         open this link to invite the bot:\n    {invite}"
    )]
    NotInGuild { invite: String },
    #[error("Discord could not be reached for {}.{}\n    {last}", discord::span(*.after), what_to_look_at(last)[0])]
    Unreachable { after: Duration, last: RestError },
    /// Signing in was refused.
    #[error(
        "The bot can't start, because it can't sign in (GET /applications/@me): {0}.\n    Check DISCORD_API_URL if it is set, and any \
         proxy in between. If they are right, try again later, and update wolkvox-bot: it may be too old for Discord."
    )]
    Refused(RestError),
    #[error("STATE_FILE: {0}")]
    StateFile(#[from] OpenError),
    #[error("{error}.\n    {}", remedy(error).0)]
    Gateway { error: GatewayError },
}

impl Localized for RunError {
    fn spanish(&self) -> String {
        match self {
            Self::Build(BuildError::Tls(error)) => format!("no se puede preparar TLS: {error}"),
            Self::Build(BuildError::Discord(error)) => error.spanish(),
            Self::Build(BuildError::Wolkvox(error)) => error.spanish(),
            Self::Token => Self::Gateway { error: GatewayError::Token }.spanish(),
            Self::NotInGuild { invite } => format!(
                "DISCORD_GUILD_ID: el bot no está en ese servidor, o no puede agregarle comandos.\n    Revisa el ID y \
                 abre este enlace para invitar al bot:\n    {invite}"
            ),
            Self::Unreachable { after, last } => format!(
                "No hubo conexión con Discord durante {}.{}\n    {}",
                discord::span(*after),
                what_to_look_at(last)[1],
                last.spanish()
            ),
            Self::Refused(error) => format!(
                "El bot no puede iniciar, porque no pudo entrar a Discord (GET /applications/@me): {}.\n    Revisa DISCORD_API_URL si \
                 está definida, y cualquier proxy intermedio. Si están bien, inténtalo más tarde y actualiza \
                 wolkvox-bot: puede ser demasiado antiguo para Discord.",
                error.spanish()
            ),
            Self::StateFile(error) => format!("STATE_FILE: {}", error.spanish()),
            Self::Gateway { error } => format!("{}.\n    {}", error.spanish(), remedy(error).1),
        }
    }
}

impl RunError {
    /// Whether it stays until a person does something, so that starting the bot again and again is of no use.
    ///
    /// Not where it may pass by itself, and not where that is unknown: a bot that is started in vain does little harm,
    /// one that stays down for nothing does. So an outage is none, nor is a certificate that does not hold: a clock is
    /// set, a certificate renewed, a network repaired without anybody thinking of this bot.
    pub fn only_a_person_can_fix(&self) -> bool {
        match self {
            Self::Build(BuildError::Tls(_)) => false,
            Self::Build(BuildError::Discord(error) | BuildError::Wolkvox(wolkvox::BuildError::Client(error))) => {
                matches!(error, ClientError::NoAuthorities(_))
            }
            Self::Build(BuildError::Wolkvox(wolkvox::BuildError::Token)) | Self::Token | Self::NotInGuild { .. } => {
                true
            }
            Self::StateFile(error) => error.only_a_person_can_fix(),
            Self::Refused(error) => matches!(error.status(), Some(400..=499)),
            Self::Unreachable { .. } => false,
            Self::Gateway { error } => !matches!(error, GatewayError::Unreachable { .. }),
        }
    }
}

/// In English and in Spanish.
type Text = (&'static str, &'static str);

/// What to do where Discord is not reached, in English and in Spanish; empty where the error says so itself.
pub(crate) fn what_to_look_at(last: &RestError) -> [&'static str; 2] {
    match last {
        error if error.names_its_remedy() => ["", ""],
        error if error.is_discords_own() => [
            " See https://discordstatus.com. Discord is down, or gets too many requests from here: try again later.",
            " Mira https://discordstatus.com. Discord está caído o recibe demasiadas peticiones desde aquí: inténtalo más \
             tarde.",
        ],
        _ => [
            " Check this machine's connection to the internet, and DISCORD_API_URL and HTTPS_PROXY if they are set.",
            " Revisa la conexión de esta máquina a internet, y DISCORD_API_URL y HTTPS_PROXY si están definidas.",
        ],
    }
}

fn remedy(error: &GatewayError) -> Text {
    match error {
        GatewayError::Token => (
            "Copy it again from https://discord.com/developers/applications, your application, \"Bot\", \"Reset Token\".",
            "Cópialo de nuevo de https://discord.com/developers/applications, tu aplicación, «Bot», «Reset Token».",
        ),
        GatewayError::Closed(4010 | 4011) => (
            "The bot is in too many servers for one connection: use a Discord application of its own, invited to \
             your server only, and put its token into DISCORD_TOKEN.",
            "El bot está en demasiados servidores para una sola conexión: usa una aplicación de Discord propia, \
             invitada solo a tu servidor, y pon su token en DISCORD_TOKEN.",
        ),
        GatewayError::Closed(_) => (
            "This version of wolkvox-bot is too old for Discord: update it.",
            "Esta versión de wolkvox-bot es demasiado antigua para Discord: actualízala.",
        ),
        GatewayError::Unreachable { .. } => (
            "What keeps the bot running (Docker, systemd) should start it again. If this goes on, check this machine's \
             connection to the internet and https://discordstatus.com.",
            "Lo que mantiene el bot en marcha (Docker, systemd) debería iniciarlo de nuevo. Si sigue igual, revisa la \
             conexión de esta máquina a internet y https://discordstatus.com.",
        ),
    }
}
