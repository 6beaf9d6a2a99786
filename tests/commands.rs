//! What people see when they type `/mute`.

use std::time::Duration;

use serde_json::{Value, json};
use wolkvox_bot::config::Config;
use wolkvox_bot::discord::Visibility;

use crate::support::bot::World;
use crate::support::discord::{self, Actor, stranger, supervisor};
use crate::support::wolkvox::{Fate, SUCCESS};

const SMALL_PRINT: &str = "\n-# Agent 1001 · MUTE is a toggle: run the command again to undo it";

/// What is shown when Wolkvox confirms with this `msg`.
async fn shown(world: &World, msg: &str) -> String {
    let body = json!({"code": "200", "error": null, "msg": msg}).to_string().into_bytes();
    world.wolkvox.next([Fate::Say(200, "application/json", body)]);
    let reply = world.mute(1001).await;
    // What was before is another test's concern.
    reply.split(" · before this: ").next().unwrap().to_owned()
}

#[tokio::test]
async fn the_command_is_registered_with_one_required_integer_option() {
    World::run_with(
        |config| config.agent_directory = false,
        async |world| {
            let commands = world.discord.state(|state| state.commands.clone().unwrap());
            let options = commands[0]["options"].as_array().unwrap();
            assert_eq!(
                (commands.as_array().unwrap().len(), &commands[0]["name"], options.len()),
                (1, &json!("mute"), 1)
            );
            for (key, value) in [
                ("name", json!("agent_id")),
                ("type", json!(4)),
                ("required", json!(true)),
                ("autocomplete", json!(false)),
                ("min_value", json!(1)),
                ("max_value", json!(9_999_999_999_u64)),
            ] {
                assert_eq!(options[0][key], value, "{key}");
            }
        },
    )
    .await;
}

#[tokio::test]
async fn a_supervisor_reads_what_wolkvox_said() {
    World::run(async |world| {
        let command = world.discord.mute(&supervisor(), 1001);
        let reply = world.discord.finished(command).await;
        assert_eq!(reply.text().unwrap(), format!("{SUCCESS}{SMALL_PRINT}"));
        assert!(reply.deferred(), "thinking is shown at once");
        assert!(!reply.private(), "the channel is the team's shared memory");
        assert_eq!(world.wolkvox.toggles(1001), 1);
    })
    .await;
}

#[tokio::test]
async fn thinking_is_shown_while_wolkvox_takes_its_time() {
    World::run(async |world| {
        let (command, held) = world.held_call().await;
        assert!(world.discord.interaction(command).deferred());
        assert!(!world.discord.interaction(command).finished());
        held.notify_one();
        assert!(world.discord.reply(command).await.starts_with(SUCCESS));
    })
    .await;
}

#[tokio::test]
async fn private_replies_are_for_the_invoker_alone() {
    World::run_with(
        |config| config.visibility = Visibility::Private,
        async |world| {
            let command = world.discord.mute(&supervisor(), 1001);
            assert!(world.discord.finished(command).await.private());
        },
    )
    .await;
}

#[tokio::test]
async fn nobody_else_is_let_in_and_only_they_see_the_refusal() {
    World::run(async |world| {
        let everyone = Actor { roles: vec![discord::GUILD], ..stranger() };
        let nobody = Actor { roles: vec![], ..stranger() };
        let direct = Actor { guild: None, ..supervisor() };
        for (actor, reply) in [
            (stranger(), "You don't have a role that may use this command. Nothing was sent."),
            (everyone, "You don't have a role that may use this command. Nothing was sent."),
            (nobody, "You don't have a role that may use this command. Nothing was sent."),
            (direct, "This command works only in the server that the bot was set up for. Nothing was sent."),
        ] {
            let command = world.discord.mute(&actor, 1001);
            let refusal = world.discord.finished(command).await;
            assert!(refusal.text().unwrap().starts_with(reply), "{refusal:?}");
            assert!(refusal.private());
            let record = world.log.audit(command).await;
            assert_eq!((&record["outcome"], &record["agent_id"]), (&json!("denied"), &json!(1001)));
        }
        assert_eq!(world.wolkvox.requests(), 0);
    })
    .await;
}

#[tokio::test]
async fn commands_and_keystrokes_of_another_server_are_left_alone_and_the_log_says_so_once() {
    World::run(async |world| {
        let elsewhere = Actor { guild: Some(discord::OTHER_GUILD), ..supervisor() };
        let left = [
            world.discord.mute(&elsewhere, 1001),
            world.discord.type_agent(&elsewhere, "a"),
            world.discord.press(&elsewhere, "go-on:7"),
        ];
        world.discord.reply(world.discord.mute(&supervisor(), 1002)).await;
        for interaction in left {
            assert!(world.discord.interaction(interaction).first.is_none());
        }
        let told = world.log.lines().iter().filter(|line| line.contains("commands from another server")).count();
        assert_eq!((told, world.wolkvox.toggles(1001)), (1, 0));
    })
    .await;
}

#[tokio::test]
async fn any_allowlisted_role_will_do() {
    World::run(async |world| {
        let quality = Actor { roles: vec![discord::QUALITY_ROLE], ..supervisor() };
        assert!(world.discord.reply(world.discord.mute(&quality, 1001)).await.starts_with(SUCCESS));
    })
    .await;
}

#[tokio::test]
async fn a_bad_agent_id_reaches_nobody() {
    World::run(async |world| {
        let bad = [
            json!(-1),
            json!(0),
            json!(10_000_000_000_u64),
            json!(u64::MAX),
            json!("1001 1002"),
            json!(1001.5),
            json!(true),
            Value::Null,
            json!([1001]),
            json!({"id": 1001}),
        ];
        for value in bad {
            let command = world.discord.mute(&supervisor(), value.clone());
            let refusal = world.discord.finished(command).await;
            assert!(refusal.text().unwrap().starts_with("That is not an agent's number. Nothing was sent."), "{value}");
            assert!(refusal.private());
            assert_eq!(world.log.outcome(command).await, "not_sent");
        }
        let missing = world.discord.interact(&supervisor(), 2, json!({"id": "1", "name": "mute", "type": 1}));
        assert!(world.discord.reply(missing).await.starts_with("That is not an agent's number."));
        assert_eq!(world.wolkvox.requests(), 0);
    })
    .await;
}

#[tokio::test]
async fn the_smallest_and_the_largest_agent_id_reach_wolkvox_and_a_second_time_too() {
    World::run(async |world| {
        for (agent, toggles) in [(1, 1), (9_999_999_999, 1), (1, 2)] {
            world.mute(agent).await;
            assert_eq!(world.wolkvox.toggles(agent), toggles);
        }
    })
    .await;
}

#[tokio::test]
async fn what_wolkvox_said_is_shown_as_it_came_and_html_never() {
    World::run(async |world| {
        for (msg, text) in [
            ("plain words, 100% ok: (yes) 'fine'!", "plain words, 100% ok: (yes) 'fine'!"),
            ("*bold* _it_ ~x~ `code` ||spoiler||", r"\*bold\* \_it\_ \~x\~ \`code\` \|\|spoiler\|\|"),
            ("@everyone <@501> <#1> <:x:1>", r"\@everyone \<\@501> \<#1> \<\:x\:1>"),
            ("[link](https://evil.example)", r"\[link\](https\://evil.example)"),
            ("# heading", r"\# heading"),
            ("> quote\n-# small\n1. one", "\\> quote\n\\-# small\n1\\. one"),
            ("back\\slash", r"back\\slash"),
            ("a\u{202E}b\u{0007}c\r\nd", "ab c\nd"),
            ("  spaces around  ", "spaces around"),
            ("3 < 4 and 5 > 4", r"3 \< 4 and 5 > 4"),
            ("Contact <soporte@wolkvox.com>", r"Contact \<soporte\@wolkvox.com>"),
            ("<sin nombre>", r"\<sin nombre>"),
            ("<b>done</b> for <i class=\"x\">1001</i>", "done for 1001"),
            ("<!DOCTYPE html><html><body>503</body></html>", "Wolkvox reported success, without a message."),
            ("", "Wolkvox reported success, without a message."),
        ] {
            assert_eq!(shown(world, msg).await, format!("{text}{SMALL_PRINT}"), "{msg:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn long_text_is_cut_at_a_character_with_a_sign_and_text_that_just_fits_is_not() {
    let just_fits = "x".repeat(2000 - SMALL_PRINT.encode_utf16().count());
    for (msg, last) in
        [("é".repeat(5000), "é…"), ("🎙".repeat(3000), "🎙…"), ("*".repeat(3000), r"\*…"), (just_fits, "xx")]
    {
        World::run(async |world| {
            let text = shown(world, &msg).await;
            let size = text.encode_utf16().count();
            assert!((1997..=2000).contains(&size), "{size}");
            let text = text.strip_suffix(SMALL_PRINT).unwrap();
            assert!(text.ends_with(last), "{}", &text[text.len() - 20..]);
        })
        .await;
    }
}

#[tokio::test]
async fn each_documented_refusal_comes_with_its_hint() {
    World::run(async |world| {
        for (status, error, msg, hint) in [
            (401, "UNAUTHORIZED", "PLEASE ENTER THE WOLKVOX-TOKEN", "Wolkvox saw no token."),
            (403, "FORBIDDEN", "PLEASE VALIDATE TOKEN", "The API token is wrong, expired or deleted."),
            (403, "FORBIDDEN", "TOKEN LIMIT EXCEEDED", "Today's API requests are used up."),
            (403, "FORBIDDEN", "BACKUP IN PROGRESS", "The Wolkvox server may be in maintenance."),
            (400, "BAD REQUEST", "SOME PARAMETERS ARE REQUIRED", "Check the agent's number."),
        ] {
            world.wolkvox.next([Fate::Refuse(status, error, msg)]);
            let command = world.discord.mute(&supervisor(), 1001);
            let text = world.discord.reply(command).await;
            assert!(text.starts_with(&format!("**Refused by Wolkvox:** {msg}\n{hint}")), "{text}");
            assert!(text.ends_with(&format!("\n-# Agent 1001 · code {status}")), "{text}");
            let record = world.log.audit(command).await;
            assert_eq!((&record["outcome"], &record["code"]), (&json!("rejected"), &json!(status)));
        }
        assert_eq!(world.wolkvox.toggles(1001), 0);
    })
    .await;
}

#[tokio::test]
async fn an_unknown_outcome_says_to_look_first() {
    const LOOK: &str = "The microphone may have changed: look at the agent's MUTE button before you try again.";
    let impatient = |config: &mut Config| config.wolkvox.timeout = Duration::from_secs(1);
    World::run_with(impatient, async |world| {
        for (fate, what) in [
            (Fate::Silent, "Wolkvox did not answer in time."),
            (Fate::CutAfter, "the connection to Wolkvox broke before its answer came."),
            (Fate::Say(502, "text/html", b"<html>Bad gateway</html>".to_vec()), "Wolkvox's answer can't be read."),
        ] {
            world.wolkvox.next([fate]);
            let (text, outcome) = world.told(world.discord.mute(&supervisor(), 1001)).await;
            assert_eq!(text, format!("**Unknown:** {what} {LOOK}\n-# Agent 1001"));
            assert_eq!(outcome, "unknown");
        }
    })
    .await;
}

#[tokio::test]
async fn without_a_connection_it_is_safe_to_try_again() {
    const SAFE: &str = "Nothing has changed, and it is safe to try again.";
    World::run(async |world| {
        world.wolkvox.go_down();
        let (text, outcome) = world.told(world.discord.mute(&supervisor(), 1001)).await;
        assert_eq!(text, format!("**Not sent:** there is no connection to Wolkvox. {SAFE}\n-# Agent 1001"));
        assert_eq!(outcome, "not_sent");
    })
    .await;
}

#[tokio::test]
async fn every_command_leaves_one_audit_record_with_who_what_and_how_long() {
    World::run(async |world| {
        let command = world.discord.mute(&supervisor(), 1001);
        world.discord.reply(command).await;
        let record = world.log.audit(command).await;
        assert_eq!(record["interaction_id"], command.to_string());
        assert_eq!((&record["user_id"], &record["user"]), (&json!("501"), &json!("ana")));
        assert_eq!((&record["agent_id"], &record["outcome"]), (&json!(1001), &json!("done")));
        assert_eq!(record["code"], 200);
        assert!(record["wait_ms"].is_u64() && record["call_ms"].is_u64());
    })
    .await;
}
