//! What outlives the process: whoever got "thinking…" gets the truth, even if the process that promised it is gone.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use wolkvox_bot::app::RunError;
use wolkvox_bot::config::Draft;

use crate::support::Folder;
use crate::support::bot::{Bot, Process, check_secrets, check_stand_ins, held_call, variables};
use crate::support::discord::{Discord, Fate, Gateway, Order, State, second_supervisor, supervisor};
use crate::support::wolkvox::{SUCCESS, Wolkvox};

/// Stand-ins, and variables with a state file in a folder of its own.
struct Place {
    discord: Discord,
    wolkvox: Wolkvox,
    variables: HashMap<&'static str, String>,
    folder: Folder,
}

impl Place {
    async fn new() -> Self {
        let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
        let folder = Folder::new();
        let mut variables = variables(&discord, &wolkvox);
        variables.insert("STATE_FILE", folder.join("state.db").to_str().unwrap().to_owned());
        Self { discord, wolkvox, variables, folder }
    }

    fn start(&self) -> Process {
        Process::start(&self.variables, &[])
    }

    /// Starts a bot, and waits until so many are connected.
    async fn connected(&self, copies: usize) -> Process {
        let mut process = self.start();
        process.runs(self.discord.until_ready(copies)).await;
        process
    }

    async fn kill(&self, mut process: Process) {
        process.signal("KILL");
        process.ended().await;
        self.discord.until("the connection is gone", |state| state.connected.is_empty()).await;
    }

    fn clear(self) {
        check_stand_ins(&self.discord, &self.wolkvox);
    }
}

/// Whether some bytes are in a file of this folder.
fn contains(folder: &Path, text: &str) -> bool {
    let files = std::fs::read_dir(folder).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    files.into_iter().any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

#[tokio::test]
async fn killed_during_the_call_the_next_start_says_that_the_outcome_is_unknown() {
    let place = Place::new().await;
    let process = place.connected(1).await;
    let (command, held) = held_call(&place.discord, &place.wolkvox).await;
    let waiting = place.discord.mute(&supervisor(), 1002);
    place.discord.until_acknowledged(waiting).await;
    let mut writes = 0;
    // The second one is written down as acknowledged before it waits.
    while !contains(&place.folder, "\"Waiting\"") && writes < 1000 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        writes += 1;
    }
    place.kill(process).await;
    held.notify_one();
    let mut process = place.start();
    let text = process.runs(place.discord.reply(command)).await;
    assert!(text.starts_with("**Unknown:** the bot was interrupted during its request to Wolkvox."), "{text}");
    assert!(text.contains("look at the agent's MUTE button"), "{text}");
    let text = process.runs(place.discord.reply(waiting)).await;
    assert!(text.starts_with("**Not sent:** the bot was restarted. Nothing has changed; try again."), "{text}");
    assert_eq!(process.log.outcome_in_text(command).await, "unknown");
    assert_eq!(process.log.outcome_in_text(waiting).await, "not_sent");
    assert!(place.wolkvox.toggles(1001) <= 1);
    assert_eq!(place.wolkvox.toggles(1002), 0);
    check_secrets(&process.log.text());
    drop(process);
    place.clear();
}

#[tokio::test]
async fn a_first_answer_that_discord_accepts_after_the_next_start_was_stopped_leaves_nobody_waiting() {
    let place = Place::new().await;
    let process = place.connected(1).await;
    place.discord.state(|state| state.first_answer_fates.push_back(Fate::Slow(Duration::from_millis(1500))));
    let command = place.discord.mute(&supervisor(), 1001);
    place.discord.until("it is on its way", |state| state.first_answer_fates.is_empty()).await;
    place.kill(process).await;
    let mut stopped = place.start();
    stopped.runs_until_logged("recovering a command of a process that ended").await;
    stopped.signal("TERM");
    assert_eq!(stopped.ended().await.0, Some(0));
    place.discord.until_acknowledged(command).await;
    let mut process = place.start();
    let text = process.runs(place.discord.reply(command)).await;
    assert!(text.starts_with("**Not sent from here:** the bot was interrupted"), "{text}");
    drop(process);
    place.clear();
}

#[tokio::test]
async fn a_known_result_that_was_not_told_is_told_by_the_next_start() {
    let place = Place::new().await;
    let mut process = place.connected(1).await;
    place.discord.state(|state| state.edit_fates.extend(vec![Fate::Refuse(503, 0); 1000]));
    let command = place.discord.mute(&supervisor(), 1001);
    let tried = place.discord.until("the result was tried to be told", |state| state.edit_fates.len() < 999);
    process.runs(tried).await;
    place.kill(process).await;
    place.discord.state(|state| state.edit_fates.clear());
    let mut process = place.start();
    let text = process.runs(place.discord.reply(command)).await;
    assert!(text.starts_with(SUCCESS), "{text}");
    assert_eq!(process.log.outcome_in_text(command).await, "done");
    assert_eq!(place.wolkvox.toggles(1001), 1);
    drop(process);
    place.clear();
}

#[tokio::test]
async fn what_the_next_start_told_is_in_its_log_although_discords_answer_to_that_was_lost() {
    let place = Place::new().await;
    let process = place.connected(1).await;
    let (command, _held) = held_call(&place.discord, &place.wolkvox).await;
    place.kill(process).await;
    place.discord.state(|state| state.edit_fates.push_back(Fate::CutAfter));
    let mut process = place.start();
    process.runs(place.discord.reply(command)).await;
    let log = process.log.clone();
    assert_eq!(process.runs(log.outcome_in_text(command)).await, "unknown");
    drop(process);
    place.clear();
}

#[tokio::test]
async fn killed_while_it_was_being_answered_somebody_who_sees_thinking_is_told() {
    let place = Place::new().await;
    let process = place.connected(1).await;
    place.discord.state(|state| state.first_answer_fates.push_back(Fate::StallAfter));
    let command = place.discord.mute(&supervisor(), 1001);
    place.discord.until_acknowledged(command).await;
    place.kill(process).await;
    let mut process = place.start();
    let text = process.runs(place.discord.reply(command)).await;
    assert!(text.starts_with("**Not sent from here:** the bot was interrupted"), "{text}");
    assert_eq!(place.wolkvox.requests(), 0);
    drop(process);
    place.clear();
}

#[tokio::test]
async fn the_guard_and_its_buttons_outlive_the_process() {
    let place = Place::new().await;
    let mut process = place.connected(1).await;
    process.runs(place.discord.reply(place.discord.mute(&supervisor(), 1001))).await;
    let question = place.discord.mute(&second_supervisor(), 1001);
    let button = process.runs(place.discord.finished(question)).await.button().unwrap();
    place.kill(process).await;
    let mut process = place.connected(1).await;
    let asked = place.discord.mute(&second_supervisor(), 1001);
    let text = process.runs(place.discord.reply(asked)).await;
    assert!(text.starts_with("**Not sent:** <@501> toggled the microphone of agent 1001"), "{text}");
    let pressed = place.discord.press(&second_supervisor(), &button);
    let text = process.runs(place.discord.reply(pressed)).await;
    assert!(text.starts_with(SUCCESS), "{text}");
    assert!(text.contains(" · before this: <@501>, <t:"), "{text}");
    let again = place.discord.press(&second_supervisor(), &button);
    let text = process.runs(place.discord.reply(again)).await;
    assert!(text.starts_with("This button was used already."), "{text}");
    assert_eq!(place.wolkvox.toggles(1001), 2);
    drop(process);
    place.clear();
}

#[tokio::test]
async fn a_stop_while_discord_refuses_everything_hands_over_to_the_next_start() {
    let place = Place::new().await;
    let mut process = place.connected(1).await;
    place.discord.state(|state| state.edit_fates.extend(vec![Fate::Refuse(503, 0); 1000]));
    let command = place.discord.mute(&supervisor(), 1001);
    let tried = place.discord.until("the result was tried to be told", |state| state.edit_fates.len() < 999);
    process.runs(tried).await;
    process.signal("TERM");
    assert_eq!(process.ended().await.0, Some(0));
    assert!(process.log.text().contains("the next start tells what came of the command"));
    place.discord.state(|state| state.edit_fates.clear());
    let mut process = place.start();
    let text = process.runs(place.discord.reply(command)).await;
    assert!(text.starts_with(SUCCESS), "{text}");
    drop(process);
    place.clear();
}

#[tokio::test]
async fn tokens_are_gone_from_the_files_when_they_are_of_no_use_any_more() {
    let place = Place::new().await;
    let mut process = place.connected(1).await;
    let command = place.discord.mute(&supervisor(), 1001);
    process.runs(place.discord.reply(command)).await;
    let token = place.discord.interaction(command).token;
    let gone = async {
        while contains(&place.folder, &token) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    process.runs(tokio::time::timeout(Duration::from_secs(30), gone)).await.expect("the token is gone");
    for secret in [crate::support::discord::TOKEN, crate::support::wolkvox::TOKEN] {
        assert!(!contains(&place.folder, secret));
    }
    for file in std::fs::read_dir(&*place.folder).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    drop(process);
    place.clear();
}

#[tokio::test]
async fn a_record_that_can_not_be_used_is_refused_with_a_remedy() {
    let mut place = Place::new().await;
    let (folder, damaged) = (place.folder.to_owned(), place.folder.join("damaged.db"));
    std::fs::write(&damaged, "not a database, and longer than a header of one hundred bytes ".repeat(20)).unwrap();
    let before = std::fs::read(&damaged).unwrap();
    let missing = place.folder.join("missing/state.db");
    for (path, words) in [(&folder, "is a directory"), (&damaged, "is damaged"), (&missing, "does not exist")] {
        place.variables.insert("STATE_FILE", path.to_str().unwrap().to_owned());
        let (code, told) = place.start().ended().await;
        assert_eq!(code, Some(2));
        assert!(told.contains("STATE_FILE: ") && told.contains(words), "{told}");
        let mut check = Process::start(&place.variables, &["check"]);
        assert_eq!(check.ended().await.0, Some(1));
        let told = check.log.text();
        assert!(
            told.lines().any(|line| line.starts_with("FAIL  State file: STATE_FILE: ") && line.contains(words)),
            "{told}"
        );
    }
    assert_eq!(std::fs::read(&damaged).unwrap(), before);
    place.clear();
}

/// While a certain file is there, the disk that the state file is on is full, or slow where that file says so.
const FULL_DISK: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int is_full(int fd) {
    const char *sign = getenv("FULL_DISK"), *record = getenv("STATE_FILE");
    char link[64], path[4096] = {0};
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return sign && record && access(sign, F_OK) == 0 && readlink(link, path, sizeof path - 1) > 0
        && strncmp(path, record, strlen(record)) == 0;
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t offset) {
    if (is_full(fd)) { errno = ENOSPC; return -1; }
    return syscall(SYS_pwrite64, fd, bytes, count, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) { return pwrite64(fd, bytes, count, offset); }
"#;

/// Gives a place a disk that is full while there is the file that is returned.
fn disk_that_fills_up(place: &mut Place) -> PathBuf {
    let (source, library, sign) =
        (place.folder.join("full.c"), place.folder.join("full.so"), place.folder.join("full"));
    std::fs::write(&source, FULL_DISK).unwrap();
    let built = std::process::Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    assert!(built.unwrap().success());
    place.variables.insert("LD_PRELOAD", library.to_str().unwrap().to_owned());
    place.variables.insert("FULL_DISK", sign.to_str().unwrap().to_owned());
    sign
}

#[tokio::test]
async fn a_full_disk_stops_nobody_from_muting_and_what_comes_after_it_is_written_again() {
    let mut place = Place::new().await;
    let sign = disk_that_fills_up(&mut place);
    let mut process = place.connected(1).await;
    process.runs(place.discord.reply(place.discord.mute(&supervisor(), 1001))).await;
    std::fs::write(&sign, "").unwrap();
    for agent in 1002..1005 {
        let text = process.runs(place.discord.reply(place.discord.mute(&supervisor(), agent))).await;
        assert!(text.starts_with(SUCCESS), "{text}");
    }
    process.runs_until_logged("can't be written").await;
    // The guard knows all the same.
    let asked = place.discord.mute(&second_supervisor(), 1004);
    let text = process.runs(place.discord.reply(asked)).await;
    assert!(text.starts_with("**Not sent:** <@501> toggled the microphone of agent 1004"), "{text}");
    std::fs::remove_file(&sign).unwrap();
    process.runs(place.discord.reply(place.discord.mute(&supervisor(), 1005))).await;
    process.runs_until_logged("is written again").await;
    let (_held, before) = (place.wolkvox.hold(), place.wolkvox.requests());
    let command = place.discord.mute(&supervisor(), 1006);
    place.wolkvox.until_requests(before + 1).await;
    place.kill(process).await;
    place.variables.remove("LD_PRELOAD");
    let mut process = place.start();
    let text = process.runs(place.discord.reply(command)).await;
    assert!(text.starts_with("**Unknown:** the bot was interrupted during its request to Wolkvox."), "{text}");
    drop(process);
    place.clear();
}

#[tokio::test]
async fn what_was_toggled_while_the_disk_was_full_is_the_last_toggle_after_a_stop_too() {
    let mut place = Place::new().await;
    let sign = disk_that_fills_up(&mut place);
    place.variables.insert("TOGGLE_GUARD_SECS", "0".to_owned());
    let mut process = place.connected(1).await;
    process.runs(place.discord.reply(place.discord.mute(&supervisor(), 1001))).await;
    std::fs::write(&sign, "").unwrap();
    process.runs(place.discord.reply(place.discord.mute(&second_supervisor(), 1001))).await;
    std::fs::remove_file(&sign).unwrap();
    process.signal("TERM");
    assert_eq!(process.ended().await.0, Some(0));
    let mut process = place.connected(1).await;
    let text = process.runs(place.discord.reply(place.discord.mute(&supervisor(), 1001))).await;
    assert!(!text.contains("before this: <@501>"), "another one lies between: {text}");
    drop(process);
    place.clear();
}

#[tokio::test]
async fn what_was_told_while_the_disk_was_full_is_not_under_way_when_it_is_not_any_more() {
    let mut place = Place::new().await;
    let sign = disk_that_fills_up(&mut place);
    place.variables.insert("TOGGLE_GUARD_SECS", "1".to_owned());
    let mut process = place.connected(1).await;
    let (command, held) = held_call(&place.discord, &place.wolkvox).await;
    std::fs::write(&sign, "").unwrap();
    held.notify_one();
    process.runs(place.discord.reply(command)).await;
    std::fs::remove_file(&sign).unwrap();
    process.runs(place.discord.reply(place.discord.mute(&supervisor(), 1002))).await;
    // Until the toggle counts no more: only a clock can tell that.
    process.runs(tokio::time::sleep(Duration::from_secs(2))).await;
    let text = process.runs(place.discord.reply(place.discord.mute(&second_supervisor(), 1001))).await;
    assert!(text.starts_with(SUCCESS), "{text}");
    drop(process);
    place.clear();
}

#[tokio::test]
async fn ones_own_toggle_is_never_asked_about_whoever_toggled_before_the_restart() {
    let place = Place::new().await;
    let third = crate::support::discord::Actor { id: 504, name: "dana", ..second_supervisor() };
    let mut process = place.connected(1).await;
    process.runs(place.discord.reply(place.discord.mute(&supervisor(), 1001))).await;
    place.kill(process).await;
    let mut process = place.connected(1).await;
    let question = place.discord.mute(&second_supervisor(), 1001);
    let button = process.runs(place.discord.finished(question)).await.button().unwrap();
    process.runs(place.discord.reply(place.discord.press(&second_supervisor(), &button))).await;
    let text = process.runs(place.discord.reply(place.discord.mute(&second_supervisor(), 1001))).await;
    assert!(text.starts_with(SUCCESS), "{text}");
    // And a third one is asked once, about the latest.
    let asked = process.runs(place.discord.finished(place.discord.mute(&third, 1001))).await;
    assert!(asked.text().unwrap().contains("<@502>"), "{asked:?}");
    let text = process.runs(place.discord.reply(place.discord.press(&third, &asked.button().unwrap()))).await;
    assert!(text.starts_with(SUCCESS), "{text}");
    drop(process);
    place.clear();
}

