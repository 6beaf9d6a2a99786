//! Text from elsewhere, shown as it is: nothing that Wolkvox or an agent's name contains may format a message, ping
//! anybody or turn the writing direction.

use std::borrow::Cow;

/// Text from elsewhere, made so that Discord shows it as it is: no Markdown, no mention, no HTML, nothing that
/// turns the writing direction, and at most `room` UTF-16 units, with "…" where it was cut.
pub(crate) fn escape_markdown(text: &str, room: usize) -> String {
    // Nearly all that Wolkvox says.
    if text.len() <= room && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b' ') {
        return text.trim().to_owned();
    }
    let text = plain_text(text);
    let mut shown = String::with_capacity(text.len());
    let mut used = 0;
    let mut line_start = true;
    for (at, char) in text.char_indices() {
        let escaped = match char {
            '\\' | '*' | '_' | '~' | '`' | '|' | '<' | '[' | ']' => true,
            '#' | '>' | '-' | '+' => line_start,
            // "1. " would begin a list.
            '.' => text[..at].rsplit('\n').next().is_some_and(is_number),
            _ => false,
        };
        line_start = char == '\n' || (line_start && char == ' ');
        let cost = usize::from(escaped) + char.len_utf16();
        // One unit is kept for the sign that something was cut, unless this is all there is.
        let last = at + char.len_utf8() == text.len();
        if used + cost + usize::from(!last) > room {
            shown.push('…');
            break;
        }
        if escaped {
            shown.push('\\');
        }
        shown.push(char);
        used += cost;
    }
    shown
}

fn is_number(text: &str) -> bool {
    let text = text.trim_start();
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Without HTML, control characters and marks that turn the writing direction.
pub(crate) fn plain_text(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for char in without_html(text).chars() {
        match char {
            '\n' => plain.push('\n'),
            '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\r' => {}
            char if char.is_control() => plain.push(' '),
            char => plain.push(char),
        }
    }
    plain.trim().to_owned()
}

/// Leaves out HTML tags, and the whole text where it is a page.
fn without_html(text: &str) -> Cow<'_, str> {
    if !text.contains('<') {
        return text.into();
    }
    let start = text.trim_start().to_ascii_lowercase();
    if ["<!doctype", "<html", "<head", "<body"].iter().any(|page| start.starts_with(page)) {
        return "".into();
    }
    let mut left = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('<') {
        let (before, tag) = rest.split_at(open);
        left.push_str(before);
        let named = tag[1..].trim_start_matches('/').starts_with(|c: char| c.is_ascii_alphabetic() || c == '!');
        match tag.find('>') {
            Some(close) if named => rest = &tag[close + 1..],
            _ => {
                left.push('<');
                rest = &tag[1..];
            }
        }
    }
    left.push_str(rest);
    left.into()
}

/// The length of a text as Discord's clients count it: in UTF-16 units.
pub(crate) fn width(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Cuts a text down to `chars` characters, the sign for that included.
pub(crate) fn truncate(text: &mut String, chars: usize) {
    if let Some((cut, _)) = text.char_indices().nth(chars) {
        let keep = text[..cut].char_indices().next_back().map_or(0, |(at, _)| at);
        text.truncate(keep);
        text.push('…');
    }
}
