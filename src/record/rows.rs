//! How commands and toggles are written, read and taken over.

use std::num::NonZeroU64;
use std::time::{Duration, SystemTime};

use rusqlite::{Row, Transaction, params};
use secrecy::ExposeSecret as _;
use serenity::model::id::InteractionId;

use super::{Command, LIFE, Me, Ownership, Stage};
use crate::agent::AgentId;
use crate::guard::Certainty;
use crate::language::Language;
use crate::wolkvox::CallReport;

pub(super) fn write_command(transaction: &Transaction<'_>, me: &Me, command: &Command) -> rusqlite::Result<Ownership> {
    const TAKEN_OVER: &str = "SELECT EXISTS (SELECT 1 FROM taken_over WHERE interaction = ?1 AND owner = ?2)";
    const WRITE: &str = "REPLACE INTO commands (interaction, owner, application, token, user_id, user, agent,
            agent_name, language, guild_language, received_ms, stage, outcome, queued_ms, took_ms)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
    let interaction = command.interaction.get().cast_signed();
    if transaction.prepare_cached(TAKEN_OVER)?.query_row((interaction, me.owner), |row| row.get(0))? {
        return Ok(Ownership::TakenOver);
    }
    let received = millis(command.received_at);
    let (stage, report) = match &command.stage {
        Stage::Answering => ("answering", None),
        Stage::Acknowledged => ("acknowledged", None),
        Stage::Sending => ("sending", None),
        Stage::Known(report) => ("known", Some(report)),
    };
    let outcome = report.map(|report| serde_json::to_string(&report.outcome)).transpose();
    transaction.prepare_cached(WRITE)?.execute(params![
        interaction,
        me.owner,
        command.application.get().cast_signed(),
        // One whose time is over is not written again.
        if (now() - received).abs() <= LIFE { command.token.expose_secret() } else { "" },
        command.user_id.get().cast_signed(),
        command.user,
        command.agent.get().cast_signed(),
        command.agent_name,
        language_name(command.language),
        language_name(command.guild_language),
        received,
        stage,
        outcome.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?,
        report.map(|report| duration(report.queued)),
        report.map(|report| duration(report.took)),
    ])?;
    Ok(Ownership::Mine)
}

pub(super) fn write_toggle(
    transaction: &Transaction<'_>,
    me: &Me,
    command: &Command,
    since: i64,
    (certainty, until): (Certainty, Option<SystemTime>),
) -> rusqlite::Result<()> {
    const WRITE: &str = "REPLACE INTO toggles (command, owner, agent, by_user, since_ms, until_ms, certainty)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let [command, agent, by] =
        [command.interaction.get(), command.agent.get(), command.user_id.get()].map(u64::cast_signed);
    let values = (command, me.owner, agent, by, since, until.map(millis), certainty_name(certainty));
    transaction.prepare_cached(WRITE)?.execute(values).map(drop)
}

/// What `certainty` is for a toggle that is known not to have been made. It stays until the command can't be answered
/// any more: another process that gets the same command later shall know that this one dealt with it.
pub(super) const NOT_TOGGLED: &str = "not toggled";

pub(super) fn void_toggle(transaction: &Transaction<'_>, me: &Me, command: InteractionId) -> rusqlite::Result<()> {
    const VOID: &str = "UPDATE toggles SET certainty = ?3, until_ms = since_ms WHERE command = ?1 AND owner = ?2";
    transaction.prepare_cached(VOID)?.execute((command.get().cast_signed(), me.owner, NOT_TOGGLED)).map(drop)
}

/// Makes the commands of a dead owner mine. Its toggles stay its own, so that they are found as those of another
/// process; one that was under way goes, if it was not sent, or counts `until` then.
pub(super) fn take_over(
    transaction: &Transaction<'_>,
    me: &Me,
    dead: i64,
    until: i64,
) -> rusqlite::Result<Vec<Command>> {
    // Nobody can tell any more which of the two an agent's next toggle is.
    const FORGET: &str = "DELETE FROM last_toggles WHERE agent IN
        (SELECT agent FROM commands WHERE owner = ?1 AND stage = 'sending')";
    const NOT_SENT: &str = "DELETE FROM toggles WHERE owner = ?1 AND until_ms IS NULL AND command IN
        (SELECT interaction FROM commands WHERE owner = ?1 AND stage IN ('answering', 'acknowledged'))";
    const PERHAPS: &str = "UPDATE toggles SET certainty = ?2, until_ms = ?3 WHERE owner = ?1 AND until_ms IS NULL";
    const MINE_AGAIN: &str = "DELETE FROM taken_over WHERE owner = ?1 AND interaction IN
        (SELECT interaction FROM commands WHERE owner = ?2)";
    const TAKEN_OVER: &str = "REPLACE INTO taken_over (interaction, owner, at_ms)
        SELECT interaction, owner, ?3 FROM commands WHERE owner = ?2
            AND interaction NOT IN (SELECT interaction FROM commands WHERE owner = ?1)";
    const TAKE_OVER: &str = "UPDATE commands SET owner = ?1 WHERE owner = ?2
            AND interaction NOT IN (SELECT interaction FROM commands WHERE owner = ?1) RETURNING *";
    transaction.prepare_cached(FORGET)?.execute([dead])?;
    transaction.prepare_cached(NOT_SENT)?.execute([dead])?;
    transaction.prepare_cached(PERHAPS)?.execute((dead, certainty_name(Certainty::Perhaps), until))?;
    transaction.prepare_cached(MINE_AGAIN)?.execute((me.owner, dead))?;
    transaction.prepare_cached(TAKEN_OVER)?.execute((me.owner, dead, now()))?;
    transaction.prepare_cached("DELETE FROM owners WHERE owner = ?1")?.execute([dead])?;
    commands(transaction, TAKE_OVER, (me.owner, dead))
}

pub(super) fn commands(
    transaction: &Transaction<'_>,
    sql: &str,
    params: impl rusqlite::Params,
) -> rusqlite::Result<Vec<Command>> {
    transaction.prepare_cached(sql)?.query_map(params, command)?.collect()
}

fn command(row: &Row<'_>) -> rusqlite::Result<Command> {
    let duration = |column| -> rusqlite::Result<Duration> {
        let millis = row.get::<_, Option<i64>>(column)?.unwrap_or_default();
        Ok(Duration::from_millis(millis.cast_unsigned()))
    };
    let outcome = row.get::<_, Option<String>>("outcome")?.and_then(|json| serde_json::from_str(&json).ok());
    let stage = match (row.get::<_, String>("stage")?.as_str(), outcome) {
        ("answering", _) => Stage::Answering,
        ("acknowledged", _) => Stage::Acknowledged,
        ("known", Some(outcome)) => {
            Stage::Known(CallReport { outcome, queued: duration("queued_ms")?, took: duration("took_ms")? })
        }
        // Also for an outcome that can't be read: then it is not known.
        _ => Stage::Sending,
    };
    Ok(Command {
        interaction: id(row, "interaction")?,
        application: id(row, "application")?,
        token: row.get::<_, String>("token")?.into(),
        user_id: id(row, "user_id")?,
        user: row.get("user")?,
        agent: agent(row)?,
        agent_name: row.get("agent_name")?,
        language: language(&row.get::<_, String>("language")?),
        guild_language: language(&row.get::<_, String>("guild_language")?),
        received_at: time(row, "received_ms")?,
        stage,
    })
}

pub(super) fn id<T: From<NonZeroU64>>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let id: i64 = row.get(column)?;
    NonZeroU64::new(id.cast_unsigned()).map(T::from).ok_or(rusqlite::Error::IntegralValueOutOfRange(0, id))
}

pub(super) fn agent(row: &Row<'_>) -> rusqlite::Result<AgentId> {
    let agent: i64 = row.get("agent")?;
    AgentId::try_from(agent.cast_unsigned()).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, agent))
}

fn language_name(language: Language) -> &'static str {
    language.locales().first().copied().unwrap_or("en")
}

fn language(name: &str) -> Language {
    Language::ALL.into_iter().find(|language| language_name(*language) == name).unwrap_or_default()
}

pub(super) fn certainty_name(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::UnderWay => "under way",
        Certainty::Done => "done",
        Certainty::Perhaps => "perhaps",
        Certainty::Elsewhere => "elsewhere",
    }
}

pub(super) fn certainty(name: &str) -> Certainty {
    let known = [Certainty::UnderWay, Certainty::Done, Certainty::Elsewhere];
    known.into_iter().find(|certainty| certainty_name(*certainty) == name).unwrap_or(Certainty::Perhaps)
}

/// In ms since 1970. All times in the record are on the wall clock: no other outlives the process.
pub(super) fn now() -> i64 {
    millis(SystemTime::now())
}

pub(super) fn millis(time: SystemTime) -> i64 {
    duration(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

pub(super) fn duration(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<SystemTime> {
    let millis: i64 = row.get(column)?;
    Ok(SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).unwrap_or_default()))
}
