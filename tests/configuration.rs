//! The configuration: every mistake at once, named and with its remedy, and no secret shown.

use std::collections::HashMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use serenity::model::id::RoleId;
use wolkvox_bot::config::{Config, Draft, Problems, VARIABLES};
use wolkvox_bot::discord::Visibility;
use wolkvox_bot::language::Language;

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
    Draft::from_sources(|name| variables.get(name).cloned(), Path::new("/nowhere"))
}

fn read(change: &[(&'static str, &str)]) -> Result<Config, Problems> {
    draft(change).finish()
}

/// A folder of its own, which goes with the test.
struct Folder(crate::support::Folder);

impl Folder {
    fn with(name: &str, contents: impl AsRef<[u8]>) -> Self {
        let folder = Self(crate::support::Folder::new());
        let file = folder.0.join(name);
        std::fs::write(&file, contents).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
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

/// The problems of a draft, as they are printed.
fn told(draft: Draft) -> Vec<String> {
    draft.finish().err().map(|problems| problems.problems).unwrap_or_default()
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
        ("DISCORD_API_URL", "http://discord.example|ftp://127.0.0.1|discord.com/|https://u:p@x.example"),
        ("DISCORD_API_URL", "https://x.example/?a=b"),
        ("WOLKVOX_API_URL", "http://192.168.1.4|http://localhost.evil.example|https://x.example/#f|//x"),
    ] {
        for value in values.split('|') {
            let problems = read(&[(name, value)]).expect_err(value);
            assert_eq!(problems.problems.len(), 1, "{name}={value}: {problems}");
            assert!(problems.problems[0].starts_with(&format!("{name}: ")), "{problems}");
            if value.len() > 3 && !name.contains("_ID") {
                assert!(!problems.to_string().contains(value), "{name}={value}: {problems}");
            }
        }
        // A token or a password in the wrong line.
        for secret in [discord::TOKEN, wolkvox::TOKEN, HEX, "s3cret", "correcthorsebatterystaple"] {
            let problems = told(draft(&[(name, secret)])).join(" ");
            assert!(!problems.contains(secret), "{name}: {problems}");
        }
    }
}

/// What surrounds, fills and separates values where they are copied from.
#[test]
fn values_are_found_in_what_people_paste() {
    for around in [
        '\u{200B}', '\u{200F}', '\u{202A}', '\u{202E}', '\u{2060}', '\u{2069}', '\u{FEFF}', '\u{AD}', '\u{A0}',
        '\u{3000}',
    ] {
        let around = &*around.to_string();
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
                assert_eq!(config.allowlist.guild().to_string(), "1200000000000000002");
                assert_eq!(config.allowlist.roles(), [RoleId::new(1300000000000000003)]);
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
    let both = [one, other].map(|id| id.parse::<RoleId>().unwrap());
    for list in ["1,2", "1;2", "1 2", "1\n2", "1\u{3000}2", "<@&1> <@&2>", "\"1\",\"2\"", "['1', '2']", "“1” ; ”2”,,"]
    {
        let written = list.replace('1', one).replace('2', other);
        let roles = read(&[("ALLOWED_ROLE_IDS", &written)]).expect(&written).allowlist.roles().to_vec();
        assert_eq!(roles, both, "{written}");
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
    assert!(problems.problems[0].starts_with("WOLKVOX_TOKEN: it is missing. "), "{problems}");
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
    let named: Vec<_> = told.lines().filter_map(|line| line.strip_prefix("  ")?.split(':').next()).collect();
    let needed: Vec<_> = VARIABLES.iter().filter(|variable| variable.required).map(|variable| variable.name).collect();
    assert_eq!(named, needed, "in the order of .env.example: {told}");
    assert!(told.contains("Copy .env.example to .env"), "{told}");
    assert!(told.contains(concat!("sandbox without credentials: ", env!("CARGO_PKG_REPOSITORY"))), "{told}");
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
    assert!(!told.contains("secret"), "{told}");
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
            let folder = Folder::with_lines(&format!("WOLKVOX_TOKEN={written}\r"));
            let from_file = folder.draft(&[]).finish().unwrap();
            assert_eq!(from_file.wolkvox.token.expose_secret(), value, "{written}");
            // As Docker's --env-file hands it over.
            let from_environment = read(&[("WOLKVOX_TOKEN", &written)]).unwrap();
            assert_eq!(from_environment.wolkvox.token.expose_secret(), value, "{written}");
        }
    }
    let config = Folder::with_lines(" export  DISCORD_TOKEN = Bot discord-secret").draft(&[]).finish().unwrap();
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

/// `settings.txt` has settings and what is said of them, in English and in Spanish: `>` is a line of `.env`, `$` one of
/// the environment, `-` takes a variable of the complete configuration away. `UPDATE_SETTINGS=1 cargo test configuration`
/// writes what is said anew.
#[test]
fn what_is_said_of_settings_is_what_was_reviewed() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/settings.txt");
    let reviewed = std::fs::read_to_string(path).unwrap();
    let now = reviewed.trim_end().split("\n\n").map(said_of).collect::<Vec<_>>().join("\n\n") + "\n";
    if std::env::var_os("UPDATE_SETTINGS").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    for (now, then) in now.split("\n\n").zip(reviewed.split("\n\n")) {
        assert_eq!(now, then, "UPDATE_SETTINGS=1 cargo test configuration");
    }
    assert!(!now.contains(HEX) && !now.contains(discord::TOKEN));
}

/// The settings of this block, with what is said of them now.
fn said_of(block: &str) -> String {
    let (settings, _) = block.split_once("\n  ").unwrap_or((block, ""));
    let (mut env, mut environment, mut base) = (String::new(), Vec::new(), complete());
    for line in settings.lines() {
        let (kind, text) = line.split_at(2);
        let text = text.replace("{hex}", HEX).replace("{discord}", discord::TOKEN);
        let name = text.split('=').next().unwrap().to_owned();
        base.remove(&*name);
        match kind {
            "> " => env += &(text + "\n"),
            "$ " => environment.push((name.clone(), text[name.len() + 1..].to_owned())),
            "- " => {}
            _ => panic!("{line}"),
        }
    }
    env.extend(base.iter().map(|(name, value)| format!("{name}={value}\n")));
    let folder = Folder::with(".env", env);
    let mut said = settings.to_owned();
    for language in [ENGLISH, SPANISH] {
        let environment = environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let draft = folder.draft(&environment.chain([language]).collect::<Vec<_>>());
        said.extend(draft.warnings.iter().map(|warning| format!("\n  warning: {warning}")));
        said.extend(told(draft).iter().map(|problem| format!("\n  error: {problem}")));
    }
    said
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
    assert!(draft.warnings.is_empty(), "{:?}", draft.warnings);
    draft.finish().unwrap();
}

#[test]
fn other_encodings_in_comments_and_other_programs_lines_keep_nothing_from_being_read() {
    let comment = b"# contrase\xF1a\nOTHER=ma\xF1ana\n";
    let folder = Folder::with(".env", [comment, env_file("").as_bytes()].concat());
    let draft = folder.draft(&[ENGLISH]);
    assert!(draft.warnings.len() == 1 && draft.warnings[0].starts_with(".env: line 2 is not NAME=value."));
    draft.finish().unwrap();
    let folder = Folder::with(".env", [env_file("").as_bytes(), b"\nSTATE_FILE=/srv/espa\xF1a.db"].concat());
    let told = told(folder.draft(&[ENGLISH]));
    assert!(told.len() == 1 && told[0].starts_with("STATE_FILE: line "), "{told:?}");
}

#[test]
fn why_there_is_no_file_is_said_where_it_may_be_needed() {
    let other_encoding = Folder::with(".env", b"\xFF\xFED\0I\0");
    let directory = Folder(crate::support::Folder::new());
    std::fs::create_dir(directory.0.join(".env")).unwrap();
    let file = Folder::with("file", "");
    let complete = complete();
    let complete: Vec<(&str, &str)> = complete.iter().map(|(name, value)| (*name, value.as_str())).collect();
    for (directory, kind, kind_in_spanish) in [
        (&*other_encoding.0, "invalid data", "no es texto UTF-8"),
        (&directory.0, "is a directory", "es una carpeta"),
        (&file.0.join("file"), "not a directory", "una parte de la ruta no es una carpeta"),
    ] {
        let path = directory.join(".env").display().to_string();
        for (language, expected) in [
            (ENGLISH, format!(".env: {path} can't be read ({kind}). Make it UTF-8 text")),
            (SPANISH, format!(".env: no se puede leer {path} ({kind_in_spanish}). Debe ser texto UTF-8")),
        ] {
            let told = told(draft_in(directory, &[language]));
            assert!(told.len() == 1 && told[0].starts_with(&expected), "{told:?}");
        }
        // Nobody needs it where the environment is complete.
        let draft = draft_in(directory, &complete);
        assert_eq!(draft.warnings.len(), 1, "{:?}", draft.warnings);
        draft.finish().unwrap();
    }
}

#[test]
fn nobody_is_sent_to_env_whose_settings_came_from_elsewhere() {
    let folder = Folder(crate::support::Folder::new());
    let mut complete = complete();
    let all: Vec<(&str, &str)> = complete.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let draft = folder.draft(&all);
    assert!(draft.warnings.is_empty() && draft.finish().is_ok());
    complete.remove("WOLKVOX_TOKEN");
    let some = complete.iter().map(|(name, value)| (*name, value.as_str()));
    let problems = folder.draft(&some.chain([SPANISH]).collect::<Vec<_>>()).finish().unwrap_err();
    assert_eq!(problems.problems.len(), 1, "{problems}");
    let problems = problems.to_string();
    assert!(problems.contains("WOLKVOX_TOKEN: falta."), "{problems}");
    assert!(!problems.contains("/.env no existe"), "{problems}");
    // A copy of the example that nobody filled in, as Docker or systemd hands it on.
    let blank: Vec<_> = VARIABLES.iter().map(|variable| (variable.name, "")).collect();
    let problems = folder.draft(&blank).finish().unwrap_err().to_string();
    assert!(!problems.contains("/.env does not exist"), "{problems}");
    // A proxy of all programs' says nothing of ours.
    let problems = folder.draft(&[SPANISH, ("HTTPS_PROXY", "http://proxy.example:3128")]).finish().unwrap_err();
    let problems = problems.to_string();
    assert!(problems.contains(&format!("{}/.env no existe. Copia .env.example", folder.0.display())), "{problems}");
}

#[test]
fn the_language_may_stand_among_the_settings() {
    let folder = Folder::with_lines("LC_ALL=es");
    for (environment, spanish) in [(vec![("LANG", "C.UTF-8")], true), (vec![("LC_ALL", "C")], false)] {
        let draft = folder.draft(&environment);
        assert_eq!(draft.language == Language::Spanish, spanish, "{environment:?}");
    }
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
        assert_eq!(problems.problems[0].contains("falta"), spanish, "{locales:?}");
    }
}
