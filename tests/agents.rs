//! The listing of agents, and what is found in it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::yield_now;
use tokio::time::{Instant, advance, pause, resume};
use tokio_util::sync::CancellationToken;
use tracing::subscriber::DefaultGuard;
use wolkvox_bot::agent::AgentId;
use wolkvox_bot::agent::Name;
use wolkvox_bot::directory::{Directory, Found};
use wolkvox_bot::telemetry::{self, Format};

use crate::directory::AGENTS;
use crate::support::bot::Log;
use crate::support::http::Answer;
use crate::support::wolkvox::{self, Wolkvox, listing};

/// A directory without a bot, so that the clock can be moved.
struct Alone {
    wolkvox: Wolkvox,
    client: wolkvox_bot::wolkvox::Wolkvox,
    directory: Arc<Directory>,
    log: Log,
    _subscriber: DefaultGuard,
}

const MAX_AGE: Duration = Duration::from_secs(5 * 60);

impl Alone {
    async fn start() -> Self {
        let (wolkvox, log) = (Wolkvox::start().await, Log::default());
        let subscriber = telemetry::subscriber("trace".parse().unwrap(), Format::Json, false, log.clone());
        let client = crate::queue::client(&wolkvox.url);
        let directory = Directory::new(client.clone(), MAX_AGE, CancellationToken::new());
        Self { wolkvox, client, directory, log, _subscriber: tracing::subscriber::set_default(subscriber) }
    }

    /// After it has read this.
    async fn reading(listing: Answer) -> Self {
        let alone = Self::start().await;
        alone.asks(listing).await;
        alone
    }

    /// A keystroke makes it ask; it gets this, and says so in the log.
    async fn asks(&self, listing: Answer) {
        const SAYS: &str = "the agent directory ";
        let said = self.log.text().matches(SAYS).count();
        self.wolkvox.state(|state| state.agents = Some(listing));
        self.suggestions("");
        self.log.until("it was asked", |log| log.text().matches(SAYS).count() > said).await;
    }

    /// A keystroke makes it ask nothing: nothing has the token after it.
    async fn does_not_ask(&self) {
        self.suggestions("");
        yield_now().await;
        assert!(!self.client.queue_call().must_wait(), "it asks");
    }

    fn suggestions(&self, typed: &str) -> Vec<String> {
        let shown = |(id, name): (AgentId, Option<Name>)| match name {
            Some(name) => format!("{} · {id}", name.as_str()),
            None => id.to_string(),
        };
        self.directory.suggest(typed).into_iter().map(shown).collect()
    }

    /// The number that is found, or those that fit.
    fn found(&self, typed: &str) -> Result<u64, Vec<u64>> {
        match self.directory.find(typed) {
            Found::Agent(id) => Ok(id.get()),
            Found::Several(agents) => Err(agents.into_iter().map(|(id, _)| id.get()).collect()),
            Found::None => Err(Vec::new()),
        }
    }
}

fn agent(id: u64) -> AgentId {
    AgentId::try_from(id).unwrap()
}

async fn time_passes(time: Duration) {
    pause();
    advance(time).await;
    resume();
}

#[tokio::test]
async fn a_copy_that_is_too_old_is_renewed_and_one_that_is_not_is_kept() {
    let alone = Alone::reading(listing(&AGENTS)).await;
    time_passes(MAX_AGE - Duration::from_secs(1)).await;
    alone.does_not_ask().await;
    assert_eq!(alone.suggestions("gomez"), ["Ana Gómez · 1001"]);
    time_passes(Duration::from_secs(1)).await;
    alone.asks(listing(&[(1001, "Ana Renamed", "yes")])).await;
    assert_eq!(alone.suggestions("ana"), ["Ana Renamed · 1001"]);
}

#[tokio::test]
async fn a_failure_leaves_the_old_copy_and_is_followed_by_longer_pauses() {
    let failures = || {
        [
            Answer::json(200, &json!({"code": "200", "data": 7})),
            Answer::Cut,
            Answer::html(500, "Internal Server Error"),
            wolkvox::refusal(403, "FORBIDDEN", "TOKEN LIMIT EXCEEDED"),
            Answer::html(200, "Backup"),
        ]
    };
    let alone = Alone::reading(listing(&AGENTS)).await;
    for _ in 0..2 {
        for (minutes, failure) in [5, 5, 10, 20, 30].into_iter().zip(failures()) {
            time_passes(Duration::from_secs(minutes * 60 - 1)).await;
            alone.does_not_ask().await;
            assert_eq!(alone.suggestions("gomez"), ["Ana Gómez · 1001"]);
            time_passes(Duration::from_secs(1)).await;
            alone.asks(failure).await;
        }
        time_passes(Duration::from_secs(30 * 60 - 1)).await;
        alone.does_not_ask().await;
        time_passes(Duration::from_secs(1)).await;
        alone.asks(listing(&AGENTS)).await;
    }
    let warnings = alone.log.lines().into_iter().filter(|line| line.contains("WARN")).count();
    assert_eq!(warnings, 2, "once for each time that it began to fail");
}

#[tokio::test]
async fn a_listing_that_trickles_is_given_up_after_20_seconds() {
    let alone = Alone::start().await;
    alone.wolkvox.state(|state| state.agents = Some(Answer::Trickle(Duration::from_secs(1))));
    let began = Instant::now();
    alone.suggestions("");
    alone.wolkvox.until("the listing is in progress", |state| state.listings == 1).await;
    let next = alone.client.queue_call();
    assert!(next.must_wait());
    pause();
    alone.log.until_contains("it took too long").await;
    resume();
    assert!((20..25).contains(&began.elapsed().as_secs()));
    assert!(!next.must_wait());
    alone.wolkvox.until("its connection is closed", |state| state.in_flight == 0).await;
}

#[tokio::test]
async fn every_row_that_can_be_read_is_read() {
    const DONE: &str = r#""code":"200","error":null,"msg":"2 records were found""#;
    const ANA: &str = r#"{"agent_id":"1001","agent_name":"Ana"}"#;
    const BETO: &str = r#"{"agent_id":"1003","agent_name":"Beto"}"#;
    let both = ["Ana · 1001", "Beto · 1003"];
    for (answer, expected) in [
        (format!(r#"{{{DONE},"data":[{ANA},{BETO}]}}"#), both.as_slice()),
        // A byte-order mark and PHP's warning before it.
        (format!("\u{FEFF}{{{DONE},\"data\":[{ANA},{BETO}]}}"), &both),
        (
            format!("<br />\n<b>Notice</b>:  x in <b>y</b> on line <b>1</b><br />\n{{{DONE},\"data\":[{ANA},{BETO}]}}"),
            &both,
        ),
        // A list that lost an element, and a row by itself.
        (format!(r#"{{{DONE},"data":{{"0":{ANA},"2":{BETO}}}}}"#), &both),
        (format!(r#"{{{DONE},"data":{ANA}}}"#), &both[..1]),
        // Codes that are none.
        (format!(r#"{{"code":"","error":null,"msg":"","data":[{ANA},{BETO}]}}"#), &both),
        (format!(r#"{{"code":"0","error":"null","msg":"","data":[{ANA}]}}"#), &both[..1]),
        // Older servers have neither `agent_sso` nor `enabled`; numbers instead of strings.
        (
            r#"{"data":[{"agent_id":1001,"agent_name":"Ana"}],"msg":"","error":"null","code":200}"#.to_owned(),
            &both[..1],
        ),
        // Rows without sense.
        (
            format!(
                r#"{{{DONE},"data":[null,7,"x",[],["1001","Eva"],{{}},{ANA},{{"agent_id":"x"}},{{"agent_name":"Eva"}},
                    {{"agent_id":{{}},"agent_name":[]}},{{"agent_id":"1","agent_id":"2"}},
                    {{"agent_id":"1004","agent_name":null}},{{"agent_id":1005,"agent_name":7}}]}}"#
            ),
            &["Ana · 1001", "1004", "1005"],
        ),
        // A name that was cut in the middle of a character.
        (
            format!(r#"{{{DONE},"data":[{ANA},{{"agent_id":"1002","agent_name":"Jos\ud83d"}},{BETO}]}}"#),
            &["Ana · 1001", "Beto · 1003", "Jos\u{FFFD} · 1002"],
        ),
        (format!(r#"{{{DONE},"data":[]}}"#), &[]),
        (format!(r#"{{{DONE},"data":{{}}}}"#), &[]),
        (format!(r#"{{{DONE},"data":null}}"#), &[]),
        (r#"{"code":"","error":null,"msg":"0 records were found","data":[]}"#.to_owned(), &[]),
    ] {
        let headers = vec![("content-type", "text/html".to_owned())];
        let alone = Alone::reading(Answer::Full { status: 200, headers, body: answer.clone().into_bytes() }).await;
        assert_eq!(alone.suggestions(""), expected, "{answer}");
    }
    // Latin-1 in what is UTF-8 otherwise.
    let head = format!(r#"{{{DONE},"data":[{ANA},{BETO},{{"agent_id":"1002","agent_name":"Jos"#);
    let body = [head.as_bytes(), b"\xE9\"}]}"].concat();
    let alone = Alone::reading(Answer::Full { status: 200, headers: Vec::new(), body }).await;
    assert_eq!(alone.suggestions(""), ["Ana · 1001", "Beto · 1003", "Jos\u{FFFD} · 1002"]);
    // An empty listing, as some servers tell it.
    let alone = Alone::reading(wolkvox::refusal(404, "NOT FOUND", "0 records were found")).await;
    assert_eq!(alone.directory.lists(agent(1001)), Some(false));
}

#[tokio::test]
async fn an_agent_that_is_listed_twice_is_offered_once() {
    let rows =
        [(1001, "Ana", "no"), (1001, "Ana", "yes"), (1002, "", "yes"), (1002, "Beto", "yes"), (1001, "Ana", "yes")];
    let alone = Alone::reading(listing(&rows)).await;
    assert_eq!(alone.suggestions(""), ["Ana · 1001", "Beto · 1002"]);
    assert_eq!(alone.found("ana"), Ok(1001));
}

#[tokio::test]
async fn a_number_is_found_without_a_directory() {
    let alone = Alone::start().await;
    assert!(!alone.directory.is_read());
    for (typed, expected) in [
        ("1001", Ok(1001)),
        (" 1001\n", Ok(1001)),
        ("\u{200B}\u{FEFF}1001\u{2060}\u{A0}\u{AD}\u{200E}", Ok(1001)),
        ("\u{202A}1001\u{202C}", Ok(1001)),
        ("0001", Ok(1)),
        ("9999999999", Ok(AgentId::MAX)),
        ("Ana · 1001", Ok(1001)),
        ("10000000000", Err(vec![])),
        ("0", Err(vec![])),
        ("", Err(vec![])),
        ("\u{200B}", Err(vec![])),
        ("10 01", Err(vec![])),
        ("+1001", Err(vec![])),
        ("-1001", Err(vec![])),
        ("1001.0", Err(vec![])),
        ("1e3", Err(vec![])),
        ("１００１", Err(vec![])),
        ("· 1001", Err(vec![])),
        ("Ana", Err(vec![])),
    ] {
        assert_eq!(alone.found(typed), expected, "{typed:?}");
    }
    assert_eq!(alone.directory.lists(agent(1001)), None);
    alone.wolkvox.until("read for the next one", |state| state.listings == 1).await;
}

#[tokio::test]
async fn an_agent_is_found_by_a_label_or_a_full_name_and_never_guessed() {
    let more = [
        (4001, "Luis Pérez", "yes"),
        (4002, "LUIS PEREZ", "yes"),
        (4003, "Grupo · 9", "yes"),
        (4004, "\u{301}\u{200B}", "yes"),
        (4005, "7007", "yes"),
    ];
    let alone = Alone::reading(listing(&[AGENTS.as_slice(), &more].concat())).await;
    for (typed, expected) in [
        // A name in full.
        ("Ana Gómez", Ok(1001)),
        ("  ana\u{A0} GOMEZ ", Ok(1001)),
        ("\u{2068}Ana Gómez\u{2069}", Ok(1001)),
        ("Luis **Bold** <@1>", Ok(2001)),
        ("Grupo · 9", Err(vec![4003])),
        // A part of one, or one that two have.
        ("Ana", Err(vec![1001, 10010, 1010])),
        ("Gómez", Err(vec![1001])),
        ("Luis Pérez", Err(vec![4001, 4002])),
        ("a", Err(vec![1001, 10010, 1002, 1003, 1010])),
        ("nobody", Err(vec![])),
        ("Ana Retired", Err(vec![])),
        ("\u{301}", Err(vec![])),
        // A label.
        ("Ana Gómez · 1001", Ok(1001)),
        ("ana gomez·1001\u{200B}", Ok(1001)),
        ("Luis Pérez · 4002", Ok(4002)),
        ("Grupo · 9 · 4003", Ok(4003)),
        ("Ana Retired · 2002", Ok(2002)),
        // Of an agent that is not listed.
        ("Pedro · 5005", Ok(5005)),
        // One that does not fit: another's name, a part, another's number.
        ("Ana Gómez · 1002", Err(vec![1002, 1001])),
        ("Ana · 1001", Err(vec![1001, 10010, 1010])),
        ("Pedro · 1001", Err(vec![1001])),
        ("Ana Gómez · 5005", Err(vec![1001])),
        // A number is a number, whatever an agent's name is.
        ("7007", Ok(7007)),
    ] {
        assert_eq!(alone.found(typed), expected, "{typed:?}");
    }
}

#[tokio::test]
async fn a_number_is_known_to_be_listed_or_not_to_be() {
    let alone = Alone::reading(listing(&AGENTS)).await;
    for (id, listed) in [(1001, true), (2002, true), (4444, false)] {
        assert_eq!(alone.directory.lists(agent(id)), Some(listed), "{id}");
    }
    assert_eq!(alone.directory.name(agent(2002)).unwrap().as_str(), "Ana Retired", "disabled, and named in replies");
}
