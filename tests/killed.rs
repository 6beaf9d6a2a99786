//! The bot is killed without warning, and everybody who saw "thinking…" gets the truth all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use tokio::sync::Semaphore;
use wolkvox_bot::journal::{self, Status};

use crate::faults::{Account, Crowd, discord_fate, meaning, wolkvox_fate};
use crate::support::bot::{Log, Site, check_secrets};
use crate::support::discord::{self, Discord, second_supervisor, supervisor};
use crate::support::wolkvox::{self, Wolkvox};
use crate::support::{Folder, shim};

/// How many commands the fault test gives, and after how many a process is killed.
const COMMANDS: u64 = 120;
const LIFE: u64 = 40;

/// How many processes may start at a time: more of them would wait for each other too long.
static STARTING: Semaphore = Semaphore::const_new(8);

/// Kills the process at the KILL_AT-th time that it writes to the record or a file beside it: before that, or after
/// it if there is KILL_AFTER. Makes the file SYNCED whenever the disk has all of that.
const KILLER: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fatal(const char *path) {
    static atomic_long writes;
    const char *record = getenv("STATE_FILE"), *at = getenv("KILL_AT");
    if (!record || !at || strncmp(path, record, strlen(record))) return 0;
    return atomic_fetch_add(&writes, 1) + 1 == atol(at);
}

static int fatal_to(int fd) {
    char link[32], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    return fatal(path);
}

static int synced(int fd) {
    const char *mark = getenv("SYNCED");
    int result = syscall(SYS_fsync, fd);
    if (!result && mark) close(open(mark, O_CREAT | O_WRONLY, 0600));
    return result;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

#define WRITE(is_fatal, call) \
    int last = is_fatal; \
    if (last && !getenv("KILL_AFTER")) die(); \
    long result = call; \
    if (last) die(); \
    return result;

ssize_t write(int fd, const void *data, size_t size) { WRITE(fatal_to(fd), syscall(SYS_write, fd, data, size)) }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    WRITE(fatal_to(fd), syscall(SYS_pwrite64, fd, data, size, at))
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    WRITE(fatal_to(fd), syscall(SYS_pwrite64, fd, data, size, at))
}
int ftruncate(int fd, off_t size) { WRITE(fatal_to(fd), syscall(SYS_ftruncate, fd, size)) }
int ftruncate64(int fd, off64_t size) { WRITE(fatal_to(fd), syscall(SYS_ftruncate, fd, size)) }
int fsync(int fd) { WRITE(fatal_to(fd), synced(fd)) }
int fdatasync(int fd) { WRITE(fatal_to(fd), synced(fd)) }
int unlink(const char *path) { WRITE(fatal(path), syscall(SYS_unlinkat, -100, path, 0)) }
"#;

/// What is in a folder's files whose names begin so.
fn bytes(folder: &Path, prefix: &str) -> Vec<u8> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = files.filter(|file| file.file_name().to_str().unwrap().starts_with(prefix));
    files.flat_map(|file| std::fs::read(file.path()).unwrap()).collect()
}

/// The outcomes in the audit records of each command, in the logs of all processes. Each line is decoded once: the
/// stand-ins of other seeds share the thread, and answer nobody meanwhile.
fn outcomes<'a>(logs: impl IntoIterator<Item = &'a Log>) -> BTreeMap<u64, BTreeSet<String>> {
    let mut outcomes: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for record in logs.into_iter().flat_map(Log::audits) {
        let text = |field: &str| record[field].as_str().unwrap().to_owned();
        outcomes.entry(text("interaction_id").parse().unwrap()).or_default().insert(text("outcome"));
    }
    outcomes
}

/// How a life of the bot ends.
#[derive(Clone, Copy)]
enum End {
    /// It does what it is to do, and is then told to end.
    Told,
    /// It does what it is to do, and is then killed.
    Killed,
    /// It is killed at this write to the state file: after it was carried out, or before.
    AtWrite(usize, bool),
}

/// Lives of the bot, one after the other, with one state file.
struct Lives {
    case: String,
    site: Site,
    discord: Discord,
    wolkvox: Wolkvox,
    killer: String,
    logs: Vec<Log>,
    /// Each with its agent.
    commands: Vec<(u64, u64)>,
}

impl Lives {
    async fn new(killer: &str, write: usize, after: bool) -> Self {
        let site = Site::new().await.with("LOG_FORMAT", "json");
        let case = format!("killed {} write {write}", if after { "after" } else { "before" });
        let (discord, wolkvox, killer) = (site.discord.clone(), site.wolkvox.clone(), killer.to_owned());
        Self { case, site, discord, wolkvox, killer, logs: Vec::new(), commands: Vec::new() }
    }

    fn give(&mut self, agent: u64) -> u64 {
        let command = self.discord.mute(&supervisor(), agent);
        self.commands.push((command, agent));
        command
    }

    /// The first so many, as far as they were acknowledged.
    async fn answered(&self, count: usize) {
        for (command, _) in self.commands.iter().take(count) {
            if self.discord.interaction(*command).deferred() {
                self.discord.finished(*command).await;
            }
        }
    }

    /// Whether it ended by itself, and not by a kill.
    async fn live(&mut self, end: End, story: impl AsyncFnOnce(&mut Self)) -> bool {
        self.site.variables.retain(|name, _| !["LD_PRELOAD", "KILL_AT", "KILL_AFTER"].contains(name));
        if let End::AtWrite(write, after) = end {
            self.site.variables.extend([("LD_PRELOAD", self.killer.clone()), ("KILL_AT", write.to_string())]);
            self.site.variables.extend(after.then(|| ("KILL_AFTER", "1".to_owned())));
        }
        let identified = self.discord.state(|state| state.identifies);
        let starting = STARTING.acquire().await.unwrap();
        let mut process = self.site.start();
        self.logs.push(process.log.clone());
        let ended = tokio::select! {
            end = process.ended() => Some(end),
            () = async {
                self.discord.until("the bot is connected", |state| state.identifies > identified).await;
                drop(starting);
                story(self).await;
            } => None,
        };
        let (code, errors) = match ended {
            Some(ended) => ended,
            None => {
                // The last writes are those of the end.
                if process.is_running() {
                    process.signal(if let End::Killed = end { "KILL" } else { "TERM" });
                }
                process.ended().await
            }
        };
        let survived = code == Some(0);
        assert!(survived || (code.is_none() && !matches!(end, End::Told)), "{}: {code:?} {errors}", self.case);
        survived
    }

    /// What holds after the last life. Returns what was told.
    fn check(&self) -> Vec<String> {
        let log: String = self.logs.iter().map(Log::text).collect();
        let file = bytes(&self.site.folder, "state.db");
        let outcomes = outcomes(&self.logs);
        let mut ends = Vec::new();
        for (command, agent) in &self.commands {
            let (seen, toggles) = (self.discord.interaction(*command), self.wolkvox.toggles(*agent));
            let told: BTreeSet<&str> = seen.history.iter().map(|text| meaning(text)).collect();
            let told: Vec<&str> = told.into_iter().collect();
            let audited: Vec<&str> = outcomes.get(command).into_iter().flatten().map(String::as_str).collect();
            // A kill may cost the line in the log.
            match (seen.first.is_some(), told.as_slice(), audited.as_slice(), toggles) {
                (true, ["done"], [] | ["done"], 1) | (true, ["Unknown"], [] | ["unknown"], 0 | 1) => {}
                (true, ["Not sent"], [] | ["not_sent"], 0) => {}
                (true, ["Not sent from here"], [] | ["unacknowledged"], 0) => {}
                // Some die before they write or send anything.
                (false, [], [] | ["unacknowledged"], 0) => {}
                lie => panic!("{}, agent {agent}: {lie:?}, {:?}\n{log}", self.case, seen.history),
            }
            ends.push(told.first().copied().unwrap_or("nothing").to_owned());
            let holds_token = file.windows(seen.token.len()).any(|bytes| bytes == seen.token.as_bytes());
            assert!(!holds_token, "{}: a token that nobody needs is still in the file", self.case);
        }
        assert_eq!(journal::inspect(&self.site.state_file()).unwrap(), Status::Free { unfinished: 0 }, "{}", self.case);
        assert_eq!(self.discord.state(|state| state.violations.clone()), Vec::<String>::new(), "{}", self.case);
        check_secrets(&log);
        ends
    }
}

/// Has lives end at every write, before and after it, until one lasts to its end. How often what was told then.
async fn at_every_write(
    first: impl AsyncFn(&mut Lives, End) -> bool,
    then: impl AsyncFn(&mut Lives, bool) -> Vec<String>,
) -> BTreeMap<String, usize> {
    let folder = Folder::new();
    let killer = &shim(&folder, KILLER);
    let first = &first;
    let mut all = Vec::new();
    while !all.iter().any(|(_, survived)| *survived) {
        let writes = all.len() / 2 + 1..=all.len() / 2 + 10;
        all.extend(
            join_all(writes.flat_map(|write| [(write, false), (write, true)]).map(async |(write, after)| {
                let mut lives = Lives::new(killer, write, after).await;
                let survived = first(&mut lives, End::AtWrite(write, after)).await;
                (lives, survived)
            }))
            .await,
        );
    }
    // Those that are still silent are looked at after 15 s, so all of them are beside each other.
    let told = join_all(all.iter_mut().map(|(lives, survived)| then(lives, *survived))).await;
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    told.into_iter().flatten().for_each(|end| *ends.entry(end).or_default() += 1);
    println!("{ends:?}");
    ends
}

#[tokio::test]
async fn killed_at_any_write_to_its_file_it_tells_the_truth_in_its_next_life() {
    let first = async |lives: &mut Lives, end| {
        // So that the second command waits for its turn.
        lives.wolkvox.next([wolkvox::Fate::Late(Duration::from_millis(100))]);
        let story = async |lives: &mut Lives| {
            lives.give(1001);
            lives.give(1002);
            lives.discord.finished(lives.commands[0].0).await;
            lives.discord.finished(lives.commands[1].0).await;
        };
        lives.live(end, story).await
    };
    let ends = at_every_write(first, async |lives, survived| {
        let unborn = lives.commands.is_empty();
        let story = async |lives: &mut Lives| {
            if unborn {
                let command = lives.give(1001);
                lives.discord.until_acknowledged(command).await;
            }
            lives.answered(2).await;
        };
        assert!(lives.live(End::Told, story).await);
        let ends = lives.check();
        assert!(!(unborn || survived) || ends.iter().all(|end| end == "done"), "{}: {ends:?}", lives.case);
        ends
    })
    .await;
    // It was killed everywhere on the way.
    for end in ["done", "Unknown", "Not sent", "Not sent from here", "nothing"] {
        assert!(ends.contains_key(end), "{end} never happened: {ends:?}");
    }
}

#[tokio::test]
async fn killed_at_any_write_while_it_tells_what_a_dead_one_left_it_tells_the_truth_in_its_third_life() {
    // The bot is told to end while the fourth is silent, and looks for it then.
    let tell = async |lives: &mut Lives| lives.answered(3).await;
    let second = async |lives: &mut Lives, end| {
        let (discord, wolkvox) = (lives.discord.clone(), lives.wolkvox.clone());
        // One of each stage: told but not confirmed, called, in the queue, perhaps acknowledged.
        let open_everywhere = async |lives: &mut Lives| {
            discord.until_ready(1).await;
            discord.state(|state| state.edit_fates.push_back(discord::Fate::StallAfter));
            let known = lives.give(1001);
            discord.finished(known).await;
            let _held = wolkvox.hold();
            lives.give(1002);
            wolkvox.until_requests(2).await;
            let waits = lives.give(1003);
            discord.until_acknowledged(waits).await;
            discord.state(|state| state.first_answer_fates.push_back(discord::Fate::StallAfter));
            let perhaps = lives.give(1004);
            discord.until_acknowledged(perhaps).await;
        };
        lives.live(End::Killed, open_everywhere).await;
        lives.live(end, tell).await
    };
    let ends = at_every_write(second, async |lives, _| {
        assert!(lives.live(End::Told, tell).await);
        let ends = lives.check();
        // Of the third it is known or not that Discord accepted its first answer.
        let third = matches!(ends[2].as_str(), "Not sent" | "Not sent from here");
        let others = [&ends[0], &ends[1], &ends[3]];
        assert!(third && others == ["done", "Unknown", "Not sent from here"], "{}: {ends:?}", lives.case);
        ends
    })
    .await;
    assert!(ends.contains_key("Not sent"), "{ends:?}");
}

#[tokio::test]
async fn after_a_power_failure_too_nothing_that_was_sent_is_said_not_to_have_been() {
    let mut site = Site::new().await;
    let [file, wal, synced] = ["state.db", "state.db-wal", "synced"].map(|name| site.folder.join(name));
    let killer = shim(&site.folder, KILLER);
    site.set("LD_PRELOAD", &killer);
    site.set("SYNCED", synced.to_str().unwrap());
    let mut process = site.start();
    let (_, held) = process.runs(site.held_call()).await;
    let waits = site.discord.mute(&supervisor(), 1002);
    while !bytes(&site.folder, "state.db").windows(9).any(|bytes| bytes == b"\"Waiting\"") {
        process.runs(tokio::time::sleep(Duration::from_millis(5))).await;
    }
    // So much the system has brought to the disk of its own accord, as it does every few seconds.
    let disk = [&file, &wal].map(|file| std::fs::read(file).unwrap());
    let _ = std::fs::remove_file(&synced);
    let _held = site.wolkvox.hold();
    held.notify_one();
    process.runs(site.wolkvox.until_requests(2)).await;
    site.kill(process).await;
    if !synced.exists() {
        [&file, &wal].iter().zip(disk).for_each(|(file, bytes)| std::fs::write(file, bytes).unwrap());
    }
    site.variables.remove("LD_PRELOAD");
    let mut next = site.start();
    let text = next.runs(site.discord.reply(waits)).await;
    assert!(text.starts_with("**Unknown:** the bot was interrupted during its request to Wolkvox."), "{text}");
}

/// Which bots there are beside each other.
#[derive(Clone, Copy, Debug)]
enum Bots {
    /// One that is killed and started again.
    One,
    /// One, and one that stands by with the same file.
    WithStandby,
    /// Two with a file each, as on two machines.
    TwoFiles,
}

/// Bots that are killed in their turn and started again, while the rest fails at random too.
async fn killed_again_and_again(seed: u64, bots: Bots) {
    let case = format!("seed {seed}, {bots:?}");
    let mut rng = Rng::with_seed(seed);
    let mut site = Site::new().await.with("LOG_FORMAT", "json").with("WOLKVOX_TIMEOUT_SECS", "1");
    let (discord, wolkvox) = (site.discord.clone(), site.wolkvox.clone());
    let two_files = matches!(bots, Bots::TwoFiles);
    let mut logs: Vec<Log> = Vec::new();
    let mut start = |n: usize| {
        if two_files {
            site.set("STATE_FILE", &format!("{n}.db"));
        }
        let process = site.start();
        logs.push(process.log.clone());
        process
    };
    let mut running = vec![start(0)];
    discord.until_ready(1).await;
    if !matches!(bots, Bots::One) {
        running.push(start(1));
    }
    let copies = if two_files { 2 } else { 1 };
    discord.until_ready(copies).await;
    let (mut discords, mut wolkvoxes) = (rng.fork(), rng.fork());
    discord.state(|s| s.chance = Some(Box::new(move |kind| discord_fate(&mut discords, kind, false))));
    discord.state(|s| s.forgets_acknowledged = seed.is_multiple_of(2));
    wolkvox.state(|s| s.chance = Some(Box::new(move || wolkvox_fate(&mut wolkvoxes, false))));

    let mut crowd =
        Crowd::new(&discord, rng.fork(), vec![supervisor(), second_supervisor(), discord::third_supervisor()]);
    let mut still = 0;
    for n in 0..COMMANDS {
        // Most commands have an agent of their own, the others meet at a few.
        crowd.act(if rng.u32(0..4) > 0 { 10_000 + n } else { rng.u64(1..=3) });
        tokio::time::sleep(Duration::from_millis(rng.u64(0..60))).await;
        // One stands still meanwhile, and then goes on as if nothing had been.
        match n % 13 {
            5 => {
                still = rng.usize(0..running.len());
                running[still].signal("STOP");
            }
            10 => {
                let long = rng.u32(0..4) == 0;
                tokio::time::sleep(Duration::from_millis(if long { rng.u64(0..5_000) } else { 0 })).await;
                running[still].signal("CONT");
            }
            _ => {}
        }
        if n % LIFE == LIFE - 1 {
            // With a standby it is always the first that serves; of two with a file each one after the other.
            let victim = if two_files { (n / LIFE) as usize % 2 } else { 0 };
            let identified = discord.state(|state| state.identifies);
            running[victim].signal("KILL");
            running[victim].ended().await;
            let taken_over = discord.until("another one is connected", |state| state.identifies > identified);
            if let Bots::WithStandby = bots {
                taken_over.await;
                running.swap(0, 1);
                running[1] = start(1);
            } else {
                running[victim] = start(victim);
                taken_over.await;
            }
        }
    }
    discord.state(|state| state.chance = None);
    wolkvox.state(|state| state.chance = None);
    let is_answered = |state: &discord::State| {
        let mut all = crowd.commands.keys().map(|command| &state.interactions[command]);
        all.all(|interaction| !interaction.deferred() || interaction.finished())
    };
    discord.until(&format!("{case}: everybody who was acknowledged is answered"), is_answered).await;
    for process in &mut running {
        process.signal("TERM");
        let (code, errors) = process.ended().await;
        assert_eq!(code, Some(0), "{case}: {errors}");
    }
    assert!(wolkvox.state(|state| state.most_in_flight) <= copies + 1);
    assert_eq!(discord.state(|state| state.violations.clone()), Vec::<String>::new(), "{case}");
    assert_eq!(wolkvox.state(|state| state.violations.clone()), Vec::<String>::new(), "{case}");
    check_secrets(&logs.iter().map(Log::text).collect::<String>());
    everybody_was_told_the_truth(&case, &crowd, &wolkvox, &logs);
}

fn everybody_was_told_the_truth(case: &str, crowd: &Crowd, wolkvox: &Wolkvox, logs: &[Log]) {
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    let mut account = Account::default();
    let outcomes = outcomes(logs);
    for (command, agent) in &crowd.commands {
        let seen = crowd.discord.interaction(*command);
        let mut audited = outcomes.get(command).cloned().unwrap_or_default();
        // Of two copies one leaves it to the other.
        audited.remove("unacknowledged");
        let mut told: BTreeSet<&str> = seen.history.iter().map(|text| meaning(text)).collect();
        // That stays true whatever another copy says later.
        told.remove("Not sent from here");
        let context = format!("{case}: agent {agent}, {audited:?}, {:?}", seen.history);
        assert!(audited.len() <= 1 && told.len() <= 1, "{context}");
        let told = told.first().copied().unwrap_or_default();
        let outcome = match (audited.first().map_or("", String::as_str), told) {
            // A kill may cost the line in the log.
            ("", "done") => "done",
            ("", "Unknown") => "unknown",
            ("", "Rejected") => "rejected",
            (audited, _) => audited,
        };
        account.add(*agent, outcome, &context);
        let agrees = match told {
            "done" => outcome == "done",
            "Unknown" => outcome == "unknown",
            "Rejected" => outcome == "rejected",
            // A question may be seen, and its audit record die with the process.
            "Not sent" => matches!(outcome, "not_sent" | "guarded" | ""),
            "" => !matches!(outcome, "done" | "unknown"),
            _ => true,
        };
        assert!(agrees, "told {told:?}, {context}");
        *ends.entry(format!("{told}/{outcome}")).or_default() += 1;
        assert!(*agent < 10_000 || wolkvox.toggles(*agent) <= 1, "toggled twice, {context}");
    }
    account.check(wolkvox);
    println!("{case}: {ends:?}");
}

/// Three seeds, or the one of `FAULT_SEED`, beside each other.
async fn with_each_seed(bots: Bots) {
    let seed = std::env::var("FAULT_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds = seed.map_or(vec![1, 2, 3], |seed| vec![seed]);
    join_all(seeds.into_iter().map(|seed| killed_again_and_again(seed, bots))).await;
}

#[tokio::test]
async fn killed_every_forty_commands_a_bot_leaves_nobody_without_the_truth() {
    with_each_seed(Bots::One).await;
}

#[tokio::test]
async fn killed_every_forty_commands_a_bot_is_replaced_by_its_standby_and_nobody_is_left_without_the_truth() {
    with_each_seed(Bots::WithStandby).await;
}

#[tokio::test]
async fn killed_in_turn_two_bots_with_a_file_each_leave_nobody_without_the_truth() {
    with_each_seed(Bots::TwoFiles).await;
}
