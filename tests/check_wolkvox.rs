//! `wolkvox-bot check`: what it makes of Wolkvox.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, pause, resume};
use wolkvox_bot::check::Report;

use crate::check::check;
use crate::support::bot::draft;
use crate::support::discord::Discord;
use crate::support::http::Answer;
use crate::support::wolkvox::{self, Wolkvox};

#[tokio::test]
async fn every_shape_of_the_quota_is_understood() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    let info =
        |data: serde_json::Value| Answer::json(200, &json!({"code": "200", "error": null, "msg": "ok", "data": data}));
    for (answer, expected) in [
        (
            info(json!({"token_limit": 5000, "available_consumption_options": 10})),
            "ok    Wolkvox token: valid, 10 of 5000 requests left today",
        ),
        (
            info(json!([{"token_limit": "5000", "available_consumition_options": "10"}])),
            "ok    Wolkvox token: valid, 10 of 5000 requests left today",
        ),
        (
            info(json!({"token_limit": "5000", "token_use_today": "40"})),
            "ok    Wolkvox token: valid, 4960 of 5000 requests left today",
        ),
        (info(json!({"available_consumption_options": "7"})), "ok    Wolkvox token: valid, 7 requests left today"),
        (info(json!({})), "ok    Wolkvox token: valid"),
        (info(json!([])), "ok    Wolkvox token: valid"),
        (info(json!(null)), "ok    Wolkvox token: valid"),
        (
            wolkvox::refusal(401, "UNAUTHORIZED", "PLEASE ENTER THE WOLKVOX-TOKEN"),
            "FAIL  Wolkvox token: Wolkvox saw no token, although it was sent.",
        ),
        (wolkvox::refusal(403, "FORBIDDEN", "TOKEN LIMIT EXCEEDED"), "FAIL  Wolkvox token: it is valid, but"),
        (
            wolkvox::refusal(403, "FORBIDDEN", "BACKUP"),
            "FAIL  Wolkvox token: refused (403), perhaps because of maintenance.",
        ),
        (
            wolkvox::refusal(400, "BAD REQUEST", "THE API YOU WANT TO CONSULT DOES NOT EXIST"),
            "warn  Wolkvox token: the server does not give",
        ),
        (Answer::json(200, &json!("?")), "FAIL  Wolkvox: the answer of 127.0.0.1:"),
    ] {
        wolkvox.state(|state| state.token_info = Some(answer));
        let checked = check(&discord, &wolkvox, &[]).await;
        assert!(checked.printed.lines().any(|line| line.starts_with(expected)), "{expected}: {}", checked.printed);
        assert_eq!(checked.code, Some(i32::from(expected.starts_with("FAIL"))));
    }
}

#[tokio::test]
async fn a_token_that_wolkvox_does_not_know_may_be_another_servers() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    for (locale, failure, remedy) in [
        ("C", "FAIL  WOLKVOX_TOKEN: ", "belongs to another server than WOLKVOX_SERVER"),
        ("es", "FALLO WOLKVOX_TOKEN: ", "no es del servidor indicado en WOLKVOX_SERVER"),
    ] {
        let checked = check(&discord, &wolkvox, &[("WOLKVOX_TOKEN", "another"), ("LANG", locale)]).await;
        assert!(checked.line(failure).contains(remedy), "{}", checked.printed);
    }
}

#[tokio::test]
async fn a_failure_of_wolkvoxs_own_is_not_blamed_on_the_settings() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    let fault = |code| Answer::json(200, &json!({"code": code, "error": "INTERNAL", "msg": "", "data": null}));
    for (locale, failure, remedy) in
        [("C", "FAIL  Wolkvox: ", "Try again later"), ("es", "FALLO Wolkvox: ", "Inténtalo más tarde")]
    {
        for (answer, code) in [
            (Answer::html(500, "Internal Server Error"), "(500)"),
            (Answer::json(503, &json!({"code": "503", "error": "UNAVAILABLE", "msg": ""})), "(503)"),
            (fault("500"), "(500)"),
            (fault("502"), "(502)"),
        ] {
            wolkvox.state(|state| state.token_info = Some(answer));
            let checked = check(&discord, &wolkvox, &[("LANG", locale)]).await;
            let line = checked.line(failure);
            assert!(line.contains(code) && line.contains(remedy) && !line.contains("WOLKVOX_"), "{line}");
            assert_eq!(checked.code, Some(1));
        }
        wolkvox.state(|state| state.token_info = Some(Answer::Cut));
        let checked = check(&discord, &wolkvox, &[("LANG", locale)]).await;
        assert!(checked.line(failure).contains(remedy), "{}", checked.printed);
    }
}

#[tokio::test]
async fn wolkvox_is_waited_for_15_seconds() {
    for answer in [Answer::Silent, Answer::Trickle(Duration::from_secs(1))] {
        let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
        wolkvox.state(|state| state.token_info = Some(answer));
        let mut printed = Vec::new();
        let began = Instant::now();
        let (well, ()) = tokio::join!(
            async {
                let well = wolkvox_bot::check::check(draft(&discord, &wolkvox), Report::new(&mut printed, false)).await;
                resume();
                well.unwrap()
            },
            async {
                wolkvox.until("it is asked", |state| state.in_flight == 1).await;
                pause();
            }
        );
        assert!(!well);
        assert!((15..30).contains(&began.elapsed().as_secs()));
        let printed = String::from_utf8(printed).unwrap();
        let told = "FAIL  Wolkvox: no answer from Wolkvox: it took too long. Try again later";
        assert!(printed.contains(told), "{printed}");
    }
}
