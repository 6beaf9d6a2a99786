//! The toggle: `POST agentbox.php?agent_id={agent_id}&api=mute`.
//!
//! Sent twice it undoes itself, and nobody can ask for the state. So a [`Turn`] can be used once, and the request is
//! repeated in two cases only, both known not to have been carried out: the connection was never made, or Wolkvox
//! refused it as simultaneous with another.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::CONTENT_LENGTH;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::decode;
use super::queue::{Permit, Place};
use super::{Inner, MAX_ANSWER_BYTES, Wolkvox};
use crate::agent::AgentId;
use crate::clock::Deadline;
use crate::net::{self, HttpError};
use crate::outcome::{Done, NotSent, Outcome, Refusal, Rejected, Unknown};
use crate::retry::Backoff;

/// A connection that was never made is tried again so often, unless so much time has passed by then.
const CONNECT_AGAIN: usize = 2;
const CONNECT_WINDOW: Duration = Duration::from_secs(6);
const CONNECT_BACKOFF: Backoff = Backoff::new(Duration::from_millis(400), Duration::from_secs(1));
/// How long to look for an answer that may have arrived while the process stood still.
const LAST_LOOK: Duration = Duration::from_millis(200);
/// How long a busy token is waited out.
const BUSY_WINDOW: Duration = Duration::from_secs(15);
const BUSY_BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(2));

/// A call's place in the queue for the token. Dropping it leaves the queue.
pub struct QueuedCall {
    client: Arc<Inner>,
    place: Place,
    since: Instant,
}

/// The right to make one call. What it is used for has to be awaited to its end: dropped, it would give the token
/// back while Wolkvox is still at the call.
pub struct Turn {
    client: Arc<Inner>,
    permit: Permit,
    queued: Duration,
}

/// The outcome of a toggle and how long it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallReport {
    pub outcome: Outcome,
    /// From taking the place in the queue to having the token.
    pub queued: Duration,
    /// From having the token to knowing the outcome; zero where nothing was tried.
    pub took: Duration,
}

impl Wolkvox {
    /// Takes the next place in the queue for the token: the order is that of the calls to this function.
    pub fn queue_call(&self) -> QueuedCall {
        QueuedCall { client: self.0.clone(), place: self.0.queue.enter(), since: Instant::now() }
    }
}

impl QueuedCall {
    /// Whether the token is in use by another call.
    pub fn must_wait(&self) -> bool {
        self.place.must_wait()
    }

    /// Waits for its turn.
    ///
    /// # Errors
    /// When `stop` is cancelled or `send_by` is over, the report: nothing was sent.
    pub async fn turn(self, send_by: Deadline, stop: &CancellationToken) -> Result<Turn, CallReport> {
        let Self { client, place, since } = self;
        let permit = tokio::select! {
            biased;
            () = stop.cancelled() => Err(NotSent::Restarting),
            () = send_by.over() => Err(NotSent::WaitedTooLong),
            permit = place.permit() => Ok(permit),
        };
        // The machine may have slept meanwhile.
        let permit = permit.and_then(|permit| if send_by.is_over() { Err(NotSent::WaitedTooLong) } else { Ok(permit) });
        let queued = since.elapsed();
        match permit {
            Ok(permit) => Ok(Turn { client, permit, queued }),
            Err(why) => Err(CallReport { outcome: Outcome::NotSent(why), queued, took: Duration::ZERO }),
        }
    }
}

impl Turn {
    /// Ends the turn without a call.
    pub fn give_up(self, why: NotSent) -> CallReport {
        CallReport { outcome: Outcome::NotSent(why), queued: self.queued, took: Duration::ZERO }
    }

    /// Presses the agent's MUTE button: once. Nothing is tried again once `stop` is cancelled or `send_by` is over.
    pub async fn mute(self, agent: AgentId, send_by: Deadline, stop: &CancellationToken) -> CallReport {
        let started = Instant::now();
        let outcome = self.client.mute(agent, send_by, stop).await;
        drop(self.permit);
        CallReport { outcome, queued: self.queued, took: started.elapsed() }
    }
}

impl Inner {
    /// One toggle, from the first connection to its outcome. The token has to be held all the while.
    async fn mute(&self, agent: AgentId, send_by: Deadline, stop: &CancellationToken) -> Outcome {
        let started = Instant::now();
        let mut connect = CONNECT_BACKOFF;
        let mut connect_again = CONNECT_AGAIN;
        let mut busy = BUSY_BACKOFF;
        let mut busy_since = None;
        loop {
            if send_by.is_over() {
                return Outcome::NotSent(NotSent::WaitedTooLong);
            }
            let outcome = self.post_mute(agent).await;
            let pause = match &outcome {
                Outcome::NotSent(_) if connect_again > 0 && started.elapsed() < CONNECT_WINDOW => {
                    connect_again -= 1;
                    connect.pause()
                }
                Outcome::Rejected(Rejected { reason: Refusal::TokenBusy, .. }) => {
                    let pause = busy.pause();
                    let since = *busy_since.get_or_insert_with(Instant::now);
                    if since.elapsed() + pause > BUSY_WINDOW {
                        return outcome;
                    }
                    pause
                }
                _ => return outcome,
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return Outcome::NotSent(NotSent::Restarting),
                () = sleep(pause) => {}
            }
        }
    }

    /// One request, never repeated by anything below.
    async fn post_mute(&self, agent: AgentId) -> Outcome {
        let agent_id = agent.get();
        let mut url = self.base.join("api/v2/agentbox.php");
        url.set_query(Some(&format!("agent_id={agent_id}&api=mute")));
        // The length of an empty body is announced too: some servers refuse a POST without one (411).
        let request = self.request(Method::POST, url).header(CONTENT_LENGTH, 0);
        let answer = match self.in_time(net::send(request, MAX_ANSWER_BYTES)).await {
            Ok(answer) => answer,
            Err(error) if !error.may_have_been_sent() => {
                tracing::warn!(agent_id, "{}", net::error_chain(&error));
                self.tell_of_firewall(&error);
                return Outcome::NotSent(NotSent::NoConnection);
            }
            Err(error) => return lost(agent, &error),
        };
        let status = answer.status.as_u16();
        let outcome = match answer.body {
            Ok(body) => decode::outcome(status, &body).map(|outcome| self.without_token(outcome)),
            Err(HttpError::TooLong) => None,
            Err(error) => return lost(agent, &error),
        };
        outcome.unwrap_or_else(|| {
            tracing::warn!(agent_id, status, "Wolkvox's answer can't be read");
            Outcome::Unknown(Unknown::Unreadable { status })
        })
    }

    /// Waits for an exchange until its time is over, and then looks once more: after a stall of this process the
    /// answer may be there and only not have been read.
    async fn in_time<T>(&self, exchange: impl Future<Output = Result<T, HttpError>>) -> Result<T, HttpError> {
        let mut exchange = pin!(exchange);
        for limit in [self.longest_exchange, LAST_LOOK] {
            if let Ok(answer) = timeout(limit, &mut exchange).await {
                return answer;
            }
        }
        Err(HttpError::TimedOut)
    }

    /// What Wolkvox says is shown to a whole channel: should it quote the token, that is left out.
    fn without_token(&self, mut outcome: Outcome) -> Outcome {
        if let (Outcome::Done(Done { msg, .. }) | Outcome::Rejected(Rejected { msg, .. }), Ok(token)) =
            (&mut outcome, self.token.to_str())
        {
            *msg = msg.replace(token, "…");
        }
        outcome
    }
}

fn lost(agent: AgentId, error: &HttpError) -> Outcome {
    tracing::warn!(agent_id = agent.get(), "no usable answer from Wolkvox: {}", net::error_chain(error));
    Outcome::Unknown(match error {
        HttpError::TimedOut => Unknown::TimedOut,
        _ => Unknown::ConnectionLost,
    })
}
