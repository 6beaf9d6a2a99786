//! The accepted first answer is the only arbiter: without it nothing is done.

use std::time::Duration;

use serde_json::json;
use wolkvox_bot::config::Config;

use crate::support::bot::World;
use crate::support::discord::{Fate, Order, second_supervisor, supervisor};
use crate::support::wolkvox::{self, SUCCESS};

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
        |config| {
            config.limits.delivery = Duration::from_millis(800);
            config.limits.telling = Duration::ZERO;
            config.wolkvox.timeout = Duration::from_millis(200);
        },
        async |world| {
            for fates in [vec![Fate::Refuse(404, 10015); 50], vec![Fate::Refuse(503, 0); 50]] {
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
            assert!(text.starts_with("**Not sent:** its turn came too late."), "{text}");
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

/// Short times for what takes seconds in real life.
fn hurried(config: &mut Config) {
    config.limits.first_answer = Duration::from_millis(400);
    config.limits.look_again = Duration::from_millis(300);
}

const UNCONFIRMED: &str = "**Not sent from here:** Discord did not confirm the command";

#[tokio::test]
async fn an_acceptance_that_is_read_late_counts_as_none_and_holds_nobody_up() {
    World::run_with(hurried, async |world| {
        world.discord.state(|state| state.first_answer_fates.push_back(Fate::Late(Duration::from_millis(1200))));
        let command = world.discord.mute(&supervisor(), 1001);
        let next = world.discord.mute(&supervisor(), 1002);
        assert!(world.discord.reply(next).await.starts_with(SUCCESS));
        let text = world.discord.reply(command).await;
        assert!(text.starts_with(UNCONFIRMED), "{text}");
        assert_eq!(world.log.outcome(command).await, "unacknowledged");
        assert_eq!(world.wolkvox.toggles(1001), 0);
    })
    .await;
}

#[tokio::test]
async fn no_first_answer_is_sent_when_its_time_is_over() {
    World::run_with(hurried, async |world| {
        world.discord.state(|state| state.first_answer_fates.extend(vec![Fate::StallAfter; 50]));
        let command = world.discord.mute(&supervisor(), 1001);
        world.discord.until_acknowledged(command).await;
        let text = world.discord.reply(command).await;
        assert!(text.starts_with(UNCONFIRMED), "{text}");
        let tries = 50 - world.discord.state(|state| state.first_answer_fates.len());
        assert_eq!(tries, 1, "one try waits for its answer");
    })
    .await;
}

#[tokio::test]
async fn connections_that_pass_nothing_on_any_more_cost_one_command_alone() {
    let hurried = |config: &mut Config| config.limits.first_answer = Duration::from_millis(1000);
    World::run_with(hurried, async |world| {
        world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
        world.discord.stall_rest_connections();
        let lost = world.discord.mute(&supervisor(), 1002);
        assert_eq!(world.log.outcome(lost).await, "unacknowledged");
        for agent in 1003..1006 {
            let command = world.discord.mute(&supervisor(), agent);
            assert!(world.discord.reply(command).await.starts_with(SUCCESS));
            assert_eq!(world.log.outcome(command).await, "done");
        }
        assert_eq!(world.wolkvox.toggles(1002), 0);
    })
    .await;
}

#[tokio::test]
async fn a_result_gets_around_connections_that_pass_nothing_on_any_more() {
    World::run(async |world| {
        let (command, held) = world.held_call().await;
        world.discord.stall_rest_connections();
        held.notify_one();
        assert!(world.discord.reply(command).await.starts_with(SUCCESS));
        let next = world.discord.mute(&supervisor(), 1002);
        assert!(world.discord.reply(next).await.starts_with(SUCCESS));
    })
    .await;
}

#[tokio::test]
async fn a_page_in_discords_place_is_no_acceptance_and_no_refusal() {
    World::run(async |world| {
        for status in [200, 403, 404, 302] {
            world.discord.state(|state| {
                state.first_answer_fates.push_back(Fate::Page(status));
                state.edit_fates.push_back(Fate::Page(status));
            });
            let command = world.discord.mute(&supervisor(), 1001);
            assert!(world.discord.reply(command).await.starts_with(SUCCESS), "{status}");
            assert_eq!(world.log.outcome(command).await, "done");
        }
        world.discord.state(|state| state.first_answer_fates.extend(vec![Fate::Page(200); 50]));
        let command = world.discord.mute(&supervisor(), 1002);
        assert_eq!(world.log.outcome(command).await, "unacknowledged");
        assert_eq!(world.wolkvox.toggles(1002), 0);
    })
    .await;
}

#[tokio::test]
async fn somebody_left_on_thinking_by_a_lost_answer_is_told_that_nothing_was_sent_from_here() {
    World::run_with(hurried, async |world| {
        world.discord.state(|state| state.first_answer_fates.push_back(Fate::CutAfter));
        let command = world.discord.mute(&supervisor(), 1001);
        let text = world.discord.reply(command).await;
        assert!(text.starts_with(UNCONFIRMED) && text.contains("MUTE button"), "{text}");
        assert_eq!(world.log.outcome(command).await, "unacknowledged");
        assert_eq!(world.wolkvox.requests(), 0);
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_is_there_is_never_written_over() {
    World::run_with(hurried, async |world| {
        world.discord.state(|state| {
            state.first_answer_fates.push_back(Fate::CutAfter);
            state.look_fates.extend([Fate::Refuse(503, 0), Fate::Slow(Duration::from_millis(50))]);
        });
        let command = world.discord.mute(&supervisor(), 1001);
        world.discord.until_acknowledged(command).await;
        // Another copy, which has it, answers before this one looks.
        world.discord.state(|state| {
            let answer = json!({"content": "answered by another copy", "allowed_mentions": {"parse": []}});
            state.interactions.get_mut(&command).unwrap().shown = Some(answer);
        });
        world.discord.until("this copy has looked", |state| state.interactions[&command].looks >= 1).await;
        world.discord.reply(world.discord.mute(&supervisor(), 1002)).await;
        assert_eq!(world.discord.reply(command).await, "answered by another copy");
    })
    .await;
}

#[tokio::test]
async fn somebody_who_waits_for_another_copy_is_told_what_stays_true_whatever_that_one_answers() {
    World::run_with(hurried, async |world| {
        world.discord.state(|state| state.first_answer_fates.push_back(Fate::AnsweredElsewhere));
        let command = world.discord.mute(&supervisor(), 1001);
        assert_eq!(world.log.outcome(command).await, "unacknowledged");
        let text = world.discord.reply(command).await;
        assert!(text.starts_with(UNCONFIRMED) && text.contains("another copy of the bot may have it"), "{text}");
        assert_eq!(world.wolkvox.requests(), 0);
    })
    .await;
}

#[tokio::test]
async fn somebody_who_sees_thinking_although_discord_knows_nothing_of_the_command_is_told() {
    World::run_with(hurried, async |world| {
        world.discord.state(|state| state.first_answer_fates.push_back(Fate::Forget));
        let command = world.discord.mute(&supervisor(), 1001);
        assert_eq!(world.log.outcome(command).await, "unacknowledged");
        let text = world.discord.reply(command).await;
        assert!(text.starts_with(UNCONFIRMED), "{text}");
        assert_eq!(world.wolkvox.requests(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_question_that_was_accepted_late_keeps_its_button_working() {
    World::run_with(hurried, async |world| {
        world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
        world.discord.state(|state| state.first_answer_fates.extend(vec![Fate::Late(Duration::from_millis(600)); 4]));
        let question = world.discord.mute(&second_supervisor(), 1001);
        let button = world.discord.finished(question).await.button().unwrap();
        world.discord.state(|state| state.first_answer_fates.clear());
        let pressed = world.discord.press(&second_supervisor(), &button);
        assert!(world.discord.reply(pressed).await.starts_with(SUCCESS));
        assert_eq!(world.log.outcome(question).await, "unacknowledged");
        assert_eq!(world.wolkvox.toggles(1001), 2);
    })
    .await;
}

#[tokio::test]
async fn a_result_is_delivered_through_every_refusal_that_may_pass() {
    World::run(async |world| {
        for fate in [Fate::Refuse(404, 10008), Fate::Refuse(404, 10015), Fate::Refuse(403, 50001), Fate::Endless] {
            let shown = format!("{fate:?}");
            world.discord.state(|state| state.edit_fates.push_back(fate));
            let command = world.discord.mute(&supervisor(), 1001);
            world.discord.until("tried again", |state| state.edit_fates.is_empty()).await;
            assert!(world.discord.reply(command).await.starts_with(SUCCESS), "{shown}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_pause_of_an_hour_does_not_keep_the_result_back() {
    let shorter = |config: &mut Config| {
        config.limits.delivery = Duration::from_secs(2);
        config.limits.telling = Duration::ZERO;
        config.wolkvox.timeout = Duration::from_millis(500);
    };
    World::run_with(shorter, async |world| {
        world.discord.state(|state| state.edit_fates.push_back(Fate::Cloudflare(3600)));
        let command = world.discord.mute(&supervisor(), 1001);
        assert!(world.discord.reply(command).await.starts_with(SUCCESS));
    })
    .await;
}

#[tokio::test]
async fn a_text_that_discord_does_not_take_is_told_in_our_own_words() {
    World::run(async |world| {
        world.discord.state(|state| state.rejects_content = Some(|content| content.contains("excecuted")));
        let command = world.discord.mute(&supervisor(), 1001);
        let text = world.discord.reply(command).await;
        assert!(text.starts_with("Wolkvox reported success. Its message can't be shown here."), "{text}");
        assert!(text.contains("Agent 1001"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn where_the_message_was_deleted_the_result_is_posted_below() {
    World::run(async |world| {
        let (command, held) = world.held_call().await;
        world.discord.delete_message(command);
        held.notify_one();
        assert!(world.discord.follow_up(command).await.starts_with(SUCCESS));
        assert_eq!(world.discord.interaction(command).follow_ups.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_token_that_discord_calls_void_seconds_after_the_command_is_tried_again() {
    World::run(async |world| {
        world.discord.state(|state| state.edit_fates.extend(vec![Fate::Refuse(401, 50027); 4]));
        let command = world.discord.mute(&supervisor(), 1001);
        assert!(world.discord.reply(command).await.starts_with(SUCCESS));
        assert_eq!(world.log.outcome(command).await, "done");
    })
    .await;
}

#[tokio::test]
async fn a_token_that_stays_void_is_not_tried_for_ever() {
    let shorter = |config: &mut Config| {
        config.limits.delivery = Duration::from_secs(2);
        config.limits.telling = Duration::ZERO;
        config.wolkvox.timeout = Duration::from_millis(500);
    };
    World::run_with(shorter, async |world| {
        let (command, held) = world.held_call().await;
        world.discord.void_token(command);
        held.notify_one();
        world.log.until_contains("the person was not told").await;
        let told = world.log.lines().into_iter().find(|line| line.contains("the person was not told")).unwrap();
        assert!(told.contains(&command.to_string()) && told.contains("done"), "{told}");
    })
    .await;
}

#[tokio::test]
async fn a_message_that_can_not_be_posted_below_either_is_not_tried_for_ever() {
    World::run(async |world| {
        let (command, held) = world.held_call().await;
        world.discord.delete_message(command);
        world.discord.state(|state| state.follow_up_fates.extend(vec![Fate::Refuse(404, 10008); 20]));
        held.notify_one();
        world.log.until_contains("the person was not told").await;
        assert_eq!(world.discord.state(|state| state.follow_up_fates.len()), 19);
    })
    .await;
}

#[tokio::test]
async fn a_first_answer_that_discords_own_network_refused_is_tried_again() {
    World::run(async |world| {
        world.discord.state(|state| state.first_answer_fates.push_back(Fate::Refuse(403, 40333)));
        let command = world.discord.mute(&supervisor(), 1001);
        assert!(world.discord.reply(command).await.starts_with(SUCCESS));
    })
    .await;
}

#[tokio::test]
async fn links_never_unfold() {
    World::run(async |world| {
        let link = br#"{"code":"200","error":null,"msg":"see https://example.com/a_b"}"#.to_vec();
        world.wolkvox.next([wolkvox::Fate::Say(200, "application/json", link)]);
        let command = world.discord.mute(&supervisor(), 1001);
        world.discord.reply(command).await;
        assert!(world.discord.interaction(command).suppressed);
        assert_eq!(world.discord.state(|state| state.unfurled.clone()), Vec::<String>::new());
    })
    .await;
}
