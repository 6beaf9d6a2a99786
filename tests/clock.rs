//! Time: an answer that comes at the very end counts, and a machine that slept sends nothing that is too old.

use std::path::PathBuf;
use std::time::Duration;

use wolkvox_bot::config::Config;

use crate::support::bot::{Site, World};
use crate::support::discord::supervisor;
use crate::support::shim;
use crate::support::wolkvox::SUCCESS;

/// Moves the wall clock of a process on by the seconds that a file holds.
const WALL_CLOCK: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, clock, now);
    const char *path = getenv("WALL_CLOCK_OFFSET");
    FILE *file = clock == CLOCK_REALTIME && path ? fopen(path, "r") : NULL;
    long seconds = 0;
    if (file && fscanf(file, "%ld", &seconds) == 1) now->tv_sec += seconds;
    if (file) fclose(file);
    return result;
}
"#;

/// Gives a site's processes a wall clock that is moved by the seconds in a file: this one.
pub(crate) fn movable_clock(site: &mut Site) -> PathBuf {
    let offset = site.folder.join("offset");
    std::fs::write(&offset, "0").unwrap();
    let library = shim(&site.folder, WALL_CLOCK);
    site.set("LD_PRELOAD", &library);
    site.set("WALL_CLOCK_OFFSET", offset.to_str().unwrap());
    offset
}

#[tokio::test]
async fn after_the_machine_slept_nothing_is_sent_that_is_too_old() {
    let mut site = Site::new().await.with("RUST_LOG", "debug");
    let offset = movable_clock(&mut site);
    let Site { discord, wolkvox, .. } = &site;
    let mut process = site.start();
    let log = process.log.clone();
    let test = async {
        let (first, held) = site.held_call().await;
        let second = discord.mute(&supervisor(), 1002);
        let acknowledged = |line: &String| line.contains("acknowledged") && line.contains(&second.to_string());
        log.until("the second one waits", |log| log.lines().iter().any(acknowledged)).await;
        std::fs::write(&offset, "961").unwrap();
        held.notify_one();
        let text = discord.reply(second).await;
        assert!(text.starts_with("**Not sent:** its turn came too late."), "{text}");
        assert!(discord.reply(first).await.starts_with(SUCCESS));
        assert_eq!(wolkvox.toggles(1002), 0);
        // A clock that is wrong, but goes on as it should, refuses nothing.
        assert!(discord.reply(discord.mute(&supervisor(), 1003)).await.starts_with(SUCCESS));
        std::fs::write(&offset, "-7200").unwrap();
        assert!(discord.reply(discord.mute(&supervisor(), 1004)).await.starts_with(SUCCESS));
    };
    process.runs(test).await;
}

#[tokio::test]
async fn an_answer_that_came_while_the_process_stood_still_is_read() {
    let site = Site::new().await.with("WOLKVOX_TIMEOUT_SECS", "1");
    let mut process = site.start();
    for _ in 0..3 {
        let (command, held) = process.runs(site.held_call()).await;
        process.signal("STOP");
        held.notify_one();
        site.wolkvox.until("the answer is on its way", |state| state.in_flight == 0).await;
        // Longer than the call may take: only a clock can tell that.
        tokio::time::sleep(Duration::from_millis(2500)).await;
        process.signal("CONT");
        let text = process.runs(site.discord.reply(command)).await;
        assert!(text.starts_with(SUCCESS), "{text}");
    }
}

#[tokio::test]
async fn a_call_begins_only_while_its_result_can_still_be_told() {
    let short = |config: &mut Config| {
        config.wolkvox.timeout = Duration::from_secs(1);
        // 1.5 s for a call, connecting included, and 1 s for telling: half a second is left for the queue.
        config.limits.delivery = Duration::from_secs(3);
        config.limits.telling = Duration::from_secs(1);
    };
    World::run_with(short, async |world| {
        let (first, held) = world.held_call().await;
        let second = world.discord.mute(&supervisor(), 1002);
        let text = world.discord.reply(second).await;
        assert!(text.starts_with("**Not sent:** its turn came too late."), "{text}");
        held.notify_one();
        world.discord.reply(first).await;
        assert_eq!(world.wolkvox.toggles(1002), 0);
    })
    .await;
}
