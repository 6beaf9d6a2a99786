//! The accepted first answer is the only arbiter: without it nothing is done.

use std::time::Duration;

use serde_json::json;
use wolkvox_bot::config::Config;

use crate::support::bot::World;
use crate::support::discord::{ELSEWHERE, Fate, Order, second_supervisor, supervisor};
use crate::support::wolkvox::{self, SUCCESS};

#[tokio::test]
async fn without_an_accepted_acknowledgement_wolkvox_is_not_called() {
    World::run(async |world| {
        for (status, code) in [(404, 10062), (400, 50035), (403, 50001), (401, 0)] {
            world.discord.next([Fate::Refuse(status, code)]);
            let command = world.discord.mute(&supervisor(), 1001);
            assert_eq!(world.log.outcome(command).await, "unacknowledged", "{status} {code}");
        }
        assert_eq!(world.wolkvox.requests(), 0);
    })
    .await;
}

#[tokio::test]
async fn wolkvox_is_called_only_after_the_acknowledgement_was_accepted() {
    World::run(async |world| {
        world.discord.next([Fate::Slow(Duration::from_millis(300))]);
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
            vec![Fate::Refuse(403, 40333)],
        ] {
            world.discord.next(fates);
            let (text, outcome) = world.told(world.discord.mute(&supervisor(), 1001)).await;
            assert!(text.starts_with(SUCCESS) && outcome == "done", "{outcome}: {text}");
        }
        assert_eq!(world.wolkvox.toggles(1001), 5);
    })
    .await;
}

#[tokio::test]
async fn an_acknowledgement_is_given_up_when_its_time_is_over() {
    World::run_with(hurried, async |world| {
        // A refusal is tried again; a try that is silent is waited for.
        for (fate, tries) in [(Fate::Refuse(503, 0), 2..20), (Fate::StallAfter, 1..2)] {
            world.discord.next(vec![fate; 20]);
            let command = world.discord.mute(&supervisor(), 1001);
            assert_eq!(world.log.outcome(command).await, "unacknowledged");
            let left = world.discord.state(|state| std::mem::take(&mut state.first_answer_fates).len());
            assert!(tries.contains(&(20 - left)), "{left} were left");
        }
        assert_eq!(world.wolkvox.requests(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_result_is_delivered_through_all_that_may_pass() {
    World::run(async |world| {
        for fates in [
            vec![Fate::Refuse(500, 0), Fate::CutBefore, Fate::RateLimit(0.3), Fate::CutAfter, Fate::Refuse(503, 0)],
            vec![Fate::Refuse(404, 10008)],
            vec![Fate::Refuse(404, 10015)],
            vec![Fate::Refuse(403, 50001)],
            vec![Fate::Endless],
            // Discord calls a token void seconds after the command.
            vec![Fate::Refuse(401, 50027); 4],
        ] {
            let toggles = world.wolkvox.toggles(1001);
            world.discord.next_edits(fates.clone());
            let command = world.discord.mute(&supervisor(), 1001);
            world.discord.until("all tries were made", |state| state.edit_fates.is_empty()).await;
            let (text, outcome) = world.told(command).await;
            assert!(text.starts_with(SUCCESS) && outcome == "done", "{fates:?}, {outcome}: {text}");
            assert_eq!(world.wolkvox.toggles(1001), toggles + 1);
        }
    })
    .await;
}

#[tokio::test]
async fn a_result_that_can_not_be_delivered_is_in_the_log_with_an_error() {
    World::run_with(briefly, async |world| {
        for (status, code) in [(404, 10015), (503, 0), (401, 50027)] {
            world.discord.state(|state| state.edit_fates = vec![Fate::Refuse(status, code); 50].into());
            let command = world.discord.mute(&supervisor(), 1001);
            assert_eq!(world.log.outcome(command).await, "done");
            let error = |line: &String| {
                let is_told = line.contains("ERROR") && line.contains("the person was not told");
                is_told && line.contains(&command.to_string()) && line.contains("done")
            };
            world.log.until("an error is logged", |log| log.lines().iter().any(error)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_command_that_waited_too_long_is_not_sent_and_says_so() {
    let impatient = |config: &mut Config| config.limits.queue = Duration::from_millis(500);
    World::run_with(impatient, async |world| {
        let (first, held) = world.held_call().await;
        let (text, outcome) = world.told(world.discord.mute(&supervisor(), 1002)).await;
        assert!(text.starts_with("**Not sent:** its turn came too late.") && outcome == "not_sent", "{text}");
        held.notify_one();
        world.discord.reply(first).await;
        assert_eq!(world.wolkvox.toggles(1002), 0);
    })
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
        world.mute(1001).await;
    })
    .await;
}

/// Short times for what takes seconds in real life.
pub(crate) fn hurried(config: &mut Config) {
    config.limits.first_answer = Duration::from_millis(400);
    config.limits.look_again = Duration::from_millis(300);
}

/// Short times for what takes minutes.
fn briefly(config: &mut Config) {
    config.limits.delivery = Duration::from_secs(2);
    config.limits.telling = Duration::ZERO;
    config.wolkvox.timeout = Duration::from_millis(500);
}

const UNCONFIRMED: &str = "**Not sent from here:** Discord did not confirm the command";

#[tokio::test]
async fn an_acceptance_that_is_read_late_counts_as_none_and_holds_nobody_up() {
    World::run_with(hurried, async |world| {
        world.discord.next([Fate::Late(Duration::from_millis(1200))]);
        let command = world.discord.mute(&supervisor(), 1001);
        assert!(world.mute(1002).await.starts_with(SUCCESS));
        let (text, outcome) = world.told(command).await;
        assert!(text.starts_with(UNCONFIRMED) && outcome == "unacknowledged", "{outcome}: {text}");
        assert_eq!(world.wolkvox.toggles(1001), 0);
    })
    .await;
}

#[tokio::test]
async fn connections_that_pass_nothing_on_any_more_cost_one_command_alone() {
    let hurried = |config: &mut Config| config.limits.first_answer = Duration::from_millis(1000);
    World::run_with(hurried, async |world| {
        world.mute(1001).await;
        world.discord.stall_rest_connections();
        let lost = world.discord.mute(&supervisor(), 1002);
        assert_eq!(world.log.outcome(lost).await, "unacknowledged");
        for agent in 1003..1006 {
            assert!(world.mute(agent).await.starts_with(SUCCESS));
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
        assert!(world.mute(1002).await.starts_with(SUCCESS));
    })
    .await;
}

#[tokio::test]
async fn a_page_or_json_in_discords_place_is_no_acceptance_no_refusal_and_no_delivery() {
    World::run_with(hurried, async |world| {
        for fate in [200, 403, 404, 302].map(Fate::Page).into_iter().chain([200, 403].map(Fate::Json)) {
            world.discord.next([fate.clone()]);
            world.discord.next_edits([fate.clone()]);
            let (text, outcome) = world.told(world.discord.mute(&supervisor(), 1001)).await;
            assert!(text.starts_with(SUCCESS) && outcome == "done", "{fate:?}, {outcome}: {text}");
        }
        for fate in [Fate::Page(200), Fate::Json(200)] {
            world.discord.state(|state| state.first_answer_fates = vec![fate; 50].into());
            let command = world.discord.mute(&supervisor(), 1002);
            assert_eq!(world.log.outcome(command).await, "unacknowledged");
        }
        assert_eq!(world.wolkvox.toggles(1002), 0);
    })
    .await;
}

#[tokio::test]
async fn somebody_left_on_thinking_is_told_what_stays_true_whatever_another_copy_answers() {
    World::run_with(hurried, async |world| {
        // The answer is lost; another copy was first; Discord accepts and says that it knows nothing of the command.
        for fate in [Fate::CutAfter, Fate::StallAfter, Fate::AnsweredElsewhere, Fate::Forget] {
            world.discord.next([fate.clone()]);
            world.discord.state(|state| state.look_fates.push_back(Fate::Refuse(403, 50001)));
            let (text, outcome) = world.told(world.discord.mute(&supervisor(), 1001)).await;
            assert!(text.starts_with(UNCONFIRMED) && text.contains("MUTE button"), "{fate:?}: {text}");
            assert!(text.contains("another copy of the bot may have it"), "{fate:?}: {text}");
            assert_eq!(outcome, "unacknowledged", "{fate:?}");
        }
        assert_eq!(world.wolkvox.requests(), 0);
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_is_there_is_never_written_over() {
    World::run_with(hurried, async |world| {
        world.discord.next([Fate::CutAfter]);
        let looks = [Fate::Refuse(503, 0), Fate::Slow(Duration::from_millis(50))];
        world.discord.state(|state| state.look_fates.extend(looks));
        let command = world.discord.mute(&supervisor(), 1001);
        world.discord.until_acknowledged(command).await;
        // Another copy, which has it, answers before this one looks.
        world.discord.answer_elsewhere(command);
        world.discord.until("this copy has looked", |state| state.interactions[&command].looks >= 1).await;
        world.mute(1002).await;
        assert_eq!(world.discord.reply(command).await, ELSEWHERE);
    })
    .await;
}

#[tokio::test]
async fn a_question_that_was_accepted_late_keeps_its_button_working() {
    World::run_with(hurried, async |world| {
        world.mute(1001).await;
        world.discord.next(vec![Fate::Late(Duration::from_millis(600)); 4]);
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
async fn a_pause_of_an_hour_does_not_keep_the_result_back() {
    World::run_with(briefly, async |world| {
        world.discord.next_edits([Fate::Cloudflare(3600)]);
        assert!(world.mute(1001).await.starts_with(SUCCESS));
    })
    .await;
}

#[tokio::test]
async fn a_text_that_discord_does_not_take_is_told_in_our_own_words() {
    World::run(async |world| {
        world.discord.state(|state| state.rejects_content = Some(|content| content.contains("excecuted")));
        let text = world.mute(1001).await;
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
async fn a_message_that_can_not_be_posted_below_or_perhaps_was_is_not_posted_again() {
    for (fate, posted) in [(Fate::Refuse(404, 10008), 0), (Fate::CutAfter, 1), (Fate::StallAfter, 1)] {
        World::run(async |world| {
            let (command, held) = world.held_call().await;
            world.discord.delete_message(command);
            world.discord.state(|state| state.follow_up_fates.extend(vec![fate; 20]));
            held.notify_one();
            world.log.until_contains("the person was not told").await;
            assert_eq!(world.discord.interaction(command).follow_ups.len(), posted);
            assert_eq!(world.discord.state(|state| state.follow_up_fates.len()), 19);
        })
        .await;
    }
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
