//! The record: what has to outlive the process, in one SQLite file (`STATE_FILE`) or, without one, in memory.
//!
//! Copies of the bot on one machine may share the file. Each process is an owner: a random number, and a lock file
//! beside the database which the system unlocks when the process ends, however it ends. Nothing else says who is dead.
//!
//! One thread has the connection, so that a slow disk stalls nothing but who waits for it. What it is given it does in
//! that order, also when nobody waits any more.

mod file;
mod rows;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Row, Transaction, TransactionBehavior};
use secrecy::SecretString;
use serenity::model::id::{ApplicationId, InteractionId, UserId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use self::file::Lock;
pub use self::file::OpenError;
use self::rows::{
    NOT_TOGGLED, agent, certainty, certainty_name, commands, duration, id, millis, now, take_over, time, void_toggle,
    write_command, write_toggle,
};
use crate::agent::AgentId;
use crate::guard::{Certainty, Consent, Stale};
use crate::language::Language;
use crate::outcome::Outcome;
use crate::wolkvox::CallReport;

/// How long an answer is waited for. Discord wants the first one within 3 s.
const PATIENCE: Duration = Duration::from_millis(2500);
/// The same while the record does not work: commands shall not be slowed down by that one after the other.
const PATIENCE_WHILE_FAILING: Duration = Duration::from_millis(100);
/// How long another program's lock is waited out.
const BUSY: Duration = PATIENCE;
/// How long an interaction's token lives (Discord, "Receiving and Responding"). Nothing else but the last toggles is
/// kept for longer, in ms.
const LIFE: i64 = 15 * 60 * 1000;
/// How long the last toggle of an agent is kept, in ms.
const LAST_TOGGLE_LIFE: i64 = 30 * 24 * 60 * 60 * 1000;

/// The record. Clones share it; when the last one is dropped, the file is closed and this owner is gone.
#[derive(Clone)]
pub struct Record(Option<Arc<Shared>>);

struct Shared {
    /// Nothing once it is being dropped.
    jobs: Option<mpsc::UnboundedSender<Job>>,
    thread: JoinHandle<()>,
    health: Arc<Health>,
}

type Job = Box<dyn FnOnce(&mut Worker) + Send>;

/// Writes what came of a command, as often as it has to be tried.
type Write = Box<dyn Fn(&Transaction<'_>, &Me) -> rusqlite::Result<()> + Send>;

/// What the thread has.
struct Worker {
    connection: Connection,
    me: Me,
    /// How many changes the file had seen when nothing of the past was left beside it.
    clean_at: Option<u64>,
    /// What could not be written, and since when: the next transaction that can be has it too.
    unwritten: Vec<(Instant, Write)>,
    /// The last to be dropped.
    _lock: Lock,
}

#[derive(Clone)]
struct Me {
    owner: i64,
    path: PathBuf,
}

/// A command that somebody waits for.
#[derive(Clone, Debug)]
pub struct Command {
    /// Its id.
    pub interaction: InteractionId,
    /// With the token, where the answer goes.
    pub application: ApplicationId,
    /// Empty once it is of no use any more.
    pub token: SecretString,
    /// Who gave it.
    pub user_id: UserId,
    /// That user's name.
    pub user: String,
    /// The agent to toggle.
    pub agent: AgentId,
    /// The agent's name, as the directory had it.
    pub agent_name: Option<String>,
    /// The user's language.
    pub language: Language,
    /// The guild's language.
    pub guild_language: Language,
    /// When it came.
    pub received_at: SystemTime,
    /// How far it has come.
    pub stage: Stage,
}

/// How far a command has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The first answer is being sent, and it is not known whether Discord accepted it.
    Answering,
    /// The person sees "thinking…", and nothing was sent to Wolkvox.
    Acknowledged,
    /// The call is about to be made, or was made.
    Sending,
    /// The outcome is known, and the person is being told.
    Known(CallReport),
}

/// Whose a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// This process's.
    Mine,
    /// Another process took this one for dead and tells the person. This one says no more.
    TakenOver,
}

/// What came of beginning a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It is written.
    Written,
    /// Nothing was written: this toggle stands in the way.
    InTheWay(OtherToggle),
    /// Nothing was written: this process took the command over from a dead one, and tells the person.
    Inherited,
}

/// A toggle by another process, alive or dead, that still counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherToggle {
    /// The command that toggled.
    pub command: InteractionId,
    /// Who gave it.
    pub by: UserId,
    /// When.
    pub since: SystemTime,
    /// Whether it was carried out.
    pub certainty: Certainty,
}

/// The toggle before this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastToggle {
    /// Who gave the command.
    pub by: UserId,
    /// When it was carried out.
    pub at: SystemTime,
}

/// What `check` says of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Where it is.
    pub path: PathBuf,
    /// How many commands are open, of all processes.
    pub open_commands: u64,
}

/// The record is off, or can't be used just now, which was logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Nothing was written. What came of a command is written once that works again.
    #[error("the record can't be written")]
    NotWritten,
    /// It takes too long: what was to be written may be written later, or not.
    #[error("the record takes too long")]
    Late,
}

/// Each operation that writes is one transaction. It fails with [`Unavailable`] when the record can't be used, and when it takes
/// too long; in that case it may still be carried out, before what is asked for later.
impl Record {
    /// Nothing is written down, and every operation is [`Unavailable::NotWritten`]: the bot works from memory.
    pub const fn off() -> Self {
        Self(None)
    }

    /// Opens the record, which is made if it is not there. Takes some seconds if the file is locked.
    ///
    /// # Errors
    /// Why it can't be used. A file that is not understood is not changed.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let owner = fastrand::i64(..);
        let other = |error: &dyn ToString| OpenError::Other(path.to_owned(), error.to_string());
        let (path, connection, lock) = file::open(path, owner)?;
        connection.busy_timeout(BUSY).map_err(|error| other(&error))?;
        let health = Arc::new(Health { failing: AtomicBool::new(false), path: path.clone() });
        let me = Me { owner, path };
        let mut worker = Worker { connection, me, clean_at: None, unwritten: Vec::new(), _lock: lock };
        let (jobs, mut given) = mpsc::unbounded_channel::<Job>();
        let work = move || {
            // A panic stays with its job: with the thread the lock would go, which says that this process lives.
            while let Some(job) = given.blocking_recv() {
                let _ = catch_unwind(AssertUnwindSafe(|| job(&mut worker)));
            }
            // What this owner leaves open is found without that.
            let gone = |transaction: &Transaction<'_>, me: &Me| {
                transaction.execute("DELETE FROM owners WHERE owner = ?1", [me.owner])
            };
            let _ = in_transaction(gone)(&mut worker);
        };
        let thread = thread::Builder::new().name("record".to_owned()).spawn(work).map_err(|error| other(&error))?;
        Ok(Self(Some(Arc::new(Shared { jobs: Some(jobs), thread, health }))))
    }

    /// Looks at a record without taking anything over, and without making one that is not there.
    ///
    /// # Errors
    /// As for [`Record::open`].
    pub fn inspect(path: &Path) -> Result<Status, OpenError> {
        file::inspect(path)
    }

    /// Whether there is a file.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether the next process finds what this one leaves.
    pub fn outlives_the_process(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| !shared.health.failing.load(Ordering::Relaxed))
    }

    /// Before the first answer is sent: writes the command, and its toggle as one under way, unless the latest other
    /// toggle of the agent that still counts, by whichever process, `stands_in_the_way`. To be used once for a command.
    pub async fn begin(
        &self,
        command: &Command,
        stands_in_the_way: impl FnOnce(&OtherToggle) -> bool + Send + 'static,
    ) -> Result<Begun, Unavailable> {
        const INHERITED: &str = "SELECT EXISTS (SELECT 1 FROM commands WHERE interaction = ?1 AND owner = ?2)";
        const LATEST: &str = "SELECT command, by_user, since_ms, certainty FROM toggles
            WHERE agent = ?1 AND command <> ?2 AND (until_ms IS NULL OR until_ms > ?3) AND certainty <> ?4
            ORDER BY since_ms DESC LIMIT 1";
        let Some(command) = self.0.as_ref().map(|_| command.clone()) else { return Err(Unavailable::NotWritten) };
        self.transaction(move |transaction, me| {
            let interaction = command.interaction.get().cast_signed();
            // Discord may deliver it here when the copy that had it is dead: what that left must not be overwritten.
            if transaction.prepare_cached(INHERITED)?.query_row((interaction, me.owner), |row| row.get(0))? {
                return Ok(Begun::Inherited);
            }
            let key = (command.agent.get().cast_signed(), interaction, now(), NOT_TOGGLED);
            let toggle = |row: &Row<'_>| {
                let certainty = certainty(&row.get::<_, String>("certainty")?);
                Ok(OtherToggle {
                    command: id(row, "command")?,
                    by: id(row, "by_user")?,
                    since: time(row, "since_ms")?,
                    certainty,
                })
            };
            let latest = transaction.prepare_cached(LATEST)?.query_row(key, toggle).optional()?;
            if let Some(latest) = latest.filter(stands_in_the_way) {
                return Ok(Begun::InTheWay(latest));
            }
            write_command(transaction, me, &command)?;
            write_toggle(transaction, me, &command, now(), (Certainty::UnderWay, None))?;
            Ok(Begun::Written)
        })
        .await
    }

    /// Writes all of a command, whether or not it was written before.
    pub async fn save(&self, command: &Command) -> Result<Ownership, Unavailable> {
        let Some(command) = self.0.as_ref().map(|_| command.clone()) else { return Err(Unavailable::NotWritten) };
        let job = in_transaction(move |transaction, me| write_command(transaction, me, &command));
        self.run(job, Some(PATIENCE)).await
    }

    /// The same, and once it is done, not even a power failure takes the command back to what it was before. For that it
    /// waits for the disk.
    pub async fn save_for_good(&self, command: &Command) -> Result<Ownership, Unavailable> {
        let Some(command) = self.0.as_ref().map(|_| command.clone()) else { return Err(Unavailable::NotWritten) };
        let job = in_transaction(move |transaction, me| write_command(transaction, me, &command));
        let job = move |worker: &mut Worker| {
            worker.connection.pragma_update(None, "synchronous", "FULL")?;
            let saved = job(worker);
            worker.connection.pragma_update(None, "synchronous", "NORMAL")?;
            saved
        };
        self.run(job, Some(PATIENCE)).await
    }

    /// When the outcome is known, before anybody is told: writes the command, what is known of its toggle and until
    /// when that counts, or that there was none. If it was carried out, returns the agent's toggle before it, unless
    /// another one may lie between. To be used once for a command.
    pub async fn known(
        &self,
        command: &Command,
        toggle: Option<(Certainty, SystemTime)>,
    ) -> Result<(Ownership, Option<LastToggle>), Unavailable> {
        // Another copy's call, or that of a copy that died and was not taken over yet.
        const LAST: &str = "SELECT by_user, at_ms FROM last_toggles WHERE agent = ?1 AND NOT EXISTS
            (SELECT 1 FROM commands WHERE agent = ?1 AND interaction <> ?2 AND stage = 'sending')";
        const REPLACE: &str = "REPLACE INTO last_toggles (agent, by_user, at_ms) VALUES (?1, ?2, ?3)";
        let Some(command) = self.0.as_ref().map(|_| command.clone()) else { return Err(Unavailable::NotWritten) };
        let now = SystemTime::now();
        self.lasting(move |transaction, me| {
            let at = millis(now);
            let ownership = write_command(transaction, me, &command)?;
            match toggle {
                Some((certainty, until)) => write_toggle(transaction, me, &command, at, (certainty, Some(until)))?,
                None => void_toggle(transaction, me, command.interaction)?,
            }
            let agent = command.agent.get().cast_signed();
            let began = match &command.stage {
                Stage::Known(CallReport { outcome: Outcome::Done(_), took, .. }) => now - *took,
                Stage::Known(CallReport { outcome: Outcome::Unknown(_), .. }) => {
                    forget(transaction, agent)?;
                    return Ok((ownership, None));
                }
                _ => return Ok((ownership, None)),
            };
            let toggle = |row: &Row<'_>| Ok(LastToggle { by: id(row, "by_user")?, at: time(row, "at_ms")? });
            let key = [agent, command.interaction.get().cast_signed()];
            let last = transaction.prepare_cached(LAST)?.query_row(key, toggle).optional()?;
            if last.is_some_and(|last| last.at > began) {
                // Another copy's, during this call: either may have been the last.
                forget(transaction, agent)?;
                return Ok((ownership, None));
            }
            transaction.prepare_cached(REPLACE)?.execute((agent, command.user_id.get().cast_signed(), at))?;
            Ok((ownership, last))
        })
        .await
    }

    /// Forgets the agent's last toggle: another one may have been made since, of which this record has nothing.
    pub async fn forget_last_toggle(&self, agent: AgentId) -> Result<(), Unavailable> {
        self.lasting(move |transaction, _| forget(transaction, agent.get().cast_signed())).await
    }

    /// Writes what is known of a command's toggle and until when that counts, or that there was none.
    pub async fn settle_toggle(
        &self,
        command: InteractionId,
        toggle: Option<(Certainty, SystemTime)>,
    ) -> Result<(), Unavailable> {
        const SETTLE: &str = "UPDATE toggles SET certainty = ?3, since_ms = ?4, until_ms = ?5
            WHERE command = ?1 AND owner = ?2";
        let at = now();
        self.lasting(move |transaction, me| {
            let Some((certainty, until)) = toggle else { return void_toggle(transaction, me, command) };
            let values = (command.get().cast_signed(), me.owner, certainty_name(certainty), at, millis(until));
            transaction.prepare_cached(SETTLE)?.execute(values).map(drop)
        })
        .await
    }

    /// Removes a command: the person was told, or there is nothing to tell.
    pub async fn finish(&self, command: InteractionId) -> Result<(), Unavailable> {
        const FINISH: &str = "DELETE FROM commands WHERE interaction = ?1 AND owner = ?2";
        self.execute(FINISH, command).await
    }

    /// Whether another process is or was at the same command, so that the record has what came of it.
    pub async fn also_elsewhere(&self, command: InteractionId) -> Result<bool, Unavailable> {
        const ELSEWHERE: &str = "SELECT EXISTS (SELECT 1 FROM commands WHERE interaction = ?1 AND owner <> ?2)
            OR EXISTS (SELECT 1 FROM toggles WHERE command = ?1 AND owner <> ?2)";
        self.query(ELSEWHERE, command).await
    }

    /// Whether another process's first answer to the same command was accepted, and the person has not been told yet
    /// what came of it: that process tells it, or who takes its place.
    pub async fn told_elsewhere(&self, command: InteractionId) -> Result<bool, Unavailable> {
        const TOLD: &str = "SELECT EXISTS
            (SELECT 1 FROM commands WHERE interaction = ?1 AND owner <> ?2 AND stage <> 'answering')";
        self.query(TOLD, command).await
    }

    /// Writes that `to` is asked, by the answer to `command`, whether to reverse the toggle `about`.
    pub async fn ask(
        &self,
        command: InteractionId,
        to: UserId,
        agent: AgentId,
        about: InteractionId,
    ) -> Result<(), Unavailable> {
        const ASK: &str = "REPLACE INTO questions (command, owner, to_user, agent, about, asked_ms, answered)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0)";
        self.transaction(move |transaction, me| {
            let [command, to, agent, about] = [command.get(), to.get(), agent.get(), about.get()].map(u64::cast_signed);
            transaction.prepare_cached(ASK)?.execute((command, me.owner, to, agent, about, now())).map(drop)
        })
        .await
    }

    /// Takes the answer "go on" to the question that `command` was answered with, whoever asked: by `press`, which all
    /// copies get. It can be taken once and within `window`; `None` if there is no such question. The rules are those of
    /// [`crate::guard`].
    pub async fn answer_question(
        &self,
        command: InteractionId,
        by: UserId,
        press: InteractionId,
        window: Duration,
    ) -> Result<Option<Result<Consent, Stale>>, Unavailable> {
        // Both of two copies may have asked; one of them was seen.
        const QUESTION: &str = "SELECT to_user, agent, about, asked_ms, answered FROM questions
            WHERE command = ?1 ORDER BY answered DESC LIMIT 1";
        const ANSWER: &str = "UPDATE questions SET answered = ?2 WHERE command = ?1";
        self.transaction(move |transaction, _| {
            let (command, press) = ([command.get().cast_signed()], press.get().cast_signed());
            let question = |row: &Row<'_>| {
                let consent = Consent { agent: agent(row)?, reverses: id(row, "about")? };
                Ok((
                    id::<UserId>(row, "to_user")?,
                    row.get::<_, i64>("asked_ms")?,
                    row.get::<_, i64>("answered")?,
                    consent,
                ))
            };
            let Some((to, asked, answered, consent)) =
                transaction.prepare_cached(QUESTION)?.query_row(command, question).optional()?
            else {
                return Ok(None);
            };
            if to != by {
                return Ok(Some(Err(Stale::NotYours)));
            }
            if answered != 0 && answered != press {
                return Ok(Some(Err(Stale::Used)));
            }
            if now().saturating_sub(asked) >= duration(window) {
                return Ok(Some(Err(Stale::Late)));
            }
            transaction.prepare_cached(ANSWER)?.execute([command[0], press])?;
            Ok(Some(Ok(consent)))
        })
        .await
    }

    /// Makes the button work again: nothing came of `press`.
    pub async fn reopen_question(&self, command: InteractionId, press: InteractionId) -> Result<(), Unavailable> {
        const REOPEN: &str = "UPDATE questions SET answered = 0 WHERE command = ?1 AND answered = ?2";
        self.transaction(move |transaction, _| {
            let key = [command.get().cast_signed(), press.get().cast_signed()];
            transaction.prepare_cached(REOPEN)?.execute(key).map(drop)
        })
        .await
    }

    /// Takes back a question of this process that nobody got to see.
    pub async fn drop_question(&self, command: InteractionId) -> Result<(), Unavailable> {
        const DROP: &str = "DELETE FROM questions WHERE command = ?1 AND owner = ?2";
        self.execute(DROP, command).await
    }

    /// Takes over what dead processes left: their commands are this one's from now on, and each is returned once, to
    /// one of those who ask. What may have been toggled counts for `window` from now. Where this process is at the
    /// same command, it is taken over when that is finished. A token may be empty: then its time is over.
    pub async fn take_over_dead(&self, window: Duration) -> Result<Vec<Command>, Unavailable> {
        const OWNERS: &str = "SELECT owner FROM owners WHERE owner <> ?1
            UNION SELECT owner FROM commands WHERE owner <> ?1
            UNION SELECT owner FROM toggles WHERE owner <> ?1 AND until_ms IS NULL";
        let job = move |transaction: &Transaction<'_>, me: &Me| {
            let mut statement = transaction.prepare_cached(OWNERS)?;
            let owners = statement.query_map([me.owner], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
            let mut commands = Vec::new();
            for dead in owners {
                // Held until all of it is taken over. It is gone then, also if that can't be committed: who has no
                // lock file is dead.
                let Some(_lock) = Lock::of_dead(me, dead) else { continue };
                commands.extend(take_over(transaction, me, dead, now().saturating_add(duration(window)))?);
            }
            Ok(commands)
        };
        // However long it takes: whose commands have become this process's own nobody else tells.
        self.run(in_transaction(job), None).await
    }

    /// Removes what nothing needs any more, and every trace of it from the file and the log beside it. Returns the
    /// commands of this process that were still open after 15 minutes; they are not open any more. What was taken over
    /// stays for 15 minutes from then on: however old it is, it has no audit record yet.
    pub async fn tidy(&self) -> Result<Vec<Command>, Unavailable> {
        // What lies too far ahead is from before the clock was set back.
        const EXPIRED: &str = "DELETE FROM commands WHERE owner = ?3 AND received_ms NOT BETWEEN ?1 AND ?2
            AND interaction NOT IN (SELECT interaction FROM taken_over) RETURNING *";
        const REST: [&str; 4] = [
            "UPDATE commands SET token = '' WHERE token <> '' AND received_ms NOT BETWEEN ?1 AND ?2",
            "DELETE FROM toggles WHERE coalesce(until_ms, since_ms) NOT BETWEEN ?1 AND ?2",
            "DELETE FROM questions WHERE asked_ms NOT BETWEEN ?1 AND ?2",
            "DELETE FROM taken_over WHERE at_ms NOT BETWEEN ?1 AND ?2",
        ];
        const LAST_TOGGLES: &str = "DELETE FROM last_toggles WHERE at_ms < ?1";
        let expired = self
            .transaction(move |transaction, me| {
                let (from, to) = (now() - LIFE, now() + LIFE);
                let expired = commands(transaction, EXPIRED, (from, to, me.owner))?;
                for sql in REST {
                    transaction.prepare_cached(sql)?.execute((from, to))?;
                }
                transaction.prepare_cached(LAST_TOGGLES)?.execute([now() - LAST_TOGGLE_LIFE])?;
                Ok(expired)
            })
            .await?;
        // Nothing is lost if that fails: the next one does it. So the commands are returned in any case.
        let _ = self.run(Worker::clean, Some(PATIENCE)).await;
        Ok(expired)
    }

    /// A question about one command, which a full disk can answer too.
    async fn query(&self, sql: &'static str, command: InteractionId) -> Result<bool, Unavailable> {
        let job = move |Worker { connection, me, .. }: &mut Worker| {
            let key = (command.get().cast_signed(), me.owner);
            connection.prepare_cached(sql)?.query_row(key, |row| row.get(0))
        };
        self.run(job, Some(self.patience())).await
    }

    /// A statement about one command of this process.
    async fn execute(&self, sql: &'static str, command: InteractionId) -> Result<(), Unavailable> {
        self.lasting(move |transaction, me| {
            transaction.prepare_cached(sql)?.execute((command.get().cast_signed(), me.owner)).map(drop)
        })
        .await
    }

    async fn transaction<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Transaction<'_>, &Me) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Unavailable> {
        self.run(in_transaction(job), Some(self.patience())).await
    }

    /// What came of a command: if it can't be written now, it is written with the next transaction that can be.
    /// Otherwise the toggle would stand there as one under way for as long as this process lives.
    async fn lasting<T: Send + 'static>(
        &self,
        write: impl Fn(&Transaction<'_>, &Me) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let job = move |worker: &mut Worker| {
            let written = in_transaction(&write)(worker);
            if written.is_err() {
                let write = Box::new(move |transaction: &Transaction<'_>, me: &Me| write(transaction, me).map(drop));
                // A disk may be full for days, and what is older counts no more.
                worker.unwritten.retain(|(since, _)| duration(since.elapsed()) < LIFE);
                worker.unwritten.push((Instant::now(), write));
            }
            written
        };
        self.run(job, Some(self.patience())).await
    }

    fn patience(&self) -> Duration {
        match self.0.as_ref().is_some_and(|shared| shared.health.failing.load(Ordering::Relaxed)) {
            true => PATIENCE_WHILE_FAILING,
            false => PATIENCE,
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Worker) -> rusqlite::Result<T> + Send + 'static,
        patience: Option<Duration>,
    ) -> Result<T, Unavailable> {
        let Some(shared) = &self.0 else { return Err(Unavailable::NotWritten) };
        let (answer, answered) = oneshot::channel();
        let health = shared.health.clone();
        let job = Box::new(move |worker: &mut Worker| {
            let before = worker.connection.total_changes();
            let result = job(worker);
            match &result {
                // A full disk can be read: only what was written proves something.
                Ok(_) if worker.connection.total_changes() != before => health.works(),
                Ok(_) => {}
                Err(error) => health.fails(&error.to_string()),
            }
            // Nobody may wait for it any more.
            let _ = answer.send(result);
        });
        let health = &shared.health;
        // A thread that is gone drops the job, and with it the other end of the answer.
        let _ = shared.jobs.as_ref().map(|jobs| jobs.send(job));
        let answered = match patience {
            Some(patience) => timeout(patience, answered).await,
            None => Ok(answered.await),
        };
        match answered {
            Ok(Ok(result)) => result.map_err(|_| Unavailable::NotWritten),
            Ok(Err(_)) => {
                health.fails("its thread has failed");
                Err(Unavailable::Late)
            }
            Err(_) => {
                health.fails("it takes too long");
                Err(Unavailable::Late)
            }
        }
    }
}

/// Forgets an agent's last toggle: nobody can tell any more which of the two the next one is.
fn forget(transaction: &Transaction<'_>, agent: i64) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM last_toggles WHERE agent = ?1")?.execute([agent]).map(drop)
}

/// One transaction, which begins with the right to write, and with what could not be written before.
fn in_transaction<T>(
    job: impl FnOnce(&Transaction<'_>, &Me) -> rusqlite::Result<T>,
) -> impl FnOnce(&mut Worker) -> rusqlite::Result<T> {
    move |Worker { connection, me, unwritten, .. }| {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if !unwritten.is_empty() {
            // Some toggles may not be among it any more.
            transaction.execute("DELETE FROM last_toggles", [])?;
        }
        for (_, write) in &*unwritten {
            write(&transaction, me)?;
        }
        let result = job(&transaction, me)?;
        transaction.commit()?;
        unwritten.clear();
        Ok(result)
    }
}

impl Drop for Shared {
    /// Waits a while for the end, so that a process that ends leaves nothing half closed.
    fn drop(&mut self) {
        self.jobs = None;
        let begun = Instant::now();
        while !self.thread.is_finished() && begun.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Worker {
    /// Brings the log beside the file into it and empties the log, if anything was written since the last time. What
    /// was removed has been overwritten in the file then (`secure_delete`).
    fn clean(&mut self) -> rusqlite::Result<()> {
        let changes = self.connection.total_changes();
        if self.clean_at != Some(changes) {
            // Nobody waits for somebody who reads the file: the next time will do.
            self.connection.busy_timeout(Duration::ZERO)?;
            let busy = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
            self.connection.busy_timeout(BUSY)?;
            let busy = busy.or_else(|error| match error.sqlite_error_code() {
                Some(ErrorCode::DatabaseBusy) => Ok(true),
                _ => Err(error),
            })?;
            self.clean_at = (!busy).then_some(changes);
        }
        Ok(())
    }
}

/// Whether the record works, as far as was logged.
struct Health {
    failing: AtomicBool,
    path: PathBuf,
}

impl Health {
    fn fails(&self, cause: &str) {
        if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::error!(
                "STATE_FILE: {} can't be written ({cause}). The bot goes on from memory, and should it die now, nobody \
                 will be told what became of the commands under way",
                self.path.display()
            );
        }
    }

    fn works(&self) {
        if self.failing.swap(false, Ordering::Relaxed) {
            tracing::info!("STATE_FILE: the record is written again");
        }
    }
}

fn open_commands(connection: &Connection) -> rusqlite::Result<u64> {
    let count = connection.query_row("SELECT count(*) FROM commands", [], |row| row.get::<_, i64>(0))?;
    Ok(count.cast_unsigned())
}

#[cfg(test)]
mod tests;
