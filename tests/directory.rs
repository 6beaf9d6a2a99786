//! Agents by name.

use serde_json::Value;
use tokio::time::{Instant, pause, resume};

use crate::support::bot::World;
use crate::support::discord::{Actor, stranger, supervisor};
use crate::support::http::Answer;
use crate::support::wolkvox::{NATIONAL_ID, SUCCESS, listing};

pub(crate) const AGENTS: [(u64, &str, &str); 8] = [
    (1001, "Ana Gómez", "yes"),
    (1002, "João Peña", "yes"),
    (1003, "María José Muñoz", "yes"),
    (1010, "Susana Díaz", "Yes"),
    (2001, "Luis **Bold** <@1>", "yes"),
    (2002, "Ana Retired", "no"),
    (3001, "Zoë 100 Ñandú", "yes"),
    (10010, "Ångström Ana", "yes"),
];

/// Makes the bot read this directory for the first time.
async fn read(world: &World, directory: Answer) {
    world.wolkvox.state(|state| state.agents = Some(directory));
    suggestions(world, "").await;
    world.log.until_contains("the agent directory was read").await;
}

/// Beside a bot that has read the directory.
async fn run(test: impl AsyncFnOnce(&World)) {
    World::run(async |world| {
        read(world, listing(&AGENTS)).await;
        test(world).await;
    })
    .await;
}

async fn choices(world: &World, actor: &Actor, typed: &str) -> Vec<Value> {
    let typing = world.discord.finished(world.discord.type_agent(actor, typed)).await;
    typing.shown.unwrap()["choices"].as_array().unwrap().clone()
}

async fn suggestions(world: &World, typed: &str) -> Vec<String> {
    let choices = choices(world, &supervisor(), typed).await;
    choices.iter().map(|choice| choice["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn agents_are_found_by_any_part_of_the_name_or_the_start_of_the_number() {
    run(async |world| {
        for (typed, expected) in [
            ("ana", vec!["Ana Gómez · 1001", "Ångström Ana · 10010", "Susana Díaz · 1010"]),
            ("GOMEZ", vec!["Ana Gómez · 1001"]),
            ("gómez", vec!["Ana Gómez · 1001"]),
            ("pena", vec!["João Peña · 1002"]),
            ("PEÑA", vec!["João Peña · 1002"]),
            ("joao", vec!["João Peña · 1002"]),
            ("nandu", vec!["Zoë 100 Ñandú · 3001"]),
            ("muñ jos", vec!["María José Muñoz · 1003"]),
            ("1002", vec!["João Peña · 1002"]),
            ("1001", vec!["Ana Gómez · 1001", "Ångström Ana · 10010"]),
            ("001", vec![]),
            ("retired", vec![]),
            ("2002", vec![]),
            ("nobody", vec![]),
        ] {
            assert_eq!(suggestions(world, typed).await, expected, "{typed}");
        }
        // The number's start comes before a name that contains it.
        let hundreds = suggestions(world, "100").await;
        assert_eq!(hundreds.len(), 5);
        assert_eq!(hundreds.last().unwrap(), "Zoë 100 Ñandú · 3001");
        assert_eq!(suggestions(world, "").await.len(), 7);
        assert_eq!(choices(world, &supervisor(), "gomez").await[0]["value"], "1001");
        assert_eq!(world.wolkvox.state(|state| state.listings), 1);
    })
    .await;
}

#[tokio::test]
async fn the_option_offers_suggestions_unless_the_directory_is_off() {
    World::run(async |world| {
        assert_eq!(world.discord.state(|state| state.commands.clone().unwrap())[0]["options"][0]["autocomplete"], true);
    })
    .await;
    World::run_with(
        |config| config.agent_directory = false,
        async |world| {
            assert_eq!(
                world.discord.state(|state| state.commands.clone().unwrap())[0]["options"][0]["autocomplete"],
                false
            );
            assert_eq!(suggestions(world, "ana").await, Vec::<String>::new());
            assert_eq!(world.wolkvox.state(|state| state.listings), 0);
        },
    )
    .await;
}

#[tokio::test]
async fn replies_name_the_agent_where_the_name_is_known() {
    run(async |world| {
        let text = world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
        assert!(text.contains("\n-# Agent Ana Gómez (1001) · MUTE is a toggle"), "{text}");
        let text = world.discord.reply(world.discord.mute(&supervisor(), 2001)).await;
        assert!(text.contains(r"-# Agent Luis \*\*Bold\*\* \<\@1> (2001)"), "{text}");
        let text = world.discord.reply(world.discord.mute(&supervisor(), 4444)).await;
        assert!(
            text.contains("\n-# Agent 4444 (not in Wolkvox's list of agents) · "),
            "a number that is not listed can be sent: {text}"
        );
    })
    .await;
}

#[tokio::test]
async fn nobody_else_gets_suggestions_or_causes_a_call() {
    World::run(async |world| {
        let direct = Actor { guild: None, ..supervisor() };
        for actor in [stranger(), direct] {
            assert_eq!(choices(world, &actor, "a").await, Vec::<Value>::new());
        }
        assert_eq!(world.wolkvox.state(|state| state.listings), 0);
    })
    .await;
}

#[tokio::test]
async fn typing_is_answered_at_once_while_the_directory_is_being_read() {
    World::run(async |world| {
        let (command, held) = world.held_call().await;
        // The listing waits for the toggle, typing does not wait for the listing.
        for typed in ["a", "an", "ana"] {
            assert_eq!(suggestions(world, typed).await, Vec::<String>::new());
        }
        assert_eq!(world.wolkvox.state(|state| state.listings), 0);
        held.notify_one();
        assert!(world.discord.reply(command).await.starts_with(SUCCESS));
        world.wolkvox.until("one listing for all that typing", |state| state.listings == 1).await;
    })
    .await;
}

#[tokio::test]
async fn a_toggle_that_waits_goes_before_the_listing() {
    World::run(async |world| {
        let (first, held) = world.held_call().await;
        world.discord.finished(world.discord.type_agent(&supervisor(), "a")).await;
        let held_too = world.wolkvox.hold();
        let second = world.discord.mute(&supervisor(), 1002);
        world.discord.until_acknowledged(second).await;
        held.notify_one();
        world.discord.reply(first).await;
        world.wolkvox.until_requests(2).await;
        assert_eq!(world.wolkvox.state(|state| state.listings), 0);
        held_too.notify_one();
        world.discord.reply(second).await;
        world.wolkvox.until("the listing comes last", |state| state.listings == 1).await;
    })
    .await;
}

#[tokio::test]
async fn a_listing_that_hangs_keeps_toggles_waiting_for_5_seconds() {
    World::run(async |world| {
        world.wolkvox.state(|state| state.agents = Some(Answer::Silent));
        let began = Instant::now();
        world.discord.type_agent(&supervisor(), "a");
        world.wolkvox.until("the listing is in progress", |state| state.listings == 1).await;
        let commands = [1001, 1002, 1003].map(|agent| world.discord.mute(&supervisor(), agent));
        for command in commands {
            world.discord.until_acknowledged(command).await;
        }
        pause();
        world.log.until_contains("no answer from Wolkvox: it took too long").await;
        resume();
        assert!((5..10).contains(&began.elapsed().as_secs()));
        // No call begins while the listing's connection is there, or the world complains.
        for command in commands {
            assert!(world.discord.reply(command).await.starts_with(SUCCESS));
        }
    })
    .await;
}

#[tokio::test]
async fn at_most_25_are_offered_and_long_names_are_cut() {
    World::run(async |world| {
        let long = "Maximiliana ".repeat(20);
        let agents: Vec<(u64, &str, &str)> = (1..=60_u64).map(|id| (id, long.as_str(), "yes")).collect();
        read(world, listing(&agents)).await;
        let names = suggestions(world, "maxi").await;
        assert_eq!(names.len(), 25);
        assert!(names.iter().all(|name| name.chars().count() <= 100 && name.contains("… · ")), "{names:?}");
    })
    .await;
}

#[tokio::test]
async fn agents_with_odd_names_are_offered_in_one_line_and_those_without_one_by_number() {
    World::run(async |world| {
        let agents = [
            (1001, "", "yes"),
            (1002, "\u{202E}\u{2028}", "yes"),
            (1003, "<sin nombre>", "yes"),
            (1004, "Ana\nGómez\u{2028}<b>Ruiz</b>", "yes"),
        ];
        read(world, listing(&agents)).await;
        let names = ["<sin nombre> · 1003", "Ana Gómez Ruiz · 1004", "1001", "1002"];
        assert_eq!(suggestions(world, "100").await, names);
        for (agent, shown) in [(1001, "1001"), (1002, "1002"), (1003, r"\<sin nombre> (1003)")] {
            let text = world.discord.reply(world.discord.mute(&supervisor(), agent)).await;
            assert!(text.contains(&format!("\n-# Agent {shown} · MUTE")), "{text}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_keystroke_costs_no_more_for_long_names_or_a_long_query() {
    World::run(async |world| {
        // Searched or cleaned whole at every keystroke, these would take minutes.
        let long = format!("Ana {}", "<a ".repeat(500_000));
        let agents: Vec<(u64, &str, &str)> = (1..=5_u64).map(|id| (id, long.as_str(), "yes")).collect();
        read(world, listing(&agents)).await;
        assert_eq!(suggestions(world, "ana").await.len(), 5);
        assert_eq!(suggestions(world, &"a ".repeat(3000)).await.len(), 5);
        assert_eq!(suggestions(world, &long[..6000]).await.len(), 5, "a name is found that is typed in full");
        // Of a longer query the beginning counts.
        for unlike in ["ana ".repeat(8) + "zzz", "ana ".to_owned() + &" ".repeat(60) + "zzz"] {
            assert_eq!(suggestions(world, &unlike).await.len(), 5, "{unlike}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_national_identity_number_goes_nowhere() {
    run(async |world| {
        world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
        let seen = world.discord.state(|state| format!("{:?}{:?}", state.interactions, state.posts));
        assert!(!seen.contains(NATIONAL_ID) && !world.log.text().contains(NATIONAL_ID));
    })
    .await;
}

#[tokio::test]
async fn sixty_thousand_agents_are_searched() {
    World::run(async |world| {
        let names: Vec<String> = (0..60_000).map(|n| format!("Agente Número {n} Pérez Gutiérrez")).collect();
        let agents: Vec<(u64, &str, &str)> = (1..).zip(&names).map(|(id, name)| (id, name.as_str(), "yes")).collect();
        read(world, listing(&agents)).await;
        assert_eq!(suggestions(world, "numero 59999 perez").await, ["Agente Número 59999 Pérez Gutiérrez · 60000"]);
        assert_eq!(suggestions(world, "gutierrez").await.len(), 25);
    })
    .await;
}

#[tokio::test]
async fn a_suggestions_label_or_a_name_in_full_is_taken_and_anything_else_toggles_nothing() {
    run(async |world| {
        for (typed, agent) in [
            (" 1001\u{200B}", 1001),
            ("Ana Gómez · 1001", 1001),
            ("joao pena", 1002),
            ("MARÍA JOSÉ MUÑOZ", 1003),
            ("\u{2068}Susana Díaz\u{2069}", 1010),
        ] {
            let text = world.discord.reply(world.discord.mute(&supervisor(), typed)).await;
            assert!(text.starts_with(SUCCESS) && text.contains(&format!("({agent})")), "{typed}: {text}");
        }
        let toggles = world.wolkvox.all_toggles();
        for (typed, words) in [
            ("ana", "`1001` Ana Gómez"),
            ("Ana Gómez · 1002", "`1001` Ana Gómez"),
            ("nobody", "no agent has that name"),
            ("-1001", "That is not an agent's number"),
            ("1001 1002", "That is not an agent's number"),
        ] {
            let command = world.discord.mute(&supervisor(), typed);
            let reply = world.discord.finished(command).await;
            let text = reply.text().unwrap();
            assert!(text.contains(words), "{typed}: {text}");
            assert!(reply.private());
            assert_eq!(world.log.outcome(command).await, "not_sent");
        }
        assert_eq!(world.wolkvox.all_toggles(), toggles);
    })
    .await;
}

#[tokio::test]
async fn before_the_list_is_read_a_name_is_not_called_unknown() {
    World::run(async |world| {
        let text = world.discord.reply(world.discord.mute(&supervisor(), "Ana Gómez")).await;
        assert!(text.starts_with("**Not sent:** the agents' names are not known yet."), "{text}");
        assert_eq!(world.wolkvox.all_toggles(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_number_that_wolkvox_does_not_list_is_sent_and_the_small_print_says_so() {
    run(async |world| {
        for (agent, is_listed) in [(1001, true), (2002, true), (4444, false)] {
            let text = world.discord.reply(world.discord.mute(&supervisor(), agent)).await;
            assert_eq!(!text.contains("(not in Wolkvox's list of agents)"), is_listed, "{text}");
            assert_eq!(world.wolkvox.toggles(agent), 1);
        }
    })
    .await;
}
