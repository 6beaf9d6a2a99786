//! What Discord does not take.

use serde_json::{Value, json};

use super::payloads::{EPHEMERAL, SUPPRESS_EMBEDS};

fn length(value: &Value) -> usize {
    value.as_str().map_or(0, |text| text.encode_utf16().count())
}

/// What is wrong with a message that may have these flags.
pub(super) fn message_fault(message: &Value, allowed: u64) -> Option<String> {
    let flags = &message["flags"];
    if !flags.is_null() && flags.as_u64().is_none_or(|flags| flags & !allowed != 0) {
        return Some(format!("a message with flags {flags}"));
    }
    let size = length(&message["content"]);
    if !(1..=2000).contains(&size) {
        return Some(format!("a message of {size} characters"));
    }
    if message["allowed_mentions"]["parse"] != json!([]) {
        return Some("a message that may ping".to_owned());
    }
    for row in message["components"].as_array().into_iter().flatten() {
        for button in row["components"].as_array().into_iter().flatten() {
            let fits = (1..=100).contains(&length(&button["custom_id"]))
                && (1..=80).contains(&length(&button["label"]))
                && matches!(button["style"].as_u64(), Some(1..=4));
            if row["type"] != 1 || button["type"] != 2 || !fits {
                return Some(format!("the button {button}"));
            }
        }
    }
    None
}

pub(super) fn first_answer_fault(kind: u64, body: &Value) -> Option<String> {
    let data = &body["data"];
    match (kind, body["type"].as_u64()) {
        (4, Some(8)) => {
            let choices = data["choices"].as_array()?;
            let fits = |choice: &Value| {
                [&choice["name"], &choice["value"]].iter().all(|text| (1..=100).contains(&length(text)))
            };
            (choices.len() > 25 || !choices.iter().all(fits)).then(|| format!("the choices {choices:?}"))
        }
        (2 | 3, Some(4)) => message_fault(data, EPHEMERAL | SUPPRESS_EMBEDS).or_else(|| {
            let flags = data["flags"].as_u64().unwrap_or_default();
            (flags & EPHEMERAL == 0).then(|| format!("a message with flags {flags}"))
        }),
        (2 | 3, Some(5)) => {
            let flags = data["flags"].as_u64().unwrap_or_default();
            (!matches!(flags, 0 | 64) || !data["content"].is_null()).then(|| format!("a deferred answer with {data}"))
        }
        (kind, answer) => Some(format!("an answer of type {answer:?} to an interaction of type {kind}")),
    }
}

pub(super) fn command_fault(command: &Value) -> Option<String> {
    const LOCALES: [&str; 31] = [
        "id", "da", "de", "en-GB", "en-US", "es-ES", "es-419", "fr", "hr", "it", "lt", "hu", "nl", "no", "pl", "pt-BR",
        "ro", "fi", "sv-SE", "vi", "tr", "cs", "el", "bg", "ru", "uk", "hi", "th", "zh-CN", "ja", "zh-TW",
    ];
    let described = |thing: &Value| {
        let name = thing["name"].as_str().unwrap_or_default();
        let named = (1..=32).contains(&name.len())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'));
        let translations = thing["description_localizations"].as_object();
        let translated = translations.is_none_or(|texts| {
            texts.iter().all(|(locale, text)| {
                LOCALES.contains(&locale.as_str()) && (1..=100).contains(&text.as_str().unwrap_or("").chars().count())
            })
        });
        let size = thing["description"].as_str().unwrap_or_default().chars().count();
        named && (1..=100).contains(&size) && translated
    };
    if !described(command) || !matches!(command["type"].as_u64(), None | Some(1)) {
        return Some(format!("the command {command}"));
    }
    for option in command["options"].as_array().into_iter().flatten() {
        let bounds = option["min_value"].as_i64().zip(option["max_value"].as_i64());
        let fits = match option["type"].as_u64() {
            Some(3) => bounds.is_none(),
            // Suggestions for an INTEGER can't be chosen on Android.
            Some(4) => option["autocomplete"] != true && bounds.is_some_and(|(min, max)| min <= max && max < 1 << 53),
            _ => false,
        };
        if !described(option) || !fits {
            return Some(format!("the option {option}"));
        }
    }
    None
}
