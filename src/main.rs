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
use wolkvox_bot::localized::Localized as _;
use wolkvox_bot::reply::Language;
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
copia .env.example como .env y llénalo. README.md describe cada variable.";

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
            println!("{}", language().pick_for_operator(HELP, HELP_IN_SPANISH));
            ExitCode::SUCCESS
        }
        ["-V" | "--version"] => {
            println!("wolkvox-bot {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        ["check" | "-h" | "--help" | "help" | "-V" | "--version", unknown, ..] | [unknown, ..] => {
            let what = language().pick_for_operator("unknown argument", "argumento desconocido:");
            let try_this = language().pick_for_operator("Try", "Prueba");
            eprintln!("wolkvox-bot: {what} {unknown:?}. {try_this}: wolkvox-bot --help");
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
            let what =
                language().pick_for_operator("the system does not let it start", "el sistema no lo deja iniciar");
            eprintln!("wolkvox-bot: {what}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(runtime: &Runtime) -> ExitCode {
    let draft = Draft::from_environment();
    let language = draft.language;
    for warning in &draft.warnings {
        eprintln!("wolkvox-bot: {warning}");
    }
    let config = match draft.finish() {
        Ok(config) => config,
        Err(problems) => {
            let what = language.pick_for_operator("wolkvox-bot can't start.", "wolkvox-bot no puede iniciar.");
            eprint!("{what} {problems}");
            return ExitCode::from(UNUSABLE);
        }
    };
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log = telemetry::subscriber(config.log_filter.clone(), config.log_format, colour, std::io::stdout);
    let result = set_global_default(log).map_err(|error| error.to_string()).and_then(|()| {
        let app = App::build(config)
            .map_err(|error| language.pick_for_operator(wolkvox_bot::net::error_chain(&error), error.spanish()))?;
        runtime.block_on(async {
            let shutdown = shutdown().map_err(|error| {
                let what = language.pick_for_operator("signals can't be received", "no se pueden recibir señales");
                format!("{what}: {error}")
            })?;
            app.run(shutdown).await.map_err(|error| error.in_language(language))
        })
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{} {error}", language.pick_for_operator("wolkvox-bot ended.", "wolkvox-bot terminó."));
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
            let what = language().pick_for_operator("the report can't be written", "no se puede escribir el informe");
            eprintln!("wolkvox-bot: {what}: {error}");
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
