//! What follows when a connection to the gateway ends: resume or begin anew, after which pause, and when to give up.

use std::time::Duration;

use reqwest::Url;
use tokio::time::Instant;

use super::absence::{Absence, span};
use super::error::RestError;
use crate::language::Localized;
use crate::retry::Backoff;

/// A connection that was ready for this long was a good one: the next is tried without a pause.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// The pauses after connections that can't be made, or are lost at once.
const CONNECTIONS: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
/// The pauses after IDENTIFYs that fail. Discord takes 1000 a day, so one in 90 s can go on for ever.
const IDENTIFIES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(90));
/// A session that ended before it lived so long counts as an IDENTIFY that failed.
const SESSION_STABLE_AFTER: Duration = Duration::from_secs(300);
/// After so many RESUMEs in a row that failed the session is taken to be beyond repair.
const RESUMES: u32 = 3;

/// Why the bot can't go on.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Close code 4004, or 401 from the REST API.
    #[error("Discord does not accept DISCORD_TOKEN any more")]
    Token,
    /// Close codes 4010 to 4014: a fault of this program, or a bot in more servers than one connection may serve.
    #[error("Discord closed the gateway for good, with code {0}")]
    Closed(u16),
    /// No ready connection for too long.
    #[error("Discord was out of reach for {}. The last try: {}", span(*.after), .last.met())]
    Unreachable { after: Duration, last: Interruption },
}

impl Localized for GatewayError {
    fn spanish(&self) -> String {
        match self {
            Self::Token => "Discord ya no acepta DISCORD_TOKEN".to_owned(),
            Self::Closed(code) => format!("Discord cerró la conexión definitivamente, con el código {code}"),
            Self::Unreachable { after, last } => {
                let last = match last {
                    Interruption::NoConnection(error) => error.spanish(),
                    last => format!("se llegó al gateway, y {}", last.spanish()),
                };
                format!("no hubo conexión con Discord durante {}. El último intento: {last}", span(*after))
            }
        }
    }
}

/// Why a connection ended, or why there was none.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Interruption {
    #[error("{}", crate::net::error_chain(.0))]
    NoConnection(RestError),
    #[error("it was closed with code {0}")]
    Closed(u16),
    #[error("it was closed")]
    Dropped,
    #[error("it broke: {0}")]
    Broken(String),
    #[error("it did not become ready")]
    NotReady,
    #[error("a heartbeat was not answered")]
    Heartbeat,
    #[error("nothing can be sent")]
    Stuck,
    #[error("what Discord says first can't be understood")]
    Unreadable,
    #[error("Discord asked for a new connection")]
    Asked,
    #[error("Discord wants the session resumed")]
    ToBeResumed,
    #[error("Discord ended the session")]
    SessionEnded,
}

impl Localized for Interruption {
    fn spanish(&self) -> String {
        match self {
            Self::NoConnection(error) => return error.spanish(),
            Self::Closed(code) => return format!("la conexión se cerró con el código {code}"),
            Self::Broken(_) => "la conexión se cortó",
            Self::Dropped => "la conexión se cerró",
            Self::NotReady => "no quedó lista a tiempo",
            Self::Heartbeat => "un latido no tuvo respuesta",
            Self::Stuck => "no se puede enviar nada",
            Self::Unreadable => "no se entiende lo primero que dice Discord",
            Self::Asked => "Discord pidió otra conexión",
            Self::ToBeResumed => "Discord pidió reanudar la sesión",
            Self::SessionEnded => "Discord terminó la sesión",
        }
        .to_owned()
    }
}

impl Interruption {
    /// What a try to connect met, without a library's own words.
    fn met(&self) -> String {
        match self {
            Self::NoConnection(error) => error.to_string(),
            Self::Broken(_) => "the gateway was reached, and the connection broke".to_owned(),
            _ => format!("the gateway was reached, and {self}"),
        }
    }
}

/// How one connection ended.
pub(super) enum End {
    Stopped,
    Fatal(GatewayError),
    /// To be resumed where there is a session.
    Lost(Interruption),
    /// The session is over.
    Invalid,
    /// Too few sessions may still be begun to begin one now.
    SessionsSpent {
        remaining: u32,
        wait: Duration,
    },
}

/// A session that can be resumed.
pub(super) struct Session {
    pub(super) id: String,
    pub(super) resume_url: Option<Url>,
    /// The sequence number of the last event.
    pub(super) seq: Option<u64>,
    pub(super) last_interaction: Instant,
    /// Whether it is better to begin a new one, if that can be.
    pub(super) renew: bool,
    begun: Instant,
}

impl Session {
    pub(super) fn new(id: String, resume_url: Option<Url>) -> Self {
        let begun = Instant::now();
        Self { id, resume_url, seq: None, last_interaction: begun, renew: false, begun }
    }
}

/// What was sent on a connection after HELLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Introduction {
    Identify,
    Resume,
}

/// What survives a connection.
pub(super) struct State {
    pub(super) session: Option<Session>,
    pub(super) introduced: Option<Introduction>,
    ready_since: Option<Instant>,
    failed_resumes: u32,
    connections: Backoff,
    identifies: Backoff,
    absence: Absence,
    give_up_after: Duration,
}

impl State {
    pub(super) fn new(give_up_after: Duration) -> Self {
        Self {
            session: None,
            introduced: None,
            ready_since: None,
            failed_resumes: 0,
            connections: CONNECTIONS,
            identifies: IDENTIFIES,
            absence: Absence::new(give_up_after),
            give_up_after,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready_since.is_some()
    }

    pub(super) fn become_ready(&mut self) {
        self.ready_since = Some(Instant::now());
        self.failed_resumes = 0;
    }

    /// The pause before the next connection; `None` where none is wanted.
    pub(super) fn next_pause(&mut self, end: End) -> Result<Option<Duration>, GatewayError> {
        let ready_for = self.ready_since.take().map(|since| since.elapsed());
        if ready_for.is_some() {
            self.absence = Absence::new(self.give_up_after);
        }
        let introduced = self.introduced.take();
        let (pause, why) = match end {
            End::Stopped => return Ok(None),
            End::Fatal(error) => return Err(error),
            End::Lost(why) => {
                let pause = self.after_loss(introduced, ready_for);
                if let Interruption::NoConnection(error) = &why
                    && let Some(pause) = error.leave_alone(pause)
                {
                    self.absence.excuse(pause);
                    self.absence.report(&why);
                    return Ok(Some(pause));
                }
                tracing::warn!("the connection to Discord was lost: {why}");
                (pause, why)
            }
            End::Invalid => {
                tracing::info!("Discord ended the session, a new one is begun");
                (self.after_invalid_session(introduced, ready_for), Interruption::SessionEnded)
            }
            End::SessionsSpent { remaining, wait } => {
                let pause = wait.max(self.connections.pause());
                tracing::error!(
                    remaining,
                    "nearly all connections that Discord allows in a day are spent; the next one is made in {} s, since \
                     Discord resets the bot's token when all are",
                    pause.as_secs()
                );
                self.absence.excuse(pause);
                return Ok(Some(pause));
            }
        };
        let left = self.absence.left();
        if left.is_zero() {
            return Err(GatewayError::Unreachable { after: self.absence.duration(), last: why });
        }
        self.absence.report(&why.met());
        Ok(Some(pause.min(left)))
    }

    fn after_loss(&mut self, introduced: Option<Introduction>, ready_for: Option<Duration>) -> Duration {
        if ready_for.is_none()
            && let Some(session) = &mut self.session
        {
            // The address to resume at may be what is out of reach.
            session.resume_url = None;
        }
        match (introduced, ready_for) {
            (_, Some(lasted)) if lasted >= STABLE_AFTER => {
                self.connections = CONNECTIONS;
                Duration::ZERO
            }
            (Some(Introduction::Identify), None) => self.identifies.pause(),
            (Some(Introduction::Resume), None) => {
                self.failed_resumes += 1;
                let pause = self.pause_between_connections();
                if self.failed_resumes < RESUMES {
                    return pause;
                }
                tracing::warn!("the session can't be resumed, a new one is begun");
                pause.max(self.forget_session())
            }
            _ => self.pause_between_connections(),
        }
    }

    fn after_invalid_session(&mut self, introduced: Option<Introduction>, ready_for: Option<Duration>) -> Duration {
        // Discord was reached, so that nothing but the session stands in the way.
        self.connections = CONNECTIONS;
        let failed = introduced == Some(Introduction::Identify) && ready_for.is_none();
        let pause = if failed { self.identifies.pause() } else { self.forget_session() };
        // "Wait a random amount of time, between 1 and 5 seconds" ("Gateway", resuming).
        pause.max(Duration::from_secs(1).mul_f64(1.0 + 4.0 * fastrand::f64()))
    }

    /// Gives the session up, and tells the least pause before the next one.
    fn forget_session(&mut self) -> Duration {
        self.failed_resumes = 0;
        match self.session.take() {
            Some(session) if session.begun.elapsed() < SESSION_STABLE_AFTER => self.identifies.pause(),
            _ => {
                self.identifies = IDENTIFIES;
                Duration::ZERO
            }
        }
    }

    /// Not all bots that Discord dropped come back at once.
    fn pause_between_connections(&mut self) -> Duration {
        self.connections.pause().mul_f64(0.75 + fastrand::f64() / 4.0)
    }
}
