//! A channel in Discord's dark theme: what stands where.

use super::canvas::{Canvas, bold, escape, font};
use super::text::{self, Run, width};

const WIDTH: f64 = 720.0;
/// Inside the edge.
const RIGHT: f64 = WIDTH - 1.0;
/// Where messages begin, right of the avatars, and how wide they get.
const LEFT: f64 = 72.0;
const ROOM: f64 = WIDTH - LEFT - 24.0;

const BACKGROUND: &str = "#313338";
const EDGE: &str = "#4e5058";
const BRIGHT: &str = "#f2f3f5";
const TEXT: &str = "#dbdee1";
const FAINT: &str = "#a3a8b0";
const LINK: &str = "#4dbcff";
const BLURPLE: &str = "#5865f2";
const DANGER: &str = "#d22d39";

/// The channel, with the words that are Discord's own, in one language.
pub(super) struct Channel {
    pub(super) language: &'static str,
    /// What the picture is, for whoever can't see it.
    pub(super) title: &'static str,
    pub(super) name: &'static str,
    pub(super) used: &'static str,
    pub(super) relative_time: &'static str,
    pub(super) only_you: &'static str,
    pub(super) dismiss: &'static str,
}

/// The bot's answer to `/mute`.
pub(super) struct Message {
    pub(super) to: u64,
    pub(super) time: &'static str,
    pub(super) content: String,
    pub(super) button: Option<String>,
    pub(super) private: bool,
}

/// Somebody's name and colour.
fn person(id: u64) -> (&'static str, &'static str) {
    match id {
        501 => ("ana", "#eb459e"),
        502 => ("beto", "#248046"),
        _ => panic!("who is {id}?"),
    }
}

impl Channel {
    pub(super) fn draw(&self, messages: &[Message]) -> String {
        let mut shown = Canvas::default();
        shown.text(24.0, 31.0, font(22.0, FAINT), "#");
        shown.text(43.0, 30.0, bold(16.0, BRIGHT), self.name);
        shown.element(format_args!(r#"<path d="M1 47.5H{RIGHT}" stroke="{EDGE}"/>"#));
        let mut bottom = 54.0;
        for message in messages {
            let (from, (inside, to)) = (bottom + 2.0, self.message(message, bottom));
            if message.private {
                shown.element(format_args!(
                    r#"<path d="M1 {from}H{RIGHT}V{}H1z" fill="{BLURPLE}" fill-opacity=".1"/>"#,
                    to - 2.0
                ));
            }
            shown.0 += &inside.0;
            bottom = to;
        }
        let (height, below) = (bottom + 8.0, bottom + 7.0);
        let mut picture = Canvas::default();
        picture.element(format_args!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" lang="{}" role="img" aria-labelledby="title texts" font-family="Helvetica, Arial, 'Liberation Sans', sans-serif">"#,
            self.language
        ));
        picture.element(format_args!(r#"<title id="title">{}</title>"#, escape(self.title)));
        picture.element(format_args!(r#"<desc id="texts">{}</desc>"#, escape(&self.texts(messages))));
        picture.element(format_args!(
            r#"<rect x=".5" y=".5" width="{RIGHT}" height="{below}" rx="8" fill="{BACKGROUND}" stroke="{EDGE}"/>"#
        ));
        picture.0 + &shown.0 + "</svg>\n"
    }

    /// A message that begins at `top`, and where it ends.
    fn message(&self, message: &Message, top: f64) -> (Canvas, f64) {
        let mut canvas = Canvas::default();
        let (name, colour) = person(message.to);
        let y = top + 23.0;
        canvas.element(format_args!(
            r#"<path d="M36 {}v-5q0-6 6-6h24" fill="none" stroke="{EDGE}" stroke-width="2"/>"#,
            y + 6.0
        ));
        canvas.avatar((LEFT + 8.0, y - 5.0), 8.0, colour, name);
        let x = canvas.text(LEFT + 22.0, y, bold(14.0, BRIGHT), name) + 4.0;
        let x = canvas.text(x, y, font(14.0, FAINT), self.used) + 4.0;
        canvas.text(x, y, font(14.0, LINK), "/mute");

        let mut y = top + 48.0;
        canvas.avatar((36.0, y + 5.0), 20.0, BLURPLE, "wolkvox-bot");
        let x = canvas.text(LEFT, y, bold(16.0, BRIGHT), "wolkvox-bot") + 6.0;
        canvas.block((x, y - 13.0), (32.0, 16.0), BLURPLE);
        canvas.text(x + 5.0, y - 1.0, bold(11.0, "#fff"), "APP");
        canvas.text(x + 40.0, y, font(12.0, FAINT), message.time);

        y += 3.0;
        for line in message.content.lines() {
            let (line, font) = match line.strip_prefix("-# ") {
                Some(small) => (small, font(13.0, FAINT)),
                None => (line, font(16.0, TEXT)),
            };
            for line in text::lines(self.runs(line), font.size, ROOM) {
                y += font.size + 6.0;
                canvas.line(LEFT, y, font, &line);
            }
        }
        if let Some(label) = &message.button {
            canvas.block((LEFT, y + 12.0), (width(label, 14.0, true) + 32.0, 32.0), DANGER);
            canvas.text(LEFT + 16.0, y + 33.0, bold(14.0, "#fff"), label);
            y += 46.0;
        }
        if message.private {
            y += 18.0;
            let x = canvas.text(LEFT, y, font(12.0, FAINT), &format!("{} ·", self.only_you)) + 4.0;
            canvas.text(x, y, font(12.0, LINK), self.dismiss);
        }
        (canvas, y + 14.0)
    }

    fn runs(&self, line: &str) -> Vec<Run> {
        text::runs(line, |id| person(id).0, self.relative_time)
    }

    /// All that can be read in the picture.
    fn texts(&self, messages: &[Message]) -> String {
        let mut texts = Vec::new();
        for message in messages {
            texts.push(format!("{} {} /mute", person(message.to).0, self.used));
            for line in message.content.lines() {
                let runs = self.runs(line.strip_prefix("-# ").unwrap_or(line));
                texts.push(runs.into_iter().map(|run| run.text).collect());
            }
            texts.extend(message.button.as_ref().map(|label| format!("[{label}]")));
            texts.extend(message.private.then(|| self.only_you.to_owned()));
        }
        texts.join("\n")
    }
}
