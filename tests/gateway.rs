//! The connection to Discord: made gently, kept alive, resumed, and given up in the open.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time;
use wolkvox_bot::app::RunError;
use wolkvox_bot::config::Config;
use wolkvox_bot::discord::GatewayError;
use wolkvox_bot::language::{Language, Localized as _};

use crate::support::bot::{Log, World};
use crate::support::discord::{Fate, Gateway, Order, SessionStarts, State, supervisor};

/// Lets so much time pass at once.
async fn skip(time: Duration) {
    time::pause();
    time::advance(time).await;
    time::resume();
}

/// Waits until so many lines of the log say this: then the bot waits for what comes next.
async fn until_logged(world: &World, text: &str, times: usize) {
    let logged = |log: &Log| log.lines().iter().filter(|line| line.contains(text)).count() >= times;
    world.log.until(text, logged).await;
}

#[tokio::test]
async fn a_dropped_connection_is_resumed_and_missed_commands_are_carried_out() {
    World::run(async |world| {
        world.discord.order(|| Order::Drop);
        world.discord.until("the connection is gone", |state| state.connected.is_empty()).await;
        let command = world.discord.mute(&supervisor(), 1001);
        world.discord.reply(command).await;
        assert_eq!(world.discord.state(|state| (state.identifies, state.resumes)), (1, 1));
        assert_eq!(world.wolkvox.toggles(1001), 1);
    })
    .await;
}

#[tokio::test]
async fn ready_comes_again_and_the_command_is_not_registered_again() {
    World::run(async |world| {
        world.discord.state(|state| state.gateway = Gateway::ForgetsSessions);
        world.discord.order(|| Order::Drop);
        world.discord.until("a new session", |state| state.identifies == 2).await;
        world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
        assert_eq!(world.discord.state(|state| state.registrations), 1);
    })
    .await;
}

#[tokio::test]
async fn discord_may_ask_for_a_new_connection() {
    World::run(async |world| {
        for message in [json!({"op": 7, "d": null}), json!({"op": 9, "d": true})] {
            let resumes = world.discord.state(|state| state.resumes);
            world.discord.order(|| Order::Send(message.clone()));
            world.discord.until("resumed", |state| state.resumes == resumes + 1 && !state.connected.is_empty()).await;
            world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_that_timed_out_is_begun_anew() {
    World::run(async |world| {
        world.discord.order(|| Order::Close(4009));
        world.discord.until("a new session", |state| state.identifies == 2).await;
        assert_eq!(world.discord.state(|state| state.resumes), 0);
        world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
    })
    .await;
}

#[tokio::test]
async fn a_gateway_that_drops_every_connection_is_not_hammered() {
    World::run_unconnected(
        |_| {},
        |state| state.gateway = Gateway::Drops,
        async |world| {
            world.discord.until("some connections", |state| state.gateway_connections.len() >= 3).await;
            tokio::time::sleep(Duration::from_secs(9)).await;
            let connections = world.discord.state(|state| state.gateway_connections.clone());
            let first = connections[0];
            let early = connections.iter().filter(|at| at.duration_since(first) <= Duration::from_secs(10)).count();
            assert!((3..=10).contains(&early), "{early} connections in the first 10 s");
            // The pauses grow.
            let pauses: Vec<Duration> = connections.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(pauses.windows(2).all(|pair| pair[1] > pair[0]), "{pauses:?}");
            world.discord.state(|state| state.gateway = Gateway::Serves);
            world.discord.until_ready(1).await;
            world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
        },
    )
    .await;
}

#[tokio::test]
async fn final_close_codes_end_the_bot_with_a_remedy() {
    for (code, remedy) in [
        (4004, "DISCORD_TOKEN"),
        (4010, "DISCORD_TOKEN"),
        (4011, "DISCORD_TOKEN"),
        (4012, "update it"),
        (4013, "update it"),
        (4014, "update it"),
    ] {
        let prepare = |state: &mut State| state.gateway = Gateway::Closes(code);
        World::run_unconnected(
            |_| {},
            prepare,
            async |world| {
                let error = world.bot.ended().await.unwrap_err();
                match (&error, code) {
                    (RunError::Gateway { error: GatewayError::Token }, 4004) => {}
                    (RunError::Gateway { error: GatewayError::Closed(told) }, _) => assert_eq!(*told, code),
                    _ => panic!("{error:?}"),
                }
                assert!(error.to_string().contains(remedy) && error.only_a_person_can_fix(), "{error}");
                assert_eq!(world.discord.state(|state| state.gateway_connections.len()), 1);
            },
        )
        .await;
    }
}

#[tokio::test]
async fn a_connection_whose_heartbeats_are_not_answered_is_given_up_and_resumed() {
    let deaf = |state: &mut State| {
        state.heartbeat = Some(100);
        state.gateway = Gateway::Deaf;
    };
    World::run_unconnected(
        |_| {},
        deaf,
        async |world| {
            world.discord.until("given up and resumed", |state| state.resumes >= 1).await;
            world.log.until_contains("the gateway did not answer in time").await;
            world.discord.state(|state| state.gateway = Gateway::Serves);
            world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
        },
    )
    .await;
}

#[tokio::test]
async fn heartbeats_go_on_while_commands_come_and_go() {
    World::run_unconnected(
        |_| {},
        |state| state.heartbeat = Some(1000),
        async |world| {
            world.discord.until_ready(1).await;
            let commands = async {
                loop {
                    world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::select! {
                () = commands => {}
                () = world.discord.until("its heart beats", |state| state.heartbeats >= 3) => {}
            }
            assert_eq!(world.discord.state(|state| (state.identifies, state.resumes)), (1, 0));
        },
    )
    .await;
}

#[tokio::test]
async fn a_heartbeat_that_discord_asks_for_is_sent_at_once() {
    World::run(async |world| {
        world.discord.order(|| Order::Send(json!({"op": 1, "d": null})));
        world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
    })
    .await;
}

#[tokio::test]
async fn it_also_ends_when_a_connection_that_was_ready_is_lost_for_too_long() {
    World::run_with(
        |config| config.limits.disconnected = Duration::from_secs(2),
        async |world| {
            tokio::time::sleep(Duration::from_secs(3)).await;
            world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
            world.discord.state(|state| state.gateway = Gateway::Refuses);
            world.discord.order(|| Order::Drop);
            let error = world.bot.ended().await.unwrap_err();
            assert!(matches!(error, RunError::Gateway { error: GatewayError::Unreachable { .. } }), "{error:?}");
        },
    )
    .await;
}

#[tokio::test]
async fn nonsense_from_the_gateway_does_no_harm() {
    World::run(async |world| {
        world.discord.order(|| Order::Send(json!("nonsense")));
        world.discord.order(|| Order::Send(json!({"op": 200, "d": [1, 2]})));
        world.discord.order(|| Order::Send(json!({"op": 0, "s": null, "t": null, "d": null})));
        world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
        assert_eq!(world.discord.state(|state| state.resumes), 0);
    })
    .await;
}

#[tokio::test]
async fn the_last_sessions_of_a_day_are_not_spent() {
    let shorter = |config: &mut Config| config.limits.disconnected = Duration::from_secs(1);
    let few = |state: &mut State| state.session_starts = SessionStarts::left(5, Duration::from_millis(1500));
    World::run_unconnected(shorter, few, async |world| {
        world.log.until_contains("nearly all connections that Discord allows in a day are used up").await;
        assert_eq!(world.discord.state(|state| state.identifies), 0);
        // It waits on purpose, longer than it would stay without Discord otherwise.
        world.discord.until_ready(1).await;
        world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
    })
    .await;
}

#[tokio::test]
async fn while_few_sessions_are_left_the_log_is_told_now_and_then_and_more_are_noticed_early() {
    let few = |state: &mut State| state.session_starts = SessionStarts::left(5, Duration::from_secs(20 * 3600));
    World::run_unconnected(
        |_| {},
        few,
        async |world| {
            until_logged(world, "nearly all connections", 1).await;
            skip(Duration::from_secs(601)).await;
            until_logged(world, "nearly all connections", 2).await;
            world.discord.state(|state| state.session_starts = SessionStarts::default());
            skip(Duration::from_secs(601)).await;
            world.discord.until_ready(1).await;
        },
    )
    .await;
}

#[tokio::test]
async fn a_session_is_resumed_however_few_may_be_begun() {
    World::run(async |world| {
        world.discord.state(|state| state.session_starts = SessionStarts::left(1, Duration::from_secs(3600)));
        world.discord.order(|| Order::Drop);
        world.discord.until("resumed", |state| state.resumes == 1).await;
        world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
        assert_eq!(world.discord.state(|state| state.identifies), 1);
    })
    .await;
}

#[tokio::test]
async fn an_answer_without_end_is_given_up() {
    World::run_unconnected(
        |_| {},
        |state| state.other_fates.extend([Fate::Accept, Fate::Endless]),
        async |world| {
            world.log.until_contains("the answer is too long").await;
            world.discord.until_ready(1).await;
            world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
        },
    )
    .await;
}

#[tokio::test]
async fn a_rate_limit_on_the_way_to_the_gateway_is_waited_out() {
    let shorter = |config: &mut Config| config.limits.disconnected = Duration::from_secs(1);
    let started = Instant::now();
    let prepare = |state: &mut State| {
        state.other_fates.push_back(Fate::Accept);
        state.chance = Some(Box::new(move |kind| {
            let left = Duration::from_secs(3).saturating_sub(started.elapsed());
            if kind == "other" && !left.is_zero() { Fate::RateLimit(left.as_secs_f64()) } else { Fate::Accept }
        }));
    };
    World::run_unconnected(shorter, prepare, async |world| {
        world.discord.until_ready(1).await;
        world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
    })
    .await;
}

#[tokio::test]
async fn out_of_reach_for_too_long_the_bot_tells_the_log_and_ends_saying_what_the_last_try_met() {
    let shorter = |config: &mut Config| config.limits.disconnected = Duration::from_secs(3);
    for (gateway, met, spanish) in [
        (Gateway::Drops, "the connection to the gateway broke", "se cortó la conexión con el gateway"),
        (
            Gateway::Refuses,
            "no answer from Discord: the connection broke",
            "Discord no respondió: se cortó la conexión",
        ),
        (Gateway::Page(403), "something other than Discord answered", "otra cosa respondió en lugar de Discord"),
        (
            Gateway::Closes(4000),
            "the gateway closed the connection with code 4000",
            "el gateway cerró la conexión con el código 4000",
        ),
    ] {
        let prepare = |state: &mut State| state.gateway = gateway;
        World::run_unconnected(shorter, prepare, async |world| {
            let error = world.bot.ended().await.unwrap_err();
            assert!(matches!(error, RunError::Gateway { error: GatewayError::Unreachable { .. } }), "{error:?}");
            assert!(!error.only_a_person_can_fix());
            let told = error.to_string();
            assert!(told.contains("out of reach for 3 s") && told.contains(met), "{told}");
            let told = error.in_language(Language::Spanish);
            assert!(told.contains("durante 3 s") && told.contains(spanish), "{told}");
            let reports = world.log.lines();
            let reports =
                reports.iter().filter(|line| line.contains("ERROR") && line.contains("has been out of reach"));
            assert!((1..=3).contains(&reports.count()), "{}", world.log.text());
        })
        .await;
    }
}

#[tokio::test]
async fn an_answer_that_discord_never_takes_ends_nothing() {
    World::run_with(
        |config| config.limits.disconnected = Duration::from_secs(2),
        async |world| {
            world.discord.state(|state| state.always.insert("edit", Fate::Refuse(500, 0)));
            let poisoned = world.discord.mute(&supervisor(), 1001);
            time::sleep(Duration::from_secs(3)).await;
            world.discord.state(|state| state.always.clear());
            world.discord.reply(world.discord.mute(&supervisor(), 1002)).await;
            world.discord.reply(poisoned).await;
        },
    )
    .await;
}

#[tokio::test]
async fn a_session_that_can_not_be_resumed_any_more_is_begun_anew() {
    World::run(async |world| {
        world.discord.state(|state| state.gateway = Gateway::DropsResumes);
        world.discord.order(|| Order::Drop);
        world.discord.until("two RESUMEs are dropped", |state| state.resumes == 2).await;
        world.discord.state(|state| state.gateway = Gateway::IgnoresResumes);
        world.discord.until("a new session", |state| state.identifies == 2).await;
        assert_eq!(world.discord.state(|state| state.resumes), 3);
        world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
    })
    .await;
}

#[tokio::test]
async fn a_session_that_ended_during_an_outage_is_begun_anew_within_seconds() {
    World::run(async |world| {
        // A session that lived for a while.
        skip(Duration::from_secs(400)).await;
        world.discord.state(|state| state.gateway = Gateway::Refuses);
        world.discord.order(|| Order::Drop);
        for tries in 1..=6 {
            until_logged(world, "the connection to Discord was lost", tries).await;
            skip(Duration::from_secs(30)).await;
        }
        until_logged(world, "the connection to Discord was lost", 7).await;
        world.discord.state(|state| state.gateway = Gateway::ForgetsSessions);
        skip(Duration::from_secs(30)).await;
        world.discord.until("its session is gone", |state| state.resumes == 1).await;
        let since = time::Instant::now();
        world.discord.until("a new session", |state| state.identifies == 2).await;
        assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    })
    .await;
}

#[tokio::test]
async fn introductions_that_fail_are_so_far_apart_that_a_day_has_enough_of_them() {
    let taken_by_none = |state: &mut State| state.gateway = Gateway::TakesNoSession;
    World::run_unconnected(
        |_| {},
        taken_by_none,
        async |world| {
            for tries in 1..=8 {
                until_logged(world, "was lost: the gateway ended the session", tries).await;
                skip(Duration::from_secs(91)).await;
            }
            until_logged(world, "was lost: the gateway ended the session", 9).await;
            skip(Duration::from_secs(80)).await;
            time::sleep(Duration::from_secs(1)).await;
            assert_eq!(world.discord.state(|state| state.identifies), 9);
            world.discord.state(|state| state.gateway = Gateway::Serves);
            skip(Duration::from_secs(10)).await;
            world.discord.until_connected().await;
        },
    )
    .await;
}

#[tokio::test]
async fn a_session_that_carries_nothing_any_more_is_not_resumed() {
    World::run(async |world| {
        world.log.until_contains("may use /mute").await;
        world.log.until_contains("ready for commands").await;
        world.discord.deafen_sessions();
        skip(Duration::from_secs(3601)).await;
        world.discord.order(|| Order::Send(json!({"op": 7, "d": null})));
        world.discord.until("a new session", |state| state.identifies == 2 && !state.connected.is_empty()).await;
        assert_eq!(world.discord.state(|state| state.resumes), 0);
        world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
    })
    .await;
}

#[tokio::test]
async fn a_silent_session_is_resumed_where_few_may_be_begun() {
    World::run(async |world| {
        world.log.until_contains("may use /mute").await;
        world.log.until_contains("ready for commands").await;
        world.discord.state(|state| state.session_starts = SessionStarts::left(50, Duration::from_secs(3600)));
        skip(Duration::from_secs(3601)).await;
        world.discord.order(|| Order::Send(json!({"op": 7, "d": null})));
        world.discord.until("resumed", |state| state.resumes == 1 && !state.connected.is_empty()).await;
        assert_eq!(world.discord.state(|state| state.identifies), 1);
    })
    .await;
}

#[tokio::test]
async fn a_blocked_address_is_named_and_waited_out() {
    let shorter = |config: &mut Config| config.limits.disconnected = Duration::from_secs(1);
    let blocked = |state: &mut State| state.gateway = Gateway::Banned;
    World::run_unconnected(shorter, blocked, async |world| {
        world.log.until_contains("blocks this machine's public address").await;
        time::sleep(Duration::from_secs(2)).await;
        world.discord.state(|state| state.gateway = Gateway::Serves);
        world.discord.until_ready(1).await;
    })
    .await;
}

#[tokio::test]
async fn what_discord_says_of_an_interaction_is_not_repeated_since_it_may_quote_the_token() {
    World::run(async |world| {
        let quoted = "Value \"interaction-token-\" is not snowflake.";
        let errors = json!({"interaction_token": {"_errors": [{"code": "X", "message": quoted}]}});
        let body = json!({"code": 50035, "message": quoted, "errors": errors});
        world.discord.state(|state| {
            state.first_answer_fates.push_back(Fate::Body(500, body.clone()));
            state.edit_fates.push_back(Fate::Body(500, body));
        });
        world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
        assert!(world.log.text().contains("HTTP 500 with code 50035"));
    })
    .await;
}
