//! `wolkvox-bot check`: everything but a microphone.

use std::collections::HashMap;
use std::fs::Permissions as Mode;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::json;

use crate::support::Folder;
use crate::support::bot::{Process, World, check_secrets, check_stand_ins, draft, variables};
use crate::support::discord::{
    self, APPLICATION, AUDIT_CHANNEL, BOT_ROLE, Discord, Fate, Gateway, SUPERVISOR_ROLE, SessionStarts,
};
use crate::support::wolkvox::{self, Wolkvox};

pub(crate) struct Checked {
    pub(crate) code: Option<i32>,
    pub(crate) printed: String,
}

impl Checked {
    /// The line that begins so.
    pub(crate) fn line(&self, beginning: &str) -> &str {
        let line = self.printed.lines().find(|line| line.starts_with(beginning));
        line.unwrap_or_else(|| panic!("{beginning}: {}", self.printed))
    }
}

pub(crate) async fn check(discord: &Discord, wolkvox: &Wolkvox, change: &[(&'static str, &str)]) -> Checked {
    let mut variables: HashMap<&'static str, String> = variables(discord, wolkvox);
    variables.extend(change.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let mut process = Process::start(&variables, &["check"]);
    let (code, errors) = process.ended().await;
    assert_eq!(errors, "");
    let printed = process.log.text();
    assert!(printed.lines().count() > 1, "{printed}");
    check_secrets(&printed);
    Checked { code, printed }
}

#[tokio::test]
async fn all_is_well() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    discord.state(|state| state.commands = Some(json!([{"id": "1", "name": "mute"}])));
    let checked = check(&discord, &wolkvox, &[("AUDIT_CHANNEL_ID", &AUDIT_CHANNEL.to_string())]).await;
    let [gateway, host] = [&discord.url, &wolkvox.url].map(|url| url.trim_start_matches("http://"));
    assert_eq!(
        checked.printed,
        format!(
            "ok    Configuration: complete\n\
             ok    Discord token: the bot is wolkvox-bot\n\
             ok    Gateway: {gateway} can be reached\n\
             ok    Discord server: Centro de contacto\n\
             ok    Role: Supervisor\n\
             ok    Role: Calidad\n\
             ok    Command: /mute is registered\n\
             ok    Audit channel: #auditoria-mute\n\
             ok    Wolkvox: {host} can be reached\n\
             ok    Wolkvox token: valid, 4960 of 5000 requests left today\n\
             ok    State file: off (STATE_FILE): if the bot is killed, nobody is told the outcome of the commands in progress\n\
             \n\
             To invite the bot to a server: https://discord.com/oauth2/authorize?client_id={APPLICATION}\
             &scope=bot+applications.commands&permissions=0"
        )
    );
    assert_eq!(checked.code, Some(0));
    assert_eq!(wolkvox.requests(), 0, "no microphone was touched");
    assert_eq!(discord.state(|state| (state.registrations, state.identifies)), (0, 0));
    check_stand_ins(&discord, &wolkvox);
}

#[tokio::test]
async fn in_a_spanish_locale_it_is_in_spanish() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    let spanish = ("LANG", "es_CO.UTF-8");
    let [gateway, host] = [&discord.url, &wolkvox.url].map(|url| url.trim_start_matches("http://"));
    let well = check(&discord, &wolkvox, &[spanish, ("AUDIT_CHANNEL_ID", &AUDIT_CHANNEL.to_string())]).await;
    assert_eq!(
        well.printed,
        format!(
            "ok    Configuración: completa\n\
             ok    Token de Discord: el bot es wolkvox-bot\n\
             ok    Gateway: hay conexión con {gateway}\n\
             ok    Servidor de Discord: Centro de contacto\n\
             ok    Rol: Supervisor\n\
             ok    Rol: Calidad\n\
             aviso Comando: /mute aún no está registrado; se registra al iniciar el bot\n\
             ok    Canal de auditoría: #auditoria-mute\n\
             ok    Wolkvox: hay conexión con {host}\n\
             ok    Token de Wolkvox: válido, quedan 4960 de 5000 peticiones hoy\n\
             ok    Archivo de estado: off (STATE_FILE): si el bot se cae, nadie se entera del resultado de los comandos en \
             curso\n\
             \n\
             Para invitar al bot a un servidor: https://discord.com/oauth2/authorize?client_id={APPLICATION}\
             &scope=bot+applications.commands&permissions=0"
        )
    );
    for (change, failure) in [
        (("WOLKVOX_TOKEN", ""), "FALLO WOLKVOX_TOKEN: falta. Cópialo de Wolkvox Manager, o crea otro"),
        (("WOLKVOX_TOKEN", "wrong"), "FALLO WOLKVOX_TOKEN: no es válido, venció, fue eliminado"),
        (("DISCORD_TOKEN", "wrong"), "FALLO DISCORD_TOKEN: Discord no lo acepta."),
        (
            ("WOLKVOX_API_URL", "http://127.0.0.1:1"),
            "FALLO Wolkvox: no hay conexión con 127.0.0.1:1: la conexión fue rechazada. ",
        ),
        (
            ("DISCORD_API_URL", "http://127.0.0.1:1"),
            "FALLO Discord: no hay conexión con 127.0.0.1:1: la conexión fue rechazada. Revisa ",
        ),
        (("AUDIT_CHANNEL_ID", "4711000000000000000"), "FALLO Canal de auditoría: el bot no puede verlo."),
        (
            ("STATE_FILE", "/no/such/folder/bot.db"),
            "FALLO Archivo de estado: STATE_FILE: la carpeta de /no/such/folder/bot.db no existe. Créala o indica un \
             archivo en otro lugar.\n",
        ),
    ] {
        let checked = check(&discord, &wolkvox, &[spanish, change]).await;
        assert!(checked.printed.contains(failure), "{change:?}: {}", checked.printed);
        assert_eq!(checked.code, Some(1));
    }
}

#[tokio::test]
async fn swapped_tokens_are_sent_to_nobody() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    let swapped = [("DISCORD_TOKEN", wolkvox::TOKEN), ("WOLKVOX_TOKEN", discord::TOKEN)];
    let checked = check(&discord, &wolkvox, &swapped).await;
    checked.line(
        "FAIL  WOLKVOX_TOKEN: it is a Discord token: if the two tokens are swapped, put each in the place of the other.",
    );
    checked.line("warn  Discord: not checked: fix what is said above first");
    checked.line("warn  Wolkvox: not checked: fix what is said above first");
    assert_eq!(checked.code, Some(1));
}

#[tokio::test]
async fn an_env_file_that_others_may_read_and_one_that_does_not_count_are_pointed_out() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    let folder = Folder::new();
    let file = folder.join(".env");
    let lines = variables(&discord, &wolkvox).into_iter().map(|(name, value)| format!("{name}={value}\n"));
    std::fs::write(&file, lines.collect::<String>() + "RUST_LOG=info\n").unwrap();
    for (mode, locale, open) in [
        (0o600, "C", ""),
        (0o604, "C", "warn  .env: other users may read or change it"),
        (0o620, "es_CO", "aviso .env: otros usuarios pueden leerlo o cambiarlo"),
    ] {
        std::fs::set_permissions(&file, Mode::from_mode(mode)).unwrap();
        let environment = HashMap::from([("RUST_LOG", "debug".to_owned()), ("LC_ALL", locale.to_owned())]);
        let mut process = Process::start_in(&folder, &environment, &["check"]);
        assert_eq!(process.ended().await, (Some(0), String::new()), "{}", process.log.text());
        let printed = process.log.text();
        assert!(printed.contains(" RUST_LOG: "), "{printed}");
        assert_eq!(printed.contains("chmod 600 .env"), mode != 0o600, "{printed}");
        assert!(printed.contains(open), "{printed}");
    }
}

#[tokio::test]
async fn one_missing_role_is_a_warning_and_none_at_all_a_failure() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    let one =
        check(&discord, &wolkvox, &[("ALLOWED_ROLE_IDS", &format!("{SUPERVISOR_ROLE},4711000000000000000"))]).await;
    assert!(
        one.printed.contains("warn  ALLOWED_ROLE_IDS: the server has no role 4711000000000000000. In Server Settings"),
        "{}",
        one.printed
    );
    assert_eq!(one.code, Some(0));
    let none = check(&discord, &wolkvox, &[("ALLOWED_ROLE_IDS", "4711000000000000000,4712000000000000000")]).await;
    assert!(
        none.printed.contains("FAIL  ALLOWED_ROLE_IDS: the server has no role 4711000000000000000."),
        "{}",
        none.printed
    );
    assert_eq!(none.code, Some(1));
}

#[tokio::test]
async fn each_failure_names_its_variable_and_the_others_are_still_checked() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    for (change, failure, still) in [
        (
            ("DISCORD_TOKEN", "wrong"),
            "FAIL  DISCORD_TOKEN: Discord does not accept it. Copy it from",
            "ok    Wolkvox token: valid",
        ),
        (("DISCORD_TOKEN", ""), "FAIL  DISCORD_TOKEN: it is missing.", "ok    Wolkvox token: valid"),
        (
            ("DISCORD_GUILD_ID", "4711000000000000000"),
            "FAIL  Discord server: the bot is not in the server of DISCORD_GUILD_ID",
            "ok    Wolkvox token: valid",
        ),
        (
            ("AUDIT_CHANNEL_ID", "4711000000000000000"),
            "FAIL  Audit channel: the bot can't see it. Check AUDIT_CHANNEL_ID",
            "ok    Wolkvox token: valid",
        ),
        (
            ("WOLKVOX_TOKEN", "wrong"),
            "FAIL  WOLKVOX_TOKEN: it is wrong, expired or deleted, or",
            "ok    Discord server: Centro de contacto",
        ),
        (("WOLKVOX_TOKEN", ""), "FAIL  WOLKVOX_TOKEN: it is missing.", "ok    Discord server: Centro de contacto"),
        (
            ("WOLKVOX_API_URL", "http://127.0.0.1:1"),
            "FAIL  Wolkvox: no connection to 127.0.0.1:1: the connection was refused.",
            "ok    Discord server: Centro de contacto",
        ),
        (
            ("DISCORD_API_URL", "http://127.0.0.1:1"),
            "FAIL  Discord: no connection to 127.0.0.1:1: the connection was refused.",
            "ok    Wolkvox token: valid",
        ),
        (("RUST_LOG", "loud"), "FAIL  RUST_LOG: it is not a log filter.", "ok    Wolkvox token: valid"),
    ] {
        let checked = check(&discord, &wolkvox, &[change]).await;
        assert!(checked.printed.contains(failure), "{change:?}: {}", checked.printed);
        assert!(checked.printed.contains(still), "{change:?}: {}", checked.printed);
        assert_eq!(checked.code, Some(1));
    }
}

/// Words of a library's say nothing to people, and in Spanish they would be English.
#[tokio::test]
async fn where_there_is_no_connection_the_host_and_the_reason_are_told_in_words() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    let unencrypted = wolkvox.url.replace("http://", "https://");
    for (url, english, spanish) in [
        (
            "https://wv0042.wolkvox.invalid",
            "no connection to wv0042.wolkvox.invalid: no address was found for this name (DNS). Check ",
            "no hay conexión con wv0042.wolkvox.invalid: no se encontró ninguna dirección para ese nombre (DNS). \
             Revisa ",
        ),
        (
            "https://localhost:1",
            "no connection to localhost:1: the connection was refused. ",
            "no hay conexión con localhost:1: la conexión fue rechazada. ",
        ),
        (
            &unencrypted,
            ": the connection can't be made, or breaks at once. Check ",
            ": la conexión no se puede establecer, o se corta enseguida. Revisa ",
        ),
    ] {
        for variable in ["WOLKVOX_API_URL", "DISCORD_API_URL"] {
            for (locale, words) in [("C", english), ("es_CO", spanish)] {
                let checked = check(&discord, &wolkvox, &[(variable, url), ("LANG", locale)]).await;
                let line = checked.printed.lines().find(|line| line.contains(words));
                let line = line.unwrap_or_else(|| panic!("{words}: {}", checked.printed));
                assert!(line.contains(variable), "{line}");
                for raw in ["error", "lookup", "tcp", "corrupt"] {
                    assert!(!line.contains(raw), "{line}");
                }
            }
        }
    }
}

#[tokio::test]
async fn names_from_discord_can_steer_no_terminal() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    discord.state(|state| state.names_end = "\u{1b}[2J\u{9b}1m\u{202E}\u{2028}\r\nok");
    let checked = check(&discord, &wolkvox, &[("AUDIT_CHANNEL_ID", &AUDIT_CHANNEL.to_string())]).await;
    let end = r"\u{1b}[2J\u{9b}1m\u{202e}\u{2028}\r\nok";
    for name in [
        "the bot is wolkvox-bot",
        "Discord server: Centro de contacto",
        "Role: Supervisor",
        "Audit channel: #auditoria-mute",
    ] {
        assert!(checked.printed.lines().any(|line| line.ends_with(&format!("{name}{end}"))), "{}", checked.printed);
    }
    assert_eq!(checked.code, Some(0));
}

#[tokio::test]
async fn a_signal_ends_it_at_once() {
    for signal in ["TERM", "INT", "HUP"] {
        let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
        discord.state(|state| state.other_fates.push_back(Fate::Slow(Duration::from_secs(600))));
        let mut process = Process::start(&variables(&discord, &wolkvox), &["check"]);
        discord.until("Discord was asked", |state| state.other_fates.is_empty()).await;
        process.signal(signal);
        assert_eq!(process.ended().await, (Some(130), String::new()));
    }
}

#[tokio::test]
async fn a_signal_ends_it_though_nobody_reads_what_it_prints() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    discord.state(|state| state.other_fates.push_back(Fate::Accept));
    let (mut process, unread) = Process::start_unread(&variables(&discord, &wolkvox), &["check"], true);
    // There was room for the first line. The second tells what Discord says.
    discord.until("Discord was asked", |state| state.other_fates.is_empty()).await;
    process.signal("TERM");
    assert_eq!(process.ended().await.0, Some(130));
    drop(unread);
}

#[tokio::test]
async fn in_a_terminal_it_is_in_colour() {
    World::run(async |world| {
        let mut printed = Vec::new();
        let report = wolkvox_bot::check::Report::new(&mut printed, true);
        assert!(wolkvox_bot::check::check(draft(&world.discord, &world.wolkvox), report).await.unwrap());
        assert!(String::from_utf8(printed).unwrap().starts_with("\u{1b}[32mok   \u{1b}[0m Configuration: complete\n"));
    })
    .await;
}

#[tokio::test]
async fn what_is_read_of_a_report_changes_nothing_in_its_verdict() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    let mut variables = variables(&discord, &wolkvox);
    for works in [true, false] {
        let [mut closed, mut full] = Process::start_unprinted(&variables, &["check"]);
        assert_eq!(closed.ended().await, (Some(i32::from(!works)), String::new()));
        let (code, told) = full.ended().await;
        assert_eq!(code, Some(1));
        assert_eq!(told, "wolkvox-bot: the output can't be written: No space left on device (os error 28)\n");
        // The last thing that is looked at.
        variables.insert("STATE_FILE", "/".to_owned());
    }
}

#[tokio::test]
async fn an_application_whose_commands_are_sent_elsewhere_is_a_failure() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    discord.state(|state| state.interactions_endpoint = Some("https://old-bot.example/interactions"));
    for (locale, failure) in [("C", "FAIL  Application: "), ("es", "FALLO Aplicación: ")] {
        let checked = check(&discord, &wolkvox, &[("LANG", locale)]).await;
        let line = checked.line(failure);
        for remedy in ["Interactions Endpoint URL", "https://discord.com/developers/applications"] {
            assert!(line.contains(remedy), "{line}");
        }
        assert_eq!(checked.code, Some(1));
    }
}

#[tokio::test]
async fn what_answers_in_the_gateways_place_is_not_called_discord() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    for status in [200, 403] {
        discord.state(|state| state.gateway = Gateway::Page(status));
        let checked = check(&discord, &wolkvox, &[]).await;
        let failure = format!("FAIL  Gateway: something other than Discord answered, with HTTP {status}");
        let line = checked.line(&failure);
        assert!(line.contains("let websockets through to 127.0.0.1:"), "{line}");
        assert_eq!(checked.code, Some(1));
    }
}

#[tokio::test]
async fn where_discord_is_down_or_wants_to_be_left_alone_nobody_is_sent_to_look_for_the_fault_here() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    for (fate, locale, words) in [
        (Fate::Page(503), "C", "FAIL  Discord: Discord answered HTTP 503. See https"),
        (Fate::Cloudflare(600), "C", "FAIL  Discord: Discord answered HTTP 429. See https"),
        (
            Fate::RateLimit(600.0),
            "es",
            "FALLO Discord: Discord respondió HTTP 429 (You are being rate limited.). Mira https",
        ),
    ] {
        discord.state(|state| state.other_fates.push_back(fate));
        let checked = check(&discord, &wolkvox, &[("LANG", locale)]).await;
        let line = checked.line(words);
        assert!(line.contains("https://discordstatus.com") && !line.contains("HTTPS_PROXY"), "{line}");
        assert_eq!(checked.code, Some(1));
    }
}

#[tokio::test]
async fn a_bot_that_would_wait_before_it_connects_is_a_failure() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    for (remaining, locale, failure) in [
        (5, "C", "FAIL  Gateway: 5 of the connections that Discord allows in a day are left, so a bot that is started"),
        (9, "es", "FALLO Gateway: quedan 9 de las conexiones que Discord permite al día, así que un bot que se"),
    ] {
        discord.state(|state| state.session_starts = SessionStarts::left(remaining, Duration::from_secs(5 * 3600)));
        let checked = check(&discord, &wolkvox, &[("LANG", locale)]).await;
        assert!(checked.printed.contains(failure), "{}", checked.printed);
        assert_eq!(checked.code, Some(1));
    }
}

#[tokio::test]
async fn what_is_odd_at_discord_is_a_warning_with_its_remedy() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    discord.state(|state| {
        state.bot_public = true;
        state.global_commands = vec![json!({"id": "77", "name": "mute"})];
    });
    let roles = format!("{SUPERVISOR_ROLE},{BOT_ROLE}");
    let deletion = format!(
        "curl -X DELETE -H \"Authorization: Bot $DISCORD_TOKEN\" https://discord.com/api/v10/applications/{APPLICATION}/commands/77"
    );
    for (locale, lines) in [
        (
            "C",
            [
                "warn  Application: anybody may invite",
                "warn  ALLOWED_ROLE_IDS: wolkvox-bot",
                "warn  Command: people see two",
            ],
        ),
        (
            "es",
            ["aviso Aplicación: cualquiera puede", "aviso ALLOWED_ROLE_IDS: wolkvox-bot", "aviso Comando: se ven dos"],
        ),
    ] {
        let checked = check(&discord, &wolkvox, &[("LANG", locale), ("ALLOWED_ROLE_IDS", &roles)]).await;
        let [public, managed, global] = lines.map(|line| checked.line(line));
        assert!(public.contains("Public Bot"), "{public}");
        assert!(managed.contains("ALLOWED_ROLE_IDS"), "{managed}");
        assert!(global.ends_with(&deletion), "{global}");
        assert_eq!(checked.code, Some(0));
    }
}

#[tokio::test]
async fn a_server_that_discord_says_it_does_not_know_may_work_all_the_same() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    discord.state(|state| state.always.insert("guild", Fate::Refuse(404, 10004)));
    for (locale, line) in [
        ("C", "warn  Discord server: Discord does not give its name and roles"),
        ("es", "aviso Servidor de Discord: Discord no da su nombre ni sus roles"),
    ] {
        let checked = check(&discord, &wolkvox, &[("LANG", locale)]).await;
        assert!(checked.line(line).contains("ALLOWED_ROLE_IDS"), "{}", checked.printed);
        assert_eq!(checked.code, Some(0));
    }
}

#[tokio::test]
async fn discords_internal_errors_and_blocked_addresses_are_called_neither_a_proxy_nor_a_wrong_server() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    for (kind, fate, locale, line) in [
        ("application", Fate::Banned, "C", "FAIL  Discord: Cloudflare, which protects Discord, blocks"),
        ("application", Fate::Banned, "es", "FALLO Discord: Cloudflare, que protege a Discord, bloquea"),
        ("guild", Fate::Refuse(403, 40333), "C", "FAIL  Discord server: Discord answered HTTP 403 with code 40333"),
        ("commands", Fate::Refuse(403, 40333), "C", "FAIL  Command: Discord answered HTTP 403 with code 40333"),
    ] {
        discord.state(|state| state.always = [(kind, fate)].into());
        let checked = check(&discord, &wolkvox, &[("LANG", locale)]).await;
        let line = checked.line(line);
        assert!(!line.contains("HTTPS_PROXY") && !line.contains("invite"), "{line}");
        assert_eq!(checked.code, Some(1));
    }
}
