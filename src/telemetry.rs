//! The log: to standard output, in one format, through one filter.

use std::fmt::{self, Debug, Write as _};
use std::str::FromStr;

use tracing::field::Field;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::filter::{FilterExt as _, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

/// The target of audit records. They are logged at `info` unless the filter names this target itself.
pub const AUDIT: &str = "audit";
const OWN: &str = "wolkvox_bot";

/// `LOG_FORMAT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For reading.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// `RUST_LOG`: `level` or `target=level`, comma-separated.
#[derive(Clone, Debug)]
pub struct Filter(Targets);

/// The filter can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a log filter")]
pub struct InvalidFilter;

impl FromStr for Filter {
    type Err = InvalidFilter;

    fn from_str(text: &str) -> Result<Self, InvalidFilter> {
        let mut targets = Targets::new();
        for directive in text.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
            // A lone word must be a level: a misspelt one would otherwise be taken for a target, and the
            // whole log would fall silent.
            let (target, level) = match directive.split_once('=') {
                Some((target, level)) => (Some(target.trim()), level.trim()),
                None => (None, directive),
            };
            let level = level.parse::<LevelFilter>().map_err(|_| InvalidFilter)?;
            targets = match target {
                None => targets.with_default(level),
                Some(target) if !target.is_empty() && !target.contains(char::is_whitespace) => {
                    targets.with_target(target, level)
                }
                Some(_) => return Err(InvalidFilter),
            };
        }
        if !targets.iter().any(|(target, _)| target == AUDIT) {
            targets = targets.with_target(AUDIT, LevelFilter::INFO);
        }
        Ok(Self(targets))
    }
}

impl Default for Filter {
    fn default() -> Self {
        let targets = Targets::new().with_default(LevelFilter::INFO);
        Self(targets.with_target(AUDIT, LevelFilter::INFO))
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
        Format::Json => layer.json().boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(filter.0.and(cap)))
}

/// A field as tracing-subscriber writes it, but on one line whatever it holds.
fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    match field.name() {
        "message" => write!(OneLine(writer), "{value:?}"),
        name => write!(writer, "{name}={value:?}"),
    }
}

/// A message may quote what came from elsewhere: nothing in it may steer the terminal that the log is read on.
struct OneLine<'a, 'w>(&'a mut Writer<'w>);

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|char| match char.is_control() {
            true => write!(self.0, "{}", char.escape_debug()),
            false => self.0.write_char(char),
        })
    }
}
