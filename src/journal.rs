//! The file (`STATE_FILE`): what the next process has to know. It is the echo of the [`crate::ledger`], is written for the
//! next process alone, and is read only at start.
//!
//! One process holds it at a time, through SQLite's own lock, which the system lets go of however the process ends. One
//! thread writes, and takes all that waits into one transaction, because each waits for the disk (`synchronous=FULL`).

mod file;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ffi};
use tokio::sync::oneshot;
use tokio::time::timeout;

pub use self::file::{OpenError, Status, TRY_TO_TAKE, inspect, look, try_to_take};
use crate::command::Entry;

/// How long a write is waited for. Discord wants the first answer within 3 s.
const PATIENCE: Duration = Duration::from_secs(2);
/// The pause before what could not be written is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// The log beside the file is emptied at most this often, because tokens stay in it until then.
const CLEAN: Duration = Duration::from_secs(60);

/// The way to the file; without one nothing is written.
pub struct Journal(Option<Arc<Shared>>);

/// Whether a file was taken.
pub enum Taken {
    /// The file is this process's, with these entries in the order of their numbers.
    Mine(Journal, Vec<Entry>),
    /// Another process has it: a copy of the bot, or a program that has the file open.
    InUse,
}

/// What the file has of a command, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// What was written.
    Written,
    /// Certainly nothing, of it and of what was to be written with it.
    Nothing,
    /// Perhaps an earlier phase alone.
    Earlier,
}

/// A write in progress.
pub struct Write(Option<oneshot::Receiver<Stored>>);

struct Shared {
    waiting: Mutex<Waiting>,
    filled: Condvar,
    failing: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    rows: BTreeMap<u64, Row>,
    /// Whether one of them was not tried yet.
    fresh: bool,
    closed: Option<oneshot::Sender<()>>,
}

/// The newest of an entry that is not in the file.
struct Row {
    /// The entry as JSON; `None` where it goes.
    entry: Option<String>,
    has_token: bool,
    /// Those who wait for it, each with the numbers that were to be written together.
    written: Vec<(oneshot::Sender<Stored>, Vec<u64>)>,
}

impl Journal {
    /// Nothing is written.
    pub const fn off() -> Self {
        Self(None)
    }

    /// Takes the file, which is made if it is not there. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// Why the file can't be used. A file that is not understood is not changed.
    pub fn take(path: &Path) -> Result<Taken, OpenError> {
        let Some((connection, entries)) = file::take(path)? else { return Ok(Taken::InUse) };
        let shared =
            Arc::new(Shared { waiting: Mutex::default(), filled: Condvar::new(), failing: AtomicBool::new(false) });
        let with_token = entries.iter().filter(|entry| entry.command.is_open()).map(|entry| entry.number).collect();
        let mut writer = Writer {
            shared: shared.clone(),
            connection,
            path: path.to_owned(),
            stored: entries.iter().map(|entry| entry.number).collect(),
            with_token,
            cleaned: None,
            dirty: !entries.is_empty(),
        };
        let write = move || {
            let closed = writer.run();
            drop(writer);
            let _ = closed.send(());
        };
        let thread = thread::Builder::new().name("journal".to_owned()).spawn(write);
        thread.map_err(|error| OpenError::Other(path.to_owned(), error.to_string()))?;
        Ok(Taken::Mine(Self(Some(shared)), entries))
    }

    /// Whether the next process finds what this one leaves: there is a file, and the last write to it did not fail.
    pub fn outlives_the_process(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| !shared.failing.load(Ordering::Relaxed))
    }

    /// Writes entries in one transaction. What is returned is about the last one of them.
    pub fn put(&self, entries: &[&Entry]) -> Write {
        let Some(shared) = &self.0 else { return Write::unneeded() };
        let (written, is_written) = oneshot::channel();
        let mut waiting = shared.lock();
        for entry in entries {
            // Every part of an entry is one that JSON can hold.
            let json = serde_json::to_string(entry).unwrap_or_default();
            waiting.put(entry.number, Some(json), entry.command.is_open());
        }
        if let Some(row) = entries.last().and_then(|last| waiting.rows.get_mut(&last.number)) {
            row.written.push((written, entries.iter().map(|entry| entry.number).collect()));
        }
        shared.filled.notify_one();
        drop(waiting);
        Write(Some(is_written))
    }

    /// Removes entries, when there is time for it.
    pub fn forget(&self, numbers: impl IntoIterator<Item = u64>) {
        let Some(shared) = &self.0 else { return };
        let mut waiting = shared.lock();
        numbers.into_iter().for_each(|number| waiting.put(number, None, false));
        shared.filled.notify_one();
    }

    /// Writes what waits, once, and lets go of the file: another process may take it from now on.
    pub async fn close(&self) {
        let Some(shared) = &self.0 else { return };
        let (closed, is_closed) = oneshot::channel();
        shared.lock().closed = Some(closed);
        shared.filled.notify_one();
        if timeout(PATIENCE, is_closed).await.is_err() {
            tracing::error!("STATE_FILE: the file takes too long to be closed");
        }
    }
}

impl Write {
    /// Of nothing.
    pub const fn unneeded() -> Self {
        Self(None)
    }

    /// Waits for the write. Of one that takes too long it is not known whether the file has it: that is `Earlier`.
    pub async fn stored(self) -> Stored {
        match self.0 {
            None => Stored::Nothing,
            Some(written) => match timeout(PATIENCE, written).await {
                Ok(Ok(stored)) => stored,
                Ok(Err(_)) | Err(_) => Stored::Earlier,
            },
        }
    }
}

impl Shared {
    /// No panic happens while the rows are held, and if one did, they would still be whole.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for rows to be written, for the time to try them again, or for `limit`.
    fn next(&self, limit: Duration) -> (BTreeMap<u64, Row>, Option<oneshot::Sender<()>>) {
        let idle = |waiting: &mut Waiting| !waiting.fresh && waiting.closed.is_none();
        let waiting = self.filled.wait_timeout_while(self.lock(), limit, idle);
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner).0;
        waiting.fresh = false;
        (std::mem::take(&mut waiting.rows), waiting.closed.take())
    }
}

impl Waiting {
    fn put(&mut self, number: u64, entry: Option<String>, has_token: bool) {
        let before = self.rows.remove(&number).map(|row| row.written).unwrap_or_default();
        self.rows.insert(number, Row { entry, has_token, written: before });
        self.fresh = true;
    }

    /// Puts what could not be written back, but not over what is newer.
    fn put_back(&mut self, number: u64, row: Row) {
        self.rows.entry(number).or_insert(row);
    }
}

/// What the thread has.
struct Writer {
    shared: Arc<Shared>,
    connection: Connection,
    path: PathBuf,
    /// The numbers that the file has entries of, or may have.
    stored: HashSet<u64>,
    /// Those of them that have a token.
    with_token: HashSet<u64>,
    /// When the log beside the file was emptied.
    cleaned: Option<Instant>,
    /// Whether anything was written since.
    dirty: bool,
}

impl Writer {
    /// Writes until the journal is closed. Tells whom to tell that.
    fn run(&mut self) -> oneshot::Sender<()> {
        loop {
            let (rows, closed) =
                self.shared.next(if self.shared.failing.load(Ordering::Relaxed) { RETRY } else { CLEAN });
            if !rows.is_empty() {
                self.write(rows);
            }
            if let Some(closed) = closed {
                return closed;
            }
            self.clean();
        }
    }

    fn write(&mut self, mut rows: BTreeMap<u64, Row>) {
        let result = self.transaction(&rows);
        let written = result.is_ok();
        // The next process may find what the system took and did not bring to the disk.
        let is_perhaps = |error: &rusqlite::Error| {
            error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_IOERR_FSYNC)
        };
        let perhaps = result.as_ref().is_err_and(is_perhaps);
        self.tell(result.err());
        for (number, row) in &mut rows {
            if written {
                let set =
                    |set: &mut HashSet<u64>, has: bool| if has { set.insert(*number) } else { set.remove(number) };
                set(&mut self.stored, row.entry.is_some());
                set(&mut self.with_token, row.has_token);
            } else if perhaps {
                self.stored.insert(*number);
            }
        }
        for row in rows.values_mut() {
            for (told, together) in row.written.drain(..) {
                let stored = match written {
                    true => Stored::Written,
                    false if together.iter().any(|number| self.stored.contains(number)) => Stored::Earlier,
                    false => Stored::Nothing,
                };
                // Nobody may wait for it any more.
                let _ = told.send(stored);
            }
        }
        if written {
            self.dirty = true;
        } else {
            let mut waiting = self.shared.lock();
            rows.into_iter().for_each(|(number, row)| waiting.put_back(number, row));
        }
    }

    fn transaction(&mut self, rows: &BTreeMap<u64, Row>) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        for (number, row) in rows {
            let number = number.cast_signed();
            match &row.entry {
                Some(entry) => transaction
                    .prepare_cached("REPLACE INTO entries (number, entry) VALUES (?1, ?2)")?
                    .execute((number, entry))?,
                None => transaction.prepare_cached("DELETE FROM entries WHERE number = ?1")?.execute([number])?,
            };
        }
        transaction.commit()
    }

    /// Logs when writing begins to fail, and when it works again.
    fn tell(&mut self, error: Option<rusqlite::Error>) {
        let path = self.path.display();
        let failed = self.shared.failing.swap(error.is_some(), Ordering::Relaxed);
        match &error {
            Some(error) if !failed => tracing::error!(
                "STATE_FILE: {path} can't be written ({error}). Check the disk and its free space. The bot goes on from \
                 memory; if it is killed now, nobody is told the outcome of the commands in progress"
            ),
            None if failed => tracing::info!("STATE_FILE: {path} is written again"),
            _ => {}
        }
    }

    /// Removes every trace of tokens that nobody needs, while no command is in progress.
    fn clean(&mut self) {
        let is_due = self.cleaned.is_none_or(|cleaned| cleaned.elapsed() >= CLEAN);
        if self.dirty && is_due && self.with_token.is_empty() {
            let emptied = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            self.dirty = emptied.is_err();
            self.cleaned = Some(Instant::now());
        }
    }
}
