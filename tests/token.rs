//! Whether Wolkvox accepts the token is asked after the start and once a day.

use std::time::Duration;

use serenity::model::id::ChannelId;
use wolkvox_bot::config::Config;

use crate::support::bot::World;
use crate::support::discord::{AUDIT_CHANNEL, Fate, State, supervisor};
use crate::support::http::Answer;
use crate::support::wolkvox::refusal;

const REFUSED: &str = "**`/mute` no funciona.** El token de la API no es válido, venció o fue eliminado.";

/// An audit channel, a first question at once, and a day that is soon over.
fn short_days(config: &mut Config) {
    config.audit_channel = Some(ChannelId::new(AUDIT_CHANNEL));
    config.limits.token_first = Duration::ZERO;
    config.limits.token_again = Duration::from_millis(200);
}

fn expired() -> Answer {
    refusal(403, "FORBIDDEN", "PLEASE VALIDATE TOKEN")
}

#[tokio::test]
async fn a_token_that_is_refused_is_told_in_the_log_and_in_the_audit_channel() {
    let change = |config: &mut Config| {
        short_days(config);
        config.limits.token_again = Duration::from_secs(60);
        config.wolkvox.token = "7b6f6c647d".to_owned().into();
    };
    World::run_with(change, async |world| {
        world
            .log
            .until_contains("Wolkvox refuses WOLKVOX_TOKEN, so no /mute does anything: it is wrong, expired or deleted")
            .await;
        world.discord.until("it is posted", |state| !state.posts.is_empty()).await;
        let posts = world.discord.state(|state| state.posts.clone());
        // In the language of the server, since everybody reads it.
        assert!(posts[0]["content"].as_str().unwrap().starts_with(REFUSED), "{posts:?}");
        assert_eq!(world.wolkvox.state(|state| state.token_questions), 1);
    })
    .await;
}

#[tokio::test]
async fn a_token_that_is_lost_on_the_way_is_not_called_wrong_or_expired() {
    World::run_with(short_days, async |world| {
        world.log.until_contains("Wolkvox accepts WOLKVOX_TOKEN").await;
        let lost = refusal(401, "UNAUTHORIZED", "PLEASE ENTER THE WOLKVOX-TOKEN");
        world.wolkvox.state(|state| state.token_info = Some(lost));
        world.log.until_contains("so no /mute does anything: it saw none").await;
        world.discord.until("it is posted", |state| !state.posts.is_empty()).await;
        let posts = world.discord.state(|state| state.posts.clone());
        assert!(posts[0]["content"].as_str().unwrap().contains("Wolkvox no recibió el token."), "{posts:?}");
        assert!(!world.log.text().contains("expired"));
    })
    .await;
}

#[tokio::test]
async fn a_token_that_expires_later_is_noticed_within_a_day() {
    World::run_with(short_days, async |world| {
        world.log.until_contains("Wolkvox accepts WOLKVOX_TOKEN").await;
        world.wolkvox.state(|state| state.token_info = Some(expired()));
        world.log.until_contains("Wolkvox refuses WOLKVOX_TOKEN").await;
        world.discord.until("it is posted", |state| !state.posts.is_empty()).await;
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_says_nothing_of_the_token_is_no_refusal_and_is_asked_for_again_soon() {
    for (answer, told) in [
        (Answer::Cut, "it is not known whether Wolkvox accepts WOLKVOX_TOKEN"),
        (refusal(403, "FORBIDDEN", "BACKUP"), "Wolkvox does not say now whether it accepts WOLKVOX_TOKEN"),
        (
            refusal(403, "FORBIDDEN", "EXCEEDS THE LIMIT OF SIMULTANEOUS REQUESTS PER TOKEN (2)"),
            "Wolkvox does not say now whether it accepts WOLKVOX_TOKEN",
        ),
    ] {
        let change = |config: &mut Config| {
            short_days(config);
            // Longer than this test waits.
            config.limits.token_again = Duration::from_secs(60);
            config.limits.token_unanswered = Duration::from_millis(200);
        };
        let prepare = |_: &mut State| {};
        World::run_unconnected(change, prepare, async |world| {
            // The bot has not begun yet.
            world.wolkvox.state(|state| state.token_info = Some(answer));
            world.log.until_contains(told).await;
            world.log.until_contains("Wolkvox accepts WOLKVOX_TOKEN").await;
            assert!(world.discord.state(|state| state.posts.is_empty()));
        })
        .await;
    }
}

#[tokio::test]
async fn a_spent_quota_is_told_in_the_log() {
    World::run_with(short_days, async |world| {
        world.wolkvox.state(|state| state.token_info = Some(refusal(403, "FORBIDDEN", "TOKEN LIMIT EXCEEDED")));
        world.log.until_contains("today's API requests are used up").await;
        assert!(world.discord.state(|state| state.posts.is_empty()));
    })
    .await;
}

#[tokio::test]
async fn an_audit_channel_that_can_not_be_written_to_disturbs_nothing() {
    World::run_with(short_days, async |world| {
        world.discord.state(|state| state.other_fates.extend(vec![Fate::Refuse(403, 50013); 5]));
        world.wolkvox.state(|state| state.token_info = Some(expired()));
        world.log.until_contains("this was not posted to AUDIT_CHANNEL_ID").await;
        world.discord.state(|state| state.other_fates.clear());
        let command = world.discord.mute(&supervisor(), 1001);
        world.discord.reply(command).await;
        assert_eq!(world.log.outcome(command).await, "done");
    })
    .await;
}
