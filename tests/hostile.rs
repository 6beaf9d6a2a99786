//! What a proxy in between, a hostile network and unlucky moments must not bring about.

use std::time::Duration;

use serde_json::json;
use serenity::model::id::ChannelId;
use tokio::time::{sleep, timeout};
use wolkvox_bot::config::Config;

use crate::acknowledgement::hurried;
use crate::support::Folder;
use crate::support::bot::{Site, World};
use crate::support::discord::{
    AUDIT_CHANNEL, ELSEWHERE, Fate, SessionStarts, State, command_data, stranger, supervisor,
};
use crate::support::http::Answer;
use crate::support::wolkvox;

#[tokio::test]
async fn another_copys_answer_is_not_written_over_by_a_repeat() {
    World::run_with(hurried, async |world| {
        world.discord.next([Fate::CutAfter]);
        world.discord.next_edits(vec![Fate::Refuse(503, 0); 3]);
        let command = world.discord.mute(&supervisor(), 1001);
        world.discord.until("tried to say so", |state| state.edit_fates.len() <= 2).await;
        let looks = world.discord.interaction(command).looks;
        world.discord.answer_elsewhere(command);
        world.discord.until("looked again", |state| state.interactions[&command].looks > looks).await;
        world.mute(1002).await;
        assert_eq!(world.discord.reply(command).await, ELSEWHERE);
    })
    .await;
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_listing() {
    let hasty = |config: &mut Config| config.limits.last_words = Duration::from_millis(300);
    World::run_with(hasty, async |world| {
        world.discord.next_edits(vec![Fate::Refuse(503, 0); 1000]);
        let command = world.discord.mute(&supervisor(), 1001);
        world.log.outcome(command).await;
        world.wolkvox.state(|state| state.agents = Some(Answer::Silent));
        world.discord.type_agent(&supervisor(), "a");
        world.wolkvox.until("the listing is in progress", |state| state.listings == 1).await;
        world.bot.shut_down();
        let ended = timeout(Duration::from_secs(10), world.bot.ended()).await;
        assert!(ended.is_ok(), "still there, and no call is in progress");
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
    let with_channel = |config: &mut Config| config.audit_channel = Some(ChannelId::new(AUDIT_CHANNEL));
    World::run_with(with_channel, async |world| {
        // The first post is held back, so that the others wait and share the next message.
        let fates = [Fate::Slow(Duration::from_millis(500)), Fate::Refuse(400, 50035)];
        world.discord.state(|state| state.other_fates.extend(fates));
        for agent in 1001..1006 {
            world.mute(agent).await;
        }
        let lines =
            |state: &State| state.posts.iter().flat_map(|post| post["content"].as_str().unwrap().lines()).count();
        world.discord.until("4 of 5 lines are posted", |state| lines(state) >= 4).await;
    })
    .await;
}

#[tokio::test]
async fn json_in_wolkvoxs_place_and_a_time_out_are_unknown_whatever_the_text() {
    World::run(async |world| {
        let refusal = r#"{"code": "200", "error": "X", "msg": "TOKEN LIMIT EXCEEDED"}"#;
        let sign_in = r#"{"code": 200, "status": "please sign in to the network"}"#;
        for (status, body) in [(408, refusal), (504, refusal), (200, sign_in)] {
            world.wolkvox.next([wolkvox::Fate::Say(status, "application/json", body.into())]);
            let (_, outcome) = world.told(world.discord.mute(&supervisor(), 1001)).await;
            assert_eq!(outcome, "unknown", "{status}");
        }
    })
    .await;
}

#[tokio::test]
async fn once_it_stops_no_listing_begins() {
    World::run(async |world| {
        let (command, held) = world.held_call().await;
        world.discord.finished(world.discord.type_agent(&supervisor(), "a")).await;
        // So that the bot is still there when the listing has its turn.
        world.discord.next_edits(vec![Fate::Refuse(503, 0); 4]);
        world.bot.shut_down();
        world.log.until_contains("stopping").await;
        held.notify_one();
        world.discord.reply(command).await;
        assert_eq!(world.wolkvox.state(|state| state.listings), 0);
    })
    .await;
}

#[tokio::test]
async fn an_interaction_is_carried_out_and_audited_once_however_often_it_is_delivered() {
    World::run(async |world| {
        let data = command_data(json!({"name": "agent_id", "type": 4, "value": 1001}));
        let (command, payload) = world.discord.new_interaction(&supervisor(), 2, data);
        let deliver = || world.discord.broadcast("INTERACTION_CREATE", payload.clone());
        (0..3).for_each(|_| deliver());
        world.discord.reply(command).await;
        // Not all at once: what a busy machine comes to after 3 s is not answered any more.
        for _ in 0..138 {
            let typed = [(); 8].map(|()| world.discord.type_agent(&stranger(), "a"));
            world.discord.finished(typed[7]).await;
        }
        deliver();
        world.mute(1002).await;
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
        world.discord.next(vec![Fate::StallAfter; 10]);
        let command = world.discord.mute(&supervisor(), 1001);
        world.discord.until_acknowledged(command).await;
        world.bot.shut_down();
        world.bot.ended().await.unwrap();
        assert!(world.discord.interaction(command).finished());
    })
    .await;
}

#[tokio::test]
async fn a_wall_clock_that_is_set_forward_keeps_no_result_back() {
    let mut site = Site::new().await;
    let offset = crate::clock::movable_clock(&mut site);
    let mut process = site.start();
    let test = async {
        let (first, held) = site.held_call().await;
        site.discord.next_edits(vec![Fate::Refuse(503, 0); 3]);
        std::fs::write(&offset, "3600").unwrap();
        held.notify_one();
        timeout(Duration::from_secs(10), site.discord.reply(first)).await.unwrap();
    };
    process.runs(test).await;
}

#[tokio::test]
async fn no_toggle_before_one_is_named_if_a_call_that_broke_off_lies_between() {
    let folder = Folder::new();
    let with_file = |config: &mut Config| config.state_file = Some(folder.join("state.db"));
    World::run_with(with_file, async |world| {
        world.mute(1001).await;
        world.trap.set("Wolkvox's answer can't be read");
        world.wolkvox.next([wolkvox::Fate::Say(200, "text/html", b"<html>".to_vec())]);
        let text = world.mute(1001).await;
        assert!(text.starts_with("**Unknown:**"), "{text}");
        let text = world.mute(1001).await;
        assert!(!text.contains("before this"), "{text}");
    })
    .await;
}
