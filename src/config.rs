//! The settings, from environment variables and `.env`. All mistakes are found at once; no value is ever
//! shown, since it might be a secret pasted into the wrong line.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU64;
use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;
use serenity::model::id::{ChannelId, GuildId, RoleId};

use crate::access::{Allowlist, InvalidAllowlist};
use crate::limits::Limits;
use crate::net::BaseUrl;
use crate::telemetry::{Filter, Format};
use crate::{discord, wolkvox};

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// `DISCORD_TOKEN`, `DISCORD_API_URL`.
    pub discord: discord::Settings,
    /// `WOLKVOX_SERVER`, `WOLKVOX_TOKEN`, `WOLKVOX_TIMEOUT_SECS`, `WOLKVOX_API_URL`.
    pub wolkvox: wolkvox::Settings,
    /// `DISCORD_GUILD_ID`, `ALLOWED_ROLE_IDS`.
    pub allowlist: Allowlist,
    /// `TOGGLE_GUARD_SECS`: zero turns the guard off.
    pub toggle_guard: Duration,
    /// `REPLY_VISIBILITY`.
    pub visibility: discord::Visibility,
    /// `AUDIT_CHANNEL_ID`.
    pub audit_channel: Option<ChannelId>,
    /// `AGENT_DIRECTORY`: whether agents are known by name.
    pub agent_directory: bool,
    /// `LOG_FORMAT`.
    pub log_format: Format,
    /// `RUST_LOG`.
    pub log_filter: Filter,
    /// Not a setting of the environment: how long things may take.
    pub limits: Limits,
}

/// A variable that is read: its name, and its default unless it has to be set.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// The name.
    pub name: &'static str,
    /// Whether it has to be set.
    pub required: bool,
    /// What holds where it is not set; empty where nothing does.
    pub default: &'static str,
}

const DISCORD_TOKEN: Variable = required("DISCORD_TOKEN");
const DISCORD_GUILD_ID: Variable = required("DISCORD_GUILD_ID");
const ALLOWED_ROLE_IDS: Variable = required("ALLOWED_ROLE_IDS");
const WOLKVOX_SERVER: Variable = required("WOLKVOX_SERVER");
const WOLKVOX_TOKEN: Variable = required("WOLKVOX_TOKEN");
const WOLKVOX_TIMEOUT_SECS: Variable = optional("WOLKVOX_TIMEOUT_SECS", "65");
const TOGGLE_GUARD_SECS: Variable = optional("TOGGLE_GUARD_SECS", "30");
const REPLY_VISIBILITY: Variable = optional("REPLY_VISIBILITY", "public");
const AUDIT_CHANNEL_ID: Variable = optional("AUDIT_CHANNEL_ID", "");
const AGENT_DIRECTORY: Variable = optional("AGENT_DIRECTORY", "on");
const LOG_FORMAT: Variable = optional("LOG_FORMAT", "text");
const RUST_LOG: Variable = optional("RUST_LOG", "info");
const DISCORD_API_URL: Variable = optional("DISCORD_API_URL", "https://discord.com");
const WOLKVOX_API_URL: Variable = optional("WOLKVOX_API_URL", "");

/// All variables, in the order of the README's table.
pub const VARIABLES: [Variable; 14] = [
    DISCORD_TOKEN,
    DISCORD_GUILD_ID,
    ALLOWED_ROLE_IDS,
    WOLKVOX_SERVER,
    WOLKVOX_TOKEN,
    WOLKVOX_TIMEOUT_SECS,
    TOGGLE_GUARD_SECS,
    REPLY_VISIBILITY,
    AUDIT_CHANNEL_ID,
    AGENT_DIRECTORY,
    LOG_FORMAT,
    RUST_LOG,
    DISCORD_API_URL,
    WOLKVOX_API_URL,
];

const fn required(name: &'static str) -> Variable {
    Variable { name, required: true, default: "" }
}

const fn optional(name: &'static str, default: &'static str) -> Variable {
    Variable { name, required: false, default }
}

/// One mistake: which variable, what is wrong, how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The variable, or `.env`.
    pub variable: String,
    /// What is wrong.
    pub problem: String,
    /// How to mend it.
    pub remedy: String,
}

/// All mistakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// At least one.
    pub problems: Vec<Problem>,
    nothing_set: bool,
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "These settings need to be mended:\n")?;
        for Problem { variable, problem, remedy } in &self.problems {
            writeln!(f, "  {variable}: {problem}.\n      {remedy}.")?;
        }
        if self.nothing_set {
            writeln!(
                f,
                "\nNothing is set up yet. Copy .env.example to .env, fill it in and start again.\n\
                 To look around first, without any credentials: cargo run --example sandbox"
            )?;
        }
        Ok(())
    }
}

/// The settings as far as they could be read, with all mistakes. [`Draft::finish`] makes a [`Config`] of it.
#[derive(Clone, Debug)]
pub struct Draft {
    /// `DISCORD_TOKEN`, `DISCORD_API_URL`.
    pub discord: Option<discord::Settings>,
    /// `WOLKVOX_SERVER`, `WOLKVOX_TOKEN`, `WOLKVOX_TIMEOUT_SECS`, `WOLKVOX_API_URL`.
    pub wolkvox: Option<wolkvox::Settings>,
    /// `DISCORD_GUILD_ID`.
    pub guild: Option<GuildId>,
    /// `ALLOWED_ROLE_IDS`, with `DISCORD_GUILD_ID`.
    pub allowlist: Option<Allowlist>,
    /// `AUDIT_CHANNEL_ID`: `None` where it is wrong, `Some(None)` where it is not set.
    pub audit_channel: Option<Option<ChannelId>>,
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
        let (file, mut problems) = read_env_file(Path::new(".env"));
        let mut draft = Self::from_lookup(|name| {
            let set = std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
            set.filter(|value| !value.trim().is_empty()).or_else(|| file.get(name).cloned())
        });
        if !problems.is_empty() {
            problems.append(&mut draft.problems.problems);
            draft.problems = Problems { problems, nothing_set: false };
        }
        draft
    }

    /// Reads the settings through a function that gives a variable's value. A blank value counts as none.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let mut reader = Reader { lookup: &lookup, problems: Vec::new() };
        let discord_token = reader.token(
            DISCORD_TOKEN,
            "Copy it from https://discord.com/developers/applications, your application, \"Bot\", \"Reset Token\"",
        );
        let guild = reader.required(
            DISCORD_GUILD_ID,
            "In Discord, switch on the developer mode (settings, \"Advanced\"), right-click your server, \
             \"Copy Server ID\"",
            |value| snowflake(value).map(GuildId::from).ok_or_else(|| NOT_AN_ID.to_owned()),
        );
        let roles = reader.required(
            ALLOWED_ROLE_IDS,
            "In Discord, open the server's settings, \"Roles\", right-click a role, \"Copy Role ID\"; several ids \
             are separated by commas",
            role_ids,
        );
        let allowlist = guild.zip(roles).and_then(|(guild, roles)| reader.allowlist(guild, roles));
        let server = reader.required(
            WOLKVOX_SERVER,
            "It is the part after \"wv\" in the address of your Wolkvox Manager: 0042 for https://wv0042.wolkvox.com",
            server_code,
        );
        let wolkvox_token =
            reader.token(WOLKVOX_TOKEN, "Make one in Wolkvox Manager: \"Configuration\", \"Integrations\", \"Tokens\"");
        let timeout = reader.seconds(WOLKVOX_TIMEOUT_SECS, 1..=120);
        let toggle_guard = reader.seconds(TOGGLE_GUARD_SECS, 0..=600);
        let visibility = reader.choice(
            REPLY_VISIBILITY,
            [("public", discord::Visibility::Public), ("private", discord::Visibility::Private)],
        );
        let audit_channel = reader.optional(
            AUDIT_CHANNEL_ID,
            "In Discord, with the developer mode on, right-click the channel, \"Copy Channel ID\"; or leave it out",
            |value| snowflake(value).map(ChannelId::from).ok_or_else(|| NOT_AN_ID.to_owned()),
        );
        let agent_directory = reader.choice(AGENT_DIRECTORY, [("on", true), ("off", false)]);
        let log_format = reader.choice(LOG_FORMAT, [("text", Format::Text), ("json", Format::Json)]);
        let log_filter = reader.defaulted(
            RUST_LOG,
            "Use off, error, warn, info, debug or trace, or target=level pairs separated by commas",
            |value| value.parse::<Filter>().map_err(|error| error.to_string()),
        );
        let discord_api = reader.base_url(DISCORD_API_URL, Some(DISCORD_API_URL.default.to_owned()));
        let wolkvox_api = server.map(|server| format!("https://wv{server}.wolkvox.com"));
        let wolkvox_api = reader.base_url(WOLKVOX_API_URL, wolkvox_api);

        let nothing_set = VARIABLES.iter().all(|variable| !variable.required || reader.value(*variable).is_none());
        Self {
            discord: discord_api.zip(discord_token).map(|(api, token)| discord::Settings { api, token }),
            wolkvox: wolkvox_api.zip(wolkvox_token).zip(timeout).map(|((base, token), timeout)| wolkvox::Settings {
                base,
                token,
                timeout,
            }),
            guild,
            allowlist,
            audit_channel,
            toggle_guard,
            visibility,
            agent_directory,
            log_format,
            log_filter,
            problems: Problems { problems: reader.problems, nothing_set },
        }
    }

    /// The settings, if there is no mistake in them.
    ///
    /// # Errors
    /// All mistakes together.
    pub fn finish(self) -> Result<Config, Problems> {
        let problems = self.problems.clone();
        let config = || {
            Some(Config {
                discord: self.discord?,
                wolkvox: self.wolkvox?,
                allowlist: self.allowlist?,
                toggle_guard: self.toggle_guard?,
                visibility: self.visibility?,
                audit_channel: self.audit_channel?,
                agent_directory: self.agent_directory?,
                log_format: self.log_format?,
                log_filter: self.log_filter?,
                limits: Limits::default(),
            })
        };
        config().filter(|_| problems.problems.is_empty()).ok_or(problems)
    }
}

const NOT_AN_ID: &str = "it is not an id, which is a number of 17 to 20 digits";

/// Collects the mistakes while the variables are read one after the other.
struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn value(&self, variable: Variable) -> Option<String> {
        let value = (self.lookup)(variable.name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    fn report(&mut self, variable: Variable, problem: impl Into<String>, remedy: impl Into<String>) {
        let (problem, remedy) = (problem.into(), remedy.into());
        self.problems.push(Problem { variable: variable.name.to_owned(), problem, remedy });
    }

    /// The parsed value; `None`, and a mistake noted, where it can't be parsed.
    fn parsed<T>(
        &mut self,
        variable: Variable,
        value: &str,
        remedy: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        parse(value).map_err(|problem| self.report(variable, problem, remedy)).ok()
    }

    fn required<T>(
        &mut self,
        variable: Variable,
        remedy: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match self.value(variable) {
            Some(value) => self.parsed(variable, &value, remedy, parse),
            None => {
                self.report(variable, "it is missing", remedy);
                None
            }
        }
    }

    /// `Some(None)` where the variable is not set, `None` where it is wrong.
    fn optional<T>(
        &mut self,
        variable: Variable,
        remedy: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Option<T>> {
        match self.value(variable) {
            Some(value) => self.parsed(variable, &value, remedy, parse).map(Some),
            None => Some(None),
        }
    }

    fn defaulted<T>(
        &mut self,
        variable: Variable,
        remedy: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.value(variable).unwrap_or_else(|| variable.default.to_owned());
        self.parsed(variable, &value, remedy, parse)
    }

    fn token(&mut self, variable: Variable, remedy: &str) -> Option<SecretString> {
        self.required(variable, remedy, |value| {
            let token = value.strip_prefix("Bot ").unwrap_or(value).trim();
            if token.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'')) {
                Ok(SecretString::from(token))
            } else {
                Err("it contains a space, a quotation mark or another character that no token has".to_owned())
            }
        })
    }

    fn seconds(&mut self, variable: Variable, range: std::ops::RangeInclusive<u64>) -> Option<Duration> {
        let (min, max) = (range.start(), range.end());
        let remedy = format!("Give whole seconds from {min} to {max}, or leave it out for {}", variable.default);
        self.defaulted(variable, &remedy, |value| match value.parse() {
            Ok(seconds) if range.contains(&seconds) => Ok(Duration::from_secs(seconds)),
            _ => Err(format!("it is not a whole number from {min} to {max}")),
        })
    }

    fn choice<T: Copy>(&mut self, variable: Variable, choices: [(&str, T); 2]) -> Option<T> {
        let [(first, _), (second, _)] = choices;
        let remedy = format!("Use {first} or {second}, or leave it out for {}", variable.default);
        self.defaulted(variable, &remedy, |value| {
            let found = choices.iter().find(|(word, _)| value.eq_ignore_ascii_case(word));
            found.map(|(_, choice)| *choice).ok_or_else(|| format!("it is neither {first} nor {second}"))
        })
    }

    /// The address; `otherwise` where the variable is not set.
    fn base_url(&mut self, variable: Variable, otherwise: Option<String>) -> Option<BaseUrl> {
        let value = self.value(variable).or(otherwise)?;
        let remedy = "Give an address such as https://proxy.example, or leave it out";
        self.parsed(variable, &value, remedy, |value| BaseUrl::parse(value).map_err(|error| error.to_string()))
    }

    fn allowlist(&mut self, guild: GuildId, roles: Vec<RoleId>) -> Option<Allowlist> {
        let problem = match Allowlist::new(guild, roles) {
            Ok(allowlist) => return Some(allowlist),
            Err(problem @ (InvalidAllowlist::Empty | InvalidAllowlist::Everyone)) => problem,
        };
        self.report(
            ALLOWED_ROLE_IDS,
            problem.to_string(),
            "Name the roles of those who may mute agents; for everybody to be allowed, give everybody a role",
        );
        None
    }
}

fn snowflake(value: &str) -> Option<NonZeroU64> {
    value.bytes().all(|byte| byte.is_ascii_digit()).then(|| value.parse().ok())?
}

fn role_ids(value: &str) -> Result<Vec<RoleId>, String> {
    let entries = value.split(',').map(str::trim).enumerate().filter(|(_, entry)| !entry.is_empty());
    entries
        .map(|(at, entry)| match snowflake(entry) {
            Some(id) => Ok(RoleId::from(id)),
            None => Err(format!("entry {} is not an id, which is a number of 17 to 20 digits", at + 1)),
        })
        .collect()
}

/// The code becomes a part of the host that the token is sent to, so nothing but letters and digits is let in.
fn server_code(value: &str) -> Result<String, String> {
    let plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if plain && value.len() <= 16 {
        Ok(value.to_owned())
    } else {
        Err("it is not a server code, which has 1 to 16 letters or digits and nothing else".to_owned())
    }
}

/// The variables in `.env`, and the mistakes in it. A file that does not exist has none of either.
fn read_env_file(path: &Path) -> (HashMap<String, String>, Vec<Problem>) {
    let mut variables = HashMap::new();
    let mut problems = Vec::new();
    let mut report = |problem: String, remedy: &str| {
        problems.push(Problem { variable: ".env".to_owned(), problem, remedy: remedy.to_owned() });
    };
    let text = match std::fs::read(path) {
        Ok(bytes) => String::from_utf8(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return (variables, problems),
        Err(error) => {
            report(format!("the file can't be read ({})", error.kind()), "Make it readable for this user");
            return (variables, problems);
        }
    };
    let Ok(text) = text else {
        report("the file is not UTF-8 text".to_owned(), "Save it as UTF-8");
        return (variables, problems);
    };
    // Windows' editors put a byte-order mark first.
    let text = text.trim_start_matches('\u{FEFF}');
    // Line by line, so that a mistake is reported with the number of its line and never with its text.
    for (number, line) in (1..).zip(text.lines()) {
        for entry in dotenvy::from_read_iter(line.as_bytes()) {
            match entry {
                Ok((name, value)) => {
                    variables.entry(name).or_insert(value);
                }
                Err(_) => report(
                    format!("line {number} can't be read"),
                    "Write NAME=value, without spaces around the equals sign; put '…' around a value with \
                     special characters",
                ),
            }
        }
    }
    (variables, problems)
}
