//! Two copies of the bot need no coordination: the accepted first answer decides who acts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::support::bot::{Process, Site, check_secrets, variables};
use crate::support::discord::{Discord, Fate as DiscordFate, State, second_supervisor, supervisor};
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

/// Two bots with a file each, as on two machines.
async fn two_machines() -> (Site, [Process; 2]) {
    let mut site = Site::new().await.with("RUST_LOG", "debug");
    let one = site.start();
    let other = site.folder.join("other.db");
    site.set("STATE_FILE", other.to_str().unwrap());
    let other = site.start();
    site.discord.until_ready(2).await;
    (site, [one, other])
}

/// A command that two copies had: one was accepted and calls Wolkvox, of the other nobody knows whether it was. Returns
/// whether that is the second one.
async fn one_calls_and_one_does_not_know(site: &Site, [first, second]: [&Process; 2]) -> (u64, Arc<Notify>, bool) {
    let stall = DiscordFate::Stall;
    site.discord.state(|state| state.first_answer_fates.extend([DiscordFate::Accept, stall.clone(), stall]));
    let (command, held) = site.held_call().await;
    site.discord.until("the other one has it too", |state| state.first_answer_fates.len() < 2).await;
    let acknowledged = "discord::mute: acknowledged";
    let second_calls = tokio::select! {
        () = first.log.until_contains(acknowledged) => false,
        () = second.log.until_contains(acknowledged) => true,
    };
    (command, held, second_calls)
}

#[tokio::test]
async fn what_a_copy_told_that_does_not_have_the_command_leaves_the_outcome_open() {
    let (mut site, [mut calls, mut other]) = two_machines().await;
    let (command, _held, second_calls) = one_calls_and_one_does_not_know(&site, [&calls, &other]).await;
    if second_calls {
        std::mem::swap(&mut calls, &mut other);
    } else {
        let file = site.state_file();
        site.set("STATE_FILE", file.to_str().unwrap());
    }
    let text = calls.runs(other.runs(site.discord.reply(command))).await;
    assert!(text.starts_with("**Not sent from here:** Discord did not confirm the command"), "{text}");
    calls.signal("KILL");
    calls.ended().await;
    let mut next = site.start();
    next.runs_until_logged(r#"outcome="unknown""#).await;
    let all_told = |state: &State| state.interactions[&command].history.len() == 2;
    next.runs(site.discord.until("the outcome was told", all_told)).await;
    let text = site.discord.interaction(command).text().unwrap();
    assert!(text.starts_with("**Unknown:** the bot was interrupted during its request to Wolkvox."), "{text}");
    site.settle(&next);
}

#[tokio::test]
async fn no_toggle_before_one_is_named_if_another_copy_may_have_made_one_between() {
    for forgets_acknowledged in [false, true] {
        let (site, [one, other]) = two_machines().await;
        site.discord.state(|state| state.forgets_acknowledged = forgets_acknowledged);
        let mut by = BTreeSet::new();
        for n in 0..20 {
            let command = site.discord.mute(&supervisor(), 1001);
            let text = site.discord.reply(command).await;
            let by_one = one.log.outcome_in_text(command).await == "done";
            assert_eq!(other.log.outcome_in_text(command).await == "done", !by_one);
            by.insert(by_one);
            assert_eq!(text.contains("before this"), n > 0 && by.len() == 1, "{text}");
        }
    }
}
