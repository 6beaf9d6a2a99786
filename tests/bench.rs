//! What a command costs: the bot as it is released, in a process of its own, side by side with the floor, a bare
//! loop over the same libraries' lowest layers. Both get the same commands in turns, so that what else the
//! machine does falls on both, and the ratio says more than the times do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "test code")]
#![allow(clippy::print_stdout, reason = "the results are printed")]

mod support;

use std::fs;
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};
use tokio::time::sleep;

use support::discord;
use support::lean::Services;
use support::wolkvox;

const BOT: &str = env!("CARGO_BIN_EXE_wolkvox-bot");

fn main() {
    if std::env::args().nth(1).is_some_and(|argument| argument == "floor") {
        return support::floor::run();
    }
    // The services have one core and whatever is measured has another. Left to itself the kernel puts two processes
    // that wait for each other now on one core and now on two, and that makes more of a difference than all else.
    let this = std::process::id().to_string();
    let assigned = [["-c", "1", "true"], ["-pc", "0", &this]].iter().all(|arguments| {
        std::process::Command::new("taskset").args(arguments).output().is_ok_and(|output| output.status.success())
    });
    println!("\n{}", if assigned { "a core for each side" } else { "cores not assigned" });
    println!("{:44} {:>10} {:>10} {:>7}  target", "", "bot", "floor", "ratio");
    measure(if assigned { &["taskset", "-c", "1"] } else { &["env"] });
}

/// `prefix` is the start of the command lines of whatever is measured.
#[tokio::main(flavor = "current_thread")]
async fn measure(prefix: &[&str]) {
    let mut starts = <[Vec<f64>; 2]>::default();
    let mut both = start_both(prefix, Duration::ZERO).await;
    for _ in 0..5 {
        starts.iter_mut().zip(&both).for_each(|(starts, subject)| starts.push(subject.start * 1e3));
        both = start_both(prefix, Duration::ZERO).await;
    }
    row("start to registered and ready, ms", &starts.map(median), "");

    let (before, mut keystrokes) = (both[0].memory(), Vec::new());
    // The first has the list fetched.
    both[0].services.keystroke().await;
    sleep(Duration::from_secs(2)).await;
    for _ in 0..100 {
        keystrokes.push(both[0].services.keystroke().await * 1e3);
    }
    row("keystroke among 60,000 agents, ms", &[median(keystrokes)], "");
    row("memory for these agents, MiB", &[both[0].memory() - before], "");

    // What people feel: the services are elsewhere.
    both = start_both(prefix, Duration::from_millis(40)).await;
    in_turns(&mut both, 1, 5).await;
    let samples = in_turns(&mut both, 1, 50).await;
    row("frame to final reply, 40 ms away, ms", &medians(&samples, 1, 1e3), "at most 1.02 times");

    both = start_both(prefix, Duration::ZERO).await;
    sleep(Duration::from_secs(1)).await;
    row("memory idle, MiB", &both.each_ref().map(Subject::memory), "at most 10 MiB");
    in_turns(&mut both, 3, 100).await;
    let samples = in_turns(&mut both, 15, 100).await;
    row("frame to acknowledgement, µs", &medians(&samples, 0, 1e6), "");
    row("frame to final reply, µs", &medians(&samples, 1, 1e6), "at most 1.55 times");
    row("processor time a command, µs", &medians(&samples, 2, 1e6), "at most 1.75 times");
    let [bot, floor] = &mut both;
    let bursts = [bot.services.commands(200).await, floor.services.commands(200).await];
    row("200 at once: all acknowledged, ms", &bursts.map(|[acknowledged, _]| acknowledged * 1e3), "");
    row("memory after 2,000 commands, MiB", &both.each_ref().map(Subject::memory), "");
    in_turns(&mut both, 80, 100).await;
    row("memory after 10,000 commands, MiB", &both.each_ref().map(Subject::memory), "at most 12 MiB, and flat");
    let before = both.each_ref().map(Subject::slept);
    sleep(Duration::from_secs(10)).await;
    row("wake-ups in 10 idle seconds", &[0, 1].map(|side| both[side].slept() - before[side]), "");
    for (number, service) in ["Discord, without the gateway", "Wolkvox"].iter().enumerate() {
        let made = both.each_ref().map(|subject| subject.services.connections[number].made.load(Ordering::SeqCst));
        row(&format!("connections to {service}"), &made.map(|made| made as f64), "");
    }
    row("the executable, MB", &[fs::metadata(BOT).unwrap().len() as f64 / 1e6], "at most 7 MB");

    println!("\nwith the record on disk, beside the bot without                   with    without");
    let file = std::env::temp_dir().join(format!("wolkvox-bot-bench-{}.db", std::process::id()));
    let command = [prefix, &[BOT]].concat();
    let with = Subject::start(command.clone(), Duration::ZERO, file.to_str().unwrap()).await;
    let mut both = [with, Subject::start(command, Duration::ZERO, "off").await];
    sleep(Duration::from_secs(1)).await;
    row("memory idle, MiB", &both.each_ref().map(Subject::memory), "at most 2 MiB more");
    in_turns(&mut both, 3, 100).await;
    let samples = in_turns(&mut both, 15, 100).await;
    row("frame to final reply, µs", &medians(&samples, 1, 1e6), "at most 1.25 times");
    row("processor time a command, µs", &medians(&samples, 2, 1e6), "at most 1.25 times");
    in_turns(&mut both, 82, 100).await;
    row("the file after 10,000 commands, MB", &[fs::metadata(&file).unwrap().len() as f64 / 1e6], "below 4 MB");
    drop(both);
    let _ = fs::remove_file(file);
}

/// Rounds of so many commands, for one side and then for the other: the seconds to the acknowledgement, to the final
/// reply, and on a processor.
async fn in_turns(both: &mut [Subject; 2], rounds: usize, size: usize) -> [Vec<[f64; 3]>; 2] {
    let mut samples = <[Vec<[f64; 3]>; 2]>::default();
    for _ in 0..rounds {
        for (subject, samples) in both.iter_mut().zip(&mut samples) {
            let mut before = subject.processor();
            for _ in 0..size {
                let [acknowledged, replied] = subject.services.commands(1).await;
                // What a process still does after its reply is counted for its next command.
                let after = subject.processor();
                samples.push([acknowledged, replied, after - before]);
                before = after;
            }
        }
    }
    samples
}

fn medians(both: &[Vec<[f64; 3]>; 2], what: usize, unit: f64) -> [f64; 2] {
    both.each_ref().map(|samples| median(samples.iter().map(|sample| sample[what]).collect()) * unit)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The bot and, unless it has nothing of the kind, the floor.
fn row(what: &str, sides: &[f64], target: &str) {
    let floor = sides.get(1).map(|floor| format!("{floor:.2}")).unwrap_or_default();
    let ratio = sides.get(1).filter(|floor| **floor > 0.0).map(|floor| format!("{:.2}", sides[0] / floor));
    println!("{what:44} {:>10.2} {floor:>10} {:>7}  {target}", sides[0], ratio.unwrap_or_default());
}

/// A process with services of its own.
struct Subject {
    process: Child,
    services: Services,
    /// The seconds from its start to registered and ready.
    start: f64,
}

async fn start_both(prefix: &[&str], distance: Duration) -> [Subject; 2] {
    let this = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    let bot = Subject::start([prefix, &[BOT]].concat(), distance, "off").await;
    [bot, Subject::start([prefix, &[&this, "floor"]].concat(), distance, "off").await]
}

impl Subject {
    async fn start(words: Vec<&str>, distance: Duration, record: &str) -> Self {
        let mut services = Services::start(distance).await;
        let [discord, wolkvox, gateway] = services.addresses;
        let mut command = Command::new(words[0]);
        // A directory without `.env`.
        command.args(&words[1..]).current_dir(std::env::temp_dir()).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.env_clear().envs([
            ("DISCORD_TOKEN", discord::TOKEN.to_owned()),
            ("DISCORD_GUILD_ID", discord::GUILD.to_string()),
            ("ALLOWED_ROLE_IDS", format!("{}, {}", discord::SUPERVISOR_ROLE, discord::QUALITY_ROLE)),
            ("WOLKVOX_SERVER", "0042".to_owned()),
            ("WOLKVOX_TOKEN", wolkvox::TOKEN.to_owned()),
            ("STATE_FILE", record.to_owned()),
            // The guard remembers for 30 s otherwise, and not as many as are given here.
            ("TOGGLE_GUARD_SECS", "0".to_owned()),
            ("DISCORD_API_URL", format!("http://{discord}")),
            ("WOLKVOX_API_URL", format!("http://{wolkvox}")),
            ("GATEWAY_URL", format!("ws://{gateway}")),
        ]);
        let started = Instant::now();
        let process = command.spawn().unwrap();
        let start = (services.event().await.1 - started).as_secs_f64();
        Self { process, services, start }
    }

    /// Seconds on a processor so far.
    fn processor(&self) -> f64 {
        let threads = self.threads("schedstat");
        threads.iter().map(|stat| stat.split(' ').next().unwrap().parse::<f64>().unwrap()).sum::<f64>() / 1e9
    }

    /// In MiB.
    fn memory(&self) -> f64 {
        self.status("VmRSS:") / 1024.0
    }

    fn status(&self, name: &str) -> f64 {
        let status = self.proc("status");
        let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        value.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// How often a thread went to sleep so far.
    fn slept(&self) -> f64 {
        let switches = |status: &String| {
            let switches = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
            switches.trim().parse::<f64>().unwrap()
        };
        self.threads("status").iter().map(switches).sum()
    }

    fn threads(&self, file: &str) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id().unwrap())).unwrap();
        tasks.map(|task| fs::read_to_string(task.unwrap().path().join(file)).unwrap()).collect()
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.process.id().unwrap())).unwrap()
    }
}
