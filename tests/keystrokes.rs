//! Patience: keystrokes keep no command from being answered, and the log says who waits.

use std::time::Duration;

use crate::support::bot::World;
use crate::support::discord::{Fate, supervisor};
use crate::support::wolkvox::SUCCESS;

#[tokio::test]
async fn a_flood_of_keystrokes_keeps_no_command_from_being_answered() {
    World::run(async |world| {
        world.discord.state(|state| state.first_answer_fates.extend(vec![Fate::Stall; 8]));
        let typed = [(); 120].map(|()| world.discord.type_agent(&supervisor(), "a"));
        let commands: Vec<u64> = (1001..1006).map(|agent| world.discord.mute(&supervisor(), agent)).collect();
        for command in commands {
            assert!(world.discord.reply(command).await.starts_with(SUCCESS));
        }
        let answered = typed.iter().filter(|typed| world.discord.interaction(**typed).first.is_some()).count();
        assert_eq!(answered, 0, "eight wait for Discord, and the others are dropped");
    })
    .await;
}

#[tokio::test]
async fn an_outcome_that_is_known_and_not_told_for_long_is_a_warning_once() {
    World::run_with(
        |config| config.limits.undelivered = Duration::from_millis(200),
        async |world| {
            world.discord.state(|state| state.edit_fates.extend(vec![Fate::Refuse(500, 0); 6]));
            let command = world.discord.mute(&supervisor(), 1001);
            assert!(world.discord.reply(command).await.starts_with(SUCCESS));
            let warned = |line: &&String| line.contains("WARN") && line.contains("still waits for the outcome");
            let lines = world.log.lines();
            let warnings: Vec<&String> = lines.iter().filter(warned).collect();
            assert_eq!(warnings.len(), 1);
            assert!(warnings[0].contains(&command.to_string()) && warnings[0].contains("HTTP 500"), "{}", warnings[0]);
        },
    )
    .await;
}
