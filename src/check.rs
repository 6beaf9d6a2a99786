//! `wolkvox-bot check`: goes through everything without touching a microphone.

mod wolkvox;

use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serenity::model::id::ChannelId;

use crate::config::Draft;
use crate::discord::permissions::{Sending, sending_in};
use crate::discord::{Application, Guild, Rest, RestError};
use crate::language::Language;
use crate::language::Localized as _;
use crate::net::{self, BaseUrl, ClientError, Proxy, Tls, error_chain};
use crate::journal::{self, Status};
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
            let application = discord(rest, &draft, &mut report).await?;
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
            audit_channel(rest, application, channel, &draft, &mut report).await?;
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
            report.fail(format!("State file: STATE_FILE: {error}."), format!("Archivo de estado: STATE_FILE: {spanish}."))
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

/// The bot, its server and its command at Discord; gives who it is, or the error that was reported.
async fn discord(rest: &Rest, draft: &Draft, report: &mut Report<'_>) -> io::Result<Result<Application, RestError>> {
    let application = match rest.application().await {
        Ok(application) => application,
        Err(error) if error.status() == Some(401) => {
            report.fail(
                "Discord token: Discord does not accept it. Copy it again into DISCORD_TOKEN from \
                 https://discord.com/developers/applications, your application, \"Bot\", \"Reset Token\".",
                "Token de Discord: Discord no lo acepta. Cópialo de nuevo en DISCORD_TOKEN desde \
                 https://discord.com/developers/applications, tu aplicación, \"Bot\", \"Reset Token\".",
            )?;
            return Ok(Err(error));
        }
        Err(error) => {
            unreached("Discord", &error, report)?;
            return Ok(Err(error));
        }
    };
    report.ok(
        format!("Discord token: the bot is {}", application.name),
        format!("Token de Discord: el bot es {}", application.name),
    )?;
    if application.sends_commands_elsewhere() {
        report.fail(
            "Application: its commands are sent to another address, and not to this bot. Open \
             https://discord.com/developers/applications, your application, \"General Information\", and empty \
             \"Interactions Endpoint URL\".",
            "Aplicación: sus comandos se envían a otra dirección y no a este bot. Abre \
             https://discord.com/developers/applications, tu aplicación, \"General Information\", y vacía \
             \"Interactions Endpoint URL\".",
        )?;
    }
    gateway(rest, report).await?;
    match draft.guild {
        None => report.warn(
            "Discord server: not checked; mend DISCORD_GUILD_ID first, as said above",
            "Servidor de Discord: sin revisar; corrige antes DISCORD_GUILD_ID, como se dijo arriba",
        )?,
        Some(guild_id) => match rest.guild(guild_id).await {
            Ok(guild) => {
                let name = &guild.name;
                report.ok(format!("Discord server: {name}"), format!("Servidor de Discord: {name}"))?;
                roles(&guild, draft, report)?;
                let registered = rest.is_registered(application.id, guild_id).await;
                command(registered, &application, report)?;
            }
            Err(error) if is_absent(&error) => {
                let invite = application.invite_link();
                report.fail(
                    format!(
                        "Discord server: the bot is not in the one that DISCORD_GUILD_ID names. Check the id, and open \
                         this link to invite the bot: {invite}"
                    ),
                    format!(
                        "Servidor de Discord: el bot no está en el que nombra DISCORD_GUILD_ID. Revisa el ID y abre \
                         este enlace para invitar al bot: {invite}"
                    ),
                )?;
            }
            Err(error) => failed_request("Discord server", "Servidor de Discord", &error, report)?,
        },
    }
    Ok(Ok(application))
}

/// The connection that commands come in through: a host of its own, which a proxy may refuse, and a websocket, which
/// not all let through. No session is begun, so none of a day's is spent.
async fn gateway(rest: &Rest, report: &mut Report<'_>) -> io::Result<()> {
    let gateway = rest.gateway().await.and_then(|info| Ok((info.address()?, info)));
    let (url, info) = match gateway {
        Ok(gateway) => gateway,
        Err(error) => return failed_request("Gateway", "Gateway", &error, report),
    };
    let minutes = info.wait_before_identify().map(|wait| wait.as_secs() / 60).filter(|minutes| *minutes > 0);
    if let Some(minutes) = minutes {
        let left = info.session_start_limit.remaining;
        report.fail(
            format!(
                "Gateway: {left} of the connections that Discord allows in a day are left, so a bot that is started now \
                 waits {minutes} minutes before it connects. Look in its log for what ends it again and again."
            ),
            format!(
                "Gateway: quedan {left} de las conexiones que Discord permite al día, así que un bot que se inicie ahora \
                 espera {minutes} minutos antes de conectarse. Mira en su registro qué lo termina una y otra vez."
            ),
        )?;
    }
    let host = net::host(&url);
    match rest.open_websocket(url).await {
        Ok(_) => report.ok(format!("Gateway: {host} can be reached"), format!("Gateway: se puede acceder a {host}")),
        Err(error @ RestError::NotDiscord(_)) => report.fail(
            format!("Gateway: {error}. Ask whoever runs it to let websockets through to {host}."),
            format!("Gateway: {}. Pide a quien lo administra que deje pasar websockets a {host}.", error.spanish()),
        ),
        Err(error) => unreached("Gateway", &error, report),
    }
}

fn unreached(what: &str, error: &RestError, report: &mut Report<'_>) -> io::Result<()> {
    match error {
        RestError::NoAnswer(error) if error.names_its_remedy() => {
            report.fail(format!("{what}: {error}."), format!("{what}: {}.", error.spanish()))
        }
        error if error.is_discords_own() => report.fail(
            format!(
                "{what}: {error}. It is down, or gets too many requests from here: try again later, and see \
                 https://discordstatus.com."
            ),
            format!(
                "{what}: {}. Está caído o recibe demasiadas peticiones desde aquí: inténtalo más tarde y mira \
                 https://discordstatus.com.",
                error.spanish()
            ),
        ),
        error => report.fail(
            format!(
                "{what}: {error}. Check this machine's connection to the internet, and DISCORD_API_URL and HTTPS_PROXY \
                 if they are set."
            ),
            format!(
                "{what}: {}. Revisa la conexión de esta máquina a internet, y DISCORD_API_URL y HTTPS_PROXY si están \
                 definidas.",
                error.spanish()
            ),
        ),
    }
}

fn is_absent(error: &RestError) -> bool {
    matches!(error.status(), Some(403 | 404))
}

fn failed_request(english: &str, spanish: &str, error: &RestError, report: &mut Report<'_>) -> io::Result<()> {
    report.fail(
        format!("{english}: {error}. Try again in a moment."),
        format!("{spanish}: {}. Inténtalo de nuevo en un momento.", error.spanish()),
    )
}

fn roles(guild: &Guild, draft: &Draft, report: &mut Report<'_>) -> io::Result<()> {
    let Some(allowlist) = &draft.allowlist else { return Ok(()) };
    let name = |id| guild.roles.iter().find(|role| role.id == id).map(|role| &role.name);
    let none = allowlist.roles().iter().all(|role| name(*role).is_none());
    for role in allowlist.roles() {
        match name(*role) {
            Some(name) => report.ok(format!("Role: {name}"), format!("Rol: {name}"))?,
            None => {
                let english = format!(
                    "Role: the server has no role {role}. Check ALLOWED_ROLE_IDS (right-click a role in the server's \
                     settings, \"Copy Role ID\")."
                );
                let spanish = format!(
                    "Rol: el servidor no tiene el rol {role}. Revisa ALLOWED_ROLE_IDS (clic derecho en un rol en los \
                     ajustes del servidor, \"Copiar ID del rol\")."
                );
                if none { report.fail(english, spanish)? } else { report.warn(english, spanish)? }
            }
        }
    }
    Ok(())
}

fn command(registered: Result<bool, RestError>, application: &Application, report: &mut Report<'_>) -> io::Result<()> {
    match registered {
        Ok(true) => report.ok("Command: /mute is registered", "Comando: /mute está registrado"),
        Ok(false) => report.warn(
            "Command: /mute is not registered yet; starting the bot does it",
            "Comando: /mute aún no está registrado; se registra al iniciar el bot",
        ),
        Err(error) if is_absent(&error) => {
            let invite = application.invite_link();
            report.fail(
                format!(
                    "Command: the bot may not add commands to the server that DISCORD_GUILD_ID names. Open this link \
                     to invite it again: {invite}"
                ),
                format!(
                    "Comando: el bot no puede agregar comandos en el servidor que nombra DISCORD_GUILD_ID. Abre este \
                     enlace para invitarlo de nuevo: {invite}"
                ),
            )
        }
        Err(error) => failed_request("Command", "Comando", &error, report),
    }
}

async fn audit_channel(
    rest: &Rest,
    application: &Application,
    id: ChannelId,
    draft: &Draft,
    report: &mut Report<'_>,
) -> io::Result<()> {
    let channel = match rest.channel(id).await {
        Ok(channel) => channel,
        Err(error) if is_absent(&error) => {
            return report.fail(
                "Audit channel: the bot can't see it. Check AUDIT_CHANNEL_ID, and let the bot view the channel and \
                 send messages in it.",
                "Canal de auditoría: el bot no puede verlo. Revisa AUDIT_CHANNEL_ID, y permite que el bot vea el \
                 canal y envíe mensajes en él.",
            );
        }
        Err(error) => return failed_request("Audit channel", "Canal de auditoría", &error, report),
    };
    let name = &channel.name;
    match sending_in(rest, &channel, application.bot()).await {
        Ok(Sending::Allowed) if draft.guild.is_some() && draft.guild != channel.guild_id => report.warn(
            format!("Audit channel: #{name} is in another server than DISCORD_GUILD_ID names. Check AUDIT_CHANNEL_ID."),
            format!(
                "Canal de auditoría: #{name} está en un servidor distinto del que nombra DISCORD_GUILD_ID. Revisa \
                 AUDIT_CHANNEL_ID."
            ),
        ),
        Ok(Sending::Allowed) => report.ok(format!("Audit channel: #{name}"), format!("Canal de auditoría: #{name}")),
        Ok(Sending::Denied) => report.fail(
            format!(
                "Audit channel: the bot can see #{name} (AUDIT_CHANNEL_ID), but may not send messages in it. In \
                 Discord, open \"Edit Channel\", \"Permissions\", add the bot, and allow it \"View Channel\" and \
                 \"Send Messages\"."
            ),
            format!(
                "Canal de auditoría: el bot puede ver #{name} (AUDIT_CHANNEL_ID), pero no enviar mensajes en él. En \
                 Discord, abre \"Editar canal\", \"Permisos\", agrega el bot y permítele \"Ver canal\" y \"Enviar \
                 mensajes\"."
            ),
        ),
        Ok(Sending::Impossible) => report.fail(
            format!("Audit channel: {name} is not a channel for messages. Check AUDIT_CHANNEL_ID."),
            format!("Canal de auditoría: {name} no es un canal para mensajes. Revisa AUDIT_CHANNEL_ID."),
        ),
        Err(error) => failed_request("Audit channel", "Canal de auditoría", &error, report),
    }
}
