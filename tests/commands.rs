//! What people see when they type `/mute`.

use crate::support::bot::World;
use crate::support::discord::supervisor;

#[tokio::test]
async fn a_supervisor_reads_what_wolkvox_said() {
    let world = World::new().await;
    let command = world.discord.mute(&supervisor(), 1001);
    assert_eq!(
        world.discord.reply(command).await,
        "Microphone agentbox has been excecuted\n-# Agent 1001 · MUTE is a toggle: run the command again to undo it"
    );
    assert!(!world.discord.interaction(command).private());
    assert_eq!(world.wolkvox.toggles(1001), 1);
    assert_eq!(world.log.outcome(command).await, "done");
    world.close().await;
}
