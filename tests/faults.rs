//! Everything fails at random, and the bot still tells the truth. `FAULT_SEED=n cargo test faults` repeats a run's draws,
//! and `FAULT_COMMANDS=n` makes it a longer one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use wolkvox_bot::config::Config;

use crate::support::bot::World;
use crate::support::discord::{self, Actor, Order, second_supervisor, stranger, supervisor};
use crate::support::wolkvox::{self, BUSY};

const COMMANDS: u64 = 400;

fn discord_fate(rng: &mut Rng, kind: &str) -> discord::Fate {
    use discord::Fate;

    match (kind, rng.u32(0..100)) {
        ("first answer", 0..4) => Fate::Refuse(503, 0),
        ("first answer", 4..7) => Fate::CutBefore,
        ("first answer", 7..9) => Fate::CutAfter,
        ("first answer", 9..11) => Fate::Refuse(404, 10062),
        ("first answer", 11..14) => Fate::AnsweredElsewhere,
        ("first answer", 14..18) => Fate::Slow(Duration::from_millis(rng.u64(0..80))),
        ("first answer", 18..22) => Fate::Late(Duration::from_millis(rng.u64(0..900))),
        ("first answer", 22..24) => Fate::Stall,
        ("first answer", 24..26) => Fate::StallAfter,
        ("first answer", 26..27) => Fate::Page(*rng.choice(&[200, 302, 403]).unwrap()),
        ("first answer", 28..30) => Fate::Refuse(403, 40333),
        ("first answer", 30..32) => Fate::Forget,
        ("first answer", 27..28) => Fate::Json(*rng.choice(&[200, 403]).unwrap()),
        ("edit", 0..8) => Fate::Refuse(500, 0),
        ("edit", 8..14) => Fate::CutBefore,
        ("edit", 14..20) => Fate::CutAfter,
        ("edit", 20..26) => Fate::RateLimit(0.05),
        ("edit", 26..30) => Fate::Deleted,
        ("edit", 30..34) => Fate::Refuse(400, 50035),
        ("edit", 34..36) => Fate::Page(200),
        ("edit", 36..37) => Fate::Json(200),
        ("edit", 37..39) => Fate::Stall,
        ("edit", 39..41) => Fate::StallAfter,
        ("edit", 41..42) => Fate::Cloudflare(3600),
        ("edit", 42..44) => Fate::Refuse(401, 50027),
        ("edit", 44..46) => Fate::Refuse(403, 40333),
        ("look", 0..10) => Fate::Refuse(503, 0),
        ("look", 10..20) => Fate::CutBefore,
        ("follow-up", 0..10) => Fate::RateLimit(0.05),
        ("follow-up", 10..20) => Fate::CutAfter,
        _ => Fate::Accept,
    }
}

fn wolkvox_fate(rng: &mut Rng) -> wolkvox::Fate {
    use wolkvox::Fate;

    match rng.u32(0..100) {
        0..3 => Fate::CutBefore,
        3..6 => Fate::CutAfter,
        6..8 => Fate::Say(502, "text/html", b"<html>Bad gateway</html>".to_vec()),
        8..10 => Fate::Say(200, "application/json", b"{\"code\":\"200\",\"error\":nu".to_vec()),
        10..11 => Fate::Silent,
        11..13 => BUSY,
        13..15 => Fate::Refuse(403, "FORBIDDEN", "TOKEN LIMIT EXCEEDED"),
        15..17 => Fate::Refuse(403, "FORBIDDEN", "PLEASE VALIDATE TOKEN"),
        17..40 => Fate::Slow(Duration::from_millis(rng.u64(0..15))),
        _ => Fate::Confirm,
    }
}

/// What a reply claims: its beginning, which our own words share with Wolkvox's.
pub(crate) fn meaning(text: &str) -> &str {
    const DONE: [&str; 2] = [wolkvox::SUCCESS, "Wolkvox reported success"];
    if DONE.iter().any(|done| text.starts_with(done)) {
        return "done";
    }
    text.strip_prefix("**").and_then(|text| text.split_once(":**")).map_or(text, |(meaning, _)| meaning)
}

#[tokio::test]
async fn through_every_fault_nothing_is_toggled_twice_and_nobody_is_told_a_lie() {
    let number = |name| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    let seed = number("FAULT_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
    println!("FAULT_SEED={seed}");
    let started = Instant::now();
    let mut rng = Rng::with_seed(seed);
    let impatient = |config: &mut Config| {
        config.wolkvox.timeout = Duration::from_secs(1);
        config.limits.first_answer = Duration::from_millis(600);
        config.limits.look_again = Duration::from_millis(500);
        config.limits.delivery = Duration::from_secs(90);
        config.limits.last_words = Duration::from_secs(60);
        config.limits.telling = Duration::from_secs(5);
    };
    World::run_with(impatient, async |world| {
        let (mut discords, mut wolkvoxes) = (rng.fork(), rng.fork());
        world.discord.state(|s| s.chance = Some(Box::new(move |kind| discord_fate(&mut discords, kind))));
        world.wolkvox.state(|s| s.chance = Some(Box::new(move || wolkvox_fate(&mut wolkvoxes))));

        // One of each at the beginning, so that no run goes without.
        world.discord.state(|s| s.first_answer_fates.push_back(discord::Fate::Refuse(404, 10062)));
        world.wolkvox.next([wolkvox::Fate::Refuse(403, "FORBIDDEN", "TOKEN LIMIT EXCEEDED"), wolkvox::Fate::CutAfter]);

        let third = Actor { id: 504, name: "diego", ..second_supervisor() };
        let actors = [supervisor(), second_supervisor(), third, stranger()];
        let mut commands: BTreeMap<u64, u64> = BTreeMap::new();
        let mut questions: Vec<(u64, Actor)> = Vec::new();
        let mut unshared = 10_000;
        for n in 0..number("FAULT_COMMANDS").unwrap_or(COMMANDS) {
            let actor = rng.choice(&actors).unwrap();
            // Half of the commands have an agent of their own, the others meet at a few.
            let agent = if rng.bool() {
                unshared += 1;
                unshared
            } else {
                rng.u64(1..=6)
            };
            let command = world.discord.mute(actor, agent);
            commands.insert(command, agent);
            questions.push((command, actor.clone()));
            // Some of those who were asked go on.
            if rng.u32(0..10) == 0 {
                let asked = questions.iter().rev().find_map(|(command, actor)| {
                    Some((world.discord.interaction(*command).button()?, actor, commands[command]))
                });
                if let Some((button, actor, agent)) = asked {
                    commands.insert(world.discord.press(actor, &button), agent);
                }
            }
            // Somebody deletes what is being answered.
            if rng.u32(0..60) == 0 && world.discord.interaction(command).deferred() {
                world.discord.delete_message(command);
            }
            match n {
                90 | 210 => world.discord.order(|| Order::Drop),
                150 => world.wolkvox.go_down(),
                170 => world.wolkvox.come_back(),
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(rng.u64(0..30))).await;
        }
        // The last commands meet a bot that stops while a call is under way.
        let held = world.wolkvox.hold();
        let last: Vec<u64> = (20_000..20_010).map(|agent| world.discord.mute(&supervisor(), agent)).collect();
        commands.extend(last.iter().copied().zip(20_000..));
        let waiting = |state: &discord::State| {
            let waits = |id: &&u64| state.interactions[id].deferred() && !state.interactions[id].finished();
            last.iter().filter(waits).count() >= 4
        };
        world.discord.until("some wait", waiting).await;
        world.wolkvox.until("a call is under way", |state| state.fates.is_empty()).await;
        world.bot.shut_down();
        held.notify_one();
        world.bot.ended().await.unwrap();

        let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
        let mut least: BTreeMap<u64, usize> = BTreeMap::new();
        let mut most: BTreeMap<u64, usize> = BTreeMap::new();
        for (command, agent) in &commands {
            let records = world.log.audits_of(*command);
            let seen = world.discord.interaction(*command);
            // The very last ones may have come when the bot took no more.
            if records.is_empty() && *agent >= 20_000 && seen.first.is_none() {
                continue;
            }
            assert_eq!(records.len(), 1, "seed {seed}: one audit record a command, not {records:?}");
            let outcome = records[0]["outcome"].as_str().unwrap();
            *outcomes.entry(outcome.to_owned()).or_default() += 1;
            *least.entry(*agent).or_default() += usize::from(outcome == "done");
            *most.entry(*agent).or_default() += usize::from(matches!(outcome, "done" | "unknown"));
            let left_alone = seen.deferred() && !seen.elsewhere && seen.history.is_empty();
            assert!(!left_alone, "seed {seed}: {outcome}, and left on \"thinking…\": {seen:?}");
            let told: std::collections::BTreeSet<_> = seen.history.iter().map(|text| meaning(text)).collect();
            assert!(told.len() <= 1, "seed {seed}: told one thing and then another: {:?}", seen.history);
            if outcome != "unacknowledged" {
                assert!(seen.finished(), "seed {seed}: {outcome} but no reply: {seen:?}");
                assert!(!seen.elsewhere, "seed {seed}: {outcome} although another copy had it");
            }
        }
        for (agent, least) in &least {
            let toggles = world.wolkvox.toggles(*agent);
            assert!(
                (*least..=most[agent]).contains(&toggles),
                "seed {seed}: agent {agent} was toggled {toggles} times, told {least} to {}",
                most[agent]
            );
        }
        let unknown = outcomes.get("unknown").copied().unwrap_or_default();
        let unknowable = world.wolkvox.state(|state| state.unknowable);
        // Going down may cut one more request, which Wolkvox itself then never saw, and the held one may time out.
        assert!(
            (unknowable..=unknowable + 2).contains(&unknown),
            "seed {seed}: {unknown} unknown, {unknowable} unknowable"
        );
        for expected in ["done", "rejected", "unknown", "not_sent", "denied", "guarded", "unacknowledged"] {
            assert!(outcomes.contains_key(expected), "seed {seed}: {expected} never happened: {outcomes:?}");
        }
        println!("{outcomes:?} in {:?}", started.elapsed());
    })
    .await;
}
