//! Taking the file: whether it is sound, ours and free, and what is in it.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use crate::command::Entry;
use crate::language::Localized;

/// The version of the format. What is stored in another way, such as a new variant of an outcome, needs a higher one.
const VERSION: i64 = 3;
const SCHEMA: &str =
    "CREATE TABLE entries (number INTEGER PRIMARY KEY, entry TEXT NOT NULL) STRICT; PRAGMA user_version = 3";
/// The argument of a process that tries to take a file that another one has, and its exit code where it got it.
pub const TRY_TO_TAKE: &str = "try-to-take";
const GOT_IT: u8 = 77;
/// For its owner alone: the file holds the tokens of interactions in progress.
const MODE: u32 = 0o600;

/// What `check` says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It can be used, and so many commands are unfinished.
    Free { unfinished: usize },
    /// Another process has it, as a running bot does.
    InUse,
}

/// Why the file can't be used. Each says what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0} is a directory. Name a file in it, such as {0}/wolkvox-bot.db")]
    Directory(PathBuf),
    #[error("the folder of {0} does not exist. Create it, or name a file elsewhere")]
    NoFolder(PathBuf),
    #[error("{0} is a link to a file that does not exist. Remove the link, or name another file")]
    DanglingLink(PathBuf),
    /// The number of the user that the bot runs as.
    #[error(
        "user {1} may not write {0} and its folder. Name a file in a folder of that user's own; a folder that is for \
         the bot alone, such as a container's bind mount, can be given to it: sudo chown {1}:{1} FOLDER"
    )]
    NotPermitted(PathBuf, u32),
    /// A second process would not be kept out.
    #[error(
        "the folder of {0} can't lock files, such as a Windows folder in WSL or a network folder. Name a file on this \
         machine's own disk"
    )]
    NoLocks(PathBuf),
    /// It is something else, or damaged. It was not changed.
    #[error(
        "{0} is damaged, or not a file of this bot ({1}). It was left as it is: move it away together with {0}-wal, and \
         the bot begins a new one, or name another file"
    )]
    NotOurs(PathBuf, String),
    #[error(
        "{0} was written by an older version of the bot, which this one can't read. Move it away together with {0}-wal \
         while no bot runs, and the bot begins a new one"
    )]
    Older(PathBuf),
    #[error(
        "{0} was written by a newer version of the bot (its format is {1}, this version knows {VERSION}). Start that \
         version, or name another file"
    )]
    Newer(PathBuf, i64),
    /// There is no file, and no room for one.
    #[error("there is no room on the disk for {0}. Free some space, or name a file elsewhere")]
    Full(PathBuf),
    #[error("{0} can't be used ({1}). Fix that, name another file, or set STATE_FILE to off to keep nothing on disk")]
    Other(PathBuf, String),
}

impl Localized for OpenError {
    fn spanish(&self) -> String {
        match self {
            Self::Directory(path) => {
                let path = path.display();
                format!("{path} es una carpeta. Indica un archivo dentro de ella, por ejemplo {path}/wolkvox-bot.db")
            }
            Self::NoFolder(path) => {
                format!("la carpeta de {} no existe. Créala o indica un archivo en otro lugar", path.display())
            }
            Self::DanglingLink(path) => {
                format!(
                    "{} es un enlace a un archivo que no existe. Borra el enlace o indica otro archivo",
                    path.display()
                )
            }
            Self::NotPermitted(path, user) => format!(
                "el usuario {user} no puede escribir {} y su carpeta. Indica un archivo en una carpeta propia de ese usuario; \
                 una carpeta solo para el bot, como un bind mount de un contenedor, se le puede dar: sudo chown \
                 {user}:{user} CARPETA",
                path.display()
            ),
            Self::NoLocks(path) => format!(
                "la carpeta de {} no permite bloquear archivos, como una carpeta de Windows en WSL o una de red. Indica un \
                 archivo en un disco propio de esta máquina",
                path.display()
            ),
            Self::NotOurs(path, why) => {
                let path = path.display();
                format!(
                    "{path} está dañado o no es un archivo de estado de este bot ({why}). Se dejó como está: muévelo \
                     junto con {path}-wal, y el bot empieza uno nuevo, o indica otro archivo"
                )
            }
            Self::Older(path) => {
                let path = path.display();
                format!(
                    "{path} fue escrito por una versión anterior del bot, que esta no puede leer. Muévelo junto con \
                     {path}-wal mientras ningún bot esté en marcha, y el bot empieza uno nuevo"
                )
            }
            Self::Newer(path, version) => format!(
                "{} fue escrito por una versión más nueva del bot (su formato es {version}, esta conoce {VERSION}). \
                 Inicia esa versión o indica otro archivo",
                path.display()
            ),
            Self::Full(path) => format!(
                "no hay espacio en el disco para {}. Libera espacio o indica un archivo en otro lugar",
                path.display()
            ),
            Self::Other(path, why) => format!(
                "no se puede usar {} ({why}). Corrígelo, indica otro archivo, o pon STATE_FILE en off para no guardar nada en disco",
                path.display()
            ),
        }
    }
}

impl OpenError {
    /// Whether it stays until a person does something.
    pub fn only_a_person_can_fix(&self) -> bool {
        !matches!(self, Self::Full(_) | Self::Other(..))
    }

    fn of_system(path: &Path, error: &io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            _ if path.is_dir() => Self::Directory(path),
            _ if path.is_symlink() && !path.exists() => Self::DanglingLink(path),
            ErrorKind::NotFound | ErrorKind::NotADirectory => Self::NoFolder(path),
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Self::NotPermitted(path, user()),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full(path),
            _ => Self::Other(path, error.to_string()),
        }
    }

    fn of_sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Self::NotOurs(path.to_owned(), error.to_string())
            }
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                // SQLite says no more of it; the system does.
                let writable = OpenOptions::new().read(true).write(true).open(path);
                let error = writable.err().unwrap_or_else(|| ErrorKind::PermissionDenied.into());
                Self::of_system(path, &error)
            }
            Some(ErrorCode::FileLockingProtocolFailed) => Self::NoLocks(path.to_owned()),
            Some(ErrorCode::SystemIoFailure) if is_of_locks(error) => Self::NoLocks(path.to_owned()),
            Some(ErrorCode::DiskFull) => Self::Full(path.to_owned()),
            _ => Self::Other(path.to_owned(), error.to_string()),
        }
    }
}

/// Whether locking or sharing memory failed, and not reading or writing.
fn is_of_locks(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map_or(0, |error| error.extended_code);
    matches!(
        code,
        ffi::SQLITE_IOERR_LOCK
            | ffi::SQLITE_IOERR_RDLOCK
            | ffi::SQLITE_IOERR_UNLOCK
            | ffi::SQLITE_IOERR_CHECKRESERVEDLOCK
            | ffi::SQLITE_IOERR_SHMOPEN
            | ffi::SQLITE_IOERR_SHMMAP
            | ffi::SQLITE_IOERR_SHMLOCK
    )
}

/// The number of the user that this process runs as.
fn user() -> u32 {
    fs::metadata("/proc/self").map(|process| process.uid()).unwrap_or_default()
}

/// Takes the file, which is made if it is not there, with its entries in the order of their numbers. `None` where
/// another process has it.
pub(super) fn take(path: &Path) -> Result<Option<(Connection, Vec<Entry>)>, OpenError> {
    make(path).map_err(|error| OpenError::of_system(path, &error))?;
    let Some(connection) = not_in_use(path, open(path))? else { return Ok(None) };
    match not_in_use(path, own(&connection).map_err(TakeError::from))? {
        None => Ok(None),
        Some(()) => {
            let entries = entries(&connection).map_err(|error| OpenError::of_sqlite(path, &error))?;
            Ok(Some((connection, entries)))
        }
    }
}

/// Looks whether the file can be used, without making one.
///
/// # Errors
/// As for taking it.
pub fn inspect(path: &Path) -> Result<Status, OpenError> {
    if !path.try_exists().map_err(|error| OpenError::of_system(path, &error))? {
        // Whether one can be made only making one tells.
        make(path).and_then(|()| fs::remove_file(path)).map_err(|error| OpenError::of_system(path, &error))?;
        return Ok(Status::Free { unfinished: 0 });
    }
    let Some((_mine, entries)) = take(path)? else { return Ok(Status::InUse) };
    if is_free_for_another(path) {
        return Err(OpenError::NoLocks(path.to_owned()));
    }
    Ok(Status::Free { unfinished: entries.iter().filter(|entry| entry.command.is_open()).count() })
}

/// Whether another process gets a file that this one has. Two connections in one process would prove nothing.
fn is_free_for_another(path: &Path) -> bool {
    let Ok(program) = std::env::current_exe() else { return false };
    let mut other = Command::new(program);
    other.arg(TRY_TO_TAKE).arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    other.status().is_ok_and(|status| status.code() == Some(GOT_IT.into()))
}

/// What such a process does: the exit code says whether it got the file.
pub fn try_to_take(path: &Path) -> u8 {
    if matches!(take(path), Ok(Some(_))) { GOT_IT } else { 0 }
}

/// Looks whether a file could be taken, as far as that can be told without taking it.
///
/// # Errors
/// When only a person can change that.
pub fn look(path: &Path) -> Result<(), OpenError> {
    match make(path).map_err(|error| OpenError::of_system(path, &error)) {
        Err(error) if error.only_a_person_can_fix() => Err(error),
        _ => Ok(()),
    }
}

/// Makes an empty file for this user alone, or makes one that is there private, together with the log beside it.
fn make(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(MODE).open(path) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_file() => {}
        Err(error) => return Err(error),
    }
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    for file in [path, Path::new(&log)] {
        // By path: to open and close the file would let go of the lock.
        match fs::metadata(file) {
            Ok(file_has) if file_has.mode() & 0o777 != MODE => fs::set_permissions(file, Permissions::from_mode(MODE))?,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn not_in_use<T>(path: &Path, result: Result<T, TakeError>) -> Result<Option<T>, OpenError> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(TakeError::NotOurs(error)) => Err(error),
        Err(TakeError::Sqlite(error)) => match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Ok(None),
            _ => Err(OpenError::of_sqlite(path, &error)),
        },
    }
}

/// Why the file was not taken.
enum TakeError {
    NotOurs(OpenError),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for TakeError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Opens the file and looks whether it is sound and ours. Nothing is written before that is known: the log of a dead
/// process would otherwise be brought into a damaged file when that is closed.
fn open(path: &Path) -> Result<Connection, TakeError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::ZERO)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // Before anything is read, so that no memory is shared, which not every file system can do.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    if connection.is_readonly("main")? {
        return Err(TakeError::NotOurs(OpenError::of_system(path, &ErrorKind::PermissionDenied.into())));
    }
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let path = path.to_owned();
    let fault = match version {
        _ if found != "ok" => OpenError::NotOurs(path, found),
        VERSION => return Ok(connection),
        0 if tables == 0 => return Ok(connection),
        1.. if version < VERSION => OpenError::Older(path),
        1.. => OpenError::Newer(path, version),
        _ => OpenError::NotOurs(path, format!("PRAGMA user_version = {version}")),
    };
    Err(TakeError::NotOurs(fault))
}

/// Makes the file this process's own. In another order, or with reads alone, two processes would both believe that they
/// have it.
fn own(connection: &Connection) -> rusqlite::Result<()> {
    // Whole pages are written and a row is small. This holds for a new file only.
    connection.pragma_update(None, "page_size", 1024)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    connection.execute_batch("BEGIN EXCLUSIVE; COMMIT")?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version == 0 {
        connection.execute_batch(&format!("BEGIN EXCLUSIVE; {SCHEMA}; COMMIT"))?;
    }
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(())
}

/// A row that can't be understood costs no other: it stays until its number is used again, and the log tells of it.
fn entries(connection: &Connection) -> rusqlite::Result<Vec<Entry>> {
    let mut statement = connection.prepare("SELECT number, entry FROM entries ORDER BY number")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
    let mut entries = Vec::new();
    for row in rows {
        let (number, entry) = row?;
        match serde_json::from_str(&entry) {
            Ok(entry) => entries.push(entry),
            // Not the error's own words: they may quote the entry.
            Err(error) => tracing::error!(
                number,
                "STATE_FILE: an entry can't be understood ({:?} error at column {}), so the outcome of a command may \
                 not be told",
                error.classify(),
                error.column()
            ),
        }
    }
    Ok(entries)
}
