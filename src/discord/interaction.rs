//! What an interaction asks for. Only the fields that are needed are decoded, so that a field that Discord
//! adds, drops or changes elsewhere costs nobody a command.

use std::borrow::Cow;
use std::fmt;

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use serenity::model::id::{ApplicationId, GuildId, InteractionId, RoleId, UserId};

use super::command;
use crate::command::Callback;
use crate::language::Language;

/// The beginning of the id of the button "go on"; the guarded command's id follows.
const GO_ON: &str = "go-on:";

#[derive(Debug)]
pub(super) struct Interaction {
    pub(super) callback: Callback,
    pub(super) guild: Option<GuildId>,
    /// The invoker's roles; none in a direct message.
    pub(super) roles: Option<Vec<RoleId>>,
    pub(super) user_id: UserId,
    pub(super) user: String,
    /// The invoker's language.
    pub(super) language: Language,
    /// The language of the guild, for what everybody reads.
    pub(super) guild_language: Language,
    pub(super) request: Request,
}

/// What is asked for.
///
/// When adding a command, such as `/hold`, follow it from its name to its reply:
/// - `command.rs`: its name and its options; `mod.rs`: the list that is registered; `reply.rs`: its descriptions;
/// - [`Request`] and its decoding, below, where [`option`] knows one command;
/// - `mute.rs`: all its steps, of which the call alone is `/mute`'s own;
/// - [`crate::command::Command`] and the ledger's rule, which know an agent and no command, so that they would take one
///   for the other; the version of the file then grows;
/// - `wolkvox/mute.rs`: the call. Whatever toggles goes through a `Turn`, which can be used once;
/// - `reply.rs`: its outcomes, its question, and its line in the audit channel; `audit.rs`: the message;
/// - `app.rs`, `check.rs`, `rest.rs` and `main.rs`: they name `/mute` where they start, check and explain;
/// - `tests/`: the stand-ins, its behaviour, `replies.txt`, the sandbox; the table of replies in each README.
#[derive(Debug)]
pub(super) enum Request {
    /// `/mute agent_id`, with what was given for the agent.
    Mute(String),
    /// The button under the question that this command was answered with.
    GoOn(InteractionId),
    /// Suggestions for what was typed so far.
    Suggest(String),
}

/// Why an interaction can't be answered. Holds no text of it: its token must not get into the log.
#[derive(Debug)]
pub(super) enum NotOurs {
    Kind(u64),
    NoUser,
    Data,
}

impl fmt::Display for NotOurs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(kind) => write!(f, "this bot offers nothing of type {kind}"),
            Self::NoUser => f.write_str("it names no user"),
            Self::Data => f.write_str("this bot has no such command, button or option"),
        }
    }
}

/// The `d` of an `INTERACTION_CREATE`, as far as it is needed.
#[derive(Deserialize)]
pub struct Payload<'a> {
    id: InteractionId,
    application_id: ApplicationId,
    #[serde(rename = "type")]
    kind: u64,
    token: SecretString,
    guild_id: Option<GuildId>,
    member: Option<Member>,
    user: Option<User>,
    locale: Option<Language>,
    guild_locale: Option<Language>,
    #[serde(borrow)]
    data: Option<Data<'a>>,
}

#[derive(Deserialize)]
struct Member {
    user: User,
    roles: Vec<RoleId>,
}

#[derive(Deserialize)]
struct User {
    id: UserId,
    username: String,
}

/// A command's name and options, or a button's `custom_id`.
#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    options: Vec<CommandOption<'a>>,
    #[serde(borrow, default)]
    custom_id: Cow<'a, str>,
}

#[derive(Deserialize)]
struct CommandOption<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(default)]
    value: Value,
}

impl TryFrom<Payload<'_>> for Interaction {
    type Error = NotOurs;

    fn try_from(payload: Payload<'_>) -> Result<Self, NotOurs> {
        let data = payload.data.ok_or(NotOurs::Data)?;
        let request = match payload.kind {
            2 => Request::Mute(option(data)?),
            3 => Request::GoOn(question(&data)?),
            4 => Request::Suggest(option(data)?),
            kind => return Err(NotOurs::Kind(kind)),
        };
        let (user, roles) = match (payload.member, payload.user) {
            (Some(member), _) => (member.user, Some(member.roles)),
            (None, Some(user)) => (user, None),
            (None, None) => return Err(NotOurs::NoUser),
        };
        Ok(Self {
            callback: Callback { id: payload.id, application: payload.application_id, token: payload.token },
            guild: payload.guild_id,
            roles,
            user_id: user.id,
            user: user.username,
            language: payload.locale.unwrap_or_default(),
            guild_language: payload.guild_locale.unwrap_or_default(),
            request,
        })
    }
}

/// The `custom_id` of the button under the answer to `command`.
pub(super) fn go_on_id(command: InteractionId) -> String {
    format!("{GO_ON}{command}")
}

fn question(data: &Data<'_>) -> Result<InteractionId, NotOurs> {
    let command = data.custom_id.strip_prefix(GO_ON).and_then(|id| id.parse().ok());
    command.ok_or(NotOurs::Data)
}

/// The value of `agent_id` as text, since a client may send another type than the option's; empty where it is missing.
fn option(data: Data<'_>) -> Result<String, NotOurs> {
    if data.name != command::NAME {
        return Err(NotOurs::Data);
    }
    let option = data.options.into_iter().find(|option| option.name == command::AGENT_ID);
    Ok(match option.map(|option| option.value) {
        Some(Value::String(typed)) => typed,
        Some(Value::Number(typed)) => typed.to_string(),
        _ => String::new(),
    })
}
