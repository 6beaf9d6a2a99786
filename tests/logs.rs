//! The log: for operators, in their format, through their filter, and without a secret at any level.

use std::io::{self, PipeWriter, Read as _, Write, pipe};

use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;
use wolkvox_bot::backlog::Backlog;
use wolkvox_bot::telemetry::{self, Filter, Format};

use crate::support::bot::{Log, Process, check_secrets, check_stand_ins, variables};
use crate::support::discord::{Actor, Discord, Fate, second_supervisor, stranger, supervisor};
use crate::support::wolkvox::{self, SUCCESS, Wolkvox};

/// What the process logs over a life with all kinds of exchanges.
async fn life(format: &str, filter: &str) -> Vec<String> {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    let mut variables = variables(&discord, &wolkvox);
    variables.insert("LOG_FORMAT", format.to_owned());
    variables.insert("RUST_LOG", filter.to_owned());
    let mut process = Process::start(&variables, &[]);
    let unacknowledged = process
        .runs(async {
            discord.until_ready(1).await;
            wolkvox.next([
                wolkvox::Fate::Confirm,
                wolkvox::Fate::CutAfter,
                wolkvox::Fate::Refuse(403, "F", "PLEASE VALIDATE TOKEN"),
            ]);
            discord.state(|state| state.edit_fates.extend([Fate::Refuse(500, 0), Fate::CutBefore]));
            discord.state(|state| state.first_answer_fates.extend([Fate::CutBefore, Fate::Refuse(503, 0)]));
            for agent in 1001..1004 {
                discord.reply(discord.mute(&supervisor(), agent)).await;
            }
            discord.reply(discord.mute(&second_supervisor(), 1001)).await;
            discord.reply(discord.mute(&stranger(), 1001)).await;
            discord.finished(discord.type_agent(&supervisor(), "ana")).await;
            discord.state(|state| state.first_answer_fates.push_back(Fate::Refuse(404, 10062)));
            let unacknowledged = discord.mute(&supervisor(), 1004);
            discord.until("refused", |state| state.first_answer_fates.is_empty()).await;
            unacknowledged
        })
        .await;
    process.signal("TERM");
    process.ended().await;
    let log = process.log.text();
    check_secrets(&log);
    if filter != "off,audit=off" {
        assert!(log.contains(&unacknowledged.to_string()), "{log}");
    }
    process.log.lines()
}

#[tokio::test]
async fn no_token_gets_into_the_log_at_any_level() {
    for filter in ["trace", "trace,hyper_util=trace,reqwest=trace,serenity=trace,tungstenite=trace,audit=trace"] {
        let lines = life("text", filter).await;
        assert!(lines.iter().any(|line| line.contains("DEBUG")), "the own crate goes as far as it is asked to");
    }
}

#[tokio::test]
async fn other_crates_get_no_further_than_warnings() {
    let lines = life("json", "trace").await;
    for line in lines {
        let record: Value = serde_json::from_str(&line).unwrap();
        let target = record["target"].as_str().unwrap();
        let own = target == "audit" || target.starts_with("wolkvox_bot");
        assert!(own || matches!(record["level"].as_str(), Some("WARN" | "ERROR")), "{line}");
    }
}

#[tokio::test]
async fn json_is_one_object_a_line_with_the_audit_fields() {
    let lines = life("json", "info").await;
    let records: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let audits: Vec<&Value> = records.iter().filter(|record| record["target"] == "audit").collect();
    let outcomes: Vec<&str> = audits.iter().map(|record| record["fields"]["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["done", "unknown", "rejected", "guarded", "denied", "unacknowledged"]);
    for audit in audits {
        for field in ["interaction_id", "user_id", "user", "agent_id", "outcome", "wait_ms", "call_ms"] {
            assert!(!audit["fields"][field].is_null(), "{field}: {audit}");
        }
    }
}

#[tokio::test]
async fn audit_records_stay_when_the_log_is_turned_down() {
    let lines = life("text", "off").await;
    assert_eq!(lines.len(), 6, "{lines:#?}");
    assert!(lines.iter().all(|line| line.contains(" audit: ")), "{lines:#?}");
    assert_eq!(life("text", "off,audit=off").await, Vec::<String>::new());
}

/// What the log says is missing.
fn missing(log: &Log, target: &str) -> u64 {
    let lines = log.lines();
    let records = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let told = records.filter(|record| record["target"] == target);
    told.filter_map(|record| record["fields"]["records"].as_u64()).sum()
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_nobody_up_and_keeps_every_audit_record() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    discord.state(|state| state.heartbeat = Some(1_000));
    let mut variables = variables(&discord, &wolkvox);
    variables.insert("LOG_FORMAT", "json".to_owned());
    variables.insert("RUST_LOG", "warn".to_owned());
    let (mut process, unread) = Process::start_unread(&variables, &[], false);
    discord.until_ready(1).await;
    discord.flood(20).await;
    let commands: Vec<u64> = (1001..1021).map(|agent| discord.mute(&supervisor(), agent)).collect();
    for command in &commands {
        assert!(discord.reply(*command).await.starts_with(SUCCESS));
    }
    let heartbeats = discord.state(|state| state.heartbeats);
    discord.until("heartbeats go on", |state| state.heartbeats >= heartbeats + 2).await;

    process.read(unread);
    let log = process.log.clone();
    log.until("it tells what is missing", |log| missing(log, "wolkvox_bot::backlog") > 0).await;
    for command in commands {
        assert_eq!(log.outcome(command).await, "done");
    }
    let shown = log.lines().iter().filter(|line| line.contains("an interaction was left alone")).count();
    assert!(shown > 0, "what came before is still there");
    // On a busy machine the bot may have had something else to warn of.
    let counted = shown as u64 + missing(&log, "wolkvox_bot::backlog");
    assert!((2_000..2_010).contains(&counted), "{counted}");
    assert_eq!(missing(&log, "audit"), 0);
    process.signal("TERM");
    assert_eq!(process.ended().await, (Some(0), String::new()));
    check_stand_ins(&discord, &wolkvox);
}

#[tokio::test]
async fn even_audit_records_have_a_limit_and_the_log_tells_how_many_are_missing() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    let mut variables = variables(&discord, &wolkvox);
    variables.insert("LOG_FORMAT", "json".to_owned());
    let (mut process, unread) = Process::start_unread(&variables, &[], false);
    discord.until_ready(1).await;
    let wordy = Actor { name: "x".repeat(1 << 19).leak(), ..stranger() };
    let mut commands = Vec::new();
    while commands.len() < 12 {
        commands.push(discord.mute(&wordy, 1001));
        discord.reply(commands[commands.len() - 1]).await;
    }
    process.read(unread);
    let log = process.log.clone();
    log.until("it tells what is missing", |log| missing(log, "audit") > 0).await;
    let shown = commands.iter().filter(|command| !log.audits_of(**command).is_empty()).count();
    assert!(shown > 4, "{shown}");
    assert_eq!(shown as u64 + missing(&log, "audit"), 12);
    process.signal("TERM");
    assert_eq!(process.ended().await, (Some(0), String::new()));
}

#[tokio::test]
async fn without_a_reader_the_bot_goes_on_working() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    let (mut process, reader) = Process::start_unread(&variables(&discord, &wolkvox), &[], false);
    drop(reader);
    discord.until_ready(1).await;
    for agent in 1001..1004 {
        assert!(discord.reply(discord.mute(&supervisor(), agent)).await.starts_with(SUCCESS));
    }
    process.signal("TERM");
    let (code, told) = process.ended().await;
    assert_eq!(code, Some(0));
    assert!(told.ends_with(" records of the log could not be written\n") && told.lines().count() == 1, "{told}");
}

#[test]
fn a_record_that_found_room_for_its_beginning_alone_does_not_spoil_the_next() {
    /// A disk that has so much room left, and is cleared after it was full once.
    struct Disk(Option<usize>, PipeWriter);

    impl Write for Disk {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            match &mut self.0 {
                None => self.1.write(text),
                Some(0) => {
                    self.0 = None;
                    Err(io::ErrorKind::StorageFull.into())
                }
                Some(room) => {
                    let written = self.1.write(&text[..text.len().min(*room)])?;
                    *room -= written;
                    Ok(written)
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let (mut reader, writer) = pipe().unwrap();
    let backlog = Backlog::start(Disk(Some(20), writer)).unwrap();
    for record in ["{\"outcome\": \"done\", \"of\": 1}\n", "{\"outcome\": \"done\", \"of\": 2}\n"] {
        backlog.make_writer().write_all(record.as_bytes()).unwrap();
    }
    assert_eq!(backlog.finish(), 0);
    let mut log = vec![0; 1000];
    let length = reader.read(&mut log).unwrap();
    let log = String::from_utf8_lossy(&log[..length]);
    assert_eq!(log.lines().last(), Some("{\"outcome\": \"done\", \"of\": 2}"), "{log}");
}

/// What a log writes, with records of our own making.
fn written(format: Format, colour: bool, records: fn()) -> String {
    struct Sink(PipeWriter);

    impl<'a> MakeWriter<'a> for Sink {
        type Writer = &'a PipeWriter;

        fn make_writer(&'a self) -> &'a PipeWriter {
            &self.0
        }
    }

    let (mut reader, writer) = pipe().unwrap();
    tracing::subscriber::with_default(telemetry::subscriber(Filter::default(), format, colour, Sink(writer)), records);
    let mut log = String::new();
    reader.read_to_string(&mut log).unwrap();
    log
}

#[test]
fn a_record_in_text_is_its_message_and_then_its_fields() {
    let log = written(Format::Text, false, || {
        tracing::info!(target: "audit", user = "Ana \"A\"", agent_id = 1001_u64, code = None::<u16>, call = %"2 s", "mute");
    });
    assert!(log.ends_with(" INFO audit: mute user=\"Ana \\\"A\\\"\" agent_id=1001 call=2 s\n"), "{log}");
}

#[test]
fn nothing_that_a_record_quotes_can_steer_a_terminal() {
    for (format, colour) in [(Format::Text, false), (Format::Text, true), (Format::Json, false)] {
        let log = written(format, colour, || {
            let quoted = "\u{1b}[2J\u{7}\u{9b}\u{61c}\u{202e}\u{2028}";
            tracing::warn!(user = quoted, shown = %quoted, "lost: {quoted}");
        });
        assert!(!log.contains("\u{1b}[2J") && log.contains("[2J"), "{log:?}");
        assert!(!log.contains(['\u{7}', '\u{9b}', '\u{61c}', '\u{202e}', '\u{2028}']), "{log:?}");
    }
    let log = written(Format::Json, false, || tracing::warn!(user = "\u{9b}\u{202e}é🎙", "lost"));
    let record: Value = serde_json::from_str(&log).unwrap();
    assert_eq!(record["fields"]["user"], "\u{9b}\u{202e}é🎙", "JSON says the same, only in other letters");
    let log = written(Format::Text, false, || tracing::warn!("lost: one\ntwo"));
    assert!(log.ends_with("lost: one\\ntwo\n"), "a record is one line: {log:?}");
}
