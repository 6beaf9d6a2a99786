//! One process a file: a second one stands by, and goes on when the first is gone.

use std::time::{Duration, Instant};

use crate::support::bot::Site;
use crate::support::discord::{self, supervisor};
use crate::support::wolkvox::SUCCESS;

const STANDS_BY: &str = "This one stands by, and takes over when that ends";

#[tokio::test]
async fn a_second_process_takes_over_from_a_killed_one_tells_its_people_and_serves() {
    let site = Site::new().await;
    let mut first = site.connected(1).await;
    let mut second = site.start();
    second.runs_until_logged(STANDS_BY).await;
    let (command, held) = site.held_call().await;
    let waiting = site.discord.mute(&supervisor(), 1002);
    site.discord.until_acknowledged(waiting).await;
    assert_eq!(site.discord.state(|state| state.identifies), 1, "it stands by without a session");
    first.signal("KILL");
    first.ended().await;
    held.notify_one();
    let killed = Instant::now();
    let text = second.runs(site.discord.reply(command)).await;
    assert!(text.starts_with("**Unknown:** the bot was interrupted during its request to Wolkvox."), "{text}");
    // Two seconds are promised; what more there is, a busy machine may take.
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
    second.runs(site.discord.reply(waiting)).await;
    second.runs(site.discord.until("the second one is connected", |state| state.identifies == 2)).await;
    let text = second.runs(site.discord.reply(site.discord.mute(&supervisor(), 1003))).await;
    assert!(text.starts_with(SUCCESS), "{text}");
    let told = second.log.lines().iter().filter(|line| line.contains(STANDS_BY)).count();
    assert_eq!(told, 1);
    site.settle(&second);
}

#[tokio::test]
async fn an_update_leaves_no_command_unanswered() {
    let site = Site::new().await;
    let mut first = site.connected(1).await;
    let mut second = site.start();
    second.runs_until_logged(STANDS_BY).await;
    let (command, held) = site.held_call().await;
    first.signal("TERM");
    first.runs_until_logged("stopping").await;
    let late = site.discord.mute(&supervisor(), 1002);
    let text = first.runs(site.discord.reply(late)).await;
    assert!(text.starts_with("**Not sent:** the bot is stopping, perhaps to restart."), "{text}");
    held.notify_one();
    assert!(first.runs(site.discord.reply(command)).await.starts_with(SUCCESS));
    assert_eq!(first.ended().await.0, Some(0));
    second.runs(site.discord.until("the second one is connected", |state| state.identifies == 2)).await;
    let text = second.runs(site.discord.reply(site.discord.mute(&supervisor(), 1003))).await;
    assert!(text.starts_with(SUCCESS), "{text}");
    site.settle(&second);
}

#[tokio::test]
async fn a_process_that_is_only_stopped_for_a_while_keeps_its_file() {
    let site = Site::new().await;
    let mut first = site.connected(1).await;
    let mut second = site.start();
    second.runs_until_logged(STANDS_BY).await;
    let (command, held) = site.held_call().await;
    first.signal("STOP");
    // Some polls of the second one: only a clock can tell that.
    second.runs(tokio::time::sleep(Duration::from_secs(2))).await;
    assert!(!site.discord.interaction(command).finished());
    first.signal("CONT");
    held.notify_one();
    let text = first.runs(site.discord.reply(command)).await;
    assert!(text.starts_with(SUCCESS), "{text}");
    assert_eq!(site.discord.interaction(command).history.len(), 1);
    site.settle(&first);
}

#[tokio::test]
async fn a_wrong_token_shows_at_once_although_it_would_stand_by() {
    let mut site = Site::new().await;
    let first = site.connected(1).await;
    site.set("DISCORD_TOKEN", &discord::TOKEN.replace("stand-in", "another1"));
    let (code, told) = site.start().ended().await;
    assert_eq!(code, Some(2));
    assert!(told.contains("DISCORD_TOKEN"), "{told}");
    site.settle(&first);
}

#[tokio::test]
async fn sigterm_ends_a_process_that_stands_by() {
    let site = Site::new().await;
    let first = site.connected(1).await;
    let mut second = site.start();
    second.runs_until_logged(STANDS_BY).await;
    site.stop(&mut second).await;
    site.settle(&first);
}

#[tokio::test]
async fn check_beside_a_bot_that_runs_is_content_and_beside_none_counts_what_is_unfinished() {
    let site = Site::new().await;
    let process = site.connected(1).await;
    let (_command, _held) = site.held_call().await;
    let (code, told) = site.check().await;
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("ok    State file: ") && told.contains("is in use by another process"), "{told}");
    site.kill(process).await;
    let (code, told) = site.check().await;
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("unfinished commands: 1"), "{told}");
}
