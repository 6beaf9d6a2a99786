//! systemd is told what the bot is doing. Its states in the life of a bot are in `startup`.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{self, SocketAddr};
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::sync::watch;
use tokio::time::Instant;
use wolkvox_bot::app::State;
use wolkvox_bot::systemd::tell;

use crate::support::Folder;
use crate::support::bot::Site;

async fn told(systemd: &UnixDatagram) -> String {
    let mut message = [0; 1000];
    let length = systemd.recv(&mut message).await.unwrap();
    String::from_utf8(message[..length].to_vec()).unwrap()
}

#[tokio::test]
async fn a_socket_with_an_abstract_name_is_told() {
    let name = format!("wolkvox-bot/test/{}", fastrand::u64(..));
    let socket = net::UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    socket.set_nonblocking(true).unwrap();
    let systemd = UnixDatagram::from_std(socket).unwrap();
    let site = Site::new().await.with("NOTIFY_SOCKET", &format!("@{name}"));
    let mut process = site.start();
    let until_ready = async { while !told(&systemd).await.starts_with("READY=1\n") {} };
    let told = tokio::time::timeout(Duration::from_secs(30), process.runs(until_ready)).await;
    assert!(told.is_ok(), "{}", process.log.text());
    site.stop(&mut process).await;
}

/// Runs a test with systemd's end of a socket, and the state that is told to it.
async fn with_systemd(test: impl AsyncFnOnce(UnixDatagram, watch::Sender<State>)) {
    let folder = Folder::new();
    let path = folder.join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    let (state, states) = watch::channel(State::Starting);
    tokio::join!(tell(path.as_os_str(), states), test(systemd, state));
}

#[tokio::test(start_paused = true)]
async fn without_discord_a_start_counts_as_done_after_a_minute_and_the_status_says_so() {
    with_systemd(async |systemd, state| {
        let started = Instant::now();
        assert_eq!(told(&systemd).await, "STATUS=Connecting to Discord");
        assert!(told(&systemd).await.starts_with("READY=1\nSTATUS=Waiting for Discord"));
        assert!((59..62).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
        state.send_replace(State::Ready);
        assert_eq!(told(&systemd).await, "READY=1\nSTATUS=Connected to Discord, ready for commands");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_standby_counts_as_started_and_the_status_says_so() {
    with_systemd(async |systemd, state| {
        assert_eq!(told(&systemd).await, "STATUS=Connecting to Discord");
        state.send_replace(State::Standby);
        assert!(told(&systemd).await.starts_with("READY=1\nSTATUS=Standby: another process has the state file"));
        tokio::time::sleep(Duration::from_secs(600)).await;
        state.send_replace(State::Ready);
        assert!(told(&systemd).await.starts_with("READY=1\nSTATUS=Connected"), "nothing is told in between");
    })
    .await;
}
