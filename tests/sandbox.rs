//! The sandbox: the real bot between stand-ins for Discord and Wolkvox, all on this machine.
//!
//! The stand-ins run in this process, and the bot in one of its own, so that it can be killed: the sandbox starts
//! itself once more with an argument that makes it the bot.
//!
//! `cargo run --example sandbox` gives a prompt where standard input is a terminal, and otherwise plays a tour of
//! everything that can come of a command. The tour types the same lines that a person would, and ends with an
//! error if something did not come out as told. Every exchange, typed or played, is checked against what reached
//! the microphone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "an example")]

mod support;

use std::collections::{BTreeSet, HashMap};
use std::fs::{DirBuilder, remove_dir, remove_file};
use std::io::{self, ErrorKind, IsTerminal as _, Write as _, stderr, stdin, stdout};
use std::os::fd::AsFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Stdio, exit};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::{Config, DefaultEditor};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines, Stdin};
use tokio::net::TcpListener;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use wolkvox_bot::agent::AgentId;
use wolkvox_bot::app::App;
use wolkvox_bot::check::{Report, check};
use wolkvox_bot::config::{Draft, VARIABLES};
use wolkvox_bot::telemetry::{self, Filter, Format};

use support::bot::{Log, check_secrets, check_stand_ins, variables};
use support::discord::{self, AUDIT_CHANNEL, Actor, Discord, second_supervisor, stranger, supervisor};
use support::http::Port;
use support::wolkvox::{BUSY, Fate, Wolkvox, listing};

/// The columns of a terminal that nobody has made wider.
const COLUMNS: usize = 80;

/// Prints a line.
macro_rules! tell {
    () => { tell!("") };
    ($($text:tt)*) => { print("", 0, &format!($($text)*), str::to_owned) };
}

const INTRO: &str = "\
This is the real bot, between stand-ins for Discord and Wolkvox on this machine.
It needs no credentials and no network: nothing leaves this machine.";

/// The argument that makes this program the bot. Another one follows: the folder of its record.
const BOT: &str = "--be-the-bot";
/// In that folder.
const STATE_FILE: &str = "wolkvox-bot.db";

/// A word that can be typed after a command, what it means to people, and what it stands for.
type Choice<T> = (&'static str, &'static str, T);

/// Who types, as a member of the server.
const PEOPLE: [Choice<fn() -> Actor>; 4] = [
    ("supervisor", "ana, who has an allowlisted role", supervisor),
    ("second", "bruno, another supervisor", second_supervisor),
    ("stranger", "carla, who has no such role", stranger),
    ("dm", "ana, in a direct message", || Actor { guild: None, roles: Vec::new(), ..supervisor() }),
];

/// Which language their Discord has, as a locale.
const LANGUAGES: [Choice<&str>; 3] =
    [("en", "English", "en-US"), ("es", "Spanish", "es-419"), ("pt", "Portuguese", "pt-BR")];

/// What becomes of the nth request from now on.
type Mood = fn(usize) -> Fate;

/// How Wolkvox behaves.
const MOODS: [Choice<Mood>; 9] = [
    ("ok", "answers at once", |_| Fate::Confirm),
    ("slow", "takes 1.5 s to answer", |_| Fate::Slow(Duration::from_millis(1500))),
    ("busy", "has no room for the first two requests of a command", |n| if n % 3 == 0 { Fate::Confirm } else { BUSY }),
    ("refused", "does not accept the token", |_| Fate::Refuse(403, "FORBIDDEN", "PLEASE VALIDATE TOKEN")),
    ("limit", "has no calls left for today", |_| Fate::Refuse(403, "FORBIDDEN", "TOKEN LIMIT EXCEEDED")),
    ("down", "can't be reached", |_| Fate::Confirm),
    ("cut", "breaks the connection after it has toggled", |_| Fate::CutAfter),
    ("silent", "toggles and never answers; the bot waits for 2 s", |_| Fate::Silent),
    ("garbage", "toggles and answers with a web page", |_| Fate::Say(200, "text/html", b"<html>Oops</html>".to_vec())),
];

/// The agents in Wolkvox's listing: number, name, whether they are enabled. None has the name of one of the people.
const AGENTS: [(u64, &str, &str); 10] = [
    (1001, "Luis Gómez", "yes"),
    (1002, "João Peña", "yes"),
    (1003, "Luciana Araújo", "yes"),
    (1004, "Mariana Núñez", "yes"),
    (1005, "José Ángel Muñoz", "yes"),
    (1006, "Conceição Gonçalves", "yes"),
    (1007, "Andrés Ibáñez", "yes"),
    (1008, "Luz Ordóñez", "no"),
    (1009, "Sebastião Magalhães", "yes"),
    (2001, "Nicolás Güiraldes", "yes"),
];

/// The tour: a heading, what is typed, and what the last of these lines comes to.
const TOUR: [(&str, &[&str], &str); 19] = [
    ("Done: the reply is what Wolkvox said", &["/mute 1001"], "done"),
    ("The same again undoes it", &["/mute 1001"], "done"),
    ("Somebody else was there just before: the bot asks first", &["as second", "/mute 1001"], "guarded"),
    ("… and goes on when told to", &["press"], "done"),
    ("Without an allowlisted role", &["as stranger", "/mute 1001"], "denied"),
    ("In a direct message", &["as dm", "/mute 1001"], "denied"),
    ("Refused by Wolkvox: the token", &["as supervisor", "wolkvox refused", "/mute 1002"], "rejected"),
    ("Refused by Wolkvox: the daily limit", &["wolkvox limit", "/mute 1002"], "rejected"),
    ("A busy token is waited out", &["wolkvox busy", "/mute 1002"], "done"),
    ("Not sent: no connection", &["wolkvox down", "/mute 1003"], "not_sent"),
    ("Unknown: the connection breaks", &["wolkvox cut", "/mute 1003"], "unknown"),
    ("Unknown: no answer in time", &["wolkvox silent", "/mute 1004"], "unknown"),
    ("Unknown: an answer that nobody can read", &["wolkvox garbage", "/mute 1005"], "unknown"),
    ("Unknown: the bot is killed during the call, and started again", &["wolkvox ok", "kill 1006"], "unknown"),
    ("Agents by name: what Discord suggests while somebody types", &["find pena", "find lu"], "found"),
    ("In Spanish: replies come in the language of the person's Discord", &["lang es", "/mute 1003"], "done"),
    ("In Portuguese", &["lang pt", "as stranger", "/mute 1003"], "denied"),
    ("The audit channel: everything that was, or may have been, toggled", &["audit"], "posted"),
    ("wolkvox-bot check, before going live", &["check"], "works"),
];

fn main() {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    match &arguments[..] {
        [bot, folder] if bot == BOT => {
            runtime.block_on(be_the_bot());
            // Nothing of it has the record open any more.
            drop(runtime);
            clear(Path::new(folder));
        }
        _ => {
            runtime.block_on(be_the_sandbox());
            // Somebody may still be waiting for a line.
            runtime.shutdown_background();
        }
    }
}

async fn be_the_sandbox() {
    let mut sandbox = Sandbox::start().await;
    tell!("{}\n{INTRO}", sandbox.paint(BOLD, "wolkvox-bot sandbox"));
    if stdin().is_terminal() {
        tell!("Type /mute 1001 for a start, help for the rest, quit or Ctrl+C to end.\n");
        sandbox.converse().await;
    } else {
        tell!("This tour shows what can come of a command. In a terminal you type yourself.\n");
        sandbox.tour().await;
    }
    sandbox.stop().await;
    tell!("The stand-ins saw nothing that Discord or Wolkvox would refuse,\nand no secret was logged. Bye.");
}

/// The bot, as its own `main` runs it, until standard input ends. The sandbox never writes to that, so it ends when the
/// sandbox wants it or is gone.
async fn be_the_bot() {
    let (log, guard) = telemetry::in_the_background(stdout());
    let subscriber = telemetry::subscriber(Filter::default(), Format::Text, false, log);
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let mut input = Receiver::from_owned_fd(stdin().as_fd().try_clone_to_owned().unwrap()).unwrap();
    let config = Draft::from_sources(|name| std::env::var(name).ok(), Path::new("/nowhere")).finish().unwrap();
    let ended = App::build(config).unwrap().run(async {
        let _ = input.read(&mut [0]).await;
    });
    let ended = ended.await;
    drop(guard);
    ended.unwrap();
}

/// Removes the folder of a record that nobody needs any more.
fn clear(folder: &Path) {
    let _ = remove_file(folder.join(STATE_FILE));
    let _ = remove_dir(folder);
}

/// Whoever reads the output may have seen enough, as `head` has: then this ends, quietly.
fn printed(result: io::Result<()>) {
    result.unwrap_or_else(|error| {
        if error.kind() == ErrorKind::BrokenPipe {
            exit(0);
        }
        let _ = writeln!(stderr(), "The sandbox ended: what it shows can't be written: {error}");
        exit(1);
    })
}

/// Prints text in lines that fit into the terminal: each begins with the margin, and what does not fit goes on below,
/// further in. Each is painted.
fn print(margin: &str, indent: usize, text: &str, paint: impl Fn(&str) -> String) {
    let room = COLUMNS - width(margin);
    for line in text.split('\n') {
        for (number, line) in wrap(line, room, room - indent).iter().enumerate() {
            let indent = if number == 0 { 0 } else { indent };
            printed(writeln!(stdout(), "{margin}{:indent$}{}", "", paint(line)));
        }
    }
}

/// What is typed at the prompt.
enum Keyboard {
    /// A terminal that both sees the prompt and gives the lines.
    Editor(DefaultEditor),
    /// What is shown goes elsewhere, or no line can be edited where it is shown.
    Lines(Lines<BufReader<Stdin>>),
}

impl Keyboard {
    fn new() -> Self {
        if stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb") {
            // Lines that are pasted are obeyed one after the other.
            let config = Config::builder().auto_add_history(true).bracketed_paste(false).build();
            Self::Editor(DefaultEditor::with_config(config).unwrap())
        } else {
            Self::Lines(BufReader::new(tokio::io::stdin()).lines())
        }
    }

    /// What is typed while a command is carried out stands at the next prompt, and not in the middle of what is shown.
    fn unechoed(&self) -> Option<Unechoed> {
        let Self::Editor(_) = self else { return None };
        let before = tcgetattr(stdin()).ok()?;
        let mut unechoed = before.clone();
        unechoed.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin(), OptionalActions::Now, &unechoed).ok()?;
        Some(Unechoed(before))
    }

    /// The next line, `None` after Ctrl+C, Ctrl+D or the end of the input, and the keyboard for the one after it.
    async fn line(self, prompt: String, interrupts: &mut Signal) -> (Option<String>, Self) {
        match self {
            // On a thread of its own: the stand-ins go on meanwhile. Ctrl+C is a key there.
            Self::Editor(mut editor) => {
                spawn_blocking(move || (editor.readline(&prompt).ok(), Self::Editor(editor))).await.unwrap()
            }
            Self::Lines(mut lines) => {
                printed(write!(stdout(), "{prompt}").and_then(|()| stdout().flush()));
                let line = tokio::select! {
                    line = lines.next_line() => line.ok().flatten(),
                    _ = interrupts.recv() => None,
                };
                if line.is_none() {
                    tell!();
                }
                (line, Self::Lines(lines))
            }
        }
    }
}

/// While there is one, the terminal does not show what is typed. It was like this before.
struct Unechoed(Termios);

impl Drop for Unechoed {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.0);
    }
}

const BOLD: u8 = 1;
const DIM: u8 = 2;
const RED: u8 = 31;
const GREEN: u8 = 32;

struct Sandbox {
    discord: Discord,
    wolkvox: Wolkvox,
    /// Wolkvox's.
    port: Port,
    /// Serves Wolkvox's connections; aborted while Wolkvox is down.
    door: JoinHandle<()>,
    bot: Bot,
    /// A new one in the system's folder for temporary files; the bot's record is in it.
    folder: PathBuf,
    log: Log,
    /// How many lines of the log were shown.
    logged: usize,
    /// Who types.
    person: Actor,
    /// The button under the last reply, and the agent that it is about.
    button: Option<(String, u64)>,
    colour: bool,
}

impl Sandbox {
    async fn start() -> Self {
        let log = Log::default();
        let port = Port::new();
        let wolkvox = Wolkvox::new(format!("http://{}", port.address()));
        let door = tokio::spawn(serve(wolkvox.clone(), port.listen()));
        let discord = Discord::start().await;
        let folder = std::env::temp_dir().join(format!("wolkvox-bot-sandbox-{:016x}", fastrand::u64(..)));
        DirBuilder::new().mode(0o700).create(&folder).unwrap();
        let bot = Bot::start(&settings(&discord, &wolkvox, &folder), &folder, &log);
        discord.until_ready(1).await;
        let colour = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { discord, wolkvox, port, door, bot, folder, log, logged: 0, person: supervisor(), button: None, colour }
    }

    /// Ends the bot as a signal would, and makes sure that the stand-ins saw nothing that Discord or Wolkvox
    /// would have refused, and that no secret got into the log.
    async fn stop(self) {
        self.bot.stop().await;
        assert!(!self.folder.exists(), "{} was left behind", self.folder.display());
        check_stand_ins(&self.discord, &self.wolkvox);
        check_secrets(&self.log.text());
    }

    fn settings(&self) -> HashMap<&'static str, String> {
        settings(&self.discord, &self.wolkvox, &self.folder)
    }

    async fn converse(&mut self) {
        // Ctrl+C while a command is carried out; that is finished first.
        let mut interrupts = signal(SignalKind::interrupt()).unwrap();
        let mut keyboard = Keyboard::new();
        while interrupts.recv().now_or_never().is_none() {
            let (line, same) = keyboard.line(self.prompt(), &mut interrupts).await;
            keyboard = same;
            match line.as_deref().map(str::trim) {
                None | Some("quit" | "exit") => return,
                Some("") => {}
                Some(line) => {
                    let unechoed = keyboard.unechoed();
                    self.obey(line).await;
                    drop(unechoed);
                    tell!();
                }
            }
        }
    }

    async fn tour(&mut self) {
        for (number, (heading, lines, expected)) in (1..).zip(TOUR) {
            tell!("{}", self.paint(BOLD, &format!("{number}. {heading}")));
            let mut outcome = String::new();
            for line in lines {
                tell!("{}{line}", self.prompt());
                outcome = self.obey(line).await;
            }
            assert_eq!(outcome, expected, "{heading}");
            tell!();
        }
        tell!("That was the tour: everything came out as told.");
    }

    fn prompt(&self) -> String {
        let place = if self.person.guild.is_some() { "" } else { " (direct message)" };
        self.paint(GREEN, &format!("{}{place}> ", self.person.name))
    }

    /// Does what a line says, and tells in one word what came of it.
    async fn obey(&mut self, line: &str) -> String {
        let (command, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match (command, argument.trim()) {
            ("/mute" | "mute", agent) => return self.mute(agent).await,
            ("press", "") => return self.press().await,
            ("kill", "") => self.kill().await,
            ("kill", agent) => return self.kill_during_a_call(agent).await,
            ("find", typed) if !typed.is_empty() => return self.find(typed).await,
            ("audit", "") => return self.show_audit_channel().await,
            ("check", "") => return self.check().await,
            ("as", word) => self.switch_to(word),
            ("lang", word) => self.switch_language(word),
            ("wolkvox", word) => self.change_mood(word).await,
            ("mics", "") => self.show_microphones(),
            ("log", "") => self.show_log(),
            ("help" | "?", _) => self.help(),
            _ => self.note("not understood; help lists what can be typed"),
        }
        String::new()
    }

    async fn mute(&mut self, agent: &str) -> String {
        let Some(agent) = self.agent(agent) else { return String::new() };
        self.begin_typing(&agent.to_string()).await;
        self.exchange(agent, |discord, person| discord.mute(person, agent)).await
    }

    /// The agent, where Discord would take what was typed.
    fn agent(&self, typed: &str) -> Option<u64> {
        let number = typed.strip_prefix("agent_id:").unwrap_or(typed).trim();
        let agent = number.parse::<u64>().ok().filter(|number| AgentId::try_from(*number).is_ok());
        if agent.is_none() {
            let (min, max) = (AgentId::MIN, AgentId::MAX);
            self.note(&format!("Discord itself takes no agent_id but a whole number from {min} to {max}"));
            let name = if number.contains(char::is_alphabetic) { number } else { "lu" };
            self.note(&format!("and offers agents by name while one types; here that is: find {name}"));
        }
        agent
    }

    /// `/mute`, and the bot is killed as soon as Wolkvox has the request.
    async fn kill_during_a_call(&mut self, agent: &str) -> String {
        let Some(agent) = self.agent(agent) else { return String::new() };
        self.begin_typing(&agent.to_string()).await;
        self.wolkvox.next([Fate::Silent]);
        let exchange = self.begin(agent, |discord, person| discord.mute(person, agent)).await;
        let called = tokio::select! {
            () = self.wolkvox.until_requests(exchange.requests + 1) => true,
            _ = self.discord.finished(exchange.id) => false,
        };
        if called {
            self.kill().await;
        } else {
            self.wolkvox.state(|state| state.fates.clear());
            self.note("there was no call, so the bot was not killed");
        }
        self.end(exchange).await
    }

    /// Without a last word of the bot. Another one starts on the same record.
    async fn kill(&mut self) {
        self.note("the bot is killed, as with kill -9: it can't say or write anything any more");
        self.bot.kill().await;
        self.discord.until_gone().await;
        self.note("it is started again, and reads the record that the dead one left (STATE_FILE)");
        self.bot = Bot::start(&self.settings(), &self.folder, &self.log);
        self.discord.until_ready(1).await;
    }

    async fn press(&mut self) -> String {
        match self.button.clone() {
            Some((button, agent)) => self.exchange(agent, |discord, person| discord.press(person, &button)).await,
            None => {
                self.note("there is no button; to see one: /mute 1001, as second, /mute 1001");
                String::new()
            }
        }
    }

    /// One interaction from the first to the last word, as the channel shows it, then what became of the
    /// microphone. Gives the outcome that the bot logged.
    async fn exchange(&mut self, agent: u64, act: impl FnOnce(&Discord, &Actor) -> u64) -> String {
        let exchange = self.begin(agent, act).await;
        self.end(exchange).await
    }

    async fn begin(&self, agent: u64, act: impl FnOnce(&Discord, &Actor) -> u64) -> Exchange {
        let (requests, toggles) = (self.wolkvox.requests(), self.wolkvox.toggles(agent));
        let id = act(&self.discord, &self.person);
        self.discord.until_acknowledged(id).await;
        if self.discord.interaction(id).deferred() {
            self.say(DIM, "wolkvox-bot is thinking…");
        }
        Exchange { id, agent, requests, toggles }
    }

    async fn end(&mut self, Exchange { id, agent, requests, toggles }: Exchange) -> String {
        let reply = self.discord.finished(id).await;
        self.show(&reply.text().unwrap());
        if let Some(custom_id) = reply.button() {
            let label = &reply.shown.as_ref().unwrap()["components"][0]["components"][0]["label"];
            let button = self.paint(RED, &format!("[ {} ]", label.as_str().unwrap()));
            self.say(0, &format!("{button} {}", self.paint(DIM, "← press")));
            self.button = Some((custom_id, agent));
        }
        if reply.private() {
            self.say(DIM, "(only you can see this)");
        }
        let requests = self.wolkvox.requests() - requests;
        let toggled = self.wolkvox.toggles(agent) - toggles;
        self.show_microphone(agent, requests, toggled);
        let outcome = self.logged_outcome(id).await;
        let (few, many) = match outcome.as_str() {
            "done" => (1, 1),
            "unknown" => (0, 1),
            _ => (0, 0),
        };
        assert!((few..=many).contains(&toggled), "{outcome}, but toggled {toggled} times");
        outcome
    }

    async fn logged_outcome(&self, interaction: u64) -> String {
        let id = format!(" interaction_id={interaction} ");
        let audited = |log: &Log| {
            let lines = log.lines();
            let record = lines.iter().find(|line| line.contains(" audit: ") && line.contains(&id))?;
            Some(record.split_once("outcome=\"")?.1.split_once('"')?.0.to_owned())
        };
        self.log.until("the command is audited", |log| audited(log).is_some()).await;
        audited(&self.log).unwrap()
    }

    /// The first letter or digit of an agent is typed, as it is before every command. It makes the bot ask Wolkvox for
    /// the agents' names; the rest is typed when that is over.
    async fn begin_typing(&self, typed: &str) {
        self.wolkvox.state(|state| state.agents = Some(listing(&AGENTS)));
        let first = self.discord.type_agent(&self.person, &typed.chars().take(1).collect::<String>());
        self.discord.finished(first).await;
        if self.person.roles.contains(&discord::SUPERVISOR_ROLE) {
            let fetched =
                |log: &Log| log.lines()[self.bot.begun..].iter().any(|line| line.contains("the agent directory"));
            self.log.until("the directory is fetched", fetched).await;
        }
    }

    /// What Discord suggests while a name is being typed.
    async fn find(&self, typed: &str) -> String {
        self.begin_typing(typed).await;
        let answer = self.discord.type_agent(&self.person, typed);
        let shown = self.discord.finished(answer).await.shown.unwrap();
        let choices = shown["choices"].as_array().map(Vec::as_slice).unwrap_or_default();
        for choice in choices {
            self.say(0, choice["name"].as_str().unwrap());
        }
        if choices.is_empty() {
            self.say(DIM, "(nothing to suggest)");
            return "nothing".to_owned();
        }
        "found".to_owned()
    }

    async fn check(&self) -> String {
        let mut report = Vec::new();
        let settings = self.settings();
        let draft = Draft::from_sources(|name| settings.get(name).cloned(), Path::new("/nowhere"));
        let works = check(draft, Report::new(&mut report, self.colour)).await.unwrap();
        String::from_utf8(report).unwrap().lines().for_each(|line| print("", 6, line, str::to_owned));
        if works { "works" } else { "fails" }.to_owned()
    }

    fn switch_to(&mut self, word: &str) {
        if let Some((_, who, person)) = self.choose(&PEOPLE, word) {
            self.person = Actor { locale: self.person.locale, ..person() };
            self.note(&format!("you are {who}"));
        }
    }

    fn switch_language(&mut self, word: &str) {
        if let Some((_, name, locale)) = self.choose(&LANGUAGES, word) {
            self.person.locale = locale;
            self.note(&format!(
                "your own Discord is in {name} now: the bot answers you in {name}, whoever you are. Wolkvox's message \
                 stays as it came, and the audit channel has the server's language, which is Spanish here."
            ));
        }
    }

    async fn change_mood(&mut self, word: &str) {
        let Some((word, what, fate)) = self.choose(&MOODS, word) else { return };
        let mut requests = 0;
        let draw = move || {
            requests += 1;
            fate(requests)
        };
        self.wolkvox.state(|state| state.chance = Some(Box::new(draw)));
        if word == "down" {
            self.port.close();
            self.door.abort();
            // Until the bot has noticed that its connections are gone, as it would between two commands.
            tokio::time::sleep(Duration::from_millis(50)).await;
        } else if self.door.is_finished() {
            self.door = tokio::spawn(serve(self.wolkvox.clone(), self.port.listen()));
        }
        self.note(&format!("from now on Wolkvox {what}"));
    }

    fn choose<T: Copy>(&self, choices: &[Choice<T>], word: &str) -> Option<Choice<T>> {
        let chosen = choices.iter().find(|(known, ..)| *known == word).copied();
        if chosen.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, ..)| *word).collect();
            self.note(&format!("one of: {}", words.join(", ")));
        }
        chosen
    }

    fn show_microphone(&self, agent: u64, requests: usize, toggled: usize) {
        let (colour, state) = self.microphone(agent);
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let story = match requests {
            0 => "no request reached Wolkvox".to_owned(),
            _ => format!("{}, {}", count(requests, "request"), count(toggled, "toggle")),
        };
        let text = format!("microphone {agent}: {} · {story}", self.paint(colour, state));
        print("  ", 0, &text, str::to_owned);
    }

    /// An even number of toggles leaves it open, as it was.
    fn microphone(&self, agent: u64) -> (u8, &'static str) {
        if self.wolkvox.toggles(agent).is_multiple_of(2) { (GREEN, "open") } else { (RED, "muted") }
    }

    fn show_microphones(&self) {
        let toggled = self.wolkvox.state(|state| state.toggles.keys().copied().collect::<Vec<_>>());
        for agent in toggled.into_iter().chain(AGENTS.map(|(agent, ..)| agent)).collect::<BTreeSet<_>>() {
            let (colour, state) = self.microphone(agent);
            let name = AGENTS.iter().find(|(known, ..)| *known == agent).map_or("", |(_, name, _)| name);
            let text = format!("{} {agent}  {name}", self.paint(colour, &format!("{state:<5}")));
            print("  ", 0, &text, str::to_owned);
        }
    }

    /// The audit channel gets a line for everything that was, or may have been, toggled.
    async fn show_audit_channel(&self) -> String {
        let toggles = self.wolkvox.all_toggles();
        self.discord.until("toggles are posted", |state| state.posts.len() >= toggles).await;
        self.say(BOLD, "#mute-audit");
        let posts = self.discord.state(|state| state.posts.clone());
        for post in &posts[posts.len().saturating_sub(4)..] {
            self.show(post["content"].as_str().unwrap());
        }
        "posted".to_owned()
    }

    fn show_log(&mut self) {
        let lines = self.log.lines();
        lines[self.logged..].iter().for_each(|line| print("", 2, line, |line| self.paint(DIM, line)));
        self.logged = lines.len();
    }

    fn help(&self) {
        let entry = |word: &str, what: &str| print("  ", 19, &format!("{word:<18} {what}"), str::to_owned);
        entry("/mute 1001", "press the MUTE button in agent 1001's application");
        entry("press", "press the button under the bot's last question");
        entry("find lu", "type a name instead of a number: what Discord suggests");
        entry("kill [1001]", "the bot is killed and restarted, in mid-call with a number");
        for (word, who, _) in PEOPLE {
            entry(&format!("as {word}"), &format!("you are {who}"));
        }
        let [words, names] = [LANGUAGES.map(|(word, ..)| word), LANGUAGES.map(|(_, name, _)| name)];
        entry(&format!("lang {}", words.join("|")), &format!("your own Discord is in {}", names.join(", ")));
        for (word, what, _) in MOODS {
            entry(&format!("wolkvox {word}"), &format!("Wolkvox {what}"));
        }
        entry("mics, audit, log", "the microphones, the audit channel, what the bot logged");
        entry("check", "what wolkvox-bot check says here");
        entry("quit", "or Ctrl+C, Ctrl+D");
    }

    /// A word of the sandbox itself.
    fn note(&self, text: &str) {
        print("  ", 0, text, |line| self.paint(DIM, line));
    }

    /// A line in the channel.
    fn say(&self, style: u8, text: &str) {
        print("  │ ", 0, text, |line| self.paint(style, line));
    }

    /// A message as Discord would draw it.
    fn show(&self, message: &str) {
        for line in message.lines() {
            let (style, line) = line.strip_prefix("-# ").map_or((0, line), |small| (DIM, small));
            self.say(style, &self.draw(line));
        }
    }

    /// Names for mentions, a clock for timestamps, bold where that can be shown; no backslashes.
    fn draw(&self, line: &str) -> String {
        let mut line = PEOPLE.iter().fold(line.to_owned(), |line, (_, _, person)| {
            line.replace(&format!("<@{}>", person().id), &format!("@{}", person().name))
        });
        if let Some((time, rest)) = line.strip_prefix("<t:").and_then(|rest| rest.split_once(":f>")) {
            let minutes = time.parse::<u64>().unwrap() / 60;
            line = format!("{:02}:{:02} UTC{rest}", minutes / 60 % 24, minutes % 60);
        }
        if let Some((before, rest)) = line.split_once("<t:")
            && let Some((time, after)) = rest.split_once(":R>")
        {
            line = format!("{before}{}{after}", self.ago(time.parse().unwrap()));
        }
        let (mut drawn, mut bold) = (String::new(), false);
        let mut chars = line.chars();
        while let Some(char) = chars.next() {
            match char {
                '\\' => drawn.extend(chars.next()),
                '*' if chars.as_str().starts_with('*') => {
                    chars.next();
                    bold = !bold;
                    drawn += match (self.colour, bold) {
                        (false, _) => "",
                        (true, true) => "\x1b[1m",
                        (true, false) => "\x1b[0m",
                    };
                }
                char => drawn.push(char),
            }
        }
        drawn
    }

    /// How long ago a second of the clock was, in the language of the person's Discord.
    fn ago(&self, time: u64) -> String {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let (count, units) = match now.saturating_sub(time).max(1) {
            seconds @ ..60 => (seconds, ["second", "segundo", "segundo"]),
            seconds @ ..3600 => (seconds / 60, ["minute", "minuto", "minuto"]),
            seconds => (seconds / 3600, ["hour", "hora", "hora"]),
        };
        let s = if count == 1 { "" } else { "s" };
        let [english, spanish, portuguese] = units.map(|unit| format!("{count} {unit}{s}"));
        match &self.person.locale[..2] {
            "es" => format!("hace {spanish}"),
            "pt" => format!("há {portuguese}"),
            _ => format!("{english} ago"),
        }
    }

    fn paint(&self, style: u8, text: &str) -> String {
        if self.colour && style != 0 { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// An interaction that has begun, and what Wolkvox had seen before.
struct Exchange {
    id: u64,
    agent: u64,
    requests: usize,
    toggles: usize,
}

/// The bot in its process.
struct Bot {
    child: Child,
    /// Reads what it prints into the log.
    printed: JoinHandle<()>,
    /// How many lines the log had before it.
    begun: usize,
}

impl Bot {
    fn start(settings: &HashMap<&'static str, String>, folder: &Path, log: &Log) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(BOT).arg(folder);
        for variable in VARIABLES {
            command.env_remove(variable.name);
        }
        command.envs(settings).stdin(Stdio::piped()).stdout(Stdio::piped());
        // Ctrl-C in the terminal is for the sandbox; the bot ends after it and clears up.
        let mut child = command.process_group(0).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (begun, log) = (log.lines().len(), log.clone());
        let printed = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                log.push(line);
            }
        });
        Self { child, printed, begun }
    }

    /// With SIGKILL.
    async fn kill(&mut self) {
        self.child.kill().await.unwrap();
        (&mut self.printed).await.unwrap();
    }

    /// Asks it to end, and waits for that.
    async fn stop(mut self) {
        drop(self.child.stdin.take());
        let status = self.child.wait().await.unwrap();
        self.printed.await.unwrap();
        assert!(status.success(), "the bot ended with {status}");
    }
}

/// The settings of the bot, as the environment gives them.
fn settings(discord: &Discord, wolkvox: &Wolkvox, folder: &Path) -> HashMap<&'static str, String> {
    let mut settings = variables(discord, wolkvox);
    settings.insert("WOLKVOX_TIMEOUT_SECS", "2".to_owned());
    settings.insert("AUDIT_CHANNEL_ID", AUDIT_CHANNEL.to_string());
    settings.insert("STATE_FILE", folder.join(STATE_FILE).to_str().unwrap().to_owned());
    settings
}

/// Lets the bot reach Wolkvox, until it is aborted: then all connections break and no more are made.
async fn serve(wolkvox: Wolkvox, listener: Arc<TcpListener>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let wolkvox = wolkvox.clone();
        connections.spawn(async move { wolkvox.serve(stream).await });
    }
}

/// Lines of no more than so many columns, the first and the others. A longer word is cut.
fn wrap(text: &str, first: usize, others: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut room = first;
    for word in text.split(' ') {
        let line = lines.last_mut().unwrap();
        let taken = if line.is_empty() { 0 } else { width(line) + 1 };
        if taken + width(word) <= room {
            *line += if taken == 0 { "" } else { " " };
            *line += word;
            continue;
        }
        room = others;
        let word = match width(word) > room {
            true => word.chars().take(room - 1).chain(['…']).collect(),
            false => word.to_owned(),
        };
        if taken == 0 { *line = word } else { lines.push(word) }
    }
    lines
}

/// How many columns a text takes. Colours take none.
fn width(text: &str) -> usize {
    let coloured = text.split('\x1b').skip(1).filter_map(|part| Some(1 + part.split_once('m')?.0.len() + 1));
    text.chars().count() - coloured.sum::<usize>()
}
