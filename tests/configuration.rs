//! The configuration: every mistake at once, named and with its remedy, and never a value.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use wolkvox_bot::config::{Config, Draft, Problems, VARIABLES};
use wolkvox_bot::discord::Visibility;

use crate::support::bot::{Process, variables};
use crate::support::discord::{self, Discord};
use crate::support::wolkvox::{self, Wolkvox};

fn complete() -> HashMap<&'static str, String> {
    HashMap::from([
        ("DISCORD_TOKEN", "discord-secret".to_owned()),
        ("DISCORD_GUILD_ID", "1200000000000000002".to_owned()),
        ("ALLOWED_ROLE_IDS", "1300000000000000003".to_owned()),
        ("WOLKVOX_SERVER", "0042".to_owned()),
        ("WOLKVOX_TOKEN", "wolkvox-secret".to_owned()),
    ])
}

fn read(change: &[(&'static str, &str)]) -> Result<Config, Problems> {
    let mut variables = complete();
    variables.extend(change.iter().map(|(name, value)| (*name, (*value).to_owned())));
    Draft::from_lookup(|name| variables.get(name).cloned()).finish()
}

/// A folder of its own, which goes with the test.
struct Folder(crate::support::Folder);

impl Folder {
    fn empty() -> Self {
        Self(crate::support::Folder::new())
    }

    fn with(name: &str, contents: impl AsRef<[u8]>) -> Self {
        let folder = Self::empty();
        std::fs::write(folder.0.join(name), contents).unwrap();
        folder
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

/// A whole `.env`, with these lines below.
fn env_file(lines: &str) -> String {
    let complete: String = complete().iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    complete + lines + "\n"
}

const ENGLISH: (&str, &str) = ("LANG", "C.UTF-8");
const SPANISH: (&str, &str) = ("LANG", "es_CO.UTF-8");

/// The problems of a draft, as they are printed.
fn told(draft: Draft) -> Vec<String> {
    let problems = draft.finish().err().map(|problems| problems.problems).unwrap_or_default();
    problems.iter().map(ToString::to_string).collect()
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
fn each_wrong_value_is_refused_and_never_shown() {
    for (name, values) in [
        ("DISCORD_TOKEN", vec!["two words", "\"half", "línea"]),
        (
            "DISCORD_GUILD_ID",
            vec!["0", "-1", "abc", "42", "1200000000000000", "0000000000000000042", "99999999999999999999999", "1.5"],
        ),
        ("ALLOWED_ROLE_IDS", vec!["0", "Supervisor", "1300000000000000003,4711", ",", "1200000000000000002"]),
        (
            "WOLKVOX_SERVER",
            vec!["00 42", "wv.evil.example", "a/b", "42@x", "01234567890123456", "münchen", "a-b", "wv"],
        ),
        (
            "WOLKVOX_SERVER",
            vec![
                "https://wolkvox.com/",
                "https://wv.wolkvox.com/",
                "https://www.wolkvox.com/",
                "https://wv0042.wolkvox.com.evil.example/",
                "https://evil.example/wv0042.wolkvox.com",
                "https://wv0042.evil.example#.wolkvox.com",
            ],
        ),
        ("WOLKVOX_TOKEN", vec!["two words", "line\u{7}break"]),
        ("WOLKVOX_TIMEOUT_SECS", vec!["0", "121", "1.5", "-1", "sixty", "60s"]),
        ("TOGGLE_GUARD_SECS", vec!["601", "-1", "x"]),
        ("REPLY_VISIBILITY", vec!["secret", "true"]),
        ("AUDIT_CHANNEL_ID", vec!["0", "#audit"]),
        ("AGENT_DIRECTORY", vec!["maybe", "1"]),
        ("LOG_FORMAT", vec!["xml"]),
        ("RUST_LOG", vec!["verbose", "info,foo=loud", "=info", "a b=info"]),
        (
            "HTTPS_PROXY",
            vec![
                "two words",
                "socks5://proxy.example:1080",
                "http://proxy.example:99999",
                "http://ana:hunter/2@proxy.example:3128",
                "http://ana:12#34@proxy.example:3128",
                "proxy.example:3128 # the office",
            ],
        ),
        (
            "DISCORD_API_URL",
            vec![
                "http://discord.example",
                "ftp://127.0.0.1",
                "discord.com",
                "https://u:p@x.example",
                "https://x.example/?a=b",
            ],
        ),
        ("WOLKVOX_API_URL", vec!["http://192.168.1.4", "http://localhost.evil.example", "https://x.example/#f", "//x"]),
    ] {
        for value in values {
            let problems = read(&[(name, value)]).expect_err(value);
            assert_eq!(problems.problems.len(), 1, "{name}={value}: {problems}");
            assert_eq!(problems.problems[0].variable, name);
            assert!(!problems.problems[0].problem.is_empty() && !problems.problems[0].remedy.is_empty());
            if value.len() > 3 {
                assert!(!problems.to_string().contains(value), "{name}={value}: {problems}");
            }
        }
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
    let folder = Folder::with(".env", env_file("https_proxy=http://ana:secret@file-lower.example:1\nHTTPS_PROXY=\n"));
    for (environment, expected) in [
        (vec![], "http://file-lower.example:1"),
        (vec![("HTTPS_PROXY", " "), ("https_proxy", "lower.example:2")], "http://lower.example:2"),
        (vec![("HTTPS_PROXY", "\"upper.example:3\""), ("https_proxy", "lower.example:2")], "http://upper.example:3"),
    ] {
        assert_eq!(proxy(folder.draft(&environment)).as_deref(), Some(expected), "{environment:?}");
    }
    let folder = Folder::with(".env", env_file("https_proxy=lower.example:2\nHTTPS_PROXY=upper.example:3"));
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
    assert!(!told.contains("Copy .env.example") && !told.contains("secret") && !told.contains("my-server"), "{told}");
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

#[tokio::test]
async fn a_line_of_the_env_file_that_can_not_be_read_is_told_by_its_number() {
    let env = format!("DISCORD_TOKEN={}\n \nWOLKVOX TOKEN {}\n", discord::TOKEN, wolkvox::TOKEN);
    let folder = Folder::with(".env", env);
    let (code, told) = Process::start_in(&folder.0, &HashMap::new(), &[]).ended().await;
    assert_eq!(code, Some(2));
    assert!(told.contains("  WOLKVOX_TOKEN: line 3 of .env can't be read.\n      Write NAME=value"), "{told}");
    assert!(!told.contains("WOLKVOX_TOKEN: it is missing") && !told.contains(".env: "), "told once: {told}");
    assert!(!told.contains(wolkvox::TOKEN) && !told.contains(discord::TOKEN), "{told}");
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
    let hex = "7b2263776f6c6b766f782d746f6b656e2d64656164626565667d";
    for (lines, english, spanish) in [
        (
            "AUDIT_CHANNEL_ID=#mute-audit".to_owned(),
            "AUDIT_CHANNEL_ID: it is not an id: that is a number of 17 to 20 digits, not a name. In Discord, with the \
             developer mode on, right-click the channel, \"Copy Channel ID\"; or leave the variable out, if you want \
             no such channel.",
            "AUDIT_CHANNEL_ID: no es un ID: se escribe el número de 17 a 20 dígitos, no el nombre. En Discord, con el \
             modo desarrollador activado, haz clic derecho en el canal, \"Copiar ID del canal\"; o borra la variable si \
             no quieres ese canal.",
        ),
        (
            "DISCORD_GUILD_ID=42".to_owned(),
            "DISCORD_GUILD_ID: it is not an id: that is a number of 17 to 20 digits, not a name. In Discord, switch on \
             the developer",
            "DISCORD_GUILD_ID: no es un ID: se escribe el número de 17 a 20 dígitos, no el nombre. En Discord, activa \
             el",
        ),
        (
            "ALLOWED_ROLE_IDS=1300000000000000003, Supervisor".to_owned(),
            "ALLOWED_ROLE_IDS: entry 2 is not an id: that is a number of 17 to 20 digits, not the role's name. In \
             Discord, open the server's",
            "ALLOWED_ROLE_IDS: el elemento 2 no es un ID: se escribe el número de 17 a 20 dígitos, no el nombre del \
             rol. En Discord, abre los",
        ),
        (
            "ALLOWED_ROLE_IDS=1200000000000000002".to_owned(),
            "ALLOWED_ROLE_IDS: it names the id in DISCORD_GUILD_ID, the server's own, which is the role of everyone.",
            "ALLOWED_ROLE_IDS: nombra el ID que está en DISCORD_GUILD_ID, el del propio servidor, que es el rol de todos.",
        ),
        (
            "WOLKVOX_SERVER=https://manager.example/".to_owned(),
            "WOLKVOX_SERVER: it is neither a server's code, which has 1 to 16 letters or digits, nor the address of a \
             Wolkvox Manager. It is the part after \"wv\"",
            "WOLKVOX_SERVER: no es ni el código de un servidor, que tiene de 1 a 16 letras o dígitos, ni la dirección \
             de un Wolkvox Manager. Es la parte que sigue a \"wv\"",
        ),
        (
            tokens(hex, discord::TOKEN),
            "DISCORD_TOKEN, WOLKVOX_TOKEN: the two tokens are swapped. Put each in the place of the other.",
            "DISCORD_TOKEN, WOLKVOX_TOKEN: los dos tokens están intercambiados. Pon cada uno en el lugar del otro.",
        ),
        (
            // A Wolkvox token of a shape not seen so far.
            tokens("wolkvox-secret", discord::TOKEN),
            "DISCORD_TOKEN, WOLKVOX_TOKEN: the two tokens are swapped. Put each in the place of the other.",
            "DISCORD_TOKEN, WOLKVOX_TOKEN: los dos tokens están intercambiados. Pon cada uno en el lugar del otro.",
        ),
        (
            tokens(discord::TOKEN, discord::TOKEN),
            "WOLKVOX_TOKEN: it is a token of Discord, not of Wolkvox. Make one in Wolkvox Manager",
            "WOLKVOX_TOKEN: es un token de Discord, no de Wolkvox. Créalo en Wolkvox Manager",
        ),
        (
            tokens(hex, hex),
            "DISCORD_TOKEN: it is a token of Wolkvox or the application's Public Key, not the bot's token. Copy",
            "DISCORD_TOKEN: es un token de Wolkvox o la clave pública (Public Key) de la aplicación, no el token del \
             bot. Cópialo de",
        ),
        (
            "WOLKVOX_TOKEN=two words".to_owned(),
            "WOLKVOX_TOKEN: it contains a space, a quotation mark or another character that no token has. Make one",
            "WOLKVOX_TOKEN: contiene un espacio, una comilla u otro carácter que ningún token tiene. Créalo",
        ),
        (
            "WOLKVOX_TOKEN=".to_owned(),
            "WOLKVOX_TOKEN: it is set more than once in .env (lines ",
            "WOLKVOX_TOKEN: está más de una vez en .env (líneas ",
        ),
        (
            "TOGGLE_GUARD_SECS=60 # a minute".to_owned(),
            "TOGGLE_GUARD_SECS: it is not a whole number from 0 to 600. Give whole seconds from 0 to 600, or leave it \
             out for 30. A comment needs a line of its own.",
            "TOGGLE_GUARD_SECS: no es un número entero de 0 a 600. Escribe segundos enteros de 0 a 600, o borra la \
             variable para usar 30. Un comentario va en su propia línea.",
        ),
        (
            "REPLY_VISIBILITY=secret".to_owned(),
            "REPLY_VISIBILITY: it is neither public nor private. Use public or private, or leave it out for public.",
            "REPLY_VISIBILITY: no es ni public ni private. Usa public o private, o borra la variable para usar public.",
        ),
        (
            "RUST_LOG=loud".to_owned(),
            "RUST_LOG: it is not a log filter. Use off, error,",
            "RUST_LOG: no es un filtro de registro. Usa off, error,",
        ),
        (
            "WOLKVOX_API_URL=http://wolkvox.example".to_owned(),
            "WOLKVOX_API_URL: it is not https (http is allowed on this machine itself only, because the token travels \
             there). Give an address",
            "WOLKVOX_API_URL: no es https (http solo se permite dentro de esta misma máquina, porque el token viaja \
             hasta allí). Escribe una dirección",
        ),
        (
            "LOG_FORMAT: json".to_owned(),
            "LOG_FORMAT: line 6 of .env can't be read. Write NAME=value;",
            "LOG_FORMAT: no se puede leer la línea 6 de .env. Escribe NOMBRE=valor;",
        ),
        (
            "what is this".to_owned(),
            ".env: line 6 of .env can't be read. Write NAME=value;",
            ".env: no se puede leer la línea 6 de .env. Escribe NOMBRE=valor;",
        ),
    ] {
        let folder = Folder::with(".env", env_file(&lines));
        for (language, expected) in [(ENGLISH, english), (SPANISH, spanish)] {
            let told = told(folder.draft(&[language]));
            assert_eq!(told.len(), 1, "{lines}: {told:?}");
            assert!(told[0].starts_with(expected), "{lines}: {told:?}");
            for secret in [hex, discord::TOKEN, "mute-audit", "two words", "what is this", "manager.example"] {
                assert!(!told[0].contains(secret), "{lines}: {told:?}");
            }
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
fn the_last_of_two_assignments_counts_and_doubles_are_named() {
    let folder = Folder::with(".env", env_file("WOLKVOX_SERVER=0043\nRUST_LOG=info\n\nRUST_LOG=debug\nRUST_LOG=warn"));
    for (language, expected) in [
        (
            ENGLISH,
            "RUST_LOG: it is set more than once in .env (lines 7, 9, 10); the last one counts. Keep one of these \
             lines.",
        ),
        (
            SPANISH,
            "RUST_LOG: está más de una vez en .env (líneas 7, 9, 10); se usa la última. Deja solo una de esas líneas.",
        ),
    ] {
        let draft = folder.draft(&[language]);
        let warnings: Vec<String> = draft.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].starts_with("WOLKVOX_SERVER: "), "{warnings:?}");
        assert_eq!(warnings[1], expected);
        let config = draft.finish().unwrap();
        assert_eq!(config.wolkvox.base.join("x").as_str(), "https://wv0043.wolkvox.com/x");
    }
    let overridden = folder.draft(&[("WOLKVOX_SERVER", "0044"), ("RUST_LOG", "info")]);
    assert_eq!(overridden.warnings, []);
}

#[test]
fn a_misspelt_name_in_the_env_file_is_pointed_out_and_names_of_other_programs_are_not() {
    for (meant, written) in [
        ("WOLKVOX_SERVER", "WOLKVOX_SERVIDOR"),
        ("DISCORD_TOKEN", "DISCORD_TOKENS"),
        ("WOLKVOX_TOKEN", "WOLVOX_TOKEN"),
        ("ALLOWED_ROLE_IDS", "allowed_role_ids"),
    ] {
        let folder = Folder::with(".env", env_file("").replace(&format!("{meant}="), &format!("{written}=")));
        let english = format!("{meant}: it is missing, but .env has {written}. If that is meant, correct its name. ");
        let spanish = format!("{meant}: falta, pero en .env está {written}. Si es esa, corrige el nombre. ");
        for (language, expected) in [(ENGLISH, english), (SPANISH, spanish)] {
            let told = told(folder.draft(&[language]));
            assert!(told.len() == 1 && told[0].starts_with(&expected), "{told:?}");
        }
    }

    let folder = Folder::with(".env", env_file("REPLY_VISIBILTY=private\nAUDIT_CHANEL_ID="));
    for (language, expected) in [
        (
            ENGLISH,
            "REPLY_VISIBILTY: the bot has no variable of this name. If REPLY_VISIBILITY is meant, correct it in .env.",
        ),
        (
            SPANISH,
            "REPLY_VISIBILTY: el bot no tiene ninguna variable con este nombre. Si querías definir REPLY_VISIBILITY, \
             corrígelo en .env.",
        ),
    ] {
        let draft = folder.draft(&[language]);
        assert_eq!(draft.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
        draft.finish().unwrap();
    }
    assert_eq!(folder.draft(&[("REPLY_VISIBILITY", "public")]).warnings, [], "it is set elsewhere");

    let others = "HTTP_PROXY=x\nhttps_proxy=proxy.example\nDISCORD_API_KEY=x\nDISCORD_TOKENS=x\nDISCORD_WEBHOOK_URL=x\n\
                  WOLKVOX_USER=x\nLOG_LEVEL=x\nRUST_BACKTRACE=1\nPORT=1";
    let draft = Folder::with(".env", env_file(others)).draft(&[]);
    assert_eq!(draft.warnings, []);
    draft.finish().unwrap();
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
    let empty = Folder::empty();
    let txt = Folder::with(".env.txt", env_file(""));
    let other_encoding = Folder::with(".env", b"\xFF\xFED\0I\0");
    let directory = Folder::empty();
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
    let folder = Folder::empty();
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
