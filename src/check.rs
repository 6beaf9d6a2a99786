//! `wolkvox-bot check`: goes through everything without touching a microphone.

mod discord;
mod wolkvox;

use std::io::{self, ErrorKind, Write};

use crate::config::{Draft, remedy};
use crate::discord::{Rest, RestError};
use crate::journal::{self, Status};
use crate::language::{Language, Localized};
use crate::net::{BaseUrl, Proxy, Tls};
use crate::telemetry::OneLine;
use crate::wolkvox::{Patience, Wolkvox};

/// In English and in Spanish.
type Pair = [&'static str; 2];

const DISCORD: Pair = ["Discord", "Discord"];
const AUDIT_CHANNEL: Pair = ["Audit channel", "Canal de auditoría"];
const WOLKVOX: Pair = ["Wolkvox", "Wolkvox"];
const STATE_FILE: Pair = ["State file", "Archivo de estado"];

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    Ok,
    Warning,
    Failure,
}

/// Prints the findings, one line each.
pub struct Report<'a> {
    out: &'a mut dyn Write,
    colour: bool,
    failed: bool,
    language: Language,
}

impl<'a> Report<'a> {
    /// A report to `out`, in colour or plain.
    pub fn new(out: &'a mut dyn Write, colour: bool) -> Self {
        Self { out, colour, failed: false, language: Language::default() }
    }

    fn pick<T>(&self, english: T, spanish: T) -> T {
        self.language.pick_for_operator(english, spanish)
    }

    fn line(&mut self, mark: Mark, text: &str) -> io::Result<()> {
        self.failed |= mark == Mark::Failure;
        let (colour, mark) = match mark {
            Mark::Ok => (32, "ok"),
            Mark::Warning => (33, self.pick("warn", "aviso")),
            Mark::Failure => (31, self.pick("FAIL", "FALLO")),
        };
        // It may hold names from Discord.
        let text = OneLine(text);
        if self.colour {
            self.print(&format!("\x1b[{colour}m{mark:<5}\x1b[0m {text}"))
        } else {
            self.print(&format!("{mark:<5} {text}"))
        }
    }

    fn print(&mut self, text: &str) -> io::Result<()> {
        match writeln!(self.out, "{text}") {
            // A reader that has seen enough, as `head` has, changes nothing in the verdict.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => written,
        }
    }

    fn say(&mut self, mark: Mark, what: Pair, english: impl AsRef<str>, spanish: impl AsRef<str>) -> io::Result<()> {
        let (what, text) = self.pick((what[0], english.as_ref()), (what[1], spanish.as_ref()));
        self.line(mark, &format!("{what}: {text}"))
    }

    fn ok(&mut self, what: Pair, english: impl AsRef<str>, spanish: impl AsRef<str>) -> io::Result<()> {
        self.say(Mark::Ok, what, english, spanish)
    }

    fn warn(&mut self, what: Pair, english: impl AsRef<str>, spanish: impl AsRef<str>) -> io::Result<()> {
        self.say(Mark::Warning, what, english, spanish)
    }

    fn fail(&mut self, what: Pair, english: impl AsRef<str>, spanish: impl AsRef<str>) -> io::Result<()> {
        self.say(Mark::Failure, what, english, spanish)
    }

    /// An error, and what to do about it, unless that is told by the error itself.
    fn error(&mut self, what: Pair, error: &impl Localized, remedies: &[Pair]) -> io::Result<()> {
        let [mut english, mut spanish] = error.both().map(|error| error + ".");
        for [remedy, remedio] in remedies {
            english = [&english, " ", remedy].concat();
            spanish = [&spanish, " ", remedio].concat();
        }
        self.fail(what, english, spanish)
    }

    /// What is wrong with a variable, with its remedy.
    fn variable(&mut self, mark: Mark, name: &'static str, english: &str, spanish: &str) -> io::Result<()> {
        let [remedy, remedio] = remedy(name);
        self.say(mark, [name; 2], format!("{english}. {remedy}."), format!("{spanish}. {remedio}."))
    }

    fn unchecked(&mut self, what: Pair) -> io::Result<()> {
        self.warn(what, "not checked: fix what is said above first", "sin revisar: corrige primero lo anterior")
    }
}

/// Checks everything and reports it, in the administrator's language; true when the bot would work.
///
/// # Errors
/// When the report can't be written.
pub async fn check(draft: Draft, mut report: Report<'_>) -> io::Result<bool> {
    report.language = draft.language;
    settings(&draft, &mut report)?;
    let tls = match Tls::load() {
        Ok(tls) => tls,
        Err(error) => return report.fail(["TLS"; 2], error.to_string(), error.to_string()).and(Ok(false)),
    };
    let rest = match draft.discord.as_ref().map(|settings| Rest::new(settings, &tls)) {
        Some(Ok(rest)) => Some(rest),
        Some(Err(error)) => report.error(DISCORD, &error, &[]).map(|()| None)?,
        None => report.unchecked(DISCORD).map(|()| None)?,
    };
    let mut reached = true;
    let mut application = None;
    if let Some(rest) = &rest {
        let looked = discord::look(rest, &draft, &mut report).await?;
        reached = !looked.as_ref().is_err_and(RestError::is_outage);
        application = looked.ok();
    }
    match (draft.audit_channel, &rest, &application) {
        (Some(None), _, _) => report.ok(
            AUDIT_CHANNEL,
            "none (AUDIT_CHANNEL_ID is not set)",
            "ninguno (AUDIT_CHANNEL_ID no está definida)",
        )?,
        (Some(Some(channel)), Some(rest), Some(application)) => {
            discord::audit_channel(rest, application, channel, &draft, &mut report).await?;
        }
        _ => report.unchecked(AUDIT_CHANNEL)?,
    }
    match draft.wolkvox.as_ref().map(|settings| (settings.base.host(), Wolkvox::new(settings, &tls))) {
        Some((host, Ok(client))) => {
            wolkvox::report(client.token_info(Patience::OF_A_PERSON).await, &host, reached, &mut report)?
        }
        Some((_, Err(error))) => report.error(WOLKVOX, &error, &[])?,
        None => report.unchecked(WOLKVOX)?,
    }
    state_file(&draft, &mut report)?;
    if let Some(application) = application {
        let to_invite = report.pick("To invite the bot to a server", "Para invitar al bot a un servidor");
        report.print(&format!("\n{to_invite}: {}", application.invite_link()))?;
    }
    Ok(!report.failed)
}

fn settings(draft: &Draft, report: &mut Report<'_>) -> io::Result<()> {
    match draft.clone().finish() {
        Ok(_) => report.ok(["Configuration", "Configuración"], "complete", "completa")?,
        Err(problems) => {
            problems.problems.iter().try_for_each(|problem| report.line(Mark::Failure, problem))?;
            problems.hint.iter().try_for_each(|hint| report.print(hint))?;
        }
    }
    draft.warnings.iter().try_for_each(|warning| report.line(Mark::Warning, warning))?;
    if let Some(discord) = &draft.discord {
        proxy("Discord", &discord.api, discord.proxy.as_ref(), report)?;
    }
    if let Some(wolkvox) = &draft.wolkvox {
        proxy("Wolkvox", &wolkvox.base, wolkvox.proxy.as_ref(), report)?;
    }
    Ok(())
}

/// Whether a service is reached through the proxy, where there is one.
fn proxy(service: &str, base: &BaseUrl, proxy: Option<&Proxy>, report: &mut Report<'_>) -> io::Result<()> {
    let (english, spanish) = match proxy {
        None => return Ok(()),
        Some(proxy) if proxy.serves(base) => (format!("through {proxy}"), format!("a través de {proxy}")),
        Some(_) => (
            "directly, because of NO_PROXY or an http address".to_owned(),
            "directamente, por NO_PROXY o porque su dirección es http".to_owned(),
        ),
    };
    let english = format!("{service} is reached {english}");
    report.ok(["Proxy"; 2], english, format!("el bot llega a {service} {spanish}"))
}

/// The file that outlives the process. It is not made if it is not there yet.
fn state_file(draft: &Draft, report: &mut Report<'_>) -> io::Result<()> {
    let path = match &draft.state_file {
        None => return report.unchecked(STATE_FILE),
        Some(None) => {
            return report.ok(
                STATE_FILE,
                "off (STATE_FILE): if the bot is killed, nobody is told the outcome of the commands in progress",
                "off (STATE_FILE): si el bot se cae, nadie se entera del resultado de los comandos en curso",
            );
        }
        Some(Some(path)) => path,
    };
    let shown = path.display();
    match journal::inspect(path) {
        Ok(Status::Free { unfinished }) => report.ok(
            STATE_FILE,
            format!("{shown} can be written; unfinished commands: {unfinished}"),
            format!("se puede escribir {shown}; comandos sin terminar: {unfinished}"),
        ),
        Ok(Status::InUse) => report.ok(
            STATE_FILE,
            format!("{shown} is in use by another process, such as a running bot"),
            format!("otro proceso usa {shown}, por ejemplo un bot en marcha"),
        ),
        Err(error) => report.error(["State file: STATE_FILE", "Archivo de estado: STATE_FILE"], &error, &[]),
    }
}
