//! The configuration: every mistake at once, named and with its remedy, and never a value.

use std::collections::HashMap;
use std::path::PathBuf;
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

/// A folder of its own, with this `.env`.
fn folder(env: &[u8]) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("wolkvox-bot-test-{}", fastrand::u64(..)));
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join(".env"), env).unwrap();
    folder
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
        ("DISCORD_TOKEN", vec!["two words", "\"quoted\"", "línea"]),
        ("DISCORD_GUILD_ID", vec!["0", "-1", "abc", "12x", "99999999999999999999999", "1.5"]),
        ("ALLOWED_ROLE_IDS", vec!["0", "Supervisor", "1300000000000000003,x", ",", "1200000000000000002"]),
        ("WOLKVOX_SERVER", vec!["00 42", "wv.evil.example", "a/b", "42@x", "01234567890123456", "münchen", "a-b"]),
        ("WOLKVOX_TOKEN", vec!["two words", "line\u{7}break"]),
        ("WOLKVOX_TIMEOUT_SECS", vec!["0", "121", "1.5", "-1", "sixty", "60s"]),
        ("TOGGLE_GUARD_SECS", vec!["601", "-1", "x"]),
        ("REPLY_VISIBILITY", vec!["secret", "true"]),
        ("AUDIT_CHANNEL_ID", vec!["0", "#audit"]),
        ("AGENT_DIRECTORY", vec!["maybe", "1"]),
        ("LOG_FORMAT", vec!["xml"]),
        ("RUST_LOG", vec!["verbose", "info,foo=loud", "=info", "a b=info"]),
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
    let shown = format!("{:?}", read(&[]).unwrap());
    assert!(!shown.contains("discord-secret") && !shown.contains("wolkvox-secret"), "{shown}");
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
    let folder = folder(env.as_bytes());
    let mut process = Process::start_in(&folder, &real, &[]);
    process
        .runs(async {
            discord.until_ready(1).await;
            discord.reply(discord.mute(&discord::supervisor(), 1001)).await;
        })
        .await;
    assert_eq!(wolkvox.toggles(1001), 1);
    drop(process);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_line_of_the_env_file_that_can_not_be_read_is_told_by_its_number() {
    let env = format!("DISCORD_TOKEN={}\nWOLKVOX TOKEN {}\n", discord::TOKEN, wolkvox::TOKEN);
    let not_text = [b"WOLKVOX_TOKEN=".as_slice(), b"\xFF\xFE"].concat();
    for (env, expected) in
        [(env.as_bytes(), "  .env: line 2 can't be read."), (&not_text, "  .env: the file is not UTF-8")]
    {
        let folder = folder(env);
        let (code, told) = Process::start_in(&folder, &HashMap::new(), &[]).ended().await;
        assert_eq!(code, Some(2));
        assert!(told.contains(expected), "{told}");
        assert!(!told.contains(wolkvox::TOKEN) && !told.contains(discord::TOKEN), "{told}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}

#[tokio::test]
async fn a_wrong_token_ends_the_process_with_an_error_that_names_the_variable() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    let mut variables = variables(&discord, &wolkvox);
    variables.insert("DISCORD_TOKEN", "a-wrong-one".to_owned());
    let (code, told) = Process::start(&variables, &[]).ended().await;
    assert_eq!(code, Some(1));
    assert!(told.contains("DISCORD_TOKEN: Discord does not accept it."), "{told}");
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
