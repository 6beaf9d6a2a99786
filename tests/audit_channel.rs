//! The audit channel.

use serenity::model::id::ChannelId;

use crate::support::bot::World;
use crate::support::discord::{AUDIT_CHANNEL, Fate, second_supervisor, stranger, supervisor};
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
        world.discord.state(|state| state.other_fates.push_back(Fate::Refuse(403, 50013)));
        let command = world.discord.mute(&supervisor(), 1001);
        assert!(world.discord.reply(command).await.starts_with(SUCCESS));
        world.log.until_contains("was not posted to AUDIT_CHANNEL_ID").await;
        assert_eq!(world.log.outcome(command).await, "done");
    })
    .await;
}
