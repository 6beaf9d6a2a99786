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

/// Stand-ins, and variables with a record in a folder of its own.
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
        variables.insert("STATE_FILE", folder.join("record.db").to_str().unwrap().to_owned());
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
    while !contains(&place.folder, "acknowledged") && writes < 1000 {
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
    stopped.runs_until_logged("left open by a process that ended").await;
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
async fn ended_because_discord_was_out_of_reach_it_hands_over_to_the_next_start() {
    let place = Place::new().await;
    let mut config = Draft::from_lookup(|name| place.variables.get(name).cloned()).finish().unwrap();
    config.limits.disconnected = Duration::from_secs(2);
    let bot = Bot::start(config);
    let (command, held) = held_call(&place.discord, &place.wolkvox).await;
    place.discord.state(|state| {
        state.chance = Some(Box::new(|_| Fate::Refuse(503, 0)));
        state.gateway = Gateway::Refuses;
    });
    place.discord.order(|| Order::Drop);
    held.notify_one();
    let error = bot.ended().await.unwrap_err();
    assert!(matches!(error, RunError::Gateway { .. }), "{error}");
    place.discord.state(|state| (state.chance, state.gateway) = (None, Gateway::Serves));
    let mut process = place.start();
    let text = process.runs(place.discord.reply(command)).await;
    assert!(text.starts_with(SUCCESS), "{text}");
    assert_eq!(place.wolkvox.toggles(1001), 1);
    drop(process);
    place.clear();
}

#[tokio::test]
async fn of_two_copies_on_one_record_one_tells_the_people_of_the_other() {
    let place = Place::new().await;
    let first = place.connected(1).await;
    let (command, _held) = held_call(&place.discord, &place.wolkvox).await;
    let mut second = place.connected(2).await;
    let mut first = first;
    first.signal("KILL");
    first.ended().await;
    let ended = Instant::now();
    let text = second.runs(place.discord.reply(command)).await;
    assert!(text.starts_with("**Unknown:** the bot was interrupted during its request to Wolkvox."), "{text}");
    assert!(ended.elapsed() < Duration::from_secs(10), "{:?}", ended.elapsed());
    drop(second);
    place.clear();
}

/// A command that two copies had: one was accepted and calls Wolkvox, of the other nobody knows whether it was. Returns
/// whether that is the second one.
async fn one_calls_and_one_does_not_know(place: &Place, [first, second]: [&Process; 2]) -> (u64, Arc<Notify>, bool) {
    place.discord.until_ready(2).await;
    place.discord.state(|state| {
        state.first_answer_fates.extend([Fate::Accept, Fate::Stall, Fate::Stall, Fate::Stall, Fate::Stall])
    });
    let (command, held) = held_call(&place.discord, &place.wolkvox).await;
    place.discord.until("the other one has it too", |state| state.first_answer_fates.len() < 4).await;
    let acknowledged = "discord::mute: acknowledged";
    let second_calls = tokio::select! {
        () = first.log.until_contains(acknowledged) => false,
        () = second.log.until_contains(acknowledged) => true,
    };
    (command, held, second_calls)
}

#[tokio::test]
async fn of_a_command_that_two_copies_had_both_of_which_died_the_outcome_is_told() {
    let mut place = Place::new().await;
    place.variables.insert("RUST_LOG", "debug".to_owned());
    let [mut calls, mut other] = [place.start(), place.start()];
    let (command, _held, swap) = one_calls_and_one_does_not_know(&place, [&calls, &other]).await;
    if swap {
        std::mem::swap(&mut calls, &mut other);
    }
    other.signal("KILL");
    other.ended().await;
    let mut next = place.start();
    next.runs_until_logged("left open by a process that ended").await;
    calls.signal("KILL");
    calls.ended().await;
    let text = next.runs(place.discord.reply(command)).await;
    assert!(text.starts_with("**Unknown:** the bot was interrupted during its request to Wolkvox."), "{text}");
    next.runs_until_logged(r#"outcome="unknown""#).await;
    drop(next);
    place.clear();
}

#[tokio::test]
async fn what_a_copy_with_another_record_told_leaves_the_outcome_open() {
    let mut place = Place::new().await;
    place.variables.insert("RUST_LOG", "debug".to_owned());
    let mut variables = place.variables.clone();
    variables.insert("STATE_FILE", place.folder.join("other.db").to_str().unwrap().to_owned());
    let [mut calls, mut other] = [place.start(), Process::start(&variables, &[])];
    let (command, _held, swap) = one_calls_and_one_does_not_know(&place, [&calls, &other]).await;
    if swap {
        std::mem::swap(&mut calls, &mut other);
        place.variables = variables;
    }
    let text = calls.runs(other.runs(place.discord.reply(command))).await;
    assert!(text.starts_with("**Not sent from here:** Discord did not confirm the command"), "{text}");
    calls.signal("KILL");
    calls.ended().await;
    let mut next = place.start();
    next.runs_until_logged(r#"outcome="unknown""#).await;
    let all_told = |state: &State| state.interactions[&command].history.len() == 2;
    next.runs(place.discord.until("the outcome was told", all_told)).await;
    let text = place.discord.interaction(command).text().unwrap();
    assert!(text.starts_with("**Unknown:** the bot was interrupted during its request to Wolkvox."), "{text}");
    drop((next, other));
    place.clear();
}

#[tokio::test]
async fn what_a_copy_told_is_not_replaced_by_another_that_does_not_know_it() {
    let mut place = Place::new().await;
    place.variables.insert("RUST_LOG", "debug".to_owned());
    let [mut first, mut second] = [place.start(), place.start()];
    place.discord.state(|state| state.look_fates.push_back(Fate::Late(Duration::from_secs(2))));
    let (command, held, _) = one_calls_and_one_does_not_know(&place, [&first, &second]).await;
    // One of them looks after 15 s what is shown, and learns of it 2 s later: only a clock can tell that.
    first.runs(second.runs(tokio::time::sleep(Duration::from_secs(16)))).await;
    held.notify_one();
    let text = first.runs(second.runs(place.discord.reply(command))).await;
    assert!(text.starts_with(SUCCESS), "{text}");
    first.runs(second.runs(tokio::time::sleep(Duration::from_secs(3)))).await;
    let told = place.discord.interaction(command).history;
    assert_eq!(told.len(), 1, "{told:?}");
    drop((first, second));
    place.clear();
}

#[tokio::test]
async fn a_copy_that_was_only_stopped_for_a_while_is_alive() {
    let place = Place::new().await;
    let mut first = place.connected(1).await;
    let (command, held) = held_call(&place.discord, &place.wolkvox).await;
    let mut second = place.connected(2).await;
    first.signal("STOP");
    // Longer than the other copy takes to look for the dead: only a clock can tell that.
    let beside = second.runs(tokio::time::sleep(Duration::from_secs(10)));
    beside.await;
    assert!(!place.discord.interaction(command).finished());
    first.signal("CONT");
    held.notify_one();
    let text = first.runs(place.discord.reply(command)).await;
    assert!(text.starts_with(SUCCESS), "{text}");
    assert_eq!(place.discord.interaction(command).history.len(), 1);
    drop((first, second));
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
    let missing = place.folder.join("missing/record.db");
    for (path, words) in [(&folder, "is a directory"), (&damaged, "is damaged"), (&missing, "does not exist")] {
        place.variables.insert("STATE_FILE", path.to_str().unwrap().to_owned());
        let (code, told) = place.start().ended().await;
        assert_eq!(code, Some(2));
        assert!(told.contains("STATE_FILE: ") && told.contains(words), "{told}");
        let mut check = Process::start(&place.variables, &["check"]);
        assert_eq!(check.ended().await.0, Some(1));
        let told = check.log.text();
        assert!(
            told.lines().any(|line| line.starts_with("FAIL  Record: STATE_FILE: ") && line.contains(words)),
            "{told}"
        );
    }
    assert_eq!(std::fs::read(&damaged).unwrap(), before);
    place.clear();
}

#[tokio::test]
async fn check_says_where_the_record_is_and_how_much_is_open() {
    let mut place = Place::new().await;
    let printed = async |place: &Place| {
        let mut check = Process::start(&place.variables, &["check"]);
        assert_eq!(check.ended().await.0, Some(0));
        check.log.text()
    };
    let told = printed(&place).await;
    assert!(told.contains("ok    Record: ") && told.contains("record.db"), "{told}");
    let process = place.connected(1).await;
    let (_, _held) = held_call(&place.discord, &place.wolkvox).await;
    let told = printed(&place).await;
    assert!(told.contains("commands open: 1"), "{told}");
    place.kill(process).await;
    place.variables.insert("STATE_FILE", "off".to_owned());
    let told = printed(&place).await;
    assert!(told.contains("Record: off"), "{told}");
    // Not the stand-ins: check asks Wolkvox beside the call.
}

#[tokio::test]
async fn a_slow_disk_delays_a_command_and_not_the_gateway() {
    let place = Place::new().await;
    place.discord.state(|state| state.heartbeat = Some(200));
    let mut process = place.connected(1).await;
    let connection = rusqlite::Connection::open(place.folder.join("record.db")).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    let before = place.discord.state(|state| state.heartbeats);
    let command = place.discord.mute(&supervisor(), 1001);
    let beats = place.discord.until("heartbeats go on", |state| state.heartbeats >= before + 4);
    process.runs(beats).await;
    connection.execute_batch("COMMIT").unwrap();
    let text = process.runs(place.discord.reply(command)).await;
    assert!(text.starts_with(SUCCESS), "{text}");
    drop(process);
    place.clear();
}

/// While a certain file is there, the disk that a record is on is full.
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
    process.runs_until_logged("the record is written again").await;
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
async fn what_was_toggled_while_the_disk_was_full_is_asked_about_when_it_is_not_any_more() {
    let mut place = Place::new().await;
    let sign = disk_that_fills_up(&mut place);
    let mut process = place.connected(1).await;
    std::fs::write(&sign, "").unwrap();
    process.runs(place.discord.reply(place.discord.mute(&supervisor(), 1001))).await;
    std::fs::remove_file(&sign).unwrap();
    process.runs(place.discord.reply(place.discord.mute(&supervisor(), 1002))).await;
    let asked = place.discord.mute(&second_supervisor(), 1001);
    let text = process.runs(place.discord.reply(asked)).await;
    assert!(text.starts_with("**Not sent:** <@501> toggled the microphone of agent 1001"), "{text}");
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

/// Holds the file's lock, as another program would.
fn lock(place: &Place) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(place.folder.join("record.db")).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

#[tokio::test]
async fn nothing_is_sent_that_the_record_would_deny() {
    let place = Place::new().await;
    let mut process = place.connected(1).await;
    let (_first, held) = held_call(&place.discord, &place.wolkvox).await;
    let waiting = place.discord.mute(&supervisor(), 1002);
    place.discord.until_acknowledged(waiting).await;
    while !contains(&place.folder, "acknowledged") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let connection = lock(&place);
    held.notify_one();
    let text = process.runs(place.discord.reply(waiting)).await;
    assert!(text.starts_with("**Not sent:** the bot can't write its record. Nothing has changed"), "{text}");
    assert_eq!(place.wolkvox.toggles(1002), 0);
    drop(connection);
    drop(process);
    place.clear();
}

#[tokio::test]
async fn what_was_told_is_not_contradicted_where_it_could_not_be_written_down() {
    let place = Place::new().await;
    let mut process = place.connected(1).await;
    let (command, held) = held_call(&place.discord, &place.wolkvox).await;
    let connection = lock(&place);
    held.notify_one();
    let text = process.runs(place.discord.reply(command)).await;
    assert!(text.starts_with(SUCCESS), "{text}");
    place.kill(process).await;
    drop(connection);
    let mut process = place.start();
    process.runs_until_logged("the person was told by the process that ended").await;
    assert_eq!(place.discord.interaction(command).history.len(), 1);
    assert!(!process.log.text().contains("outcome=\"unknown\""));
    drop(process);
    place.clear();
}

#[tokio::test]
async fn a_file_that_is_locked_for_a_while_keeps_nobody_from_being_taken_over() {
    let place = Place::new().await;
    let mut first = place.connected(1).await;
    let (command, _held) = held_call(&place.discord, &place.wolkvox).await;
    let mut second = place.connected(2).await;
    let connection = lock(&place);
    first.signal("KILL");
    first.ended().await;
    // So long that a look for the dead falls into it: only a clock can tell that.
    second.runs(tokio::time::sleep(Duration::from_millis(7500))).await;
    drop(connection);
    let text = second.runs(place.discord.reply(command)).await;
    assert!(text.starts_with("**Unknown:** the bot was interrupted during its request to Wolkvox."), "{text}");
    drop(second);
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

#[tokio::test]
async fn a_button_works_at_the_first_press_with_two_copies_on_one_record() {
    let place = Place::new().await;
    let (mut one, mut other) = (place.start(), place.start());
    let pressed = async {
        place.discord.until_ready(2).await;
        for agent in 2001..2021 {
            place.discord.reply(place.discord.mute(&supervisor(), agent)).await;
            let question = place.discord.finished(place.discord.mute(&second_supervisor(), agent)).await;
            let button = question.button().unwrap();
            let text = place.discord.reply(place.discord.press(&second_supervisor(), &button)).await;
            assert!(text.starts_with(SUCCESS), "{agent}: {text}");
        }
    };
    one.runs(other.runs(pressed)).await;
    drop((one, other));
}

#[tokio::test]
async fn a_button_counts_once_though_discord_knows_nothing_of_a_press_that_another_copy_has() {
    let place = Place::new().await;
    place.discord.state(|state| state.forgets_acknowledged = true);
    let (mut one, mut other) = (place.start(), place.start());
    let logs = [one.log.clone(), other.log.clone()];
    let pressed = async {
        place.discord.until_ready(2).await;
        // Each time another of the two may be the one that is refused.
        for agent in 2001..2021 {
            place.discord.reply(place.discord.mute(&supervisor(), agent)).await;
            let question = place.discord.finished(place.discord.mute(&second_supervisor(), agent)).await;
            let button = question.button().unwrap();
            let press = place.discord.press(&second_supervisor(), &button);
            assert!(place.discord.reply(press).await.starts_with(SUCCESS));
            for log in &logs {
                log.outcome_in_text(press).await;
            }
            let text = place.discord.reply(place.discord.press(&second_supervisor(), &button)).await;
            assert!(text.starts_with("This button was used already."), "{agent}: {text}");
            assert_eq!(place.wolkvox.toggles(agent), 2);
        }
    };
    one.runs(other.runs(pressed)).await;
    drop((one, other));
}

#[tokio::test]
async fn a_copy_with_another_record_names_no_toggle_before_one_if_it_left_one_between_to_the_other() {
    for forgets_acknowledged in [false, true] {
        let mut place = Place::new().await;
        place.discord.state(|state| state.forgets_acknowledged = forgets_acknowledged);
        let one = place.start();
        place.variables.insert("STATE_FILE", place.folder.join("other.db").to_str().unwrap().to_owned());
        let other = place.start();
        place.discord.until_ready(2).await;
        let mut before = None;
        for _ in 0..20 {
            let command = place.discord.mute(&supervisor(), 1001);
            let text = place.discord.reply(command).await;
            let by_one = one.log.outcome_in_text(command).await == "done";
            assert_eq!(other.log.outcome_in_text(command).await == "done", !by_one);
            assert_eq!(text.contains("before this"), before == Some(by_one), "{text}");
            before = Some(by_one);
        }
        drop((one, other));
    }
}

#[tokio::test]
async fn a_toggle_that_another_copy_made_during_the_call_is_not_named_as_the_one_before() {
    let place = Place::new().await;
    let (one, other) = (place.start(), place.start());
    place.discord.until_ready(2).await;
    for agent in 2001..2041 {
        let requests = place.wolkvox.requests();
        // Carried out at once, and confirmed when the next one may be through.
        place.wolkvox.next([crate::support::wolkvox::Fate::Late(Duration::from_millis(500))]);
        let first = place.discord.mute(&supervisor(), agent);
        place.wolkvox.until_requests(requests + 1).await;
        place.discord.reply(place.discord.mute(&supervisor(), agent)).await;
        // Unless one copy had both.
        if !place.discord.interaction(first).finished() {
            let text = place.discord.reply(first).await;
            assert!(text.starts_with(SUCCESS) && !text.contains("before this"), "{text}");
            drop((one, other));
            return;
        }
    }
    panic!("one copy had all");
}

#[tokio::test]
async fn somebody_who_only_reads_the_file_keeps_nothing_up() {
    let place = Place::new().await;
    let mut process = place.connected(1).await;
    process.runs(place.discord.reply(place.discord.mute(&supervisor(), 1001))).await;
    let reader = rusqlite::Connection::open(place.folder.join("record.db")).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let _: i64 = reader.query_row("SELECT count(*) FROM commands", [], |row| row.get(0)).unwrap();
    // Longer than the bot takes to tidy up: only a clock can tell that.
    process.runs(tokio::time::sleep(Duration::from_secs(6))).await;
    process.runs(place.discord.reply(place.discord.mute(&supervisor(), 1002))).await;
    assert!(!process.log.text().contains("can't be written"), "{}", process.log.text());
    drop(reader);
    drop(process);
    place.clear();
}

#[tokio::test]
async fn a_command_that_was_taken_over_stays_taken_over_when_it_is_delivered_late() {
    let place = Place::new().await;
    let mut first = place.connected(1).await;
    let of_first = place.discord.state(|state| state.connected.keys().next().copied());
    let mut second = place.connected(2).await;
    // The second one loses its connection, so that it gets the command only when the first one is dead.
    place.discord.state(|state| {
        state.gateway = Gateway::Refuses;
        let others = state.connected.iter().filter(|(connection, _)| Some(**connection) != of_first);
        others.for_each(|(_, orders)| orders.send(Order::Drop).unwrap());
        state.edit_fates.extend(vec![Fate::Refuse(503, 0); 1000]);
    });
    place.discord.until("one is not connected", |state| state.connected.len() == 1).await;
    let (command, _held) = held_call(&place.discord, &place.wolkvox).await;
    first.signal("KILL");
    first.ended().await;
    second.runs_until_logged("left open by a process that ended").await;
    place.discord.state(|state| state.gateway = Gateway::Serves);
    second.runs_until_logged("delivered after it was taken over, left alone").await;
    place.kill(second).await;
    place.discord.state(|state| state.edit_fates.clear());
    let mut third = place.start();
    let text = third.runs(place.discord.reply(command)).await;
    assert!(text.starts_with("**Unknown:** the bot was interrupted during its request to Wolkvox."), "{text}");
    drop(third);
    place.clear();
}

/// A command whose process was killed during the call, long ago.
async fn interrupted_long_ago(place: &Place) -> u64 {
    let process = place.connected(1).await;
    let (command, _held) = held_call(&place.discord, &place.wolkvox).await;
    place.kill(process).await;
    let connection = rusqlite::Connection::open(place.folder.join("record.db")).unwrap();
    connection.execute_batch("UPDATE commands SET received_ms = received_ms - 20 * 60 * 1000").unwrap();
    command
}

#[tokio::test]
async fn a_toggle_of_long_ago_is_in_a_log_even_if_the_next_process_dies_before_it_says_so() {
    let place = Place::new().await;
    let command = interrupted_long_ago(&place).await;
    place.discord.state(|state| state.look_fates.extend(vec![Fate::Stall; 10]));
    let mut next = place.start();
    next.runs_until_logged("left open by a process that ended").await;
    let token = place.discord.interaction(command).token;
    let tidied = async {
        while contains(&place.folder, &token) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    next.runs(tidied).await;
    place.kill(next).await;
    place.discord.state(|state| state.look_fates.clear());
    let mut last = place.start();
    let log = last.log.clone();
    assert_eq!(last.runs(log.outcome_in_text(command)).await, "unknown");
    drop(last);
    place.clear();
}

#[tokio::test]
async fn what_nobody_can_be_told_any_more_is_not_forgotten_before_the_log_has_it() {
    let place = Place::new().await;
    let command = interrupted_long_ago(&place).await;
    let connection = rusqlite::Connection::open(place.folder.join("record.db")).unwrap();
    connection.execute_batch("UPDATE commands SET token = ''").unwrap();
    drop(connection);
    let (mut next, _unread) = Process::start_unread(&place.variables, &[], false);
    next.runs(place.discord.until_ready(1)).await;
    place.kill(next).await;
    let mut last = place.start();
    let log = last.log.clone();
    assert_eq!(last.runs(log.outcome_in_text(command)).await, "unknown");
    drop(last);
    place.clear();
}
