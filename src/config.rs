//! The settings, from environment variables and `.env`. All mistakes are found at once, and each is told once. No value
//! is shown that might be a secret pasted into the wrong line.

mod reader;
mod values;
mod variables;

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, iter};

use secrecy::SecretString;
use serenity::model::id::{ChannelId, GuildId, RoleId};

use self::reader::Reader;
pub(crate) use self::variables::remedy;
pub use self::variables::{VARIABLES, Variable};
use crate::access::Allowlist;
use crate::env_file::{self, EnvFile};
use crate::language::{Language, both};
use crate::limits::Limits;
use crate::telemetry::{Filter, Format};
use crate::{discord, wolkvox};

#[derive(Clone, Debug)]
pub struct Config {
    pub discord: discord::Settings,
    pub wolkvox: wolkvox::Settings,
    pub allowlist: Allowlist,
    /// Zero turns the guard off.
    pub toggle_guard: Duration,
    pub visibility: discord::Visibility,
    pub audit_channel: Option<ChannelId>,
    /// `None` where nothing is kept on disk.
    pub state_file: Option<PathBuf>,
    pub agent_directory: bool,
    pub log_format: Format,
    pub log_filter: Filter,
    /// Not a setting of the environment: how long things may take.
    pub limits: Limits,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// Each names a variable or `.env`, the problem and the remedy.
    pub problems: Vec<String>,
    /// Where the settings were looked for, or what can be done without any.
    pub hint: Option<String>,
    language: Language,
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["These settings need to be fixed:", "Hay que corregir esta configuración:"];
        writeln!(f, "{}\n", self.language.pick_for_operator(head[0], head[1]))?;
        self.problems.iter().try_for_each(|problem| writeln!(f, "  {problem}"))?;
        self.hint.iter().try_for_each(|hint| writeln!(f, "\n{hint}"))
    }
}

/// The guide, in English and in Spanish.
pub const GUIDE: [&str; 2] =
    [env!("CARGO_PKG_REPOSITORY"), concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/HEAD/.github/README.es.md")];

/// The settings as far as they could be read, with all mistakes.
#[derive(Clone, Debug)]
pub struct Draft {
    pub language: Language,
    /// What does not keep the bot from running, but is probably not meant.
    pub warnings: Vec<String>,
    pub discord: Option<discord::Settings>,
    pub wolkvox: Option<wolkvox::Settings>,
    pub guild: Option<GuildId>,
    pub allowlist: Option<Allowlist>,
    /// `None` where it is wrong, `Some(None)` where it is not set.
    pub audit_channel: Option<Option<ChannelId>>,
    /// `None` where it is wrong, `Some(None)` where nothing is kept on disk.
    pub state_file: Option<Option<PathBuf>>,
    config: Option<Config>,
    problems: Problems,
}

impl Draft {
    /// Reads the environment of this process, and `.env` in the working directory for what is not set there.
    pub fn from_environment() -> Self {
        let environment = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        Self::look(environment, names, &std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")))
    }

    /// Reads an environment, and `.env` in a directory for what is not set there.
    pub fn from_sources(environment: impl Fn(&str) -> Option<String>, directory: &Path) -> Self {
        Self::look(environment, iter::empty(), directory)
    }

    fn look(
        environment: impl Fn(&str) -> Option<String>,
        names: impl Iterator<Item = String>,
        directory: &Path,
    ) -> Self {
        let path = directory.join(env_file::NAME);
        let (read, none) = (EnvFile::read(&path), EnvFile::default());
        let mut reader = Reader::new(&environment, read.as_ref().unwrap_or(&none));
        match &read {
            Ok(_) => reader.look_at_file(&path),
            Err(error) => reader.without_file(error, &path),
        }
        reader.misspelt_in_environment(names);
        Self::read(reader)
    }

    fn read(mut reader: Reader<'_>) -> Self {
        // What is in the other token's place may be Wolkvox's, which Discord must not get.
        let strays = reader.value("WOLKVOX_TOKEN").is_some_and(|token| values::is_discord_token(&token));
        let is_safe = |token: &String| !strays || values::is_discord_token(token);
        let discord_token = reader.get("DISCORD_TOKEN", values::discord_token).filter(is_safe);
        let guild = reader.get("DISCORD_GUILD_ID", values::guild);
        let allowlist = allowlist(&mut reader, guild);
        let server = server(&mut reader);
        let wolkvox_token = reader.get("WOLKVOX_TOKEN", values::wolkvox_token);
        let timeout = reader.get("WOLKVOX_TIMEOUT_SECS", values::seconds(1..=120));
        let toggle_guard = reader.get("TOGGLE_GUARD_SECS", values::seconds(0..=600));
        let visibilities = [("public", discord::Visibility::Public), ("private", discord::Visibility::Private)];
        let visibility = reader.get("REPLY_VISIBILITY", values::choice(visibilities));
        let audit_channel = reader.optional("AUDIT_CHANNEL_ID", values::channel);
        let state_file = reader.get("STATE_FILE", values::state_file);
        let agent_directory = reader.get("AGENT_DIRECTORY", values::choice([("on", true), ("off", false)]));
        let log_format = reader.get("LOG_FORMAT", values::choice([("text", Format::Text), ("json", Format::Json)]));
        let log_filter = reader.get("RUST_LOG", str::parse);
        let except = reader.value("NO_PROXY").unwrap_or_default();
        let proxy = reader.optional("HTTPS_PROXY", |value| values::proxy(value, &except));
        let discord_api = reader.get("DISCORD_API_URL", values::base_url);
        let of_server = server.and_then(|code| values::base_url(&format!("https://wv{code}.wolkvox.com")).ok());
        let wolkvox_api = reader.optional("WOLKVOX_API_URL", values::base_url).and_then(|own| own.or(of_server));
        let discord = discord_api.zip(discord_token.map(SecretString::from)).zip(proxy.clone());
        let discord = discord.map(|((api, token), proxy)| discord::Settings { api, token, proxy });
        let wolkvox = wolkvox_api.zip(wolkvox_token.map(SecretString::from)).zip(timeout.zip(proxy));
        let wolkvox =
            wolkvox.map(|((base, token), (timeout, proxy))| wolkvox::Settings { base, token, timeout, proxy });
        let config = || {
            Some(Config {
                discord: discord.clone()?,
                wolkvox: wolkvox.clone()?,
                allowlist: allowlist.clone()?,
                toggle_guard: toggle_guard?,
                visibility: visibility?,
                audit_channel: audit_channel?,
                state_file: state_file.clone()?,
                agent_directory: agent_directory?,
                log_format: log_format?,
                log_filter: log_filter?,
                limits: Limits::default(),
            })
        };
        let config = config();
        let Reader { warnings, problems, .. } = reader;
        let language = problems.language;
        Self { language, warnings, discord, wolkvox, guild, allowlist, audit_channel, state_file, config, problems }
    }

    /// # Errors
    /// All mistakes together.
    pub fn finish(self) -> Result<Config, Problems> {
        self.config.filter(|_| self.problems.problems.is_empty()).ok_or(self.problems)
    }
}

fn allowlist(reader: &mut Reader<'_>, guild: Option<GuildId>) -> Option<Allowlist> {
    let (roles, guild) = (reader.get("ALLOWED_ROLE_IDS", values::roles)?, guild?);
    // An id begins with the time at which it was made, in milliseconds: discord.com/developers/docs/reference#snowflakes.
    let older = |role: &RoleId| role.get() >> 22 < guild.get() >> 22;
    if !roles.is_empty() && roles.iter().all(older) {
        let english = "the roles' ids are older than the server's, so they are probably swapped";
        let spanish = "los ID de los roles son más antiguos que el del servidor: quizás están intercambiados";
        let remedy = both("Put each in the place of the other", "Pon cada uno en el lugar del otro");
        reader.warn("DISCORD_GUILD_ID, ALLOWED_ROLE_IDS", both(english, spanish), remedy);
    }
    let report = |problem| reader.report("ALLOWED_ROLE_IDS", problem, remedy("ALLOWED_ROLE_IDS"));
    Allowlist::new(guild, roles).map_err(report).ok()
}

fn server(reader: &mut Reader<'_>) -> Option<String> {
    let code = reader.get("WOLKVOX_SERVER", values::server_code)?;
    let written = reader.value("WOLKVOX_SERVER").unwrap_or_default();
    if written.len() < 4 && code.bytes().all(|byte| byte.is_ascii_digit()) {
        let problem =
            both(format!("perhaps {code:0>4} is meant, not {code}"), format!("quizás debe ser {code:0>4} y no {code}"));
        let remedy = both(
            "Copy it with its zeros from Manager's address; in YAML, between quotation marks",
            "Cópialo con sus ceros de la dirección de Manager; en YAML, entre comillas",
        );
        reader.warn("WOLKVOX_SERVER", problem, remedy);
    }
    Some(code)
}
