//! A disk that is full, slow or broken: the bot goes on from memory, and never sends what the file would deny.

use std::path::PathBuf;
use std::time::Duration;

use crate::state_file::contains;
use crate::support::bot::Site;
use crate::support::discord::{second_supervisor, supervisor};
use crate::support::shim;
use crate::support::wolkvox::SUCCESS;

/// While there is the file FULL_DISK, the disk that the state file is on is full, or takes a second a write where that
/// file says "slow".
const DISK: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int is_full(int fd) {
    const char *sign = getenv("FULL_DISK"), *file = getenv("STATE_FILE");
    char link[64], path[4096] = {0}, word[8] = {0};
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (readlink(link, path, sizeof path - 1) < 1 || strncmp(path, file, strlen(file))) return 0;
    int found = open(sign, O_RDONLY);
    if (found < 0) return 0;
    ssize_t length = read(found, word, 4);
    close(found);
    if (length == 4) usleep(1000000);
    return length != 4;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t offset) {
    if (is_full(fd)) { errno = ENOSPC; return -1; }
    return syscall(SYS_pwrite64, fd, bytes, count, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) { return pwrite64(fd, bytes, count, offset); }
"#;

/// Gives a site such a disk; returns the file that fills it.
pub(crate) fn disk_that_fills_up(site: &mut Site) -> PathBuf {
    let sign = site.folder.join("full");
    let library = shim(&site.folder, DISK);
    site.set("LD_PRELOAD", &library);
    site.set("FULL_DISK", sign.to_str().unwrap());
    sign
}

#[tokio::test]
async fn a_full_disk_stops_nobody_from_muting_and_what_comes_after_it_is_written_again() {
    let mut site = Site::new().await;
    let sign = disk_that_fills_up(&mut site);
    let mut process = site.connected(1).await;
    process.runs(site.discord.reply(site.discord.mute(&supervisor(), 1001))).await;
    std::fs::write(&sign, "").unwrap();
    for agent in 1002..1005 {
        let text = process.runs(site.discord.reply(site.discord.mute(&supervisor(), agent))).await;
        assert!(text.starts_with(SUCCESS), "{text}");
    }
    process.runs_until_logged("can't be written").await;
    // The guard knows all the same.
    let asked = site.discord.mute(&second_supervisor(), 1004);
    let text = process.runs(site.discord.reply(asked)).await;
    assert!(text.starts_with("**Not sent:** <@501> toggled the microphone of agent 1004"), "{text}");
    std::fs::remove_file(&sign).unwrap();
    process.runs(site.discord.reply(site.discord.mute(&supervisor(), 1005))).await;
    process.runs_until_logged("is written again").await;
    let (_held, before) = (site.wolkvox.hold(), site.wolkvox.requests());
    let command = site.discord.mute(&supervisor(), 1006);
    site.wolkvox.until_requests(before + 1).await;
    site.kill(process).await;
    site.variables.remove("LD_PRELOAD");
    let mut process = site.start();
    let text = process.runs(site.discord.reply(command)).await;
    assert!(text.starts_with("**Unknown:** the bot was interrupted during its request to Wolkvox."), "{text}");
    site.settle(&process);
}

#[tokio::test]
async fn what_was_toggled_while_the_disk_was_full_is_the_last_toggle_after_a_stop_too() {
    let mut site = Site::new().await;
    let sign = disk_that_fills_up(&mut site);
    site.set("TOGGLE_GUARD_SECS", "0");
    let mut process = site.connected(1).await;
    process.runs(site.discord.reply(site.discord.mute(&supervisor(), 1001))).await;
    std::fs::write(&sign, "").unwrap();
    process.runs(site.discord.reply(site.discord.mute(&second_supervisor(), 1001))).await;
    std::fs::remove_file(&sign).unwrap();
    process.signal("TERM");
    assert_eq!(process.ended().await.0, Some(0));
    let mut process = site.connected(1).await;
    let text = process.runs(site.discord.reply(site.discord.mute(&supervisor(), 1001))).await;
    assert!(!text.contains("before this: <@501>"), "another one lies between: {text}");
    site.settle(&process);
}

#[tokio::test]
async fn what_was_told_while_the_disk_was_full_is_not_in_progress_when_it_is_not_any_more() {
    let mut site = Site::new().await;
    let sign = disk_that_fills_up(&mut site);
    site.set("TOGGLE_GUARD_SECS", "1");
    let mut process = site.connected(1).await;
    let (command, held) = site.held_call().await;
    std::fs::write(&sign, "").unwrap();
    held.notify_one();
    process.runs(site.discord.reply(command)).await;
    std::fs::remove_file(&sign).unwrap();
    process.runs(site.discord.reply(site.discord.mute(&supervisor(), 1002))).await;
    // Until the toggle counts no more: only a clock can tell that.
    process.runs(tokio::time::sleep(Duration::from_secs(2))).await;
    let text = process.runs(site.discord.reply(site.discord.mute(&second_supervisor(), 1001))).await;
    assert!(text.starts_with(SUCCESS), "{text}");
    site.settle(&process);
}

#[tokio::test]
async fn nothing_is_sent_that_the_file_would_deny() {
    let mut site = Site::new().await;
    let sign = disk_that_fills_up(&mut site);
    let mut process = site.connected(1).await;
    let (_first, held) = site.held_call().await;
    let waiting = site.discord.mute(&supervisor(), 1002);
    site.discord.until_acknowledged(waiting).await;
    while !contains(&site.folder, "\"Waiting\"") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    std::fs::write(&sign, "").unwrap();
    held.notify_one();
    let text = process.runs(site.discord.reply(waiting)).await;
    assert!(text.starts_with("**Not sent:** the bot can't write its state file. Nothing has changed"), "{text}");
    assert_eq!(site.wolkvox.toggles(1002), 0);
    site.settle(&process);
}

#[tokio::test]
async fn what_was_told_is_not_contradicted_where_it_could_not_be_written_down() {
    let mut site = Site::new().await;
    let sign = disk_that_fills_up(&mut site);
    let mut process = site.connected(1).await;
    let (command, held) = site.held_call().await;
    std::fs::write(&sign, "").unwrap();
    held.notify_one();
    let text = process.runs(site.discord.reply(command)).await;
    assert!(text.starts_with(SUCCESS), "{text}");
    site.kill(process).await;
    std::fs::remove_file(&sign).unwrap();
    let mut process = site.start();
    process.runs_until_logged("the person was told by the process that ended").await;
    assert_eq!(site.discord.interaction(command).history.len(), 1);
    site.settle(&process);
}

#[tokio::test]
async fn a_slow_disk_delays_a_command_and_not_the_gateway() {
    let mut site = Site::new().await;
    let sign = disk_that_fills_up(&mut site);
    site.discord.state(|state| state.heartbeat = Some(200));
    let mut process = site.connected(1).await;
    let before = site.discord.state(|state| state.heartbeats);
    std::fs::write(&sign, "slow").unwrap();
    let command = site.discord.mute(&supervisor(), 1001);
    let beats = site.discord.until("heartbeats go on", |state| state.heartbeats >= before + 4);
    process.runs(beats).await;
    assert!(!site.discord.interaction(command).finished());
    std::fs::remove_file(&sign).unwrap();
    process.runs(site.discord.finished(command)).await;
    site.settle(&process);
}

#[tokio::test]
async fn a_disk_that_is_full_at_start_serves_with_the_file_that_is_there() {
    let mut site = Site::new().await;
    let sign = disk_that_fills_up(&mut site);
    let process = site.connected(1).await;
    let (command, held) = site.held_call().await;
    site.kill(process).await;
    held.notify_one();
    std::fs::write(&sign, "").unwrap();
    let mut process = site.start();
    let text = process.runs(site.discord.reply(command)).await;
    assert!(text.starts_with("**Unknown:** the bot was interrupted"), "{text}");
    process.runs(site.discord.until_ready(1)).await;
    let text = process.runs(site.discord.reply(site.discord.mute(&supervisor(), 1002))).await;
    assert!(text.starts_with(SUCCESS), "{text}");
    site.settle(&process);
}

#[tokio::test]
async fn without_room_for_its_file_it_says_so_and_starts_when_there_is_some() {
    let mut site = Site::new().await;
    let sign = disk_that_fills_up(&mut site);
    std::fs::write(&sign, "").unwrap();
    let mut process = site.start();
    process.runs_until_logged("there is no room on the disk").await;
    std::fs::remove_file(&sign).unwrap();
    process.runs(site.discord.until_ready(1)).await;
    let text = process.runs(site.discord.reply(site.discord.mute(&supervisor(), 1001))).await;
    assert!(text.starts_with(SUCCESS), "{text}");
    site.settle(&process);
}

#[tokio::test]
async fn a_press_is_not_sent_while_the_file_has_its_question_as_open() {
    let mut site = Site::new().await;
    let sign = disk_that_fills_up(&mut site);
    let mut process = site.connected(1).await;
    process.runs(site.discord.reply(site.discord.mute(&supervisor(), 1001))).await;
    let asked = process.runs(site.discord.finished(site.discord.mute(&second_supervisor(), 1001))).await;
    std::fs::write(&sign, "").unwrap();
    let press = || site.discord.press(&second_supervisor(), &asked.button().unwrap());
    let text = process.runs(site.discord.reply(press())).await;
    assert!(text.starts_with("**Not sent:** the bot can't write its state file."), "{text}");
    std::fs::remove_file(&sign).unwrap();
    let text = process.runs(site.discord.reply(press())).await;
    assert!(text.starts_with(SUCCESS), "{text}");
    let text = process.runs(site.discord.reply(press())).await;
    assert!(text.starts_with("This button was used already."), "{text}");
    assert_eq!(site.wolkvox.toggles(1001), 2);
    site.settle(&process);
}

/// Every lock is granted to everybody, as on a Windows folder in WSL or some network folders.
const NO_LOCKS: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

int fcntl64(int fd, int command, ...) {
    va_list rest;
    va_start(rest, command);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    return command == F_SETLK ? 0 : syscall(SYS_fcntl, fd, command, argument);
}

int fcntl(int fd, int command, ...) {
    va_list rest;
    va_start(rest, command);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    return fcntl64(fd, command, argument);
}
"#;

#[tokio::test]
async fn check_finds_a_folder_that_keeps_no_second_process_out() {
    let mut site = Site::new().await;
    let mut process = site.connected(1).await;
    site.stop(&mut process).await;
    assert_eq!(site.check().await.0, Some(0));
    let library = shim(&site.folder, NO_LOCKS);
    site.set("LD_PRELOAD", &library);
    let (code, told) = site.check().await;
    assert_eq!(code, Some(1));
    assert!(told.contains("can't lock files") && told.contains("on this machine's own disk"), "{told}");
}
