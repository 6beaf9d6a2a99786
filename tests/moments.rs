//! The table in `src/command.rs`, row by row: the bot is killed, and a handler panics, in each phase of a command.

use std::time::Duration;

use wolkvox_bot::config::Config;

use crate::state_file::contains;
use crate::support::bot::{Site, World};
use crate::support::discord::{Discord, Fate, second_supervisor, supervisor};
use crate::support::wolkvox::{self, SUCCESS};

/// What a second supervisor reads who toggles the agent now.
async fn next_supervisor(discord: &Discord, agent: u64) -> String {
    discord.reply(discord.mute(&second_supervisor(), agent)).await
}

#[tokio::test]
async fn killed_in_each_phase_the_bot_tells_what_the_table_says() {
    let site = Site::new().await;
    let Site { discord, wolkvox, .. } = &site;
    let process = site.connected(1).await;
    let told = discord.mute(&supervisor(), 1001);
    discord.reply(told).await;
    let asked = discord.finished(discord.mute(&second_supervisor(), 1001)).await;
    discord.state(|state| {
        state.always.insert("edit", Fate::Refuse(503, 0));
    });
    let untold = discord.mute(&supervisor(), 1002);
    process.log.outcome_in_text(untold).await;
    discord.state(|state| state.first_answer_fates.push_back(Fate::StallAfter));
    let answering = discord.mute(&supervisor(), 1003);
    discord.until_acknowledged(answering).await;
    let (before, held) = (wolkvox.requests(), wolkvox.hold());
    let calling = discord.mute(&supervisor(), 1004);
    let waiting = discord.mute(&supervisor(), 1005);
    // The first in the queue is still being answered: the next has its turn after that.
    wolkvox.until_requests(before + 1).await;
    while !contains(&site.folder, "\"Waiting\"") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    site.kill(process).await;
    held.notify_one();
    discord.state(|state| state.always.clear());

    let mut process = site.start();
    let all = async {
        discord.until_ready(1).await;
        for (command, agent, person, audit, next) in [
            (waiting, 1005, "**Not sent:** the bot was restarted.", "not_sent", SUCCESS),
            (calling, 1004, "**Unknown:** the bot was interrupted", "unknown", "it is not known whether that was done"),
            (untold, 1002, SUCCESS, "done", "<@501> toggled the microphone of agent 1002"),
            (answering, 1003, "**Not sent from here:** the bot was interrupted", "unacknowledged", "it is not known"),
        ] {
            let text = discord.reply(command).await;
            assert!(text.starts_with(person), "{agent}: {text}");
            assert_eq!(process.log.outcome_in_text(command).await, audit, "{agent}");
            let text = next_supervisor(discord, agent).await;
            assert!(text.contains(next), "{agent}: {text}");
        }
        let press = discord.press(&second_supervisor(), &asked.button().unwrap());
        assert!(discord.reply(press).await.starts_with(SUCCESS));
        assert_eq!(discord.interaction(told).history.len(), 1);
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("everybody is told");
    assert_eq!([1001, 1002, 1003, 1005].map(|agent| wolkvox.toggles(agent)), [2, 1, 0, 1]);
    site.stop(&mut process).await;
}

#[tokio::test]
async fn with_a_panic_in_each_phase_the_bot_tells_what_the_table_says() {
    let hurried = |config: &mut Config| {
        config.limits.first_answer = Duration::from_secs(1);
        config.limits.look_again = Duration::from_secs(1);
    };
    World::run_with(hurried, async |world| {
        let World { discord, wolkvox, trap, .. } = world;
        // The phase, where the handler panics, and what the person and the next supervisor read.
        let rows = [
            (
                "Answering",
                "a first answer failed",
                "**Not sent from here:** the bot was interrupted",
                "it is not known",
            ),
            ("Waiting", "acknowledged", "**Not sent:** something broke in the bot.", SUCCESS),
            ("Calling", "no usable answer", "**Unknown:** something broke in the bot", "it is not known"),
            ("Decided", "mute", "Wolkvox reported success", "<@501> toggled the microphone of agent"),
        ];
        for (agent, (phase, moment, person, next)) in (2001..).zip(rows) {
            let busy = match phase {
                "Answering" => {
                    discord.state(|state| state.first_answer_fates.push_back(Fate::CutAfter));
                    None
                }
                "Waiting" => Some(world.held_call().await),
                "Calling" => {
                    wolkvox.next([wolkvox::Fate::CutAfter]);
                    None
                }
                _ => None,
            };
            trap.set(moment);
            let command = discord.mute(&supervisor(), agent);
            let text = discord.reply(command).await;
            assert!(text.starts_with(person), "{phase}: {text}");
            if let Some((first, held)) = busy {
                held.notify_one();
                discord.reply(first).await;
            }
            let following = discord.mute(&second_supervisor(), agent);
            let text = discord.reply(following).await;
            assert!(text.contains(next), "{phase}: {text}");
            // Its audit record is not the one that panics next.
            world.log.outcome(following).await;
        }
        // Asked: the button works.
        let first = discord.mute(&supervisor(), 3001);
        discord.reply(first).await;
        world.log.outcome(first).await;
        trap.set("mute");
        let question = discord.finished(discord.mute(&second_supervisor(), 3001)).await;
        world.log.until_contains("the handler panicked").await;
        let press = discord.press(&second_supervisor(), &question.button().unwrap());
        assert!(discord.reply(press).await.starts_with(SUCCESS));
    })
    .await;
}
