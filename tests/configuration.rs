//! The configuration: every mistake at once, named and with its remedy, and no secret shown.

use std::collections::HashMap;
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use wolkvox_bot::config::{Config, Draft, Problems, VARIABLES};
use wolkvox_bot::discord::Visibility;

use crate::support::bot::{Process, variables};
use crate::support::discord::{self, Discord};
use crate::support::wolkvox::{self, Wolkvox};

const HEX: &str = "7b2263776f6c6b766f782d746f6b656e2d64656164626565667d";
const ENGLISH: (&str, &str) = ("LANG", "C.UTF-8");
const SPANISH: (&str, &str) = ("LANG", "es_CO.UTF-8");

fn complete() -> HashMap<&'static str, String> {
    HashMap::from([
        ("DISCORD_TOKEN", "discord-secret".to_owned()),
        ("DISCORD_GUILD_ID", "1200000000000000002".to_owned()),
        ("ALLOWED_ROLE_IDS", "1300000000000000003".to_owned()),
        ("WOLKVOX_SERVER", "0042".to_owned()),
        ("WOLKVOX_TOKEN", "wolkvox-secret".to_owned()),
    ])
}

fn draft(change: &[(&'static str, &str)]) -> Draft {
    let mut variables = complete();
    variables.extend(change.iter().map(|(name, value)| (*name, (*value).to_owned())));
    Draft::from_lookup(|name| variables.get(name).cloned())
}

fn read(change: &[(&'static str, &str)]) -> Result<Config, Problems> {
    draft(change).finish()
}

/// A folder of its own, which goes with the test.
struct Folder(crate::support::Folder);

impl Folder {
    fn with(name: &str, contents: impl AsRef<[u8]>) -> Self {
        let folder = Self(crate::support::Folder::new());
        std::fs::write(folder.0.join(name), contents).unwrap();
        folder
    }

    /// A whole `.env`, with these lines below.
    fn with_lines(lines: &str) -> Self {
        Self::with(".env", env_file(lines))
    }

    /// What is read here, with this in the environment.
    fn draft(&self, environment: &[(&str, &str)]) -> Draft {
        draft_in(&self.0, environment)
    }
}

fn draft_in(directory: &Path, environment: &[(&str, &str)]) -> Draft {
    let value = |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Draft::from_sources(value, directory)
}

fn env_file(lines: &str) -> String {
    let complete: String = complete().iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    complete + lines + "\n"
}

fn lines(told: &[impl Display]) -> Vec<String> {
    told.iter().map(ToString::to_string).collect()
}

/// The problems of a draft, as they are printed.
fn told(draft: Draft) -> Vec<String> {
    lines(&draft.finish().err().map(|problems| problems.problems).unwrap_or_default())
}

#[test]
fn the_needed_variables_are_enough_and_the_others_have_defaults() {
    let config = read(&[]).unwrap();
    assert_eq!(config.wolkvox.timeout, Duration::from_secs(65));
    assert_eq!(config.toggle_guard, Duration::from_secs(30));
    assert_eq!(config.visibility, Visibility::Public);
    assert_eq!(config.audit_channel, None);
    assert!(config.agent_directory);
    let url = config.wolkvox.base.join("api/v2/agentbox.php");
    assert_eq!(url.as_str(), "https://wv0042.wolkvox.com/api/v2/agentbox.php");
    assert_eq!(config.discord.api.join("/api/v10/gateway").as_str(), "https://discord.com/api/v10/gateway");
}

#[test]
fn values_in_their_ranges_are_taken() {
    let config = read(&[
        ("ALLOWED_ROLE_IDS", " 1300000000000000003 ,1300000000000000004,, 1300000000000000003,"),
        ("WOLKVOX_TIMEOUT_SECS", "120"),
        ("TOGGLE_GUARD_SECS", "0"),
        ("REPLY_VISIBILITY", "Private"),
        ("AUDIT_CHANNEL_ID", "1400000000000000007"),
        ("AGENT_DIRECTORY", "off"),
        ("LOG_FORMAT", "json"),
        ("RUST_LOG", "warn,wolkvox_bot=debug"),
        ("DISCORD_API_URL", "http://127.0.0.1:8080/proxy/"),
        ("WOLKVOX_API_URL", "http://[::1]:8081"),
        ("DISCORD_TOKEN", "Bot discord-secret"),
    ])
    .unwrap();
    assert_eq!(config.allowlist.roles().len(), 2);
    assert_eq!(config.discord.token.expose_secret(), "discord-secret");
    assert_eq!(config.discord.api.join("/gateway").as_str(), "http://127.0.0.1:8080/proxy/gateway");
    assert_eq!(config.wolkvox.base.join("x").as_str(), "http://[::1]:8081/x");
    assert!(!config.agent_directory);
}

#[test]
fn each_wrong_value_is_refused_and_a_possible_secret_never_shown() {
    for (name, values) in [
        ("DISCORD_TOKEN", "two words=1|\"half|línea|abc # my token"),
        ("DISCORD_GUILD_ID", "0|-1|abc|42|1200000000000000|0000000000000000042|99999999999999999999999|1.5"),
        ("DISCORD_GUILD_ID", "<@&1300000000000000003>|https://discord.com/channels/@me/1300000000000000003"),
        ("ALLOWED_ROLE_IDS", "0|Supervisor|1300000000000000003,4711|,|1200000000000000002|<#1300000000000000003>"),
        ("WOLKVOX_SERVER", "wv.evil.example|a/b|42@x|01234567890123456|münchen|a-b|wv|https://wolkvox.com/"),
        ("WOLKVOX_SERVER", "https://wv.wolkvox.com/|https://www.wolkvox.com/|https://evil.example/wv0042.wolkvox.com"),
        ("WOLKVOX_SERVER", "https://wv0042.wolkvox.com.evil.example/|https://wv0042.evil.example#.wolkvox.com"),
        ("WOLKVOX_TOKEN", "two words!|line\u{7}break|a DISCORD_TOKEN=b"),
        ("WOLKVOX_TIMEOUT_SECS", "0|121|1.5|-1|sixty|60s"),
        ("TOGGLE_GUARD_SECS", "601|-1|x"),
        ("REPLY_VISIBILITY", "secret|true"),
        ("AUDIT_CHANNEL_ID", "0|#audit"),
        ("AGENT_DIRECTORY", "maybe|1"),
        ("LOG_FORMAT", "xml"),
        ("RUST_LOG", "verbose|info,foo=loud|=info|a b=info"),
        ("HTTPS_PROXY", "socks5://proxy.example:1080|http://proxy.example:99999|proxy.example:3128 # the office"),
        ("HTTPS_PROXY", "http://ana:hunter/2@proxy.example:3128|http://ana:12#34@proxy.example:3128"),
        (
            "DISCORD_API_URL",
            "http://discord.example|ftp://127.0.0.1|discord.com/|https://u:p@x.example|https://x.example/?a=b",
        ),
        ("WOLKVOX_API_URL", "http://192.168.1.4|http://localhost.evil.example|https://x.example/#f|//x"),
    ] {
        for value in values.split('|') {
            let problems = read(&[(name, value)]).expect_err(value);
            assert_eq!(problems.problems.len(), 1, "{name}={value}: {problems}");
            assert_eq!(problems.problems[0].variable, name);
            assert!(!problems.problems[0].problem.is_empty() && !problems.problems[0].remedy.is_empty());
            if value.len() > 3 && !name.contains("_ID") {
                assert!(!problems.to_string().contains(value), "{name}={value}: {problems}");
            }
        }
        // A token in the wrong line.
        for secret in [discord::TOKEN, wolkvox::TOKEN, HEX] {
            let problems = told(draft(&[(name, secret)])).join(" ");
            assert!(!problems.contains(secret), "{name}: {problems}");
        }
    }
}

/// What surrounds, fills and separates values where they are copied from.
#[test]
fn values_are_found_in_what_people_paste() {
    for around in [
        "\u{200B}", "\u{200F}", "\u{202A}", "\u{202E}", "\u{2060}", "\u{2069}", "\u{FEFF}", "\u{AD}", "\u{A0}",
        "\u{3000}",
    ] {
        let paste = |value: &str| {
            let (one, other) = value.split_at(value.len() - 2);
            [around, one, around, other, around].concat()
        };
        for (name, value) in complete() {
            let value = if name == "ALLOWED_ROLE_IDS" { [around, &value, around].concat() } else { paste(&value) };
            let written = format!("{around}{name}{around}={value}");
            let from_file = Folder::with_lines(&written).draft(&[]);
            for config in [from_file.finish(), read(&[(name, &value)])] {
                let config = config.expect(&written);
                let roles: Vec<u64> = config.allowlist.roles().iter().map(|role| role.get()).collect();
                assert_eq!(
                    (config.allowlist.guild().get(), &roles[..]),
                    (1200000000000000002, &[1300000000000000003][..])
                );
                assert_eq!(config.discord.token.expose_secret(), "discord-secret");
                assert_eq!(config.wolkvox.token.expose_secret(), "wolkvox-secret");
                assert_eq!(config.wolkvox.base.join("x").as_str(), "https://wv0042.wolkvox.com/x");
            }
        }
        let config =
            read(&[("DISCORD_API_URL", &paste("https://x.example")), ("HTTPS_PROXY", &paste("proxy.example:31"))]);
        let settings = config.unwrap().discord;
        assert_eq!(settings.api.join("/").as_str(), "https://x.example/");
        assert_eq!(settings.proxy.unwrap().to_string(), "http://proxy.example:31");
    }
    let (one, other) = ("1300000000000000003", "1300000000000000004");
    for list in ["1,2", "1;2", "1 2", "1\n2", "1\u{3000}2", "<@&1> <@&2>", "\"1\",\"2\"", "['1', '2']", "“1” ; ”2”,,"]
    {
        let written = list.replace('1', one).replace('2', other);
        let roles = read(&[("ALLOWED_ROLE_IDS", &written)]).expect(&written).allowlist.roles().to_vec();
        assert_eq!(lines(&roles), [one, other], "{written}");
    }
    for channel in ["<#1>", "\"1\"", "https://discord.com/channels/2/1", "https://ptb.discord.com/channels/2/1/3?x=4"] {
        let written = channel.replace('1', one).replace('2', other);
        let config = read(&[("AUDIT_CHANNEL_ID", &written)]).expect(&written);
        assert_eq!(config.audit_channel.unwrap().to_string(), one, "{written}");
    }
    for guild in ["https://discord.com/channels/2", "https://discord.com/channels/2/1300000000000000009/3"] {
        let config = read(&[("DISCORD_GUILD_ID", &guild.replace('2', "1200000000000000005"))]).unwrap();
        assert_eq!(config.allowlist.guild().get(), 1200000000000000005);
    }
}

#[test]
fn a_blank_value_counts_as_missing() {
    let problems = read(&[("WOLKVOX_TOKEN", "  "), ("RUST_LOG", " "), ("WOLKVOX_TIMEOUT_SECS", "")]).unwrap_err();
    assert_eq!(problems.problems.len(), 1);
    assert_eq!(
        (problems.problems[0].variable.as_str(), problems.problems[0].problem.as_str()),
        ("WOLKVOX_TOKEN", "it is missing")
    );
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let shown = format!("{:?}", read(&[("HTTPS_PROXY", "http://ana:proxy-secret@proxy.example")]).unwrap());
    for secret in ["discord-secret", "wolkvox-secret", "proxy-secret"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn a_proxy_is_taken_from_the_environment_or_the_file_in_capitals_or_not() {
    let proxy = |draft: Draft| draft.finish().unwrap().wolkvox.proxy.map(|proxy| proxy.to_string());
    let folder = Folder::with_lines("https_proxy=http://ana:secret@file-lower.example:1\nHTTPS_PROXY=\n");
    for (environment, expected) in [
        (vec![], "http://file-lower.example:1"),
        (vec![("HTTPS_PROXY", " "), ("https_proxy", "lower.example:2")], "http://lower.example:2"),
        (vec![("HTTPS_PROXY", "\"upper.example:3\""), ("https_proxy", "lower.example:2")], "http://upper.example:3"),
    ] {
        assert_eq!(proxy(folder.draft(&environment)).as_deref(), Some(expected), "{environment:?}");
    }
    let folder = Folder::with_lines("https_proxy=lower.example:2\nHTTPS_PROXY=upper.example:3");
    assert_eq!(proxy(folder.draft(&[])).as_deref(), Some("http://upper.example:3"));
    assert!(read(&[("NO_PROXY", "*")]).unwrap().discord.proxy.is_none());
}

#[tokio::test]
async fn with_nothing_configured_it_names_every_variable_the_example_and_the_sandbox() {
    let (code, told) = Process::start(&HashMap::new(), &[]).ended().await;
    assert_eq!(code, Some(2));
    for variable in VARIABLES {
        assert_eq!(told.contains(variable.name), variable.required, "{}: {told}", variable.name);
    }
    assert!(told.contains("Copy .env.example to .env"), "{told}");
    assert!(told.contains("cargo run --example sandbox"), "{told}");
}

#[tokio::test]
async fn all_mistakes_are_told_together() {
    let mut variables = complete();
    variables.insert("DISCORD_GUILD_ID", "my-server".to_owned());
    variables.insert("WOLKVOX_TIMEOUT_SECS", "500".to_owned());
    variables.insert("RUST_LOG", "loud".to_owned());
    variables.remove("WOLKVOX_TOKEN");
    let mut process = Process::start(&variables, &[]);
    let (code, told) = process.ended().await;
    assert_eq!(code, Some(2));
    for name in ["DISCORD_GUILD_ID", "WOLKVOX_TIMEOUT_SECS", "RUST_LOG", "WOLKVOX_TOKEN"] {
        assert!(told.contains(&format!("  {name}: it is ")), "{name}: {told}");
    }
    assert!(!told.contains("Copy .env.example") && !told.contains("secret"), "{told}");
    assert_eq!(process.log.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn the_env_file_is_read_and_the_real_environment_wins_unless_it_is_blank() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    let mut env = String::from("\u{FEFF}# a comment\r\n");
    let mut real = HashMap::new();
    for (name, value) in variables(&discord, &wolkvox) {
        match name {
            // Wrong in the file, right in the environment.
            "DISCORD_TOKEN" => {
                env += "DISCORD_TOKEN=wrong\r\n";
                real.insert(name, value);
            }
            // Blank in the environment.
            "WOLKVOX_TOKEN" => {
                env += &format!("{name}={value}\r\n");
                real.insert(name, String::new());
            }
            "ALLOWED_ROLE_IDS" => env += &format!("export {name}='{value}'\r\n"),
            _ => env += &format!("{name}={value}\r\n"),
        }
    }
    let folder = Folder::with(".env", env);
    let mut process = Process::start_in(&folder.0, &real, &[]);
    process
        .runs(async {
            discord.until_ready(1).await;
            discord.reply(discord.mute(&discord::supervisor(), 1001)).await;
        })
        .await;
    assert_eq!(wolkvox.toggles(1001), 1);
    drop(process);
}

#[test]
fn values_are_taken_as_they_stand_to_the_end_of_the_line_wherever_they_come_from() {
    for value in ["$HOME", "${HOME}x", "a#b", "#a", r"a\nb\", r"\", "a=b=", "it`s!*", "$", "a\\$b"] {
        for (mark, around) in [("", " "), ("'", ""), ("\"", " "), ("'", "\t")] {
            let written = [around, mark, value, mark, around].concat();
            let folder = Folder::with(".env", env_file(&format!("WOLKVOX_TOKEN={written}\r")));
            let from_file = folder.draft(&[]).finish().unwrap();
            assert_eq!(from_file.wolkvox.token.expose_secret(), value, "{written}");
            // As Docker's --env-file hands it over.
            let from_environment = read(&[("WOLKVOX_TOKEN", &written)]).unwrap();
            assert_eq!(from_environment.wolkvox.token.expose_secret(), value, "{written}");
        }
    }
    let folder = Folder::with(
        ".env",
        env_file(
            "ALLOWED_ROLE_IDS=1300000000000000003, 1300000000000000004\n export  DISCORD_TOKEN = Bot discord-secret",
        ),
    );
    let config = folder.draft(&[]).finish().unwrap();
    assert_eq!(config.allowlist.roles().len(), 2);
    assert_eq!(config.discord.token.expose_secret(), "discord-secret");
}

#[test]
fn only_one_matching_pair_of_quotation_marks_is_taken_off() {
    for value in ["\"'0042'\"", "\"0042'", "'0042", "0042\""] {
        assert_eq!(read(&[("WOLKVOX_SERVER", value)]).unwrap_err().problems.len(), 1, "{value}");
    }
    for blank in ["\"\"", "' '", "\" \""] {
        assert_eq!(read(&[("AUDIT_CHANNEL_ID", blank)]).unwrap().audit_channel, None, "{blank}");
    }
}

#[test]
fn the_wolkvox_server_is_found_in_what_people_write_for_it() {
    for value in [
        "0042",
        "wv0042",
        "WV0042",
        "wv0042.wolkvox.com",
        "https://wv0042.wolkvox.com",
        "https://WV0042.wolkvox.com/index.php?x=1#y",
        "http://wv0042.wolkvox.com:443/",
    ] {
        let config = read(&[("WOLKVOX_SERVER", value)]).unwrap();
        assert_eq!(config.wolkvox.base.join("x").as_str(), "https://wv0042.wolkvox.com/x", "{value}");
    }
}

/// Each mistake in `.env` is told once, with the variable and what to do, in both languages.
#[test]
fn each_mistake_in_the_env_file_is_told_once_in_english_and_in_spanish() {
    let tokens =
        |discord: &str, wolkvox: &str| format!("DISCORD_TOKEN={discord}\nWOLKVOX_TOKEN={wolkvox}").replace(' ', "");
    let swapped = [
        "DISCORD_TOKEN, WOLKVOX_TOKEN: the two tokens are swapped. Put each in the place of the other.",
        "DISCORD_TOKEN, WOLKVOX_TOKEN: los dos tokens están intercambiados. Pon cada uno en el lugar del otro.",
    ];
    for (lines, expected) in [
        (
            "AUDIT_CHANNEL_ID=#mute-audit".to_owned(),
            [
                "AUDIT_CHANNEL_ID: it is not an id (\"#mute-audit\"): that is a number of 17 to 20 digits, not a name. In \
                 Discord, with the developer mode on, right-click the channel, \"Copy Channel ID\", or leave it out.",
                "AUDIT_CHANNEL_ID: no es un ID (\"#mute-audit\"): se escribe el número de 17 a 20 dígitos, no el nombre. \
                 En Discord, con el modo desarrollador activado, haz clic derecho en el canal, \"Copiar ID del canal\", o \
                 borra la variable.",
            ],
        ),
        (
            "DISCORD_GUILD_ID=1.2e+18".to_owned(),
            [
                "DISCORD_GUILD_ID: it is not an id (\"1.2e+18\"): that is a number of 17 to 20 digits, quoted in YAML it \
                 stays a number of all its digits. In Discord, switch on",
                "DISCORD_GUILD_ID: no es un ID (\"1.2e+18\"): se escribe el número de 17 a 20 dígitos, entre comillas, \
                 YAML conserva todas sus cifras. En Discord, activa",
            ],
        ),
        (
            format!("ALLOWED_ROLE_IDS=Supervisor; 1300000000000000003 {HEX}, 4711"),
            [
                "ALLOWED_ROLE_IDS: it is not an id (\"Supervisor\", #3, \"4711\"): that is a number of 17 to 20 digits, \
                 not a name. In Discord, open the server's",
                "ALLOWED_ROLE_IDS: no es un ID (\"Supervisor\", #3, \"4711\"): se escribe el número de 17 a 20 dígitos, \
                 no el nombre. En Discord, abre los",
            ],
        ),
        (
            "ALLOWED_ROLE_IDS=1200000000000000002".to_owned(),
            [
                "ALLOWED_ROLE_IDS: it names the id in DISCORD_GUILD_ID, the server's own, which is the role of everyone.",
                "ALLOWED_ROLE_IDS: nombra el ID que está en DISCORD_GUILD_ID, el del propio servidor, que es el rol de",
            ],
        ),
        (
            "WOLKVOX_SERVER=https://manager.example/".to_owned(),
            [
                "WOLKVOX_SERVER: it is neither a server's code, which has 1 to 16 letters or digits, nor the address of a \
                 Wolkvox Manager. It is the part after \"wv\"",
                "WOLKVOX_SERVER: no es ni el código de un servidor (de 1 a 16 letras o dígitos) ni la dirección de un \
                 Wolkvox Manager. Es la parte que sigue a \"wv\"",
            ],
        ),
        (tokens(HEX, discord::TOKEN), swapped),
        // A Wolkvox token of a shape not seen so far.
        (tokens("wolkvox-secret", discord::TOKEN), swapped),
        (
            tokens(discord::TOKEN, discord::TOKEN),
            [
                "WOLKVOX_TOKEN: it is a token of Discord, not of Wolkvox. Make one in Wolkvox Manager",
                "WOLKVOX_TOKEN: es un token de Discord, no de Wolkvox. Créalo en Wolkvox Manager",
            ],
        ),
        (
            tokens(HEX, HEX),
            [
                "DISCORD_TOKEN: it is a token of Wolkvox or the application's Public Key, not the bot's token. Copy",
                "DISCORD_TOKEN: es un token de Wolkvox o la clave pública (Public Key) de la aplicación, no el token del \
                 bot. Cópialo de",
            ],
        ),
        (
            "WOLKVOX_TOKEN=two words!".to_owned(),
            [
                "WOLKVOX_TOKEN: it contains a space, a quotation mark or another character that no token has. Make one",
                "WOLKVOX_TOKEN: contiene un espacio, una comilla u otro carácter que ningún token tiene. Créalo",
            ],
        ),
        ("WOLKVOX_TOKEN=".to_owned(), ["WOLKVOX_TOKEN: it is missing. Make", "WOLKVOX_TOKEN: falta. Créalo"]),
        (
            "TOGGLE_GUARD_SECS=60 # a minute".to_owned(),
            [
                "TOGGLE_GUARD_SECS: it is not a whole number from 0 to 600. Give whole seconds, or leave it out for 30. A \
                 comment needs a line of its own.",
                "TOGGLE_GUARD_SECS: no es un número entero de 0 a 600. Escribe segundos enteros, o borra la variable para \
                 usar 30. Un comentario va en su propia línea.",
            ],
        ),
        (
            "REPLY_VISIBILITY=secret".to_owned(),
            [
                "REPLY_VISIBILITY: it is neither public nor private. Use public or private, or leave it out for public.",
                "REPLY_VISIBILITY: no es ni public ni private. Usa public o private, o borra la variable para usar public.",
            ],
        ),
        (
            "RUST_LOG=loud".to_owned(),
            [
                "RUST_LOG: it is not a log filter. Use off, error,",
                "RUST_LOG: no es un filtro de registro. Usa off, error,",
            ],
        ),
        (
            "WOLKVOX_API_URL=http://wolkvox.example".to_owned(),
            [
                "WOLKVOX_API_URL: it is not https (http is allowed on this",
                "WOLKVOX_API_URL: no es https (http solo se permite",
            ],
        ),
        (
            "LOG_FORMAT: json".to_owned(),
            [
                "LOG_FORMAT: line 6 of .env can't be read. Write NAME=value,",
                "LOG_FORMAT: no se puede leer la línea 6 de .env. Escribe NOMBRE=valor,",
            ],
        ),
    ] {
        let folder = Folder::with_lines(&lines);
        for (language, expected) in [ENGLISH, SPANISH].into_iter().zip(expected) {
            let told = told(folder.draft(&[language]));
            assert_eq!(told.len(), 1, "{lines}: {told:?}");
            assert!(told[0].starts_with(expected), "{lines}: {told:?}");
            for secret in [HEX, discord::TOKEN, "two words", "manager.example"] {
                assert!(!told[0].contains(secret), "{lines}: {told:?}");
            }
        }
    }
}

#[test]
fn a_line_that_looks_like_one_of_ours_is_told_once_by_its_number() {
    let folder =
        Folder::with(".env", format!("DISCORD_TOKEN={}\n \nWOLKVOX TOKEN {}\n", discord::TOKEN, wolkvox::TOKEN));
    let told = told(folder.draft(&[ENGLISH]));
    let [line, rest @ ..] = &told[..] else { panic!("{told:?}") };
    assert!(line.starts_with("WOLKVOX_TOKEN: line 3 of .env can't be read. Write NAME=value"), "{told:?}");
    assert!(rest.len() == 3 && rest.iter().all(|line| line.contains(": it is missing")), "{told:?}");
    assert!(!told.join("").contains("WOLKVOX_TOKEN: it is missing") && !told.join("").contains(wolkvox::TOKEN));
}

/// What does not keep a complete configuration from starting, line by line, in both languages.
#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let certificate =
        "KEY=\"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC+==\n-----END PRIVATE KEY-----\"";
    let no_variable = |written: &str, meant: &str| {
        [
            format!("{written}: the bot has no variable of this name. If {meant} is meant, correct it in .env."),
            format!(
                "{written}: el bot no tiene ninguna variable con este nombre. Si querías definir {meant}, corrígelo en .env."
            ),
        ]
    };
    let own = |english: &str, spanish: &str| [english.to_owned(), spanish.to_owned()];
    for (lines, expected) in [
        (
            "MY-KEY=1",
            own(
                ".env: line 6 can't be read and is left out. Write NAME=value, or",
                ".env: la línea 6 no se puede leer y se omite. Escribe",
            ),
        ),
        (
            certificate,
            own(
                ".env: line 7 (+2) can't be read and is left out.",
                ".env: la línea 7 (+2) no se puede leer y se omite.",
            ),
        ),
        ("ALLOWED_ROLE_ID=1", no_variable("ALLOWED_ROLE_ID", "ALLOWED_ROLE_IDS")),
        ("LOG_LEVEL=debug", no_variable("LOG_LEVEL", "RUST_LOG")),
        ("http_proxy=x", no_variable("http_proxy", "HTTPS_PROXY")),
        ("TOGGLE_GUARD=60", no_variable("TOGGLE_GUARD", "TOGGLE_GUARD_SECS")),
        ("AUDIT_CHANEL_ID=\nREPLY_VISIBILTY=private", no_variable("REPLY_VISIBILTY", "REPLY_VISIBILITY")),
        (
            "export RUST_LOG=info\nexport OTHER=1\n export HTTPS_PROXY=proxy.example",
            own(
                "RUST_LOG, HTTPS_PROXY: the line in .env begins with export: systemd drops it and Docker refuses it. Take",
                "RUST_LOG, HTTPS_PROXY: la línea en .env empieza con export: systemd la ignora y Docker la rechaza. Borra",
            ),
        ),
        (
            "RUST_LOG=info\n\nRUST_LOG=debug\nRUST_LOG=\nRUST_LOG=warn",
            own(
                "RUST_LOG: it is set more than once in .env (lines 6, 8, 9, 10); the last one counts. Keep one of these",
                "RUST_LOG: está más de una vez en .env (líneas 6, 8, 9, 10); se usa la última. Deja solo una de esas",
            ),
        ),
        (
            "STATE_FILE=~/wolkvox-bot.db",
            own(
                "STATE_FILE: ~ and variables are not expanded in it",
                "STATE_FILE: en ella no se expanden ni ~ ni variables",
            ),
        ),
        (
            "STATE_FILE=$HOME/wolkvox-bot.db",
            own("STATE_FILE: ~ and variables are", "STATE_FILE: en ella no se expanden"),
        ),
    ] {
        let folder = Folder::with_lines(lines);
        for (language, expected) in [ENGLISH, SPANISH].into_iter().zip(expected) {
            let draft = folder.draft(&[language]);
            let warnings = self::lines(&draft.warnings);
            assert!(warnings.len() == 1 && warnings[0].starts_with(&expected), "{lines}: {warnings:?}");
            draft.finish().expect(lines);
        }
    }
    let overridden = Folder::with_lines("WOLKVOX_SERVER=43\nREPLY_VISIBILTY=private");
    let draft = overridden.draft(&[("WOLKVOX_SERVER", "0044"), ("REPLY_VISIBILITY", "public")]);
    assert_eq!(draft.warnings, [], "what is set elsewhere counts");

    let others = "HTTP_PROXY=x\nhttps_proxy=proxy.example\nDISCORD_API_KEY=x\nDISCORD_WEBHOOK_URL=x\nDISCORD_CLIENT_ID=1\n\
                  WOLKVOX_USER=x\nLOG_LEVEL=x\nRUST_LOG=info\nRUST_BACKTRACE=1\nPORT=1\nAPI_URL=x\nTOGGLE=1";
    let draft = Folder::with_lines(others).draft(&[]);
    assert_eq!(draft.warnings, [], "other programs' names");
    draft.finish().unwrap();
}

#[test]
fn a_server_of_few_digits_may_have_lost_its_zeros() {
    for (server, warned) in
        [("42", true), ("7", true), ("0042", false), ("12345", false), ("wv42", false), ("abc", false)]
    {
        for (language, expected) in [
            (ENGLISH, format!("WOLKVOX_SERVER: {server} has fewer digits than usual; is it {server:0>4}? In YAML,")),
            (SPANISH, format!("WOLKVOX_SERVER: {server} tiene menos cifras de lo usual; ¿es {server:0>4}? En YAML,")),
        ] {
            let draft = draft(&[language, ("WOLKVOX_SERVER", server)]);
            let warnings = lines(&draft.warnings);
            assert_eq!(
                warnings.iter().any(|warning| warning.replace("?. ", "? ").starts_with(&expected)),
                warned,
                "{warnings:?}"
            );
            assert_eq!(warnings.len(), usize::from(warned));
            draft.finish().unwrap();
        }
    }
}

#[test]
fn roles_that_are_older_than_the_server_are_said_to_be_swapped_with_it() {
    let (old, new) = ("1200000000000000002", "1300000000000000003");
    for (guild, roles, warned) in
        [(new, old, true), (old, new, false), (new, "1200000000000000002,1400000000000000004", false)]
    {
        for (language, expected) in [(ENGLISH, "swapped"), (SPANISH, "intercambiados")] {
            let draft = draft(&[language, ("DISCORD_GUILD_ID", guild), ("ALLOWED_ROLE_IDS", roles)]);
            let warnings = lines(&draft.warnings);
            let said =
                |line: &String| line.starts_with("DISCORD_GUILD_ID, ALLOWED_ROLE_IDS: ") && line.contains(expected);
            assert!(
                warnings.len() == usize::from(warned) && warnings.iter().all(said),
                "{guild} {roles}: {warnings:?}"
            );
        }
    }
}

#[test]
fn a_wrong_value_that_hides_another_one_in_the_file_is_said_to_come_from_the_environment() {
    let folder = Folder::with_lines("RUST_LOG=info");
    for (language, expected) in [
        (ENGLISH, "The value comes from the environment, which wins over .env."),
        (SPANISH, "El valor viene del entorno, que prevalece sobre .env."),
    ] {
        let draft = folder.draft(&[language, ("RUST_LOG", "loud"), ("LOG_FORMAT", "xml"), ("WOLKVOX_SERVER", "0042")]);
        assert_eq!(draft.overridden, ["RUST_LOG"]);
        let told = told(draft);
        let said: Vec<bool> = told.iter().map(|line| line.ends_with(expected)).collect();
        assert_eq!(said, [false, true], "{told:?}");
    }
}

#[test]
fn a_missing_variable_is_told_with_the_name_in_the_env_file_that_is_like_it() {
    for (meant, written) in [
        ("WOLKVOX_SERVER", "WOLKVOX_SERVIDOR"),
        ("DISCORD_TOKEN", "DISCORD_TOKENS"),
        ("DISCORD_TOKEN", "BOT_TOKEN"),
        ("WOLKVOX_TOKEN", "WOLVOX_TOKEN"),
        ("ALLOWED_ROLE_IDS", "ALLOWED_ROLE_ID"),
        ("ALLOWED_ROLE_IDS", "allowed_role_ids"),
    ] {
        let folder = Folder::with(".env", env_file("").replace(&format!("{meant}="), &format!("{written}=")));
        let english = format!("{meant}: it is missing, but .env has {written}. If that is meant, correct its name. ");
        let spanish = format!("{meant}: falta, pero en .env está {written}. Si es esa, corrige el nombre. ");
        for (language, expected) in [(ENGLISH, english), (SPANISH, spanish)] {
            let draft = folder.draft(&[language]);
            assert_eq!(draft.warnings, [], "told once");
            let told = told(draft);
            assert!(told.len() == 1 && told[0].starts_with(&expected), "{told:?}");
        }
    }
}

#[test]
fn a_token_is_refused_for_no_other_shape() {
    for token in [
        "7b2263776f6c6b766f782d746f6b656e2d64656164626565667d",
        "12964",
        "a.b.c",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "{braces}",
    ] {
        read(&[("WOLKVOX_TOKEN", token)]).expect(token);
    }
    for token in ["deadbeef", "a.b", discord::TOKEN] {
        read(&[("DISCORD_TOKEN", token)]).expect(token);
    }
}

#[test]
fn values_below_a_copied_example_count_and_are_no_doubles() {
    let example = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/.env.example")).unwrap();
    let folder = Folder::with(".env", format!("{example}\n{}", env_file("")));
    let draft = folder.draft(&[]);
    assert_eq!(draft.warnings, []);
    draft.finish().unwrap();
}

#[test]
fn without_a_file_that_can_be_read_one_message_says_what_was_looked_for_and_where() {
    let empty = Folder(crate::support::Folder::new());
    let txt = Folder::with(".env.txt", env_file(""));
    let other_encoding = Folder::with(".env", b"\xFF\xFED\0I\0");
    let directory = Folder(crate::support::Folder::new());
    std::fs::create_dir(directory.0.join(".env")).unwrap();
    let file = Folder::with("file", "");
    let closed = file.0.join("file");
    for (directory, english, spanish) in [
        (
            &*empty.0,
            "there is no such file in {}. Copy .env.example",
            "no existe ese archivo en {}. Copia .env.example",
        ),
        (
            &txt.0,
            "there is no such file in {}, but one with the name .env.txt. Rename it to .env",
            "no existe ese archivo en {}, pero sí uno llamado .env.txt. Cámbiale el nombre a .env",
        ),
        (&other_encoding.0, "{}/.env is not UTF-8 text. Save it", "{}/.env no es texto UTF-8. Guárdalo"),
        (
            &directory.0,
            "{}/.env is a directory, not a file. Remove it",
            "{}/.env es un directorio, no un archivo. Elimínalo",
        ),
        (
            &closed,
            "{}/.env can't be read (not a directory). Make the file",
            "no se puede leer {}/.env (not a directory). Da",
        ),
    ] {
        for (language, expected) in [(ENGLISH, english), (SPANISH, spanish)] {
            let told = told(draft_in(directory, &[language]));
            assert_eq!(told.len(), 1, "{told:?}");
            let expected = format!(".env: {}", expected.replace("{}", &directory.display().to_string()));
            assert!(told[0].starts_with(&expected), "{told:?}");
        }
        // Whatever the file is, nobody needs it when the environment is complete.
        let complete = complete();
        let environment: Vec<(&str, &str)> = complete.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let draft = draft_in(directory, &environment);
        assert_eq!(draft.warnings.len(), usize::from(directory != &*empty.0), "{:?}", draft.warnings);
        draft.finish().unwrap();
    }
}

#[test]
fn what_is_missing_beside_an_incomplete_environment_is_named_with_where_it_was_looked_for() {
    let folder = Folder(crate::support::Folder::new());
    let complete = complete();
    let some = complete.iter().filter(|(name, _)| **name != "WOLKVOX_TOKEN");
    let mut environment: Vec<(&str, &str)> = some.map(|(name, value)| (*name, value.as_str())).collect();
    environment.push(SPANISH);
    let problems = folder.draft(&environment).finish().unwrap_err();
    assert_eq!(problems.problems.len(), 1, "{problems}");
    let problems = problems.to_string();
    assert!(problems.contains("WOLKVOX_TOKEN: falta."), "{problems}");
    assert!(problems.contains(&format!("no hay un archivo .env en {}.", folder.0.display())), "{problems}");
}

#[test]
fn the_first_locale_that_is_set_decides_the_language() {
    for (locales, spanish) in [
        (vec![], false),
        (vec![("LANG", "es_CO.UTF-8")], true),
        (vec![("LANG", "es")], true),
        (vec![("LANG", "pt_BR.UTF-8")], false),
        (vec![("LC_MESSAGES", "es_MX"), ("LANG", "en_US.UTF-8")], true),
        (vec![("LC_ALL", "C"), ("LC_MESSAGES", "es_MX"), ("LANG", "es_MX")], false),
        (vec![("LC_ALL", ""), ("LANG", "es_ES@euro")], true),
    ] {
        let problems = read(&[&locales[..], &[("WOLKVOX_TOKEN", "")]].concat()).unwrap_err();
        assert_eq!(problems.problems[0].problem, if spanish { "falta" } else { "it is missing" }, "{locales:?}");
    }
}

#[tokio::test]
async fn the_process_speaks_spanish_or_english_as_its_environment_says() {
    for (locales, usage) in [
        (vec![], "Usage: wolkvox-bot"),
        (vec![("LC_MESSAGES", "es_MX.UTF-8"), ("LANG", "en_US.UTF-8")], "Uso: wolkvox-bot"),
        (vec![("LC_ALL", "C.UTF-8"), ("LC_MESSAGES", "es_MX"), ("LANG", "es_MX")], "Usage: wolkvox-bot"),
        (vec![("LC_ALL", "es_AR.UTF-8"), ("LANG", "C")], "Uso: wolkvox-bot"),
    ] {
        let variables = locales.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let mut process = Process::start(&variables, &["--help"]);
        assert_eq!(process.ended().await.0, Some(0));
        assert!(process.log.text().contains(usage), "{locales:?}: {}", process.log.text());
    }
}

#[tokio::test]
async fn a_wrong_token_ends_the_process_with_an_error_that_names_the_variable() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    let mut variables = variables(&discord, &wolkvox);
    variables.insert("DISCORD_TOKEN", "a-wrong-one".to_owned());
    let (code, told) = Process::start(&variables, &[]).ended().await;
    assert_eq!(code, Some(2));
    assert!(told.contains("DISCORD_TOKEN: Discord does not accept it."), "{told}");
}

#[tokio::test]
async fn in_a_spanish_locale_it_says_in_spanish_why_it_can_not_start() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    for (change, code, expected) in [
        (
            ("DISCORD_TOKEN", "wrong"),
            2,
            "wolkvox-bot terminó. DISCORD_TOKEN: Discord no lo acepta.\n    Cópialo de nuevo",
        ),
        (("DISCORD_GUILD_ID", "4711000000000000000"), 2, "DISCORD_GUILD_ID: el bot no está en ese servidor"),
        (
            ("DISCORD_GUILD_ID", "42"),
            2,
            "wolkvox-bot no puede iniciar. Hay que corregir esta configuración:\n\n  DISCORD_",
        ),
    ] {
        let mut variables = variables(&discord, &wolkvox);
        variables.extend([("LC_ALL", "es_AR.UTF-8".to_owned()), (change.0, change.1.to_owned())]);
        let (ended, told) = Process::start(&variables, &[]).ended().await;
        assert_eq!(ended, Some(code), "{told}");
        assert!(told.contains(expected), "{told}");
    }
    let spanish = HashMap::from([("LANG", "es_CO.UTF-8".to_owned())]);
    let (_, told) = Process::start(&spanish, &[]).ended().await;
    assert!(told.contains("Copia .env.example como .env") && told.contains("cargo run --example sandbox"), "{told}");
    let (_, told) = Process::start(&spanish, &["chek"]).ended().await;
    assert!(told.contains("argumento desconocido: \"chek\". Prueba: wolkvox-bot --help"), "{told}");
    let mut process = Process::start(&spanish, &["--help"]);
    assert_eq!(process.ended().await.0, Some(0));
    let help = process.log.text();
    assert!(help.contains("Uso: wolkvox-bot") && help.contains(".github/README.es.md"), "{help}");
}

#[tokio::test]
async fn help_version_and_unknown_arguments_work_as_people_expect() {
    for (argument, code, expected) in [
        ("--help", 0, "Usage: wolkvox-bot"),
        ("-h", 0, "wolkvox-bot check"),
        ("--version", 0, concat!("wolkvox-bot ", env!("CARGO_PKG_VERSION"))),
        ("-V", 0, "wolkvox-bot "),
        ("chek", 2, "unknown argument \"chek\". Try: wolkvox-bot --help"),
        ("--verbose", 2, "Try: wolkvox-bot --help"),
    ] {
        let mut process = Process::start(&HashMap::new(), &[argument]);
        let (ended, told) = process.ended().await;
        assert_eq!(ended, Some(code), "{argument}");
        let printed = if code == 0 { process.log.text() } else { told };
        assert!(printed.contains(expected), "{argument}: {printed}");
    }
}

#[tokio::test]
async fn help_and_version_end_quietly_where_nobody_reads_them_and_with_one_line_where_they_can_not_be_written() {
    for argument in ["--help", "--version"] {
        let [mut closed, mut full] = Process::start_unprinted(&HashMap::new(), &[argument]);
        assert_eq!(closed.ended().await, (Some(0), String::new()));
        let (code, told) = full.ended().await;
        assert_eq!(code, Some(1));
        assert_eq!(told, "wolkvox-bot: the output can't be written: No space left on device (os error 28)\n");
    }
}
