//! Discord: the gateway that interactions come from, the REST API that answers go to, and what happens between.

mod answer;
mod command;
mod gateway;
mod handler;
mod interaction;
mod rest;

use secrecy::SecretString;

pub use gateway::{Gateway, GatewayError};
pub use handler::Handler;
pub use interaction::Payload;
pub use rest::{Application, Guild, Rest, RestError, Role};

use serenity::builder::CreateCommand;

use crate::net::BaseUrl;

/// Where Discord is and who the bot is there.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `https://discord.com`, or another address.
    pub api: BaseUrl,
    /// The bot's token.
    pub token: SecretString,
}

/// The commands that the bot registers; with `suggestions`, agents can be searched by name.
pub fn commands(suggestions: bool) -> [CreateCommand; 1] {
    [command::mute(suggestions)]
}
