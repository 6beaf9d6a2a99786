//! The file `.env` in the working directory.
//!
//! dotenvy reads the lines. Left to itself it would read values as a shell does: `#` begins a comment, `$NAME` is
//! replaced, a space ends the value. Docker's `--env-file` takes the same file literally, and a secret that is changed
//! silently is hard to find, so each value is quoted for dotenvy before it sees the line: it stays as it is, to the end
//! of its line, in either way.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::path::Path;

/// The name of the file.
pub(crate) const NAME: &str = ".env";
/// What Windows' editors make of that name.
const TEXT_NAME: &str = ".env.txt";

/// What stands in the file. There are secrets in it: it has no `Debug`.
#[derive(Default)]
pub(crate) struct EnvFile {
    assignments: HashMap<String, Assignment>,
    /// The lines that are no assignment: number and text.
    pub(crate) unreadable: Vec<(usize, String)>,
}

/// All that the file says about one variable.
#[derive(Default)]
pub(crate) struct Assignment {
    /// The last value.
    pub(crate) value: String,
    /// The numbers of the lines that count: those with a value, and the last one. More than one is a double.
    pub(crate) lines: Vec<usize>,
}

/// Why nothing is known of the file's contents.
#[derive(Debug)]
pub(crate) enum EnvFileError {
    /// There is none.
    Absent,
    /// There is none, but one that was given the ending of text files.
    NamedTxt,
    /// A directory has its name.
    Directory,
    /// It can't be read.
    Unreadable(io::Error),
    /// It is in another encoding.
    NotUtf8,
}

impl EnvFile {
    /// Reads the file in a directory.
    ///
    /// # Errors
    /// When there is none, or it can't be read as text.
    pub(crate) fn read(directory: &Path) -> Result<Self, EnvFileError> {
        let bytes = std::fs::read(directory.join(NAME)).map_err(|error| match error.kind() {
            ErrorKind::NotFound if directory.join(TEXT_NAME).exists() => EnvFileError::NamedTxt,
            ErrorKind::NotFound => EnvFileError::Absent,
            ErrorKind::IsADirectory => EnvFileError::Directory,
            _ => EnvFileError::Unreadable(error),
        })?;
        let text = String::from_utf8(bytes).map_err(|_| EnvFileError::NotUtf8)?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let mut file = Self::default();
        // Windows' editors put a byte-order mark first.
        let text = text.trim_start_matches('\u{FEFF}');
        // One by one, so that a line that can't be read is known by its number, and does not hide the others.
        for (number, line) in (1..).zip(text.lines()) {
            for entry in dotenvy::from_read_iter(with_quoted_value(line).as_bytes()) {
                match entry {
                    Ok((name, value)) => file.assign(name, value, number),
                    Err(_) => file.unreadable.push((number, line.to_owned())),
                }
            }
        }
        file
    }

    fn assign(&mut self, name: String, value: String, line: usize) {
        let assignment = self.assignments.entry(name).or_default();
        // An empty value that another one follows, as in a copy of .env.example that was added to, counts for nothing.
        if unquoted(&assignment.value).is_empty() {
            assignment.lines.pop();
        }
        assignment.value = value;
        assignment.lines.push(line);
    }

    /// The names that are given a value.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let set = self.assignments.iter().filter(|(_, assignment)| !unquoted(&assignment.value).is_empty());
        set.map(|(name, _)| name.as_str())
    }

    /// What the file says about a variable.
    pub(crate) fn get(&self, name: &str) -> Option<&Assignment> {
        self.assignments.get(name)
    }
}

/// The line, with its value in double quotes and escaped in the way in which dotenvy undoes it.
fn with_quoted_value(line: &str) -> String {
    match line.split_once('=') {
        Some((name, value)) if !name.trim_start().starts_with('#') => {
            let value = value.trim().replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$");
            format!("{name}=\"{value}\"")
        }
        _ => line.trim().to_owned(),
    }
}

/// A value without the white space and the one pair of quotation marks around it, wherever it comes from: Docker's
/// `--env-file` hands the marks on.
pub(crate) fn unquoted(value: &str) -> &str {
    let value = value.trim();
    let within = |mark| value.strip_prefix(mark)?.strip_suffix(mark);
    within('"').or_else(|| within('\'')).unwrap_or(value).trim()
}
