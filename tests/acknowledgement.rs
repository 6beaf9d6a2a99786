//! The accepted first answer is the only arbiter: without it nothing is done.

use std::time::Duration;

use serde_json::json;

use crate::support::bot::World;
use crate::support::discord::{Fate, Order, supervisor};
use crate::support::wolkvox::SUCCESS;

#[tokio::test]
async fn without_an_accepted_acknowledgement_wolkvox_is_not_called() {
    World::run(async |world| {
        for fate in [
            Fate::AnsweredElsewhere,
            Fate::Refuse(404, 10062),
            Fate::Refuse(400, 50035),
            Fate::Refuse(403, 50001),
            Fate::Refuse(401, 0),
        ] {
            world.discord.state(|state| state.first_answer_fates.push_back(fate.clone()));
            let command = world.discord.mute(&supervisor(), 1001);
            assert_eq!(world.log.outcome(command).await, "unacknowledged", "{fate:?}");
        }
        assert_eq!(world.wolkvox.requests(), 0);
    })
    .await;
}

#[tokio::test]
async fn wolkvox_is_called_only_after_the_acknowledgement_was_accepted() {
    World::run(async |world| {
        world.discord.state(|state| state.first_answer_fates.push_back(Fate::Slow(Duration::from_millis(300))));
        let command = world.discord.mute(&supervisor(), 1001);
        world.discord.until_acknowledged(command).await;
        assert_eq!(world.wolkvox.requests(), 0);
        world.discord.reply(command).await;
        assert_eq!(world.wolkvox.toggles(1001), 1);
    })
    .await;
}

#[tokio::test]
async fn an_acknowledgement_that_failed_is_repeated_while_its_three_seconds_last() {
    World::run(async |world| {
        for fates in [
            vec![Fate::Refuse(500, 0), Fate::Refuse(503, 0)],
            vec![Fate::CutBefore],
            vec![Fate::CutBefore, Fate::Refuse(502, 0)],
            vec![Fate::RateLimit(0.2)],
        ] {
            world.discord.state(|state| state.first_answer_fates.extend(fates));
            let command = world.discord.mute(&supervisor(), 1001);
            assert!(world.discord.reply(command).await.starts_with(SUCCESS));
            assert_eq!(world.log.outcome(command).await, "done");
        }
        assert_eq!(world.wolkvox.toggles(1001), 4);
    })
    .await;
}

#[tokio::test]
async fn a_repeated_acknowledgement_that_is_refused_as_second_does_nothing() {
    World::run(async |world| {
        world.discord.state(|state| state.first_answer_fates.push_back(Fate::CutAfter));
        let command = world.discord.mute(&supervisor(), 1001);
        assert_eq!(world.log.outcome(command).await, "unacknowledged");
        assert_eq!(world.discord.interaction(command).refused_answers, 1);
        assert_eq!(world.wolkvox.requests(), 0);
    })
    .await;
}

#[tokio::test]
async fn an_acknowledgement_is_given_up_when_its_time_is_over() {
    World::run_with(
        |config| config.limits.first_answer = Duration::from_millis(700),
        async |world| {
            world.discord.state(|state| state.first_answer_fates.extend(vec![Fate::Refuse(503, 0); 20]));
            let command = world.discord.mute(&supervisor(), 1001);
            assert_eq!(world.log.outcome(command).await, "unacknowledged");
            let tries = 20 - world.discord.state(|state| state.first_answer_fates.len());
            assert!((2..20).contains(&tries), "{tries}");
            assert_eq!(world.wolkvox.requests(), 0);
        },
    )
    .await;
}

#[tokio::test]
async fn an_interaction_that_is_delivered_twice_is_carried_out_once() {
    World::run(async |world| {
        let option = json!({"name": "agent_id", "type": 4, "value": 1001});
        let data = json!({"id": "1", "name": "mute", "type": 1, "options": [option]});
        let (command, payload) = world.discord.new_interaction(&supervisor(), 2, data);
        for _ in 0..3 {
            world.discord.broadcast("INTERACTION_CREATE", payload.clone());
        }
        world.discord.reply(command).await;
        let last = world.discord.mute(&supervisor(), 1002);
        world.discord.reply(last).await;
        assert_eq!(world.wolkvox.toggles(1001), 1);
        assert_eq!(world.log.outcome(command).await, "done");
    })
    .await;
}

#[tokio::test]
async fn a_result_is_delivered_through_errors_rate_limits_and_broken_connections() {
    World::run(async |world| {
        let fates = [Fate::Refuse(500, 0), Fate::CutBefore, Fate::RateLimit(0.3), Fate::CutAfter, Fate::Refuse(503, 0)];
        world.discord.state(|state| state.edit_fates.extend(fates));
        let command = world.discord.mute(&supervisor(), 1001);
        world.discord.until("all tries were made", |state| state.edit_fates.is_empty()).await;
        world.discord.until("delivered", |state| state.interactions[&command].edits >= 2).await;
        assert!(world.discord.reply(command).await.starts_with(SUCCESS));
        assert_eq!(world.wolkvox.toggles(1001), 1);
        assert_eq!(world.log.outcome(command).await, "done");
    })
    .await;
}

#[tokio::test]
async fn a_result_that_can_not_be_delivered_is_in_the_log_with_an_error() {
    World::run_with(
        |config| config.limits.delivery = Duration::from_millis(800),
        async |world| {
            for fates in [vec![Fate::Refuse(404, 10015)], vec![Fate::Refuse(503, 0); 50]] {
                let before = world.log.lines().len();
                world.discord.state(|state| {
                    state.edit_fates.clear();
                    state.edit_fates.extend(fates);
                });
                let command = world.discord.mute(&supervisor(), 1001);
                assert_eq!(world.log.outcome(command).await, "done");
                let told = |line: &String| line.contains("ERROR") && line.contains("the person was not told");
                world.log.until("an error is logged", |log| log.lines()[before..].iter().any(told)).await;
            }
        },
    )
    .await;
}

#[tokio::test]
async fn a_command_that_waited_too_long_is_not_sent_and_says_so() {
    World::run_with(
        |config| config.limits.queue = Duration::from_millis(500),
        async |world| {
            let (first, held) = world.held_call().await;
            let second = world.discord.mute(&supervisor(), 1002);
            let text = world.discord.reply(second).await;
            assert!(text.starts_with("**Not sent:** too many commands were waiting before it."), "{text}");
            held.notify_one();
            world.discord.reply(first).await;
            assert_eq!(world.log.outcome(second).await, "not_sent");
            assert_eq!(world.wolkvox.toggles(1002), 0);
        },
    )
    .await;
}

#[tokio::test]
async fn an_interaction_that_can_not_be_understood_leaves_a_warning_without_its_token() {
    World::run(async |world| {
        let token = "interaction-token-of-a-strange-one";
        for strange in [
            json!({"id": "7", "token": token, "type": 2}),
            json!({"id": "7", "application_id": "8", "token": token, "type": 99, "data": {}}),
            json!({"id": "7", "application_id": "8", "token": [token], "type": 2, "data": {}}),
            json!({"id": "7", "application_id": "8", "token": token, "type": 2, "data": {"name": "ban"}}),
            json!({"id": "7", "application_id": "8", "token": token, "type": 3, "data": {"custom_id": "other"}}),
            json!([token]),
        ] {
            let before = world.log.lines().len();
            world.discord.broadcast("INTERACTION_CREATE", strange);
            let warned = |line: &String| line.contains("WARN") && line.contains("can't be understood");
            world.log.until("a warning", |log| log.lines()[before..].iter().any(warned)).await;
        }
        world.discord.order(|| Order::Send(json!({"op": 0, "s": 99, "t": "SOMETHING_NEW", "d": {"x": 1}})));
        world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
    })
    .await;
}
