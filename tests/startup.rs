//! Starting: who the bot is, where it is, and what it says when that is wrong.

use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

use rusqlite::Connection;
use secrecy::SecretString;
use serde_json::json;
use tokio::net::UnixDatagram;
use tokio::time::timeout;
use wolkvox_bot::config::Config;

use crate::support::bot::{Bot, Process, World, check_secrets, draft, held_call, variables};
use crate::support::discord::{APPLICATION, Discord, Fate, Gateway, Order, State, supervisor};
use crate::support::wolkvox::{SUCCESS, Wolkvox};

/// The exit code of the process, and what it says last, with these variables changed and a prepared Discord.
async fn ending(prepare: impl FnOnce(&mut State), change: &[(&'static str, &str)]) -> (Option<i32>, String) {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    discord.state(prepare);
    let mut variables = variables(&discord, &wolkvox);
    variables.extend(change.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let mut process = Process::start(&variables, &[]);
    let (code, told) = process.ended().await;
    check_secrets(&format!("{}{told}", process.log.text()));
    (code, told)
}

/// systemd's end of NOTIFY_SOCKET, and the path that the bot is given.
fn systemd() -> (UnixDatagram, String) {
    let path = std::env::temp_dir().join(format!("wolkvox-bot-test-{}", fastrand::u64(..)));
    (UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned())
}

/// The next thing that systemd is told.
async fn told(systemd: &UnixDatagram) -> String {
    let mut message = [0; 1000];
    let received = timeout(Duration::from_secs(30), systemd.recv(&mut message)).await.expect("systemd is told");
    String::from_utf8(message[..received.unwrap()].to_vec()).unwrap()
}

const CONNECTING: &str = "STATUS=Connecting to Discord";
const READY: &str = "READY=1\nSTATUS=Connected to Discord, ready for commands";

const FIXED_BY_A_PERSON: Option<i32> = Some(2);

#[tokio::test]
async fn a_wrong_discord_token_ends_it_naming_the_variable() {
    let wrong = |config: &mut Config| config.discord.token = SecretString::from("wrong-token");
    World::run_unconnected(
        wrong,
        |_| {},
        async |world| {
            let error = world.bot.ended().await.unwrap_err().to_string();
            assert!(error.starts_with("DISCORD_TOKEN: Discord does not accept it."), "{error}");
            assert!(!error.contains("wrong-token") && !world.log.text().contains("wrong-token"));
            assert_eq!(world.discord.state(|state| state.gateway_connections.len()), 0);
        },
    )
    .await;
}

#[tokio::test]
async fn a_guild_that_the_bot_is_not_in_ends_it_with_the_invite_link() {
    for prepare in
        [|state: &mut State| state.not_in_guild = true, |state: &mut State| state.without_commands_scope = true]
    {
        World::run_unconnected(
            |_| {},
            prepare,
            async |world| {
                let error = world.bot.ended().await.unwrap_err().to_string();
                assert!(error.starts_with("DISCORD_GUILD_ID: "), "{error}");
                assert!(error.contains(&format!("client_id={APPLICATION}&scope=bot+applications.commands")), "{error}");
                assert!(world.discord.state(|state| state.asked["register"]) > 1, "asked once");
            },
        )
        .await;
    }
}

#[tokio::test]
async fn errors_and_broken_connections_at_start_are_tried_again_with_growing_pauses() {
    let fates = [Fate::Refuse(503, 0), Fate::CutBefore, Fate::RateLimit(0.1), Fate::Accept, Fate::Refuse(500, 0)];
    World::run_unconnected(
        |_| {},
        |state| state.other_fates.extend(fates),
        async |world| {
            world.discord.until_ready(1).await;
            world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
            assert!(world.log.text().contains("trying again in 0.5 s"));
            assert!(world.log.text().contains("trying again in 1.0 s"));
        },
    )
    .await;
}

#[tokio::test]
async fn discord_out_of_reach_for_too_long_at_start_is_an_error_after_which_it_may_be_started_again() {
    let shorter = |config: &mut Config| config.limits.disconnected = Duration::from_secs(1);
    for (fate, words) in [
        (Fate::Refuse(503, 0), "Discord could not be reached for 1 s. See https://discordstatus.com."),
        (Fate::Page(403), "Discord could not be reached for 1 s. Check this machine's connection to the internet"),
    ] {
        let down = |state: &mut State| state.other_fates.extend(vec![fate; 50]);
        World::run_unconnected(shorter, down, async |world| {
            let error = world.bot.ended().await.unwrap_err();
            assert!(error.to_string().starts_with(words) && !error.only_a_person_can_fix(), "{error}");
        })
        .await;
    }
}

#[tokio::test]
async fn nothing_restarts_a_bot_whose_settings_at_discord_are_wrong() {
    for change in [("DISCORD_TOKEN", "wrong"), ("DISCORD_GUILD_ID", "4711000000000000000")] {
        let (code, told) = ending(|_| {}, &[change]).await;
        assert_eq!(code, FIXED_BY_A_PERSON, "{told}");
        assert!(told.contains(change.0), "{told}");
    }
    let (code, told) = ending(|state| state.without_commands_scope = true, &[]).await;
    assert_eq!(code, FIXED_BY_A_PERSON, "{told}");
}

#[tokio::test]
async fn a_refusal_to_sign_in_names_the_request_and_what_discord_says_of_it() {
    let errors =
        json!({"actions": {"0": {"id": {"_errors": [{"code": "NUMBER_TYPE_MAX", "message": "Too large.\n"}]}}}});
    let body = json!({"code": 50035, "message": "Invalid Form Body", "errors": errors});
    for (refusal, words) in [
        (Fate::Body(400, body), "HTTP 400 with code 50035 (Invalid Form Body; actions.0.id: Too large.)"),
        (Fate::Refuse(405, 0), "HTTP 405 with code 0 (No)"),
    ] {
        let (ended, told) = ending(|state| state.other_fates.push_back(refusal.clone()), &[]).await;
        assert_eq!(ended, FIXED_BY_A_PERSON, "{refusal:?}: {told}");
        assert!(told.contains("it can't sign in (GET /applications/@me): Discord answered "), "{told}");
        assert!(told.contains(words), "{told}");
    }
}

#[tokio::test]
async fn discords_internal_errors_and_blocked_addresses_at_start_are_waited_out() {
    let shorter = |config: &mut Config| config.limits.disconnected = Duration::from_secs(30);
    for (fate, words) in [
        (Fate::Refuse(403, 40333), "with code 40333"),
        (Fate::Banned, "Cloudflare, which protects Discord, blocks this machine's public address"),
    ] {
        World::run_unconnected(
            shorter,
            |state| state.other_fates.push_back(fate),
            async |world| {
                world.log.until_contains(words).await;
                world.discord.until_ready(1).await;
            },
        )
        .await;
    }
}

#[tokio::test]
async fn nothing_restarts_a_bot_whose_state_file_can_not_be_used() {
    let folder = crate::support::Folder::new();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let newer = Connection::open(path("newer.db")).unwrap();
    newer.pragma_update(None, "user_version", 1000).unwrap();
    newer.close().unwrap();
    fs::write(path("damaged.db"), "not a database ".repeat(100)).unwrap();
    for (file, words, code) in [
        (path(""), "is a directory", FIXED_BY_A_PERSON),
        (path("missing/record.db"), "does not exist", FIXED_BY_A_PERSON),
        // Where nobody may make a file, not even root.
        ("/sys/record.db".to_owned(), "may not write", FIXED_BY_A_PERSON),
        (path("damaged.db"), "is damaged", FIXED_BY_A_PERSON),
        (path("newer.db"), "by a newer version", FIXED_BY_A_PERSON),
    ] {
        let (ended, told) = ending(|_| {}, &[("STATE_FILE", &file)]).await;
        assert!(told.contains("STATE_FILE: ") && told.contains(words), "{told}");
        assert_eq!(ended, code, "{told}");
    }
}

#[tokio::test]
async fn roles_are_logged_by_name_with_a_warning_for_each_that_is_missing() {
    use serenity::model::id::{GuildId, RoleId};
    use wolkvox_bot::access::Allowlist;

    use crate::support::discord::{GUILD, SUPERVISOR_ROLE};

    let roles = vec![RoleId::new(SUPERVISOR_ROLE), RoleId::new(4711)];
    let allowlist = Allowlist::new(GuildId::new(GUILD), roles).unwrap();
    World::run_with(
        |config| config.allowlist = allowlist,
        async |world| {
            world.log.until_contains("4711").await;
            let lines = world.log.lines();
            let fields = |level: &str| -> Vec<serde_json::Value> {
                let records = lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
                records.filter(|record| record["level"] == level).map(|record| record["fields"].clone()).collect()
            };
            assert!(fields("INFO").iter().any(|f| f["role"] == "Supervisor" && f["message"] == "may use /mute"));
            assert!(fields("WARN").iter().any(|f| f["role_id"] == "4711"));
        },
    )
    .await;
}

#[tokio::test]
async fn names_from_discord_can_steer_no_terminal() {
    let hostile = |state: &mut State| state.names_end = "\u{1b}[2J\u{9b}1m\u{202E}";
    World::run_unconnected(
        |_| {},
        hostile,
        async |world| {
            world.log.until_contains("may use /mute").await;
            let log = world.log.text();
            for name in ["wolkvox-bot", "Centro de contacto", "Supervisor"] {
                assert!(log.contains(&format!(r"{name}\u001b[2J\u009b1m\u202e")), "{log:?}");
            }
            assert!(!log.contains(['\u{1b}', '\u{9b}', '\u{202E}']), "{log:?}");
        },
    )
    .await;
}

#[tokio::test]
async fn registering_again_changes_nothing() {
    World::run(async |world| {
        let first = world.discord.state(|state| state.commands.clone().unwrap());
        let again = Bot::start(draft(&world.discord, &world.wolkvox).finish().unwrap());
        world.discord.until_ready(2).await;
        let second = world.discord.state(|state| state.commands.clone().unwrap());
        let content = |commands: &serde_json::Value| {
            let mut command = commands[0].clone();
            for changing in ["id", "version"] {
                command[changing] = json!(null);
            }
            command
        };
        assert_eq!(content(&first), content(&second));
        again.shut_down();
        again.ended().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_rate_limit_at_start_is_waited_out_and_named() {
    let shorter = |config: &mut Config| config.limits.disconnected = Duration::from_secs(1);
    World::run_unconnected(
        shorter,
        |state| state.other_fates.push_back(Fate::RateLimit(1.5)),
        async |world| {
            world.discord.until_ready(1).await;
            world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
        },
    )
    .await;
    World::run_unconnected(
        shorter,
        |state| state.other_fates.push_back(Fate::Cloudflare(600)),
        async |world| {
            world.log.until_contains("asks for a pause of 600 s; it is asked again in 60.0 s").await;
            world.log.until_contains("HTTP 429").await;
        },
    )
    .await;
}

#[tokio::test]
async fn a_page_in_discords_place_at_start_is_no_refusal_of_the_token() {
    World::run_unconnected(
        |_| {},
        |state| state.other_fates.extend([Fate::Page(401), Fate::Page(200), Fate::Torn(401), Fate::Json(200)]),
        async |world| {
            world.log.until_contains("something other than Discord answered").await;
            world.discord.until_ready(1).await;
        },
    )
    .await;
}

#[tokio::test]
async fn systemd_is_told_what_the_bot_is_doing_from_the_start_to_the_end() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    let (systemd, path) = systemd();
    let mut variables = variables(&discord, &wolkvox);
    variables.insert("NOTIFY_SOCKET", path.clone());
    discord.state(|state| state.gateway = Gateway::Refuses);
    let mut process = Process::start(&variables, &[]);
    assert_eq!(told(&systemd).await, CONNECTING);
    // Nobody could use a command yet.
    process.runs_until_logged("the connection to Discord was lost").await;
    assert_eq!(systemd.try_recv(&mut [0; 1000]).unwrap_err().kind(), ErrorKind::WouldBlock);
    discord.state(|state| state.gateway = Gateway::Serves);
    assert_eq!(told(&systemd).await, READY);
    let (command, held) = process.runs(held_call(&discord, &wolkvox)).await;
    discord.order(|| Order::Drop);
    assert_eq!(told(&systemd).await, "STATUS=The connection to Discord was lost, reconnecting");
    assert_eq!(told(&systemd).await, READY);
    process.signal("TERM");
    let stopping = "STOPPING=1\nSTATUS=Stopping: no new commands, the ones in progress are finished";
    assert_eq!(told(&systemd).await, stopping);
    assert!(process.is_running());
    held.notify_one();
    assert!(discord.reply(command).await.starts_with(SUCCESS));
    assert_eq!(process.ended().await, (Some(0), String::new()));
    assert_eq!(systemd.try_recv(&mut [0; 1000]).unwrap_err().kind(), ErrorKind::WouldBlock);
    fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn systemd_that_does_not_read_for_a_while_holds_nobody_up_and_is_told_then() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    let (systemd, path) = systemd();
    let other = std::os::unix::net::UnixDatagram::unbound().unwrap();
    other.connect(&path).unwrap();
    other.set_nonblocking(true).unwrap();
    while other.send(b"STATUS=another service").is_ok() {}
    let mut variables = variables(&discord, &wolkvox);
    variables.insert("NOTIFY_SOCKET", path.clone());
    let mut process = Process::start(&variables, &[]);
    process.runs(discord.until_ready(1)).await;
    assert!(process.runs(discord.reply(discord.mute(&supervisor(), 1001))).await.starts_with(SUCCESS));
    while told(&systemd).await != READY {}
    while other.send(b"STATUS=another service").is_ok() {}
    process.signal("TERM");
    assert_eq!(process.ended().await, (Some(0), String::new()));
    fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn a_service_manager_that_is_not_there_is_named_in_the_log_and_stops_nobody() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    let mut variables = variables(&discord, &wolkvox);
    variables.insert("NOTIFY_SOCKET", "/run/nobody/notify".to_owned());
    let mut process = Process::start(&variables, &[]);
    process.runs_until_logged("(NOTIFY_SOCKET): No such file or directory").await;
    process.runs(discord.until_ready(1)).await;
    process.signal("TERM");
    assert_eq!(process.ended().await, (Some(0), String::new()));
}

#[tokio::test]
async fn an_application_whose_commands_are_sent_elsewhere_is_named_in_the_log() {
    World::run_unconnected(
        |_| {},
        |state| state.interactions_endpoint = Some("https://old-bot.example/interactions"),
        async |world| world.log.until_contains("Interactions Endpoint URL").await,
    )
    .await;
}

#[tokio::test]
async fn a_start_that_fails_names_the_address_and_calls_nothing_discords_refusal_that_is_none() {
    for (fate, locale, refusal) in [
        // As with https://discord.com/api for DISCORD_API_URL.
        (Fate::Refuse(404, 0), "C", "Discord answered HTTP 404 with code 0"),
        (Fate::Refuse(404, 0), "es", "Discord respondió HTTP 404 con el código 0"),
    ] {
        let (_, told) = ending(|state| state.other_fates.push_back(fate), &[("LANG", locale)]).await;
        assert!(told.contains(refusal) && told.contains("DISCORD_API_URL"), "{told}");
        assert!(!told.contains("refused"), "{told}");
    }
}

#[tokio::test]
async fn a_rate_limit_that_names_no_pause_is_waited_out_with_growing_pauses() {
    World::run_unconnected(
        |_| {},
        |state| state.other_fates.extend(vec![Fate::Page(429); 3]),
        async |world| {
            for pause in ["0.5", "1.0", "2.0"] {
                world.log.until_contains(&format!("a pause of 0 s; it is asked again in {pause} s")).await;
            }
            world.discord.until_ready(1).await;
        },
    )
    .await;
}
