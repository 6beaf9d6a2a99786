//! What goes wrong with a request to Discord, and what follows from it.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, RETRY_AFTER, SERVER};
use serde::Deserialize;
use serde_json::Value;

use crate::language::Localized;
use crate::net::HttpError;
use crate::text::{one_line, plain_text, truncate};

/// Discord's own failure, or Cloudflare's before it, which comes with the status 403 and passes like a 5xx.
const INTERNAL_NETWORK_ERROR: u32 = 40333;
/// The longest that is waited before Discord is asked again, whatever pause it asked for: it may be lifted earlier.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The same between tries of what is tried again whatever Discord says. Cloudflare, in front of Discord, asks for pauses of
/// up to an hour and often lifts them much earlier.
const LONGEST_PAUSE_BETWEEN_TRIES: Duration = Duration::from_secs(30);
/// How much of Discord's words is kept, in UTF-16 units.
const MAX_WORDS: usize = 300;

#[derive(Clone, Debug, thiserror::Error)]
pub enum RestError {
    #[error("Discord answered HTTP {status}{}", details(" with code ", *code, said))]
    Refused {
        status: u16,
        /// Discord's own code, such as 40060.
        code: Option<u32>,
        /// How long Discord asks to be left alone.
        retry_after: Option<Duration>,
        /// Discord's words, and the fields that it does not take. Empty for an interaction, whose token they may quote.
        said: String,
    },
    /// No answer; unless there was no connection, the request may have arrived.
    #[error("{}", .0.no_answer_from("Discord")[0])]
    NoAnswer(#[from] HttpError),
    /// Something answered that Discord never says, such as a company's proxy.
    #[error("something other than Discord answered, with HTTP {0}; a proxy in between may want you to sign in")]
    NotDiscord(u16),
    /// It holds the pause that is asked for, if any.
    #[error(
        "Cloudflare, which protects Discord, blocks this machine's public address (HTTP 403): too many requests came from \
         it, perhaps from other machines that share it. The block ends by itself; if it does not, use another address"
    )]
    Banned(Option<Duration>),
}

impl Localized for RestError {
    fn spanish(&self) -> String {
        match self {
            Self::Refused { status, code, said, .. } => {
                format!("Discord respondió HTTP {status}{}", details(" con el código ", *code, said))
            }
            Self::NoAnswer(error) => error.no_answer_from("Discord")[1].clone(),
            Self::NotDiscord(status) => format!(
                "otra cosa respondió en lugar de Discord, con HTTP {status}; puede que un proxy intermedio pida iniciar sesión"
            ),
            Self::Banned(_) => "Cloudflare, que protege a Discord, bloquea la dirección pública de esta máquina (HTTP \
                                403): le llegaron demasiadas peticiones desde ella, quizás de otras máquinas que la \
                                comparten. El bloqueo termina solo; si no, usa otra dirección"
                .to_owned(),
        }
    }
}

fn details(with_code: &str, code: Option<u32>, said: &str) -> String {
    let code = code.map(|code| format!("{with_code}{code}")).unwrap_or_default();
    if said.is_empty() { code } else { format!("{code} ({said})") }
}

impl RestError {
    /// How long Discord wants to be left alone before the same request may succeed: it is down, busy or not reached.
    /// `None` where trying again would change nothing.
    pub fn transient(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } if self.is_down() => Some(retry_after.unwrap_or_default()),
            Self::Refused { status: 408 | 429, retry_after, .. } | Self::Banned(retry_after) => {
                Some(retry_after.unwrap_or_default())
            }
            Self::Refused { .. } => None,
            Self::NoAnswer(_) | Self::NotDiscord(_) => Some(Duration::ZERO),
        }
    }

    /// How long to wait at least before what is tried again whatever Discord says.
    pub fn least_pause(&self) -> Duration {
        self.transient().unwrap_or_default().min(LONGEST_PAUSE_BETWEEN_TRIES)
    }

    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Discord's own code.
    pub fn code(&self) -> Option<u32> {
        match self {
            Self::Refused { code, .. } => *code,
            _ => None,
        }
    }

    /// Whether Discord says that it does not work.
    fn is_down(&self) -> bool {
        matches!(self, Self::Refused { status: 500.., .. } | Self::Refused { code: Some(INTERNAL_NETWORK_ERROR), .. })
    }

    /// Whether Discord may have done what was asked, although it is not known that it did.
    pub fn may_have_arrived(&self) -> bool {
        match self {
            Self::NoAnswer(error) => error.may_have_been_sent(),
            Self::NotDiscord(_) => true,
            Self::Refused { .. } | Self::Banned(_) => self.is_down(),
        }
    }

    /// Whether Discord is down or not reached: it said nothing itself.
    pub fn is_outage(&self) -> bool {
        self.is_down() || !matches!(self, Self::Refused { .. })
    }

    /// Whether Discord is there, and down or busy: no fault that could be found on this machine.
    pub fn is_discords_own(&self) -> bool {
        matches!(self, Self::Refused { .. }) && self.transient().is_some()
    }

    /// Whether its text says itself what to do about it.
    pub fn names_its_remedy(&self) -> bool {
        match self {
            Self::NoAnswer(error) => error.names_its_remedy(),
            _ => matches!(self, Self::Banned(_)),
        }
    }

    /// Whether it is how Discord refuses a server that the bot is not in.
    pub fn is_missing_access(&self) -> bool {
        const UNKNOWN_GUILD: u32 = 10004;
        const MISSING_ACCESS: u32 = 50001;
        matches!(self, Self::Refused { status: 403 | 404, code: Some(UNKNOWN_GUILD | MISSING_ACCESS), .. })
    }

    /// How long Discord is left alone, at least for `pause`, where it is there and gets too many requests; the log is
    /// told. To end and be started again would make that worse.
    pub fn leave_alone(&self, pause: Duration) -> Option<Duration> {
        let why = match self {
            Self::Refused { status: 429, .. } => {
                "Discord receives too many requests from this address or bot (HTTP 429)".to_owned()
            }
            Self::Banned(_) => self.to_string(),
            _ => return None,
        };
        let asked = self.transient()?;
        let pause = pause.max(asked).min(LONGEST_PAUSE);
        tracing::warn!(
            "{why}. It asks for a pause of {} s; it is asked again in {:.1} s",
            asked.as_secs(),
            pause.as_secs_f64()
        );
        Some(pause)
    }

    /// Without Discord's words.
    pub(super) fn wordless(mut self) -> Self {
        if let Self::Refused { said, .. } = &mut self {
            said.clear();
        }
        self
    }

    /// What an answer says that is no success.
    pub(super) fn refused(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        #[derive(Default, Deserialize)]
        struct Body {
            code: Option<u32>,
            retry_after: Option<f64>,
            #[serde(default)]
            message: String,
            #[serde(default)]
            errors: Value,
        }

        let header = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).ok();
        let asked = header(RETRY_AFTER).and_then(|value| seconds(value.parse().ok()?));
        let cloudflare = header(SERVER).is_some_and(|server| server.eq_ignore_ascii_case("cloudflare"));
        let html = header(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/html"));
        if status == StatusCode::FORBIDDEN && cloudflare && html {
            return Self::Banned(asked);
        }
        let Body { code, retry_after, message, errors } = serde_json::from_slice(body).unwrap_or_default();
        // Discord's refusals have a code. What stands before it answers without one, but only 429 and 5xx.
        if code.is_none() && status.as_u16() != 429 && !status.is_server_error() {
            return Self::NotDiscord(status.as_u16());
        }
        let mut words = vec![message];
        fields(&errors, "", &mut words);
        let mut said = one_line(&plain_text(&words.join("; ")));
        truncate(&mut said, MAX_WORDS);
        Self::Refused { status: status.as_u16(), code, retry_after: retry_after.and_then(seconds).or(asked), said }
    }
}

/// The fields that Discord does not take, each with its reason ("Error Messages").
fn fields(errors: &Value, path: &str, into: &mut Vec<String>) {
    for (name, inside) in errors.as_object().into_iter().flatten() {
        if name == "_errors" {
            let reasons = inside.as_array().into_iter().flatten();
            into.extend(reasons.filter_map(|reason| Some(format!("{path}: {}", reason["message"].as_str()?))));
        } else {
            fields(inside, &[path, name].join(if path.is_empty() { "" } else { "." }), into);
        }
    }
}
