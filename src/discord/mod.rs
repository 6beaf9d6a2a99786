//! Discord: the gateway that interactions come from, the REST API that answers go to, and what happens between.

pub mod audit_channel;
mod command;
mod gateway;
mod handler;
mod interaction;
mod mute;
pub mod permissions;
mod response;
mod rest;

use std::sync::Arc;

use secrecy::SecretString;
use serenity::builder::CreateCommand;
use tokio_util::sync::CancellationToken;

pub use gateway::{Gateway, GatewayError};
pub use handler::Handler;
pub use interaction::Payload;
pub use response::Visibility;
pub use rest::{
    Application, Channel, GatewayInfo, Guild, Outage, Rest, RestError, Role, SessionStartLimit, leave_alone,
};

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
    /// The bot's token.
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
