//! Two supervisors, one agent: the second is asked before the first one's toggle is reversed.

use std::time::Duration;

use crate::support::bot::World;
use crate::support::discord::{Actor, Fate, second_supervisor, stranger, supervisor};
use crate::support::wolkvox::{self, SUCCESS};

/// Ana toggles 1001, Bruno is asked: his command and the id of the button.
async fn asked(world: &World) -> (u64, String) {
    world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
    let command = world.discord.mute(&second_supervisor(), 1001);
    let question = world.discord.finished(command).await;
    (command, question.button().expect("a button"))
}

#[tokio::test]
async fn a_second_supervisor_is_asked_before_reversing_the_first() {
    World::run(async |world| {
        let (command, _) = asked(world).await;
        let question = world.discord.interaction(command);
        let text = question.text().unwrap();
        assert_eq!(
            text,
            "**Not sent:** <@501> toggled the microphone of agent 1001 1 second ago. Going on would reverse that."
        );
        assert!(question.private());
        assert_eq!(question.shown.unwrap()["components"][0]["components"].as_array().unwrap().len(), 1);
        assert_eq!(world.log.outcome(command).await, "guarded");
        assert_eq!(world.wolkvox.toggles(1001), 1);
    })
    .await;
}

#[tokio::test]
async fn the_button_goes_the_whole_normal_way() {
    World::run(async |world| {
        let (_, button) = asked(world).await;
        let press = world.discord.press(&second_supervisor(), &button);
        let reply = world.discord.finished(press).await;
        assert!(reply.text().unwrap().starts_with(SUCCESS));
        assert!(reply.deferred() && !reply.private());
        assert_eq!(world.log.outcome(press).await, "done");
        assert_eq!(world.wolkvox.toggles(1001), 2);
    })
    .await;
}

#[tokio::test]
async fn a_toggle_that_waits_or_is_under_way_counts() {
    World::run(async |world| {
        let (first, held) = world.held_call().await;
        let waiting = world.discord.mute(&supervisor(), 1002);
        world.discord.until_acknowledged(waiting).await;
        for agent in [1001, 1002] {
            let command = world.discord.mute(&second_supervisor(), agent);
            let text = world.discord.reply(command).await;
            assert!(text.contains(&format!("<@501> asked to toggle the microphone of agent {agent}")), "{text}");
            assert!(text.contains("still in progress. Going on would reverse it."), "{text}");
            assert_eq!(world.log.outcome(command).await, "guarded");
        }
        held.notify_one();
        world.discord.reply(first).await;
        world.discord.reply(waiting).await;
        assert_eq!(world.wolkvox.all_toggles(), 2);
    })
    .await;
}

#[tokio::test]
async fn two_at_the_very_same_time_toggle_once() {
    World::run(async |world| {
        let both = [world.discord.mute(&supervisor(), 1001), world.discord.mute(&second_supervisor(), 1001)];
        let mut outcomes = Vec::new();
        for command in both {
            world.discord.reply(command).await;
            outcomes.push(world.log.outcome(command).await);
        }
        assert_eq!(outcomes, ["done", "guarded"]);
        assert_eq!(world.wolkvox.toggles(1001), 1);
    })
    .await;
}

#[tokio::test]
async fn the_same_supervisor_may_toggle_back_at_once() {
    World::run(async |world| {
        for _ in 0..3 {
            let command = world.discord.mute(&supervisor(), 1001);
            world.discord.reply(command).await;
            assert_eq!(world.log.outcome(command).await, "done");
        }
    })
    .await;
}

#[tokio::test]
async fn other_agents_are_not_guarded() {
    World::run(async |world| {
        world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
        let command = world.discord.mute(&second_supervisor(), 1002);
        world.discord.reply(command).await;
        assert_eq!(world.log.outcome(command).await, "done");
    })
    .await;
}

#[tokio::test]
async fn a_toggle_of_unknown_outcome_counts_and_one_that_did_not_happen_does_not() {
    World::run(async |world| {
        for (agent, fate, expected) in [
            (1001, wolkvox::Fate::CutAfter, "guarded"),
            (1002, wolkvox::Fate::Refuse(403, "FORBIDDEN", "TOKEN LIMIT EXCEEDED"), "done"),
        ] {
            world.wolkvox.next([fate]);
            world.discord.reply(world.discord.mute(&supervisor(), agent)).await;
            let command = world.discord.mute(&second_supervisor(), agent);
            world.discord.reply(command).await;
            assert_eq!(world.log.outcome(command).await, expected);
        }
    })
    .await;
}

#[tokio::test]
async fn a_toggle_that_another_copy_may_be_carrying_out_counts() {
    World::run(async |world| {
        for (agent, fate) in [(1001, Fate::AnsweredElsewhere), (1002, Fate::Refuse(404, 10062))] {
            world.discord.state(|state| state.first_answer_fates.push_back(fate));
            let elsewhere = world.discord.mute(&supervisor(), agent);
            assert_eq!(world.log.outcome(elsewhere).await, "unacknowledged");
            let command = world.discord.mute(&second_supervisor(), agent);
            let text = world.discord.reply(command).await;
            assert!(text.contains("it is not known whether that was done"), "{text}");
            assert_eq!(world.log.outcome(command).await, "guarded");
        }
    })
    .await;
}

#[tokio::test]
async fn after_its_window_a_toggle_does_not_count() {
    World::run_with(
        |config| config.toggle_guard = Duration::from_millis(200),
        async |world| {
            world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
            tokio::time::sleep(Duration::from_millis(250)).await;
            let command = world.discord.mute(&second_supervisor(), 1001);
            world.discord.reply(command).await;
            assert_eq!(world.log.outcome(command).await, "done");
        },
    )
    .await;
}

#[tokio::test]
async fn zero_turns_the_guard_off() {
    World::run_with(
        |config| config.toggle_guard = Duration::ZERO,
        async |world| {
            let both = [world.discord.mute(&supervisor(), 1001), world.discord.mute(&second_supervisor(), 1001)];
            for command in both {
                world.discord.reply(command).await;
                assert_eq!(world.log.outcome(command).await, "done");
            }
        },
    )
    .await;
}

#[tokio::test]
async fn pressed_twice_at_once_the_button_acts_once() {
    World::run(async |world| {
        let (_, button) = asked(world).await;
        let presses =
            [world.discord.press(&second_supervisor(), &button), world.discord.press(&second_supervisor(), &button)];
        let first = world.discord.reply(presses[0]).await;
        let second = world.discord.finished(presses[1]).await;
        assert!(first.starts_with(SUCCESS), "{first}");
        assert!(second.text().unwrap().starts_with("This button was used already."));
        assert!(second.private());
        assert_eq!(world.wolkvox.toggles(1001), 2);
    })
    .await;
}

#[tokio::test]
async fn the_button_is_for_the_supervisor_who_was_asked() {
    World::run(async |world| {
        let (_, button) = asked(world).await;
        let third = Actor { id: 504, name: "diego", ..second_supervisor() };
        let press = world.discord.press(&third, &button);
        assert!(world.discord.reply(press).await.starts_with("Somebody else was asked."));
        assert_eq!(world.wolkvox.toggles(1001), 1);
        let press = world.discord.press(&second_supervisor(), &button);
        assert!(world.discord.reply(press).await.starts_with(SUCCESS), "it still works for him");
    })
    .await;
}

#[tokio::test]
async fn the_allowlist_is_checked_again_when_the_button_is_pressed() {
    World::run(async |world| {
        let (_, button) = asked(world).await;
        let demoted = Actor { roles: stranger().roles, ..second_supervisor() };
        let press = world.discord.press(&demoted, &button);
        assert!(world.discord.reply(press).await.starts_with("You don't have a role"));
        assert_eq!(world.log.outcome(press).await, "denied");
        assert_eq!(world.wolkvox.toggles(1001), 1);
    })
    .await;
}

#[tokio::test]
async fn pressed_late_the_button_says_so_and_does_nothing() {
    World::run_with(
        |config| config.limits.question = Duration::from_millis(100),
        async |world| {
            let (_, button) = asked(world).await;
            tokio::time::sleep(Duration::from_millis(150)).await;
            let press = world.discord.press(&second_supervisor(), &button);
            assert!(world.discord.reply(press).await.starts_with("This button has expired. Nothing was sent."));
            assert_eq!(world.wolkvox.toggles(1001), 1);
        },
    )
    .await;
}

#[tokio::test]
async fn after_a_restart_the_button_says_so_and_does_nothing() {
    World::run(async |world| {
        let recent = world.discord.snowflake();
        let press = world.discord.press(&second_supervisor(), &format!("go-on:{recent}"));
        assert!(world.discord.reply(press).await.starts_with("The bot was restarted since it asked."));
        let long_ago = recent - (120_000 << 22);
        let press = world.discord.press(&second_supervisor(), &format!("go-on:{long_ago}"));
        assert!(world.discord.reply(press).await.starts_with("This button has expired."));
        assert_eq!(world.wolkvox.requests(), 0);
    })
    .await;
}

#[tokio::test]
async fn going_on_reverses_only_the_toggle_that_was_asked_about() {
    World::run(async |world| {
        let (_, brunos) = asked(world).await;
        let third = Actor { id: 504, name: "diego", ..second_supervisor() };
        let diegos = world.discord.finished(world.discord.mute(&third, 1001)).await.button().unwrap();
        world.discord.reply(world.discord.press(&second_supervisor(), &brunos)).await;
        // Diego was asked about Ana's toggle, which Bruno has reversed meanwhile: he is asked again.
        let press = world.discord.press(&third, &diegos);
        let question = world.discord.finished(press).await;
        assert!(question.text().unwrap().contains("<@502> toggled the microphone of agent 1001"));
        assert_eq!(world.log.outcome(press).await, "guarded");
        assert_eq!(world.wolkvox.toggles(1001), 2);
        let press = world.discord.press(&third, &question.button().unwrap());
        assert!(world.discord.reply(press).await.starts_with(SUCCESS));
    })
    .await;
}

#[tokio::test]
async fn the_question_about_a_toggle_of_unknown_outcome_does_not_claim_that_it_was_done() {
    World::run(async |world| {
        world.wolkvox.next([wolkvox::Fate::CutAfter]);
        world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
        let text = world.discord.reply(world.discord.mute(&second_supervisor(), 1001)).await;
        assert!(text.contains("it is not known whether that was done") && text.contains("may reverse it"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn a_press_that_discord_did_not_accept_leaves_the_button_usable() {
    World::run(async |world| {
        let (_, button) = asked(world).await;
        world.discord.state(|state| state.first_answer_fates.push_back(Fate::Refuse(404, 10062)));
        let lost = world.discord.press(&second_supervisor(), &button);
        assert_eq!(world.log.outcome(lost).await, "unacknowledged");
        let press = world.discord.press(&second_supervisor(), &button);
        assert!(world.discord.reply(press).await.starts_with(SUCCESS));
        assert_eq!(world.wolkvox.toggles(1001), 2);
    })
    .await;
}

#[tokio::test]
async fn the_toggle_that_was_admitted_last_decides_and_not_the_one_that_was_settled_last() {
    World::run(async |world| {
        let (anas, anas_call) = world.held_call().await;
        let asked = world.discord.finished(world.discord.mute(&second_supervisor(), 1001)).await;
        let brunos = world.discord.press(&second_supervisor(), &asked.button().unwrap());
        world.discord.until_acknowledged(brunos).await;
        let brunos_call = world.wolkvox.hold();
        anas_call.notify_one();
        world.discord.reply(anas).await;
        world.wolkvox.until_requests(2).await;
        // Ana's is done, Bruno's is in progress: she is asked before she reverses his.
        let text = world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
        assert!(text.contains("<@502> asked to toggle") && text.contains("still in progress"), "{text}");
        brunos_call.notify_one();
        assert!(world.discord.reply(brunos).await.starts_with(SUCCESS));
        assert_eq!(world.wolkvox.toggles(1001), 2);
    })
    .await;
}

#[tokio::test]
async fn a_question_is_open_again_when_its_press_was_not_sent() {
    World::run(async |world| {
        let (_, button) = asked(world).await;
        world.wolkvox.go_down();
        let lost = world.discord.press(&second_supervisor(), &button);
        assert!(world.discord.reply(lost).await.starts_with("**Not sent:** there is no connection"));
        world.wolkvox.come_back();
        let press = world.discord.press(&second_supervisor(), &button);
        assert!(world.discord.reply(press).await.starts_with(SUCCESS));
        let again = world.discord.press(&second_supervisor(), &button);
        assert!(world.discord.reply(again).await.starts_with("This button was used already."));
    })
    .await;
}
