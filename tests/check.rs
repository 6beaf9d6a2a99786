//! `wolkvox-bot check`: everything but a microphone.

use std::collections::HashMap;

use serde_json::json;

use crate::support::bot::{Process, World, check_secrets, check_stand_ins, draft, variables};
use crate::support::discord::{APPLICATION, AUDIT_CHANNEL, Discord, SUPERVISOR_ROLE};
use crate::support::http::Answer;
use crate::support::wolkvox::{self, Wolkvox};

struct Checked {
    code: Option<i32>,
    printed: String,
}

async fn check(discord: &Discord, wolkvox: &Wolkvox, change: &[(&'static str, &str)]) -> Checked {
    let mut variables: HashMap<&'static str, String> = variables(discord, wolkvox);
    variables.extend(change.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let mut process = Process::start(&variables, &["check"]);
    let (code, errors) = process.ended().await;
    assert_eq!(errors, "");
    let printed = process.log.text();
    assert!(printed.lines().count() > 1, "{printed}");
    check_secrets(&printed);
    Checked { code, printed }
}

#[tokio::test]
async fn all_is_well() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    discord.state(|state| state.commands = Some(json!([{"id": "1", "name": "mute"}])));
    let checked = check(&discord, &wolkvox, &[("AUDIT_CHANNEL_ID", &AUDIT_CHANNEL.to_string())]).await;
    assert_eq!(
        checked.printed,
        format!(
            "ok    Configuration: complete\n\
             ok    Discord token: the bot is wolkvox-bot\n\
             ok    Server: Contact centre\n\
             ok    Role: Supervisor\n\
             ok    Role: Quality\n\
             ok    Command: /mute is registered\n\
             ok    Audit channel: #mute-audit\n\
             ok    Wolkvox: reachable\n\
             ok    Wolkvox token: valid, 4960 of 5000 calls left today\n\
             \n\
             To invite the bot to a server: https://discord.com/oauth2/authorize?client_id={APPLICATION}\
             &scope=bot+applications.commands&permissions=0"
        )
    );
    assert_eq!(checked.code, Some(0));
    assert_eq!(wolkvox.requests(), 0, "no microphone was touched");
    assert_eq!(discord.state(|state| state.registrations), 0);
    check_stand_ins(&discord, &wolkvox);
}

#[tokio::test]
async fn a_command_that_is_not_registered_yet_is_a_warning() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    let checked = check(&discord, &wolkvox, &[]).await;
    assert!(checked.printed.contains("warn  Command: /mute is not registered yet"), "{}", checked.printed);
    assert_eq!(checked.code, Some(0));
}

#[tokio::test]
async fn one_missing_role_is_a_warning_and_none_at_all_a_failure() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    let one = check(&discord, &wolkvox, &[("ALLOWED_ROLE_IDS", &format!("{SUPERVISOR_ROLE},4711000000000000000"))]).await;
    assert!(one.printed.contains("warn  Role: the server has no role 4711000000000000000. Check ALLOWED_ROLE_IDS"), "{}", one.printed);
    assert_eq!(one.code, Some(0));
    let none = check(&discord, &wolkvox, &[("ALLOWED_ROLE_IDS", "4711000000000000000,4712000000000000000")]).await;
    assert!(none.printed.contains("FAIL  Role: the server has no role 4711000000000000000."), "{}", none.printed);
    assert_eq!(none.code, Some(1));
}

#[tokio::test]
async fn each_failure_names_its_variable_and_the_others_are_still_checked() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    for (change, failure, still) in [
        (
            ("DISCORD_TOKEN", "wrong"),
            "FAIL  Discord token: Discord does not accept it. Copy it again into DISCORD_TOKEN",
            "ok    Wolkvox token: valid",
        ),
        (("DISCORD_TOKEN", ""), "FAIL  DISCORD_TOKEN: it is missing.", "ok    Wolkvox token: valid"),
        (
            ("DISCORD_GUILD_ID", "4711000000000000000"),
            "FAIL  Server: the bot is not in the server that DISCORD_GUILD_ID names.",
            "ok    Wolkvox token: valid",
        ),
        (
            ("AUDIT_CHANNEL_ID", "4711000000000000000"),
            "FAIL  Audit channel: the bot can't see it. Check AUDIT_CHANNEL_ID",
            "ok    Wolkvox token: valid",
        ),
        (
            ("WOLKVOX_TOKEN", "wrong"),
            "FAIL  Wolkvox token: it is wrong, expired or deleted.",
            "ok    Server: Contact centre",
        ),
        (("WOLKVOX_TOKEN", ""), "FAIL  WOLKVOX_TOKEN: it is missing.", "ok    Server: Contact centre"),
        (
            ("WOLKVOX_API_URL", "http://127.0.0.1:1"),
            "FAIL  Wolkvox: no connection to Wolkvox",
            "ok    Server: Contact centre",
        ),
        (
            ("DISCORD_API_URL", "http://127.0.0.1:1"),
            "FAIL  Discord: no answer from Discord",
            "ok    Wolkvox token: valid",
        ),
        (("RUST_LOG", "loud"), "FAIL  RUST_LOG: it is not a log filter.", "ok    Wolkvox token: valid"),
    ] {
        let checked = check(&discord, &wolkvox, &[change]).await;
        assert!(checked.printed.contains(failure), "{change:?}: {}", checked.printed);
        assert!(checked.printed.contains(still), "{change:?}: {}", checked.printed);
        assert_eq!(checked.code, Some(1));
    }
}

#[tokio::test]
async fn every_shape_of_the_quota_is_understood() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    let info =
        |data: serde_json::Value| Answer::json(200, &json!({"code": "200", "error": null, "msg": "ok", "data": data}));
    for (answer, expected) in [
        (
            info(json!({"token_limit": 5000, "available_consumption_options": 10})),
            "ok    Wolkvox token: valid, 10 of 5000 calls left today",
        ),
        (
            info(json!([{"token_limit": "5000", "available_consumition_options": "10"}])),
            "ok    Wolkvox token: valid, 10 of 5000 calls left today",
        ),
        (
            info(json!({"token_limit": "5000", "token_use_today": "40"})),
            "ok    Wolkvox token: valid, 4960 of 5000 calls left today",
        ),
        (info(json!({"available_consumption_options": "7"})), "ok    Wolkvox token: valid, 7 calls left today"),
        (info(json!({})), "ok    Wolkvox token: valid"),
        (info(json!([])), "ok    Wolkvox token: valid"),
        (info(json!(null)), "ok    Wolkvox token: valid"),
        (
            wolkvox::refusal(403, "FORBIDDEN", "TOKEN LIMIT EXCEEDED"),
            "FAIL  Wolkvox token: WOLKVOX_TOKEN is accepted, but",
        ),
        (
            wolkvox::refusal(403, "FORBIDDEN", "BACKUP"),
            "FAIL  Wolkvox token: the server refuses (403), perhaps for maintenance.",
        ),
        (
            wolkvox::refusal(400, "BAD REQUEST", "THE API YOU WANT TO CONSULT DOES NOT EXIST"),
            "warn  Wolkvox token: the server does not tell",
        ),
        (Answer::json(200, &json!("?")), "FAIL  Wolkvox: its answer (HTTP 200) can't be read. Check WOLKVOX_SERVER"),
    ] {
        wolkvox.state(|state| state.token_info = Some(answer));
        let checked = check(&discord, &wolkvox, &[]).await;
        assert!(checked.printed.lines().any(|line| line.starts_with(expected)), "{expected}: {}", checked.printed);
        assert_eq!(checked.code, Some(i32::from(expected.starts_with("FAIL"))));
    }
}

#[tokio::test]
async fn in_a_terminal_it_is_in_colour() {
    World::run(async |world| {
        let mut printed = Vec::new();
        let report = wolkvox_bot::check::Report::new(&mut printed, true);
        assert!(wolkvox_bot::check::check(draft(&world.discord, &world.wolkvox), report).await.unwrap());
        assert!(String::from_utf8(printed).unwrap().starts_with("\u{1b}[32mok   \u{1b}[0m Configuration: complete\n"));
    })
    .await;
}
