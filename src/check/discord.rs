//! What is checked at Discord: the token, the gateway, the server, its roles and its command, the audit channel.

use std::io;

use serenity::model::id::{ChannelId, GuildId, RoleId};

use super::{AUDIT_CHANNEL, DISCORD, Mark, Pair, Report};
use crate::app::what_to_look_at;
use crate::config::Draft;
use crate::discord::permissions::{Sending, sending_in};
use crate::discord::{Application, Guild, Rest, RestError};
use crate::language::Localized as _;
use crate::net;

const APPLICATION: Pair = ["Application", "Aplicación"];
const GATEWAY: Pair = ["Gateway", "Gateway"];
const SERVER: Pair = ["Discord server", "Servidor de Discord"];
const ROLE: Pair = ["Role", "Rol"];
const COMMAND: Pair = ["Command", "Comando"];

/// The bot, its server and its command at Discord; gives the application, or the error that was reported.
pub(super) async fn look(
    rest: &Rest,
    draft: &Draft,
    report: &mut Report<'_>,
) -> io::Result<Result<Application, RestError>> {
    let application = match rest.application().await {
        Ok(application) => application,
        Err(error) => {
            if error.status() == Some(401) {
                let english = "Discord does not accept it";
                report.variable(Mark::Failure, "DISCORD_TOKEN", english, "Discord no lo acepta")?;
            } else {
                unreached(DISCORD, &error, report)?;
            }
            return Ok(Err(error));
        }
    };
    let Application { name, bot_public, .. } = &application;
    report.ok(["Discord token", "Token de Discord"], format!("the bot is {name}"), format!("el bot es {name}"))?;
    if application.sends_commands_elsewhere() {
        report.fail(
            APPLICATION,
            "its commands are sent to another address, not to this bot. Open \
             https://discord.com/developers/applications, your application, \"General Information\", and empty \
             \"Interactions Endpoint URL\".",
            "sus comandos se envían a otra dirección, no a este bot. Abre \
             https://discord.com/developers/applications, tu aplicación, «General Information», y vacía \
             «Interactions Endpoint URL».",
        )?;
    }
    if *bot_public {
        report.warn(
            APPLICATION,
            "anybody may invite this bot to other servers, where it is useless. At \
             https://discord.com/developers/applications, set \"Install Link\" under \"Installation\" to \"None\", and \
             switch \"Public Bot\" under \"Bot\" off.",
            "cualquiera puede invitar este bot a otros servidores, donde no sirve de nada. En \
             https://discord.com/developers/applications, en «Installation», pon «Install Link» en «None», y en \
             «Bot», desactiva «Public Bot».",
        )?;
    }
    gateway(rest, report).await?;
    match draft.guild {
        None => report.unchecked(SERVER)?,
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
            report.ok(SERVER, &guild.name, &guild.name)?;
            roles(&guild, draft, report)?;
        }
        // Discord has said so of servers that the bot was in.
        Err(error) if is_absent(&error) && registered.is_ok() => {
            let spanish = error.spanish();
            report.warn(
                SERVER,
                format!(
                    "Discord does not give its name and roles ({error}). The bot may work; ALLOWED_ROLE_IDS was not checked."
                ),
                format!(
                    "Discord no da su nombre ni sus roles ({spanish}). Puede que el bot funcione; no se revisó ALLOWED_ROLE_IDS."
                ),
            )?;
        }
        Err(error) if is_absent(&error) => return not_invited(SERVER, application, report),
        Err(error) => failed_request(SERVER, &error, report)?,
    }
    match registered {
        Ok(true) => report.ok(COMMAND, "/mute is registered", "/mute está registrado")?,
        Ok(false) => report.warn(
            COMMAND,
            "/mute is not registered yet; starting the bot does it",
            "/mute aún no está registrado; se registra al iniciar el bot",
        )?,
        Err(error) if is_absent(&error) => not_invited(COMMAND, application, report)?,
        Err(error) => failed_request(COMMAND, &error, report)?,
    }
    match rest.global_command(application.id).await {
        Ok(None) => Ok(()),
        // One of an earlier project.
        Ok(Some(command)) => {
            let deletion = application.deletion_of(command);
            report.warn(
                COMMAND,
                format!("people see two /mute, since the application has one for all servers. To delete it: {deletion}"),
                format!("se ven dos /mute, porque la aplicación tiene uno para todos los servidores. Para borrarlo: {deletion}"),
            )
        }
        Err(error) => failed_request(COMMAND, &error, report),
    }
}

fn not_invited(what: Pair, application: &Application, report: &mut Report<'_>) -> io::Result<()> {
    let link = application.invite_link();
    report.fail(
        what,
        format!(
            "the bot is not in the server of DISCORD_GUILD_ID, or may not add commands to it. Check the id, and \
             open this link to invite the bot: {link}"
        ),
        format!(
            "el bot no está en el servidor indicado en DISCORD_GUILD_ID, o no puede agregarle comandos. Revisa el ID y abre \
             este enlace para invitar al bot: {link}"
        ),
    )
}

/// The connection that commands come in through: a host of its own, which a proxy may refuse, and a websocket, which
/// not all let through. No session is begun, so none of a day's is spent.
async fn gateway(rest: &Rest, report: &mut Report<'_>) -> io::Result<()> {
    let gateway = rest.gateway().await.and_then(|info| Ok((info.address()?, info)));
    let (url, info) = match gateway {
        Ok(gateway) => gateway,
        Err(error) => return failed_request(GATEWAY, &error, report),
    };
    let minutes = info.wait_before_identify().map_or(0, |wait| wait.as_secs() / 60);
    if minutes > 0 {
        let left = info.session_start_limit.remaining;
        report.fail(
            GATEWAY,
            format!(
                "{left} of the connections that Discord allows in a day are left, so a bot that is started now waits \
                 {minutes} minutes before it connects. Look in its log for why it keeps ending."
            ),
            format!(
                "quedan {left} de las conexiones que Discord permite al día, así que un bot que se inicie ahora espera \
                 {minutes} minutos antes de conectarse. Mira en el log del bot por qué termina una y otra vez."
            ),
        )?;
    }
    let host = net::host(&url);
    match rest.open_websocket(url).await {
        Ok(_) => report.ok(GATEWAY, format!("{host} can be reached"), format!("hay conexión con {host}")),
        Err(error @ RestError::NotDiscord(_)) => report.fail(
            GATEWAY,
            format!("{error}. Ask its administrator to let websockets through to {host}."),
            format!("{}. Pide a quien administra el proxy que deje pasar websockets a {host}.", error.spanish()),
        ),
        Err(error) => unreached(GATEWAY, &error, report),
    }
}

fn unreached(what: Pair, error: &RestError, report: &mut Report<'_>) -> io::Result<()> {
    if let RestError::NoAnswer(error) = error
        && error.names_its_remedy()
    {
        return report.error(what, error, &[]);
    }
    let [english, spanish] = what_to_look_at(error);
    report.fail(what, format!("{error}.{english}"), format!("{}.{spanish}", error.spanish()))
}

/// Whether Discord lets the bot see nothing there, and would say so tomorrow too.
fn is_absent(error: &RestError) -> bool {
    matches!(error.status(), Some(403 | 404)) && error.transient().is_none()
}

fn failed_request(what: Pair, error: &RestError, report: &mut Report<'_>) -> io::Result<()> {
    const AGAIN: Pair = ["Try again in a moment.", "Inténtalo de nuevo en un momento."];
    report.error(what, error, if error.names_its_remedy() { &[] } else { &[AGAIN] })
}

fn roles(guild: &Guild, draft: &Draft, report: &mut Report<'_>) -> io::Result<()> {
    let allowed = draft.allowlist.as_ref().map_or(&[][..], |allowlist| allowlist.roles());
    let find = |id: &RoleId| guild.roles.iter().find(|role| role.id == *id);
    let missing = if allowed.iter().any(|role| find(role).is_some()) { Mark::Warning } else { Mark::Failure };
    for id in allowed {
        let Some(role) = find(id) else {
            let english = format!("the server has no role {id}");
            report.variable(missing, "ALLOWED_ROLE_IDS", &english, &format!("el servidor no tiene el rol {id}"))?;
            continue;
        };
        let name = &role.name;
        if role.managed {
            let english = format!("{name} belongs to a bot or another service, so nobody can be given it");
            let spanish = format!("{name} es de un bot o de otro servicio, así que no se le puede dar a nadie");
            report.variable(Mark::Warning, "ALLOWED_ROLE_IDS", &english, &spanish)?;
        } else {
            report.ok(ROLE, name, name)?;
        }
    }
    Ok(())
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
                AUDIT_CHANNEL,
                "the bot can't see it. Check AUDIT_CHANNEL_ID, and let the bot view the channel and send messages in it.",
                "el bot no puede verlo. Revisa AUDIT_CHANNEL_ID, y permite que el bot vea el canal y envíe mensajes en él.",
            );
        }
        Err(error) => return failed_request(AUDIT_CHANNEL, &error, report),
    };
    let name = &channel.name;
    match sending_in(rest, &channel, application.bot()).await {
        Ok(Sending::Allowed) if draft.guild.is_some() && draft.guild != channel.guild_id => report.warn(
            AUDIT_CHANNEL,
            format!("#{name} is in another server than DISCORD_GUILD_ID. Check AUDIT_CHANNEL_ID."),
            format!("#{name} no está en el servidor indicado en DISCORD_GUILD_ID. Revisa AUDIT_CHANNEL_ID."),
        ),
        Ok(Sending::Allowed) => report.ok(AUDIT_CHANNEL, format!("#{name}"), format!("#{name}")),
        Ok(Sending::Denied) => report.fail(
            AUDIT_CHANNEL,
            format!(
                "the bot can see #{name} (AUDIT_CHANNEL_ID), but may not send messages in it. In Discord, open \"Edit \
                 Channel\", \"Permissions\", add the bot, and allow it \"View Channel\" and \"Send Messages\"."
            ),
            format!(
                "el bot puede ver #{name} (AUDIT_CHANNEL_ID), pero no enviar mensajes en él. En Discord, abre «Editar canal», \
                 «Permisos», agrega el bot y permítele «Ver canal» y «Enviar mensajes»."
            ),
        ),
        Ok(Sending::Impossible) => report.fail(
            AUDIT_CHANNEL,
            format!("{name} is not a channel for messages. Check AUDIT_CHANNEL_ID."),
            format!("{name} no es un canal para mensajes. Revisa AUDIT_CHANNEL_ID."),
        ),
        Err(error) => failed_request(AUDIT_CHANNEL, &error, report),
    }
}
