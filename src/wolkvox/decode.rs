//! What an answer says. Only what is plainly a success counts as one, and only what is plainly a refusal as
//! the other; all else is left to the caller as unreadable.

use serde::Deserialize;
use serde_json::Value;

use crate::outcome::{Done, Outcome, Refusal, Rejected};

/// The three fields that all answers share. Neighbouring calls send `code` as a number, and PHP's habits are
/// assumed: `error` may be missing, `null` or `"null"`.
#[derive(Deserialize)]
pub(super) struct Fields {
    #[serde(default)]
    pub(super) code: Value,
    #[serde(default)]
    pub(super) error: Value,
    #[serde(default)]
    pub(super) msg: Value,
}

/// `body` as JSON, whatever its label says, without the byte-order mark that PHP files like to begin with.
pub(super) fn without_bom(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body).trim_ascii_start()
}

/// Decodes an answer; `None` where it does not say what happened.
pub(super) fn outcome(status: u16, body: &[u8]) -> Option<Outcome> {
    let body = without_bom(body);
    if !body.starts_with(b"{") {
        return None;
    }
    serde_json::from_slice::<Fields>(body).ok()?.outcome(status)
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
        let error = match self.error {
            Value::Null => None,
            Value::String(error) if matches!(error.trim(), "" | "null") => None,
            Value::String(error) => Some(error),
            _ => return None,
        };
        let msg = match self.msg {
            Value::Null => String::new(),
            Value::String(msg) => msg,
            _ => return None,
        };
        match (status, code, error) {
            (200..=299, Some(code @ 200..=299), None) => Some(Outcome::Done(Done { code, msg })),
            // The server's own failure says nothing of what it had done before.
            (500.., _, _) | (_, Some(500..), _) => None,
            (_, Some(code @ 400..=499), error) => Some(rejected(code, error, msg)),
            (400..=499, None, Some(error)) => Some(rejected(status, Some(error), msg)),
            (_, Some(code @ 200..=299), Some(error)) => Some(rejected(code, Some(error), msg)),
            _ => None,
        }
    }
}

fn rejected(code: u16, error: Option<String>, msg: String) -> Outcome {
    let said = msg.to_ascii_uppercase();
    let reason = if code == 403 && said.contains("LIMIT OF SIMULTANEOUS REQUESTS") {
        Refusal::TokenBusy
    } else if said.contains("TOKEN LIMIT EXCEEDED") {
        Refusal::DailyLimit
    } else if said.contains("PLEASE VALIDATE TOKEN") {
        Refusal::TokenWrong
    } else if said.contains("PLEASE ENTER THE WOLKVOX-TOKEN") {
        Refusal::TokenMissing
    } else if code == 403 {
        Refusal::Maintenance
    } else {
        Refusal::Other
    };
    let msg = if msg.trim().is_empty() { error.unwrap_or_default() } else { msg };
    Outcome::Rejected(Rejected { code, msg, reason })
}
