//! Discord: the gateway that interactions come from, the REST API that answers go to, and what happens between.

mod absence;
pub mod audit_channel;
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
pub use error::RestError;
pub use gateway::Gateway;
pub use handler::Handler;
pub use interaction::Payload;
pub use payloads::{Application, Channel, GatewayInfo, Guild, Role, SessionStartLimit};
pub use reconnect::{GatewayError, Interruption};
pub use registration::{NotInGuild, Registration};
pub use response::Visibility;
pub use rest::Rest;

use crate::access::Allowlist;
use crate::directory::Directory;
use crate::ledger::Ledger;
use crate::limits::Limits;
use crate::net::{BaseUrl, Proxy};
use crate::wolkvox::Wolkvox;

/// Where Discord is and who the bot is there.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `https://discord.com`, or another address.
    pub api: BaseUrl,
    pub token: SecretString,
    /// What it is reached through.
    pub proxy: Option<Proxy>,
}

/// What a command is carried out with.
pub struct Context {
    pub rest: Arc<Rest>,
    pub wolkvox: Wolkvox,
    pub allowlist: Allowlist,
    pub ledger: Arc<Ledger>,
    /// The agents by name, where that is on.
    pub directory: Option<Arc<Directory>>,
    pub visibility: Visibility,
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
