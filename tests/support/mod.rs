//! The stand-ins for Discord and Wolkvox, and what starts the bot against them.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "shared by the tests, the sandbox and the benchmark")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "test code")]

pub mod bot;
pub mod discord;
pub mod floor;
pub mod http;
pub mod process;
pub mod proxy;
pub mod stopwatch;
pub mod tls;
pub mod wolkvox;

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::sync::watch;

/// A file of the project.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

pub fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

/// A folder of its own, which is removed in the end, also when a test fails.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        Self::make().unwrap()
    }

    /// The sandbox says so when there is no room for one.
    pub fn make() -> std::io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("wolkvox-bot-test-{}", fastrand::u64(..)));
        std::fs::create_dir(&folder).map(|()| Self(folder))
    }
}

impl Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Builds a library in this folder that gets between a process and the C library: what `LD_PRELOAD` is set to.
pub fn shim(folder: &Path, source: &str) -> String {
    let (code, library) = (folder.join("shim.c"), folder.join("shim.so"));
    std::fs::write(&code, source).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &code]).status().unwrap();
    assert!(built.success());
    library.to_str().unwrap().to_owned()
}

/// Waits for something that has to happen; how long it takes does not matter, within reason.
pub async fn eventually(what: &str, mut changed: watch::Receiver<()>, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            changed.changed().await.unwrap();
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), wait).await.is_ok(), "did not happen: {what}");
}
