//! The variables: what they are called, their defaults, and how to fix a wrong one.

use crate::language::{Both, both};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    pub name: &'static str,
    pub required: bool,
    /// What holds where it is not set; empty where nothing does.
    pub default: &'static str,
    /// Where the value is found or what to write.
    english: &'static str,
    spanish: &'static str,
}

const fn required(name: &'static str, english: &'static str, spanish: &'static str) -> Variable {
    Variable { name, required: true, default: "", english, spanish }
}

const fn optional(name: &'static str, default: &'static str, english: &'static str, spanish: &'static str) -> Variable {
    Variable { name, required: false, default, english, spanish }
}

const ADDRESS: &str = "Give an address such as https://proxy.example";
const DIRECCION: &str = "Escribe una dirección como https://proxy.example";

/// All variables, in the order of `.env.example`. When adding one, also change:
/// - [`Config`](super::Config), which has its value, and `Draft::read`, which puts it there;
/// - its line in `.env.example` and its row in `.github/OPERATIONS.md` and its Spanish twin, which
///   `tests/documentation.rs` compares with this list.
pub const VARIABLES: [Variable; 18] = [
    required(
        "DISCORD_TOKEN",
        "Copy it from https://discord.com/developers/applications, your application, \"Bot\", \"Reset Token\"",
        "Cópialo de https://discord.com/developers/applications, tu aplicación, «Bot», «Reset Token»",
    ),
    required(
        "DISCORD_GUILD_ID",
        "In Discord, turn on Developer Mode (User Settings, \"Advanced\"), right-click your server, \"Copy Server ID\"",
        "En Discord, activa el modo de desarrollador («Configuración de usuario», «Avanzado»), haz clic derecho en tu \
         servidor, «Copiar ID del servidor»",
    ),
    required(
        "ALLOWED_ROLE_IDS",
        "In Server Settings, \"Roles\", right-click a role, \"Copy Role ID\"; separate several with commas",
        "En «Configuración del servidor», «Roles», haz clic derecho en un rol, «Copiar ID del rol»; si son varios, \
         sepáralos con comas",
    ),
    required(
        "WOLKVOX_SERVER",
        "It is the part after \"wv\" in the address of your Wolkvox Manager: 0042 for https://wv0042.wolkvox.com",
        "Es la parte que sigue a «wv» en la dirección de tu Wolkvox Manager: 0042 en https://wv0042.wolkvox.com",
    ),
    required(
        "WOLKVOX_TOKEN",
        "Copy it from Wolkvox Manager, or make another one: \"Configuration\", \"Integrations\", \"Tokens\"",
        "Cópialo de Wolkvox Manager, o crea otro: «Configuración», «Integraciones», «Tokens»",
    ),
    optional("LC_ALL", "", "Use es for Spanish", "Usa es para español"),
    optional("WOLKVOX_TIMEOUT_SECS", "65", "Give whole seconds", "Escribe segundos enteros"),
    optional("TOGGLE_GUARD_SECS", "30", "Give whole seconds", "Escribe segundos enteros"),
    optional("REPLY_VISIBILITY", "public", "Use public or private", "Usa public o private"),
    optional(
        "AUDIT_CHANNEL_ID",
        "",
        "In Discord, with Developer Mode on, right-click the channel, \"Copy Channel ID\"",
        "En Discord, con el modo de desarrollador activado, haz clic derecho en el canal, «Copiar ID del canal»",
    ),
    optional("STATE_FILE", "wolkvox-bot.db", "Write the whole path", "Escribe la ruta completa"),
    optional("AGENT_DIRECTORY", "on", "Use on or off", "Usa on u off"),
    optional("LOG_FORMAT", "text", "Use text or json", "Usa text o json"),
    optional(
        "RUST_LOG",
        "info",
        "Use off, error, warn, info, debug or trace, or target=level pairs separated by commas",
        "Usa off, error, warn, info, debug o trace, o pares target=level separados por comas",
    ),
    optional(
        "HTTPS_PROXY",
        "",
        "Give an address such as http://proxy.example:3128, or http://name:password@proxy.example:3128 with each \
         @ : / # ? % of the password as %40 %3A %2F %23 %3F %25",
        "Escribe una dirección como http://proxy.example:3128, o http://usuario:contraseña@proxy.example:3128 con cada \
         @ : / # ? % de la contraseña como %40 %3A %2F %23 %3F %25",
    ),
    optional("NO_PROXY", "", "", ""),
    optional("DISCORD_API_URL", "https://discord.com", ADDRESS, DIRECCION),
    optional("WOLKVOX_API_URL", "", ADDRESS, DIRECCION),
];

/// Names that other programs have for what ours are for, and one that is shorter than its variable.
const ELSEWHERE: [(&str, &str); 6] = [
    ("HTTP_PROXY", "HTTPS_PROXY"),
    ("ALL_PROXY", "HTTPS_PROXY"),
    ("LOG_LEVEL", "RUST_LOG"),
    ("BOT_TOKEN", "DISCORD_TOKEN"),
    ("GUILD_ID", "DISCORD_GUILD_ID"),
    ("TOGGLE_GUARD", "TOGGLE_GUARD_SECS"),
];

impl Variable {
    pub(super) fn named(name: &str) -> Option<Self> {
        VARIABLES.into_iter().find(|variable| variable.name == name)
    }

    /// The names under which it is looked for, in this order. Other programs read a proxy's variables too, in lower case
    /// as well.
    pub(super) fn spellings(self) -> impl Iterator<Item = String> {
        let lower = self.name.ends_with("_PROXY").then(|| self.name.to_ascii_lowercase());
        [self.name.to_owned()].into_iter().chain(lower)
    }

    /// The variable for which a name in `.env` is probably meant, and whether other programs have a use for the name.
    /// `None` for our own names and for those that are like none of them.
    pub(super) fn meant_by(written: &str) -> Option<(Self, bool)> {
        if VARIABLES.into_iter().flat_map(Self::spellings).any(|name| name == written) {
            return None;
        }
        let written = written.to_ascii_uppercase();
        if let Some((_, name)) = ELSEWHERE.iter().find(|(name, _)| *name == written) {
            return Some((Self::named(name)?, true));
        }
        // Other programs have names such as DISCORD_API_KEY.
        let ours = VARIABLES.into_iter().filter(|variable| !variable.name.ends_with("_URL"));
        let alike = |variable: &Self| strsim::normalized_damerau_levenshtein(&written, variable.name) >= 0.75;
        ours.filter(alike).map(|variable| (variable, false)).next()
    }
}

/// What to do about a wrong value of this variable.
pub(crate) fn remedy(name: &str) -> Both {
    match Variable::named(name) {
        Some(Variable { required: false, english, spanish, .. }) => {
            both(format!("{english}, or leave it out"), format!("{spanish}, o borra la variable"))
        }
        variable => variable.map(|variable| both(variable.english, variable.spanish)).unwrap_or_default(),
    }
}
