//! What is checked at Discord: the token, the gateway, the server, its roles and its command, the audit channel.

use std::io;

use serenity::model::id::{ChannelId, GuildId, RoleId};

use super::Report;
use crate::config::Draft;
use crate::discord::permissions::{Sending, sending_in};
use crate::discord::{Application, Guild, Rest, RestError, Role};
use crate::language::Localized as _;
use crate::net;

/// The bot, its server and its command at Discord; gives who it is, or the error that was reported.
pub(super) async fn look(
    rest: &Rest,
    draft: &Draft,
    report: &mut Report<'_>,
) -> io::Result<Result<Application, RestError>> {
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
    if application.bot_public {
        report.warn(
            "Application: anybody may invite this bot to a server of theirs, where it is of no use. Open \
             https://discord.com/developers/applications, your application, set \"Install Link\" under \"Installation\" \
             to \"None\", and switch \"Public Bot\" under \"Bot\" off.",
            "Aplicación: cualquiera puede invitar este bot a un servidor suyo, donde no sirve de nada. Abre \
             https://discord.com/developers/applications, tu aplicación, pon \"Install Link\" en \"None\" bajo \
             \"Installation\", y desactiva \"Public Bot\" bajo \"Bot\".",
        )?;
    }
    gateway(rest, report).await?;
    match draft.guild {
        None => report.warn(
            "Discord server: not checked; mend DISCORD_GUILD_ID first, as said above",
            "Servidor de Discord: sin revisar; corrige antes DISCORD_GUILD_ID, como se dijo arriba",
        )?,
        Some(guild_id) => server(rest, &application, guild_id, draft, report).await?,
    }
    Ok(Ok(application))
}

/// The server, its roles and its command.
async fn server(
    rest: &Rest,
    application: &Application,
    guild_id: GuildId,
    draft: &Draft,
    report: &mut Report<'_>,
) -> io::Result<()> {
    let registered = rest.is_registered(application.id, guild_id).await;
    match rest.guild(guild_id).await {
        Ok(guild) => {
            let name = &guild.name;
            report.ok(format!("Discord server: {name}"), format!("Servidor de Discord: {name}"))?;
            roles(&guild, draft, report)?;
        }
        // Discord has said so of servers that the bot was in.
        Err(error) if is_absent(&error) && registered.is_ok() => report.warn(
            format!(
                "Discord server: Discord does not tell its name and roles ({error}), so ALLOWED_ROLE_IDS was not \
                 checked. The bot may work all the same."
            ),
            format!(
                "Servidor de Discord: Discord no informa su nombre ni sus roles ({}), así que no se revisó \
                 ALLOWED_ROLE_IDS. El bot puede funcionar de todos modos.",
                error.spanish()
            ),
        )?,
        Err(error) if is_absent(&error) => {
            let invite = application.invite_link();
            return report.fail(
                format!(
                    "Discord server: the bot is not in the one that DISCORD_GUILD_ID names. Check the id, and open \
                     this link to invite the bot: {invite}"
                ),
                format!(
                    "Servidor de Discord: el bot no está en el que nombra DISCORD_GUILD_ID. Revisa el ID y abre \
                     este enlace para invitar al bot: {invite}"
                ),
            );
        }
        Err(error) => failed_request("Discord server", "Servidor de Discord", &error, report)?,
    }
    command(registered, application, report)?;
    global_command(rest, application, report).await
}

/// A command of the same name from an earlier project, which people see beside the server's own.
async fn global_command(rest: &Rest, application: &Application, report: &mut Report<'_>) -> io::Result<()> {
    match rest.global_command(application.id).await {
        Ok(None) => Ok(()),
        Ok(Some(command)) => {
            let deletion = application.deletion_of(command);
            report.warn(
                format!(
                    "Command: people see two commands /mute, since the application has one for all servers too, from an \
                     earlier project. To delete that one: {deletion}"
                ),
                format!(
                    "Comando: se ven dos comandos /mute, porque la aplicación tiene además uno para todos los servidores, \
                     de un proyecto anterior. Para borrar ese: {deletion}"
                ),
            )
        }
        Err(error) => failed_request("Command", "Comando", &error, report),
    }
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
        error if error.names_its_remedy() => {
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

/// Whether Discord lets the bot see nothing there, and would say so tomorrow too.
fn is_absent(error: &RestError) -> bool {
    matches!(error.status(), Some(403 | 404)) && error.transient().is_none()
}

fn failed_request(english: &str, spanish: &str, error: &RestError, report: &mut Report<'_>) -> io::Result<()> {
    if error.names_its_remedy() {
        return report.fail(format!("{english}: {error}."), format!("{spanish}: {}.", error.spanish()));
    }
    report.fail(
        format!("{english}: {error}. Try again in a moment."),
        format!("{spanish}: {}. Inténtalo de nuevo en un momento.", error.spanish()),
    )
}

fn roles(guild: &Guild, draft: &Draft, report: &mut Report<'_>) -> io::Result<()> {
    let Some(allowlist) = &draft.allowlist else { return Ok(()) };
    let find = |id: &RoleId| guild.roles.iter().find(|role| role.id == *id);
    let none = allowlist.roles().iter().all(|role| find(role).is_none());
    for role in allowlist.roles() {
        match find(role) {
            Some(Role { name, managed: true, .. }) => report.warn(
                format!(
                    "Role: {name} belongs to a bot or to another service, so nobody can be given it. Name another role in \
                     ALLOWED_ROLE_IDS."
                ),
                format!(
                    "Rol: {name} pertenece a un bot o a otro servicio, así que no se le puede dar a nadie. Nombra otro rol \
                     en ALLOWED_ROLE_IDS."
                ),
            )?,
            Some(Role { name, .. }) => report.ok(format!("Role: {name}"), format!("Rol: {name}"))?,
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

pub(super) async fn audit_channel(
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
