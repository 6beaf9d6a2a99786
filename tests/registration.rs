//! `/mute` in the server's list of commands: kept there, beside everything else.

use std::time::Duration;

use serde_json::json;
use wolkvox_bot::app::RunError;

use crate::support::bot::{Log, World};
use crate::support::discord::{APPLICATION, Fate, State, supervisor};

#[tokio::test]
async fn trouble_with_registering_keeps_nobody_from_a_command_that_is_there() {
    for trouble in [
        Fate::RateLimit(86_400.0),
        Fate::Refuse(500, 0),
        Fate::Refuse(400, 30034),
        Fate::Refuse(400, 50035),
        Fate::Refuse(403, 40333),
        Fate::Refuse(403, 50001),
        Fate::Page(403),
        Fate::Stall,
    ] {
        let silent = matches!(trouble, Fate::Stall);
        let prepare = |state: &mut State| {
            state.commands = Some(json!([{"id": "1", "name": "mute"}]));
            state.always.insert("register", trouble);
        };
        World::run_unconnected(
            |config| config.limits.registration = Duration::from_millis(200),
            prepare,
            async |world| {
                world.discord.until_connected().await;
                world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
                if !silent {
                    let stays = "could not be registered again, so the one from before stays";
                    // More often than a bot may be called unknown that is in no server.
                    let tries = |log: &Log| log.lines().iter().filter(|line| line.contains(stays)).count();
                    world.log.until(stays, |log| tries(log) >= 5).await;
                }
            },
        )
        .await;
    }
}

#[tokio::test]
async fn a_server_without_the_command_is_an_error_in_the_log_until_it_can_be_registered() {
    for trouble in [Fate::Refuse(503, 0), Fate::Refuse(400, 50035), Fate::Refuse(403, 40333)] {
        World::run_unconnected(
            |_| {},
            |state| {
                state.always.insert("register", trouble);
            },
            async |world| {
                world
                    .log
                    .until_contains("the server has no /mute, as far as is known, and it could not be registered")
                    .await;
                let lines = world.log.lines();
                let line = lines.iter().find(|line| line.contains("the server has no /mute")).unwrap();
                assert!(line.contains("ERROR"), "{line}");
                world.discord.state(|state| state.always.clear());
                world.discord.until_ready(1).await;
            },
        )
        .await;
    }
}

#[tokio::test]
async fn a_server_that_discord_says_it_does_not_know_is_served_all_the_same() {
    World::run_unconnected(
        |_| {},
        |state| {
            state.always.insert("guild", Fate::Refuse(404, 10004));
        },
        async |world| {
            world.discord.until_ready(1).await;
            world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
            world.log.until_contains("Discord does not give the server's name and roles").await;
        },
    )
    .await;
}

#[tokio::test]
async fn a_bot_that_was_kicked_and_invited_again_has_its_command_again() {
    World::run_with(
        |config| config.limits.registration = Duration::from_secs(2),
        async |world| {
            let tries = world.discord.state(|state| state.asked["register"]);
            world.discord.kick();
            world.discord.until("it tries in vain", |state| state.asked["register"] > tries).await;
            world.discord.state(|state| state.not_in_guild = false);
            world.discord.until("/mute is there again", |state| state.commands.is_some()).await;
            world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
        },
    )
    .await;
}

#[tokio::test]
async fn a_bot_that_stays_kicked_ends() {
    World::run_with(
        |config| config.limits.registration = Duration::from_millis(100),
        async |world| {
            world.discord.kick();
            let error = world.bot.ended().await.unwrap_err();
            assert!(matches!(error, RunError::NotInGuild { .. }), "{error}");
        },
    )
    .await;
}

#[tokio::test]
async fn a_command_for_all_servers_is_pointed_out_with_how_to_delete_it() {
    World::run_unconnected(
        |_| {},
        |state| state.global_commands = vec![json!({"id": "77", "name": "mute"})],
        async |world| {
            let deletion = format!("/applications/{APPLICATION}/commands/77");
            world.log.until_contains(&deletion).await;
            world.discord.until_connected().await;
            world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
        },
    )
    .await;
}
