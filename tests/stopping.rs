//! Stopping: the call in progress is finished, those who wait are told, nobody is left on "thinking…".

use std::time::Duration;

use wolkvox_bot::app::RunError;
use wolkvox_bot::config::Config;
use wolkvox_bot::discord::GatewayError;

use crate::support::bot::{Site, World};
use crate::support::discord::{Fate, Order, TOKEN, supervisor};
use crate::support::shim;
use crate::support::wolkvox::{self, SUCCESS};

const RESTARTING: &str =
    "**Not sent:** the bot is stopping, perhaps to restart. Nothing has changed; try again in a minute.";

#[tokio::test]
async fn the_call_in_progress_is_finished_and_those_who_wait_are_told() {
    World::run(async |world| {
        let (first, held) = world.held_call().await;
        let waiting: Vec<u64> = (1002..1007).map(|agent| world.discord.mute(&supervisor(), agent)).collect();
        for command in &waiting {
            world.discord.until_acknowledged(*command).await;
        }
        world.bot.shut_down();
        for command in waiting {
            assert!(world.discord.reply(command).await.starts_with(RESTARTING));
            assert_eq!(world.log.outcome(command).await, "not_sent");
        }
        assert!(!world.discord.interaction(first).finished());
        held.notify_one();
        assert!(world.discord.reply(first).await.starts_with(SUCCESS));
        assert!(world.bot.ended().await.is_ok());
        assert_eq!(world.wolkvox.all_toggles(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_command_that_is_being_acknowledged_when_it_stops_is_told() {
    World::run(async |world| {
        world.discord.state(|state| state.first_answer_fates.push_back(Fate::Slow(Duration::from_millis(400))));
        let command = world.discord.mute(&supervisor(), 1001);
        // Both are in the bot's hands when the second one is answered.
        world.discord.reply(world.discord.mute(&crate::support::discord::stranger(), 1001)).await;
        world.bot.shut_down();
        assert!(world.discord.reply(command).await.starts_with(RESTARTING));
        assert!(world.bot.ended().await.is_ok());
        assert_eq!(world.wolkvox.requests(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_busy_token_is_not_waited_out_when_it_stops() {
    World::run(async |world| {
        world.wolkvox.next(vec![wolkvox::BUSY; 30]);
        let command = world.discord.mute(&supervisor(), 1001);
        world.wolkvox.until_requests(1).await;
        world.bot.shut_down();
        assert!(world.discord.reply(command).await.starts_with(RESTARTING));
    })
    .await;
}

#[tokio::test]
async fn a_result_is_delivered_through_errors_while_it_stops() {
    World::run(async |world| {
        let (command, held) = world.held_call().await;
        world.discord.state(|state| state.edit_fates.extend([Fate::Refuse(503, 0), Fate::CutBefore]));
        world.bot.shut_down();
        held.notify_one();
        assert!(world.discord.reply(command).await.starts_with(SUCCESS));
    })
    .await;
}

#[tokio::test]
async fn a_result_is_delivered_although_the_bots_token_was_reset_during_the_call() {
    World::run(async |world| {
        let (command, held) = world.held_call().await;
        world.discord.state(|state| state.token_reset = true);
        world.discord.order(|| Order::Close(4004));
        held.notify_one();
        let (text, ended) = tokio::join!(world.discord.reply(command), world.bot.ended());
        assert!(text.starts_with(SUCCESS), "{text}");
        assert!(matches!(ended, Err(RunError::Gateway { error: GatewayError::Token })), "{ended:?}");
    })
    .await;
}

#[tokio::test]
async fn sigterm_and_sigint_end_the_process_with_0() {
    for signal in ["TERM", "INT"] {
        let site = Site::new().await;
        let mut process = site.start();
        let (command, held) = process.runs(site.held_call()).await;
        process.signal(signal);
        process.runs_until_logged("stopping").await;
        held.notify_one();
        assert!(site.discord.reply(command).await.starts_with(SUCCESS));
        assert_eq!(process.ended().await, (Some(0), String::new()));
        site.settle(&process);
    }
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once_with_an_error() {
    let site = Site::new().await;
    let mut process = site.start();
    let _held = process.runs(site.held_call()).await;
    process.signal("TERM");
    process.runs_until_logged("stopping").await;
    process.signal("TERM");
    assert_eq!(process.ended().await.0, Some(130));
    assert!(process.log.text().contains("ended at once by a second signal"), "the log is written to its end");
}

#[tokio::test]
async fn a_hangup_stops_it_as_well_and_a_second_one_makes_no_haste() {
    let site = Site::new().await;
    let mut process = site.start();
    let (command, held) = process.runs(site.held_call()).await;
    process.signal("HUP");
    process.log.until_contains("stopping").await;
    process.signal("HUP");
    held.notify_one();
    assert!(site.discord.reply(command).await.starts_with(SUCCESS));
    assert_eq!(process.ended().await, (Some(0), String::new()));
    site.settle(&process);
}

#[tokio::test]
async fn under_nohup_a_hangup_is_still_ignored() {
    let site = Site::new().await;
    let mut process = site.start_through("trap '' HUP; exec \"$0\"");
    process.runs(site.discord.until_ready(1)).await;
    process.signal("HUP");
    assert!(site.discord.reply(site.discord.mute(&supervisor(), 1001)).await.starts_with(SUCCESS));
    assert!(!process.log.text().contains("stopping"));
    site.stop(&mut process).await;
}

#[tokio::test]
async fn one_signal_ends_it_though_nobody_reads_what_it_prints() {
    for both in [false, true] {
        let site = Site::new().await.with("RUST_LOG", "trace");
        let (mut process, unread) = site.start_unread(both);
        process.runs(site.discord.until_ready(1)).await;
        process.runs(site.discord.flood(25)).await;
        assert!(site.discord.reply(site.discord.mute(&supervisor(), 1001)).await.starts_with(SUCCESS));
        process.signal("TERM");
        let (code, told) = process.ended().await;
        assert_eq!(code, Some(0));
        assert_eq!(told.ends_with(" lines of the log were lost, because nobody read it in time\n"), !both, "{told}");
        drop(unread);
        site.settle(&process);
    }
}

#[tokio::test]
async fn an_error_ends_it_though_nobody_reads_what_it_prints() {
    let site = Site::new().await;
    let (mut process, unread) = site.start_unread(true);
    process.runs(site.discord.until_ready(1)).await;
    site.discord.order(|| Order::Close(4004));
    assert_eq!(process.ended().await.0, Some(2));
    drop(unread);
}

#[tokio::test]
async fn a_signal_while_discord_is_down_at_start_ends_it_too() {
    let site = Site::new().await;
    site.discord.state(|state| state.other_fates.extend(vec![Fate::Refuse(503, 0); 100]));
    let mut process = site.start();
    process.runs_until_logged("trying again").await;
    process.signal("TERM");
    assert_eq!(process.ended().await.0, Some(0));
}

#[tokio::test]
async fn where_no_thread_can_be_made_it_says_so_and_ends() {
    // As Docker before 20.10.10 answers to what is newer than itself.
    const NO_THREADS: &str = "int pthread_create(void *t, void *a, void *f, void *x) { return 1; }";

    let mut site = Site::new().await;
    let library = shim(&site.folder, NO_THREADS);
    site.set("LD_PRELOAD", &library);
    for (token, language, told) in [
        (TOKEN, "C", "wolkvox-bot: the system does not let it start: Operation not permitted (os error 1)\n"),
        ("", "es_CO", "wolkvox-bot: el sistema no lo deja iniciar: permiso denegado\n"),
    ] {
        site.set("DISCORD_TOKEN", token);
        site.set("LANG", language);
        for arguments in [&[][..], &["check"]] {
            assert_eq!(site.run(arguments).ended().await, (Some(1), told.to_owned()));
        }
    }
}

#[tokio::test]
async fn files_that_may_not_grow_are_as_a_full_disk_and_end_nothing() {
    let site = Site::new().await;
    let mut process = site.start_through("ulimit -f 200; exec \"$0\"");
    process.runs(site.discord.until_ready(1)).await;
    for agent in 1001..1061 {
        let reply = site.discord.reply(site.discord.mute(&supervisor(), agent));
        let reply = process.runs(reply).await;
        // A command of which the file has the beginning alone is not sent.
        let is_true = match site.wolkvox.toggles(agent) {
            0 => reply.starts_with("**Not sent:**"),
            toggles => toggles == 1 && reply.starts_with(SUCCESS),
        };
        assert!(is_true, "{reply}");
    }
    process.runs_until_logged("STATE_FILE").await;
    site.stop(&mut process).await;
}

#[tokio::test]
async fn a_panic_before_the_call_is_answered_and_takes_nobody_along() {
    World::run(async |world| {
        let (first, held) = world.held_call().await;
        world.trap.set("acknowledged");
        let broken = world.discord.mute(&supervisor(), 1002);
        let text = world.discord.reply(broken).await;
        assert!(text.starts_with("**Not sent:** something broke in the bot."), "{text}");
        let third = world.discord.mute(&supervisor(), 1003);
        held.notify_one();
        for command in [first, third] {
            assert!(world.discord.reply(command).await.starts_with(SUCCESS));
        }
        assert_eq!(world.log.outcome(broken).await, "not_sent");
        assert_eq!(world.wolkvox.toggles(1002), 0);
    })
    .await;
}

#[tokio::test]
async fn a_panic_during_the_call_is_answered_as_unknown_and_frees_the_token() {
    World::run(async |world| {
        world.wolkvox.next([wolkvox::Fate::CutAfter]);
        world.trap.set("no usable answer");
        let broken = world.discord.mute(&supervisor(), 1001);
        let text = world.discord.reply(broken).await;
        assert!(text.starts_with("**Unknown:** something broke in the bot during its request to Wolkvox."), "{text}");
        assert_eq!(world.log.outcome(broken).await, "unknown");
        assert!(world.discord.reply(world.discord.mute(&supervisor(), 1002)).await.starts_with(SUCCESS));
    })
    .await;
}

#[tokio::test]
async fn a_panic_while_the_result_is_told_is_answered_too_and_with_that_result() {
    World::run(async |world| {
        world.trap.set("mute");
        let broken = world.discord.mute(&supervisor(), 1001);
        let text = world.discord.reply(broken).await;
        assert!(text.starts_with("Wolkvox reported success"), "{text}");
        assert_eq!(world.log.outcome(broken).await, "done");
        // The result was told, and Discord's answer to that was lost.
        world.discord.state(|state| state.edit_fates.push_back(Fate::CutAfter));
        world.trap.set("the outcome could not be delivered");
        let broken = world.discord.mute(&supervisor(), 1003);
        world.discord.until("it is told again", |state| state.interactions[&broken].edits == 2).await;
        let told = world.discord.interaction(broken).history;
        assert!(told[0].starts_with(SUCCESS) && told[1].starts_with("Wolkvox reported success"), "{told:?}");
        assert!(world.discord.reply(world.discord.mute(&supervisor(), 1002)).await.starts_with(SUCCESS));
    })
    .await;
}

#[tokio::test]
async fn stopping_ends_by_itself_and_the_log_says_who_was_not_told_what() {
    let hasty = |config: &mut Config| config.limits.last_words = Duration::from_millis(500);
    World::run_with(hasty, async |world| {
        let (command, held) = world.held_call().await;
        world.discord.state(|state| state.edit_fates.extend(vec![Fate::Refuse(503, 0); 1000]));
        world.bot.shut_down();
        held.notify_one();
        world.bot.ended().await.unwrap();
        let told = world.log.lines().into_iter().find(|line| line.contains("the person was not told")).unwrap();
        for part in [command.to_string(), supervisor().id.to_string(), "done".to_owned()] {
            assert!(told.contains(&part), "{part}: {told}");
        }
        assert_eq!(world.log.outcome(command).await, "done");
    })
    .await;
}

#[tokio::test]
async fn a_first_answer_that_stays_silent_does_not_keep_it_from_stopping() {
    let hasty = |config: &mut Config| config.limits.last_words = Duration::from_millis(300);
    World::run_with(hasty, async |world| {
        world.discord.state(|state| state.first_answer_fates.extend(vec![Fate::Stall; 10]));
        let command = world.discord.mute(&supervisor(), 1001);
        world.discord.until("it is being answered", |state| state.first_answer_fates.len() < 10).await;
        world.bot.shut_down();
        world.bot.ended().await.unwrap();
        assert_eq!(world.log.outcome(command).await, "unacknowledged");
    })
    .await;
}

#[tokio::test]
async fn a_command_that_comes_while_it_stops_is_told_that_the_bot_restarts() {
    World::run(async |world| {
        let (first, held) = world.held_call().await;
        world.bot.shut_down();
        world.log.until_contains("stopping").await;
        let late = world.discord.mute(&supervisor(), 1002);
        let reply = world.discord.finished(late).await;
        assert!(reply.text().unwrap().starts_with(RESTARTING) && reply.private());
        assert_eq!(world.log.outcome(late).await, "not_sent");
        held.notify_one();
        assert!(world.discord.reply(first).await.starts_with(SUCCESS));
        assert_eq!(world.wolkvox.toggles(1002), 0);
    })
    .await;
}
