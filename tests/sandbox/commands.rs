//! The sandbox as it stands, and what it does for a line that is typed.

use std::path::Path;

use tokio::process::Command;
use wolkvox_bot::check::{Report, check};
use wolkvox_bot::config::Draft;
use wolkvox_bot::language::Language;

use super::BOT;
use super::screen::{BOLD, DIM, GREEN, RED, Screen, colour, paint, write};
use super::support::bot::{Process, Site, check_secrets};
use super::support::discord::{AUDIT_CHANNEL, Actor, Discord, SUPERVISOR_ROLE, supervisor};
use super::support::wolkvox::{Fate, listing};
use super::words::{AGENTS, COMMANDS, Choice, HELP, MOODS, PEOPLE, first, is_disabled, languages};

pub struct Sandbox {
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
    pub screen: Screen,
}

impl Sandbox {
    /// The person's Discord has the language of the sandbox.
    pub async fn start(screen: Screen) -> Self {
        let site = Site::new().await.with("WOLKVOX_TIMEOUT_SECS", "2");
        let site = site.with("AUDIT_CHANNEL_ID", &AUDIT_CHANNEL.to_string());
        let bot = Self::start_bot(&site).await;
        let spoken =
            languages().into_iter().find(|(.., locale)| Language::from((*locale).to_owned()) == screen.language);
        let person = Actor { locale: spoken.unwrap().2, ..supervisor() };
        Self { site, bot, past: Vec::new(), logged: 0, person, button: None, screen }
    }

    async fn start_bot(site: &Site) -> Process {
        // This program, be it moved or replaced meanwhile.
        let mut command = Command::new("/proc/self/exe");
        // Ctrl+C in the terminal is for the sandbox; the bot ends after it and clears up.
        command.arg(BOT).arg(&*site.folder).process_group(0);
        let mut bot = Process::spawn(command, &site.variables);
        bot.runs(site.discord.until_ready(1)).await;
        bot
    }

    pub async fn finish(mut self) {
        self.site.stop(&mut self.bot).await;
        check_secrets(&self.past.join("\n"));
        assert!(!self.site.folder.exists(), "the bot has left its folder behind");
    }

    pub fn prompt(&self) -> String {
        let place = self.screen.pick([" (direct message)", " (mensaje directo)"]);
        let place = if self.person.guild.is_some() { "" } else { place };
        paint(GREEN, &format!("{}{place}> ", self.person.name))
    }

    /// A line that nobody has typed here.
    pub fn echo(&self, line: &str) {
        write(&format!("{}{line}", self.prompt()));
    }

    /// Does what a line says, and tells the outcome in one word.
    pub async fn obey(&mut self, line: &str) -> String {
        let (command, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match (command.trim_start_matches('/').to_lowercase().as_str(), argument.trim()) {
            ("mute", agent) => return self.mute(agent, false).await,
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
            ("help" | "?", _) => self.help(),
            _ => self.screen.note([
                format!("not understood. What can be typed: {COMMANDS}"),
                format!("eso no se entiende. Puedes escribir: {COMMANDS}"),
            ]),
        }
        String::new()
    }

    fn help(&self) {
        let [before, after] = HELP;
        before.iter().for_each(|(word, what)| self.screen.entry(word, *what));
        for (words, [english, spanish], _) in PEOPLE {
            self.screen
                .entry(&format!("as {}", first(words)), [format!("you are {english}"), format!("eres {spanish}")]);
        }
        let languages = languages().map(|(words, ..)| first(words)).join("|");
        self.screen.entry(
            &format!("lang {languages}"),
            [
                "the language of your own Discord, and of the sandbox",
                "el idioma de tu propio Discord y de este entorno de pruebas",
            ],
        );
        for (word, what, _) in MOODS {
            self.screen.entry(&format!("wolkvox {word}"), what.map(|what| format!("Wolkvox {what}")));
        }
        after.iter().for_each(|(word, what)| self.screen.entry(word, *what));
    }

    /// The bot may be killed as soon as Wolkvox has the request.
    async fn mute(&mut self, typed: &str, kill: bool) -> String {
        let agent = typed.trim_start_matches("agent_id:").trim();
        self.begin_typing(agent).await;
        self.exchange(kill, |discord, person| discord.mute(person, agent)).await
    }

    async fn press(&mut self) -> String {
        let Some(button) = self.button.clone() else {
            self.screen.note([
                "there is no button; to see one: /mute 1001, as bruno, /mute 1001",
                "no hay ningún botón; para ver uno: /mute 1001, as bruno, /mute 1001",
            ]);
            return String::new();
        };
        self.exchange(false, |discord, person| discord.press(person, &button)).await
    }

    /// Without a last word of the bot. Another one starts on the same file.
    async fn kill(&mut self) {
        self.screen.note([
            "the bot is killed, as with kill -9: it can't say or write anything any more",
            "el bot se cae, como con kill -9: ya no puede decir ni escribir nada",
        ]);
        self.bot.signal("KILL");
        self.bot.ended().await;
        self.site.discord.until_gone().await;
        self.screen.note([
            "it is started again, and reads the file that the dead one left (STATE_FILE)",
            "se inicia otra vez y lee el archivo que dejó el anterior (STATE_FILE)",
        ]);
        self.past.extend(self.bot.log.lines());
        self.bot = Self::start_bot(&self.site).await;
    }

    /// One interaction from the first to the last word, as the channel shows it, then the microphone. Gives the outcome
    /// that the bot logged.
    async fn exchange(&mut self, kill: bool, act: impl FnOnce(&Discord, &Actor) -> u64) -> String {
        let (screen, requests, toggles) = (self.screen, self.site.wolkvox.requests(), self.site.wolkvox.all_toggles());
        self.site.wolkvox.next(kill.then_some(Fate::Silent));
        let id = act(&self.site.discord, &self.person);
        self.site.discord.until_acknowledged(id).await;
        if self.site.discord.interaction(id).deferred() {
            screen.say(DIM, screen.pick(["wolkvox-bot is thinking…", "wolkvox-bot está pensando…"]));
        }
        if kill {
            tokio::select! {
                () = self.site.wolkvox.until_requests(requests + 1) => self.kill().await,
                _ = self.site.discord.finished(id) => screen.note([
                    "there was no request, so the bot was not killed",
                    "no hubo ninguna petición, así que el bot sigue vivo",
                ]),
            }
            self.site.wolkvox.state(|state| state.fates.clear());
        }
        self.show_reply(id).await;
        let requests = self.site.wolkvox.state(|state| state.requests[requests..].to_vec());
        let toggled = self.site.wolkvox.all_toggles() - toggles;
        self.tell_what_reached_wolkvox(&requests, toggled);
        let outcome = self.bot.log.outcome_in_text(id).await;
        let [least, most] = [outcome == "done", matches!(outcome.as_str(), "done" | "unknown")].map(usize::from);
        assert!((least..=most).contains(&toggled), "{outcome}, but toggled {toggled} times");
        outcome
    }

    async fn show_reply(&mut self, id: u64) {
        let screen = self.screen;
        let reply = self.site.discord.finished(id).await;
        screen.show(&reply.text().unwrap());
        if let Some(custom_id) = reply.button() {
            let label = &reply.shown.as_ref().unwrap()["components"][0]["components"][0]["label"];
            let button = paint(RED, &format!("[ {} ]", label.as_str().unwrap()));
            screen.say(0, &format!("{button} {}", paint(DIM, "← press")));
            self.button = Some(custom_id);
        }
        if reply.private() {
            screen.say(DIM, screen.pick(["(only you can see this)", "(solo tú puedes ver esto)"]));
        }
    }

    fn tell_what_reached_wolkvox(&self, requests: &[u64], toggled: usize) {
        let screen = self.screen;
        let Some(agent) = requests.last() else {
            let none = ["no request reached Wolkvox", "a Wolkvox no llegó ninguna petición"];
            return screen.print("  ", 0, 0, screen.pick(none));
        };
        let (style, state) = self.microphone(*agent);
        let (state, requests) = (paint(style, state), requests.len());
        screen.print(
            "  ",
            0,
            0,
            &screen.pick([
                format!("microphone {agent}: {state} · requests to Wolkvox: {requests}, toggles: {toggled}"),
                format!(
                    "micrófono {agent}: {state} · peticiones a Wolkvox: {requests}, pulsaciones de MUTE: {toggled}"
                ),
            ]),
        );
        if is_disabled(*agent) {
            screen.note([
                "this agent is disabled in Wolkvox: the bot does not suggest the name, but sends the number. Wolkvox \
                 does not document what it does then; here the agent is treated like the others",
                "este agente está desactivado en Wolkvox: el bot no sugiere su nombre, pero envía su número. Wolkvox no \
                 documenta qué hace entonces; aquí se trata como a los demás",
            ]);
        }
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
        choices.iter().for_each(|choice| self.screen.say(0, choice["name"].as_str().unwrap()));
        if choices.is_empty() {
            self.screen.say(DIM, self.screen.pick(["(nothing to suggest)", "(nada que sugerir)"]));
        }
        if choices.is_empty() { "nothing" } else { "found" }.to_owned()
    }

    async fn check(&self) -> String {
        if self.site.wolkvox.state(|state| matches!(state.token_info_fate, Some(Fate::Silent))) {
            self.screen.note(["check waits 15 s for Wolkvox", "check espera 15 s a Wolkvox"]);
        }
        let mut report = Vec::new();
        let mut draft = Draft::from_sources(|name| self.site.variables.get(name).cloned(), Path::new("/nowhere"));
        draft.language = self.screen.language;
        let most_in_flight = self.site.wolkvox.state(|state| state.most_in_flight);
        let works = check(draft, Report::new(&mut report, colour())).await.unwrap();
        // It may ask at the same time as the bot: Wolkvox allows two at once.
        self.site.wolkvox.state(|state| state.most_in_flight = most_in_flight);
        self.screen.print("", 6, 0, &String::from_utf8(report).unwrap());
        if works { "works" } else { "fails" }.to_owned()
    }

    /// What a word chooses. If it chooses nothing, the choices are listed.
    fn choose<T: Copy>(&self, command: &str, choices: &[Choice<T>], word: &str) -> Option<Choice<T>> {
        let word = word.to_lowercase();
        let chosen = choices.iter().find(|(words, ..)| words.split(' ').any(|known| known == word));
        if chosen.is_none() {
            self.screen.note(["what can be chosen:", "opciones:"]);
            choices
                .iter()
                .for_each(|(words, what, _)| self.screen.entry(&format!("{command} {}", first(words)), *what));
        }
        chosen.copied()
    }

    fn switch_to(&mut self, word: &str) {
        let Some((_, [english, spanish], person)) = self.choose("as", &PEOPLE, word) else { return };
        self.person = Actor { locale: self.person.locale, ..person() };
        self.screen.note([format!("you are {english}"), format!("eres {spanish}")]);
    }

    fn switch_language(&mut self, word: &str) {
        let Some((_, [name, nombre], locale)) = self.choose("lang", &languages(), word) else { return };
        self.person.locale = locale;
        let language = Language::from(locale.to_owned());
        let is_spoken_here = match language {
            Language::English | Language::Spanish => true,
            Language::Portuguese => false,
        };
        if is_spoken_here {
            self.screen.language = language;
        }
        self.screen.note([
            format!(
                "your own Discord is in {name} now: the bot answers you in {name}, whatever your role. Wolkvox's message \
                 stays as it came, and the audit channel has the server's language, which is Spanish here."
            ),
            format!(
                "ahora tu Discord está en {nombre}: el bot te responde en {nombre}, sea cual sea tu rol. El \
                 mensaje de Wolkvox queda como llegó, y el canal de auditoría usa el idioma del servidor, que aquí es el \
                 español."
            ),
        ]);
        if !is_spoken_here {
            self.screen.note([
                "The sandbox itself speaks English and Spanish, and stays with English.",
                "El entorno de pruebas en sí habla inglés y español, y sigue en español.",
            ]);
        }
    }

    fn change_mood(&mut self, word: &str) {
        let Some((mood, [english, spanish], fate)) = self.choose("wolkvox", &MOODS, word) else { return };
        let mut requests = 0;
        let draw = move || {
            requests += 1;
            fate(requests)
        };
        self.site.wolkvox.state(|state| {
            state.chance = Some(Box::new(draw));
            state.token_info_fate = Some(fate(1));
        });
        self.site.wolkvox.go_down();
        if mood != "down" {
            self.site.wolkvox.come_back();
        }
        self.screen.note([format!("from now on Wolkvox {english}"), format!("desde ahora Wolkvox {spanish}")]);
    }

    /// An even number of toggles leaves it open, as it was.
    fn microphone(&self, agent: u64) -> (u8, &'static str) {
        if self.site.wolkvox.toggles(agent).is_multiple_of(2) {
            (GREEN, self.screen.pick(["open", "abierto"]))
        } else {
            (RED, self.screen.pick(["muted", "silenciado"]))
        }
    }

    fn show_microphones(&self) {
        for (agent, name, _) in AGENTS {
            let (style, state) = self.microphone(agent);
            let state = paint(style, &format!("{state:<10}"));
            let disabled = self.screen.pick([" (disabled in Wolkvox)", " (desactivado en Wolkvox)"]);
            let disabled = if is_disabled(agent) { disabled } else { "" };
            self.screen.print("  ", 0, 0, &format!("{agent} {state} {name}{disabled}"));
        }
    }

    /// The audit channel gets a line for everything that was, or may have been, toggled.
    async fn show_audit_channel(&self) -> String {
        let toggles = self.site.wolkvox.all_toggles();
        self.site.discord.until("toggles are posted", |state| state.posts.len() >= toggles).await;
        self.screen.say(BOLD, "#auditoria-mute");
        let posts = self.site.discord.state(|state| state.posts.clone());
        posts.iter().for_each(|post| self.screen.show(post["content"].as_str().unwrap()));
        "posted".to_owned()
    }

    fn show_log(&mut self) {
        let lines = [self.past.clone(), self.bot.log.lines()].concat();
        lines[self.logged..].iter().for_each(|line| self.screen.print("", 2, DIM, line));
        self.logged = lines.len();
    }
}
