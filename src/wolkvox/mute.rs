//! The toggle: `POST agentbox.php?agent_id={agent_id}&api=mute`.
//!
//! Sent twice it undoes itself, and nobody can ask for the state. So a [`Turn`] can be used once, and the
//! request is repeated in two cases only, both known not to have been carried out: the connection was never
//! made, or Wolkvox refused it as simultaneous with another.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::CONTENT_LENGTH;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::answer::{self, MAX_ANSWER_BYTES};
use super::queue::{Held, Place};
use super::{Inner, read_body};
use crate::agent::AgentId;
use crate::net;
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
    /// Nothing is sent once `stop` is cancelled or `deadline` has passed. A request that is under way is
    /// finished in any case, even if the future returned here is dropped.
    pub async fn mute(mut self, agent: AgentId, deadline: Instant, stop: &CancellationToken) -> Call {
        let refused = tokio::select! {
            biased;
            () = stop.cancelled() => Some(NotSent::Restarting),
            () = sleep_until(deadline) => Some(NotSent::WaitedTooLong),
            () = self.place.wait() => None,
        };
        let wait = self.since.elapsed();
        let not_sent = |why| Call { outcome: Outcome::NotSent(why), wait, call: Duration::ZERO };
        if let Some(why) = refused {
            return not_sent(why);
        }
        let Some(held) = self.place.take() else {
            return not_sent(NotSent::Fault);
        };
        let started = Instant::now();
        let exchange = tokio::spawn(exchange(self.client, held, agent, stop.clone()));
        let outcome = exchange.await.unwrap_or_else(|fault| {
            tracing::error!(agent_id = agent.get(), "the call to Wolkvox broke off: {fault}");
            Outcome::Unknown(Unknown::Fault)
        });
        Call { outcome, wait, call: started.elapsed() }
    }
}

/// One toggle from the first connection to the last word, with the token held all the while.
async fn exchange(client: Arc<Inner>, held: Held, agent: AgentId, stop: CancellationToken) -> Outcome {
    let started = Instant::now();
    let mut connect_pauses = CONNECT_PAUSES.into_iter();
    let mut busy_since = None;
    let mut busy_pauses = BUSY_PAUSES.into_iter();
    let outcome = loop {
        let pause = match client.post_mute(agent).await {
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
    };
    drop(held);
    outcome
}

fn is_busy(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Rejected(rejected) if rejected.reason == Refusal::TokenBusy)
}

impl Inner {
    /// What Wolkvox says is shown to a whole channel: should it quote the token, that is left out.
    fn without_token(&self, mut outcome: Outcome) -> Outcome {
        if let (Outcome::Done(Done { msg, .. }) | Outcome::Rejected(Rejected { msg, .. }), Ok(token)) =
            (&mut outcome, self.token.to_str())
        {
            *msg = msg.replace(token, "…");
        }
        outcome
    }

    /// One request, never repeated by anything below.
    async fn post_mute(&self, agent: AgentId) -> Attempt {
        let agent_id = agent.get();
        let parameters = [("agent_id", agent_id.to_string()), ("api", "mute".to_owned())];
        let parameters = parameters.each_ref().map(|(name, value)| (*name, value.as_str()));
        // The empty body is announced: some servers refuse a POST without a length (411).
        let request = self.request(Method::POST, "agentbox.php", &parameters).header(CONTENT_LENGTH, 0);
        let lost = |error: reqwest::Error| {
            let error = error.without_url();
            tracing::warn!(agent_id, "no usable answer from Wolkvox: {}", net::chain(&error));
            let why = if error.is_timeout() { Unknown::TimedOut } else { Unknown::ConnectionLost };
            Attempt::Known(Outcome::Unknown(why))
        };
        let response = match request.timeout(self.timeout).send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() || error.is_builder() => {
                tracing::warn!(agent_id, "no connection to Wolkvox: {}", net::chain(&error.without_url()));
                return Attempt::NotConnected;
            }
            Err(error) => return lost(error),
        };
        let status = response.status().as_u16();
        match read_body(response, MAX_ANSWER_BYTES).await {
            Ok(body) => {
                let read = body.as_deref().and_then(|body| answer::decode(status, body));
                Attempt::Known(read.map(|outcome| self.without_token(outcome)).unwrap_or_else(|| {
                    tracing::warn!(agent_id, status, "Wolkvox's answer can't be read");
                    Outcome::Unknown(Unknown::Unreadable { status })
                }))
            }
            Err(error) => lost(error),
        }
    }
}
