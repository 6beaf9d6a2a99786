//! `wolkvox-bot check`: goes through everything without touching a microphone.

use std::io::{self, Write};

use crate::config::Draft;
use crate::discord::{Application, Guild, Rest, RestError};
use crate::net::{self, Tls};
use crate::outcome::Refusal;
use crate::telemetry::OneLine;
use crate::wolkvox::{InformationError, TokenInfo, Wolkvox};

/// Prints the findings, one line each.
pub struct Report<'a> {
    out: &'a mut dyn Write,
    colour: bool,
    failed: bool,
}

impl<'a> Report<'a> {
    /// A report to `out`, in colour or plain.
    pub fn new(out: &'a mut dyn Write, colour: bool) -> Self {
        Self { out, colour, failed: false }
    }

    fn line(&mut self, colour: u8, mark: &str, text: &str) -> io::Result<()> {
        // It may hold names from Discord.
        let text = OneLine(text);
        if self.colour {
            writeln!(self.out, "\x1b[{colour}m{mark:<5}\x1b[0m {text}")
        } else {
            writeln!(self.out, "{mark:<5} {text}")
        }
    }

    fn ok(&mut self, text: &str) -> io::Result<()> {
        self.line(32, "ok", text)
    }

    fn warn(&mut self, text: &str) -> io::Result<()> {
        self.line(33, "warn", text)
    }

    fn fail(&mut self, text: &str) -> io::Result<()> {
        self.failed = true;
        self.line(31, "FAIL", text)
    }
}

/// Checks everything and reports it; true when the bot would work.
///
/// # Errors
/// When the report can't be written.
pub async fn check(draft: Draft, mut report: Report<'_>) -> io::Result<bool> {
    match draft.clone().finish() {
        Ok(_) => report.ok("Configuration: complete")?,
        Err(problems) => {
            for problem in &problems.problems {
                report.fail(&format!("{}: {}. {}.", problem.variable, problem.problem, problem.remedy))?;
            }
        }
    }
    let tls = match Tls::load() {
        Ok(tls) => tls,
        Err(error) => {
            report.fail(&format!("TLS: it can't be set up: {error}"))?;
            return Ok(false);
        }
    };
    let mut invite = None;
    match draft.discord.as_ref().map(|settings| Rest::new(settings, &tls)) {
        Some(Ok(rest)) => invite = discord(&rest, &draft, &mut report).await?,
        Some(Err(error)) => report.fail(&format!("Discord: {}", net::error_chain(&error)))?,
        None => report.fail("Discord: not checked; mend DISCORD_TOKEN or DISCORD_API_URL first, as said above")?,
    }
    match draft.wolkvox.as_ref().map(|settings| Wolkvox::new(settings, &tls)) {
        Some(Ok(client)) => wolkvox(client.token_info().await, &mut report)?,
        Some(Err(error)) => report.fail(&format!("Wolkvox: {}", net::error_chain(&error)))?,
        None => report.fail("Wolkvox: not checked; mend the WOLKVOX_ variables first, as said above")?,
    }
    if let Some(invite) = invite {
        writeln!(report.out, "\nTo invite the bot to a server: {invite}")?;
    }
    Ok(!report.failed)
}

/// Everything at Discord; gives the invite link.
async fn discord(rest: &Rest, draft: &Draft, report: &mut Report<'_>) -> io::Result<Option<String>> {
    let application = match rest.application().await {
        Ok(application) => application,
        Err(error) if error.status() == Some(401) => {
            report.fail(
                "Discord token: Discord does not accept it. Copy it again into DISCORD_TOKEN from \
                 https://discord.com/developers/applications, your application, \"Bot\", \"Reset Token\".",
            )?;
            return Ok(None);
        }
        Err(RestError::NoAnswer(error)) if error.names_its_remedy() => {
            report.fail(&format!("Discord: {error}."))?;
            return Ok(None);
        }
        Err(error) => {
            report.fail(&format!(
                "Discord: {error}. Check this machine's connection to the internet, and DISCORD_API_URL if it is set."
            ))?;
            return Ok(None);
        }
    };
    report.ok(&format!("Discord token: the bot is {}", application.name))?;
    match draft.guild {
        None => report.fail("Server: not checked; mend DISCORD_GUILD_ID first, as said above")?,
        Some(guild_id) => match rest.guild(guild_id).await {
            Ok(guild) => {
                report.ok(&format!("Server: {}", guild.name))?;
                roles(&guild, draft, report)?;
                let registered = rest.is_registered(application.id, guild_id).await;
                command(registered, &application, report)?;
            }
            Err(error) if is_absent(&error) => report.fail(&format!(
                "Server: the bot is not in the server that DISCORD_GUILD_ID names. Check the id, and open this link \
                 to invite the bot: {}",
                application.invite_link()
            ))?,
            Err(error) => report.fail(&format!("Server: {error}. Try again in a moment."))?,
        },
    }
    if let Some(Some(channel)) = draft.audit_channel {
        match rest.channel(channel).await {
            Ok(name) => report.ok(&format!("Audit channel: #{name}"))?,
            Err(error) if is_absent(&error) => report.fail(
                "Audit channel: the bot can't see it. Check AUDIT_CHANNEL_ID, and let the bot view the channel and \
                 send messages in it.",
            )?,
            Err(error) => report.fail(&format!("Audit channel: {error}. Try again in a moment."))?,
        }
    }
    Ok(Some(application.invite_link()))
}

fn is_absent(error: &RestError) -> bool {
    matches!(error.status(), Some(403 | 404))
}

fn roles(guild: &Guild, draft: &Draft, report: &mut Report<'_>) -> io::Result<()> {
    let Some(allowlist) = &draft.allowlist else { return Ok(()) };
    let name = |id| guild.roles.iter().find(|role| role.id == id).map(|role| &role.name);
    let none = allowlist.roles().iter().all(|role| name(*role).is_none());
    for role in allowlist.roles() {
        match name(*role) {
            Some(name) => report.ok(&format!("Role: {name}"))?,
            None => {
                let text = format!(
                    "Role: the server has no role {role}. Check ALLOWED_ROLE_IDS (right-click a role in the \
                     server's settings, \"Copy Role ID\")."
                );
                if none { report.fail(&text)? } else { report.warn(&text)? }
            }
        }
    }
    Ok(())
}

fn command(registered: Result<bool, RestError>, application: &Application, report: &mut Report<'_>) -> io::Result<()> {
    match registered {
        Ok(true) => report.ok("Command: /mute is registered"),
        Ok(false) => report.warn("Command: /mute is not registered yet; starting the bot does it"),
        Err(error) if is_absent(&error) => report.fail(&format!(
            "Command: the bot may not add commands to the server that DISCORD_GUILD_ID names. Open this link to \
             invite it again: {}",
            application.invite_link()
        )),
        Err(error) => report.fail(&format!("Command: {error}. Try again in a moment.")),
    }
}

fn wolkvox(info: Result<TokenInfo, InformationError>, report: &mut Report<'_>) -> io::Result<()> {
    match &info {
        Err(InformationError::NoAnswer(error)) if error.names_its_remedy() => {
            return report.fail(&format!("Wolkvox: {error}."));
        }
        Err(error @ InformationError::NoAnswer(_)) => {
            return report.fail(&format!(
                "Wolkvox: {error}. Check WOLKVOX_SERVER (0042 for https://wv0042.wolkvox.com), WOLKVOX_API_URL if it \
                 is set, and this machine's connection to the internet."
            ));
        }
        Err(InformationError::Unreadable(status)) => {
            return report.fail(&format!(
                "Wolkvox: its answer (HTTP {status}) can't be read. Check WOLKVOX_SERVER (0042 for \
                 https://wv0042.wolkvox.com) and WOLKVOX_API_URL if it is set."
            ));
        }
        Ok(_) | Err(InformationError::Refused(_)) => report.ok("Wolkvox: reachable")?,
    }
    let rejected = match info {
        Ok(info) => return report.ok(&format!("Wolkvox token: valid{}", quota(info))),
        Err(InformationError::Refused(rejected)) => rejected,
        Err(_) => return Ok(()),
    };
    match rejected.reason {
        Refusal::TokenWrong | Refusal::TokenMissing => report.fail(
            "Wolkvox token: it is wrong, expired or deleted. Make a new one in Wolkvox Manager (\"Configuration\", \
             \"Integrations\", \"Tokens\") and put it into WOLKVOX_TOKEN.",
        ),
        Refusal::DailyLimit => report.fail(
            "Wolkvox token: WOLKVOX_TOKEN is accepted, but the operation's calls for today are spent. Wait until \
             tomorrow, or ask Wolkvox for more.",
        ),
        Refusal::TokenBusy => report.warn(
            "Wolkvox token: WOLKVOX_TOKEN is in use by other calls just now, so its quota can't be told. Give the bot \
             a token of its own.",
        ),
        Refusal::Maintenance => report.fail(
            "Wolkvox token: the server refuses (403), perhaps for maintenance. Try again in some minutes; if it stays \
             like this, make a new WOLKVOX_TOKEN.",
        ),
        Refusal::Other => report.warn(&format!(
            "Wolkvox token: the server does not tell its quota (code {}), so WOLKVOX_TOKEN could not be checked.",
            rejected.code
        )),
    }
}

fn quota(info: TokenInfo) -> String {
    let left = info.left_today.or_else(|| info.limit?.checked_sub(info.used_today?));
    match (left, info.limit) {
        (Some(left), Some(limit)) => format!(", {left} of {limit} calls left today"),
        (Some(left), None) => format!(", {left} calls left today"),
        (None, _) => String::new(),
    }
}
