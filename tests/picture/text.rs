//! The bot's messages as Discord shows them: its Markdown, and lines that fit.

/// A stretch of text that looks the same throughout.
pub(super) struct Run {
    pub(super) look: Look,
    pub(super) text: String,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Look {
    Plain,
    Bold,
    Mention,
    Time,
}

impl Run {
    pub(super) fn width(&self, size: f64) -> f64 {
        width(&self.text, size, self.look == Look::Bold)
    }
}

/// Reads a line of Markdown, as far as the bot uses it here. `<t:…:R>` becomes `relative_time`.
pub(super) fn runs(mut rest: &str, name: impl Fn(u64) -> &'static str, relative_time: &str) -> Vec<Run> {
    let (mut runs, mut look) = (Vec::new(), Look::Plain);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("**") {
            look = if look == Look::Bold { Look::Plain } else { Look::Bold };
            rest = after;
        } else if let Some((id, after)) = rest.strip_prefix("<@").and_then(|rest| rest.split_once('>')) {
            append(&mut runs, Look::Mention, &format!("@{}", name(id.parse().unwrap())));
            rest = after;
        } else if let Some((_, after)) = rest.strip_prefix("<t:").and_then(|rest| rest.split_once(":R>")) {
            append(&mut runs, Look::Time, relative_time);
            rest = after;
        } else {
            // A backslash says that the next character is no Markdown.
            rest = rest.strip_prefix('\\').unwrap_or(rest);
            let end = rest.chars().next().unwrap().len_utf8();
            append(&mut runs, look, &rest[..end]);
            rest = &rest[end..];
        }
    }
    runs
}

fn append(runs: &mut Vec<Run>, look: Look, text: &str) {
    match runs.last_mut() {
        Some(last) if last.look == look => last.text.push_str(text),
        _ => runs.push(Run { look, text: text.to_owned() }),
    }
}

/// Lines no wider than `room`. They break after a space; a mention and a time stay whole.
pub(super) fn lines(runs: Vec<Run>, size: f64, room: f64) -> Vec<Vec<Run>> {
    let mut words = vec![Vec::new()];
    for Run { look, text } in runs {
        let whole = matches!(look, Look::Mention | Look::Time);
        for piece in text.split_inclusive(|character| character == ' ' && !whole) {
            words.last_mut().unwrap().push(Run { look, text: piece.to_owned() });
            if piece.ends_with(' ') {
                words.push(Vec::new());
            }
        }
    }
    let (mut lines, mut taken) = (vec![Vec::new()], 0.0);
    for word in words {
        let width: f64 = word.iter().map(|run| run.width(size)).sum();
        if taken + width > room {
            lines.push(Vec::new());
            taken = 0.0;
        }
        taken += width;
        word.iter().for_each(|run| append(lines.last_mut().unwrap(), run.look, &run.text));
    }
    lines
}

/// About how wide a text is: Helvetica's widths, which Arial and Liberation Sans have too, in thousandths of the size.
pub(super) fn width(text: &str, size: f64, bold: bool) -> f64 {
    let thousandths = |character: char| match character {
        'i' | 'j' | 'l' | 'í' | '\'' => 222,
        ' ' | '!' | ',' | '.' | '/' | ':' | ';' | 'f' | 't' | 'I' | '·' => 278,
        'r' | '-' | '(' | ')' => 333,
        'c' | 'k' | 's' | 'v' | 'x' | 'y' | 'z' | 'J' => 500,
        'w' | 'C' | 'D' | 'H' | 'N' | 'R' | 'U' => 722,
        'G' | 'O' | 'Q' => 778,
        'm' | 'M' => 833,
        'W' | '@' => 1000,
        capital if capital.is_uppercase() => 667,
        _ => 556,
    };
    let bolder = |character: char| character.is_lowercase() && !matches!(character, 'a' | 'e');
    let in_bold = |character| if bold && bolder(character) { 56 } else { 0 };
    let width: u32 = text.chars().map(|character| thousandths(character) + in_bold(character)).sum();
    f64::from(width) / 1000.0 * size
}
