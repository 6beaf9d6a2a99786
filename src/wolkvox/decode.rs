//! What an answer says. Only what is plainly a success counts as one, and only what is plainly a refusal as
//! the other; all else is left to the caller as unreadable.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::outcome::{Done, Outcome, Refusal, Rejected};

/// The three fields that all answers share. Neighbouring calls send `code` as a number, and PHP's habits are
/// assumed: `error` may be missing, `null` or `"null"`.
#[derive(Deserialize)]
pub(super) struct Fields {
    #[serde(default)]
    pub(super) code: Value,
    #[serde(default, deserialize_with = "present")]
    pub(super) error: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    pub(super) msg: Option<Value>,
}

/// A field that is there, `null` or not.
pub(super) fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(value).map(Some)
}

/// The JSON object that `body` holds, whatever its label says: from its first brace to the end, so that anything after
/// it makes it unreadable. `None` where something stands before it that is neither a byte-order mark nor PHP's.
///
/// Bytes that are no UTF-8 and halves of characters, which PHP leaves where it cuts a name, become U+FFFD.
pub(super) fn object(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let start = text.find('{')?;
    let (before, object) = text.split_at(start);
    let before = before.trim_start_matches('\u{FEFF}').trim();
    (before.is_empty() || is_php_message(before)).then(|| without_halves(object))
}

/// Whether it begins as PHP's warnings do, which stand before the answer where `display_errors` is on. After an error
/// that ended the script there is no answer.
fn is_php_message(text: &str) -> bool {
    let text = text.trim_start_matches("<br />").trim_start().trim_start_matches("<b>");
    ["Warning", "Notice", "Deprecated", "Strict Standards"].iter().any(|kind| text.starts_with(kind))
}

/// JSON in which no escape stands for half a character ("\ud83d" alone), since then nothing of it could be decoded.
fn without_halves(json: &str) -> String {
    const ESCAPE: usize = r"\uXXXX".len();
    let unit = |escape: &str| u16::from_str_radix(escape.strip_prefix(r"\u")?.get(..4)?, 16).ok();
    let mut whole = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        whole.push_str(before);
        let second = escape.get(ESCAPE..).and_then(unit);
        let (kept, skipped) = match unit(escape) {
            Some(0xD800..=0xDBFF) if matches!(second, Some(0xDC00..=0xDFFF)) => (&escape[..2 * ESCAPE], 2 * ESCAPE),
            Some(0xD800..=0xDFFF) => ("\u{FFFD}", ESCAPE),
            // With what it escapes, which may be a backslash.
            _ => {
                let len = 1 + escape[1..].chars().next().map_or(0, char::len_utf8);
                (&escape[..len], len)
            }
        };
        whole.push_str(kept);
        rest = &escape[skipped..];
    }
    whole.push_str(rest);
    whole
}

/// Decodes an answer; `None` where it does not say what happened.
pub(super) fn outcome(status: u16, body: &[u8]) -> Option<Outcome> {
    serde_json::from_str::<Fields>(&object(body)?).ok()?.outcome(status)
}

impl Fields {
    /// What the fields say together with the HTTP status; `None` where they don't say what happened.
    pub(super) fn outcome(self, status: u16) -> Option<Outcome> {
        let code = match self.code {
            Value::Null => None,
            Value::Number(code) => Some(u16::try_from(code.as_u64()?).ok()?),
            Value::String(code) => Some(code.trim().parse().ok()?),
            _ => return None,
        };
        // Neither field at all is not Wolkvox's answer.
        let said = self.error.is_some() || self.msg.is_some();
        let error = match self.error.unwrap_or_default() {
            Value::Null => None,
            Value::String(error) if matches!(error.trim(), "" | "null") => None,
            Value::String(error) => Some(error),
            _ => return None,
        };
        let msg = match self.msg.unwrap_or_default() {
            Value::Null => String::new(),
            Value::String(msg) => msg,
            _ => return None,
        };
        match (code, error) {
            (Some(code @ 200..=299), None) if is_success(status) && said => Some(Outcome::Done(Done { code, msg })),
            // Only a documented text says that a call was refused where its code says that it was a success.
            (Some(code @ 200..=299), Some(error)) if is_success(status) || is_refusal(status) => {
                let reason = documented(code, &msg)?;
                Some(rejected(code, Some(error), msg, reason))
            }
            (code, error) if code.is_some() || error.is_some() => {
                let code = code.unwrap_or(status);
                let refuses = is_refusal(code) && (is_success(status) || is_refusal(status));
                let reason =
                    documented(code, &msg).unwrap_or(if code == 403 { Refusal::Maintenance } else { Refusal::Other });
                refuses.then(|| rejected(code, error, msg, reason))
            }
            _ => None,
        }
    }
}

pub(super) fn is_success(status: u16) -> bool {
    (200..=299).contains(&status)
}

/// Whether a status says that nothing was done: a plain refusal by the server itself. Time-outs (408, 499), retries
/// that are wanted (425) and the server's own failures say nothing of what was done before.
fn is_refusal(status: u16) -> bool {
    matches!(status, 400..=407 | 410..=418 | 421 | 422 | 426 | 428 | 429 | 431 | 451)
}

/// The documented refusal that a text stands for ("API Response Codes"), in capitals or not, and whatever stands around
/// it, such as the number of requests that are allowed.
fn documented(code: u16, msg: &str) -> Option<Refusal> {
    let msg = msg.to_ascii_uppercase();
    let texts = [
        ("LIMIT OF SIMULTANEOUS REQUESTS", Refusal::TokenBusy),
        ("TOKEN LIMIT EXCEEDED", Refusal::DailyLimit),
        ("PLEASE VALIDATE TOKEN", Refusal::TokenWrong),
        ("PLEASE ENTER THE WOLKVOX-TOKEN", Refusal::TokenMissing),
    ];
    let (_, refusal) = texts.into_iter().find(|(text, _)| msg.contains(text))?;
    // The one refusal after which the call is made again: its code has to say so too.
    (refusal != Refusal::TokenBusy || code == 403).then_some(refusal)
}

fn rejected(code: u16, error: Option<String>, msg: String, reason: Refusal) -> Outcome {
    let msg = if msg.trim().is_empty() { error.unwrap_or_default() } else { msg };
    Outcome::Rejected(Rejected { code, msg, reason })
}
