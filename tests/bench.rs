//! What a command costs: the bot as it is released, in a process of its own, side by side with the floor, a bare loop.
//! Both get the same commands in turns, so that what else the machine does falls on both, and the ratio says more than
//! the times do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "test code")]
#![allow(clippy::print_stdout, reason = "the results are printed")]

mod support;

use std::fs;
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use support::stopwatch::Services;
use support::{bot, process, wolkvox};

const NEAR: Duration = Duration::ZERO;
const FAR: Duration = Duration::from_millis(40);

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("floor") => support::floor::run(),
        _ => measure(),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn measure() {
    heading("in ms, MiB or pieces", ["bot", "floor"]);
    // What people feel: the services are elsewhere.
    let mut both = [Subject::bot("off", FAR).await, Subject::floor(FAR).await];
    let [_, replied, _] = in_turns(&mut both, 50).await;
    row("frame to final reply, 40 ms away", replied, "at most 1.02 times");

    let mut both = [Subject::bot("off", NEAR).await, Subject::floor(NEAR).await];
    row("start to registered and ready", both.each_ref().map(|subject| subject.start), "");
    row("memory idle", both.each_ref().map(Subject::memory), "bot at most 10");
    // Until the connections are made and the caches are warm.
    in_turns(&mut both, 300).await;
    let [acknowledged, replied, processor] = in_turns(&mut both, 1_500).await;
    row("frame to acknowledgement", acknowledged, "");
    row("frame to final reply", replied, "");
    row("processor time a command", processor, "");
    let [bot, floor] = &mut both;
    let bursts = [bot.services.commands(200).await, floor.services.commands(200).await];
    row("200 at once, all acknowledged", bursts.map(|[acknowledged, _]| acknowledged), "");
    in_turns(&mut both, 8_000).await;
    row("memory after 10,000 commands", both.each_ref().map(Subject::memory), "bot at most 12");
    let made = both.each_ref().map(|subject| subject.services.discord.connections.made.load(Ordering::SeqCst) as f64);
    row("connections to Discord, with the gateway", made, "");
    let made = both.each_ref().map(|subject| subject.services.wolkvox.connections_made() as f64);
    row("connections to Wolkvox", made, "");

    let mut bot = Subject::bot("off", NEAR).await;
    let before = bot.memory();
    let names: Vec<_> = (1..=60_000).map(|n| (n, format!("María Fernanda Núñez Gutiérrez {n}"))).collect();
    let agents: Vec<_> = names.iter().map(|(id, name)| (*id, name.as_str(), "yes")).collect();
    bot.services.wolkvox.state(|state| state.agents = Some(wolkvox::listing(&agents)));
    // The first has the list fetched.
    bot.services.keystroke("nunez").await;
    sleep(Duration::from_secs(2)).await;
    let mut keystrokes = Vec::new();
    for _ in 0..100 {
        keystrokes.push(bot.services.keystroke("nunez gutierrez 599").await);
    }
    bot_only("keystroke among 60,000 agents", median(keystrokes.into_iter()), "");
    bot_only("memory for these agents", bot.memory() - before, "");
    bot_only("the executable, MB", megabytes(process::binary()), "at most 7");

    heading("the bot, with its state file", ["on disk", "off"]);
    let folder = support::Folder::new();
    let file = |name| folder.join(name).to_str().unwrap().to_owned();
    let mut both = [Subject::bot(&file("far.db"), FAR).await, Subject::bot("off", FAR).await];
    let [_, replied, _] = in_turns(&mut both, 50).await;
    row("frame to final reply, 40 ms away", replied, "at most 1.05 times");

    let near = file("near.db");
    let mut both = [Subject::bot(&near, NEAR).await, Subject::bot("off", NEAR).await];
    row("memory idle", both.each_ref().map(Subject::memory), "at most 2 more");
    in_turns(&mut both, 300).await;
    let [_, replied, processor] = in_turns(&mut both, 1_500).await;
    row("frame to final reply", replied, "");
    row("processor time a command", processor, "");
    in_turns(&mut both, 8_200).await;
    let and_its_log = megabytes(&near) + megabytes(&format!("{near}-wal"));
    bot_only("the file after 10,000 commands, MB", and_its_log, "below 4");
}

fn heading(what: &str, [left, right]: [&str; 2]) {
    println!("\n{what:42} {left:>9} {right:>9} {:>7}  target", "ratio");
}

fn row(what: &str, [left, right]: [f64; 2], target: &str) {
    println!("{what:42} {left:>9.3} {right:>9.3} {:>7.2}  {target}", left / right);
}

fn bot_only(what: &str, figure: f64, target: &str) {
    println!("{what:42} {figure:>9.3} {:>17}  {target}", "");
}

fn megabytes(file: &str) -> f64 {
    fs::metadata(file).unwrap().len() as f64 / 1e6
}

/// Gives each side so many commands, fifty in turn. What one takes each of them, in milliseconds: to the acknowledgement,
/// to the final reply, and on a processor.
async fn in_turns(both: &mut [Subject; 2], commands: usize) -> [[f64; 2]; 3] {
    let before = both.each_ref().map(Subject::processor);
    let mut samples = <[Vec<[f64; 2]>; 2]>::default();
    for _ in 0..commands / 50 {
        for (subject, samples) in both.iter_mut().zip(&mut samples) {
            for _ in 0..50 {
                samples.push(subject.services.commands(1).await);
            }
        }
    }
    let acknowledged = samples.each_ref().map(|side| median(side.iter().map(|[acknowledged, _]| *acknowledged)));
    let replied = samples.each_ref().map(|side| median(side.iter().map(|[_, replied]| *replied)));
    let processor = [0, 1].map(|side| (both[side].processor() - before[side]) / commands as f64);
    [acknowledged, replied, processor]
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A process with services of its own.
struct Subject {
    process: Child,
    services: Services,
    /// The milliseconds from its start to registered and ready.
    start: f64,
}

impl Subject {
    async fn bot(record: &str, distance: Duration) -> Self {
        Self::start(Command::new(process::binary()), record, distance).await
    }

    async fn floor(distance: Duration) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("floor");
        Self::start(command, "off", distance).await
    }

    async fn start(mut command: Command, record: &str, distance: Duration) -> Self {
        let services = Services::start(distance).await;
        let mut variables = bot::variables(&services.discord, &services.wolkvox);
        // With a window the guard would remember thousands of toggles, more than anybody gives in so short a time.
        variables.extend([("STATE_FILE", record.to_owned()), ("TOGGLE_GUARD_SECS", "0".to_owned())]);
        // A directory without `.env`.
        command.env_clear().envs(variables).current_dir(std::env::temp_dir());
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        // The services have one core and whatever is measured has another. Left to itself the kernel puts two processes
        // that wait for each other now on one core and now on two, and that makes more of a difference than all else.
        run_on_core(1);
        let started = Instant::now();
        let process = command.spawn().unwrap();
        run_on_core(0);
        services.discord.until("the process is ready", |state| !state.connected.is_empty()).await;
        let start = started.elapsed().as_secs_f64() * 1e3;
        // Nothing of the start is counted for what comes now.
        sleep(Duration::from_secs(1)).await;
        Self { process, services, start }
    }

    /// Milliseconds on a processor so far.
    fn processor(&self) -> f64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.process.id().unwrap())).unwrap();
        let nanoseconds = threads.map(|thread| {
            let schedule = fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
            schedule.split(' ').next().unwrap().parse::<f64>().unwrap()
        });
        nanoseconds.sum::<f64>() / 1e6
    }

    /// In MiB.
    fn memory(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id().unwrap())).unwrap();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB")).unwrap();
        kib.trim().parse::<f64>().unwrap() / 1024.0
    }
}

/// From now on this thread, and whatever it starts, runs on this core alone, if there is such a core.
fn run_on_core(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    let _ = sched_setaffinity(None, &cores);
}
