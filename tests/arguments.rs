//! The command line, and the language in which the process speaks.

use std::collections::HashMap;

use crate::support::bot::{Process, variables};
use crate::support::discord::Discord;
use crate::support::wolkvox::Wolkvox;

#[tokio::test]
async fn the_process_speaks_spanish_or_english_as_its_environment_says() {
    for (locales, usage) in [
        (vec![], "Usage: wolkvox-bot"),
        (vec![("LC_MESSAGES", "es_MX.UTF-8"), ("LANG", "en_US.UTF-8")], "Uso: wolkvox-bot"),
        (vec![("LC_ALL", "C.UTF-8"), ("LC_MESSAGES", "es_MX"), ("LANG", "es_MX")], "Usage: wolkvox-bot"),
        (vec![("LC_ALL", "es_AR.UTF-8"), ("LANG", "C")], "Uso: wolkvox-bot"),
    ] {
        let variables = locales.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let mut process = Process::start(&variables, &["--help"]);
        assert_eq!(process.ended().await.0, Some(0));
        assert!(process.log.text().contains(usage), "{locales:?}: {}", process.log.text());
    }
}

#[tokio::test]
async fn help_version_and_unknown_arguments_work_as_people_expect() {
    for (argument, code, expected) in [
        ("--help", 0, "Usage: wolkvox-bot"),
        ("-h", 0, "wolkvox-bot check"),
        ("--version", 0, "wolkvox-bot "),
        ("-V", 0, "wolkvox-bot "),
        ("chek", 2, "unknown argument \"chek\". Try: wolkvox-bot --help"),
        ("--verbose", 2, "Try: wolkvox-bot --help"),
    ] {
        let mut process = Process::start(&HashMap::new(), &[argument]);
        let (ended, told) = process.ended().await;
        assert_eq!(ended, Some(code), "{argument}");
        let printed = if code == 0 { process.log.text() } else { told };
        assert!(printed.contains(expected), "{argument}: {printed}");
    }
}

#[tokio::test]
async fn the_version_and_the_first_line_of_the_log_name_the_commit_where_the_build_was_told() {
    let version = env!("CARGO_PKG_VERSION");
    let (in_brackets, as_field) = match option_env!("WOLKVOX_BOT_COMMIT") {
        None | Some("") => (String::new(), String::new()),
        Some(commit) => (format!(" ({commit})"), format!(" commit=\"{commit}\"")),
    };
    let mut process = Process::start(&HashMap::new(), &["--version"]);
    process.ended().await;
    assert_eq!(process.log.text(), format!("wolkvox-bot {version}{in_brackets}"));

    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    let mut variables = variables(&discord, &wolkvox);
    variables.insert("DISCORD_TOKEN", "wrong".to_owned());
    let mut process = Process::start(&variables, &[]);
    process.ended().await;
    let first = process.log.lines().swap_remove(0);
    assert!(first.ends_with(&format!(" starting version=\"{version}\"{as_field}")), "{first}");
}

#[tokio::test]
async fn help_and_version_end_quietly_where_nobody_reads_them_and_with_one_line_where_they_can_not_be_written() {
    for argument in ["--help", "--version"] {
        let [mut closed, mut full] = Process::start_unprinted(&HashMap::new(), &[argument]);
        assert_eq!(closed.ended().await, (Some(0), String::new()));
        let (code, told) = full.ended().await;
        assert_eq!(code, Some(1));
        assert_eq!(told, "wolkvox-bot: the output can't be written: No space left on device (os error 28)\n");
    }
}

#[tokio::test]
async fn in_a_spanish_locale_it_says_in_spanish_why_it_can_not_start() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    for (change, code, expected) in [
        (
            ("DISCORD_TOKEN", "wrong"),
            2,
            "wolkvox-bot terminó. DISCORD_TOKEN: Discord no lo acepta.\n    Cópialo de nuevo",
        ),
        (("DISCORD_GUILD_ID", "4711000000000000000"), 2, "DISCORD_GUILD_ID: el bot no está en ese servidor"),
        (
            ("DISCORD_GUILD_ID", "42"),
            2,
            "wolkvox-bot no puede iniciar. Hay que corregir esta configuración:\n\n  DISCORD_",
        ),
    ] {
        let mut variables = variables(&discord, &wolkvox);
        variables.extend([("LC_ALL", "es_AR.UTF-8".to_owned()), (change.0, change.1.to_owned())]);
        let (ended, told) = Process::start(&variables, &[]).ended().await;
        assert_eq!(ended, Some(code), "{told}");
        assert!(told.contains(expected), "{told}");
    }
    let spanish = HashMap::from([("LANG", "es_CO.UTF-8".to_owned())]);
    let (_, told) = Process::start(&spanish, &[]).ended().await;
    assert!(
        told.contains("Copia .env.example como .env") && told.contains("/blob/HEAD/.github/README.es.md"),
        "{told}"
    );
    let (_, told) = Process::start(&spanish, &["chek"]).ended().await;
    assert!(told.contains("argumento desconocido: \"chek\". Prueba con: wolkvox-bot --help"), "{told}");
    let mut process = Process::start(&spanish, &["--help"]);
    assert_eq!(process.ended().await.0, Some(0));
    let help = process.log.text();
    assert!(help.contains("Uso: wolkvox-bot") && help.contains(".github/README.es.md"), "{help}");
}

#[tokio::test]
async fn a_misspelt_name_in_the_environment_is_told() {
    let variables = HashMap::from([
        ("TOGGLE_GUARD_SEC", "5".to_owned()),
        ("ALOWED_ROLE_IDS", String::new()),
        ("HTTP_PROXY", "http://proxy.example:3128".to_owned()),
    ]);
    let (_, told) = Process::start(&variables, &[]).ended().await;
    for (name, meant) in [("TOGGLE_GUARD_SEC", "TOGGLE_GUARD_SECS"), ("ALOWED_ROLE_IDS", "ALLOWED_ROLE_IDS")] {
        let expected = format!("wolkvox-bot: {name}: the bot has no such variable. If {meant} is meant, correct it.");
        assert!(told.contains(&expected), "{told}");
    }
    assert!(!told.contains(" HTTP_PROXY:"), "{told}");
}
