//! Every sentence in every language, kept in `replies.txt` so that wording is reviewed in the diff.
//! `UPDATE_REPLIES=1 cargo test languages` writes the file anew.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;
use serenity::model::id::{InteractionId, UserId};
use wolkvox_bot::access::Denial;
use wolkvox_bot::agent::{Agent, AgentId, Name};
use wolkvox_bot::command::{Before, Standing};
use wolkvox_bot::language::Language;
use wolkvox_bot::ledger::{Conflict, Stale};
use wolkvox_bot::outcome::{Done, NotSent, Outcome, Refusal, Rejected, Unknown};
use wolkvox_bot::reply;

use crate::support::bot::World;
use crate::support::discord::{Actor, second_supervisor, stranger, supervisor};
use crate::support::wolkvox::SUCCESS;

fn all_sentences() -> String {
    let agent = Agent { id: AgentId::try_from(1001).unwrap(), name: None, is_unlisted: false };
    let named = Agent { name: Name::new("Ana *Gómez*"), ..agent.clone() };
    let mut outcomes = vec![Outcome::Done(Done { code: 200, msg: SUCCESS.to_owned() })];
    outcomes.push(Outcome::Done(Done { code: 200, msg: String::new() }));
    for (reason, msg) in [
        (Refusal::TokenMissing, "PLEASE ENTER THE WOLKVOX-TOKEN"),
        (Refusal::TokenWrong, "PLEASE VALIDATE TOKEN"),
        (Refusal::DailyLimit, "TOKEN LIMIT EXCEEDED"),
        (Refusal::TokenBusy, "EXCEEDS THE LIMIT OF SIMULTANEOUS REQUESTS PER TOKEN (2)"),
        (Refusal::Maintenance, "BACKUP"),
        (Refusal::Other, ""),
    ] {
        outcomes.push(Outcome::Rejected(Rejected { code: 403, msg: msg.to_owned(), reason }));
    }
    for why in [
        NotSent::NoConnection,
        NotSent::Restarting,
        NotSent::Restarted,
        NotSent::NotRecorded,
        NotSent::WaitedTooLong,
        NotSent::Fault,
    ] {
        outcomes.push(Outcome::NotSent(why));
    }
    for why in [
        Unknown::TimedOut,
        Unknown::ConnectionLost,
        Unknown::Unreadable { status: 502 },
        Unknown::Fault,
        Unknown::Interrupted,
    ] {
        outcomes.push(Outcome::Unknown(why));
    }
    let previous = |standing, seconds| Conflict {
        command: InteractionId::new(7),
        by: UserId::new(501),
        ago: Duration::from_secs(seconds),
        standing,
    };
    let mut text = String::new();
    for language in Language::ALL {
        let mut sentence = |what: String, sentence: String| {
            writeln!(text, "[{language:?}: {what}]\n{sentence}\n").unwrap();
        };
        sentence("command".into(), reply::command_description(language).into());
        sentence("option".into(), reply::option_description(language).into());
        sentence("option with names".into(), reply::option_description_with_names(language).into());
        for outcome in &outcomes {
            sentence(format!("{outcome:?}"), reply::outcome(language, &agent, outcome, None));
        }
        for outcome in &outcomes[..4] {
            let own_words = reply::outcome_in_own_words(language, agent.id, outcome);
            sentence(format!("{outcome:?}, in our own words"), own_words);
        }
        sentence("unconfirmed".into(), reply::unconfirmed(language, &agent));
        sentence("interrupted".into(), reply::interrupted(language, &agent));
        let before = Before { by: 502, at: 1_790_000_000 };
        sentence("Done, with what was before".into(), reply::outcome(language, &agent, &outcomes[0], Some(before)));
        sentence("Done, named".into(), reply::outcome(language, &named, &outcomes[0], None));
        let unlisted = Agent { is_unlisted: true, ..agent.clone() };
        sentence("Done, not listed".into(), reply::outcome(language, &unlisted, &outcomes[0], None));
        sentence("several agents".into(), reply::several_agents(language, &[(named.id, named.name.clone())]));
        sentence("no agent".into(), reply::no_agent(language));
        sentence("no names yet".into(), reply::no_names_yet(language));
        for denial in [Denial::NotInGuild, Denial::NoRole] {
            sentence(format!("{denial:?}"), reply::denied(language, denial).into());
        }
        sentence("invalid agent".into(), reply::invalid_agent(language));
        for previous in [
            previous(Standing::Done, 12),
            previous(Standing::Done, 1),
            previous(Standing::InProgress, 3),
            previous(Standing::Perhaps, 4),
        ] {
            sentence("guarded".into(), reply::guarded(language, &named, &previous));
        }
        sentence("button".into(), reply::go_on(language).into());
        for why in [Stale::Used, Stale::Late, Stale::NotYours, Stale::Unasked] {
            sentence(format!("{why:?}"), reply::stale(language, why).into());
        }
        sentence("token refused".into(), reply::token_refused(language, Refusal::TokenWrong));
        for outcome in [&outcomes[0], outcomes.last().unwrap()] {
            sentence("audit channel".into(), reply::audit_line(language, 1_790_000_000, 501, &named, outcome));
        }
    }
    text
}

#[test]
fn the_sentences_are_the_reviewed_ones() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/replies.txt");
    let sentences = all_sentences();
    if std::env::var_os("UPDATE_REPLIES").is_some() {
        std::fs::write(path, &sentences).unwrap();
    }
    let reviewed = std::fs::read_to_string(path).unwrap_or_default();
    for (line, (now, then)) in (1..).zip(sentences.lines().zip(reviewed.lines())) {
        assert_eq!(now, then, "line {line}; UPDATE_REPLIES=1 cargo test languages");
    }
    assert_eq!(sentences.len(), reviewed.len(), "UPDATE_REPLIES=1 cargo test languages");
}

#[test]
fn no_sentence_is_the_same_in_two_languages() {
    let sentences = all_sentences();
    let by_language = |language: &str| -> Vec<String> {
        let blocks = sentences.split("\n\n").filter(|block| block.trim().starts_with(&format!("[{language}: ")));
        blocks.map(|block| block.trim().split_once('\n').unwrap().1.to_owned()).collect()
    };
    let (english, spanish, portuguese) = (by_language("English"), by_language("Spanish"), by_language("Portuguese"));
    assert_eq!((english.len(), spanish.len()), (spanish.len(), portuguese.len()));
    for ((english, spanish), portuguese) in english.iter().zip(&spanish).zip(&portuguese) {
        assert!(english != spanish && english != portuguese && spanish != portuguese, "{english}");
    }
}

#[test]
fn no_language_is_missing_from_the_list_of_all() {
    // The compiler points here when a language is added to the enum.
    macro_rules! every {
        ($($language:ident),+) => {{
            match Language::default() {
                $(Language::$language)|+ => {}
            }
            [$(Language::$language),+]
        }};
    }
    assert_eq!(Language::ALL.as_slice(), every![English, Spanish, Portuguese]);
}

#[tokio::test]
async fn everybody_is_answered_in_their_own_language() {
    World::run(async |world| {
        for (locale, small_print, refusal, question, button) in [
            ("en-GB", "-# Agent ", "You don't have a role", " toggled the microphone of agent ", "Toggle anyway"),
            ("fr", "-# Agent ", "You don't have a role", " toggled the microphone of agent ", "Toggle anyway"),
            (
                "es-ES",
                "-# Agente ",
                "Ninguno de tus roles",
                " pulsó MUTE para el agente ",
                "Pulsar MUTE de todos modos",
            ),
            (
                "es-419",
                "-# Agente ",
                "Ninguno de tus roles",
                " pulsó MUTE para el agente ",
                "Pulsar MUTE de todos modos",
            ),
            (
                "pt-BR",
                "-# Agente ",
                "Você não tem um cargo",
                " apertou MUTE para o agente ",
                "Apertar MUTE mesmo assim",
            ),
        ] {
            let speaking = |actor: Actor| Actor { locale, ..actor };
            let agent = world.discord.snowflake() % 1_000_000 + 1;
            let text = world.discord.reply(world.discord.mute(&speaking(supervisor()), agent)).await;
            assert!(text.starts_with(SUCCESS), "the API's msg stays as it came");
            assert!(text.contains(small_print), "{locale}: {text}");
            let text = world.discord.reply(world.discord.mute(&speaking(stranger()), agent)).await;
            assert!(text.starts_with(refusal), "{locale}: {text}");
            let asked = world.discord.finished(world.discord.mute(&speaking(second_supervisor()), agent)).await;
            assert!(asked.text().unwrap().contains(question), "{locale}: {asked:?}");
            assert_eq!(asked.shown.unwrap()["components"][0]["components"][0]["label"], button);
        }
    })
    .await;
}

#[tokio::test]
async fn descriptions_are_translated_and_names_are_not() {
    World::run(async |world| {
        let commands = world.discord.state(|state| state.commands.clone().unwrap());
        for described in [&commands[0], &commands[0]["options"][0]] {
            let translations = described["description_localizations"].as_object().unwrap();
            let locales: Vec<&str> = translations.keys().map(String::as_str).collect();
            assert_eq!(locales, ["es-419", "es-ES", "pt-BR"]);
            assert!(described["name_localizations"].as_object().is_none_or(|names| names.is_empty()));
        }
        assert_eq!(commands[0]["name"], json!("mute"));
    })
    .await;
}
