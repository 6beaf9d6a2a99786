//! The binary in a process of its own, and what an administrator has around it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{PipeReader, Write as _, pipe};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::Folder;
use super::bot::{Log, check_secrets, check_stand_ins, held_call, variables};
use super::discord::Discord;
use super::wolkvox::Wolkvox;

/// An installation: both stand-ins, the variables of a bot against them, and its folder, where the state file is.
pub struct Site {
    pub discord: Discord,
    pub wolkvox: Wolkvox,
    pub variables: HashMap<&'static str, String>,
    pub folder: Folder,
}

impl Site {
    pub async fn new() -> Self {
        Self::of(Discord::start().await, Wolkvox::start().await)
    }

    /// With stand-ins that are behind TLS, or not there.
    pub fn of(discord: Discord, wolkvox: Wolkvox) -> Self {
        let site = Self { variables: variables(&discord, &wolkvox), folder: Folder::new(), discord, wolkvox };
        let state_file = site.state_file();
        site.with("STATE_FILE", state_file.to_str().unwrap())
    }

    /// With this variable.
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    /// For the processes that are started from now on.
    pub fn set(&mut self, name: &'static str, value: &str) {
        self.variables.insert(name, value.to_owned());
    }

    pub fn state_file(&self) -> PathBuf {
        self.folder.join("state.db")
    }

    /// Starts a bot.
    pub fn start(&self) -> Process {
        self.run(&[])
    }

    pub fn run(&self, arguments: &[&str]) -> Process {
        Process::start_in(&self.folder, &self.variables, arguments)
    }

    /// Starts a command that becomes the binary, which it finds as `$0`.
    pub fn start_through(&self, shell: &str) -> Process {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", shell, binary()]).current_dir(&*self.folder);
        Process::spawn(command, &self.variables)
    }

    /// Starts a bot as [`Process::start_unread`] does.
    pub fn start_unread(&self, both: bool) -> (Process, PipeReader) {
        Process::start_unread(&self.variables, &[], both)
    }

    /// Starts a bot, and waits until so many are connected in all.
    pub async fn connected(&self, bots: usize) -> Process {
        let mut process = self.start();
        process.runs(self.discord.until_ready(bots)).await;
        process
    }

    pub async fn held_call(&self) -> (u64, Arc<Notify>) {
        held_call(&self.discord, &self.wolkvox).await
    }

    /// The exit code of `check`, and what it prints.
    pub async fn check(&self) -> (Option<i32>, String) {
        let mut process = self.run(&["check"]);
        let (code, errors) = process.ended().await;
        assert_eq!(errors, "");
        check_secrets(&process.log.text());
        (code, process.log.text())
    }

    /// Ends a bot without a warning, and waits until Discord has noticed.
    pub async fn kill(&self, mut process: Process) {
        process.signal("KILL");
        process.ended().await;
        self.discord.until("the connection is gone", |state| state.connected.is_empty()).await;
    }

    /// Ends a bot as systemd does. Nothing may be left to complain about.
    pub async fn stop(&self, process: &mut Process) {
        process.signal("TERM");
        assert_eq!(process.ended().await, (Some(0), String::new()));
        self.settle(process);
    }

    /// Makes sure that nothing was done that the real services would refuse, that no call overlapped another, and that
    /// no secret is in the log.
    pub fn settle(&self, process: &Process) {
        check_stand_ins(&self.discord, &self.wolkvox);
        check_secrets(&process.log.text());
    }
}

/// Cargo tells tests where the binary is, but not the sandbox, which shares this file.
pub fn binary() -> &'static str {
    let binary = option_env!("CARGO_BIN_EXE_wolkvox-bot");
    binary.expect("cargo test builds the binary")
}

/// The binary, in a process of its own.
pub struct Process {
    child: Child,
    pub log: Log,
    /// Fills the log until standard output ends.
    stdout: RefCell<Option<JoinHandle<()>>>,
    stderr: JoinHandle<String>,
}

impl Process {
    pub fn start(variables: &HashMap<&'static str, String>, arguments: &[&str]) -> Self {
        Self::start_in(&std::env::temp_dir(), variables, arguments)
    }

    pub fn start_in(
        directory: &std::path::Path,
        variables: &HashMap<&'static str, String>,
        arguments: &[&str],
    ) -> Self {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(directory);
        Self::spawn(command, variables)
    }

    /// With standard output closed by its reader, as by a `head` that has seen enough, and then on a full disk.
    pub fn start_unprinted(variables: &HashMap<&'static str, String>, arguments: &[&str]) -> [Self; 2] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (_, closed) = pipe().unwrap();
        [closed.into(), full.into()].map(|stdout: Stdio| {
            let mut command = Command::new(binary());
            command.args(arguments).current_dir(std::env::temp_dir()).stdout(stdout).stderr(Stdio::piped());
            Self::spawn_printing(command, variables)
        })
    }

    /// A command that becomes the binary, such as one that has a signal ignored before.
    pub fn spawn(mut command: Command, variables: &HashMap<&'static str, String>) -> Self {
        let (stdout, writer) = pipe().unwrap();
        command.stdout(writer).stderr(Stdio::piped());
        let process = Self::spawn_printing(command, variables);
        process.read(stdout);
        process
    }

    /// Standard output is a pipe that nobody reads and that has room for one short line, no record of a log. So is
    /// standard error if `both` are to be.
    pub fn start_unread(
        variables: &HashMap<&'static str, String>,
        arguments: &[&str],
        both: bool,
    ) -> (Self, PipeReader) {
        let (stdout, mut writer) = pipe().unwrap();
        let size = rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
        writer.write_all("\n".repeat(size - 50).as_bytes()).unwrap();
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(std::env::temp_dir());
        command.stderr(if both { writer.try_clone().unwrap().into() } else { Stdio::piped() }).stdout(writer);
        (Self::spawn_printing(command, variables), stdout)
    }

    /// To standard output and error as the command has them already.
    fn spawn_printing(mut command: Command, variables: &HashMap<&'static str, String>) -> Self {
        command.env_clear().envs(variables).stdin(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let errors = child.stderr.take();
        let stderr = tokio::spawn(async move {
            let mut text = String::new();
            if let Some(mut errors) = errors {
                let _ = errors.read_to_string(&mut text).await;
            }
            text
        });
        Self { child, log: Log::default(), stdout: RefCell::default(), stderr }
    }

    /// Reads standard output into the log, from now on.
    pub fn read(&self, stdout: PipeReader) {
        let mut lines = BufReader::new(Receiver::from_owned_fd(stdout.into()).unwrap()).lines();
        let log = self.log.clone();
        self.stdout.replace(Some(tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                log.push(line);
            }
        })));
    }

    /// Does something beside the process, and fails at once when the process ends meanwhile.
    pub async fn runs<T>(&mut self, meanwhile: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = meanwhile => done,
            end = self.end() => panic!("the process ended in the middle of the test: {end:?}"),
        }
    }

    pub async fn runs_until_logged(&mut self, text: &str) {
        let log = self.log.clone();
        self.runs(log.until_contains(text)).await;
    }

    /// Whether it has not ended, as far as was waited for that.
    pub fn is_running(&self) -> bool {
        self.child.id().is_some()
    }

    pub fn signal(&self, name: &str) {
        let signal = match name {
            "TERM" => Signal::TERM,
            "INT" => Signal::INT,
            "HUP" => Signal::HUP,
            "KILL" => Signal::KILL,
            "STOP" => Signal::STOP,
            "CONT" => Signal::CONT,
            _ => panic!("which signal is {name}?"),
        };
        let pid = Pid::from_raw(self.child.id().unwrap().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub async fn ended(&mut self) -> (Option<i32>, String) {
        tokio::time::timeout(Duration::from_secs(60), self.end()).await.expect("the process ends")
    }

    /// The exit code, and what was printed to standard error. The log is complete then.
    async fn end(&mut self) -> (Option<i32>, String) {
        let status = self.child.wait().await.unwrap();
        if let Some(stdout) = self.stdout.get_mut() {
            stdout.await.unwrap();
        }
        self.stdout.take();
        (status.code(), (&mut self.stderr).await.unwrap())
    }
}
