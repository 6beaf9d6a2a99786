//! The audit channel.

use std::time::Duration;

use serenity::model::id::ChannelId;
use wolkvox_bot::config::Config;

use crate::support::bot::{World, leaves_lines_to_the_next_start};
use crate::support::discord::{AUDIT_CHANNEL, Fate, State, second_supervisor, stranger, supervisor};
use crate::support::wolkvox::{self, SUCCESS};

async fn run(test: impl AsyncFnOnce(&World)) {
    World::run_with(|config| config.audit_channel = Some(ChannelId::new(AUDIT_CHANNEL)), test).await;
}

#[tokio::test]
async fn toggles_that_were_or_may_have_been_are_posted_in_one_line() {
    run(async |world| {
        world.wolkvox.next([
            wolkvox::Fate::Confirm,
            wolkvox::Fate::CutAfter,
            wolkvox::Fate::Refuse(403, "FORBIDDEN", "TOKEN LIMIT EXCEEDED"),
        ]);
        for agent in 1001..1004 {
            world.discord.reply(world.discord.mute(&supervisor(), agent)).await;
        }
        world.discord.reply(world.discord.mute(&stranger(), 1001)).await;
        world.discord.reply(world.discord.mute(&second_supervisor(), 1001)).await;
        world.discord.until("both are posted", |state| state.posts.len() == 2).await;
        let posts = world.discord.state(|state| state.posts.clone());
        let lines: Vec<&str> = posts.iter().map(|post| post["content"].as_str().unwrap()).collect();
        let after_time = |line: &str| line.split_once(":f> · ").unwrap().1.to_owned();
        assert!(lines.iter().all(|line| line.starts_with("<t:1") && !line.contains('\n')));
        // In the language of the server, since everybody reads it.
        assert_eq!(after_time(lines[0]), format!("<@501> · agente 1001 · hecho: {SUCCESS}"));
        assert_eq!(after_time(lines[1]), "<@501> · agente 1002 · resultado desconocido");
    })
    .await;
}

#[tokio::test]
async fn a_post_that_fails_does_not_disturb_the_command_and_is_logged() {
    run(async |world| {
        world.discord.state(|state| state.other_fates.extend(vec![Fate::Refuse(403, 50013); 4]));
        let command = world.discord.mute(&supervisor(), 1001);
        assert!(world.discord.reply(command).await.starts_with(SUCCESS));
        world.log.until_contains("was not posted to AUDIT_CHANNEL_ID").await;
        assert_eq!(world.log.outcome(command).await, "done");
    })
    .await;
}

#[tokio::test]
async fn a_refusal_that_passes_costs_no_line() {
    run(async |world| {
        world.discord.state(|state| state.other_fates.extend([Fate::Refuse(403, 50001), Fate::Refuse(404, 10003)]));
        world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
        world.discord.until("it is posted", |state| state.posts.len() == 1).await;
        assert!(!world.log.text().contains("was not posted"));
    })
    .await;
}

#[tokio::test]
async fn at_discords_rate_no_line_is_lost_and_the_order_is_kept() {
    run(async |world| {
        world.discord.state(|state| state.limits.posts = Some((2, Duration::from_millis(600))));
        let commands: Vec<u64> = (1001..1013).map(|agent| world.discord.mute(&supervisor(), agent)).collect();
        for command in commands {
            assert!(world.discord.reply(command).await.starts_with(SUCCESS));
        }
        let lines = |state: &State| -> Vec<String> {
            let posts = state.posts.iter().map(|post| post["content"].as_str().unwrap());
            posts.flat_map(str::lines).map(str::to_owned).collect()
        };
        world.discord.until("all are posted", |state| lines(state).len() == 12).await;
        for (agent, line) in (1001..).zip(world.discord.state(|state| lines(state))) {
            assert!(line.contains(&format!("agente {agent} ")), "{line}");
        }
        assert!(world.discord.state(|state| state.posts.len()) < 12, "none shared a message");
    })
    .await;
}

#[tokio::test]
async fn a_post_whose_answer_was_lost_is_repeated_with_a_nonce_that_makes_it_one() {
    run(async |world| {
        world
            .discord
            .state(|state| state.other_fates.extend([Fate::CutAfter, Fate::Refuse(503, 0), Fate::RateLimit(0.1)]));
        let command = world.discord.mute(&supervisor(), 1001);
        world.discord.reply(command).await;
        world.discord.until("it was sent again", |state| state.other_fates.is_empty()).await;
        world.discord.reply(world.discord.mute(&supervisor(), 1002)).await;
        world.discord.until("the next one is posted too", |state| state.posts.len() == 2).await;
        let post = world.discord.state(|state| state.posts[0].clone());
        assert_eq!(post["nonce"], format!("{command}-1"));
        assert_eq!(post["flags"], 4);
    })
    .await;
}

#[tokio::test]
async fn what_is_lost_in_the_end_is_counted_in_the_log() {
    let hasty = |config: &mut Config| {
        config.audit_channel = Some(ChannelId::new(AUDIT_CHANNEL));
        config.limits.last_words = Duration::from_millis(300);
    };
    World::run_with(hasty, async |world| {
        world.discord.state(|state| state.limits.posts = Some((1, Duration::from_secs(60))));
        for agent in 1001..1006 {
            world.discord.reply(world.discord.mute(&supervisor(), agent)).await;
        }
        world.bot.shut_down();
        world.bot.ended().await.unwrap();
        let lost = world.log.lines().into_iter().find(|line| line.contains("were not posted")).unwrap();
        assert!(lost.contains("\"lines\":4") && lost.contains("the bot was stopped"), "{lost}");
    })
    .await;
}

#[tokio::test]
async fn lines_that_a_stop_leaves_are_posted_by_the_next_start_in_their_order() {
    let folder = crate::support::Folder::new();
    let change = leaves_lines_to_the_next_start(&folder);
    World::run_with(&change, async |world| {
        world.discord.state(|state| state.limits.posts = Some((1, Duration::from_secs(60))));
        for agent in 1001..1006 {
            world.discord.reply(world.discord.mute(&supervisor(), agent)).await;
        }
        world.bot.shut_down();
        world.bot.ended().await.unwrap();
        world.discord.state(|state| state.limits.posts = None);
        world.restart(&change);
        let lines = |state: &State| -> Vec<String> {
            let posts = state.posts.iter().map(|post| post["content"].as_str().unwrap());
            posts.flat_map(str::lines).map(str::to_owned).collect()
        };
        world.discord.until("all are posted", |state| lines(state).len() == 5).await;
        for (agent, line) in (1001..).zip(world.discord.state(|state| lines(state))) {
            assert!(line.contains(&format!("agente {agent} ")), "{line}");
        }
    })
    .await;
}
