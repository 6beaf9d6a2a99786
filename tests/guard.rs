//! Two supervisors, one agent: the second is asked before the first one's toggle is reversed.

use std::time::Duration;

use wolkvox_bot::config::Config;

use crate::support::bot::World;
use crate::support::discord::{Actor, Fate, second_supervisor, stranger, supervisor, third_supervisor};
use crate::support::wolkvox::{self, SUCCESS};

/// What Bruno reads after `/mute`, and the outcome.
async fn brunos(world: &World, agent: u64) -> (String, String) {
    world.told(world.discord.mute(&second_supervisor(), agent)).await
}

/// Ana toggles 1001, Bruno is asked: his command and the id of the button.
async fn asked(world: &World) -> (u64, String) {
    world.mute(1001).await;
    let command = world.discord.mute(&second_supervisor(), 1001);
    let question = world.discord.finished(command).await;
    (command, question.button().expect("a button"))
}

async fn press(world: &World, actor: &Actor, button: &str) -> String {
    world.discord.reply(world.discord.press(actor, button)).await
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
async fn a_toggle_that_waits_or_is_in_progress_counts() {
    World::run(async |world| {
        let (first, held) = world.held_call().await;
        let waiting = world.discord.mute(&supervisor(), 1002);
        world.discord.until_acknowledged(waiting).await;
        for agent in [1001, 1002] {
            let (text, outcome) = brunos(world, agent).await;
            assert!(text.contains(&format!("<@501> asked to toggle the microphone of agent {agent}")), "{text}");
            assert!(text.contains("still in progress. Going on would reverse it."), "{text}");
            assert_eq!(outcome, "guarded");
        }
        held.notify_one();
        world.discord.reply(first).await;
        world.discord.reply(waiting).await;
        assert_eq!(world.wolkvox.all_toggles(), 2);
    })
    .await;
}

#[tokio::test]
async fn two_at_the_very_same_time_toggle_once_unless_the_guard_is_off() {
    for (guard, outcomes) in [(Duration::from_secs(30), ["done", "guarded"]), (Duration::ZERO, ["done", "done"])] {
        let guarded = |config: &mut Config| config.toggle_guard = guard;
        World::run_with(guarded, async |world| {
            let both = [world.discord.mute(&supervisor(), 1001), world.discord.mute(&second_supervisor(), 1001)];
            for (command, outcome) in both.into_iter().zip(outcomes) {
                assert_eq!(world.told(command).await.1, outcome);
            }
        })
        .await;
    }
}

#[tokio::test]
async fn the_same_supervisor_may_toggle_back_at_once_and_other_agents_are_not_guarded() {
    World::run(async |world| {
        for _ in 0..3 {
            assert!(world.mute(1001).await.starts_with(SUCCESS));
        }
        assert_eq!(brunos(world, 1002).await.1, "done");
    })
    .await;
}

#[tokio::test]
async fn a_toggle_that_may_have_been_done_counts_and_one_that_was_not_does_not() {
    World::run(async |world| {
        world.wolkvox.next([wolkvox::Fate::Refuse(403, "FORBIDDEN", "TOKEN LIMIT EXCEEDED")]);
        world.mute(1001).await;
        assert_eq!(brunos(world, 1001).await.1, "done");
        world.wolkvox.next([wolkvox::Fate::CutAfter]);
        world.mute(1002).await;
        // Another copy may be carrying these out.
        for (agent, fate) in [(1003, Fate::AnsweredElsewhere), (1004, Fate::Refuse(404, 10062))] {
            world.discord.next([fate]);
            let elsewhere = world.discord.mute(&supervisor(), agent);
            assert_eq!(world.log.outcome(elsewhere).await, "unacknowledged");
        }
        for agent in 1002..=1004 {
            let (text, outcome) = brunos(world, agent).await;
            assert!(
                text.contains("it is not known whether that was done") && text.contains("may reverse it"),
                "{text}"
            );
            assert_eq!(outcome, "guarded");
        }
    })
    .await;
}

#[tokio::test]
async fn after_its_window_a_toggle_does_not_count() {
    let short = |config: &mut Config| config.toggle_guard = Duration::from_millis(200);
    World::run_with(short, async |world| {
        world.mute(1001).await;
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert_eq!(brunos(world, 1001).await.1, "done");
    })
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
        assert!(press(world, &third_supervisor(), &button).await.starts_with("Somebody else was asked."));
        assert_eq!(world.wolkvox.toggles(1001), 1);
        assert!(press(world, &second_supervisor(), &button).await.starts_with(SUCCESS), "it still works for him");
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
    let short = |config: &mut Config| config.limits.question = Duration::from_millis(100);
    World::run_with(short, async |world| {
        let (_, button) = asked(world).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        let text = press(world, &second_supervisor(), &button).await;
        assert!(text.starts_with("This button has expired. Nothing was sent."), "{text}");
        assert_eq!(world.wolkvox.toggles(1001), 1);
    })
    .await;
}

#[tokio::test]
async fn after_a_restart_the_button_says_so_and_does_nothing() {
    World::run(async |world| {
        let recent = world.discord.snowflake();
        let long_ago = recent - (120_000 << 22);
        for (question, told) in
            [(recent, "The bot was restarted since it asked."), (long_ago, "This button has expired.")]
        {
            let text = press(world, &second_supervisor(), &format!("go-on:{question}")).await;
            assert!(text.starts_with(told), "{text}");
        }
        assert_eq!(world.wolkvox.requests(), 0);
    })
    .await;
}

#[tokio::test]
async fn going_on_reverses_only_the_toggle_that_was_asked_about() {
    World::run(async |world| {
        let (_, brunos) = asked(world).await;
        let third = third_supervisor();
        let diegos = world.discord.finished(world.discord.mute(&third, 1001)).await.button().unwrap();
        press(world, &second_supervisor(), &brunos).await;
        // Diego was asked about Ana's toggle, which Bruno has reversed meanwhile: he is asked again.
        let pressed = world.discord.press(&third, &diegos);
        let question = world.discord.finished(pressed).await;
        assert!(question.text().unwrap().contains("<@502> toggled the microphone of agent 1001"));
        assert_eq!(world.log.outcome(pressed).await, "guarded");
        assert_eq!(world.wolkvox.toggles(1001), 2);
        assert!(press(world, &third, &question.button().unwrap()).await.starts_with(SUCCESS));
    })
    .await;
}

#[tokio::test]
async fn a_press_that_discord_did_not_accept_leaves_the_button_usable() {
    World::run(async |world| {
        let (_, button) = asked(world).await;
        world.discord.next([Fate::Refuse(404, 10062)]);
        let lost = world.discord.press(&second_supervisor(), &button);
        assert_eq!(world.log.outcome(lost).await, "unacknowledged");
        assert!(press(world, &second_supervisor(), &button).await.starts_with(SUCCESS));
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
        assert!(press(world, &second_supervisor(), &button).await.starts_with("**Not sent:** there is no connection"));
        world.wolkvox.come_back();
        assert!(press(world, &second_supervisor(), &button).await.starts_with(SUCCESS));
        assert!(press(world, &second_supervisor(), &button).await.starts_with("This button was used already."));
    })
    .await;
}
