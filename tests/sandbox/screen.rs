//! How the sandbox prints: in lines of the terminal's width, and messages as Discord would draw them.

use std::env::var_os;
use std::io::{ErrorKind, IsTerminal as _, Write as _, stdout};
use std::process::exit;

use wolkvox_bot::language::Language;

use super::words::PEOPLE;

pub const BOLD: u8 = 1;
pub const DIM: u8 = 2;
pub const RED: u8 = 31;
pub const GREEN: u8 = 32;

#[derive(Clone, Copy)]
pub struct Screen {
    /// In columns.
    pub width: usize,
    /// Of the sandbox's own words: English or Spanish.
    pub language: Language,
}

impl Screen {
    pub fn pick<T>(self, [english, spanish]: [T; 2]) -> T {
        self.language.pick_for_operator(english, spanish)
    }

    /// Prints text. Each line begins with the margin; what does not fit goes on below, `indent` further in.
    pub fn print(self, margin: &str, indent: usize, style: u8, text: &str) {
        for line in text.lines() {
            let mut lines = vec![String::new()];
            for word in line.split(' ') {
                match lines.last_mut() {
                    Some(line) if line.trim().is_empty() || width(margin) + width(line) + width(word) <= self.width => {
                        *line += word;
                    }
                    _ => lines.push(format!("{:indent$}{word}", "")),
                }
                lines.last_mut().unwrap().push(' ');
            }
            lines.iter().for_each(|line| write(&format!("{margin}{}", paint(style, line.trim_end()))));
        }
    }

    /// The sandbox speaks.
    pub fn tell(self, text: [impl AsRef<str>; 2]) {
        self.print("", 0, 0, self.pick(text).as_ref());
    }

    /// The sandbox speaks beside the conversation.
    pub fn note(self, text: [impl AsRef<str>; 2]) {
        self.print("  ", 0, DIM, self.pick(text).as_ref());
    }

    /// A line in the channel.
    pub fn say(self, style: u8, text: &str) {
        self.print("  │ ", 0, style, text);
    }

    /// A message as Discord would draw it.
    pub fn show(self, message: &str) {
        for line in message.lines() {
            let (style, line) = line.strip_prefix("-# ").map_or((0, line), |small| (DIM, small));
            self.say(style, &draw(line));
        }
    }

    /// An entry of a list: a word, and what it stands for.
    pub fn entry(self, word: &str, what: [impl AsRef<str>; 2]) {
        self.print("  ", 19, 0, &format!("{word:<18} {}", self.pick(what).as_ref()));
    }
}

pub fn write(line: &str) {
    match writeln!(stdout(), "{line}") {
        // The reader may have seen enough, as `head` has.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => exit(0),
        written => written.expect("what the sandbox shows can be written"),
    }
}

pub fn colour() -> bool {
    stdout().is_terminal() && var_os("NO_COLOR").is_none() && var_os("TERM").is_none_or(|term| term != "dumb")
}

pub fn paint(style: u8, text: &str) -> String {
    if style != 0 && colour() { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
}

/// In columns, of which colours take none.
fn width(text: &str) -> usize {
    let painted = text.split('\x1b').enumerate();
    let plain = painted.map(|(n, part)| if n == 0 { part } else { part.split_once('m').map_or("", |(_, rest)| rest) });
    plain.map(|part| part.chars().count()).sum()
}

/// Names for mentions, the time of day for timestamps, bold where that can be shown; no backslashes.
fn draw(line: &str) -> String {
    let mut line = PEOPLE.iter().fold(line.to_owned(), |line, (_, _, person)| {
        line.replace(&format!("<@{}>", person().id), &format!("@{}", person().name))
    });
    while let Some((before, rest)) = line.split_once("<t:") {
        let (second, rest) = rest.split_once(':').unwrap();
        let minute = second.parse::<u64>().unwrap() / 60;
        line = format!("{before}{:02}:{:02} UTC{}", minute / 60 % 24, minute % 60, &rest[2..]);
    }
    // Word by word, so that a line may end between them.
    let bold = |part: &str| part.split(' ').map(|word| paint(BOLD, word)).collect::<Vec<_>>().join(" ");
    let parts = line.split("**").enumerate();
    let painted = parts.map(|(n, part)| if n % 2 == 1 { bold(part) } else { part.to_owned() }).collect::<String>();
    let (mut drawn, mut chars) = (String::new(), painted.chars());
    while let Some(char) = chars.next() {
        drawn.extend(if char == '\\' { chars.next() } else { Some(char) });
    }
    drawn
}
