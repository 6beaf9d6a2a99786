//! The log: for operators, in their format, through their filter, and without a secret at any level.

use std::io::{self, PipeWriter, Read as _, Write, pipe};

use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;
use wolkvox_bot::telemetry::{self, Format};

use crate::support::bot::Site;
use crate::support::discord::{Fate, second_supervisor, stranger, supervisor};
use crate::support::wolkvox::{self, SUCCESS};

/// What standard error ends with when the log was not read.
const DROPPED: &str = " lines of the log were lost, because nobody read it in time\n";

/// What the process logs over a life with all kinds of exchanges.
async fn life(format: &str, filter: &str) -> Vec<String> {
    let site = Site::new().await.with("LOG_FORMAT", format).with("RUST_LOG", filter);
    let Site { discord, wolkvox, .. } = &site;
    let mut process = site.start();
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
    site.stop(&mut process).await;
    let log = process.log.text();
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

#[tokio::test]
async fn a_log_that_nobody_reads_holds_nobody_up_and_the_end_tells_how_much_was_dropped() {
    let site = Site::new().await.with("LOG_FORMAT", "json").with("RUST_LOG", "warn");
    let Site { discord, .. } = &site;
    discord.state(|state| state.heartbeat = Some(1_000));
    let (mut process, unread) = site.start_unread(false);
    process.runs(discord.until_ready(1)).await;
    process.runs(discord.flood(25)).await;
    for agent in 1001..1011 {
        assert!(process.runs(discord.reply(discord.mute(&supervisor(), agent))).await.starts_with(SUCCESS));
    }
    let heartbeats = discord.state(|state| state.heartbeats);
    discord.until("heartbeats go on", |state| state.heartbeats >= heartbeats + 2).await;

    process.read(unread);
    let log = process.log.clone();
    let count = |text: &str| log.lines().iter().filter(|line| line.contains(text)).count();
    let left_alone = "an interaction was ignored";
    process.runs(log.until("what waited is there", |_| count(left_alone) > 1_900)).await;
    let command = discord.mute(&supervisor(), 1011);
    process.runs(discord.reply(command)).await;
    assert_eq!(log.outcome(command).await, "done", "what comes from now on is written again");
    process.signal("TERM");
    let (code, told) = process.ended().await;
    assert_eq!(code, Some(0));
    let dropped = told.strip_prefix("wolkvox-bot: ").and_then(|told| told.strip_suffix(DROPPED)).expect(&told);
    // 2,000 waited, and a few that came later.
    assert!(count("{") < 2_050, "{}", count("{"));
    assert!(count(left_alone) + dropped.parse::<usize>().unwrap() >= 2_500, "{dropped} dropped, {}", count(left_alone));
    for line in log.lines().iter().filter(|line| !line.is_empty()) {
        serde_json::from_str::<Value>(line).expect(line);
    }
    site.settle(&process);
}

#[tokio::test]
async fn a_log_that_is_read_is_complete_at_the_end() {
    let site = Site::new().await;
    let mut process = site.connected(1).await;
    process.runs(site.discord.flood(10)).await;
    site.stop(&mut process).await;
    let lines = process.log.lines();
    assert_eq!(lines.iter().filter(|line| line.contains("an interaction was ignored")).count(), 1_000);
}

#[tokio::test]
async fn without_a_reader_the_bot_goes_on_working() {
    let site = Site::new().await;
    let (mut process, reader) = site.start_unread(false);
    drop(reader);
    process.runs(site.discord.until_ready(1)).await;
    for agent in 1001..1004 {
        assert!(site.discord.reply(site.discord.mute(&supervisor(), agent)).await.starts_with(SUCCESS));
    }
    site.stop(&mut process).await;
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
    let (mut log, guard) = telemetry::in_the_background(Disk(Some(20), writer));
    for record in ["{\"outcome\": \"done\", \"of\": 1}\n", "{\"outcome\": \"done\", \"of\": 2}\n"] {
        log.write_all(record.as_bytes()).unwrap();
    }
    drop(guard);
    let mut written = String::new();
    reader.read_to_string(&mut written).unwrap();
    assert_eq!(written.lines().last(), Some("{\"outcome\": \"done\", \"of\": 2}"), "{written}");
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
    tracing::subscriber::with_default(
        telemetry::subscriber("info".parse().unwrap(), format, colour, Sink(writer)),
        records,
    );
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
