//! Two copies of the bot need no coordination: the accepted first answer decides who acts.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::bot::{Process, check_secrets, variables};
use crate::support::discord::{Discord, second_supervisor, supervisor};
use crate::support::wolkvox::{Fate, SUCCESS, Wolkvox};

#[tokio::test]
async fn of_two_copies_one_is_killed_under_load_and_no_command_is_carried_out_twice() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    wolkvox.state(|state| state.chance = Some(Box::new(|| Fate::Slow(Duration::from_millis(5)))));
    let mut variables = variables(&discord, &wolkvox);
    variables.insert("LOG_FORMAT", "json".to_owned());
    let mut killed = Process::start(&variables, &[]);
    let mut survivor = Process::start(&variables, &[]);
    let log = survivor.log.clone();
    let commands = survivor
        .runs(async {
            killed.runs(discord.until_ready(2)).await;
            let mut commands = Vec::new();
            for agent in 1..=300_u64 {
                commands.push((discord.mute(&supervisor(), agent), agent));
                tokio::time::sleep(Duration::from_millis(4)).await;
                if agent == 150 {
                    killed.signal("KILL");
                }
            }
            log.until("the survivor has dealt with every command", |log| log.audits().len() == commands.len()).await;
            commands
        })
        .await;
    for (command, _) in &commands {
        let outcome = survivor.log.outcome(*command).await;
        assert!(matches!(outcome.as_str(), "done" | "unacknowledged"), "{outcome}");
    }

    let done_by = |process: &Process| -> BTreeSet<String> {
        let records = process.log.audits().into_iter().filter(|record| record["outcome"] == "done");
        records.map(|record| record["interaction_id"].as_str().unwrap().to_owned()).collect()
    };
    let (by_killed, by_survivor) = (done_by(&killed), done_by(&survivor));
    assert!(by_killed.is_disjoint(&by_survivor));
    assert!(!by_killed.is_empty() && by_survivor.len() >= 150, "{} and {}", by_killed.len(), by_survivor.len());
    let mut unconfirmed = 0;
    for (command, agent) in commands {
        let toggles = wolkvox.toggles(agent);
        let text = discord.interaction(command).text();
        if by_survivor.contains(&command.to_string()) {
            assert_eq!(toggles, 1);
            assert!(discord.reply(command).await.starts_with(SUCCESS));
        } else if text.is_some_and(|text| text.starts_with(SUCCESS)) {
            assert_eq!(toggles, 1);
        } else {
            assert!(toggles <= 1, "agent {agent} was toggled {toggles} times");
            unconfirmed += 1;
        }
    }
    // What was with the killed copy, no more: it had the first half, and answered part of it.
    assert!(unconfirmed <= 150 - by_killed.len() + 1, "{unconfirmed}");
    // Each copy makes one call at a time.
    assert!(wolkvox.state(|state| state.most_in_flight) <= 2);
    assert_eq!(discord.state(|state| state.violations.clone()), Vec::<String>::new());
    check_secrets(&(killed.log.text() + &survivor.log.text()));
}

#[tokio::test]
async fn a_button_works_although_another_copy_did_not_ask() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    let variables = variables(&discord, &wolkvox);
    let (mut one, mut other) = (Process::start(&variables, &[]), Process::start(&variables, &[]));
    one.runs(other.runs(async {
        discord.until_ready(2).await;
        for agent in 1001..1006 {
            discord.reply(discord.mute(&supervisor(), agent)).await;
            let question = discord.finished(discord.mute(&second_supervisor(), agent)).await;
            let press = discord.press(&second_supervisor(), &question.button().expect("a question"));
            assert!(discord.reply(press).await.starts_with(SUCCESS));
            assert_eq!(wolkvox.toggles(agent), 2);
        }
    }))
    .await;
}
