//! `wolkvox-bot check`: goes through everything without touching a microphone.

mod discord;
mod wolkvox;

use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::config::Draft;
use crate::discord::{Rest, RestError};
use crate::journal::{self, Status};
use crate::language::Language;
use crate::language::Localized as _;
use crate::net::{BaseUrl, ClientError, Proxy, Tls, error_chain};
use crate::telemetry::OneLine;
use crate::wolkvox::Wolkvox;

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

    fn line(&mut self, colour: u8, mark: &str, text: &str) -> io::Result<()> {
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

    fn ok(&mut self, english: impl AsRef<str>, spanish: impl AsRef<str>) -> io::Result<()> {
        self.line(32, "ok", self.pick(english.as_ref(), spanish.as_ref()))
    }

    fn warn(&mut self, english: impl AsRef<str>, spanish: impl AsRef<str>) -> io::Result<()> {
        self.line(33, self.pick("warn", "aviso"), self.pick(english.as_ref(), spanish.as_ref()))
    }

    fn fail(&mut self, english: impl AsRef<str>, spanish: impl AsRef<str>) -> io::Result<()> {
        self.failed = true;
        self.line(31, self.pick("FAIL", "FALLO"), self.pick(english.as_ref(), spanish.as_ref()))
    }
}

/// Checks everything and reports it, in the language of whoever runs the bot; true when the bot would work.
///
/// # Errors
/// When the report can't be written.
pub async fn check(draft: Draft, mut report: Report<'_>) -> io::Result<bool> {
    report.language = draft.language;
    match draft.clone().finish() {
        Ok(_) => {
            let (english, spanish) = match &draft.overridden[..] {
                [] => (String::new(), String::new()),
                names => (
                    format!("; from the environment, which wins over .env: {}", names.join(", ")),
                    format!("; del entorno, que prevalece sobre .env: {}", names.join(", ")),
                ),
            };
            report.ok(format!("Configuration: complete{english}"), format!("Configuración: completa{spanish}"))?;
        }
        Err(problems) => {
            for problem in problems.problems.iter().map(ToString::to_string) {
                report.fail(&problem, &problem)?;
            }
        }
    }
    for warning in draft.warnings.iter().map(ToString::to_string) {
        report.warn(&warning, &warning)?;
    }
    env_file(draft.env_file.as_deref(), &mut report)?;
    if draft.discord.is_none() && draft.wolkvox.is_none() {
        report.warn(
            "Discord, the audit channel and Wolkvox: not checked; mend the settings first, as said above",
            "Discord, el canal de auditoría y Wolkvox: sin revisar; corrige antes la configuración, como se dijo \
             arriba",
        )?;
        return Ok(false);
    }
    let at_discord = draft.discord.as_ref().map(|settings| (&settings.api, &settings.proxy));
    proxy("Discord", at_discord, &mut report)?;
    let at_wolkvox = draft.wolkvox.as_ref().map(|settings| (&settings.base, &settings.proxy));
    proxy("Wolkvox", at_wolkvox, &mut report)?;
    let tls = match Tls::load() {
        Ok(tls) => tls,
        Err(error) => {
            report.fail(format!("TLS: it can't be set up: {error}"), format!("TLS: no se puede preparar: {error}"))?;
            return Ok(false);
        }
    };
    let rest = draft.discord.as_ref().map(|settings| Rest::new(settings, &tls));
    let mut reached = true;
    let application = match &rest {
        Some(Ok(rest)) => {
            let application = discord::look(rest, &draft, &mut report).await?;
            reached = !application.as_ref().is_err_and(RestError::is_outage);
            application.ok()
        }
        Some(Err(error)) => {
            client_error("Discord", error, &mut report)?;
            None
        }
        None => {
            report.warn(
                "Discord: not checked; mend DISCORD_TOKEN or DISCORD_API_URL first, as said above",
                "Discord: sin revisar; corrige antes DISCORD_TOKEN o DISCORD_API_URL, como se dijo arriba",
            )?;
            None
        }
    };
    match (draft.audit_channel, &rest, &application) {
        (Some(None), _, _) => report.ok(
            "Audit channel: none (AUDIT_CHANNEL_ID is not set)",
            "Canal de auditoría: ninguno (AUDIT_CHANNEL_ID no está definida)",
        )?,
        (Some(Some(channel)), Some(Ok(rest)), Some(application)) => {
            discord::audit_channel(rest, application, channel, &draft, &mut report).await?;
        }
        _ => report.warn(
            "Audit channel: not checked; mend what failed first, as said above",
            "Canal de auditoría: sin revisar; corrige antes lo que falló, como se dijo arriba",
        )?,
    }
    let host = draft.wolkvox.as_ref().map(|settings| settings.base.host()).unwrap_or_default();
    match draft.wolkvox.as_ref().map(|settings| Wolkvox::new(settings, &tls)) {
        Some(Ok(client)) => wolkvox::report(client.token_info().await, &host, reached, &mut report)?,
        Some(Err(error)) => {
            report.fail(format!("Wolkvox: {}.", error_chain(&error)), format!("Wolkvox: {}.", error.spanish()))?
        }
        None => report.warn(
            "Wolkvox: not checked; mend the WOLKVOX_ variables first, as said above",
            "Wolkvox: sin revisar; corrige antes las variables WOLKVOX_, como se dijo arriba",
        )?,
    }
    state_file(draft.state_file.as_deref(), &mut report)?;
    if let Some(application) = application {
        let to_invite = report.pick("To invite the bot to a server", "Para invitar al bot a un servidor");
        report.print(&format!("\n{to_invite}: {}", application.invite_link()))?;
    }
    Ok(!report.failed)
}

/// Warns where others may read the tokens.
fn env_file(path: Option<&Path>, report: &mut Report<'_>) -> io::Result<()> {
    let mode = path.and_then(|path| path.metadata().ok()).map_or(0, |file| file.permissions().mode());
    if mode & 0o077 == 0 {
        return Ok(());
    }
    report.warn(
        ".env: other users of this machine may read or change it, and the tokens in it. Close it to them: chmod 600 .env",
        ".env: otros usuarios de esta máquina pueden leerlo o cambiarlo, y en él están los tokens. Ciérralo para ellos: \
         chmod 600 .env",
    )
}

/// The file that outlives the process. It is not made if it is not there yet.
fn state_file(path: Option<&Path>, report: &mut Report<'_>) -> io::Result<()> {
    let Some(path) = path else {
        return report.ok(
            "State file: off (STATE_FILE), so what was promised is lost if the bot is killed",
            "Archivo de estado: off (STATE_FILE), así que lo prometido se pierde si el bot se cae",
        );
    };
    let shown = path.display();
    match journal::inspect(path) {
        Ok(Status::Free { unfinished }) => report.ok(
            format!("State file: {shown} can be written; unfinished commands: {unfinished}"),
            format!("Archivo de estado: se puede escribir {shown}; comandos sin terminar: {unfinished}"),
        ),
        Ok(Status::InUse) => report.ok(
            format!("State file: {shown} is in use by another process, as by a bot that runs"),
            format!("Archivo de estado: otro proceso está usando {shown}, como un bot en marcha"),
        ),
        Err(error) => {
            let spanish = error.spanish();
            report
                .fail(format!("State file: STATE_FILE: {error}."), format!("Archivo de estado: STATE_FILE: {spanish}."))
        }
    }
}

fn client_error(service: &str, error: &ClientError, report: &mut Report<'_>) -> io::Result<()> {
    report.fail(format!("{service}: {}.", error_chain(error)), format!("{service}: {}.", error.spanish()))
}

/// Whether a service is reached through the proxy, where there is one.
fn proxy(service: &str, at: Option<(&BaseUrl, &Option<Proxy>)>, report: &mut Report<'_>) -> io::Result<()> {
    let Some((base, Some(proxy))) = at else { return Ok(()) };
    if proxy.serves(base) {
        report.ok(
            format!("Proxy: {service} is reached through {proxy}"),
            format!("Proxy: se llega a {service} por {proxy}"),
        )
    } else {
        report.ok(
            format!("Proxy: {service} is reached directly, because of NO_PROXY or an http address"),
            format!("Proxy: se llega a {service} directamente, por NO_PROXY o una dirección http"),
        )
    }
}
