//! The call to Wolkvox: once, one at a time, and never a claim that its answer does not bear out.

use std::time::{Duration, Instant};

use serde_json::json;
use wolkvox_bot::net::BaseUrl;

use crate::support::bot::World;
use crate::support::discord::supervisor;
use crate::support::http::Port;
use crate::support::wolkvox::{BUSY, Fate, Wolkvox};

/// The outcome of a command whose request meets this fate.
async fn outcome(world: &World, fate: Fate) -> String {
    world.wolkvox.next([fate]);
    let command = world.discord.mute(&supervisor(), 1001);
    world.discord.reply(command).await;
    world.log.outcome(command).await
}

fn say(status: u16, body: &str) -> Fate {
    Fate::Say(status, "application/json", body.as_bytes().to_vec())
}

#[tokio::test]
async fn only_a_plain_success_counts_as_done() {
    World::run(async |world| {
        for (fate, expected) in [
            (say(200, r#"{"code":"200","error":null,"msg":"ok"}"#), "done"),
            (say(200, r#"{"code":200,"error":null,"msg":"ok"}"#), "done"),
            (say(202, r#"{"code":202,"msg":"ok"}"#), "done"),
            (say(200, r#"{"code":"200","error":"null","msg":"ok","more":[1,2]}"#), "done"),
            (say(200, r#"{"code":"200","error":"","msg":null}"#), "done"),
            (Fate::Say(200, "text/html", br#" {"code":"200","error":null,"msg":"ok"}"#.to_vec()), "done"),
            (Fate::Say(200, "", b"\xEF\xBB\xBF{\"code\":\"200\",\"error\":null,\"msg\":\"ok\"}\n".to_vec()), "done"),
            // An error inside HTTP 200, or an HTTP error with or without the code.
            (say(200, r#"{"code":"403","error":"FORBIDDEN","msg":"PLEASE VALIDATE TOKEN"}"#), "rejected"),
            (say(200, r#"{"code":403,"error":null,"msg":"no"}"#), "rejected"),
            (say(200, r#"{"code":"200","error":"FORBIDDEN","msg":"TOKEN LIMIT EXCEEDED"}"#), "rejected"),
            (say(429, r#"{"code":"429","error":"TOO MANY REQUESTS","msg":"no"}"#), "rejected"),
            (say(404, r#"{"code":"404","error":"NOT FOUND","msg":"no such agent"}"#), "rejected"),
            (say(400, r#"{"error":"BAD REQUEST","msg":"no"}"#), "rejected"),
            // What may come after the toggle was carried out.
            (say(200, r#"{"code":"200","error":"SOMETHING","msg":"no"}"#), "unknown"),
            (say(200, r#"{"code":"200","error":"TIMEOUT WAITING FOR THE AGENT","msg":""}"#), "unknown"),
            (say(408, r#"{"code":"408","error":"REQUEST TIMEOUT","msg":"no"}"#), "unknown"),
            (say(408, r#"{"code":"400","error":"BAD REQUEST","msg":"no"}"#), "unknown"),
            (say(200, r#"{"code":"408","error":"REQUEST TIMEOUT","msg":"no"}"#), "unknown"),
            (say(425, r#"{"code":"425","error":"TOO EARLY","msg":"no"}"#), "unknown"),
            (say(499, r#"{"code":"499","error":"CLIENT CLOSED REQUEST","msg":"no"}"#), "unknown"),
            (say(409, r#"{"code":"409","error":"CONFLICT","msg":"no"}"#), "unknown"),
            // Everything else says nothing.
            (say(200, ""), "unknown"),
            (say(200, "{"), "unknown"),
            (say(200, r#"{"code":"200","error":null,"msg":"o"#), "unknown"),
            (say(200, "null"), "unknown"),
            (say(200, "[]"), "unknown"),
            (say(200, r#"["200",null,"ok"]"#), "unknown"),
            (say(200, "{}"), "unknown"),
            (say(200, r#"{"error":null,"msg":"ok"}"#), "unknown"),
            (say(200, r#"{"code":"200","error":null,"msg":7}"#), "unknown"),
            (say(200, r#"{"code":"200","error":false,"msg":"ok"}"#), "unknown"),
            (say(200, r#"{"code":"200","error":{"x":1},"msg":"ok"}"#), "unknown"),
            (say(200, r#"{"code":"OK","error":null,"msg":"ok"}"#), "unknown"),
            (say(200, r#"{"code":200.5,"error":null,"msg":"ok"}"#), "unknown"),
            (say(200, r#"{"code":-200,"error":null,"msg":"ok"}"#), "unknown"),
            (say(200, r#"{"code":true,"error":null,"msg":"ok"}"#), "unknown"),
            (say(200, r#"{"code":"302","error":null,"msg":"ok"}"#), "unknown"),
            (say(200, r#"{"code":"500","error":"INTERNAL","msg":"half way"}"#), "unknown"),
            (say(500, r#"{"code":"200","error":null,"msg":"ok"}"#), "unknown"),
            (say(403, r#"{"code":"200","error":null,"msg":"ok"}"#), "unknown"),
            (say(204, ""), "unknown"),
            (say(200, "{\"code\":\"200\",\"error\":null,\"msg\":\"\u{0}\"}"), "unknown"),
            (Fate::Say(200, "text/html", b"<!DOCTYPE html><html><body>Login</body></html>".to_vec()), "unknown"),
            (Fate::Say(403, "text/html", b"<html>Forbidden</html>".to_vec()), "unknown"),
            (Fate::Say(502, "text/html", b"<html>Bad gateway</html>".to_vec()), "unknown"),
        ] {
            let shown = format!("{fate:?}");
            assert_eq!(outcome(world, fate).await, expected, "{shown}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_message_with_a_byte_or_an_escape_that_is_no_character_costs_its_answer_nothing() {
    World::run(async |world| {
        for (msg, shown) in [
            (b"Microphone of Jos\xE9 Pe\xF1a".as_slice(), "Microphone of Jos\u{FFFD} Pe\u{FFFD}a"),
            (br"Jos\ud83d", "Jos\u{FFFD}"),
            (br"\uDE00 Jos\uD83D \ud83dx\ud83d\n", "\u{FFFD} Jos\u{FFFD} \u{FFFD}x\u{FFFD}"),
            (br"Jos\ud83d\ud83d\ude00", "Jos\u{FFFD}😀"),
            // A backslash that stands for itself begins no escape.
            (br"Jos \\ud83d", r"Jos \\ud83d"),
            (br"Jos \\\ud83d", "Jos \\\\\u{FFFD}"),
        ] {
            let answer = [br#"{"code":"200","error":null,"msg":""#.as_slice(), msg, br#""}"#].concat();
            world.wolkvox.next([Fate::Say(200, "application/json", answer)]);
            let command = world.discord.mute(&supervisor(), 1001);
            let text = world.discord.reply(command).await;
            assert_eq!(world.log.outcome(command).await, "done", "{shown}");
            assert!(text.starts_with(&format!("{shown}\n")), "{text}");
        }
        // Nothing is made of a code, of an error or of the text around them.
        for answer in [
            b"{\"code\":\"20\xFF\",\"error\":null,\"msg\":\"ok\"}".as_slice(),
            b"{\"code\":\"200\",\"error\":\"\xFF\",\"msg\":\"ok\"}",
            b"{\"code\":\"200\",\xFF\"error\":null,\"msg\":\"ok\"}",
            br#"{"code":"200","error":null,"msg":"ok\ud8"}"#,
            br#"{"code":"200","error":null,"msg":"ok\u"}"#,
            br#"{"code":"200","error":null,"msg":"ok\"#,
        ] {
            let answer = Fate::Say(200, "application/json", answer.to_vec());
            assert_eq!(outcome(world, answer).await, "unknown");
        }
    })
    .await;
}

#[tokio::test]
async fn a_warning_of_php_may_stand_before_a_whole_answer_and_nothing_else_may() {
    const WARNING: &str = "<br />\n<b>Warning</b>:  Undefined array key \"ext\" in <b>/var/www/agentbox.php</b> on line <b>41</b><br />\n";
    let success = r#"{"code":"200","error":null,"msg":"ok"}"#;
    let refusal = r#"{"code":"403","error":"FORBIDDEN","msg":"PLEASE VALIDATE TOKEN"}"#;
    World::run(async |world| {
        for (before, answer, after, expected) in [
            (WARNING, success, "", "done"),
            (WARNING, success, "\n", "done"),
            (WARNING, refusal, "", "rejected"),
            (&WARNING.repeat(2), success, "", "done"),
            (&format!("\u{FEFF}{WARNING}"), success, "", "done"),
            ("\nNotice: Undefined variable: x in /var/www/agentbox.php on line 41\n", success, "", "done"),
            ("Deprecated: x in y on line 1\n", success, "", "done"),
            (WARNING, success, WARNING, "unknown"),
            (WARNING, success, "}", "unknown"),
            (WARNING, success, success, "unknown"),
            (WARNING, &success[..success.len() - 1], "", "unknown"),
            (WARNING, "", "", "unknown"),
            // A brace in the warning: which one begins the answer?
            (
                "<br />\n<b>Warning</b>:  Undefined property {x} in <b>y</b> on line <b>1</b><br />\n",
                success,
                "",
                "unknown",
            ),
            (
                "<br />\n<b>Fatal error</b>:  Uncaught Error in <b>y</b> on line <b>1</b><br />\n",
                success,
                "",
                "unknown",
            ),
            ("[", success, "", "unknown"),
            ("null", success, "", "unknown"),
            ("<html><body>", success, "", "unknown"),
        ] {
            let fate = Fate::Say(200, "text/html", [before, answer, after].concat().into_bytes());
            assert_eq!(outcome(world, fate).await, expected, "{before}{answer}{after}");
        }
    })
    .await;
}

#[tokio::test]
async fn answers_that_break_off_or_never_end_are_unknown() {
    World::run(async |world| {
        let success = r#"{"code":"200","error":null,"msg":"ok"}"#;
        let padded = format!(r#"{{"code":"200","error":null,"msg":"ok","x":"{}"}}"#, "x".repeat(65 * 1024));
        for fate in [
            Fate::Raw(format!("HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{success}").into_bytes()),
            Fate::Raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_vec()),
            Fate::Raw(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()),
            Fate::Raw(b"220 smtp.example ESMTP\r\n".to_vec()),
            say(200, &padded),
            Fate::Endless,
            Fate::CutBefore,
            Fate::CutAfter,
        ] {
            let shown = format!("{fate:?}");
            assert_eq!(outcome(world, fate).await, "unknown", "{}", &shown[..shown.len().min(80)]);
        }
        assert_eq!(world.wolkvox.requests(), 8, "nothing was repeated");
    })
    .await;
}

#[tokio::test]
async fn an_answer_just_below_64_kib_is_read() {
    World::run(async |world| {
        let body = format!(r#"{{"code":"200","error":null,"msg":"{}"}}"#, "x".repeat(63 * 1024));
        assert_eq!(outcome(world, say(200, &body)).await, "done");
    })
    .await;
}

#[tokio::test]
async fn a_time_out_is_unknown_and_takes_as_long_as_configured() {
    World::run_with(
        |config| config.wolkvox.timeout = Duration::from_secs(1),
        async |world| {
            let started = Instant::now();
            assert_eq!(outcome(world, Fate::Silent).await, "unknown");
            assert!(started.elapsed() >= Duration::from_secs(1));
            assert_eq!(world.wolkvox.requests(), 1);
        },
    )
    .await;
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_token_stays_here() {
    World::run(async |world| {
        let elsewhere = Wolkvox::start().await;
        let to = format!("{}/api/v2/agentbox.php?agent_id=1001&api=mute", elsewhere.url);
        assert_eq!(outcome(world, Fate::Redirect(to)).await, "unknown");
        assert_eq!((elsewhere.connections_made(), elsewhere.requests()), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn calls_never_overlap_and_go_first_come_first_served() {
    World::run(async |world| {
        let held = world.wolkvox.hold();
        let agents: Vec<u64> = (1001..1041).collect();
        let commands: Vec<u64> = agents.iter().map(|agent| world.discord.mute(&supervisor(), *agent)).collect();
        world.discord.until("all are acknowledged", |state| state.interactions.values().all(|i| i.deferred())).await;
        world.wolkvox.until_requests(1).await;
        assert_eq!(world.wolkvox.requests(), 1);
        held.notify_one();
        for command in commands {
            world.discord.reply(command).await;
        }
        assert_eq!(world.wolkvox.state(|state| state.requests.clone()), agents);
    })
    .await;
}

#[tokio::test]
async fn a_slow_acknowledgement_does_not_lose_its_place() {
    World::run(async |world| {
        let slow = crate::support::discord::Fate::Slow(Duration::from_millis(400));
        world.discord.state(|state| state.first_answer_fates.push_back(slow));
        let first = world.discord.mute(&supervisor(), 1001);
        let second = world.discord.mute(&supervisor(), 1002);
        world.discord.reply(second).await;
        world.discord.reply(first).await;
        assert_eq!(world.wolkvox.state(|state| state.requests.clone()), [1001, 1002]);
    })
    .await;
}

#[tokio::test]
async fn a_busy_token_is_waited_out() {
    World::run(async |world| {
        world.wolkvox.next([BUSY, BUSY]);
        let command = world.discord.mute(&supervisor(), 1001);
        world.discord.reply(command).await;
        assert_eq!(world.log.outcome(command).await, "done");
        assert_eq!((world.wolkvox.requests(), world.wolkvox.toggles(1001)), (3, 1));
    })
    .await;
}

#[tokio::test]
async fn a_token_that_stays_busy_is_a_refusal_in_the_end() {
    World::run(async |world| {
        world.wolkvox.next(vec![BUSY; 30]);
        let started = Instant::now();
        let command = world.discord.mute(&supervisor(), 1001);
        let text = world.discord.reply(command).await;
        assert!(started.elapsed() <= Duration::from_secs(17));
        assert!(
            text.contains("EXCEEDS THE LIMIT") && text.contains("The token is busy with other requests."),
            "{text}"
        );
        assert_eq!(world.log.outcome(command).await, "rejected");
        assert_eq!(world.wolkvox.toggles(1001), 0);
    })
    .await;
}

#[tokio::test]
async fn any_other_refusal_is_not_repeated() {
    World::run(async |world| {
        assert_eq!(outcome(world, Fate::Refuse(403, "FORBIDDEN", "TOKEN LIMIT EXCEEDED")).await, "rejected");
        assert_eq!(world.wolkvox.requests(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_was_never_made_is_tried_again() {
    // Refused until somebody listens.
    let port = Port::new();
    let address = port.address();
    let url = format!("http://{address}");
    World::run_with(
        |config| config.wolkvox.base = BaseUrl::parse(&url).unwrap(),
        async |world| {
            let command = world.discord.mute(&supervisor(), 1001);
            let told = format!("no connection to {address}: the connection was refused: Connection refused");
            world.log.until_contains(&told).await;
            let late = Wolkvox::new(url.clone());
            late.listen(port.listen());
            world.discord.reply(command).await;
            assert_eq!(world.log.outcome(command).await, "done");
            assert_eq!(late.toggles(1001), 1);
        },
    )
    .await;
}

#[tokio::test]
async fn one_connection_serves_many_commands() {
    World::run(async |world| {
        for agent in 1001..1021 {
            world.discord.reply(world.discord.mute(&supervisor(), agent)).await;
        }
        assert_eq!(world.wolkvox.connections_made(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_kept_connection_that_the_server_has_closed_loses_no_toggle() {
    World::run(async |world| {
        let success = json!({"code": "200", "error": null, "msg": "ok"}).to_string();
        let closing = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{success}", success.len());
        for _ in 0..10 {
            // Answered as if the connection were kept, and closed all the same.
            assert_eq!(outcome(world, Fate::Raw(closing.clone().into_bytes())).await, "done");
        }
        assert_eq!((world.wolkvox.requests(), world.wolkvox.toggles(1001)), (10, 10));
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_was_closed_while_it_was_not_used_is_replaced() {
    World::run(async |world| {
        for agent in 1001..1011 {
            let command = world.discord.mute(&supervisor(), agent);
            world.discord.reply(command).await;
            assert_eq!(world.log.outcome(command).await, "done");
            assert_eq!(world.wolkvox.toggles(agent), 1);
            world.wolkvox.cut_connections().await;
        }
        assert_eq!(world.wolkvox.connections_made(), 10);
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_was_not_used_for_4_seconds_is_not_used_for_a_toggle() {
    World::run(async |world| {
        world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
        world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
        assert_eq!((world.wolkvox.connections_made(), world.wolkvox.toggles(1001)), (2, 2));
    })
    .await;
}

#[tokio::test]
async fn a_message_that_quotes_the_token_is_shown_without_it() {
    World::run(async |world| {
        let msg = format!("TOKEN {} IS NOT VALID", crate::support::wolkvox::TOKEN);
        world.wolkvox.next([say(403, &json!({"code": "403", "error": "FORBIDDEN", "msg": msg}).to_string())]);
        let text = world.discord.reply(world.discord.mute(&supervisor(), 1001)).await;
        assert!(text.starts_with("**Refused by Wolkvox:** TOKEN … IS NOT VALID"), "{text}");
    })
    .await;
}
