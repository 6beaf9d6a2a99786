//! The variables: what they are called, their defaults, and how to fix a wrong one.

use super::values::{Both, both};

/// A variable that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variable {
    pub name: &'static str,
    /// Whether it has to be set.
    pub required: bool,
    /// What holds where it is not set; empty where nothing does.
    pub default: &'static str,
    /// Where the value is found or what to write.
    english: &'static str,
    spanish: &'static str,
}

type Text = &'static str;

const fn required(name: Text, english: Text, spanish: Text) -> Variable {
    Variable { name, required: true, default: "", english, spanish }
}

const fn optional(name: Text, default: Text, english: Text, spanish: Text) -> Variable {
    Variable { name, required: false, default, english, spanish }
}

pub(super) const DISCORD_TOKEN: Variable = required(
    "DISCORD_TOKEN",
    "Copy it from https://discord.com/developers/applications, your application, \"Bot\", \"Reset Token\"",
    "Cópialo de https://discord.com/developers/applications, tu aplicación, \"Bot\", \"Reset Token\"",
);
pub(super) const DISCORD_GUILD_ID: Variable = required(
    "DISCORD_GUILD_ID",
    "In Discord, switch on the developer mode (settings, \"Advanced\"), right-click your server, \"Copy Server ID\"",
    "En Discord, activa el modo desarrollador (ajustes, \"Avanzado\"), haz clic derecho en tu servidor, \"Copiar \
     ID del servidor\"",
);
pub(super) const ALLOWED_ROLE_IDS: Variable = required(
    "ALLOWED_ROLE_IDS",
    "In Discord, open the server's settings, \"Roles\", right-click a role, \"Copy Role ID\"; several ids are \
     separated by commas",
    "En Discord, abre los ajustes del servidor, \"Roles\", haz clic derecho en un rol, \"Copiar ID del rol\"; si \
     son varios, sepáralos con comas",
);
pub(super) const WOLKVOX_SERVER: Variable = required(
    "WOLKVOX_SERVER",
    "It is the part after \"wv\" in the address of your Wolkvox Manager: 0042 for https://wv0042.wolkvox.com",
    "Es la parte que sigue a \"wv\" en la dirección de tu Wolkvox Manager: 0042 en https://wv0042.wolkvox.com",
);
pub(super) const WOLKVOX_TOKEN: Variable = required(
    "WOLKVOX_TOKEN",
    "Make one in Wolkvox Manager: \"Configuration\", \"Integrations\", \"Tokens\"",
    "Créalo en Wolkvox Manager: \"Configuración\" (Configuration), \"Integraciones\" (Integrations), \"Tokens\"",
);
pub(super) const WOLKVOX_TIMEOUT_SECS: Variable =
    optional("WOLKVOX_TIMEOUT_SECS", "65", "Give whole seconds", "Escribe segundos enteros");
pub(super) const TOGGLE_GUARD_SECS: Variable =
    optional("TOGGLE_GUARD_SECS", "30", "Give whole seconds", "Escribe segundos enteros");
pub(super) const REPLY_VISIBILITY: Variable =
    optional("REPLY_VISIBILITY", "public", "Use public or private", "Usa public o private");
pub(super) const AUDIT_CHANNEL_ID: Variable = optional(
    "AUDIT_CHANNEL_ID",
    "",
    "In Discord, with the developer mode on, right-click the channel, \"Copy Channel ID\"",
    "En Discord, con el modo desarrollador activado, haz clic derecho en el canal, \"Copiar ID del canal\"",
);
pub(super) const STATE_FILE: Variable =
    optional("STATE_FILE", "wolkvox-bot.db", "Write the whole path", "Escribe la ruta completa");
pub(super) const AGENT_DIRECTORY: Variable = optional("AGENT_DIRECTORY", "on", "Use on or off", "Usa on u off");
pub(super) const LOG_FORMAT: Variable = optional("LOG_FORMAT", "text", "Use text or json", "Usa text o json");
pub(super) const RUST_LOG: Variable = optional(
    "RUST_LOG",
    "info",
    "Use off, error, warn, info, debug or trace, or target=level pairs separated by commas",
    "Usa off, error, warn, info, debug o trace, o pares target=level separados por comas",
);
pub(super) const HTTPS_PROXY: Variable = optional(
    "HTTPS_PROXY",
    "",
    "Give an address such as http://proxy.example:3128, or http://name:password@proxy.example:3128 with each \
     @ : / # ? % of the password as %40 %3A %2F %23 %3F %25",
    "Escribe una dirección como http://proxy.example:3128, o http://nombre:clave@proxy.example:3128 con cada \
     @ : / # ? % de la clave como %40 %3A %2F %23 %3F %25",
);
const ADDRESS: Text = "Give an address such as https://proxy.example";
const DIRECCION: Text = "Escribe una dirección como https://proxy.example";
pub(super) const NO_PROXY: Variable = optional("NO_PROXY", "", "", "");
pub(super) const DISCORD_API_URL: Variable = optional("DISCORD_API_URL", "https://discord.com", ADDRESS, DIRECCION);
pub(super) const WOLKVOX_API_URL: Variable = optional("WOLKVOX_API_URL", "", ADDRESS, DIRECCION);

/// All variables, in the order of the README's table.
///
/// When adding one, also change:
/// - its constant, above, and its place in this list;
/// - [`Config`](super::Config) and [`Draft`](super::Draft), which have its value, and `Draft::read` and
///   [`Draft::finish`](super::Draft::finish), which put it there;
/// - its line in `.env.example` and its row in `README.md` and `.github/README.es.md`, which `tests/documentation.rs`
///   compares with this list.
pub const VARIABLES: [Variable; 17] = [
    DISCORD_TOKEN,
    DISCORD_GUILD_ID,
    ALLOWED_ROLE_IDS,
    WOLKVOX_SERVER,
    WOLKVOX_TOKEN,
    WOLKVOX_TIMEOUT_SECS,
    TOGGLE_GUARD_SECS,
    REPLY_VISIBILITY,
    AUDIT_CHANNEL_ID,
    STATE_FILE,
    AGENT_DIRECTORY,
    LOG_FORMAT,
    RUST_LOG,
    HTTPS_PROXY,
    NO_PROXY,
    DISCORD_API_URL,
    WOLKVOX_API_URL,
];

/// Names that other programs have for what ours are for.
const ELSEWHERE: [(&str, Variable); 5] = [
    ("HTTP_PROXY", HTTPS_PROXY),
    ("ALL_PROXY", HTTPS_PROXY),
    ("LOG_LEVEL", RUST_LOG),
    ("BOT_TOKEN", DISCORD_TOKEN),
    ("GUILD_ID", DISCORD_GUILD_ID),
];

/// How much alike two names are when one is a slip of the pen for the other; 1 is the same name.
const ALIKE: f64 = 0.75;

impl Variable {
    /// The names under which it is looked for, in this order. A proxy's variables, which other programs read too, are in
    /// use in lower case as well.
    pub(super) fn spellings(self) -> impl Iterator<Item = String> {
        let lower = self.name.ends_with("_PROXY").then(|| self.name.to_ascii_lowercase());
        [self.name.to_owned()].into_iter().chain(lower)
    }

    pub(super) fn remedy(self) -> Both {
        let Self { required, default, english, spanish, .. } = self;
        match default {
            _ if required => both(english, spanish),
            "" => both(format!("{english}, or leave it out"), format!("{spanish}, o borra la variable")),
            _ => both(
                format!("{english}, or leave it out for {default}"),
                format!("{spanish}, o borra la variable para usar {default}"),
            ),
        }
    }

    /// The variable for which a name in `.env` is probably meant, and whether other programs have a use for the name.
    /// `None` for our own names and for those that are like none of them.
    pub(super) fn meant_by(written: &str) -> Option<(Self, bool)> {
        if VARIABLES.into_iter().flat_map(Self::spellings).any(|name| name == written) {
            return None;
        }
        let written = written.to_ascii_uppercase();
        // As TOGGLE_GUARD begins TOGGLE_GUARD_SECS.
        let begins = |name: &str| name.strip_prefix(&written).is_some_and(|rest| rest.starts_with('_'));
        let alike = |variable: &Self| {
            let near = strsim::normalized_damerau_levenshtein(&written, variable.name) > ALIKE;
            // Other programs have names such as DISCORD_API_KEY.
            (near || written.contains('_') && begins(variable.name)) && !variable.name.ends_with("_URL")
        };
        let elsewhere = ELSEWHERE.iter().find(|(name, _)| *name == written).map(|(_, variable)| (*variable, true));
        elsewhere.or_else(|| VARIABLES.into_iter().find(alike).map(|variable| (variable, false)))
    }

    /// The variable that was meant by a line that is no assignment, such as `WOLKVOX-TOKEN: 7b22…`.
    pub(super) fn meant_by_line(line: &str) -> Option<Self> {
        let letters = |text: &str| text.replace(|char: char| !char.is_ascii_alphanumeric(), "").to_ascii_uppercase();
        let line = letters(line.trim_start_matches("export "));
        VARIABLES.into_iter().find(|variable| line.starts_with(&letters(variable.name)))
    }
}
