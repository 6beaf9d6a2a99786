//! The sandbox: the real bot between stand-ins for Discord and Wolkvox, all on this machine.
//!
//! The stand-ins run in this process, and the bot in one of its own, so that it can be killed: the sandbox starts
//! itself once more with an argument that makes it the bot.
//!
//! `cargo run --example sandbox` obeys the lines of standard input, with a prompt where that is a terminal. `tour` types
//! lines as a person would, through all outcomes of a command; when an outcome is not the expected one, the exit code
//! is 1 in the end. Every exchange, typed or played, is checked against what reached the microphone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub, reason = "an example")]

#[path = "sandbox/commands.rs"]
mod commands;
#[path = "sandbox/screen.rs"]
mod screen;
mod support;
#[path = "sandbox/words.rs"]
mod words;

use std::env::{args_os, temp_dir, var};
use std::fs::remove_dir_all;
use std::io::{IsTerminal as _, stdin, stdout};
use std::path::Path;
use std::process::{ExitCode, exit};

use rustix::process::{Signal, set_parent_process_death_signal};
use rustyline::error::ReadlineError;
use rustyline::{Config, DefaultEditor};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;
use wolkvox_bot::app::App;
use wolkvox_bot::config::Draft;
use wolkvox_bot::language::Language;
use wolkvox_bot::telemetry::{self, Format};

use commands::Sandbox;
use screen::{BOLD, Screen, write};
use support::Folder;
use words::TOUR;

/// The argument that makes this program the bot. Another one follows: the folder of its state file.
const BOT: &str = "--be-the-bot";
/// The exit code when a signal ends the sandbox, as for the bot.
const INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    let mut arguments = args_os().skip(1);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    if arguments.next().is_some_and(|argument| argument == BOT) {
        runtime.block_on(be_the_bot());
        let _ = remove_dir_all(arguments.next().unwrap());
        return ExitCode::SUCCESS;
    }
    runtime.block_on(async {
        // Process 1 of a container gets no signal that it does not ask for. The bot notices the end, and clears up.
        let [mut interrupt, mut terminate] =
            [SignalKind::interrupt(), SignalKind::terminate()].map(|kind| signal(kind).unwrap());
        tokio::select! {
            code = be_the_sandbox() => code,
            _ = interrupt.recv() => exit(INTERRUPTED),
            _ = terminate.recv() => exit(INTERRUPTED),
        }
    })
}

async fn be_the_sandbox() -> ExitCode {
    // Lines that are pasted are obeyed one after the other.
    let config = Config::builder().auto_add_history(true).bracketed_paste(false).build();
    let mut editor = DefaultEditor::with_config(config).unwrap();
    let screen = Screen { width: width(&mut editor), language: Language::of_operator(|name| var(name).ok()) };
    if let Err(error) = Folder::make() {
        let folder = temp_dir();
        let folder = folder.display();
        screen.tell([
            format!(
                "No folder can be made in {folder}: {error}. Name another one with TMPDIR; with Docker: --tmpfs /tmp."
            ),
            format!(
                "No se puede crear una carpeta en {folder}: {error}. Indica otra con TMPDIR; con Docker: --tmpfs /tmp."
            ),
        ]);
        return ExitCode::FAILURE;
    }
    let mut sandbox = Sandbox::start(screen).await;
    welcome(screen);
    let as_expected = converse(&mut sandbox, editor).await;
    let screen = sandbox.screen;
    sandbox.finish().await;
    screen.tell([
        "The stand-ins saw nothing that Discord or Wolkvox would refuse, and no secret was logged. Bye.",
        "Ni el Discord ni el Wolkvox simulados recibieron algo que los reales rechazarían, y en el log no quedó ningún \
         secreto. Adiós.",
    ]);
    if as_expected { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The terminal's width, or 80 where there is none.
fn width(editor: &mut DefaultEditor) -> usize {
    editor.dimensions().map_or(80, |(columns, _)| columns.into())
}

/// The bot, as its own `main` runs it, until it is told to end or the sandbox is gone.
async fn be_the_bot() {
    let mut told_to_end = signal(SignalKind::terminate()).unwrap();
    set_parent_process_death_signal(Some(Signal::TERM)).unwrap();
    let (log, guard) = telemetry::in_the_background(stdout());
    let subscriber = telemetry::subscriber("info".parse().unwrap(), Format::Text, false, log);
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let config = Draft::from_sources(|name| var(name).ok(), Path::new("/nowhere")).finish().unwrap();
    let run = App::build(config).unwrap().run(async {
        told_to_end.recv().await;
    });
    let ended = run.await;
    drop(guard);
    ended.unwrap();
}

fn welcome(screen: Screen) {
    screen.print("", 0, BOLD, "wolkvox-bot sandbox");
    screen.tell([
        "This is the real bot, between stand-ins for Discord and Wolkvox on this machine.\n\
         It needs no credentials and no network: nothing leaves this machine.",
        "Este es el bot de verdad, entre un Discord y un Wolkvox simulados en esta máquina.\n\
         No necesita credenciales ni red: nada sale de esta máquina.",
    ]);
    screen.tell(if stdin().is_terminal() {
        [
            "Type /mute 1001 for a start, tour to see all outcomes, help for the rest, quit or Ctrl+C to end. En español: \
             lang es\n\n",
            "Escribe /mute 1001 para empezar, tour para ver todos los resultados, help para lo demás, quit o Ctrl+C para \
             terminar.\n\n",
        ]
    } else {
        [
            "Each line of standard input is obeyed, such as /mute 1001, tour or help. Docker gives a prompt with -it.\n\n",
            "Se ejecuta cada línea de la entrada estándar, como /mute 1001, tour o help. Con -it, Docker deja escribir \
             aquí.\n\n",
        ]
    });
}

/// Obeys line after line. False if a tour had an unexpected outcome, or if the lines can't be read.
async fn converse(sandbox: &mut Sandbox, mut editor: DefaultEditor) -> bool {
    let is_typed = stdin().is_terminal();
    let mut as_expected = true;
    loop {
        sandbox.screen.width = width(&mut editor);
        let (prompt, line);
        prompt = sandbox.prompt();
        // On a thread of its own: the stand-ins go on meanwhile.
        (line, editor) = spawn_blocking(move || (editor.readline(&prompt), editor)).await.unwrap();
        let line = match line {
            Ok(line) => line.trim().to_owned(),
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => return as_expected,
            Err(error) => {
                let why =
                    [format!("the input can't be read: {error}"), format!("no se puede leer la entrada: {error}")];
                sandbox.screen.note(why);
                return false;
            }
        };
        if line.is_empty() {
            continue;
        }
        if !is_typed {
            sandbox.echo(&line);
        }
        match line.to_lowercase().as_str() {
            "quit" | "exit" => return as_expected,
            "tour" => as_expected &= tour(sandbox.screen).await,
            _ => drop(sandbox.obey(&line).await),
        }
        write("");
    }
}

/// Everything begins afresh, so that it does not matter what was typed before. True if every outcome was the expected
/// one.
async fn tour(screen: Screen) -> bool {
    screen.note([
        "the tour has a bot, a Discord and a Wolkvox of its own; yours stay as they are",
        "el recorrido tiene su propio bot, Discord y Wolkvox; los tuyos quedan como están",
    ]);
    let mut sandbox = Sandbox::start(screen).await;
    let mut as_expected = true;
    for (number, (heading, lines, expected)) in (1..).zip(TOUR) {
        write("");
        screen.print("", 3, BOLD, &format!("{number}. {}", screen.pick(heading)));
        let mut outcome = String::new();
        for line in lines {
            sandbox.echo(line);
            outcome = sandbox.obey(line).await;
        }
        if outcome != expected {
            as_expected = false;
            screen.note([
                format!("UNEXPECTED: the outcome is {outcome:?} and not {expected:?}"),
                format!("INESPERADO: el resultado es {outcome:?} y no {expected:?}"),
            ]);
        }
    }
    sandbox.finish().await;
    write("");
    screen.tell(if as_expected {
        [
            "That was the tour: every outcome was the expected one.",
            "Ese fue el recorrido: todos los resultados fueron los esperados.",
        ]
    } else {
        [
            "That was the tour: an outcome was not the expected one.",
            "Ese fue el recorrido: algún resultado no fue el esperado.",
        ]
    });
    as_expected
}
