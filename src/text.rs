//! Text from elsewhere, shown as it is: nothing that Wolkvox or an agent's name contains may format a message, ping
//! anybody or turn the writing direction.

/// Line breaks, as Discord's clients draw them.
const LINE_BREAKS: [char; 4] = ['\n', '\r', '\u{2028}', '\u{2029}'];

/// What of a line stands before a character.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Number,
    Text,
}

/// [Plain text](plain_text) with a backslash before everything that Discord would take for more, such as Markdown, a
/// mention or a link; at most `room` UTF-16 units, with "…" where it was cut.
pub fn escape(plain: &str, room: usize) -> String {
    let mut shown = String::with_capacity(plain.len().min(room));
    let mut used = 0;
    let mut before = Before::Nothing;
    for (at, char) in plain.char_indices() {
        let rest = &plain[at + char.len_utf8()..];
        let escaped = match char {
            '\\' | '*' | '_' | '~' | '`' | '|' | '<' | '[' | ']' | '@' => true,
            '#' | '>' | '-' | '+' => before == Before::Nothing,
            // "1. " would begin a list.
            '.' => before == Before::Number,
            // Inside a link a backslash would be a part of the address, so there must be none: "https\://".
            ':' => rest.starts_with(|next: char| !next.is_whitespace()),
            _ => false,
        };
        before = match char {
            '\n' => Before::Nothing,
            char if char.is_whitespace() && before == Before::Nothing => Before::Nothing,
            '0'..='9' if before != Before::Text => Before::Number,
            _ => Before::Text,
        };
        let cost = usize::from(escaped) + char.len_utf16();
        // One unit is kept for the sign that something was cut, unless this is all there is.
        if used + cost + usize::from(!rest.is_empty()) > room {
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

/// Without HTML, control characters and marks that turn the writing direction. Where nothing but HTML is left out and
/// nothing remains, it was none: the text stays.
pub fn plain_text(text: &str) -> String {
    if is_page(text) {
        return String::new();
    }
    let plain = without_controls(&without_tags(text));
    if plain.is_empty() { without_controls(text) } else { plain }
}

/// The same text without line breaks.
pub fn one_line(text: &str) -> String {
    text.replace(LINE_BREAKS, " ")
}

/// Whether a character turns the writing direction.
pub fn is_direction_mark(char: char) -> bool {
    matches!(char, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character is one that nobody sees, such as those that come along when text is copied.
pub fn is_invisible(char: char) -> bool {
    is_direction_mark(char) || matches!(char, '\u{AD}' | '\u{200B}'..='\u{200D}' | '\u{2060}'..='\u{2065}' | '\u{FEFF}')
}

fn without_controls(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for char in text.replace("\r\n", "\n").chars() {
        match char {
            char if LINE_BREAKS.contains(&char) => plain.push('\n'),
            char if is_direction_mark(char) => {}
            char if char.is_control() => plain.push(' '),
            char => plain.push(char),
        }
    }
    plain.trim().to_owned()
}

/// Whether the text is a whole HTML page, such as a proxy's error message.
fn is_page(text: &str) -> bool {
    let start = text.trim_start();
    let doctype = start.get(.."<!doctype".len()).is_some_and(|start| start.eq_ignore_ascii_case("<!doctype"));
    let page = |name: &str| ["html", "head", "body"].iter().any(|page| name.eq_ignore_ascii_case(page));
    doctype || tag_name(start).is_some_and(page)
}

fn without_tags(text: &str) -> String {
    let mut left = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('<') {
        let (before, tag) = rest.split_at(open);
        left.push_str(before);
        // Up to the next bracket of either kind and no further: whatever is searched is not searched again.
        let end = tag[1..].find(['<', '>']).map_or(tag.len(), |end| end + 1);
        let is_tag = tag[end..].starts_with('>') && (tag.starts_with("<!") || tag_name(tag).is_some());
        if is_tag {
            rest = &tag[end + 1..];
        } else {
            left.push_str(&tag[..end]);
            rest = &tag[end..];
        }
    }
    left.push_str(rest);
    left
}

/// The name of the HTML tag that begins here. Other words in angle brackets are none: "<support@example.com>".
fn tag_name(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('<')?;
    let inside = inside.strip_prefix('/').unwrap_or(inside);
    let (name, after) = inside.split_at(inside.find(|char: char| !char.is_ascii_alphanumeric())?);
    let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic());
    let ends = after.starts_with(|next: char| next.is_whitespace() || matches!(next, '/' | '>'));
    (is_name && ends).then_some(name)
}

/// The length of a text as Discord's clients count it: in UTF-16 units.
pub fn width(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Cuts a text down to `room` UTF-16 units, the sign for that included.
pub fn truncate(text: &mut String, room: usize) {
    if width(text) > room {
        let mut used = 0;
        let fits = |char: &char| {
            used += char.len_utf16();
            used < room
        };
        *text = text.chars().take_while(fits).chain(['…']).collect();
    }
}
