//! The queue for Wolkvox's token: one call at a time, in order of arrival.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio::task::{JoinSet, yield_now};
use tokio_util::sync::CancellationToken;
use wolkvox_bot::clock::Moment;
use wolkvox_bot::net::{BaseUrl, Tls};
use wolkvox_bot::wolkvox::{QueuedCall, Settings, Wolkvox};

use crate::support::wolkvox::TOKEN;

/// A client without a bot.
pub(crate) fn client(url: &str) -> Wolkvox {
    let base = BaseUrl::parse(url).unwrap();
    let settings = Settings { base, token: TOKEN.into(), timeout: Duration::from_secs(60), proxy: None };
    Wolkvox::new(&settings, &Tls::load().unwrap()).unwrap()
}

#[tokio::test]
async fn calls_are_served_one_at_a_time_in_order_of_arrival_however_they_are_polled() {
    let client = client("http://127.0.0.1");
    let first = client.queue_call();
    let calls: Vec<(usize, QueuedCall)> = (0..20_000).map(|n| (n, client.queue_call())).collect();
    let served = Arc::new(Mutex::new(Vec::new()));
    let busy = Arc::new(AtomicBool::new(false));
    let stop = CancellationToken::new();
    let send_by = Moment::now().deadline(Duration::from_secs(600));
    let mut tasks = JoinSet::new();
    for (n, call) in calls.into_iter().rev() {
        // Two in three leave: before anything happens, or while turns go round.
        if n % 3 == 0 {
            continue;
        }
        let (served, busy, stop) = (served.clone(), busy.clone(), stop.clone());
        tasks.spawn(async move {
            let leave = async {
                for _ in 0..n % 97 {
                    yield_now().await;
                }
            };
            let turn = tokio::select! {
                () = leave, if n % 3 == 1 => return,
                turn = call.turn(send_by, &stop) => turn.unwrap(),
            };
            assert!(!busy.swap(true, SeqCst), "two turns at once");
            yield_now().await;
            served.lock().unwrap().push(n);
            busy.store(false, SeqCst);
            drop(turn);
        });
    }
    yield_now().await;
    drop(first);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let served = served.lock().unwrap();
    assert!(served.is_sorted(), "order of arrival");
    assert_eq!(served.iter().filter(|n| *n % 3 == 2).count(), 20_000 / 3, "nobody who stays is left out");
    assert!(!client.queue_call().must_wait(), "the token is free in the end");
}

#[test]
fn a_turn_for_a_call_that_is_dropped_in_the_same_moment_is_not_lost() {
    let client = client("http://127.0.0.1");
    for _ in 0..2_000 {
        let [held, leaving, last] = [(); 3].map(|()| client.queue_call());
        thread::scope(|scope| {
            scope.spawn(|| drop(leaving));
            scope.spawn(|| drop(held));
        });
        assert!(!last.must_wait());
    }
}
