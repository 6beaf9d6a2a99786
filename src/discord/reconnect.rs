//! What follows when a connection to the gateway ends, or can't be made.
//!
//! | How it ended | Next | After a pause of |
//! |---|---|---|
//! | it was ready for 10 s or more | RESUME | none |
//! | op 7, or not ready, and no interaction for an hour | IDENTIFY, if 100 are left in the day | as for any other |
//! | op 9, or close code 4003, 4007 or 4009: the session is over | IDENTIFY | 1 to 5 s |
//! | otherwise | RESUME where there is a session, else IDENTIFY | 0.5 s, doubled up to 30 s |
//! | the third RESUME in a row failed | IDENTIFY | as before |
//! | too many requests (429, or a blocked address) | as before | what is asked for, up to 60 s |
//! | fewer than 10 IDENTIFYs are left in the day | IDENTIFY | until there are more, looked at every 10 min |
//! | 401, or close code 4004 or 4010 to 4014 | the bot ends | |
//!
//! An IDENTIFY also keeps a distance from the one before: 1 s, doubled up to 90 s until 5 min need none. The bot ends
//! after 30 min without a ready connection. The last two pauses do not count: to end would make matters worse.

use std::time::Duration;

use reqwest::Url;
use serenity::constants::close_codes as codes;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite;

use super::absence::{Absence, span};
use super::error::RestError;
use crate::language::Localized;
use crate::net::error_chain;
use crate::retry::Backoff;

const STABLE_AFTER: Duration = Duration::from_secs(10);
/// The pauses after connections that can't be made, or are lost at once.
const CONNECTIONS: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
/// The distances between IDENTIFYs. Discord takes 1000 a day, so one in 90 s can go on for ever.
const IDENTIFIES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(90));
const IDENTIFIES_RECOVER: Duration = Duration::from_secs(300);
/// How often to look whether there are more IDENTIFYs.
const LOOK_AGAIN: Duration = Duration::from_secs(10 * 60);
const RESUMES: u32 = 3;
/// Discord has had sessions that live and carry no interaction any more.
const SILENT_AFTER: Duration = Duration::from_secs(60 * 60);

/// Why the bot can't go on.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("DISCORD_TOKEN: Discord does not accept it")]
    Token,
    /// A fault of this program, or a bot in more servers than one connection may serve.
    #[error("Discord closed the gateway for good, with code {0}")]
    Closed(u16),
    #[error("Discord was out of reach for {}. The last try: {last}", span(*.after))]
    Unreachable { after: Duration, last: Interruption },
}

impl Localized for GatewayError {
    fn spanish(&self) -> String {
        match self {
            Self::Token => "DISCORD_TOKEN: Discord no lo acepta".to_owned(),
            Self::Closed(code) => format!("Discord cerró la conexión definitivamente, con el código {code}"),
            Self::Unreachable { after, last } => {
                format!("No hubo conexión con Discord durante {}. El último intento: {}", span(*after), last.spanish())
            }
        }
    }
}

/// How a connection ended, or why there was none.
#[derive(Debug, thiserror::Error)]
pub enum Interruption {
    #[error("{0}")]
    NoConnection(#[source] RestError),
    #[error("the gateway closed the connection with code {0}")]
    Closed(u16),
    #[error("the connection to the gateway broke")]
    Broken(#[source] tungstenite::Error),
    /// It did not become ready, a heartbeat was not answered, or nothing can be sent.
    #[error("the gateway did not answer in time")]
    Silent,
    #[error("the gateway asked for a new connection")]
    Asked,
    #[error("the gateway ended the session")]
    SessionOver,
    #[error("nearly all connections that Discord allows in a day are used up ({remaining} are left)")]
    FewIdentifies { remaining: u32, wait: Duration },
}

impl Localized for Interruption {
    fn spanish(&self) -> String {
        match self {
            Self::NoConnection(error) => return error.spanish(),
            Self::Closed(code) => return format!("el gateway cerró la conexión con el código {code}"),
            Self::Broken(_) => "se cortó la conexión con el gateway",
            Self::Silent => "el gateway no respondió a tiempo",
            Self::Asked => "el gateway pidió otra conexión",
            Self::SessionOver => "el gateway terminó la sesión",
            Self::FewIdentifies { .. } => "se agotaron casi todas las conexiones que Discord permite al día",
        }
        .to_owned()
    }
}

impl Interruption {
    /// Why no other connection is to be tried.
    fn is_final(&self) -> Option<GatewayError> {
        match self {
            Self::NoConnection(error) if error.status() == Some(401) => Some(GatewayError::Token),
            Self::Closed(codes::AUTHENTICATION_FAILED) => Some(GatewayError::Token),
            // 4012, an API version that Discord no longer speaks, is among them.
            Self::Closed(code @ codes::INVALID_SHARD..=codes::DISALLOWED_GATEWAY_INTENTS) => {
                Some(GatewayError::Closed(*code))
            }
            _ => None,
        }
    }

    fn ends_the_session(&self) -> bool {
        use codes::{INVALID_SEQUENCE, NOT_AUTHENTICATED, SESSION_TIMEOUT};
        matches!(self, Self::SessionOver | Self::Closed(NOT_AUTHENTICATED | INVALID_SEQUENCE | SESSION_TIMEOUT))
    }

    /// The pause that Discord asks for, at least `pause`. The log is told of it.
    fn pause_asked_for(&self, pause: Duration) -> Option<Duration> {
        match self {
            Self::NoConnection(error) => error.leave_alone(pause),
            Self::FewIdentifies { wait, .. } => {
                tracing::error!(
                    "{self}; the next one is made when there are more, in {} s by Discord's count: it resets the bot's token \
                     when all are used up",
                    wait.as_secs()
                );
                Some(pause.max(*wait).min(LOOK_AGAIN))
            }
            _ => None,
        }
    }
}

/// A session that can be resumed.
pub(super) struct Session {
    pub(super) id: String,
    /// `None` where the gateway's address is to be asked for.
    pub(super) resume_url: Option<Url>,
    /// The sequence number of the last event.
    pub(super) seq: Option<u64>,
    pub(super) last_interaction: Instant,
    /// How many RESUMEs there were since it was ready.
    pub(super) resumes: u32,
}

impl Session {
    pub(super) fn new(id: String, resume_url: Option<Url>) -> Self {
        Self { id, resume_url, seq: None, last_interaction: Instant::now(), resumes: 0 }
    }

    pub(super) fn is_silent(&self) -> bool {
        self.last_interaction.elapsed() >= SILENT_AFTER
    }
}

/// What survives a connection.
pub(super) struct State {
    pub(super) session: Option<Session>,
    ready_since: Option<Instant>,
    connections: Backoff,
    identifies: Backoff,
    next_identify: Instant,
    absence: Absence,
    give_up_after: Duration,
}

impl State {
    pub(super) fn new(give_up_after: Duration) -> Self {
        Self {
            session: None,
            ready_since: None,
            connections: CONNECTIONS,
            identifies: IDENTIFIES,
            next_identify: Instant::now(),
            absence: Absence::new(give_up_after),
            give_up_after,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready_since.is_some()
    }

    pub(super) fn become_ready(&mut self) {
        self.ready_since = Some(Instant::now());
        if let Some(session) = &mut self.session {
            session.resumes = 0;
        }
    }

    pub(super) fn count_identify(&mut self) {
        if self.next_identify.elapsed() >= IDENTIFIES_RECOVER {
            self.identifies = IDENTIFIES;
        }
        self.next_identify = Instant::now() + self.identifies.pause();
    }

    /// The pause before the next connection.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn pause_after(&mut self, why: Interruption) -> Result<Duration, GatewayError> {
        if let Some(error) = why.is_final() {
            return Err(error);
        }
        let ready_for = self.ready_since.take().map(|since| since.elapsed());
        if ready_for.is_some() {
            self.absence = Absence::new(self.give_up_after);
        }
        self.revise_session(&why, ready_for.is_some());
        let pause = self.least_pause_after(&why, ready_for >= Some(STABLE_AFTER));
        if let Some(pause) = why.pause_asked_for(pause) {
            self.absence.excuse(pause);
            self.absence.report(&why);
            return Ok(pause);
        }
        let left = self.absence.left();
        if left.is_zero() {
            return Err(GatewayError::Unreachable { after: self.absence.duration(), last: why });
        }
        tracing::warn!("the connection to Discord was lost: {}", error_chain(&why));
        self.absence.report(&why);
        Ok(pause.min(left))
    }

    fn revise_session(&mut self, why: &Interruption, was_ready: bool) {
        let Some(session) = &mut self.session else { return };
        if session.resumes >= RESUMES || why.ends_the_session() {
            self.session = None;
        } else if !was_ready || (matches!(why, Interruption::Asked) && session.is_silent()) {
            // The address to resume at may be what is out of reach, and a silent session may have to go.
            session.resume_url = None;
        }
    }

    fn least_pause_after(&mut self, why: &Interruption, was_stable: bool) -> Duration {
        if was_stable || why.ends_the_session() {
            self.connections = CONNECTIONS;
        }
        let pause = if why.ends_the_session() {
            // "Wait a random amount of time, between 1 and 5 seconds" ("Gateway", resuming).
            Duration::from_secs(1).mul_f64(1.0 + 4.0 * fastrand::f64())
        } else if was_stable {
            Duration::ZERO
        } else {
            // Not all bots that Discord dropped come back at once.
            self.connections.pause().mul_f64(0.75 + fastrand::f64() / 4.0)
        };
        let identify = self.next_identify.saturating_duration_since(Instant::now());
        if self.session.is_none() { pause.max(identify) } else { pause }
    }
}
