//! The record by itself: two owners are two handles on one file.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use std::fs::{File, OpenOptions};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::mpsc;

use secrecy::ExposeSecret as _;

use super::file::VERSION;
use super::*;
use crate::outcome::{Done, NotSent, Refusal, Rejected, Unknown};

const WINDOW: Duration = Duration::from_secs(30);

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("record-{:016x}", fastrand::u64(..)));
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("bot.db")
    }

    fn open(&self) -> Record {
        Record::open(&self.file()).unwrap()
    }

    fn lock_files(&self) -> usize {
        let files = std::fs::read_dir(&self.0).unwrap();
        files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|is| is == "lock")).count()
    }

    /// Whether the database or its log contains a text.
    fn contains(&self, text: &str) -> bool {
        ["bot.db", "bot.db-wal"].iter().any(|name| {
            let bytes = std::fs::read(self.0.join(name)).unwrap_or_default();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn agent(number: u64) -> AgentId {
    AgentId::try_from(number).unwrap()
}

fn command(number: u64, agent: u64, user: u64, stage: Stage) -> Command {
    Command {
        interaction: InteractionId::new(number),
        application: ApplicationId::new(77),
        token: format!("token-of-{number}-{}", "x".repeat(150)).into(),
        user_id: UserId::new(user),
        user: "ana".to_owned(),
        agent: self::agent(agent),
        agent_name: Some("Luz".to_owned()),
        language: Language::Spanish,
        guild_language: Language::Portuguese,
        received_at: SystemTime::now(),
        stage,
    }
}

fn known(outcome: Outcome) -> Stage {
    Stage::Known(CallReport { outcome, queued: Duration::from_millis(12), took: Duration::from_millis(345) })
}

/// In no time.
fn done() -> Stage {
    Stage::Known(CallReport::nothing(Outcome::Done(Done { code: 200, msg: "ok".to_owned() })))
}

fn in_a_minute() -> SystemTime {
    SystemTime::now() + Duration::from_secs(60)
}

#[test]
fn the_log_says_once_that_the_record_fails_and_once_that_it_works_again() {
    #[derive(Clone, Default)]
    struct Log(Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        let health = Health { failing: AtomicBool::new(false), path: "/data/bot.db".into() };
        for _ in 0..2 {
            health.works();
            health.fails("disk full");
            health.fails("disk full");
            health.works();
        }
    });
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(log.matches("ERROR").count(), 2, "{log}");
    assert!(log.contains("STATE_FILE: /data/bot.db can't be written (disk full)"), "{log}");
    assert_eq!(log.matches("INFO").count(), 2, "{log}");
}

/// What SQL does on the record's own connection.
async fn sql(record: &Record, sql: &'static str) {
    record.run(move |worker| worker.connection.execute_batch(sql), None).await.unwrap();
}

async fn count(record: &Record, sql: &'static str) -> i64 {
    record.run(move |worker| worker.connection.query_row(sql, [], |row| row.get(0)), None).await.unwrap()
}

async fn works_again(record: &Record) {
    for number in 900.. {
        let worked = record.save(&command(number, 1, 1, Stage::Sending)).await.is_ok();
        // One that took too long is carried out all the same.
        let _ = record.finish(InteractionId::new(number)).await;
        if worked {
            return;
        }
        assert!(number < 1000, "it does not work again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What somebody else's restart finds.
fn text(commands: &[Command]) -> Vec<String> {
    let mut texts: Vec<_> = commands
        .iter()
        .map(|command| format!("{} {:?} {}", command.interaction, command.stage, command.token.expose_secret().len()))
        .collect();
    texts.sort();
    texts
}

/// Begins with a command, whatever stands in its way, and tells what that would be.
async fn begin(record: &Record, command: &Command) -> Result<Option<OtherToggle>, Unavailable> {
    let (seen, found) = mpsc::channel();
    let begun = record.begin(command, move |latest| {
        let _ = seen.send(*latest);
        false
    });
    begun.await.map(|_| found.try_recv().ok())
}

#[tokio::test]
async fn a_command_comes_back_as_it_was_written_whatever_its_stage() {
    let folder = Folder::new();
    let first = folder.open();
    let stages = [
        Stage::Answering,
        Stage::Acknowledged,
        Stage::Sending,
        done(),
        known(Outcome::Rejected(Rejected { code: 429, msg: "no \"ñ\"".to_owned(), reason: Refusal::DailyLimit })),
        known(Outcome::NotSent(NotSent::NoConnection)),
        known(Outcome::Unknown(Unknown::Unreadable { status: 502 })),
        known(Outcome::Unknown(Unknown::TimedOut)),
    ];
    for (number, stage) in (1..).zip(&stages) {
        begin(&first, &command(number, 5, 6, Stage::Answering)).await.unwrap();
        let mut command = command(number, 5, 6, stage.clone());
        command.agent_name = command.agent_name.filter(|_| number != 2);
        assert_eq!(first.save(&command).await, Ok(Ownership::Mine));
    }
    assert_eq!(Record::inspect(&folder.file()).unwrap().open_commands, 8);
    drop(first);
    let mut found = folder.open().take_over_dead(WINDOW).await.unwrap();
    found.sort_by_key(|command| command.interaction);
    assert_eq!(found.len(), stages.len());
    for ((number, stage), found) in (1..).zip(&stages).zip(found) {
        let written = command(number, 5, 6, stage.clone());
        assert_eq!(found.stage, *stage);
        assert_eq!((found.interaction, found.application), (written.interaction, written.application));
        assert_eq!(found.token.expose_secret(), written.token.expose_secret());
        assert_eq!((found.user_id, &found.user, found.agent), (written.user_id, &written.user, written.agent));
        assert_eq!(found.agent_name, written.agent_name.filter(|_| number != 2));
        assert_eq!((found.language, found.guild_language), (Language::Spanish, Language::Portuguese));
        assert!(written.received_at.duration_since(found.received_at).unwrap() < Duration::from_secs(30));
        assert!(!format!("{found:?}").contains("token-of"), "no token in what is logged");
    }
}

#[tokio::test]
async fn what_is_finished_is_not_found_by_a_restart_and_what_was_never_written_before_is() {
    let folder = Folder::new();
    let first = folder.open();
    begin(&first, &command(1, 5, 6, Stage::Answering)).await.unwrap();
    first.settle_toggle(InteractionId::new(1), None).await.unwrap();
    first.finish(InteractionId::new(1)).await.unwrap();
    first.save(&command(2, 5, 6, Stage::Sending)).await.unwrap();
    drop(first);
    let second = folder.open();
    assert_eq!(text(&second.take_over_dead(WINDOW).await.unwrap()), ["2 Sending 161"]);
    assert!(second.take_over_dead(WINDOW).await.unwrap().is_empty(), "each is taken over once");
    assert_eq!(folder.lock_files(), 1);
    drop(second);
    assert_eq!(folder.lock_files(), 0);
}

#[tokio::test]
async fn where_it_is_off_nothing_is_written_and_nothing_claimed() {
    let record = Record::off();
    assert!(!record.outlives_the_process());
    assert_eq!(begin(&record, &command(1, 5, 6, Stage::Answering)).await, Err(Unavailable::NotWritten));
    assert_eq!(record.known(&command(1, 5, 6, done()), None).await, Err(Unavailable::NotWritten));
    assert_eq!(record.take_over_dead(WINDOW).await.err(), Some(Unavailable::NotWritten));
}

#[tokio::test]
async fn copies_see_each_others_toggles_in_the_moment_they_decide() {
    let folder = Folder::new();
    let (one, two) = (folder.open(), folder.open());
    let here = InteractionId::new(1);
    assert_eq!(begin(&one, &command(1, 5, 6, Stage::Answering)).await, Ok(None));
    assert_eq!(begin(&two, &command(1, 5, 6, Stage::Answering)).await, Ok(None), "the same command is no other's");
    assert_eq!(two.also_elsewhere(here).await, Ok(true));
    two.settle_toggle(here, None).await.unwrap();
    two.finish(here).await.unwrap();
    assert_eq!(one.also_elsewhere(here).await, Ok(true), "also once it is finished there");
    assert_eq!(one.also_elsewhere(InteractionId::new(9)).await, Ok(false));
    assert_eq!(begin(&two, &command(2, 8, 6, Stage::Answering)).await, Ok(None), "another agent");

    let begin_again = async || {
        two.finish(InteractionId::new(3)).await.unwrap();
        begin(&two, &command(3, 5, 7, Stage::Answering)).await
    };
    let seen = begin_again().await.unwrap().unwrap();
    assert_eq!((seen.command, seen.by, seen.certainty), (here, UserId::new(6), Certainty::UnderWay));
    for certainty in [Certainty::Done, Certainty::Perhaps, Certainty::Elsewhere] {
        one.settle_toggle(here, Some((certainty, in_a_minute()))).await.unwrap();
        let seen = begin_again().await.unwrap().unwrap();
        assert_eq!((seen.command, seen.certainty), (here, certainty));
        assert!(seen.since.elapsed().unwrap() < Duration::from_secs(10));
    }
    one.settle_toggle(here, Some((Certainty::Done, SystemTime::now()))).await.unwrap();
    assert_eq!(begin_again().await, Ok(None), "its time is over");
    one.settle_toggle(here, None).await.unwrap();
    assert_eq!(begin_again().await, Ok(None), "it was not carried out");
}

#[tokio::test]
async fn the_latest_toggle_counts() {
    let folder = Folder::new();
    let (one, two) = (folder.open(), folder.open());
    for number in [1, 2, 3] {
        begin(&one, &command(number, 5, 10 + number, Stage::Answering)).await.unwrap();
        one.settle_toggle(InteractionId::new(number), Some((Certainty::Done, in_a_minute()))).await.unwrap();
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let seen = begin(&two, &command(4, 5, 6, Stage::Answering)).await.unwrap().unwrap();
    assert_eq!((seen.command, seen.by), (InteractionId::new(3), UserId::new(13)));
}

#[tokio::test]
async fn the_toggle_before_one_that_was_done_is_told_and_no_other() {
    let folder = Folder::new();
    let record = folder.open();
    let until = Some((Certainty::Done, in_a_minute()));
    assert_eq!(record.known(&command(1, 5, 6, done()), until).await, Ok((Ownership::Mine, None)));
    let refused = known(Outcome::NotSent(NotSent::Restarting));
    assert_eq!(record.known(&command(2, 5, 7, refused), None).await, Ok((Ownership::Mine, None)));
    assert_eq!(record.known(&command(3, 4, 7, done()), until).await, Ok((Ownership::Mine, None)));
    drop(record);
    let record = folder.open();
    let (_, last) = record.known(&command(4, 5, 8, done()), until).await.unwrap();
    let last = last.unwrap();
    assert_eq!(last.by, UserId::new(6));
    assert!(last.at.elapsed().unwrap() < Duration::from_secs(30));
    let seen = begin(&record, &command(5, 5, 9, Stage::Answering)).await.unwrap().unwrap();
    assert_eq!(seen.command, InteractionId::new(4), "the latest toggle counts, by whichever process");
}

#[tokio::test]
async fn no_toggle_before_is_told_while_another_one_of_the_agent_may_lie_between() {
    let folder = Folder::new();
    let (one, two) = (folder.open(), folder.open());
    let until = Some((Certainty::Done, in_a_minute()));
    one.known(&command(1, 5, 6, done()), until).await.unwrap();
    one.save(&command(2, 5, 6, Stage::Sending)).await.unwrap();
    assert_eq!(two.known(&command(3, 5, 6, done()), until).await, Ok((Ownership::Mine, None)));
    let Stage::Known(report) = done() else { unreachable!() };
    let slow = Stage::Known(CallReport { took: Duration::from_secs(10), ..report });
    assert_eq!(one.known(&command(2, 5, 6, slow), until).await, Ok((Ownership::Mine, None)));
    assert_eq!(two.known(&command(4, 5, 6, done()), until).await, Ok((Ownership::Mine, None)), "which was the last?");
    assert!(two.known(&command(5, 5, 6, done()), until).await.unwrap().1.is_some());
}

#[tokio::test]
async fn what_came_of_a_command_while_nothing_could_be_written_is_written_later() {
    let folder = Folder::new();
    let (record, other) = (folder.open(), folder.open());
    let until = Some((Certainty::Done, in_a_minute()));
    for (number, agent) in [(1, 5), (2, 6)] {
        record.known(&command(number, agent, 6, done()), until).await.unwrap();
    }
    begin(&record, &command(3, 5, 7, Stage::Answering)).await.unwrap();
    begin(&record, &command(4, 7, 7, Stage::Answering)).await.unwrap();
    sql(&record, "PRAGMA query_only = ON").await;
    assert_eq!(record.known(&command(3, 5, 7, done()), until).await, Err(Unavailable::NotWritten));
    assert_eq!(record.finish(InteractionId::new(3)).await, Err(Unavailable::NotWritten));
    assert_eq!(record.settle_toggle(InteractionId::new(4), None).await, Err(Unavailable::NotWritten));
    assert_eq!(begin(&other, &command(5, 5, 8, done())).await.unwrap().unwrap().certainty, Certainty::UnderWay);
    assert_eq!(record.also_elsewhere(InteractionId::new(5)).await, Ok(true), "it can be read all the same");
    other.finish(InteractionId::new(5)).await.unwrap();
    other.settle_toggle(InteractionId::new(5), None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    sql(&record, "PRAGMA query_only = OFF").await;
    assert!(record.take_over_dead(WINDOW).await.unwrap().is_empty());
    let seen = begin(&other, &command(6, 5, 8, done())).await.unwrap().unwrap();
    assert_eq!((seen.command, seen.certainty), (InteractionId::new(3), Certainty::Done));
    assert!(seen.since.elapsed().unwrap() >= Duration::from_millis(300), "it was toggled then, not now");
    assert_eq!(begin(&other, &command(7, 7, 8, done())).await, Ok(None));
    assert_eq!(count(&record, "SELECT count(*) FROM commands WHERE interaction = 3").await, 0);
    // Of agent 6 a toggle might be missing, of agent 5 none is.
    assert_eq!(record.known(&command(8, 6, 6, done()), until).await, Ok((Ownership::Mine, None)));
    let (_, last) = record.known(&command(9, 5, 6, done()), until).await.unwrap();
    assert_eq!(last.unwrap().by, UserId::new(7));
    record.forget_last_toggle(agent(6)).await.unwrap();
    assert_eq!(record.known(&command(10, 6, 6, done()), until).await, Ok((Ownership::Mine, None)));
}

#[tokio::test]
async fn a_question_is_answered_once_in_time_and_by_whom_it_was_asked_also_elsewhere() {
    let folder = Folder::new();
    let (one, two) = (folder.open(), folder.open());
    let (question, ana, agent) = (InteractionId::new(1), UserId::new(6), agent(5));
    let consent = Consent { agent, reverses: InteractionId::new(9) };
    let minute = Duration::from_secs(60);
    assert_eq!(two.answer_question(question, ana, InteractionId::new(1000), minute).await, Ok(None));
    one.ask(question, ana, agent, consent.reverses).await.unwrap();
    two.ask(question, ana, agent, consent.reverses).await.unwrap();
    two.drop_question(question).await.unwrap();
    assert_eq!(
        two.answer_question(question, UserId::new(7), InteractionId::new(1001), minute).await,
        Ok(Some(Err(Stale::NotYours)))
    );
    assert_eq!(
        two.answer_question(question, ana, InteractionId::new(1002), Duration::ZERO).await,
        Ok(Some(Err(Stale::Late)))
    );
    assert_eq!(two.answer_question(question, ana, InteractionId::new(1003), minute).await, Ok(Some(Ok(consent))));
    assert_eq!(one.answer_question(question, ana, InteractionId::new(1004), minute).await, Ok(Some(Err(Stale::Used))));
    // Both copies get the same press, and one of them is to act on it.
    assert_eq!(one.answer_question(question, ana, InteractionId::new(1003), minute).await, Ok(Some(Ok(consent))));
    one.reopen_question(question, InteractionId::new(1004)).await.unwrap();
    assert_eq!(one.answer_question(question, ana, InteractionId::new(1004), minute).await, Ok(Some(Err(Stale::Used))));
    one.reopen_question(question, InteractionId::new(1003)).await.unwrap();
    drop((one, two));
    let restarted = folder.open();
    assert_eq!(restarted.answer_question(question, ana, InteractionId::new(1005), minute).await, Ok(Some(Ok(consent))));
}

#[tokio::test]
async fn the_living_are_left_alone_and_the_dead_are_taken_over_with_their_toggles() {
    let folder = Folder::new();
    let (one, two, three) = (folder.open(), folder.open(), folder.open());
    for (number, stage) in (1..).zip([Stage::Answering, Stage::Acknowledged, Stage::Sending, done()]) {
        begin(&one, &command(number, number, 6, Stage::Answering)).await.unwrap();
        one.save(&command(number, number, 6, stage)).await.unwrap();
    }
    assert!(two.take_over_dead(WINDOW).await.unwrap().is_empty());
    drop(one);
    let (by_two, by_three) = tokio::join!(two.take_over_dead(WINDOW), three.take_over_dead(WINDOW));
    let mut all = by_two.unwrap();
    all.extend(by_three.unwrap());
    assert_eq!(all.len(), 4, "each by one of the two: {all:?}");
    for (agent, expected) in [(1, None), (2, None), (3, Some(Certainty::Perhaps)), (4, Some(Certainty::Perhaps))] {
        let seen = begin(&two, &command(20 + agent, agent, 7, Stage::Answering)).await.unwrap();
        assert_eq!(seen.map(|seen| seen.certainty), expected, "agent {agent}");
    }
    assert_eq!(Record::inspect(&folder.file()).unwrap().open_commands, 8, "they are open until somebody tells");
}

#[tokio::test]
async fn who_was_taken_for_dead_learns_of_it_and_may_not_write_over_it() {
    let folder = Folder::new();
    let (one, two) = (folder.open(), folder.open());
    begin(&one, &command(1, 5, 6, Stage::Answering)).await.unwrap();
    // Only somebody who removes lock files by hand can do this to a process that lives.
    for file in std::fs::read_dir(&folder.0).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|is| is == "lock") {
            std::fs::remove_file(path).unwrap();
        }
    }
    assert_eq!(text(&two.take_over_dead(WINDOW).await.unwrap()), ["1 Answering 161"]);
    assert_eq!(one.save(&command(1, 5, 6, Stage::Sending)).await, Ok(Ownership::TakenOver));
    one.finish(InteractionId::new(1)).await.unwrap();
    assert_eq!(two.save(&command(1, 5, 6, Stage::Sending)).await, Ok(Ownership::Mine));
    two.finish(InteractionId::new(1)).await.unwrap();
    let until = Some((Certainty::Done, in_a_minute()));
    assert_eq!(one.known(&command(1, 5, 6, done()), until).await, Ok((Ownership::TakenOver, None)));
    let seen = begin(&two, &command(2, 5, 7, Stage::Answering)).await.unwrap().unwrap();
    assert_eq!(seen.certainty, Certainty::Done, "what was carried out counts, whoever tells");
    assert_eq!(count(&one, "SELECT count(*) FROM commands WHERE interaction = 1").await, 0);
    assert_eq!(text(&one.take_over_dead(WINDOW).await.unwrap()), ["2 Answering 161"], "two has no lock file either");
    assert_eq!(one.save(&command(2, 5, 7, Stage::Sending)).await, Ok(Ownership::Mine));
    assert_eq!(text(&two.take_over_dead(WINDOW).await.unwrap()), ["2 Sending 161"]);
    assert_eq!(two.save(&command(2, 5, 7, Stage::Sending)).await, Ok(Ownership::Mine), "it got its own back");
}

#[tokio::test]
async fn a_dead_copys_command_waits_until_the_same_command_is_finished_here() {
    let folder = Folder::new();
    let (one, two) = (folder.open(), folder.open());
    begin(&one, &command(1, 5, 6, Stage::Answering)).await.unwrap();
    one.save(&command(1, 5, 6, Stage::Sending)).await.unwrap();
    begin(&two, &command(1, 5, 6, Stage::Answering)).await.unwrap();
    drop(one);
    assert!(two.take_over_dead(WINDOW).await.unwrap().is_empty());
    assert_eq!(two.also_elsewhere(InteractionId::new(1)).await, Ok(true));
    two.finish(InteractionId::new(1)).await.unwrap();
    assert_eq!(text(&two.take_over_dead(WINDOW).await.unwrap()), ["1 Sending 161"]);
}

#[tokio::test]
async fn no_trace_of_a_token_is_left_once_nothing_needs_it() {
    let folder = Folder::new();
    let record = folder.open();
    let mut numbers: Vec<u64> = (1..=400).collect();
    for number in &numbers {
        begin(&record, &command(*number, 5, 6, Stage::Answering)).await.unwrap();
    }
    assert!(folder.contains("token-of-"));
    fastrand::shuffle(&mut numbers);
    for (at, number) in numbers.iter().enumerate() {
        record.save(&command(*number, 5, 6, done())).await.unwrap();
        record.finish(InteractionId::new(*number)).await.unwrap();
        if at % 50 == 0 {
            record.tidy().await.unwrap();
            assert!(!folder.contains(&format!("token-of-{number}-")), "command {number}");
        }
    }
    record.save(&command(1000, 5, 6, done())).await.unwrap();
    record.tidy().await.unwrap();
    assert!(folder.contains("token-of-1000-"), "one that is still needed stays");
    record.finish(InteractionId::new(1000)).await.unwrap();
    record.tidy().await.unwrap();
    assert!(!folder.contains("token-of-"));
}

#[tokio::test]
async fn what_nothing_needs_any_more_is_removed_and_the_open_commands_among_it_are_returned() {
    let folder = Folder::new();
    let (one, two) = (folder.open(), folder.open());
    for number in [1, 2] {
        begin(&one, &command(number, 5, 6, Stage::Answering)).await.unwrap();
        begin(&two, &command(number + 10, 5, 6, Stage::Answering)).await.unwrap();
    }
    one.ask(InteractionId::new(1), UserId::new(6), agent(5), InteractionId::new(9)).await.unwrap();
    one.known(&command(1, 5, 6, done()), Some((Certainty::Done, in_a_minute()))).await.unwrap();
    assert!(one.tidy().await.unwrap().is_empty());
    sql(
        &one,
        "UPDATE commands SET received_ms = received_ms - 901000 WHERE interaction IN (1, 11);
         UPDATE toggles SET since_ms = since_ms - 901000, until_ms = until_ms - 961000 WHERE command = 1;
         UPDATE questions SET asked_ms = asked_ms - 901000;
         UPDATE last_toggles SET at_ms = at_ms - 29 * 86400000;
         INSERT INTO taken_over VALUES (9, 1, 1)",
    )
    .await;
    let expired = one.tidy().await.unwrap();
    assert_eq!(expired.iter().map(|command| command.interaction.get()).collect::<Vec<_>>(), [1]);
    assert_eq!(expired[0].stage, done());
    assert!(!folder.contains("token-of-1-") && !folder.contains("token-of-11-"), "also of one that is another's");
    assert!(folder.contains("token-of-2-") && folder.contains("token-of-12-"));
    for (left, sql) in [
        (3, "SELECT count(*) FROM commands"),
        (3, "SELECT count(*) FROM toggles"),
        (0, "SELECT count(*) FROM questions"),
        (0, "SELECT count(*) FROM taken_over"),
        (1, "SELECT count(*) FROM last_toggles"),
    ] {
        assert_eq!(count(&one, sql).await, left, "{sql}");
    }
    assert_eq!(text(&two.tidy().await.unwrap()), ["11 Answering 0"], "its owner learns of it, without a token");
    sql(&one, "UPDATE last_toggles SET at_ms = at_ms - 2 * 86400000").await;
    one.tidy().await.unwrap();
    assert_eq!(count(&one, "SELECT count(*) FROM last_toggles").await, 0);
    sql(&one, "UPDATE commands SET received_ms = received_ms + 901000 WHERE interaction = 2").await;
    assert_eq!(one.tidy().await.unwrap().len(), 1, "the clock was set back");
    let mut late = command(3, 5, 6, done());
    late.received_at -= Duration::from_secs(901);
    one.save(&late).await.unwrap();
    assert!(!folder.contains("token-of-3-"), "a token whose time is over is not written");
}

#[tokio::test]
async fn the_files_are_for_this_user_alone_and_an_existing_one_keeps_its_mode() {
    let folder = Folder::new();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let record = folder.open();
    record.save(&command(1, 5, 6, Stage::Sending)).await.unwrap();
    let files: Vec<_> = std::fs::read_dir(&folder.0).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 4, "database, log, index, lock: {files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");
    drop(record);
    std::fs::set_permissions(folder.file(), std::fs::Permissions::from_mode(0o640)).unwrap();
    drop(folder.open());
    assert_eq!(mode(&folder.file()), 0o640);
}

#[tokio::test]
async fn symbolic_links_lead_to_the_same_owners() {
    let folder = Folder::new();
    let one = folder.open();
    one.save(&command(1, 5, 6, Stage::Sending)).await.unwrap();
    let elsewhere = Folder::new();
    std::os::unix::fs::symlink(folder.file(), elsewhere.file()).unwrap();
    let two = elsewhere.open();
    assert!(two.take_over_dead(WINDOW).await.unwrap().is_empty(), "it lives");
    drop(one);
    assert_eq!(two.take_over_dead(WINDOW).await.unwrap().len(), 1);
}

#[test]
fn what_is_in_the_way_is_named_with_its_remedy_and_not_touched() {
    let folder = Folder::new();
    let refusal = |path: &Path| {
        let (open, inspect) = (Record::open(path).err().unwrap(), Record::inspect(path).err().unwrap());
        assert_eq!(open.to_string(), inspect.to_string());
        open
    };
    assert!(matches!(refusal(&folder.0), OpenError::Directory(_)));
    assert!(matches!(refusal(&folder.0.join("no/bot.db")), OpenError::NoFolder(_)));
    std::fs::write(folder.0.join("file"), "").unwrap();
    assert!(matches!(refusal(&folder.0.join("file/bot.db")), OpenError::NoFolder(_)));
    std::fs::write(folder.file(), "a shopping list, and no database, but long enough to look at".repeat(20)).unwrap();
    let before = std::fs::read(folder.file()).unwrap();
    assert!(matches!(refusal(&folder.file()), OpenError::NotARecord(..)));
    assert_eq!(std::fs::read(folder.file()).unwrap(), before);
    std::fs::remove_file(folder.file()).unwrap();
    Connection::open(folder.file()).unwrap().execute_batch("CREATE TABLE songs (name)").unwrap();
    assert!(matches!(refusal(&folder.file()), OpenError::NotARecord(..)));
    assert_eq!(folder.lock_files(), 0);
}

#[test]
fn a_file_or_folder_that_may_not_be_written_is_named() {
    let folder = Folder::new();
    // Root may write everywhere but here.
    let refusal = |path: &Path| Record::open(path).err().map(|error| error.to_string());
    assert!(refusal(Path::new("/sys/bot.db")).unwrap().contains("can't be written"));
    drop(folder.open());
    for (path, mode) in [(&folder.file(), 0o400), (&folder.0, 0o500)] {
        let old = path.metadata().unwrap().permissions();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        let root =
            OpenOptions::new().write(true).open(folder.file()).is_ok() && File::create(folder.0.join("x")).is_ok();
        let refused = refusal(&folder.file());
        std::fs::set_permissions(path, old).unwrap();
        assert!(root || refused.unwrap().contains("Give this user the permission"), "{mode:o}");
    }
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_not_changed_by_a_byte() {
    let folder = Folder::new();
    let record = folder.open();
    for number in 1..=200 {
        record.save(&command(number, 5, 6, Stage::Sending)).await.unwrap();
    }
    record.tidy().await.unwrap();
    record.save(&command(201, 5, 6, Stage::Sending)).await.unwrap();
    // As a death leaves it: with a log that is not in the file yet.
    let copy = Folder::new();
    for name in ["bot.db", "bot.db-wal"] {
        std::fs::copy(folder.0.join(name), copy.0.join(name)).unwrap();
    }
    let mut bytes = std::fs::read(copy.file()).unwrap();
    let middle = bytes.len() / 2;
    for at in [middle, middle + 4096, middle - 4096] {
        bytes[at / 4096 * 4096..][..64].fill(0xA5);
    }
    std::fs::write(copy.file(), &bytes).unwrap();
    let log = std::fs::read(copy.0.join("bot.db-wal")).unwrap();
    assert!(!log.is_empty());
    assert!(matches!(Record::inspect(&copy.file()), Err(OpenError::NotARecord(..))));
    assert!(matches!(Record::open(&copy.file()), Err(OpenError::NotARecord(..))));
    assert_eq!(std::fs::read(copy.file()).unwrap(), bytes);
    assert_eq!(std::fs::read(copy.0.join("bot.db-wal")).unwrap(), log);
    std::fs::write(copy.file(), &bytes[..bytes.len() / 2]).unwrap();
    std::fs::remove_file(copy.0.join("bot.db-wal")).unwrap();
    assert!(matches!(Record::open(&copy.file()), Err(OpenError::NotARecord(..))));
    assert_eq!(std::fs::read(copy.file()).unwrap(), bytes[..bytes.len() / 2]);
}

#[test]
fn a_file_of_a_newer_version_is_refused() {
    let folder = Folder::new();
    drop(folder.open());
    Connection::open(folder.file()).unwrap().pragma_update(None, "user_version", VERSION + 1).unwrap();
    assert!(matches!(Record::open(&folder.file()), Err(OpenError::Newer(_, version)) if version == VERSION + 1));
    assert!(matches!(Record::inspect(&folder.file()), Err(OpenError::Newer(..))));
}

#[tokio::test]
async fn a_file_of_version_1_is_brought_to_this_version_with_what_is_in_it() {
    const VERSION_1: &str = "
        CREATE TABLE owners (owner INTEGER PRIMARY KEY, since_ms INTEGER NOT NULL) STRICT;
        CREATE TABLE commands (
            interaction INTEGER NOT NULL, owner INTEGER NOT NULL, application INTEGER NOT NULL, token TEXT NOT NULL,
            user_id INTEGER NOT NULL, user TEXT NOT NULL, agent INTEGER NOT NULL, agent_name TEXT,
            language TEXT NOT NULL, guild_language TEXT NOT NULL, received_ms INTEGER NOT NULL,
            stage TEXT NOT NULL, outcome TEXT, queued_ms INTEGER, took_ms INTEGER,
            PRIMARY KEY (interaction, owner)) STRICT;
        CREATE TABLE taken_over (
            interaction INTEGER NOT NULL, owner INTEGER NOT NULL, at_ms INTEGER NOT NULL,
            PRIMARY KEY (interaction, owner)) STRICT;
        CREATE TABLE toggles (
            command INTEGER NOT NULL, owner INTEGER NOT NULL, agent INTEGER NOT NULL, by_user INTEGER NOT NULL,
            since_ms INTEGER NOT NULL, until_ms INTEGER, certainty TEXT NOT NULL,
            PRIMARY KEY (agent, command, owner)) STRICT, WITHOUT ROWID;
        CREATE TABLE questions (
            command INTEGER NOT NULL, owner INTEGER NOT NULL, to_user INTEGER NOT NULL, agent INTEGER NOT NULL,
            about INTEGER NOT NULL, asked_ms INTEGER NOT NULL, answered INTEGER NOT NULL,
            PRIMARY KEY (command, owner)) STRICT;
        INSERT INTO owners VALUES (-3, 1);
        INSERT INTO commands VALUES (1, -3, 77, 'secret', 6, 'ana', 5, NULL, 'es-ES', 'en', 1, 'known',
            '{\"Unknown\":{\"Unreadable\":{\"status\":502}}}', 12, 345);
        INSERT INTO commands VALUES (2, -3, 77, 'secret', 6, 'ana', 5, NULL, 'es-ES', 'en', 1, 'known',
            '{\"Something\":\"else\"}', 12, 345);
        PRAGMA user_version = 1;";
    let folder = Folder::new();
    Connection::open(folder.file()).unwrap().execute_batch(VERSION_1).unwrap();
    assert_eq!(Record::inspect(&folder.file()).unwrap().open_commands, 2);
    let record = folder.open();
    assert_eq!(count(&record, "PRAGMA user_version").await, VERSION);
    assert_eq!(
        text(&record.take_over_dead(WINDOW).await.unwrap()),
        [
            "1 Known(CallReport { outcome: Unknown(Unreadable { status: 502 }), queued: 12ms, took: 345ms }) 6",
            "2 Sending 6"
        ]
    );
    assert_eq!(record.known(&command(3, 5, 6, done()), None).await, Ok((Ownership::Mine, None)));
    assert_eq!(record.known(&command(4, 5, 6, done()), None).await.unwrap().1.unwrap().by, UserId::new(6));
}

#[tokio::test]
async fn inspecting_changes_nothing_and_makes_nothing() {
    let folder = Folder::new();
    assert_eq!(Record::inspect(&folder.file()).unwrap(), Status { path: folder.file(), open_commands: 0 });
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 0);
    std::fs::write(folder.file(), "").unwrap();
    assert_eq!(Record::inspect(&folder.file()).unwrap().open_commands, 0);
    assert_eq!(std::fs::read(folder.file()).unwrap(), b"");
    let one = folder.open();
    one.save(&command(1, 5, 6, Stage::Sending)).await.unwrap();
    assert_eq!(Record::inspect(&folder.file()).unwrap().open_commands, 1);
    drop(one);
    assert_eq!(Record::inspect(&folder.file()).unwrap().open_commands, 1);
    assert_eq!(folder.open().take_over_dead(WINDOW).await.unwrap().len(), 1);
}

#[test]
fn many_may_open_a_new_file_at_once() {
    let folder = Folder::new();
    let path = folder.file();
    let open = || {
        thread::scope(|scope| {
            let all: Vec<_> = (0..6).map(|_| scope.spawn(|| Record::open(&path).map(drop))).collect();
            all.into_iter().for_each(|one| one.join().unwrap().unwrap());
        })
    };
    open();
    open();
}

#[tokio::test]
async fn a_full_disk_stops_only_the_record_and_not_for_longer_than_it_is_full() {
    let folder = Folder::new();
    let record = folder.open();
    begin(&record, &command(1, 5, 6, Stage::Answering)).await.unwrap();
    // No page more than there is.
    sql(&record, "PRAGMA max_page_count = 1").await;
    let mut full = 0;
    for number in 2..200 {
        full +=
            usize::from(begin(&record, &command(number, 5, 6, Stage::Answering)).await == Err(Unavailable::NotWritten));
    }
    assert!(full > 100, "{full}");
    assert!(record.0.as_ref().unwrap().health.failing.load(Ordering::Relaxed));
    let _ = record.take_over_dead(WINDOW).await;
    assert!(record.0.as_ref().unwrap().health.failing.load(Ordering::Relaxed), "what can be read proves nothing");
    let _ = record.run(|worker| worker.connection.execute_batch("PRAGMA max_page_count = 100000"), None).await;
    works_again(&record).await;
    assert_eq!(record.save(&command(199, 5, 6, Stage::Sending)).await, Ok(Ownership::Mine));
    assert!(!record.0.as_ref().unwrap().health.failing.load(Ordering::Relaxed));
    drop(record);
    let found = text(&folder.open().take_over_dead(WINDOW).await.unwrap());
    assert!(found.len() >= 200 - full, "and what was written before is there");
    assert!(found.contains(&"199 Sending 163".to_owned()));
}

/// Holds the write lock as another program would, until it is told or dropped.
fn lock_out(path: PathBuf) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel();
    let (locked, is_locked) = mpsc::channel();
    thread::spawn(move || {
        let connection = Connection::open(path).unwrap();
        connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
        locked.send(()).unwrap();
        let _ = released.recv();
    });
    is_locked.recv().unwrap();
    release
}

#[tokio::test]
async fn a_lock_held_for_long_delays_a_write_and_does_not_lose_it() {
    let folder = Folder::new();
    let record = folder.open();
    let release = lock_out(folder.file());
    let command = command(1, 5, 6, Stage::Answering);
    let released = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(release);
    };
    assert_eq!(tokio::join!(begin(&record, &command), released).0, Ok(None));
    let release = lock_out(folder.file());
    let begun = Instant::now();
    assert!(begin(&record, &command).await.is_err());
    assert!((Duration::from_millis(2400)..Duration::from_secs(4)).contains(&begun.elapsed()));
    // While it is known not to work, nobody waits for it.
    let begun = Instant::now();
    assert!(record.drop_question(command.interaction).await.is_err());
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert!(matches!(Record::open(&folder.file()), Err(OpenError::Locked(_))));
    drop(release);
    works_again(&record).await;
    assert!(!record.0.as_ref().unwrap().health.failing.load(Ordering::Relaxed));
    drop(record);
    assert_eq!(text(&folder.open().take_over_dead(WINDOW).await.unwrap()), ["1 Answering 161"]);
}

#[tokio::test]
async fn a_short_lock_is_waited_out_and_the_runtime_goes_on_meanwhile() {
    let folder = Folder::new();
    let record = folder.open();
    let release = lock_out(folder.file());
    let first = command(1, 5, 6, Stage::Answering);
    let begin = begin(&record, &first);
    let ticks = async {
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(release);
    };
    assert_eq!(tokio::join!(begin, ticks).0, Ok(None));
}

#[tokio::test]
async fn ten_thousand_commands_make_a_small_file() {
    let folder = Folder::new();
    let record = folder.open();
    for number in 1..=10_000 {
        let agent = number % 500 + 1;
        begin(&record, &command(number, agent, 6, Stage::Answering)).await.unwrap();
        let until = Some((Certainty::Done, in_a_minute()));
        record.known(&command(number, agent, 6, done()), until).await.unwrap();
        record.finish(InteractionId::new(number)).await.unwrap();
    }
    let size = |name: &str| folder.0.join(name).metadata().unwrap().len();
    assert!(size("bot.db-wal") < 5_000_000, "{}", size("bot.db-wal"));
    record.tidy().await.unwrap();
    assert_eq!(size("bot.db-wal"), 0);
    assert!(size("bot.db") < 4_000_000, "{}", size("bot.db"));
}
