//! The settings, from environment variables and `.env`. All mistakes are found at once, and each is told once. No value
//! is shown that might be a secret pasted into the wrong line.

mod reader;
mod values;
mod variables;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serenity::model::id::{ChannelId, GuildId, RoleId};

use self::reader::Reader;
use self::values::{both, localized};
use self::variables::*;
pub use self::variables::{VARIABLES, Variable};
use crate::access::Allowlist;
use crate::env_file::{self, EnvFile};
use crate::language::Language;
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
    /// `None` where the record is off.
    pub state_file: Option<PathBuf>,
    pub agent_directory: bool,
    pub log_format: Format,
    pub log_filter: Filter,
    /// Not a setting of the environment: how long things may take.
    pub limits: Limits,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The variable, several of them, or `.env`.
    pub variable: String,
    pub problem: String,
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { variable, problem, remedy } = self;
        write!(f, "{variable}: {problem}. {remedy}.")
    }
}

/// All mistakes: at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    pub problems: Vec<Problem>,
    /// Where the settings were looked for, or what can be done without any.
    hint: Option<String>,
    language: Language,
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ("These settings need to be fixed:", "Hay que corregir esta configuración:");
        writeln!(f, "{}\n", self.language.pick_for_operator(head.0, head.1))?;
        for Problem { variable, problem, remedy } in &self.problems {
            writeln!(f, "  {variable}: {problem}.\n      {remedy}.")?;
        }
        if let Some(hint) = &self.hint {
            writeln!(f, "\n{hint}")?;
        }
        Ok(())
    }
}

/// The settings as far as they could be read, with all mistakes.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The administrator's.
    pub language: Language,
    /// What does not keep the bot from running, but is probably not meant.
    pub warnings: Vec<Problem>,
    /// The `.env` that was read.
    pub env_file: Option<PathBuf>,
    /// The variables for which the environment has one value and `.env`, which does not count then, another.
    pub overridden: Vec<&'static str>,
    pub discord: Option<discord::Settings>,
    pub wolkvox: Option<wolkvox::Settings>,
    pub guild: Option<GuildId>,
    pub allowlist: Option<Allowlist>,
    /// `None` where it is wrong, `Some(None)` where it is not set.
    pub audit_channel: Option<Option<ChannelId>>,
    /// `None` where the record is off.
    pub state_file: Option<PathBuf>,
    toggle_guard: Option<Duration>,
    visibility: Option<discord::Visibility>,
    agent_directory: Option<bool>,
    log_format: Option<Format>,
    log_filter: Option<Filter>,
    problems: Problems,
}

impl Draft {
    /// Reads the environment of this process, and `.env` in the working directory for what is not set there.
    pub fn from_environment() -> Self {
        let environment = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Self::from_sources(environment, &std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")))
    }

    /// Reads an environment, and `.env` in a directory for what is not set there.
    pub fn from_sources(environment: impl Fn(&str) -> Option<String>, directory: &Path) -> Self {
        let (read, none) = (EnvFile::read(directory), EnvFile::default());
        let mut reader = Reader::new(&environment, read.as_ref().unwrap_or(&none));
        match &read {
            Ok(_) => reader.look_at_file(directory),
            Err(error) => reader.without_file(error, directory),
        }
        Self { env_file: read.is_ok().then(|| directory.join(env_file::NAME)), ..Self::read(reader) }
    }

    /// Reads the settings through a function that gives a variable's value. A blank value counts as none.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        Self::read(Reader::new(&lookup, &EnvFile::default()))
    }

    fn read(mut reader: Reader<'_>) -> Self {
        let discord_token = reader.get(DISCORD_TOKEN, values::token);
        let guild = reader.get(DISCORD_GUILD_ID, values::guild);
        let roles = reader.get(ALLOWED_ROLE_IDS, values::roles);
        let allowlist = guild.zip(roles).and_then(|(guild, roles)| allowlist(&mut reader, guild, roles));
        let server = reader.get(WOLKVOX_SERVER, values::server_code);
        let wolkvox_token = reader.get(WOLKVOX_TOKEN, values::token);
        let [discord_token, wolkvox_token] = reader.in_their_places([discord_token, wolkvox_token]);
        let timeout = reader.get(WOLKVOX_TIMEOUT_SECS, values::seconds(1..=120));
        let toggle_guard = reader.get(TOGGLE_GUARD_SECS, values::seconds(0..=600));
        let visibilities = [("public", discord::Visibility::Public), ("private", discord::Visibility::Private)];
        let visibility = reader.get(REPLY_VISIBILITY, values::choice(visibilities));
        let audit_channel = reader.optional(AUDIT_CHANNEL_ID, values::channel);
        let state_file = reader.value(STATE_FILE).unwrap_or_else(|| STATE_FILE.default.to_owned());
        let agent_directory = reader.get(AGENT_DIRECTORY, values::choice([("on", true), ("off", false)]));
        let formats = [("text", Format::Text), ("json", Format::Json)];
        let log_format = reader.get(LOG_FORMAT, values::choice(formats));
        let log_filter = reader.get(RUST_LOG, |value| value.parse().map_err(localized));
        let discord_api = reader.get(DISCORD_API_URL, values::base_url);
        let except = reader.value(NO_PROXY).unwrap_or_default();
        let proxy = reader.optional(HTTPS_PROXY, |value| values::proxy(value, &except));
        let of_server = server.and_then(|code| values::base_url(&format!("https://wv{code}.wolkvox.com")).ok());
        let wolkvox_api = reader.optional(WOLKVOX_API_URL, values::base_url).and_then(|own| own.or(of_server));
        doubts(&mut reader, &state_file);
        let discord = discord_api.zip(discord_token).zip(proxy.clone());
        let discord = discord.map(|((api, token), proxy)| discord::Settings { api, token, proxy });
        let wolkvox = wolkvox_api.zip(wolkvox_token).zip(timeout.zip(proxy));
        let wolkvox =
            wolkvox.map(|((base, token), (timeout, proxy))| wolkvox::Settings { base, token, timeout, proxy });
        let overridden = VARIABLES.into_iter().filter(|variable| reader.is_overridden(*variable));
        Self {
            language: reader.problems.language,
            env_file: None,
            overridden: overridden.map(|variable| variable.name).collect(),
            warnings: reader.warnings,
            discord,
            wolkvox,
            guild,
            allowlist,
            audit_channel,
            state_file: (!state_file.eq_ignore_ascii_case("off")).then(|| state_file.into()),
            toggle_guard,
            visibility,
            agent_directory,
            log_format,
            log_filter,
            problems: reader.problems,
        }
    }

    /// # Errors
    /// All mistakes together.
    pub fn finish(self) -> Result<Config, Problems> {
        let config = || {
            Some(Config {
                discord: self.discord?,
                wolkvox: self.wolkvox?,
                allowlist: self.allowlist?,
                toggle_guard: self.toggle_guard?,
                visibility: self.visibility?,
                audit_channel: self.audit_channel?,
                state_file: self.state_file,
                agent_directory: self.agent_directory?,
                log_format: self.log_format?,
                log_filter: self.log_filter?,
                limits: Limits::default(),
            })
        };
        let problems = self.problems;
        config().filter(|_| problems.problems.is_empty()).ok_or(problems)
    }
}

fn allowlist(reader: &mut Reader<'_>, guild: GuildId, roles: Vec<RoleId>) -> Option<Allowlist> {
    // An id begins with the time at which it was made, in milliseconds: discord.com/developers/docs/reference#snowflakes.
    let older = |role: &RoleId| role.get() >> 22 < guild.get() >> 22;
    if !roles.is_empty() && roles.iter().all(older) {
        reader.warn(
            &[DISCORD_GUILD_ID.name, ", ", ALLOWED_ROLE_IDS.name].concat(),
            both(
                "by their ids the roles are older than the server, which can't be: the two are probably swapped",
                "según sus ID, los roles son más antiguos que el servidor, lo que no puede ser: quizás los dos están \
                 intercambiados",
            ),
            both("If so, put each in the place of the other", "Si es así, pon cada uno en el lugar del otro"),
        );
    }
    let report = |error| reader.report(&[ALLOWED_ROLE_IDS], localized(error), ALLOWED_ROLE_IDS.remedy());
    Allowlist::new(guild, roles).map_err(report).ok()
}

/// Warns of values that can be right but are probably not meant.
fn doubts(reader: &mut Reader<'_>, state_file: &str) {
    let server = reader.value(WOLKVOX_SERVER).unwrap_or_default();
    if (1..4).contains(&server.len()) && server.bytes().all(|byte| byte.is_ascii_digit()) {
        reader.warn(
            WOLKVOX_SERVER.name,
            both(
                format!("{server} has fewer than four digits: perhaps {server:0>4} is meant"),
                format!("{server} tiene menos de cuatro cifras: quizás es {server:0>4}"),
            ),
            both(
                "In YAML, put it between quotation marks, or its leading zeros are lost",
                "En YAML, ponlo entre comillas: si no, se pierden los ceros iniciales",
            ),
        );
    }
    if state_file.starts_with(['~', '$']) {
        reader.warn(
            STATE_FILE.name,
            both(
                "~ and variables are not expanded in it: this is a folder with that very name",
                "en ella no se expanden ni ~ ni variables: es una carpeta con ese mismo nombre",
            ),
            STATE_FILE.remedy(),
        );
    }
}
