//! Opening the file: whether it is sound and ours, its schema, and the locks that say who is alive.

use crate::language::Localized;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::{Me, Status, now, open_commands};

/// How long another program's lock is waited out when the file is opened.
const BUSY_AT_OPEN: Duration = Duration::from_secs(2);
const BUSY_AGAIN: Duration = Duration::from_millis(20);

/// One step for each version of the schema. A step that was released is never changed; what is stored in another way
/// needs another one, so that an older version of the bot refuses the file.
const MIGRATIONS: [&str; 2] = [
    "CREATE TABLE owners (owner INTEGER PRIMARY KEY, since_ms INTEGER NOT NULL) STRICT;
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
         PRIMARY KEY (command, owner)) STRICT;",
    "CREATE TABLE last_toggles (agent INTEGER PRIMARY KEY, by_user INTEGER NOT NULL, at_ms INTEGER NOT NULL) STRICT;",
];
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// Why the record can't be used. Each says what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is a directory.
    #[error("{0} is a directory. Name a file in it, such as {0}/wolkvox-bot.db")]
    Directory(PathBuf),
    /// The folder is missing.
    #[error("the folder of {0} does not exist. Create it, or name a file elsewhere")]
    NoFolder(PathBuf),
    /// No permission.
    #[error(
        "{0} can't be written. Give this user the permission to write the file and its folder, where SQLite and the \
         bot make files beside it"
    )]
    NotPermitted(PathBuf),
    /// It is something else, or damaged. It was not changed.
    #[error(
        "{0} is damaged, or not a record of this bot ({1}). It was left as it is: move it away together with \
         {0}-wal and {0}-shm, and the bot begins a new one, or name another file"
    )]
    NotARecord(PathBuf, String),
    /// It has a later version of the schema.
    #[error(
        "{0} was written by a newer version of the bot (its format is {1}, this version knows {known}). Start that \
         version, or name another file",
        known = VERSION
    )]
    Newer(PathBuf, i64),
    /// Another program does not let go of it.
    #[error("{0} is locked by another program. End that program, or name another file")]
    Locked(PathBuf),
    /// Anything else.
    #[error("{0} can't be used ({1}). See to that, name another file, or set it to off to keep nothing on disk")]
    Other(PathBuf, String),
}

impl Localized for OpenError {
    fn spanish(&self) -> String {
        match self {
            Self::Directory(path) => {
                let path = path.display();
                format!("{path} es un directorio. Nombra un archivo dentro de él, por ejemplo {path}/wolkvox-bot.db")
            }
            Self::NoFolder(path) => {
                format!("la carpeta de {} no existe. Créala o nombra un archivo en otro lugar", path.display())
            }
            Self::NotPermitted(path) => format!(
                "no se puede escribir {}. Da permiso a este usuario para escribir el archivo y su carpeta, donde SQLite y \
                 el bot crean archivos junto a él",
                path.display()
            ),
            Self::NotARecord(path, why) => {
                let path = path.display();
                format!(
                    "{path} está dañado o no es un archivo de estado de este bot ({why}). Se dejó como está: muévelo \
                     junto con {path}-wal y {path}-shm, y el bot empieza uno nuevo, o nombra otro archivo"
                )
            }
            Self::Newer(path, version) => format!(
                "{} fue escrito por una versión más nueva del bot (su formato es {version}). Inicia esa versión o nombra \
                 otro archivo",
                path.display()
            ),
            Self::Locked(path) => {
                format!("otro programa tiene bloqueado {}. Cierra ese programa o nombra otro archivo", path.display())
            }
            Self::Other(path, why) => format!(
                "no se puede usar {} ({why}). Corrígelo, nombra otro archivo, o pon off para no guardar nada en disco",
                path.display()
            ),
        }
    }
}

/// A lock file, which is removed before it is unlocked.
pub(super) struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    fn path(database: &Path, owner: i64) -> PathBuf {
        let mut path = database.as_os_str().to_owned();
        path.push(format!("-{owner:016x}.lock"));
        path.into()
    }

    fn take(database: &Path, owner: i64) -> io::Result<Self> {
        let path = Self::path(database, owner);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let lock = Self { path, file };
        lock.file.try_lock()?;
        Ok(lock)
    }

    /// The lock of a dead owner, if that has one; nothing if the owner lives.
    pub(super) fn of_dead(me: &Me, owner: i64) -> Option<Option<Self>> {
        let path = Self::path(&me.path, owner);
        let file = match OpenOptions::new().write(true).open(&path) {
            Ok(file) => file,
            Err(error) => return (error.kind() == ErrorKind::NotFound).then_some(None),
        };
        match file.try_lock() {
            Ok(()) => Some(Some(Self { path, file })),
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => None,
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // One that stays is found unlocked.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Opens the file, makes it if it is not there, and enters the owner.
pub(super) fn open(path: &Path, owner: i64) -> Result<(PathBuf, Connection, Lock), OpenError> {
    // Without symbolic links, so that all who have the file find the same lock files.
    let path = create(path).and_then(|()| path.canonicalize()).map_err(|error| cant_make(path, &error))?;
    let lock = Lock::take(&path, owner).map_err(|error| cant_make(&path, &error))?;
    let mut connection = connect(&path)?;
    patiently(|| prepare(&mut connection, owner)).map_err(|error| cant_use(&path, &error))?;
    Ok((path, connection, lock))
}

/// Looks whether the file can be used, without making one and without taking anything over.
pub(super) fn inspect(path: &Path) -> Result<Status, OpenError> {
    let exists = path.try_exists().map_err(|error| cant_make(path, &error))?;
    Lock::take(path, fastrand::i64(..)).map_err(|error| cant_make(path, &error))?;
    let mut open = 0;
    if exists {
        let mut connection = connect(path)?;
        let count = || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if schema_version(&transaction)? == 0 { Ok(0) } else { open_commands(&transaction) }
        };
        open = patiently(count).map_err(|error| cant_use(path, &error))?;
    }
    Ok(Status { path: path.to_owned(), open_commands: open })
}

/// Makes an empty file for this user alone, unless there is one.
fn create(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        created => created.map(drop),
    }
}

/// Opens a file and looks whether it is sound and ours. Nothing is written before that is known: the log of a dead
/// process would otherwise be brought into a damaged file when that is closed.
fn connect(path: &Path) -> Result<Connection, OpenError> {
    let cant_use = |error| cant_use(path, &error);
    let not_a_record = |why: &str| Err(OpenError::NotARecord(path.to_owned(), why.to_owned()));
    if path.is_dir() {
        return Err(OpenError::Directory(path.to_owned()));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(cant_use)?;
    connection.busy_timeout(BUSY_AT_OPEN).map_err(cant_use)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(cant_use)?;
    if connection.is_readonly("main").map_err(cant_use)? {
        return Err(OpenError::NotPermitted(path.to_owned()));
    }
    let read = || {
        let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
        Ok((found, schema_version(&connection)?, tables))
    };
    let (found, version, tables) = patiently(read).map_err(cant_use)?;
    if found != "ok" {
        return not_a_record(&found);
    }
    if version < 0 || (version == 0 && tables > 0) {
        return not_a_record("it has other tables");
    }
    if version > VERSION {
        return Err(OpenError::Newer(path.to_owned(), version));
    }
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(cant_use)?;
    Ok(connection)
}

/// Sets the connection up, brings the schema to the newest version, and enters the owner. That proves too that the
/// file can be written.
pub(super) fn prepare(connection: &mut Connection, owner: i64) -> rusqlite::Result<()> {
    // Whole pages are written and a row is small. This holds for a new file only.
    connection.pragma_update(None, "page_size", 1024)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    // A statement is compiled once, and not for each new value again.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = schema_version(&transaction)?;
    for step in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or(usize::MAX)) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.execute("INSERT INTO owners (owner, since_ms) VALUES (?1, ?2)", (owner, now()))?;
    transaction.commit()
}

/// Tries again while the file is locked: not every lock is waited out by SQLite itself.
fn patiently<T>(mut attempt: impl FnMut() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let begun = Instant::now();
    loop {
        match attempt() {
            Err(error) if is_busy(&error) && begun.elapsed() < BUSY_AT_OPEN => thread::sleep(BUSY_AGAIN),
            result => return result,
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn cant_make(path: &Path, error: &io::Error) -> OpenError {
    let path = path.to_owned();
    match error.kind() {
        _ if path.is_dir() => OpenError::Directory(path),
        ErrorKind::NotFound | ErrorKind::NotADirectory => OpenError::NoFolder(path),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => OpenError::NotPermitted(path),
        _ => OpenError::Other(path, error.to_string()),
    }
}

fn cant_use(path: &Path, error: &rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => OpenError::NotARecord(path, error.to_string()),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Locked(path),
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            OpenError::NotPermitted(path)
        }
        _ => OpenError::Other(path, error.to_string()),
    }
}

fn schema_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}
