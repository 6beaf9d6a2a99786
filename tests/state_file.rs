//! The file outlives the process: everybody who saw "thinking…" is told the truth, even if the process is gone.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use crate::support::bot::Site;
use crate::support::discord::{self, Actor, Fate, second_supervisor, supervisor};
use crate::support::wolkvox::{self, SUCCESS};

/// Whether some bytes are in a file of this folder.
pub(crate) fn contains(folder: &Path, text: &str) -> bool {
    let files = std::fs::read_dir(folder).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    files.into_iter().any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

#[tokio::test]
async fn killed_during_the_call_the_next_start_says_that_the_outcome_is_unknown() {
    let site = Site::new().await;
    let process = site.connected(1).await;
    let (command, held) = site.held_call().await;
    let waiting = site.discord.mute(&supervisor(), 1002);
    site.discord.until_acknowledged(waiting).await;
    let mut writes = 0;
    // The second one is written down as acknowledged before it waits.
    while !contains(&site.folder, "\"Waiting\"") && writes < 1000 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        writes += 1;
    }
    site.kill(process).await;
    held.notify_one();
    let mut process = site.start();
    let text = process.runs(site.discord.reply(command)).await;
    assert!(text.starts_with("**Unknown:** the bot was interrupted during its request to Wolkvox."), "{text}");
    assert!(text.contains("look at the agent's MUTE button"), "{text}");
    let text = process.runs(site.discord.reply(waiting)).await;
    assert!(text.starts_with("**Not sent:** the bot was restarted. Nothing has changed; try again."), "{text}");
    assert_eq!(process.log.outcome_in_text(command).await, "unknown");
    assert_eq!(process.log.outcome_in_text(waiting).await, "not_sent");
    assert!(site.wolkvox.toggles(1001) <= 1);
    assert_eq!(site.wolkvox.toggles(1002), 0);
    site.settle(&process);
}

#[tokio::test]
async fn a_first_answer_that_discord_accepts_after_the_next_start_was_stopped_leaves_nobody_waiting() {
    let site = Site::new().await;
    let process = site.connected(1).await;
    site.discord.state(|state| state.first_answer_fates.push_back(Fate::Slow(Duration::from_millis(1500))));
    let command = site.discord.mute(&supervisor(), 1001);
    site.discord.until("it is on its way", |state| state.first_answer_fates.is_empty()).await;
    site.kill(process).await;
    let mut stopped = site.start();
    stopped.runs_until_logged("recovering a command of a process that ended").await;
    stopped.signal("TERM");
    assert_eq!(stopped.ended().await.0, Some(0));
    site.discord.until_acknowledged(command).await;
    let mut process = site.start();
    let text = process.runs(site.discord.reply(command)).await;
    assert!(text.starts_with("**Not sent from here:** the bot was interrupted"), "{text}");
    site.settle(&process);
}

#[tokio::test]
async fn a_known_result_that_was_not_told_is_told_by_the_next_start() {
    let site = Site::new().await;
    let mut process = site.connected(1).await;
    site.discord.state(|state| state.edit_fates.extend(vec![Fate::Refuse(503, 0); 1000]));
    let command = site.discord.mute(&supervisor(), 1001);
    let tried = site.discord.until("the result was tried to be told", |state| state.edit_fates.len() < 999);
    process.runs(tried).await;
    site.kill(process).await;
    site.discord.state(|state| state.edit_fates.clear());
    let mut process = site.start();
    let text = process.runs(site.discord.reply(command)).await;
    assert!(text.starts_with(SUCCESS), "{text}");
    assert_eq!(process.log.outcome_in_text(command).await, "done");
    assert_eq!(site.wolkvox.toggles(1001), 1);
    site.settle(&process);
}

#[tokio::test]
async fn what_the_next_start_told_is_in_its_log_although_discords_answer_to_that_was_lost() {
    let site = Site::new().await;
    let process = site.connected(1).await;
    let (command, _held) = site.held_call().await;
    site.kill(process).await;
    site.discord.state(|state| state.edit_fates.push_back(Fate::CutAfter));
    let mut process = site.start();
    process.runs(site.discord.reply(command)).await;
    let log = process.log.clone();
    assert_eq!(process.runs(log.outcome_in_text(command)).await, "unknown");
    site.settle(&process);
}

#[tokio::test]
async fn killed_while_it_was_being_answered_somebody_who_sees_thinking_is_told() {
    let site = Site::new().await;
    let process = site.connected(1).await;
    site.discord.state(|state| state.first_answer_fates.push_back(Fate::StallAfter));
    let command = site.discord.mute(&supervisor(), 1001);
    site.discord.until_acknowledged(command).await;
    site.kill(process).await;
    let mut process = site.start();
    let text = process.runs(site.discord.reply(command)).await;
    assert!(text.starts_with("**Not sent from here:** the bot was interrupted"), "{text}");
    assert_eq!(site.wolkvox.requests(), 0);
    site.settle(&process);
}

#[tokio::test]
async fn the_guard_and_its_buttons_outlive_the_process() {
    let site = Site::new().await;
    let mut process = site.connected(1).await;
    process.runs(site.discord.reply(site.discord.mute(&supervisor(), 1001))).await;
    let question = site.discord.mute(&second_supervisor(), 1001);
    let button = process.runs(site.discord.finished(question)).await.button().unwrap();
    site.kill(process).await;
    let mut process = site.connected(1).await;
    let asked = site.discord.mute(&second_supervisor(), 1001);
    let text = process.runs(site.discord.reply(asked)).await;
    assert!(text.starts_with("**Not sent:** <@501> toggled the microphone of agent 1001"), "{text}");
    let pressed = site.discord.press(&second_supervisor(), &button);
    let text = process.runs(site.discord.reply(pressed)).await;
    assert!(text.starts_with(SUCCESS), "{text}");
    assert!(text.contains(" · before this: <@501>, <t:"), "{text}");
    let again = site.discord.press(&second_supervisor(), &button);
    let text = process.runs(site.discord.reply(again)).await;
    assert!(text.starts_with("This button was used already."), "{text}");
    assert_eq!(site.wolkvox.toggles(1001), 2);
    site.settle(&process);
}

#[tokio::test]
async fn a_stop_while_discord_refuses_everything_hands_over_to_the_next_start() {
    let site = Site::new().await;
    let mut process = site.connected(1).await;
    site.discord.state(|state| state.edit_fates.extend(vec![Fate::Refuse(503, 0); 1000]));
    let command = site.discord.mute(&supervisor(), 1001);
    let tried = site.discord.until("the result was tried to be told", |state| state.edit_fates.len() < 999);
    process.runs(tried).await;
    process.signal("TERM");
    assert_eq!(process.ended().await.0, Some(0));
    assert!(process.log.text().contains("the next start tells the outcome of the command"));
    site.discord.state(|state| state.edit_fates.clear());
    let mut process = site.start();
    let text = process.runs(site.discord.reply(command)).await;
    assert!(text.starts_with(SUCCESS), "{text}");
    site.settle(&process);
}

#[tokio::test]
async fn tokens_are_gone_from_the_files_when_they_are_of_no_use_any_more() {
    let site = Site::new().await;
    let mut process = site.connected(1).await;
    let command = site.discord.mute(&supervisor(), 1001);
    process.runs(site.discord.reply(command)).await;
    let token = site.discord.interaction(command).token;
    let gone = async {
        while contains(&site.folder, &token) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    process.runs(tokio::time::timeout(Duration::from_secs(30), gone)).await.expect("the token is gone");
    for secret in [discord::TOKEN, wolkvox::TOKEN] {
        assert!(!contains(&site.folder, secret));
    }
    for file in std::fs::read_dir(&*site.folder).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    site.settle(&process);
}

#[tokio::test]
async fn a_file_that_can_not_be_used_is_refused_with_a_remedy_and_left_as_it_is() {
    let mut site = Site::new().await;
    let path = |name: &str| site.folder.join(name).to_str().unwrap().to_owned();
    let [folder, damaged, missing, dangling, older, foreign] =
        ["", "damaged.db", "missing/state.db", "dangling.db", "older.db", "foreign.db"].map(path);
    std::fs::write(&damaged, "not a database, and longer than a header of one hundred bytes ".repeat(20)).unwrap();
    std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
    let make = |path: &str, sql: &str| rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
    make(&older, "CREATE TABLE commands (x); PRAGMA user_version = 2");
    make(&foreign, "CREATE TABLE customers (x)");
    let before = [&damaged, &older, &foreign].map(|path| std::fs::read(path).unwrap());
    for (path, words) in [
        (&folder, "is a directory"),
        (&damaged, "is damaged"),
        (&missing, "does not exist"),
        (&dangling, "is a link to a file that does not exist"),
        (&older, "was written by an older version"),
        (&foreign, "is damaged, or not a file of this bot"),
    ] {
        site.set("STATE_FILE", path);
        let (code, told) = site.start().ended().await;
        assert_eq!(code, Some(2), "{told}");
        assert!(told.contains("STATE_FILE: ") && told.contains(words), "{told}");
        let (code, told) = site.check().await;
        assert_eq!(code, Some(1));
        let failed = |line: &str| line.starts_with("FAIL  State file: STATE_FILE: ") && line.contains(words);
        assert!(told.lines().any(failed), "{told}");
    }
    assert_eq!([&damaged, &older, &foreign].map(|path| std::fs::read(path).unwrap()), before);
}

#[tokio::test]
async fn a_file_that_others_could_read_is_made_private() {
    let site = Site::new().await;
    let mut process = site.connected(1).await;
    site.stop(&mut process).await;
    std::fs::set_permissions(site.state_file(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let process = site.connected(1).await;
    let mode = std::fs::metadata(site.state_file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    site.settle(&process);
}

#[tokio::test]
async fn a_clock_that_is_set_takes_no_command_in_progress_out_of_the_file() {
    let mut site = Site::new().await;
    let offset = crate::clock::movable_clock(&mut site);
    let mut process = site.connected(1).await;
    let (command, _held) = site.held_call().await;
    std::fs::write(&offset, "1200").unwrap();
    let waiting = site.discord.mute(&supervisor(), 1002);
    process.runs(site.discord.until_acknowledged(waiting)).await;
    site.kill(process).await;
    std::fs::write(&offset, "0").unwrap();
    let mut process = site.start();
    let text = process.runs(site.discord.reply(command)).await;
    assert!(text.starts_with("**Unknown:** the bot was interrupted"), "{text}");
    process.runs(site.discord.reply(waiting)).await;
    site.settle(&process);
}

#[tokio::test]
async fn ones_own_toggle_is_never_asked_about_whoever_toggled_before_the_restart() {
    let site = Site::new().await;
    let third = Actor { id: 504, name: "dana", ..second_supervisor() };
    let mut process = site.connected(1).await;
    process.runs(site.discord.reply(site.discord.mute(&supervisor(), 1001))).await;
    site.kill(process).await;
    let mut process = site.connected(1).await;
    let question = site.discord.mute(&second_supervisor(), 1001);
    let button = process.runs(site.discord.finished(question)).await.button().unwrap();
    process.runs(site.discord.reply(site.discord.press(&second_supervisor(), &button))).await;
    let text = process.runs(site.discord.reply(site.discord.mute(&second_supervisor(), 1001))).await;
    assert!(text.starts_with(SUCCESS), "{text}");
    // And a third one is asked once, about the latest.
    let asked = process.runs(site.discord.finished(site.discord.mute(&third, 1001))).await;
    assert!(asked.text().unwrap().contains("<@502>"), "{asked:?}");
    let text = process.runs(site.discord.reply(site.discord.press(&third, &asked.button().unwrap()))).await;
    assert!(text.starts_with(SUCCESS), "{text}");
    site.settle(&process);
}

