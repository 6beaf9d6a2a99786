//! The settings, from environment variables and `.env`. All mistakes are found at once, each is told once, and no value
//! is ever shown, since it might be a secret pasted into the wrong line.

use std::fmt;
use std::io::ErrorKind;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;
use serenity::model::id::{ChannelId, GuildId, RoleId};

use crate::access::{Allowlist, InvalidAllowlist};
use crate::env_file::{self, EnvFile, EnvFileError};
use crate::language::Language;
use crate::language::Localized as _;
use crate::limits::Limits;
use crate::net::{BaseUrl, Proxy};
use crate::telemetry::{Filter, Format};
use crate::{discord, wolkvox};

/// Everything that can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// `DISCORD_TOKEN`, `DISCORD_API_URL`, `HTTPS_PROXY`, `NO_PROXY`.
    pub discord: discord::Settings,
    /// `WOLKVOX_SERVER`, `WOLKVOX_TOKEN`, `WOLKVOX_TIMEOUT_SECS`, `WOLKVOX_API_URL`, `HTTPS_PROXY`, `NO_PROXY`.
    pub wolkvox: wolkvox::Settings,
    /// `DISCORD_GUILD_ID`, `ALLOWED_ROLE_IDS`.
    pub allowlist: Allowlist,
    /// `TOGGLE_GUARD_SECS`: zero turns the guard off.
    pub toggle_guard: Duration,
    /// `REPLY_VISIBILITY`.
    pub visibility: discord::Visibility,
    /// `AUDIT_CHANNEL_ID`.
    pub audit_channel: Option<ChannelId>,
    /// `STATE_FILE`: where the record is kept; `None` for `off`.
    pub state_file: Option<PathBuf>,
    /// `AGENT_DIRECTORY`: whether agents are known by name.
    pub agent_directory: bool,
    /// `LOG_FORMAT`.
    pub log_format: Format,
    /// `RUST_LOG`.
    pub log_filter: Filter,
    /// Not a setting of the environment: how long things may take.
    pub limits: Limits,
}

/// A variable that is read: its name, and its default or, where it has to be set, how to come by it.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// The name.
    pub name: &'static str,
    /// Whether it has to be set.
    pub required: bool,
    /// What holds where it is not set; empty where nothing does.
    pub default: &'static str,
    /// Where the value of a required one is found, in English and in Spanish.
    where_to_find: [&'static str; 2],
}

const DISCORD_TOKEN: Variable = required(
    "DISCORD_TOKEN",
    "Copy it from https://discord.com/developers/applications, your application, \"Bot\", \"Reset Token\"",
    "Cópialo de https://discord.com/developers/applications, tu aplicación, \"Bot\", \"Reset Token\"",
);
const DISCORD_GUILD_ID: Variable = required(
    "DISCORD_GUILD_ID",
    "In Discord, switch on the developer mode (settings, \"Advanced\"), right-click your server, \"Copy Server ID\"",
    "En Discord, activa el modo desarrollador (ajustes, \"Avanzado\"), haz clic derecho en tu servidor, \"Copiar ID \
     del servidor\"",
);
const ALLOWED_ROLE_IDS: Variable = required(
    "ALLOWED_ROLE_IDS",
    "In Discord, open the server's settings, \"Roles\", right-click a role, \"Copy Role ID\"; several ids are separated \
     by commas",
    "En Discord, abre los ajustes del servidor, \"Roles\", haz clic derecho en un rol, \"Copiar ID del rol\"; si son \
     varios, sepáralos con comas",
);
const WOLKVOX_SERVER: Variable = required(
    "WOLKVOX_SERVER",
    "It is the part after \"wv\" in the address of your Wolkvox Manager: 0042 for https://wv0042.wolkvox.com",
    "Es la parte que sigue a \"wv\" en la dirección de tu Wolkvox Manager: 0042 en https://wv0042.wolkvox.com",
);
const WOLKVOX_TOKEN: Variable = required(
    "WOLKVOX_TOKEN",
    "Make one in Wolkvox Manager: \"Configuration\", \"Integrations\", \"Tokens\"",
    "Créalo en Wolkvox Manager: \"Configuración\" (Configuration), \"Integraciones\" (Integrations), \"Tokens\"",
);
const WOLKVOX_TIMEOUT_SECS: Variable = optional("WOLKVOX_TIMEOUT_SECS", "65");
const TOGGLE_GUARD_SECS: Variable = optional("TOGGLE_GUARD_SECS", "30");
const REPLY_VISIBILITY: Variable = optional("REPLY_VISIBILITY", "public");
const AUDIT_CHANNEL_ID: Variable = optional("AUDIT_CHANNEL_ID", "");
const STATE_FILE: Variable = optional("STATE_FILE", "wolkvox-bot.db");
const AGENT_DIRECTORY: Variable = optional("AGENT_DIRECTORY", "on");
const LOG_FORMAT: Variable = optional("LOG_FORMAT", "text");
const RUST_LOG: Variable = optional("RUST_LOG", "info");
const HTTPS_PROXY: Variable = optional("HTTPS_PROXY", "");
const NO_PROXY: Variable = optional("NO_PROXY", "");
const DISCORD_API_URL: Variable = optional("DISCORD_API_URL", "https://discord.com");
const WOLKVOX_API_URL: Variable = optional("WOLKVOX_API_URL", "");

/// All variables, in the order of the README's table.
///
/// When adding one, also change:
/// - its constant, above, and its place in this list;
/// - [`Config`] and [`Draft`], which have its value, and `Draft::read` and [`Draft::finish`], which put it there;
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

impl Variable {
    /// The names under which it is looked for, in this order. A proxy's variables, which other programs read too, are in
    /// use in lower case as well.
    fn spellings(self) -> impl Iterator<Item = String> {
        let lower = self.name.ends_with("_PROXY").then(|| self.name.to_ascii_lowercase());
        [self.name.to_owned()].into_iter().chain(lower)
    }
}

const fn required(name: &'static str, in_english: &'static str, in_spanish: &'static str) -> Variable {
    Variable { name, required: true, default: "", where_to_find: [in_english, in_spanish] }
}

const fn optional(name: &'static str, default: &'static str) -> Variable {
    Variable { name, required: false, default, where_to_find: [""; 2] }
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

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { variable, problem, remedy } = self;
        write!(f, "{variable}: {problem}. {remedy}.")
    }
}

/// All mistakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// At least one.
    pub problems: Vec<Problem>,
    /// Where the settings were looked for, or what can be done without any.
    hint: Option<String>,
    language: Language,
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ("These settings need to be mended:", "Hay que corregir esta configuración:");
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

/// The settings as far as they could be read, with all mistakes. [`Draft::finish`] makes a [`Config`] of it.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The language of whoever runs the bot.
    pub language: Language,
    /// What does not keep the bot from running, but is probably not meant.
    pub warnings: Vec<Problem>,
    /// `DISCORD_TOKEN`, `DISCORD_API_URL`, `HTTPS_PROXY`, `NO_PROXY`.
    pub discord: Option<discord::Settings>,
    /// `WOLKVOX_SERVER`, `WOLKVOX_TOKEN`, `WOLKVOX_TIMEOUT_SECS`, `WOLKVOX_API_URL`, `HTTPS_PROXY`, `NO_PROXY`.
    pub wolkvox: Option<wolkvox::Settings>,
    /// `DISCORD_GUILD_ID`.
    pub guild: Option<GuildId>,
    /// `ALLOWED_ROLE_IDS`, with `DISCORD_GUILD_ID`.
    pub allowlist: Option<Allowlist>,
    /// `AUDIT_CHANNEL_ID`: `None` where it is wrong, `Some(None)` where it is not set.
    pub audit_channel: Option<Option<ChannelId>>,
    /// `STATE_FILE`: `None` where the record is off.
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
        let file = EnvFile::read(directory);
        let reader = Reader::new(Language::of_operator(&environment), &environment);
        Self::read(match &file {
            Ok(file) => reader.with_file(file, directory),
            Err(error) => reader.without_file(error, directory),
        })
    }

    /// Reads the settings through a function that gives a variable's value. A blank value counts as none.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        Self::read(Reader::new(Language::of_operator(&lookup), &lookup))
    }

    fn read(mut reader: Reader<'_>) -> Self {
        let language = reader.language;
        let discord_token = reader.token(DISCORD_TOKEN);
        let guild =
            reader.required(DISCORD_GUILD_ID, |value| snowflake(value).map(GuildId::from).ok_or(not_an_id(language)));
        let roles = reader.required(ALLOWED_ROLE_IDS, |value| role_ids(language, value));
        let allowlist = guild.zip(roles).and_then(|(guild, roles)| reader.allowlist(guild, roles));
        let server = reader.required(WOLKVOX_SERVER, |value| server_code(value).ok_or(not_a_server(language)));
        let wolkvox_token = reader.token(WOLKVOX_TOKEN);
        let (discord_token, wolkvox_token) = reader.in_their_places(discord_token, wolkvox_token);
        let timeout = reader.seconds(WOLKVOX_TIMEOUT_SECS, 1..=120);
        let toggle_guard = reader.seconds(TOGGLE_GUARD_SECS, 0..=600);
        let visibility = reader.choice(
            REPLY_VISIBILITY,
            [("public", discord::Visibility::Public), ("private", discord::Visibility::Private)],
        );
        let audit_channel = reader.audit_channel();
        let state_file = reader.value(STATE_FILE).unwrap_or_else(|| STATE_FILE.default.to_owned());
        let state_file = (!state_file.eq_ignore_ascii_case("off")).then(|| PathBuf::from(state_file));
        let agent_directory = reader.choice(AGENT_DIRECTORY, [("on", true), ("off", false)]);
        let log_format = reader.choice(LOG_FORMAT, [("text", Format::Text), ("json", Format::Json)]);
        let log_filter = reader.log_filter();
        let discord_api = reader.base_url(DISCORD_API_URL, Some(DISCORD_API_URL.default.to_owned()));
        let wolkvox_api = server.map(|server| format!("https://wv{server}.wolkvox.com"));
        let wolkvox_api = reader.base_url(WOLKVOX_API_URL, wolkvox_api);
        let proxy = reader.proxy();
        let Reader { warnings, problems, hint, .. } = reader;
        Self {
            language,
            warnings,
            discord: discord_api.zip(discord_token).zip(proxy.clone()).map(|((api, token), proxy)| discord::Settings {
                api,
                token,
                proxy,
            }),
            wolkvox: wolkvox_api
                .zip(wolkvox_token)
                .zip(timeout.zip(proxy))
                .map(|((base, token), (timeout, proxy))| wolkvox::Settings { base, token, timeout, proxy }),
            guild,
            allowlist,
            audit_channel,
            state_file,
            toggle_guard,
            visibility,
            agent_directory,
            log_format,
            log_filter,
            problems: Problems { problems, hint, language },
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
                state_file: self.state_file,
                agent_directory: self.agent_directory?,
                log_format: self.log_format?,
                log_filter: self.log_filter?,
                limits: Limits::default(),
            })
        };
        config().filter(|_| problems.problems.is_empty()).ok_or(problems)
    }
}

/// Collects the mistakes while the variables are read one after the other.
struct Reader<'a> {
    language: Language,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    file: Option<&'a EnvFile>,
    /// Not where a file that can't be read may have them all.
    tell_missing: bool,
    hint: Option<String>,
    warnings: Vec<Problem>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    fn new(language: Language, lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            language,
            lookup,
            file: None,
            tell_missing: true,
            hint: None,
            warnings: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Reads `.env` too, and takes note of what is wrong with its lines.
    fn with_file(mut self, file: &'a EnvFile, directory: &Path) -> Self {
        self.file = Some(file);
        for (number, line) in &file.unreadable {
            // The variable that was meant, as in `WOLKVOX-TOKEN: 7b22…`, is not called missing too.
            let meant = letters(line);
            let meant = VARIABLES.iter().find(|variable| meant.starts_with(&letters(variable.name)));
            self.problems.push(Problem {
                variable: meant.map_or(env_file::NAME, |variable| variable.name).to_owned(),
                problem: self.pick(
                    format!("line {number} of .env can't be read"),
                    format!("no se puede leer la línea {number} de .env"),
                ),
                remedy: self
                    .pick(
                        "Write NAME=value; a line that sets nothing begins with #",
                        "Escribe NOMBRE=valor; una línea que no define nada empieza con #",
                    )
                    .to_owned(),
            });
        }
        for variable in VARIABLES {
            let assignment = file.get(variable.name).filter(|_| self.in_environment(variable).is_none());
            if let Some(assignment) = assignment.filter(|assignment| assignment.lines.len() > 1) {
                let lines = assignment.lines.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
                let empty = env_file::unquoted(&assignment.value).is_empty();
                self.warnings.push(Problem {
                    variable: variable.name.to_owned(),
                    problem: self.pick(
                        format!(
                            "it is set more than once in .env (lines {lines}); the last one{} counts",
                            if empty { ", which is empty," } else { "" }
                        ),
                        format!(
                            "está más de una vez en .env (líneas {lines}); se usa la última{}",
                            if empty { ", que está vacía" } else { "" }
                        ),
                    ),
                    remedy: self.pick("Keep one of these lines", "Deja solo una de esas líneas").to_owned(),
                });
            }
        }
        // Other programs have names that are like those of addresses and proxies.
        let ours = |name: &str| !name.ends_with("_URL") && !name.ends_with("_PROXY");
        for variable in VARIABLES.into_iter().filter(|variable| !variable.required && ours(variable.name)) {
            if let Some(written) = self.misspelt(variable) {
                let name = variable.name;
                self.warnings.push(Problem {
                    variable: written.to_owned(),
                    problem: self
                        .pick(
                            "the bot has no variable of this name",
                            "el bot no tiene ninguna variable con este nombre",
                        )
                        .to_owned(),
                    remedy: self.pick(
                        format!("If {name} is meant, correct it in .env"),
                        format!("Si querías definir {name}, corrígelo en .env"),
                    ),
                });
            }
        }
        let path = directory.join(env_file::NAME);
        let path = path.display();
        self.hint = Some(self.pick(
            format!("The environment and the file {path} were read."),
            format!("Se leyeron las variables de entorno y el archivo {path}."),
        ));
        self
    }

    /// Takes note of why there is no `.env`, and decides whether that is a mistake.
    fn without_file(mut self, error: &EnvFileError, directory: &Path) -> Self {
        let required: Vec<&str> =
            VARIABLES.iter().filter(|variable| variable.required).map(|variable| variable.name).collect();
        let missing = VARIABLES.iter().filter(|variable| variable.required && self.value(**variable).is_none()).count();
        let absent = matches!(error, EnvFileError::Absent);
        let fault = self.file_fault(error, directory, &required.join(", "));
        if missing == 0 {
            // Nobody needs the file, but there may be more in it.
            if !absent {
                self.warnings.push(fault);
            }
        } else if absent && missing < required.len() {
            self.hint = Some(self.pick(
                format!("Only the environment was read: there is no file .env in {}.", directory.display()),
                format!("Solo se leyeron las variables de entorno: no hay un archivo .env en {}.", directory.display()),
            ));
        } else {
            self.problems.push(fault);
            self.tell_missing = false;
            if absent {
                self.hint = Some(
                    self.pick(
                        "To look around first, without any credentials: cargo run --example sandbox",
                        "Para probarlo antes, sin credenciales: cargo run --example sandbox",
                    )
                    .to_owned(),
                );
            }
        }
        self
    }

    fn file_fault(&self, error: &EnvFileError, directory: &Path, required: &str) -> Problem {
        let path = directory.join(env_file::NAME);
        let (directory, path) = (directory.display(), path.display());
        let (problem, remedy) = match error {
            EnvFileError::Absent => (
                self.pick(
                    format!("there is no such file in {directory}"),
                    format!("no existe ese archivo en {directory}"),
                ),
                self.pick(
                    format!(
                        "Copy .env.example to .env there and fill it in, or start wolkvox-bot in the directory that \
                         has the file. Without a file, set these in the environment: {required}"
                    ),
                    format!(
                        "Copia .env.example como .env allí y llénalo, o inicia wolkvox-bot en el directorio donde \
                         está el archivo. Sin archivo, define estas variables de entorno: {required}"
                    ),
                ),
            ),
            EnvFileError::NamedTxt => (
                self.pick(
                    format!("there is no such file in {directory}, but one with the name .env.txt"),
                    format!("no existe ese archivo en {directory}, pero sí uno llamado .env.txt"),
                ),
                self.pick(
                    "Rename it to .env (Windows hides the .txt as long as \"File name extensions\" is off)".to_owned(),
                    "Cámbiale el nombre a .env (Windows oculta el .txt si \"Extensiones de nombre de archivo\" está \
                     desactivado)"
                        .to_owned(),
                ),
            ),
            EnvFileError::Directory => (
                self.pick(
                    format!("{path} is a directory, not a file"),
                    format!("{path} es un directorio, no un archivo"),
                ),
                self.pick(
                    "Remove it and put the file there; Docker makes such a directory where the file to mount is missing"
                        .to_owned(),
                    "Elimínalo y pon allí el archivo; Docker crea ese directorio cuando falta el archivo que debe \
                     montar"
                        .to_owned(),
                ),
            ),
            EnvFileError::Unreadable(error) => {
                let (english, spanish) = match error.kind() {
                    ErrorKind::PermissionDenied => ("permission denied".to_owned(), "permiso denegado".to_owned()),
                    kind => (kind.to_string(), kind.to_string()),
                };
                (
                    self.pick(
                        format!("{path} can't be read ({english})"),
                        format!("no se puede leer {path} ({spanish})"),
                    ),
                    self.pick(
                        "Make the file and its directory readable for the user that runs wolkvox-bot".to_owned(),
                        "Da permiso de lectura del archivo y su directorio al usuario que ejecuta \
                         wolkvox-bot".to_owned(),
                    ),
                )
            }
            EnvFileError::NotUtf8 => (
                self.pick(format!("{path} is not UTF-8 text"), format!("{path} no es texto UTF-8")),
                self.pick(
                    "Save it with the encoding UTF-8 in your editor".to_owned(),
                    "Guárdalo con la codificación UTF-8 en tu editor".to_owned(),
                ),
            ),
        };
        Problem { variable: env_file::NAME.to_owned(), problem, remedy }
    }

    fn pick<T>(&self, english: T, spanish: T) -> T {
        self.language.pick_for_operator(english, spanish)
    }

    fn in_environment(&self, variable: Variable) -> Option<String> {
        variable.spellings().find_map(|name| non_blank(&(self.lookup)(&name)?))
    }

    fn value(&self, variable: Variable) -> Option<String> {
        let in_file = || variable.spellings().find_map(|name| non_blank(&self.file?.get(&name)?.value));
        self.in_environment(variable).or_else(in_file)
    }

    fn report(&mut self, variable: &str, problem: impl Into<String>, remedy: impl Into<String>) {
        let (problem, remedy) = (problem.into(), remedy.into());
        self.problems.push(Problem { variable: variable.to_owned(), problem, remedy });
    }

    /// The parsed value; `None`, and a mistake noted, where it can't be parsed.
    fn parsed<T>(
        &mut self,
        variable: Variable,
        value: &str,
        remedy: impl Into<String>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let parsed = parse(value);
        parsed
            .map_err(|problem| {
                let mut remedy = remedy.into();
                // Other programs take this for the beginning of a comment.
                if value.contains(" #") {
                    remedy += ". ";
                    remedy += self.pick("A comment needs a line of its own", "Un comentario va en su propia línea");
                }
                self.report(variable.name, problem, remedy);
            })
            .ok()
    }

    fn required<T>(&mut self, variable: Variable, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let remedy = self.where_to_find(variable);
        if let Some(value) = self.value(variable) {
            return self.parsed(variable, &value, remedy, parse);
        }
        if let Some(at) = self.warnings.iter().position(|warning| warning.variable == variable.name) {
            // It is set, but emptied further down.
            let emptied = self.warnings.remove(at);
            self.problems.push(emptied);
        } else if self.tell_missing && self.problems.iter().all(|problem| problem.variable != variable.name) {
            match self.misspelt(variable) {
                None => self.report(variable.name, self.pick("it is missing", "falta"), remedy),
                Some(written) => self.report(
                    variable.name,
                    self.pick(
                        format!("it is missing, but .env has {written}"),
                        format!("falta, pero en .env está {written}"),
                    ),
                    self.pick(
                        format!("If that is meant, correct its name. {remedy}"),
                        format!("Si es esa, corrige el nombre. {remedy}"),
                    ),
                ),
            }
        }
        None
    }

    /// The name in `.env` that may be meant for a variable that is not set. Names that are like none of ours are other
    /// programs'.
    fn misspelt(&self, variable: Variable) -> Option<&'a str> {
        const ALIKE: usize = 75;

        let file = self.file.filter(|_| self.value(variable).is_none())?;
        let known = |name: &str| VARIABLES.into_iter().flat_map(Variable::spellings).any(|known| known == name);
        let alike = file.names().filter(|name| !known(name)).map(|name| (likeness(name, variable.name), name));
        alike.max().filter(|(likeness, _)| *likeness >= ALIKE).map(|(_, name)| name)
    }

    fn where_to_find(&self, variable: Variable) -> &'static str {
        let [english, spanish] = variable.where_to_find;
        self.pick(english, spanish)
    }

    fn defaulted<T>(
        &mut self,
        variable: Variable,
        remedy: impl Into<String>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.value(variable).unwrap_or_else(|| variable.default.to_owned());
        self.parsed(variable, &value, remedy, parse)
    }

    fn token(&mut self, variable: Variable) -> Option<String> {
        let language = self.language;
        self.required(variable, |value| {
            let token = value.strip_prefix("Bot ").unwrap_or(value).trim();
            if token.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'')) {
                Ok(token.to_owned())
            } else {
                Err(language
                    .pick_for_operator(
                        "it contains a space, a quotation mark or another character that no token has",
                        "contiene un espacio, una comilla u otro carácter que ningún token tiene",
                    )
                    .to_owned())
            }
        })
    }

    /// The tokens, but none that is the other company's, which must not be sent. Whatever looks like neither may be
    /// either's.
    fn in_their_places(
        &mut self,
        discord: Option<String>,
        wolkvox: Option<String>,
    ) -> (Option<SecretString>, Option<SecretString>) {
        let strays = wolkvox.as_deref().is_some_and(is_discord_token);
        let at_home = discord.as_deref().is_some_and(is_discord_token);
        let (discord, wolkvox) = if strays && discord.is_some() && !at_home {
            self.report(
                &[DISCORD_TOKEN.name, ", ", WOLKVOX_TOKEN.name].concat(),
                self.pick("the two tokens are swapped", "los dos tokens están intercambiados"),
                self.pick("Put each in the place of the other", "Pon cada uno en el lugar del otro"),
            );
            (None, None)
        } else if strays {
            let problem =
                self.pick("it is a token of Discord, not of Wolkvox", "es un token de Discord, no de Wolkvox");
            self.report(WOLKVOX_TOKEN.name, problem, self.where_to_find(WOLKVOX_TOKEN));
            (discord, None)
        } else if discord.as_deref().is_some_and(is_wolkvox_token) {
            // Discord's page shows the application's public key, 64 such digits, below its id.
            let problem = self.pick(
                "it is a token of Wolkvox or the application's Public Key, not the bot's token",
                "es un token de Wolkvox o la clave pública (Public Key) de la aplicación, no el token del bot",
            );
            self.report(DISCORD_TOKEN.name, problem, self.where_to_find(DISCORD_TOKEN));
            (None, wolkvox)
        } else {
            (discord, wolkvox)
        };
        (discord.map(SecretString::from), wolkvox.map(SecretString::from))
    }

    fn seconds(&mut self, variable: Variable, range: std::ops::RangeInclusive<u64>) -> Option<Duration> {
        let (min, max, default) = (range.start(), range.end(), variable.default);
        let remedy = self.pick(
            format!("Give whole seconds from {min} to {max}, or leave it out for {default}"),
            format!("Escribe segundos enteros de {min} a {max}, o borra la variable para usar {default}"),
        );
        let problem = self.pick(
            format!("it is not a whole number from {min} to {max}"),
            format!("no es un número entero de {min} a {max}"),
        );
        self.defaulted(variable, remedy, |value| match value.parse() {
            Ok(seconds) if range.contains(&seconds) => Ok(Duration::from_secs(seconds)),
            _ => Err(problem),
        })
    }

    fn choice<T: Copy>(&mut self, variable: Variable, choices: [(&str, T); 2]) -> Option<T> {
        let ([(first, _), (second, _)], default) = (choices, variable.default);
        let remedy = self.pick(
            format!("Use {first} or {second}, or leave it out for {default}"),
            format!("Usa {first} o {second}, o borra la variable para usar {default}"),
        );
        let problem = self.pick(format!("it is neither {first} nor {second}"), format!("no es ni {first} ni {second}"));
        self.defaulted(variable, remedy, |value| {
            let found = choices.iter().find(|(word, _)| value.eq_ignore_ascii_case(word));
            found.map(|(_, choice)| *choice).ok_or(problem)
        })
    }

    /// `Some(None)` where it is not set, `None` where it is wrong.
    fn audit_channel(&mut self) -> Option<Option<ChannelId>> {
        let Some(value) = self.value(AUDIT_CHANNEL_ID) else { return Some(None) };
        let remedy = self.pick(
            "In Discord, with the developer mode on, right-click the channel, \"Copy Channel ID\"; or leave the \
             variable out, if you want no such channel",
            "En Discord, con el modo desarrollador activado, haz clic derecho en el canal, \"Copiar ID del canal\"; o \
             borra la variable si no quieres ese canal",
        );
        let language = self.language;
        let parse = |value: &str| snowflake(value).map(ChannelId::from).ok_or(not_an_id(language));
        self.parsed(AUDIT_CHANNEL_ID, &value, remedy, parse).map(Some)
    }

    fn log_filter(&mut self) -> Option<Filter> {
        let remedy = self.pick(
            "Use off, error, warn, info, debug or trace, or target=level pairs separated by commas",
            "Usa off, error, warn, info, debug o trace, o pares target=level separados por comas",
        );
        let language = self.language;
        self.defaulted(RUST_LOG, remedy, |value| value.parse::<Filter>().map_err(|error| error.in_language(language)))
    }

    /// The address; `otherwise` where the variable is not set.
    fn base_url(&mut self, variable: Variable, otherwise: Option<String>) -> Option<BaseUrl> {
        let value = self.value(variable).or(otherwise)?;
        let remedy = self.pick(
            "Give an address such as https://proxy.example, or leave it out",
            "Escribe una dirección como https://proxy.example, o borra la variable",
        );
        let language = self.language;
        self.parsed(variable, &value, remedy, |value| {
            BaseUrl::parse(value).map_err(|error| error.in_language(language))
        })
    }

    /// `Some(None)` where there is none, `None` where it is wrong: nothing is to go around it then.
    fn proxy(&mut self) -> Option<Option<Proxy>> {
        let Some(value) = self.value(HTTPS_PROXY) else { return Some(None) };
        let except = self.value(NO_PROXY).unwrap_or_default();
        let remedy = self.pick(
            "Give an address such as http://proxy.example:3128, or http://name:password@proxy.example:3128 with each \
             @ : / # ? % of the password as %40 %3A %2F %23 %3F %25; or leave it out",
            "Escribe una dirección como http://proxy.example:3128, o http://nombre:clave@proxy.example:3128 con cada \
             @ : / # ? % de la clave como %40 %3A %2F %23 %3F %25; o borra la variable",
        );
        let language = self.language;
        let parse = |value: &str| Proxy::parse(value, &except).map_err(|error| error.in_language(language));
        self.parsed(HTTPS_PROXY, &value, remedy, parse).map(Some)
    }

    fn allowlist(&mut self, guild: GuildId, roles: Vec<RoleId>) -> Option<Allowlist> {
        let problem = match Allowlist::new(guild, roles) {
            Ok(allowlist) => return Some(allowlist),
            Err(problem @ (InvalidAllowlist::Empty | InvalidAllowlist::Everyone)) => problem,
        };
        let remedy = self.pick(
            "Name the roles of those who may mute agents; for everybody to be allowed, give everybody a role",
            "Pon los roles de quienes pueden silenciar agentes; para permitírselo a todos, dales un rol a todos",
        );
        self.report(ALLOWED_ROLE_IDS.name, problem.in_language(self.language), remedy);
        None
    }
}

fn non_blank(value: &str) -> Option<String> {
    Some(env_file::unquoted(value)).filter(|value| !value.is_empty()).map(str::to_owned)
}

fn not_an_id(language: Language) -> String {
    language
        .pick_for_operator(
            "it is not an id: that is a number of 17 to 20 digits, not a name",
            "no es un ID: se escribe el número de 17 a 20 dígitos, no el nombre",
        )
        .to_owned()
}

fn not_a_server(language: Language) -> String {
    language
        .pick_for_operator(
            "it is neither a server's code, which has 1 to 16 letters or digits, nor the address of a Wolkvox Manager",
            "no es ni el código de un servidor, que tiene de 1 a 16 letras o dígitos, ni la dirección de un Wolkvox \
             Manager",
        )
        .to_owned()
}

/// An id of Discord's: a number of 17 to 20 digits.
fn snowflake(value: &str) -> Option<NonZeroU64> {
    let digits = (17..=20).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit());
    (digits && !value.starts_with('0')).then(|| value.parse().ok())?
}

fn role_ids(language: Language, value: &str) -> Result<Vec<RoleId>, String> {
    let entries = value.split(',').map(str::trim).enumerate().filter(|(_, entry)| !entry.is_empty());
    let not_an_id = |at: usize| {
        language.pick_for_operator(
            format!("entry {at} is not an id: that is a number of 17 to 20 digits, not the role's name"),
            format!("el elemento {at} no es un ID: se escribe el número de 17 a 20 dígitos, no el nombre del rol"),
        )
    };
    entries.map(|(at, entry)| snowflake(entry).map(RoleId::from).ok_or_else(|| not_an_id(at + 1))).collect()
}

/// `0042` from `0042`, `wv0042`, and the address of the server's Manager.
///
/// The code becomes a part of the host that the token is sent to, so nothing but letters and digits is let in.
fn server_code(value: &str) -> Option<String> {
    let host;
    let name = if value.contains(['.', '/']) {
        let address = if value.contains("://") { value.to_owned() } else { ["https://", value].concat() };
        host = Url::parse(&address).ok()?.host_str()?.to_owned();
        host.strip_suffix(".wolkvox.com").filter(|name| name.starts_with("wv"))?
    } else {
        value
    };
    let code = match name.get(..2) {
        Some(prefix) if prefix.eq_ignore_ascii_case("wv") => &name[2..],
        _ => name,
    };
    let plain = code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (plain && (1..=16).contains(&code.len())).then(|| code.to_owned())
}

/// Three parts with dots, the first of which is the bot's id in base64: of three digits, each group of four characters
/// begins with M, N or O.
fn is_discord_token(token: &str) -> bool {
    let parts: Vec<&str> = token.split('.').collect();
    let base64 = |part: &&str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    parts.len() == 3 && parts.iter().all(base64) && parts[0].bytes().step_by(4).all(|byte| matches!(byte, b'M'..=b'O'))
}

/// A long hexadecimal string, as Wolkvox's tokens are as far as they were seen. Discord's have dots.
fn is_wolkvox_token(token: &str) -> bool {
    token.len() >= 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// How much of the longer of two names is what both begin and end with, in percent.
fn likeness(one: &str, other: &str) -> usize {
    let same = |(one, other): &(u8, u8)| one.eq_ignore_ascii_case(other);
    let beginning = one.bytes().zip(other.bytes()).take_while(same).count();
    let end = one.bytes().rev().zip(other.bytes().rev()).take_while(same).count();
    (beginning + end).min(one.len()).min(other.len()) * 100 / one.len().max(other.len())
}

fn letters(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|char| char.to_ascii_uppercase()).collect()
}
