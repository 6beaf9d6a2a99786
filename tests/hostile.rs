//! What a proxy in between, a hostile network and unlucky moments must not bring about.

use std::time::Duration;

use serde_json::json;
use serenity::model::id::ChannelId;
use tokio::time::{sleep, timeout};
use wolkvox_bot::config::Config;

use crate::support::bot::{Site, World};
use crate::support::discord::{AUDIT_CHANNEL, Fate, Gateway, SessionStarts, State, supervisor};
use crate::support::http::Answer;

fn hurried(config: &mut Config) {
    config.limits.first_answer = Duration::from_millis(400);
    config.limits.look_again = Duration::from_millis(300);
}

#[tokio::test]
async fn json_in_discords_place_is_no_acceptance() {
    World::run_with(hurried, async |world| {
        world.discord.state(|state| state.first_answer_fates.extend(vec![Fate::Json(200); 50]));
        let command = world.discord.mute(&supervisor(), 1001);
        world.log.until("audited", |log| !log.audits_of(command).is_empty()).await;
        let toggles = world.wolkvox.toggles(1001);
        let first = world.discord.interaction(command).first.is_some();
        world.discord.state(|state| state.first_answer_fates.clear());
        world.discord.void_token(command);
        assert!(toggles == 0 || first, "toggled {toggles} times, accepted: {first}");
    })
    .await;
}

#[tokio::test]
async fn json_in_discords_place_delivers_nothing() {
    World::run(async |world| {
        world.discord.state(|state| state.edit_fates.push_back(Fate::Json(200)));
        let command = world.discord.mute(&supervisor(), 1001);
        let told = timeout(Duration::from_secs(3), world.discord.reply(command)).await;
        assert!(told.is_ok(), "left on thinking, and the log: {:?}", world.log.lines().last());
    })
    .await;
}

#[tokio::test]
async fn json_403_in_discords_place_is_no_refusal() {
    World::run(async |world| {
        world.discord.state(|state| state.first_answer_fates.push_back(Fate::Json(403)));
        let command = world.discord.mute(&supervisor(), 1001);
        assert_eq!(world.log.outcome(command).await, "done");
    })
    .await;
}

#[tokio::test]
async fn another_copys_answer_is_not_written_over_by_a_repeat() {
    World::run_with(hurried, async |world| {
        world.discord.state(|state| {
            state.first_answer_fates.push_back(Fate::CutAfter);
            state.edit_fates.extend(vec![Fate::Refuse(503, 0); 3]);
        });
        let command = world.discord.mute(&supervisor(), 1001);
        world
            .discord
            .until("looked and tried to say so", |state| {
                state.interactions[&command].looks >= 1 && state.edit_fates.len() <= 2
            })
            .await;
        world.discord.state(|state| {
            let answer = json!({"content": "answered by another copy", "allowed_mentions": {"parse": []}});
            state.interactions.get_mut(&command).unwrap().shown = Some(answer);
        });
        sleep(Duration::from_millis(2500)).await;
        assert_eq!(world.discord.reply(command).await, "answered by another copy");
    })
    .await;
}

#[tokio::test]
async fn one_follow_up_is_posted() {
    World::run(async |world| {
        let (command, held) = world.held_call().await;
        world.discord.delete_message(command);
        world.discord.state(|state| {
            state.follow_up_fates.extend([Fate::CutAfter, Fate::StallAfter, Fate::StallAfter, Fate::StallAfter])
        });
        held.notify_one();
        world.discord.follow_up(command).await;
        sleep(Duration::from_secs(5)).await;
        assert_eq!(world.discord.interaction(command).follow_ups.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_listing() {
    let hasty = |config: &mut Config| config.limits.last_words = Duration::from_millis(300);
    World::run_with(hasty, async |world| {
        world.discord.state(|state| state.edit_fates.extend(vec![Fate::Refuse(503, 0); 1000]));
        let command = world.discord.mute(&supervisor(), 1001);
        world.log.outcome(command).await;
        world.wolkvox.state(|state| state.agents = Some(Answer::Silent));
        world.discord.type_agent(&supervisor(), "a");
        world.wolkvox.until("the listing is under way", |state| state.listings == 1).await;
        world.bot.shut_down();
        let ended = timeout(Duration::from_secs(10), world.bot.ended()).await;
        assert!(ended.is_ok(), "still there, and no call is under way");
    })
    .await;
}

#[tokio::test]
async fn no_sessions_left_and_no_time_to_wait_is_not_hammered() {
    World::run_unconnected(
        |config| config.limits.disconnected = Duration::from_secs(2),
        |state: &mut State| state.session_starts = SessionStarts { remaining: 5, reset: None },
        async |world| {
            sleep(Duration::from_secs(3)).await;
            let asked = world.log.lines().iter().filter(|line| line.contains("nearly all connections")).count();
            world.discord.state(|state| state.session_starts.remaining = 1000);
            assert!(asked <= 10, "asked {asked} times in 3 s");
        },
    )
    .await;
}

#[tokio::test]
async fn one_line_that_discord_does_not_take_costs_no_other() {
    World::run_with(
        |config| config.audit_channel = Some(ChannelId::new(AUDIT_CHANNEL)),
        async |world| {
            // The first post is held back, so that the others wait and share the next message.
            world.discord.state(|state| {
                state.other_fates.extend([Fate::Slow(Duration::from_millis(500)), Fate::Refuse(400, 50035)]);
            });
            for agent in 1001..1006 {
                world.discord.reply(world.discord.mute(&supervisor(), agent)).await;
            }
            sleep(Duration::from_secs(2)).await;
            let lines = world.discord.state(|state| {
                state.posts.iter().map(|post| post["content"].as_str().unwrap().lines().count()).sum::<usize>()
            });
            assert!(lines >= 4, "{lines} of 5 lines were posted");
        },
    )
    .await;
}

#[tokio::test]
async fn json_in_wolkvoxs_place_is_no_success() {
    World::run(async |world| {
        let page = br#"{"code": 200, "status": "please sign in to the network"}"#.to_vec();
        world.wolkvox.next([crate::support::wolkvox::Fate::Say(200, "application/json", page)]);
        let command = world.discord.mute(&supervisor(), 1001);
        assert_eq!(world.log.outcome(command).await, "unknown");
    })
    .await;
}

#[tokio::test]
async fn a_time_out_status_is_no_refusal_whatever_the_text() {
    World::run(async |world| {
        let body = br#"{"code": "200", "error": "X", "msg": "TOKEN LIMIT EXCEEDED"}"#;
        for status in [408, 504] {
            world.wolkvox.next([crate::support::wolkvox::Fate::Say(status, "application/json", body.to_vec())]);
            let command = world.discord.mute(&supervisor(), 1001);
            assert_eq!(world.log.outcome(command).await, "unknown", "{status}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_wait_before_an_identify_is_not_repeated_when_no_identify_was_sent() {
    World::run_unconnected(
        |_| {},
        |state: &mut State| {
            state.gateway = Gateway::Drops;
            state.session_starts = SessionStarts::left(50, Duration::from_secs(50));
        },
        async |world| {
            world.discord.until("two connections", |state| state.gateway_connections.len() >= 2).await;
            let waits = world.log.lines().iter().filter(|line| line.contains("the next one is made in")).count();
            world.discord.state(|state| state.gateway = Gateway::Serves);
            world.discord.until_ready(1).await;
            assert_eq!(waits, 1, "and no IDENTIFY was sent in between");
        },
    )
    .await;
}

#[tokio::test]
async fn once_it_stops_no_listing_begins() {
    World::run(async |world| {
        let (command, held) = world.held_call().await;
        world.discord.type_agent(&supervisor(), "a");
        sleep(Duration::from_millis(300)).await;
        // So that the bot is still there when the listing has its turn.
        world.discord.state(|state| state.edit_fates.extend(vec![Fate::Refuse(503, 0); 4]));
        world.bot.shut_down();
        world.log.until_contains("stopping").await;
        held.notify_one();
        world.discord.reply(command).await;
        let listings = world.wolkvox.state(|state| state.listings);
        assert_eq!(listings, 0, "a listing began after the bot was told to stop");
    })
    .await;
}

#[tokio::test]
async fn a_replay_after_many_others_is_carried_out_once_and_audited_once() {
    World::run(async |world| {
        let data = crate::support::discord::command_data(json!({"name": "agent_id", "type": 4, "value": 1001}));
        let (command, payload) = world.discord.new_interaction(&supervisor(), 2, data);
        world.discord.broadcast("INTERACTION_CREATE", payload.clone());
        world.discord.reply(command).await;
        for _ in 0..1000 {
            world.discord.type_agent(&crate::support::discord::stranger(), "a");
        }
        world.discord.broadcast("INTERACTION_CREATE", payload);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(world.wolkvox.toggles(1001), 1);
        assert_eq!(world.log.audits_of(command).len(), 1);
    })
    .await;
}

#[tokio::test]
async fn stopping_leaves_nobody_on_thinking_by_a_lost_answer() {
    // The real limits, ten times as fast.
    let tenth = |config: &mut Config| {
        config.limits.first_answer = Duration::from_millis(300);
        config.limits.look_again = Duration::from_millis(1500);
        config.limits.last_words = Duration::from_millis(2000);
    };
    World::run_with(tenth, async |world| {
        world.discord.state(|state| state.first_answer_fates.extend(vec![Fate::StallAfter; 10]));
        let command = world.discord.mute(&supervisor(), 1001);
        world.discord.until_acknowledged(command).await;
        world.bot.shut_down();
        world.bot.ended().await.unwrap();
        assert!(
            world.discord.interaction(command).finished(),
            "left on thinking for good, looks: {}",
            world.discord.interaction(command).looks
        );
    })
    .await;
}

#[tokio::test]
async fn a_wall_clock_that_is_set_forward_keeps_no_result_back() {
    let mut site = Site::new().await;
    let offset = crate::clock::movable_clock(&mut site);
    let discord = &site.discord;
    let mut process = site.start();
    let log = process.log.clone();
    let test = async {
        let (first, held) = site.held_call().await;
        discord.state(|state| state.edit_fates.extend(vec![Fate::Refuse(503, 0); 3]));
        std::fs::write(&offset, "3600").unwrap();
        held.notify_one();
        let told = timeout(Duration::from_secs(10), discord.reply(first)).await;
        assert!(told.is_ok(), "{}", log.text());
    };
    process.runs(test).await;
}

#[tokio::test]
async fn a_refused_look_is_repeated() {
    World::run_with(hurried, async |world| {
        world.discord.state(|state| {
            state.first_answer_fates.push_back(Fate::CutAfter);
            state.look_fates.push_back(Fate::Refuse(403, 50001));
        });
        let command = world.discord.mute(&supervisor(), 1001);
        let told = timeout(Duration::from_secs(5), world.discord.reply(command)).await;
        assert!(told.is_ok(), "left on thinking for good");
    })
    .await;
}

#[tokio::test]
async fn no_toggle_before_one_is_named_if_a_call_that_broke_off_lies_between() {
    let folder = crate::support::Folder::new();
    World::run_with(
        |config| config.state_file = Some(folder.join("record.db")),
        async |world| {
            world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
            world.trap.set("Wolkvox's answer can't be read");
            world.wolkvox.next([crate::support::wolkvox::Fate::Say(200, "text/html", b"<html>".to_vec())]);
            let text = world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
            assert!(text.starts_with("**Unknown:**"), "{text}");
            let text = world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
            assert!(!text.contains("before this"), "{text}");
        },
    )
    .await;
}
