//! Discord: the gateway that interactions come from, the REST API that answers go to, and what happens between.

mod absence;
mod audit_channel;
mod command;
mod error;
mod gateway;
mod handler;
mod interaction;
mod mute;
mod payloads;
pub mod permissions;
mod reconnect;
mod registration;
mod response;
mod rest;

use std::sync::Arc;

use secrecy::SecretString;
use serenity::builder::CreateCommand;
use tokio_util::sync::CancellationToken;

pub use absence::{Absence, span};
pub use audit_channel::AuditChannel;
pub use error::RestError;
pub use gateway::Gateway;
pub use handler::{Handler, take_over};
pub use interaction::Payload;
pub use payloads::{Application, Channel, GatewayInfo, Guild, Role, SessionStartLimit};
pub use reconnect::{GatewayError, Interruption};
pub use registration::{NotInGuild, Registration};
pub use response::Visibility;
pub use rest::Rest;

use crate::access::Allowlist;
use crate::backlog::Backlog;
use crate::directory::Directory;
use crate::guard::RecentToggles;
use crate::limits::Limits;
use crate::net::{BaseUrl, Proxy};
use crate::record::Record;
use crate::wolkvox::Wolkvox;

/// Where Discord is and who the bot is there.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `https://discord.com`, or another address.
    pub api: BaseUrl,
    /// The bot's token.
    pub token: SecretString,
    /// What it is reached through.
    pub proxy: Option<Proxy>,
}

/// What a command is carried out with.
pub struct Context {
    /// Discord's REST API.
    pub rest: Arc<Rest>,
    /// Wolkvox's API.
    pub wolkvox: Wolkvox,
    /// Who may use the command.
    pub allowlist: Allowlist,
    /// Who toggled what lately.
    pub recent_toggles: Arc<RecentToggles>,
    /// The agents by name, where that is on.
    pub directory: Option<Arc<Directory>>,
    /// Who sees the replies.
    pub visibility: Visibility,
    /// What outlives the process.
    pub record: Record,
    /// Where the log waits to be written, if it does.
    pub log: Option<Backlog>,
    /// Where toggles are posted too.
    pub audit_channel: Option<AuditChannel>,
    /// How long things may take.
    pub limits: Limits,
    /// Cancelled when the bot stops: nothing more is begun.
    pub stop: CancellationToken,
    /// Cancelled when the time for last words is over.
    pub end: CancellationToken,
}

/// The commands that the bot registers; with `suggestions`, agents can be searched by name.
pub fn commands(suggestions: bool) -> [CreateCommand; 1] {
    [command::mute(suggestions)]
}
