//! The file `.env` in the working directory.
//!
//! dotenvy reads the lines. A value is taken as it stands to the end of its line, as Docker's `--env-file` takes it: left to
//! itself dotenvy takes `#` for a comment and replaces `$NAME`, and a secret that is changed silently is hard to find.

use std::io::{self, ErrorKind};
use std::path::Path;

use crate::text::is_invisible;

pub(crate) const NAME: &str = ".env";

/// There are secrets in it: it has no `Debug`.
#[derive(Default)]
pub(crate) struct EnvFile {
    pub(crate) assignments: Vec<Assignment>,
    /// The number and the text of each line that is neither an assignment in UTF-8 nor a comment.
    pub(crate) others: Vec<(usize, String)>,
}

pub(crate) struct Assignment {
    pub(crate) name: String,
    /// Without what stands around it; empty where it is blank.
    pub(crate) value: String,
    pub(crate) exported: bool,
}

impl EnvFile {
    /// # Errors
    /// When there is none, or it can't be read as text.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let bytes = std::fs::read(path)?;
        // UTF-16, as some editors write it.
        if bytes.contains(&0) {
            return Err(ErrorKind::InvalidData.into());
        }
        // Other programs' lines and comments may be in another encoding.
        let text = String::from_utf8_lossy(&bytes);
        let mut file = Self::default();
        for (number, line) in (1..).zip(text.lines().map(trimmed)) {
            match Assignment::parse(line) {
                _ if line.is_empty() || line.starts_with('#') => {}
                Some(assignment) if !line.contains(char::REPLACEMENT_CHARACTER) => file.assignments.push(assignment),
                _ => file.others.push((number, line.to_owned())),
            }
        }
        Ok(file)
    }

    /// The assignments of this name; blank ones before the first value, as in a copied example, are none.
    pub(crate) fn of(&self, name: &str) -> impl Iterator<Item = &Assignment> {
        let all = self.assignments.iter().filter(move |assignment| assignment.name == name);
        all.skip_while(|assignment| assignment.value.is_empty())
    }
}

impl Assignment {
    fn parse(line: &str) -> Option<Self> {
        let (name, value) = line.split_once('=')?;
        // dotenvy takes a value as it stands only between quotation marks.
        let value = unquoted(value).replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$");
        let quoted = format!("{}=\"{value}\"", trimmed(name));
        let (name, value) = dotenvy::from_read_iter(quoted.as_bytes()).next()?.ok()?;
        Some(Self { name, value, exported: line.starts_with("export ") })
    }
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(|char: char| char.is_whitespace() || is_invisible(char))
}

/// A value without what is invisible and the one pair of quotation marks around it, wherever it comes from: Docker's
/// `--env-file` hands the marks on.
pub(crate) fn unquoted(value: &str) -> &str {
    let value = trimmed(value);
    let within = |mark| value.strip_prefix(mark)?.strip_suffix(mark);
    trimmed(within('"').or_else(|| within('\'')).unwrap_or(value))
}
