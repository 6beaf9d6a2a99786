//! The program: reads the arguments and the configuration, starts the log, runs the bot.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what people read on the terminal is printed here")]

use std::io::IsTerminal as _;
use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tracing::subscriber::set_global_default;
use wolkvox_bot::app::App;
use wolkvox_bot::check::{self, Report};
use wolkvox_bot::config::Draft;
use wolkvox_bot::telemetry;

const HELP: &str = "\
wolkvox-bot: /mute agent_id for Discord, which presses the MUTE button in a Wolkvox agent's application

Usage: wolkvox-bot          run the bot
       wolkvox-bot check    check the configuration, Discord and Wolkvox, without touching a microphone

Options: -h, --help         show this
         -V, --version      show the version

It is configured with environment variables, or with a file .env in the working directory:
copy .env.example to .env and fill it in. README.md describes every variable.";

/// Exit code for a wrong argument or a wrong configuration.
const UNUSABLE: u8 = 2;
/// Exit code when a second signal ends the bot at once.
const INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
    match arguments[..] {
        [] => with_runtime(run),
        ["check"] => with_runtime(run_check),
        ["-h" | "--help" | "help"] => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
        ["-V" | "--version"] => {
            println!("wolkvox-bot {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        ["check" | "-h" | "--help" | "help" | "-V" | "--version", unknown, ..] | [unknown, ..] => {
            eprintln!("wolkvox-bot: unknown argument {unknown:?}. Try: wolkvox-bot --help");
            ExitCode::from(UNUSABLE)
        }
    }
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
            eprintln!("wolkvox-bot: the system does not let it start: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(runtime: &Runtime) -> ExitCode {
    let config = match Draft::from_environment().finish() {
        Ok(config) => config,
        Err(problems) => {
            eprint!("wolkvox-bot can't start. {problems}");
            return ExitCode::from(UNUSABLE);
        }
    };
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log = telemetry::subscriber(config.log_filter.clone(), config.log_format, colour, std::io::stdout);
    let result = set_global_default(log).map_err(|error| error.to_string()).and_then(|()| {
        let app = App::build(config).map_err(|error| wolkvox_bot::net::error_chain(&error))?;
        runtime.block_on(async {
            let shutdown = shutdown().map_err(|error| format!("signals can't be received: {error}"))?;
            app.run(shutdown).await.map_err(|error| error.to_string())
        })
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wolkvox-bot ended. {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_check(runtime: &Runtime) -> ExitCode {
    let mut out = std::io::stdout();
    let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let report = Report::new(&mut out, colour);
    match runtime.block_on(check::check(Draft::from_environment(), report)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("wolkvox-bot: the report can't be written: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Completes on the first SIGTERM or SIGINT. The second ends the process at once.
fn shutdown() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (first, received) = oneshot::channel();
    // A task of its own, so that not every command asks for signals.
    tokio::spawn(async move {
        any(&mut terminate, &mut interrupt).await;
        let _ = first.send(());
        any(&mut terminate, &mut interrupt).await;
        tracing::error!("ended at once by a second signal: commands under way were not answered");
        std::process::exit(INTERRUPTED);
    });
    Ok(async move {
        let _ = received.await;
    })
}

async fn any(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
