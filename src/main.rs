//! The program: reads the arguments and the configuration, starts the log, and runs the bot until a signal ends it.

use std::io::{self, ErrorKind, IsTerminal as _, Write as _, stderr, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing_appender::non_blocking::{ErrorCounter, WorkerGuard};
use wolkvox_bot::app::{App, RunError};
use wolkvox_bot::check::{self, Report};
use wolkvox_bot::config::{Config, Draft, GUIDE};
use wolkvox_bot::journal;
use wolkvox_bot::language::{Language, Localized as _};
use wolkvox_bot::{systemd, telemetry};

const HELP: &str = "\
wolkvox-bot: /mute agent_id for Discord, which presses the MUTE button in a Wolkvox agent's application

Usage: wolkvox-bot          run the bot
       wolkvox-bot check    check the configuration, Discord and Wolkvox, without touching a microphone

Options: -h, --help         show this
         -V, --version      show the version

It is configured with environment variables, or with a file .env in the working directory:
copy .env.example to .env and fill it in. The guide:";
const HELP_IN_SPANISH: &str = "\
wolkvox-bot: /mute agent_id para Discord, que pulsa el botón MUTE en la aplicación de un agente de Wolkvox

Uso: wolkvox-bot          inicia el bot
     wolkvox-bot check    revisa la configuración, Discord y Wolkvox, sin tocar ningún micrófono

Opciones: -h, --help         muestra esto
          -V, --version      muestra la versión

Se configura con variables de entorno, o con un archivo .env en el directorio de trabajo:
copia .env.example como .env y llénalo. La guía:";

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Exit code for a wrong argument, a wrong configuration, and everything else that only a person can fix: systemd's
/// `RestartPreventExitStatus=2` then does not start the bot again.
const UNUSABLE: u8 = 2;
/// Exit code when a signal ends `check`, or a second signal the bot, at once.
const INTERRUPTED: i32 = 130;
/// How long a pipe is waited for that nobody reads, and systemd at the end. The log's own end takes 1.1 s at most.
const PATIENCE: Duration = Duration::from_millis(1_200);
/// The signal for a file that gets longer than the process may make it, on every Linux but MIPS'.
const SIGXFSZ: SignalKind = SignalKind::from_raw(25);

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).map(|it| it.to_string_lossy().into_owned()).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => with_runtime(run),
        ["check"] => with_runtime(run_check),
        [journal::TRY_TO_TAKE, path] => ExitCode::from(journal::try_to_take(Path::new(path))),
        ["-h" | "--help" | "help"] => {
            let (help, guide) = language().pick_for_operator((HELP, GUIDE[0]), (HELP_IN_SPANISH, GUIDE[1]));
            print(&format!("{help} {guide}"))
        }
        ["-V" | "--version"] => print(&version()),
        ["check" | "-h" | "--help" | "help" | "-V" | "--version", unknown, ..] | [unknown, ..] => {
            let what = language().pick_for_operator("unknown argument", "argumento desconocido:");
            let try_this = language().pick_for_operator("Try", "Prueba con");
            complain(&format!("wolkvox-bot: {what} {unknown:?}. {try_this}: wolkvox-bot --help"));
            ExitCode::from(UNUSABLE)
        }
    }
}

/// The commit that this was built from, where the build was told.
fn commit() -> Option<&'static str> {
    option_env!("WOLKVOX_BOT_COMMIT").filter(|commit| !commit.is_empty())
}

fn version() -> String {
    let commit = commit().map(|commit| format!(" ({commit})")).unwrap_or_default();
    format!("wolkvox-bot {VERSION}{commit}")
}

fn language() -> Language {
    Language::of_operator(|name| std::env::var(name).ok())
}

/// One thread serves everything, since the bot waits nearly all the time. The log, the state file and name look-ups
/// have threads of their own, and the libraries panic where they get none.
fn with_runtime(run: fn(&Runtime, Signals) -> ExitCode) -> ExitCode {
    let start = || {
        thread::Builder::new().spawn(|| ())?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let signals = runtime.block_on(async { signals() })?;
        Ok((runtime, signals))
    };
    match start() {
        Ok((runtime, signals)) => {
            let code = run(&runtime, signals);
            // A name look-up that hangs must not keep the process.
            runtime.shutdown_background();
            code
        }
        Err(error) => fail("the system does not let it start", "el sistema no lo deja iniciar", &error),
    }
}

fn run(runtime: &Runtime, signals: Signals) -> ExitCode {
    let draft = Draft::from_environment();
    let language = draft.language;
    for warning in &draft.warnings {
        complain(&format!("wolkvox-bot: {warning}"));
    }
    let config = match draft.finish() {
        Ok(config) => config,
        Err(problems) => {
            let what = language.pick_for_operator("wolkvox-bot can't start.", "wolkvox-bot no puede iniciar.");
            complain(format!("{what} {problems}").trim_end());
            return ExitCode::from(UNUSABLE);
        }
    };
    let log = Log::start(&config, language);
    tracing::info!(version = VERSION, commit = commit(), "starting");
    let ended = App::build(config).map_err(RunError::from);
    let Err(error) = ended.and_then(|app| runtime.block_on(serve(app, signals, log))) else { return ExitCode::SUCCESS };
    let what = language.pick_for_operator("wolkvox-bot ended.", "wolkvox-bot terminó.");
    complain(&format!("{what} {}", error.in_language(language)));
    if error.only_a_person_can_fix() { ExitCode::from(UNUSABLE) } else { ExitCode::FAILURE }
}

/// Runs the bot until it ends, or until a signal ends it.
async fn serve(app: App, mut signals: Signals, log: Log) -> Result<(), RunError> {
    let state = app.state();
    let telling = tokio::spawn(async move {
        if let Some(socket) = std::env::var_os("NOTIFY_SOCKET") {
            systemd::tell(&socket, state).await;
        }
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let second_signal = async {
        let _ = signals.recv().await;
        drop(stop);
        // When a terminal is closed, its shell sends one SIGHUP and the system another, and nobody asked for haste.
        while signals.recv().await == Some(SignalKind::hangup()) {}
    };
    let running = app.run(async {
        let _ = stopped.await;
    });
    tokio::select! {
        ended = running => {
            let _ = timeout(PATIENCE, telling).await;
            ended
        }
        () = second_signal => {
            tracing::error!("ended at once by a second signal: commands in progress were not answered");
            drop(log);
            std::process::exit(INTERRUPTED)
        }
    }
}

/// In a task that may block: standard output may be a pipe that nobody reads, and a signal ends that too.
fn run_check(runtime: &Runtime, mut signals: Signals) -> ExitCode {
    let check = || {
        let mut out = stdout();
        let report = Report::new(&mut out, colour());
        Handle::current().block_on(check::check(Draft::from_environment(), report))
    };
    let checked = runtime.block_on(async {
        tokio::select! {
            biased;
            // At once: the check would break noisily if the runtime were ended first.
            _ = signals.recv() => std::process::exit(INTERRUPTED),
            checked = spawn_blocking(check) => checked.unwrap_or_else(|panic| Err(panic.into())),
        }
    });
    match checked {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => is_not_written(&error),
    }
}

fn print(text: &str) -> ExitCode {
    match writeln!(stdout(), "{text}") {
        // A reader that has seen enough, as `head` has, is no error.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => is_not_written(&error),
        _ => ExitCode::SUCCESS,
    }
}

fn is_not_written(error: &io::Error) -> ExitCode {
    fail("the output can't be written", "no se puede escribir la salida", error)
}

fn fail(english: &str, spanish: &str, error: &io::Error) -> ExitCode {
    let language = language();
    let what = language.pick_for_operator(english, spanish);
    complain(&format!("wolkvox-bot: {what}: {}", error.in_language(language)));
    ExitCode::FAILURE
}

fn colour() -> bool {
    stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// The log of this process. However the process ends, what waits to be written is written first.
struct Log {
    writer: Option<WorkerGuard>,
    dropped: ErrorCounter,
    language: Language,
}

impl Log {
    fn start(config: &Config, language: Language) -> Self {
        let (lines, writer) = telemetry::in_the_background(stdout());
        let dropped = lines.error_counter();
        let subscriber = telemetry::subscriber(config.log_filter.clone(), config.log_format, colour(), lines);
        // It fails only where there is a log already.
        let _ = tracing::subscriber::set_global_default(subscriber);
        // Standard error would hold the whole bot up if it is a pipe that nobody reads.
        std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
        Self { writer: Some(writer), dropped, language }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let writer = self.writer.take();
        let _ = patiently(move || drop(writer));
        let dropped = self.dropped.dropped_lines();
        if dropped > 0 {
            complain(&self.language.pick_for_operator(
                format!("wolkvox-bot: {dropped} lines of the log were lost, because nobody read it in time"),
                format!("wolkvox-bot: se perdieron {dropped} líneas del log, porque nadie lo leyó a tiempo"),
            ));
        }
    }
}

/// Prints a line to standard error.
fn complain(text: &str) {
    let line = format!("{text}\n");
    let print = |line: &str| drop(stderr().write_all(line.as_bytes()));
    let copy = line.clone();
    if patiently(move || print(&copy)).is_err() {
        print(&line);
    }
}

/// Does what may block for ever, as printing to a pipe does that nobody reads, and does not wait for long.
///
/// # Errors
/// When the system gives no thread: nothing was done.
fn patiently(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let (done, ended) = mpsc::channel();
    thread::Builder::new().spawn(move || {
        work();
        let _ = done.send(());
    })?;
    let _ = ended.recv_timeout(PATIENCE);
    Ok(())
}

type Signals = UnboundedReceiver<SignalKind>;

/// The signals that ask the process to end, one after the other. Process 1 of a container gets none that it does not ask
/// for.
fn signals() -> io::Result<Signals> {
    // To be received is all that is wanted: the write then fails, as on a full disk, and the process goes on.
    let _ = signal(SIGXFSZ)?;
    let (sender, received) = unbounded_channel();
    // `nohup` has it ignored, and to receive it would undo that.
    let hangup = (!hangup_is_ignored()).then(SignalKind::hangup);
    for kind in [SignalKind::terminate(), SignalKind::interrupt()].into_iter().chain(hangup) {
        let (mut signal, sender) = (signal(kind)?, sender.clone());
        tokio::spawn(async move {
            while signal.recv().await.is_some() {
                let _ = sender.send(kind);
            }
        });
    }
    Ok(received)
}

/// Whether SIGHUP was ignored when the process began: the lowest bit of a mask that Linux tells.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
