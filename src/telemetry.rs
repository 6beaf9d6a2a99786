//! The log: to standard output, in one format, through one filter.

use std::fmt::{self, Debug, Write as _};
use std::io::{self, Write};
use std::str::FromStr;

use tracing::field::Field;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::{FilterExt as _, Targets};
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use crate::language::{Both, both};
use crate::text::is_direction_mark;

/// The target of audit records. They are logged at `info` unless the filter names this target itself.
pub const AUDIT: &str = "audit";
const OWN: &str = "wolkvox_bot";

/// `LOG_FORMAT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    /// One object a line.
    Json,
}

/// `RUST_LOG`: `level` or `target=level`, comma-separated.
#[derive(Clone, Debug)]
pub struct Filter(Targets);

impl FromStr for Filter {
    type Err = Both;

    fn from_str(text: &str) -> Result<Self, Both> {
        let invalid = || both("it is not a log filter", "no es un filtro de log");
        let mut targets = Targets::new();
        for directive in text.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
            // A lone word is a level: a misspelt one, taken for a target, would silence the whole log.
            let (target, level) = match directive.split_once('=') {
                Some((target, level)) => (Some(target.trim()), level.trim()),
                None => (None, directive),
            };
            if target.is_some_and(|target| target.is_empty() || target.contains(char::is_whitespace)) {
                return Err(invalid());
            }
            let level = level.parse::<LevelFilter>().map_err(|_| invalid())?;
            targets = match target {
                None => targets.with_default(level),
                Some(target) => targets.with_target(target, level),
            };
        }
        if !targets.iter().any(|(target, _)| target == AUDIT) {
            targets = targets.with_target(AUDIT, LevelFilter::INFO);
        }
        Ok(Self(targets))
    }
}

/// What is logged where.
///
/// The HTTP and websocket crates below print URLs, headers and bodies, and with them tokens, at `debug` and
/// `trace`, and serenity does in its `info` spans. So whatever the filter says, other crates than this one get
/// no further than `warn`. The `log` crate's records are not collected at all, for the same reason.
pub fn subscriber<W>(filter: Filter, format: Format, colour: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let cap =
        Targets::new().with_default(LevelFilter::WARN).with_target(OWN, Level::TRACE).with_target(AUDIT, Level::TRACE);
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colour);
    let layer = match format {
        Format::Text => layer.fmt_fields(debug_fn(field).delimited(" ")).boxed(),
        Format::Json => layer.json().map_event_format(JsonInOneLine).boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(filter.0.and(cap)))
}

/// How many records wait at most while the log is read slowly or not at all. What comes then is dropped and counted.
const WAITING: usize = 2_000;

/// The log's way out, through a thread of its own, so that a log that nobody reads holds nobody up. To drop the guard
/// writes what waits, in about a second at most; it blocks for ever while standard output is a full pipe.
pub fn in_the_background(out: impl Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    let lines = WholeLines { out, is_torn: false };
    NonBlockingBuilder::default().buffered_lines_limit(WAITING).thread_name("log").finish(lines)
}

/// Begins a new line after one that was not written to its end, as when a disk is full.
struct WholeLines<W> {
    out: W,
    is_torn: bool,
}

impl<W: Write> Write for WholeLines<W> {
    /// Takes a whole record.
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let fresh_line = if self.is_torn { "\n" } else { "" };
        let written = self.out.write_all(fresh_line.as_bytes()).and_then(|()| self.out.write_all(record));
        self.is_torn = written.is_err();
        written.map(|()| record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A field as tracing-subscriber writes it, but on one line whatever it holds.
fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    match field.name() {
        "message" => write!(InOneLine(writer), "{value:?}"),
        name => write!(InOneLine(writer), "{name}={value:?}"),
    }
}

/// Text that may quote what came from elsewhere, for a terminal: on one line, and nothing in it steers the terminal or
/// turns the writing direction. Such characters are spelt out, as in `\u{1b}`.
#[derive(Clone, Copy, Debug)]
pub struct OneLine<'a>(pub &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some((at, char)) = rest.char_indices().find(|(_, char)| steers(*char)) {
            write!(f, "{}{}", &rest[..at], char.escape_debug())?;
            rest = &rest[at + char.len_utf8()..];
        }
        f.write_str(rest)
    }
}

fn steers(char: char) -> bool {
    char.is_control() || is_direction_mark(char) || matches!(char, '\u{2028}' | '\u{2029}')
}

/// Writes everything as [`OneLine`].
struct InOneLine<'a, 'w>(&'a mut Writer<'w>);

impl fmt::Write for InOneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write!(self.0, "{}", OneLine(text))
    }
}

/// A JSON record, in which the same characters are spelt out. JSON itself asks for that only below U+0020.
struct JsonInOneLine<F>(F);

impl<S, N, F> FormatEvent<S, N> for JsonInOneLine<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut record = String::new();
        self.0.format_event(context, Writer::new(&mut record), event)?;
        record.trim_end().chars().try_for_each(|char| match steers(char) {
            true => write!(writer, "\\u{:04x}", u32::from(char)),
            false => writer.write_char(char),
        })?;
        writeln!(writer)
    }
}
