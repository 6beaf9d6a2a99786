//! Tells systemd what the bot is doing (`Type=notify`, sd_notify(3)).
//!
//! The crate sd-notify blocks while nobody reads, and takes an abstract socket's name for a path.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{self, SocketAddr};
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::app::State;

/// After how long without Discord the bot counts as started, so that `systemctl start` does not hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tells each state, until the bot has ended. `socket` is what `NOTIFY_SOCKET` names. While systemd does not read, only
/// this waits.
pub async fn tell(socket: &OsStr, mut state: watch::Receiver<State>) {
    let socket = match connect(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::warn!("systemd can't be told the state of the bot (NOTIFY_SOCKET): {error}"),
    };
    let _ = socket.send(b"STATUS=Connecting to Discord").await;
    if let Ok(Err(_)) = timeout(PATIENCE, state.changed()).await {
        return;
    }
    loop {
        let now: &[u8] = match *state.borrow_and_update() {
            State::Starting => {
                b"READY=1\nSTATUS=Waiting for Discord, or for room for the state file: the log says which"
            }
            State::Standby => {
                b"READY=1\nSTATUS=Standby: another process has the state file, this one takes over when it ends"
            }
            State::Ready => b"READY=1\nSTATUS=Connected to Discord, ready for commands",
            State::Reconnecting => b"STATUS=The connection to Discord was lost, reconnecting",
            State::Stopping => b"STOPPING=1\nSTATUS=Stopping: no new commands, the ones in progress are finished",
        };
        let _ = socket.send(now).await;
        if state.changed().await.is_err() {
            return;
        }
    }
}

fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = net::UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    UnixDatagram::from_std(socket)
}
