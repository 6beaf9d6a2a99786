//! The program: reads the arguments and the configuration, starts the log, runs the bot, and tells systemd of it.

use std::io::{self, ErrorKind, IsTerminal as _, Stdout, Write, stderr, stdout};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::subscriber::set_global_default;
use wolkvox_bot::app::{App, State};
use wolkvox_bot::backlog::Backlog;
use wolkvox_bot::check::{self, Report};
use wolkvox_bot::config::Draft;
use wolkvox_bot::language::Language;
use wolkvox_bot::language::Localized as _;
use wolkvox_bot::telemetry;

const HELP: &str = "\
wolkvox-bot: /mute agent_id for Discord, which presses the MUTE button in a Wolkvox agent's application

Usage: wolkvox-bot          run the bot
       wolkvox-bot check    check the configuration, Discord and Wolkvox, without touching a microphone

Options: -h, --help         show this
         -V, --version      show the version

It is configured with environment variables, or with a file .env in the working directory:
copy .env.example to .env and fill it in. README.md describes every variable.";
const HELP_IN_SPANISH: &str = "\
wolkvox-bot: /mute agent_id para Discord, que pulsa el botón MUTE en la aplicación de un agente de Wolkvox

Uso: wolkvox-bot          inicia el bot
     wolkvox-bot check    revisa la configuración, Discord y Wolkvox, sin tocar ningún micrófono

Opciones: -h, --help         muestra esto
          -V, --version      muestra la versión

Se configura con variables de entorno, o con un archivo .env en el directorio de trabajo:
copia .env.example como .env y llénalo. La guía .github/README.es.md describe cada variable.";

/// Exit code for a wrong argument, a wrong configuration, and everything else that only a person can mend: whatever
/// keeps the bot running can be told not to start it again then, as systemd with `RestartPreventExitStatus=2`.
const UNUSABLE: u8 = 2;
/// Exit code when a signal ends `check`, or a second signal the bot, at once.
const INTERRUPTED: i32 = 130;
/// How long is waited for whoever reads standard error and, at the end, for systemd.
const PATIENCE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
    match arguments[..] {
        [] => with_runtime(run),
        ["check"] => with_runtime(run_check),
        ["-h" | "--help" | "help"] => print(language().pick_for_operator(HELP, HELP_IN_SPANISH)),
        ["-V" | "--version"] => print(concat!("wolkvox-bot ", env!("CARGO_PKG_VERSION"))),
        ["check" | "-h" | "--help" | "help" | "-V" | "--version", unknown, ..] | [unknown, ..] => {
            let what = language().pick_for_operator("unknown argument", "argumento desconocido:");
            let try_this = language().pick_for_operator("Try", "Prueba");
            complain(format!("wolkvox-bot: {what} {unknown:?}. {try_this}: wolkvox-bot --help\n"));
            ExitCode::from(UNUSABLE)
        }
    }
}

fn language() -> Language {
    Language::of_operator(|name| std::env::var(name).ok())
}

/// One thread is enough: the bot waits nearly all the time.
fn with_runtime(run: fn(&Runtime) -> ExitCode) -> ExitCode {
    match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let code = run(&runtime);
            // A name look-up that hangs must not keep the process.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            does_not_start(language(), &error);
            ExitCode::FAILURE
        }
    }
}

fn does_not_start(language: Language, error: &io::Error) {
    let what = language.pick_for_operator("the system does not let it start", "el sistema no lo deja iniciar");
    complain(format!("wolkvox-bot: {what}: {error}\n"));
}

fn run(runtime: &Runtime) -> ExitCode {
    let draft = Draft::from_environment();
    let language = draft.language;
    for warning in &draft.warnings {
        complain(format!("wolkvox-bot: {warning}\n"));
    }
    let config = match draft.finish() {
        Ok(config) => config,
        Err(problems) => {
            let what = language.pick_for_operator("wolkvox-bot can't start.", "wolkvox-bot no puede iniciar.");
            complain(format!("{what} {problems}"));
            return ExitCode::from(UNUSABLE);
        }
    };
    let log = match Backlog::start(stdout()) {
        Ok(log) => log,
        Err(error) => {
            does_not_start(language, &error);
            return ExitCode::FAILURE;
        }
    };
    let log = Log(log);
    let subscriber = telemetry::subscriber(config.log_filter.clone(), config.log_format, colour(), log.0.clone());
    let result =
        set_global_default(subscriber).map_err(|error| (error.to_string(), ExitCode::FAILURE)).and_then(|()| {
            // Standard error would hold the whole bot up if it is a pipe that nobody reads.
            std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
            runtime.block_on(async {
                let shutdown = shutdown(log.0.clone()).map_err(|error| {
                    let what = language.pick_for_operator("signals can't be received", "no se pueden recibir señales");
                    (format!("{what}: {error}"), ExitCode::FAILURE)
                })?;
                let app = App::build(config).map_err(|error| {
                    let told = language.pick_for_operator(wolkvox_bot::net::error_chain(&error), error.spanish());
                    (told, exit_code(error.only_a_person_can_mend()))
                })?;
                let telling = tokio::spawn(tell_systemd(app.state()));
                let ended = app.run(shutdown).await;
                let _ = timeout(PATIENCE, telling).await;
                ended.map_err(|error| (error.in_language(language), exit_code(error.only_a_person_can_mend())))
            })
        });
    drop(log);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err((error, code)) => {
            complain(format!("{} {error}\n", language.pick_for_operator("wolkvox-bot ended.", "wolkvox-bot terminó.")));
            code
        }
    }
}

fn exit_code(only_a_person_can_mend: bool) -> ExitCode {
    if only_a_person_can_mend { ExitCode::from(UNUSABLE) } else { ExitCode::FAILURE }
}

/// In a task that may block: standard output may be a pipe that nobody reads, and a signal ends that too.
fn run_check(runtime: &Runtime) -> ExitCode {
    let check = || {
        let mut out = Output(stdout());
        let report = Report::new(&mut out, colour());
        Handle::current().block_on(check::check(Draft::from_environment(), report))
    };
    let checked = runtime.block_on(async {
        let mut signals = Signals::new()?;
        tokio::select! {
            biased;
            // At once: the check would break noisily if the runtime were ended first.
            () = signals.any() => std::process::exit(INTERRUPTED),
            checked = spawn_blocking(check) => checked.unwrap_or_else(|panic| Err(panic.into())),
        }
    });
    match checked {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => is_not_written(&error),
    }
}

/// Standard output. Whoever reads it may have seen enough, as `head` has: what comes then is dropped, and is no error.
struct Output(Stdout);

impl Write for Output {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        match self.0.write(text) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(text.len()),
            result => result,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0.flush() {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }
}

fn print(text: &str) -> ExitCode {
    let mut out = Output(stdout());
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => is_not_written(&error),
    }
}

fn is_not_written(error: &io::Error) -> ExitCode {
    let what = language().pick_for_operator("the output can't be written", "no se puede escribir la salida");
    complain(format!("wolkvox-bot: {what}: {error}\n"));
    ExitCode::FAILURE
}

/// Tells the service manager what the bot is doing, where that wants to know it (sd_notify(3)): systemd with
/// `Type=notify`. Never holds the bot up: while nobody reads, only this waits.
///
/// The crate sd-notify blocks then.
async fn tell_systemd(mut state: watch::Receiver<State>) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let socket = match UnixDatagram::unbound().and_then(|socket| socket.connect(path).map(|()| socket)) {
        Ok(socket) => socket,
        Err(error) => return tracing::warn!("the service manager can't be told anything (NOTIFY_SOCKET): {error}"),
    };
    loop {
        let told: &[u8] = match *state.borrow_and_update() {
            State::Starting => b"STATUS=Connecting to Discord",
            State::Standby => b"READY=1\nSTATUS=Standing by: another process has the file that STATE_FILE names",
            State::Ready => b"READY=1\nSTATUS=Connected to Discord, ready for commands",
            State::Reconnecting => b"STATUS=The connection to Discord was lost, reconnecting",
            State::Stopping => b"STOPPING=1\nSTATUS=Stopping: no new commands, the ones under way are finished",
        };
        let _ = socket.send(told).await;
        if state.changed().await.is_err() {
            return;
        }
    }
}

fn colour() -> bool {
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// The log of this process. However the process ends, what waits to be written is written first.
struct Log(Backlog);

impl Drop for Log {
    fn drop(&mut self) {
        let lost = self.0.finish();
        if lost > 0 {
            complain(format!("wolkvox-bot: {lost} records of the log could not be written\n"));
        }
    }
}

/// Prints to standard error, and does not wait for long if that is a pipe that nobody reads.
fn complain(text: String) {
    let (done, printed) = mpsc::channel();
    let print = move || {
        let _ = stderr().write_all(text.as_bytes());
        let _ = done.send(());
    };
    // Without a thread there is no sender, and nothing to wait for.
    let _ = thread::Builder::new().spawn(print);
    let _ = printed.recv_timeout(PATIENCE);
}

/// Completes on the first signal. The second ends the process at once.
fn shutdown(log: Backlog) -> io::Result<impl Future<Output = ()>> {
    let mut signals = Signals::new()?;
    let (first, received) = oneshot::channel();
    // A task of its own, so that not every command asks for signals.
    tokio::spawn(async move {
        signals.any().await;
        let _ = first.send(());
        signals.explicit().await;
        tracing::error!("ended at once by a second signal: commands under way were not answered");
        drop(Log(log));
        std::process::exit(INTERRUPTED);
    });
    Ok(async move {
        let _ = received.await;
    })
}

/// The signals that end the process. Process 1 of a container gets none that it does not ask for.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    fn new() -> io::Result<Self> {
        // `nohup` has it ignored, and receiving it would undo that.
        let hangup = if hangup_is_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())?, hangup })
    }

    async fn any(&mut self) {
        let Self { terminate, interrupt, hangup } = self;
        let hung_up = async {
            match hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hung_up => {}
        }
    }

    /// Not SIGHUP: when a terminal is closed, its shell sends one and the system another, and nobody asked for haste.
    async fn explicit(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Whether whoever started the process has SIGHUP ignored: the lowest bit of a mask that Linux tells.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
