//! The sandbox as a program: lines go in, a transcript comes out.

use std::env::{current_exe, vars};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// The program, as new as its source: cargo leaves it as it was where tests are chosen by name.
fn program() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--locked", "--offline", "--example", "sandbox"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        // Cargo has set these for the tests, and would build everything anew because of them.
        let of_the_tests = ["CARGO_BIN_EXE_", "CARGO_MANIFEST_", "CARGO_PKG_"];
        for (name, _) in vars().filter(|(name, _)| of_the_tests.iter().any(|prefix| name.starts_with(prefix))) {
            cargo.env_remove(name);
        }
        assert!(cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
        // Beside the folder of this test's own program.
        current_exe().unwrap().ancestors().nth(2).unwrap().join("examples/sandbox")
    });
    &PROGRAM
}

/// The exit code and the transcript of these lines, the last of them without an end of line.
fn play(lines: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut sandbox = Command::new(program());
    sandbox.env_clear().envs(variables.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut sandbox = sandbox.spawn().unwrap();
    // It may end before it has read them.
    let _ = sandbox.stdin.take().unwrap().write_all(lines.join("\n").as_bytes());
    let output = sandbox.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

fn transcript(lines: &[&str]) -> String {
    let (code, transcript) = play(lines, &[]);
    assert_eq!(code, Some(0), "{transcript}");
    transcript
}

/// What follows the line that was typed, up to the next one.
fn answer<'a>(transcript: &'a str, typed: &str) -> &'a str {
    let (_, rest) = transcript.split_once(&format!("> {typed}\n")).unwrap_or_else(|| panic!("{typed}: {transcript}"));
    rest.split("\n\n").next().unwrap()
}

#[test]
fn the_sandbox_obeys_each_line_of_standard_input() {
    let transcript = transcript(&["/MUTE 1001", "", "as  Bruno ", "mics", "Find PENA", "quit", "mics again"]);
    assert!(answer(&transcript, "/MUTE 1001").contains("microphone 1001: muted"), "{transcript}");
    assert!(answer(&transcript, "mics").contains("1001 muted "), "{transcript}");
    assert!(answer(&transcript, "Find PENA").contains("João Peña · 1002"), "{transcript}");
    assert!(transcript.contains("\nana> as  Bruno\n") && transcript.contains("\nbruno> mics\n"), "{transcript}");
    assert!(!transcript.contains("mics again"), "{transcript}");
}

#[test]
fn the_sandbox_ends_with_its_input() {
    assert!(transcript(&[]).trim_end().ends_with("Bye."));
}

#[test]
fn the_sandbox_answers_a_wrong_line_with_what_can_be_typed() {
    let transcript = transcript(&["dance", "lang fr", "wolkvox xx", "as", "mics"]);
    for (typed, choices) in [
        ("dance", ["/mute", "wolkvox", "tour"]),
        ("lang fr", ["lang en", "lang es", "lang pt"]),
        ("wolkvox xx", ["wolkvox ok", "wolkvox refused", "wolkvox down"]),
        ("as", ["as ana", "as bruno", "as carla"]),
    ] {
        let answer = answer(&transcript, typed);
        assert!(choices.iter().all(|choice| answer.contains(choice)), "{answer}");
    }
    assert!(answer(&transcript, "mics").contains("1001 open"));
}

#[test]
fn check_in_the_sandbox_follows_the_mood_and_toggles_nothing() {
    for (mood, finding) in [
        ("wolkvox ok", "ok    Wolkvox token: valid"),
        ("wolkvox busy", "warn  Wolkvox token: other requests"),
        ("wolkvox refused", "FAIL  WOLKVOX_TOKEN: it is wrong"),
        ("wolkvox limit", "FAIL  Wolkvox token: it is valid, but today's API requests"),
        ("wolkvox down", "FAIL  Wolkvox: "),
        ("wolkvox garbage", "FAIL  Wolkvox: the answer of "),
    ] {
        let transcript = transcript(&[mood, "check", "mics"]);
        assert!(answer(&transcript, "check").contains(finding), "{transcript}");
        assert!(!answer(&transcript, "mics").contains("muted"), "{transcript}");
    }
}

#[test]
fn the_sandbox_shows_all_of_the_audit_channel_and_marks_a_disabled_agent() {
    let commands =
        ["/mute 1001", "/mute 1002", "/mute 1003", "/mute 1004", "/mute 1005", "/mute 1007", "mics", "audit"];
    let transcript = transcript(&commands);
    assert!(answer(&transcript, "/mute 1007").contains("disabled in Wolkvox"), "{transcript}");
    assert!(answer(&transcript, "mics").contains("Luz Ordóñez (disabled in Wolkvox)"), "{transcript}");
    assert_eq!(answer(&transcript, "audit").matches("@ana").count(), 6, "{transcript}");
}

#[test]
fn nothing_in_the_sandbox_is_left_in_english_for_who_speaks_spanish() {
    let commands = [
        "help",
        "dance",
        "lang xx",
        "press",
        "/mute 1007",
        "as bruno",
        "/mute 1007",
        "press",
        "find nobody",
        "kill",
        "as carla",
        "kill 1001",
        "as dm",
        "wolkvox refused",
        "check",
        "lang pt",
        "mics",
        "audit",
    ];
    let (code, operators) = play(&commands, &[("LC_ALL", "es_CO.UTF-8")]);
    assert_eq!(code, Some(0), "{operators}");
    let switched = transcript(&[&["lang Español"], &commands[..]].concat());
    for transcript in [operators.as_str(), switched.split_once("lang Español").unwrap().1] {
        let words = transcript.split(|char: char| !char.is_alphabetic());
        let english: Vec<&str> =
            words.filter(|word| ["the", "The", "is", "of", "what", "you", "and"].contains(word)).collect();
        assert!(english.is_empty(), "{english:?}: {transcript}");
        assert!(transcript.contains("micrófono 1007: silenciado"), "{transcript}");
    }
}

#[test]
fn the_tour_is_the_same_whatever_was_typed_before_it() {
    let (code, transcript) = play(&["as dm", "lang es", "wolkvox limit", "TOUR", "mics"], &[]);
    assert_eq!(code, Some(0), "{transcript}");
    let (_, after) = transcript.split_once("todos los resultados fueron los esperados").unwrap();
    assert!(!answer(after, "mics").contains("silenciado"), "{after}");
}

#[test]
fn the_sandbox_says_so_when_it_can_make_no_folder() {
    let (code, transcript) = play(&["mics"], &[("TMPDIR", "/nowhere")]);
    assert_eq!(code, Some(1), "{transcript}");
    assert!(transcript.contains("/nowhere") && transcript.contains("TMPDIR"), "{transcript}");
}
