//! The toggle: `POST agentbox.php?agent_id={agent_id}&api=mute`.
//!
//! Sent twice it undoes itself, and nobody can ask for the state. So a [`Turn`] can be used once, and the
//! request is repeated in two cases only, both known not to have been carried out: the connection was never
//! made, or Wolkvox refused it as simultaneous with another.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use reqwest::Method;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Inner;
use super::answer;
use super::queue::Place;
use crate::agent::AgentId;
use crate::http::HttpError;
use crate::outcome::{Done, NotSent, Outcome, Refusal, Rejected, Unknown};

/// Pauses before a connection that was never made is tried again.
const CONNECT_PAUSES: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(1)];
/// No further connection is tried this long after the first.
const CONNECT_WINDOW: Duration = Duration::from_secs(6);
/// How long a busy token is waited out.
const BUSY_WINDOW: Duration = Duration::from_secs(15);
/// The pauses while it is; the last one repeats.
const BUSY_PAUSES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// A place in the queue for the token, good for one toggle. Dropping it leaves the queue.
pub struct Turn {
    client: Arc<Inner>,
    place: Place,
    since: Instant,
}

/// What came of a toggle and how long it took.
#[derive(Clone, Debug)]
pub struct Call {
    /// What came of it.
    pub outcome: Outcome,
    /// From taking the place in the queue to having the token.
    pub wait: Duration,
    /// From having the token to knowing the outcome; zero where nothing was tried.
    pub call: Duration,
}

enum Attempt {
    NotConnected,
    Known(Outcome),
}

impl Turn {
    pub(super) fn new(client: Arc<Inner>) -> Self {
        let place = client.queue.enter();
        Self { client, place, since: Instant::now() }
    }

    /// Waits for the turn, then presses the agent's MUTE button: once.
    ///
    /// Nothing is sent once `stop` is cancelled or `deadline` has passed. What is returned has to be awaited to its
    /// end: dropped, it would give the token back while Wolkvox is still at the call.
    pub async fn mute(mut self, agent: AgentId, deadline: Instant, stop: &CancellationToken) -> Call {
        tokio::select! {
            biased;
            () = self.place.wait() => {}
            () = stop.cancelled() => {}
            () = sleep_until(deadline) => {}
        }
        let started = Instant::now();
        let wait = started - self.since;
        let not_sent = |why| Call { outcome: Outcome::NotSent(why), wait, call: Duration::ZERO };
        if stop.is_cancelled() {
            return not_sent(NotSent::Restarting);
        }
        if started >= deadline {
            return not_sent(NotSent::WaitedTooLong);
        }
        let Some(held) = self.place.take() else {
            return not_sent(NotSent::Fault);
        };
        let exchange = AssertUnwindSafe(self.client.exchange(agent, stop)).catch_unwind();
        let outcome = exchange.await.unwrap_or_else(|_| {
            tracing::error!(agent_id = agent.get(), "the call to Wolkvox broke off");
            Outcome::Unknown(Unknown::Fault)
        });
        drop(held);
        Call { outcome, wait, call: started.elapsed() }
    }
}

fn is_busy(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Rejected(rejected) if rejected.reason == Refusal::TokenBusy)
}

impl Inner {
    /// What Wolkvox says is shown to a whole channel: should it quote the token, that is left out.
    fn without_token(&self, mut outcome: Outcome) -> Outcome {
        if let (Outcome::Done(Done { msg, .. }) | Outcome::Rejected(Rejected { msg, .. }), Ok(token)) =
            (&mut outcome, self.token.to_str())
            && msg.contains(token)
        {
            *msg = msg.replace(token, "…");
        }
        outcome
    }

    /// One toggle from the first connection to the last word. The token has to be held all the while.
    async fn exchange(&self, agent: AgentId, stop: &CancellationToken) -> Outcome {
        let started = Instant::now();
        let mut connect_pauses = CONNECT_PAUSES.into_iter();
        let mut busy_since = None;
        let mut busy_pauses = BUSY_PAUSES.into_iter();
        loop {
            let pause = match self.post_mute(agent).await {
                Attempt::NotConnected => {
                    let again = started.elapsed() < CONNECT_WINDOW;
                    connect_pauses.next().filter(|_| again).ok_or(Outcome::NotSent(NotSent::NoConnection))
                }
                Attempt::Known(outcome) if is_busy(&outcome) => {
                    let since = *busy_since.get_or_insert_with(Instant::now);
                    let pause = busy_pauses.next().unwrap_or(BUSY_PAUSES[BUSY_PAUSES.len() - 1]);
                    if since.elapsed() + pause <= BUSY_WINDOW { Ok(pause) } else { Err(outcome) }
                }
                Attempt::Known(outcome) => Err(outcome),
            };
            match pause {
                Err(outcome) => break outcome,
                Ok(pause) => tokio::select! {
                    biased;
                    () = stop.cancelled() => break Outcome::NotSent(NotSent::Restarting),
                    () = sleep(pause) => {}
                },
            }
        }
    }

    /// One request, never repeated by anything below.
    async fn post_mute(&self, agent: AgentId) -> Attempt {
        let agent_id = agent.get();
        let target = format!("{}?agent_id={agent_id}&api=mute", self.agentbox);
        let deadline = Instant::now() + self.timeout;
        let answer = match self.connections.send(Method::POST, target, Vec::new(), deadline).await {
            Ok(answer) => answer,
            Err(HttpError::NotConnected(why)) => {
                tracing::warn!(agent_id, "no connection to Wolkvox: {why}");
                return Attempt::NotConnected;
            }
            Err(error) => return lost(agent, &error),
        };
        let status = answer.status.as_u16();
        let outcome = match answer.body {
            Ok(body) => answer::decode(status, &body).map(|outcome| self.without_token(outcome)),
            Err(HttpError::TooLong) => None,
            Err(error) => return lost(agent, &error),
        };
        Attempt::Known(outcome.unwrap_or_else(|| {
            tracing::warn!(agent_id, status, "Wolkvox's answer can't be read");
            Outcome::Unknown(Unknown::Unreadable { status })
        }))
    }
}

fn lost(agent: AgentId, error: &HttpError) -> Attempt {
    tracing::warn!(agent_id = agent.get(), "no usable answer from Wolkvox: {error}");
    Attempt::Known(Outcome::Unknown(match error {
        HttpError::TimedOut => Unknown::TimedOut,
        _ => Unknown::ConnectionLost,
    }))
}
