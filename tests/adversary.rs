//! What a hostile reader of the core found: each of these once toggled unasked, told a lie or kept somebody waiting.

use std::time::Duration;

use crate::clock::movable_clock;
use crate::disk::disk_that_fills_up;
use crate::support::bot::{Site, World, leaves_lines_to_the_next_start};
use crate::support::discord::{Actor, Fate, Order, second_supervisor, supervisor};
use crate::support::shim;

/// While there is the file DISK, the disk that the state file is on is broken: it takes what is written to it and
/// confirms nothing, or takes nothing where that file says "full".
const DISK: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int state(int fd) {
    char link[64], path[4096] = {0}, word[8] = {0};
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const char *file = getenv("STATE_FILE");
    if (readlink(link, path, sizeof path - 1) < 1 || strncmp(path, file, strlen(file))) return 0;
    int found = open(getenv("DISK"), O_RDONLY);
    if (found < 0) return 0;
    ssize_t length = read(found, word, 4);
    close(found);
    return length == 4 ? 2 : 1;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t offset) {
    if (state(fd) == 2) { errno = ENOSPC; return -1; }
    return syscall(SYS_pwrite64, fd, bytes, count, offset);
}
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) { return pwrite64(fd, bytes, count, offset); }
int fsync(int fd) {
    if (state(fd)) { errno = EIO; return -1; }
    return syscall(SYS_fsync, fd);
}
int fdatasync(int fd) { return fsync(fd); }
"#;

#[tokio::test]
async fn what_a_disk_took_without_confirming_it_counts_as_in_the_file() {
    let mut site = Site::new().await;
    let disk = site.folder.join("disk");
    let library = shim(&site.folder, DISK);
    site.set("LD_PRELOAD", &library);
    site.set("DISK", disk.to_str().unwrap());
    let mut process = site.connected(1).await;
    process.runs(site.discord.reply(site.discord.mute(&supervisor(), 1001))).await;
    std::fs::write(&disk, "").unwrap();
    site.discord.state(|state| state.first_answer_fates.push_back(Fate::Slow(Duration::from_millis(800))));
    let command = site.discord.mute(&supervisor(), 1002);
    process.runs(site.discord.until("it is on its way", |state| state.first_answer_fates.is_empty())).await;
    std::fs::write(&disk, "full").unwrap();
    let text = process.runs(site.discord.reply(command)).await;
    assert!(text.starts_with("**Not sent:** the bot can't write its state file. Nothing has changed"), "{text}");
    assert_eq!(site.wolkvox.toggles(1002), 0);
    site.settle(&process);
}

#[tokio::test]
async fn a_clock_that_is_set_lets_nobody_reverse_a_toggle_unasked() {
    let mut site = Site::new().await;
    let offset = movable_clock(&mut site);
    let mut process = site.connected(1).await;
    process.runs(site.discord.reply(site.discord.mute(&supervisor(), 1001))).await;
    std::fs::write(&offset, "3600").unwrap();
    let text = process.runs(site.discord.reply(site.discord.mute(&second_supervisor(), 1001))).await;
    assert!(text.starts_with("**Not sent:** <@501> toggled the microphone of agent 1001"), "{text}");
    site.settle(&process);
}

#[tokio::test]
async fn a_press_whose_question_was_not_accepted_leaves_the_button_usable() {
    World::run(async |world| {
        let diego = Actor { id: 504, name: "diego", ..second_supervisor() };
        world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
        let brunos = world.discord.finished(world.discord.mute(&second_supervisor(), 1001)).await.button().unwrap();
        let diegos = world.discord.finished(world.discord.mute(&diego, 1001)).await.button().unwrap();
        world.discord.reply(world.discord.press(&second_supervisor(), &brunos)).await;
        world.discord.state(|state| state.first_answer_fates.push_back(Fate::Refuse(404, 10062)));
        let lost = world.discord.press(&diego, &diegos);
        assert_eq!(world.log.outcome(lost).await, "unacknowledged");
        let text = world.discord.reply(world.discord.press(&diego, &diegos)).await;
        assert!(text.contains("<@502> toggled the microphone of agent 1001"), "{text}");
        assert_eq!(world.wolkvox.toggles(1001), 2);
    })
    .await;
}

#[tokio::test]
async fn lines_for_a_channel_that_is_not_set_any_more_hold_no_stop_up() {
    let folder = crate::support::Folder::new();
    let with_channel = leaves_lines_to_the_next_start(&folder);
    World::run_with(with_channel, async |world| {
        world.discord.state(|state| state.always.insert("other", Fate::Refuse(503, 0)));
        world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
        world.bot.shut_down();
        world.bot.ended().await.unwrap();
        world.restart(|config| {
            config.state_file = Some(folder.join("state.db"));
            config.limits.handing_over = Duration::from_secs(24 * 60 * 60);
        });
        world.discord.until("it is connected again", |state| state.identifies == 2).await;
        world.bot.shut_down();
        world.bot.ended().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_command_that_comes_while_the_file_is_closed_is_told_that_the_bot_stops() {
    let mut site = Site::new().await;
    let sign = disk_that_fills_up(&mut site);
    let mut process = site.connected(1).await;
    process.runs(site.discord.reply(site.discord.mute(&supervisor(), 1001))).await;
    std::fs::write(&sign, "slow").unwrap();
    process.signal("TERM");
    process.log.until_contains("stopping").await;
    let text = site.discord.reply(site.discord.mute(&supervisor(), 1002)).await;
    assert!(text.starts_with("**Not sent:** the bot is stopping, perhaps to restart."), "{text}");
    assert_eq!(process.ended().await.0, Some(0));
    site.settle(&process);
}

#[tokio::test]
async fn a_line_that_the_audit_channel_is_owed_when_the_bots_token_is_reset_is_posted_by_the_next_start() {
    let folder = crate::support::Folder::new();
    let change = leaves_lines_to_the_next_start(&folder);
    World::run_with(&change, async |world| {
        let (command, held) = world.held_call().await;
        world.discord.state(|state| state.token_reset = true);
        world.discord.order(|| Order::Close(4004));
        held.notify_one();
        let (_, ended) = tokio::join!(world.discord.reply(command), world.bot.ended());
        assert!(ended.is_err());
        world.discord.state(|state| state.token_reset = false);
        world.restart(&change);
        world.discord.until("the line is posted", |state| state.posts.len() == 1).await;
    })
    .await;
}
