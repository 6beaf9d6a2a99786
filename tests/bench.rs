//! What a command costs: the bot as it is released, in a process of its own, side by side with the floor, a bare
//! loop over the same libraries' lowest layers. Both get the same commands in turns, so that what else the
//! machine does falls on both, and the ratio says more than the times do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "test code")]
#![allow(clippy::print_stdout, reason = "the results are printed")]

mod support;

use std::ffi::OsStr;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::bot;
use support::discord::{Discord, stranger, supervisor};
use support::lean::Services;
use support::wolkvox::{Wolkvox, listing};

/// Starts, commands before anything is measured, rounds of commands that are measured.
const STARTS: usize = 10;
const WARM_UP: usize = 300;
const ROUNDS: usize = 15;
const ROUND: usize = 100;
const BURST: u64 = 200;
const BURSTS: usize = 3;
/// Memory is compared after so many commands, bursts included.
const EARLY: u64 = 2_000;
const LATE: u64 = 10_000;
/// The rest before a command, in the rounds in which each meets a process that has gone to sleep.
const REST: Duration = Duration::from_millis(1);
/// How long nothing happens for the wake-ups to be counted, before the first command and after the last.
const IDLE: Duration = Duration::from_secs(10);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, discord, wolkvox] = &arguments[..]
        && first == "floor"
    {
        return support::floor::run(discord, wolkvox);
    }
    let machine = machine();
    let cores = Cores::of_this_machine();
    if let Some(cores) = &cores {
        let pinned = Command::new("taskset").args(["-apc", &cores.services, &std::process::id().to_string()]).output();
        assert!(pinned.unwrap().status.success(), "taskset failed");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        measure(&machine, cores.as_ref()).await;
        measure_directory(cores.as_ref()).await;
    });
}

/// The services have one core and whatever is measured has another. Left to itself the kernel puts two processes
/// that wait for each other now on one core and now on two, and that makes more of a difference than all else.
struct Cores {
    services: String,
    subject: String,
}

impl Cores {
    /// `None` where there is one core only, or no `taskset`.
    fn of_this_machine() -> Option<Self> {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
        // Such as `0-3` or `0,2,5-7`.
        let number = |digits: Option<&str>| digits.unwrap().to_owned();
        let (services, subject) = (number(allowed.split([',', '-']).next()), number(allowed.rsplit([',', '-']).next()));
        let taskset = Command::new("taskset").arg("--version").output().is_ok();
        (taskset && services != subject).then_some(Self { services, subject })
    }
}

/// What the agent directory costs with the 60,000 agents that Wolkvox allows. A stranger's keystroke is answered
/// without a search, so the difference to a supervisor's is what the search takes.
async fn measure_directory(cores: Option<&Cores>) {
    const AGENTS: u64 = 60_000;
    const KEYSTROKES: usize = 200;

    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    let names: Vec<String> = (0..AGENTS).map(|n| format!("María Fernanda Núñez Gutiérrez {n}")).collect();
    let agents: Vec<(u64, &str, &str)> = (1..).zip(&names).map(|(id, name)| (id, name.as_str(), "yes")).collect();
    wolkvox.state(|state| state.agents = Some(listing(&agents)));
    let mut command = on_its_core(cores, env!("CARGO_BIN_EXE_wolkvox-bot"));
    command.env_clear().envs(bot::variables(&discord, &wolkvox)).current_dir(std::env::temp_dir());
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    discord.until_ready(1).await;
    let before = memory(process.id(), "VmRSS");

    let mut keystrokes = (Vec::new(), Vec::new());
    while keystrokes.0.len() < KEYSTROKES {
        let typed = discord.finished(discord.type_agent(&supervisor(), "nunez gutierrez 599")).await;
        if typed.shown.unwrap()["choices"].as_array().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        keystrokes.0.push(typed.accepted_after.unwrap());
        let typed = discord.finished(discord.type_agent(&stranger(), "nunez gutierrez 599")).await;
        keystrokes.1.push(typed.accepted_after.unwrap());
    }
    println!("\nwith a directory of {AGENTS} agents (right: a keystroke that needs no search)");
    times("keystroke to suggestions, ms", MILLIS, keystrokes);
    println!("{:44} {:>17.2}", "memory more than before, MiB", memory(process.id(), "VmRSS") - before);
    println!("{:44} {:>17.2}", "the same at its peak, MiB", memory(process.id(), "VmHWM") - before);
    let _ = process.kill();
    let _ = process.wait();
}

async fn measure(machine: &str, cores: Option<&Cores>) {
    let mut starts = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        starts.0.push(Subject::bot(cores).await.start);
        starts.1.push(Subject::floor(cores).await.start);
    }

    let (mut bot, mut floor) = (Subject::bot(cores).await, Subject::floor(cores).await);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let memory_idle = (bot.memory("VmRSS"), floor.memory("VmRSS"));
    let wake_ups_before = wake_ups(&bot, &floor).await;

    for subject in [&mut bot, &mut floor] {
        subject.commands(WARM_UP).await;
    }
    let mut bursts = (Vec::new(), Vec::new());
    bursts.0.push(bot.services.burst(BURST).await.acknowledged);
    bursts.1.push(floor.services.burst(BURST).await.acknowledged);
    let (mut in_a_row, mut rested) = (<(Samples, Samples)>::default(), <(Samples, Samples)>::default());
    for _ in 0..ROUNDS {
        bot.measured_commands(ROUND, Duration::ZERO, &mut in_a_row.0).await;
        floor.measured_commands(ROUND, Duration::ZERO, &mut in_a_row.1).await;
    }
    for _ in 0..ROUNDS {
        bot.measured_commands(ROUND, REST, &mut rested.0).await;
        floor.measured_commands(ROUND, REST, &mut rested.1).await;
    }
    let connections_in_turn = (bot.services.connections(), floor.services.connections());

    let mut memory = Vec::new();
    for count in [EARLY, LATE] {
        // In turns here too: no connection goes unused for long.
        while bot.services.commands() < count || floor.services.commands() < count {
            for subject in [&mut bot, &mut floor] {
                let left = usize::try_from(count - subject.services.commands()).unwrap();
                subject.commands(left.min(ROUND)).await;
            }
        }
        memory.push((bot.memory("VmRSS"), floor.memory("VmRSS")));
    }
    for _ in 1..BURSTS {
        bursts.0.push(bot.services.burst(BURST).await.acknowledged);
        bursts.1.push(floor.services.burst(BURST).await.acknowledged);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    memory.push((bot.memory("VmRSS"), floor.memory("VmRSS")));
    let peak = (bot.memory("VmHWM"), floor.memory("VmHWM"));
    let wake_ups_after = wake_ups(&bot, &floor).await;
    let connections = (bot.services.connections(), floor.services.connections());

    let sent = bot.services.bodies() as f64 / floor.services.bodies() as f64;
    assert!((0.95..1.05).contains(&sent), "the floor does not send what the bot sends: ratio {sent:.2}");

    println!("\n{machine}, {}\n", if cores.is_some() { "a core for each side" } else { "cores not assigned" });
    println!("{:44} {:>17} {:>17} {:>7} {:>7}", "median / 99th percentile", "bot", "floor", "ratio", "99th");
    times("start to registered and ready, ms", MILLIS, starts);
    for (title, (bot, floor)) in [("one command after the other", in_a_row), ("each after 1 ms of rest", rested)] {
        println!("\n{title}");
        times("frame to acknowledgement, µs", MICROS, (bot.acknowledged, floor.acknowledged));
        times("frame to final reply, µs", MICROS, (bot.replied, floor.replied));
        let [lower, median, upper] = round_by_round(&bot.processor, &floor.processor);
        times("processor time a command, µs", MICROS, (bot.processor, floor.processor));
        println!(
            "{:44} {:>17} {:>17} {median:>7.2}",
            "its ratio round by round, with quartiles",
            format!("{lower:.2}"),
            format!("{upper:.2}")
        );
    }
    println!();
    let worst = (bursts.0.iter().max().unwrap(), bursts.1.iter().max().unwrap());
    let worst = (worst.0.as_secs_f64() * MILLIS, worst.1.as_secs_f64() * MILLIS);
    number(&format!("{BURST} at once: last acknowledged, worst of {BURSTS}, ms"), worst);
    number("memory idle, MiB", memory_idle);
    number(&format!("memory after {EARLY} commands, MiB"), memory[0]);
    number(&format!("memory after {LATE} commands, MiB"), memory[1]);
    number("memory after two more bursts, MiB", memory[2]);
    number("memory at its peak, MiB", peak);
    println!();
    let count = |what: &str, (bot, floor): (u64, u64)| println!("{what:44} {bot:>17} {floor:>17}");
    count(&format!("wake-ups in {} s before the first command", IDLE.as_secs()), wake_ups_before);
    count(&format!("wake-ups in {} s after the last", IDLE.as_secs()), wake_ups_after);
    let pair = |what: &str, of: fn((usize, usize)) -> usize, (bot, floor)| {
        println!("{what:44} {:>17} {:>17}", of(bot), of(floor));
    };
    pair("connections to Wolkvox", |(_, wolkvox)| wolkvox, connections);
    pair("connections to Discord, until the second burst", |(discord, _)| discord, connections_in_turn);
    pair("connections to Discord", |(discord, _)| discord, connections);
    let size = fs::metadata(env!("CARGO_BIN_EXE_wolkvox-bot")).unwrap().len();
    println!("{:44} {:>17.2}", "the bot's executable, MB", size as f64 / 1e6);
}

const MICROS: f64 = 1e6;
const MILLIS: f64 = 1e3;

fn times(what: &str, unit: f64, (mut bot, mut floor): (Vec<Duration>, Vec<Duration>)) {
    bot.sort_unstable();
    floor.sort_unstable();
    let at = |sorted: &[Duration], percent: usize| sorted[(sorted.len() - 1) * percent / 100].as_secs_f64() * unit;
    let [bot, floor] = [&bot, &floor].map(|sorted| (at(sorted, 50), at(sorted, 99)));
    let show = |(median, last): (f64, f64)| format!("{median:.1} / {last:.1}");
    let ratio = (bot.0 / floor.0, bot.1 / floor.1);
    println!("{what:44} {:>17} {:>17} {:>7.2} {:>7.2}", show(bot), show(floor), ratio.0, ratio.1);
}

/// The ratio of each round's medians: lower quartile, median, upper quartile. When the machine becomes slower in the
/// middle of a run, the overall medians may fall before it for one side and after it for the other; a round of the
/// one is next to a round of the other.
fn round_by_round(bot: &[Duration], floor: &[Duration]) -> [f64; 3] {
    let median = |round: &[Duration]| {
        let mut round = round.to_vec();
        round.sort_unstable();
        round[round.len() / 2].as_secs_f64()
    };
    let rounds = bot.chunks(ROUND).zip(floor.chunks(ROUND));
    let mut ratios: Vec<f64> = rounds.map(|(bot, floor)| median(bot) / median(floor)).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| ratios[(ratios.len() - 1) * quarter / 4])
}

fn number(what: &str, (bot, floor): (f64, f64)) {
    println!("{what:44} {bot:>17.2} {floor:>17.2} {:>7.2}", bot / floor);
}

fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name\t: ")).unwrap_or("unknown processor");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let cores = std::thread::available_parallelism().unwrap();
    format!("{model}, {cores} cores, Linux {}", kernel.trim())
}

async fn wake_ups(bot: &Subject, floor: &Subject) -> (u64, u64) {
    let before = (bot.wake_ups(), floor.wake_ups());
    tokio::time::sleep(IDLE).await;
    (bot.wake_ups() - before.0, floor.wake_ups() - before.1)
}

#[derive(Default)]
struct Samples {
    acknowledged: Vec<Duration>,
    replied: Vec<Duration>,
    processor: Vec<Duration>,
}

/// A process with services of its own.
struct Subject {
    process: Child,
    services: Services,
    /// From its start to registered and ready.
    start: Duration,
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Subject {
    async fn bot(cores: Option<&Cores>) -> Self {
        let services = Services::start().await;
        let mut command = on_its_core(cores, env!("CARGO_BIN_EXE_wolkvox-bot"));
        command.env_clear().envs(services.variables());
        // No names are looked up, and the guard, which remembers for 30 s, is not fed with thousands.
        command.env("AGENT_DIRECTORY", "off").env("TOGGLE_GUARD_SECS", "0");
        Self::start(command, services).await
    }

    async fn floor(cores: Option<&Cores>) -> Self {
        let services = Services::start().await;
        let mut command = on_its_core(cores, std::env::current_exe().unwrap());
        command.env_clear().args(["floor", &services.discord_url, &services.wolkvox_url]);
        Self::start(command, services).await
    }

    async fn start(mut command: Command, mut services: Services) -> Self {
        // The log goes to a file; a pipe's reader would take part in the race for the processor.
        let directory = std::env::temp_dir();
        let path = directory.join(format!("wolkvox-bot-bench-{}.log", std::process::id()));
        let log = fs::File::create(&path).unwrap();
        fs::remove_file(path).unwrap();
        // A directory without `.env`.
        command.current_dir(directory).stdin(Stdio::null()).stdout(log);
        let started = Instant::now();
        let process = command.spawn().unwrap();
        let start = services.ready().await - started;
        Self { process, services, start }
    }

    async fn commands(&mut self, count: usize) {
        for _ in 0..count {
            self.services.command().await;
        }
    }

    /// What a process still does after its reply is counted for the next command; in a row that evens out.
    async fn measured_commands(&mut self, count: usize, rest: Duration, samples: &mut Samples) {
        let mut processor = self.processor();
        for _ in 0..count {
            let times = self.services.command().await;
            if !rest.is_zero() {
                tokio::time::sleep(rest).await;
            }
            let before = std::mem::replace(&mut processor, self.processor());
            samples.acknowledged.push(times.acknowledged);
            samples.replied.push(times.replied);
            samples.processor.push(processor - before);
        }
    }

    /// Time on a processor so far, all threads together.
    fn processor(&self) -> Duration {
        let on_cpu = |schedstat: String| schedstat.split(' ').next().unwrap().parse::<u64>().unwrap();
        Duration::from_nanos(self.threads("schedstat").into_iter().map(on_cpu).sum())
    }

    /// How often a thread went to sleep so far.
    fn wake_ups(&self) -> u64 {
        self.threads("status").iter().map(|status| field(status, "voluntary_ctxt_switches")).sum()
    }

    fn threads(&self, file: &str) -> Vec<String> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        threads.map(|thread| fs::read_to_string(thread.unwrap().path().join(file)).unwrap()).collect()
    }

    fn memory(&self, name: &str) -> f64 {
        memory(self.process.id(), name)
    }
}

fn on_its_core(cores: Option<&Cores>, program: impl AsRef<OsStr>) -> Command {
    let Some(cores) = cores else { return Command::new(program) };
    let mut command = Command::new("taskset");
    // taskset becomes the program, so the process is the program's.
    command.args(["-c", &cores.subject]).arg(program);
    command
}

/// In MiB.
fn memory(process: u32, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    field(&status, name) as f64 / 1024.0
}

fn field(status: &str, name: &str) -> u64 {
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    value.split_whitespace().next().unwrap().parse().unwrap()
}
