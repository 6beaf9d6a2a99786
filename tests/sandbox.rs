//! The sandbox: the real bot between stand-ins for Discord and Wolkvox, all on this machine.
//!
//! The stand-ins run in this process, and the bot in one of its own, so that it can be killed: the sandbox starts
//! itself once more with an argument that makes it the bot.
//!
//! `cargo run --example sandbox` gives a prompt where standard input is a terminal, and otherwise plays a tour of all
//! outcomes of a command. The tour types the lines that a person would type, and ends with an error if an outcome is
//! not the expected one. Every exchange, typed or played, is checked against what reached the microphone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "an example")]

mod support;

use std::env::{args_os, current_exe, var, var_os};
use std::fs::remove_dir_all;
use std::io::{ErrorKind, IsTerminal as _, Write as _, stdin, stdout};
use std::path::Path;
use std::process::exit;
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};
use rustyline::{Config, DefaultEditor};
use tokio::process::Command;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;
use wolkvox_bot::app::App;
use wolkvox_bot::check::{Report, check};
use wolkvox_bot::config::Draft;
use wolkvox_bot::telemetry::{self, Format};

use support::bot::{Process, Site, check_secrets};
use support::discord::{AUDIT_CHANNEL, Actor, Discord, SUPERVISOR_ROLE, second_supervisor, stranger, supervisor};
use support::wolkvox::{BUSY, Fate, listing};

/// The argument that makes this program the bot. Another one follows: the folder of its state file.
const BOT: &str = "--be-the-bot";

const BOLD: u8 = 1;
const DIM: u8 = 2;
const RED: u8 = 31;
const GREEN: u8 = 32;

/// A word that can be typed after a command, what it means to people, and what it stands for.
type Choice<T> = (&'static str, &'static str, T);

/// The person at the keyboard, as a member of the server.
const PEOPLE: [Choice<fn() -> Actor>; 4] = [
    ("supervisor", "ana, who has an allowlisted role", supervisor),
    ("second", "bruno, another supervisor", second_supervisor),
    ("stranger", "carla, who has no such role", stranger),
    ("dm", "ana, in a direct message", || Actor { guild: None, roles: Vec::new(), ..supervisor() }),
];

/// Which language their Discord has, as a locale.
const LANGUAGES: [Choice<&str>; 3] =
    [("en", "English", "en-US"), ("es", "Spanish", "es-419"), ("pt", "Portuguese", "pt-BR")];

/// How Wolkvox behaves: what happens to the nth request from now on.
type Mood = fn(usize) -> Fate;

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
const AGENTS: [(u64, &str, &str); 7] = [
    (1001, "Luis Gómez", "yes"),
    (1002, "João Peña", "yes"),
    (1003, "Luciana Araújo", "yes"),
    (1004, "Mariana Núñez", "yes"),
    (1005, "José Ángel Muñoz", "yes"),
    (1006, "Conceição Gonçalves", "yes"),
    (1007, "Luz Ordóñez", "no"),
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
    let mut arguments = args_os().skip(1);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    if arguments.next().is_some_and(|argument| argument == BOT) {
        runtime.block_on(be_the_bot());
        let _ = remove_dir_all(arguments.next().unwrap());
    } else {
        runtime.block_on(be_the_sandbox());
    }
}

async fn be_the_sandbox() {
    let mut sandbox = Sandbox::start().await;
    print("", 0, BOLD, "wolkvox-bot sandbox");
    print("", 0, 0, "This is the real bot, between stand-ins for Discord and Wolkvox on this machine.");
    print("", 0, 0, "It needs no credentials and no network: nothing leaves this machine.");
    if stdin().is_terminal() {
        print("", 0, 0, "Type /mute 1001 for a start, help for the rest, quit or Ctrl+C to end.\n\n");
        sandbox.converse().await;
    } else {
        print("", 0, 0, "This tour shows all outcomes of a command. In a terminal you type yourself.\n\n");
        sandbox.tour().await;
    }
    sandbox.site.stop(&mut sandbox.bot).await;
    check_secrets(&sandbox.past.join("\n"));
    assert!(!sandbox.site.folder.exists(), "the bot has left its folder behind");
    print("", 0, 0, "The stand-ins saw nothing that Discord or Wolkvox would refuse,\nand no secret was logged. Bye.");
}

/// The bot, as its own `main` runs it, until it is told to end or the sandbox is gone.
async fn be_the_bot() {
    let mut told_to_end = signal(SignalKind::terminate()).unwrap();
    set_parent_process_death_signal(Some(Signal::TERM)).unwrap();
    let (log, guard) = telemetry::in_the_background(stdout());
    let subscriber = telemetry::subscriber("info".parse().unwrap(), Format::Text, false, log);
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let config = Draft::from_sources(|name| var(name).ok(), Path::new("/nowhere")).finish().unwrap();
    let run = App::build(config).unwrap().run(async {
        told_to_end.recv().await;
    });
    let ended = run.await;
    drop(guard);
    ended.unwrap();
}

fn colour() -> bool {
    stdout().is_terminal() && var_os("NO_COLOR").is_none()
}

fn paint(style: u8, text: &str) -> String {
    if style != 0 && colour() { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Prints text in lines of 80 columns, of which colours take some too. Each begins with the margin; what does not fit goes
/// on below, `indent` further in.
fn print(margin: &str, indent: usize, style: u8, text: &str) {
    let width = |text: &str| text.chars().count();
    for line in text.lines() {
        let mut lines = vec![String::new()];
        for word in line.split(' ') {
            match lines.last_mut() {
                Some(line) if line.trim().is_empty() || width(margin) + width(line) + width(word) <= 80 => {
                    *line += word
                }
                _ => lines.push(format!("{:indent$}{word}", "")),
            }
            lines.last_mut().unwrap().push(' ');
        }
        for line in lines {
            match writeln!(stdout(), "{margin}{}", paint(style, line.trim_end())) {
                // The reader may have seen enough, as `head` has.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => exit(0),
                written => written.expect("what the sandbox shows can be written"),
            }
        }
    }
}

/// A word of the sandbox itself.
fn note(text: &str) {
    print("  ", 0, DIM, text);
}

/// A line in the channel.
fn say(style: u8, text: &str) {
    print("  │ ", 0, style, text);
}

fn choose<T: Copy>(choices: &[Choice<T>], word: &str) -> Option<Choice<T>> {
    let chosen = choices.iter().find(|(known, ..)| *known == word).copied();
    if chosen.is_none() {
        note("help lists what can be typed");
    }
    chosen
}

fn help() {
    let entry = |word: &str, what: &str| print("  ", 19, 0, &format!("{word:<18} {what}"));
    entry("/mute 1001", "press the MUTE button in agent 1001's application");
    entry("press", "press the button under the bot's last question");
    entry("find lu", "type a name instead of a number: what Discord suggests");
    entry("kill [1001]", "the bot is killed and restarted, in mid-call with a number");
    for (word, who, _) in PEOPLE {
        entry(&format!("as {word}"), &format!("you are {who}"));
    }
    let languages = LANGUAGES.map(|(word, ..)| word).join("|");
    entry(&format!("lang {languages}"), "the language of your own Discord");
    for (word, what, _) in MOODS {
        entry(&format!("wolkvox {word}"), &format!("Wolkvox {what}"));
    }
    entry("mics, audit, log", "the microphones, the audit channel, what the bot logged");
    entry("check", "what wolkvox-bot check says here");
    entry("quit", "or Ctrl+C, Ctrl+D");
}

/// A message as Discord would draw it.
fn show(message: &str) {
    for line in message.lines() {
        let (style, line) = line.strip_prefix("-# ").map_or((0, line), |small| (DIM, small));
        say(style, &draw(line));
    }
}

/// Names for mentions, the time of day for timestamps, bold where that can be shown; no backslashes.
fn draw(line: &str) -> String {
    let mut line = PEOPLE.iter().fold(line.to_owned(), |line, (_, _, person)| {
        line.replace(&format!("<@{}>", person().id), &format!("@{}", person().name))
    });
    while let Some((before, rest)) = line.split_once("<t:") {
        let (second, rest) = rest.split_once(':').unwrap();
        let minute = second.parse::<u64>().unwrap() / 60;
        line = format!("{before}{:02}:{:02} UTC{}", minute / 60 % 24, minute % 60, &rest[2..]);
    }
    let parts = line.split("**").enumerate();
    let bold = parts.map(|(n, part)| paint(if n % 2 == 1 { BOLD } else { 0 }, part)).collect::<String>();
    let (mut drawn, mut chars) = (String::new(), bold.chars());
    while let Some(char) = chars.next() {
        drawn.extend(if char == '\\' { chars.next() } else { Some(char) });
    }
    drawn
}

struct Sandbox {
    site: Site,
    bot: Process,
    /// What the bots that were killed logged.
    past: Vec<String>,
    /// How many lines of the log were shown.
    logged: usize,
    /// The person at the keyboard.
    person: Actor,
    /// The button under the last reply.
    button: Option<String>,
}

impl Sandbox {
    async fn start() -> Self {
        let site = Site::new().await.with("WOLKVOX_TIMEOUT_SECS", "2");
        let site = site.with("AUDIT_CHANNEL_ID", &AUDIT_CHANNEL.to_string());
        let bot = Self::start_bot(&site).await;
        Self { site, bot, past: Vec::new(), logged: 0, person: supervisor(), button: None }
    }

    async fn start_bot(site: &Site) -> Process {
        let mut command = Command::new(current_exe().unwrap());
        // Ctrl+C in the terminal is for the sandbox; the bot ends after it and clears up.
        command.arg(BOT).arg(&*site.folder).process_group(0);
        let mut bot = Process::spawn(command, &site.variables);
        bot.runs(site.discord.until_ready(1)).await;
        bot
    }

    async fn converse(&mut self) {
        // Lines that are pasted are obeyed one after the other.
        let config = Config::builder().auto_add_history(true).bracketed_paste(false).build();
        let mut editor = DefaultEditor::with_config(config).unwrap();
        loop {
            let (prompt, line);
            prompt = self.prompt();
            // On a thread of its own: the stand-ins go on meanwhile.
            (line, editor) = spawn_blocking(move || (editor.readline(&prompt), editor)).await.unwrap();
            match line.as_deref().map(str::trim) {
                Err(_) | Ok("quit" | "exit") => return,
                Ok("") => {}
                Ok(line) => {
                    self.obey(line).await;
                    print("", 0, 0, "\n");
                }
            }
        }
    }

    async fn tour(&mut self) {
        for (number, (heading, lines, expected)) in (1..).zip(TOUR) {
            print("", 0, BOLD, &format!("{number}. {heading}"));
            let mut outcome = String::new();
            for line in lines {
                print("", 0, 0, &format!("{}{line}", self.prompt()));
                outcome = self.obey(line).await;
            }
            assert_eq!(outcome, expected, "{heading}");
            print("", 0, 0, "\n");
        }
        print("", 0, 0, "That was the tour: every outcome was the expected one.");
    }

    fn prompt(&self) -> String {
        let place = if self.person.guild.is_some() { "" } else { " (direct message)" };
        paint(GREEN, &format!("{}{place}> ", self.person.name))
    }

    /// Does what a line says, and tells the outcome in one word.
    async fn obey(&mut self, line: &str) -> String {
        let (command, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match (command, argument.trim()) {
            ("/mute" | "mute", agent) => return self.mute(agent, false).await,
            ("press", "") => return self.press().await,
            ("kill", "") => self.kill().await,
            ("kill", agent) => return self.mute(agent, true).await,
            ("find", typed) if !typed.is_empty() => return self.find(typed).await,
            ("audit", "") => return self.show_audit_channel().await,
            ("check", "") => return self.check().await,
            ("as", word) => self.switch_to(word),
            ("lang", word) => self.switch_language(word),
            ("wolkvox", word) => self.change_mood(word),
            ("mics", "") => self.show_microphones(),
            ("log", "") => self.show_log(),
            ("help" | "?", _) => help(),
            _ => note("not understood; help lists what can be typed"),
        }
        String::new()
    }

    /// The bot may be killed as soon as Wolkvox has the request.
    async fn mute(&mut self, typed: &str, kill: bool) -> String {
        let agent = typed.trim_start_matches("agent_id:").trim();
        self.begin_typing(agent).await;
        self.exchange(kill, |discord, person| discord.mute(person, agent)).await
    }

    async fn press(&mut self) -> String {
        let Some(button) = self.button.clone() else {
            note("there is no button; to see one: /mute 1001, as second, /mute 1001");
            return String::new();
        };
        self.exchange(false, |discord, person| discord.press(person, &button)).await
    }

    /// Without a last word of the bot. Another one starts on the same file.
    async fn kill(&mut self) {
        note("the bot is killed, as with kill -9: it can't say or write anything any more");
        self.bot.signal("KILL");
        self.bot.ended().await;
        self.site.discord.until_gone().await;
        note("it is started again, and reads the file that the dead one left (STATE_FILE)");
        self.past.extend(self.bot.log.lines());
        self.bot = Self::start_bot(&self.site).await;
    }

    /// One interaction from the first to the last word, as the channel shows it, then the microphone. Gives the outcome
    /// that the bot logged.
    async fn exchange(&mut self, kill: bool, act: impl FnOnce(&Discord, &Actor) -> u64) -> String {
        let (requests, toggles) = (self.site.wolkvox.requests(), self.site.wolkvox.all_toggles());
        self.site.wolkvox.next(kill.then_some(Fate::Silent));
        let id = act(&self.site.discord, &self.person);
        self.site.discord.until_acknowledged(id).await;
        if self.site.discord.interaction(id).deferred() {
            say(DIM, "wolkvox-bot is thinking…");
        }
        if kill {
            tokio::select! {
                () = self.site.wolkvox.until_requests(requests + 1) => self.kill().await,
                _ = self.site.discord.finished(id) => note("there was no call, so the bot was not killed"),
            }
            self.site.wolkvox.state(|state| state.fates.clear());
        }
        let reply = self.site.discord.finished(id).await;
        show(&reply.text().unwrap());
        if let Some(custom_id) = reply.button() {
            let label = &reply.shown.as_ref().unwrap()["components"][0]["components"][0]["label"];
            let button = paint(RED, &format!("[ {} ]", label.as_str().unwrap()));
            say(0, &format!("{button} {}", paint(DIM, "← press")));
            self.button = Some(custom_id);
        }
        if reply.private() {
            say(DIM, "(only you can see this)");
        }
        let requests = self.site.wolkvox.state(|state| state.requests[requests..].to_vec());
        let toggled = self.site.wolkvox.all_toggles() - toggles;
        let story = requests.last().map_or("no request reached Wolkvox".to_owned(), |agent| {
            let (microphone, requests) = (self.microphone(*agent), requests.len());
            format!("microphone {agent}: {microphone} · requests to Wolkvox: {requests}, toggles: {toggled}")
        });
        print("  ", 0, 0, &story);
        let outcome = self.bot.log.outcome_in_text(id).await;
        let [least, most] = [outcome == "done", matches!(outcome.as_str(), "done" | "unknown")].map(usize::from);
        assert!((least..=most).contains(&toggled), "{outcome}, but toggled {toggled} times");
        outcome
    }

    /// The first letter or digit of an agent is typed, as it is before every command. It makes the bot ask Wolkvox for
    /// the agents' names; the rest is typed when that is over.
    async fn begin_typing(&self, typed: &str) {
        self.site.wolkvox.state(|state| state.agents = Some(listing(&AGENTS)));
        let first = self.site.discord.type_agent(&self.person, &typed.chars().take(1).collect::<String>());
        self.site.discord.finished(first).await;
        if self.person.roles.contains(&SUPERVISOR_ROLE) {
            self.bot.log.until_contains("the agent directory").await;
        }
    }

    /// What Discord suggests while a name is being typed.
    async fn find(&self, typed: &str) -> String {
        self.begin_typing(typed).await;
        let answer = self.site.discord.type_agent(&self.person, typed);
        let shown = self.site.discord.finished(answer).await.shown.unwrap();
        let choices = shown["choices"].as_array().map(Vec::as_slice).unwrap_or_default();
        choices.iter().for_each(|choice| say(0, choice["name"].as_str().unwrap()));
        if choices.is_empty() {
            say(DIM, "(nothing to suggest)");
        }
        if choices.is_empty() { "nothing" } else { "found" }.to_owned()
    }

    async fn check(&self) -> String {
        let mut report = Vec::new();
        let draft = Draft::from_sources(|name| self.site.variables.get(name).cloned(), Path::new("/nowhere"));
        let works = check(draft, Report::new(&mut report, colour())).await.unwrap();
        print("", 6, 0, &String::from_utf8(report).unwrap());
        if works { "works" } else { "fails" }.to_owned()
    }

    fn switch_to(&mut self, word: &str) {
        if let Some((_, who, person)) = choose(&PEOPLE, word) {
            self.person = Actor { locale: self.person.locale, ..person() };
            note(&format!("you are {who}"));
        }
    }

    fn switch_language(&mut self, word: &str) {
        if let Some((_, name, locale)) = choose(&LANGUAGES, word) {
            self.person.locale = locale;
            note(&format!(
                "your own Discord is in {name} now: the bot answers you in {name}, whatever your role. Wolkvox's message \
                 stays as it came, and the audit channel has the server's language, which is Spanish here."
            ));
        }
    }

    fn change_mood(&mut self, word: &str) {
        let Some((word, what, fate)) = choose(&MOODS, word) else { return };
        let mut requests = 0;
        let draw = move || {
            requests += 1;
            fate(requests)
        };
        self.site.wolkvox.state(|state| state.chance = Some(Box::new(draw)));
        self.site.wolkvox.go_down();
        if word != "down" {
            self.site.wolkvox.come_back();
        }
        note(&format!("from now on Wolkvox {what}"));
    }

    /// An even number of toggles leaves it open, as it was.
    fn microphone(&self, agent: u64) -> String {
        if self.site.wolkvox.toggles(agent).is_multiple_of(2) { paint(GREEN, "open") } else { paint(RED, "muted") }
    }

    fn show_microphones(&self) {
        for (agent, name, _) in AGENTS {
            print("  ", 0, 0, &format!("{agent} {}  {name}", self.microphone(agent)));
        }
    }

    /// The audit channel gets a line for everything that was, or may have been, toggled.
    async fn show_audit_channel(&self) -> String {
        let toggles = self.site.wolkvox.all_toggles();
        self.site.discord.until("toggles are posted", |state| state.posts.len() >= toggles).await;
        say(BOLD, "#mute-audit");
        let posts = self.site.discord.state(|state| state.posts.clone());
        for post in &posts[posts.len().saturating_sub(4)..] {
            show(post["content"].as_str().unwrap());
        }
        "posted".to_owned()
    }

    fn show_log(&mut self) {
        let lines = [self.past.clone(), self.bot.log.lines()].concat();
        lines[self.logged..].iter().for_each(|line| print("", 2, DIM, line));
        self.logged = lines.len();
    }
}
