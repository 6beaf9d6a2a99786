//! What Discord's REST API tells, as far as it is needed.

use serde::Deserialize;
use serenity::model::Permissions;
use serenity::model::channel::{ChannelType, PermissionOverwrite};
use serenity::model::id::{ApplicationId, ChannelId, CommandId, GuildId, MessageId, RoleId, UserId};

use crate::language::Language;

#[derive(Clone, Copy, Debug, Deserialize)]
pub struct SessionStartLimit {
    /// How many IDENTIFYs are left; past them Discord resets the bot's token.
    pub remaining: u32,
    /// Milliseconds until all are there again.
    pub reset_after: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct GatewayInfo {
    /// `wss://…`
    pub url: String,
    pub session_start_limit: SessionStartLimit,
}

/// The application that the token belongs to.
#[derive(Clone, Debug, Deserialize)]
pub struct Application {
    pub id: ApplicationId,
    /// The bot's name too, unless that was changed.
    pub name: String,
    /// Whether anybody may invite the bot.
    #[serde(default)]
    pub bot_public: bool,
    bot: Option<BotUser>,
    #[serde(default)]
    interactions_endpoint_url: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct BotUser {
    id: UserId,
}

impl Application {
    /// Whether its commands go to an address that was set for them: then none comes in through the gateway.
    pub fn sends_commands_elsewhere(&self) -> bool {
        self.interactions_endpoint_url.as_ref().is_some_and(|address| !address.is_empty())
    }

    /// The link that adds the bot to a server.
    pub fn invite_link(&self) -> String {
        format!(
            "https://discord.com/oauth2/authorize?client_id={}&scope=bot+applications.commands&permissions=0",
            self.id
        )
    }

    /// The command that deletes a global command, for a shell in which `DISCORD_TOKEN` is set.
    pub fn deletion_of(&self, command: CommandId) -> String {
        format!(
            "curl -X DELETE -H \"Authorization: Bot $DISCORD_TOKEN\" \
             https://discord.com/api/v10/applications/{}/commands/{command}",
            self.id
        )
    }

    /// The bot as a member of guilds. Where Discord does not tell, it is the application's own id, as for all bots
    /// but those from before 2016.
    pub fn bot(&self) -> UserId {
        self.bot.as_ref().map_or(UserId::new(self.id.get()), |bot| bot.id)
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct Guild {
    pub name: String,
    /// May do everything in it.
    pub owner_id: UserId,
    pub roles: Vec<Role>,
    /// The language of what everybody reads there.
    #[serde(default)]
    pub preferred_locale: Language,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Role {
    pub id: RoleId,
    pub name: String,
    /// What it allows, where no channel overwrites it.
    pub permissions: Permissions,
    /// Whether it belongs to a bot or to another service, so that nobody can give it to a member.
    #[serde(default)]
    pub managed: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Channel {
    /// Empty for a direct message.
    #[serde(default)]
    pub name: String,
    #[serde(rename = "type")]
    pub kind: ChannelType,
    /// `None` for a direct message.
    pub guild_id: Option<GuildId>,
    /// The channel that a thread is in, or a channel's category.
    pub parent_id: Option<ChannelId>,
    /// What it changes in the permissions of the guild. A thread has its parent's.
    #[serde(default)]
    pub permission_overwrites: Vec<PermissionOverwrite>,
}

/// A registered command.
#[derive(Deserialize)]
pub(super) struct Command {
    pub(super) id: CommandId,
    pub(super) name: String,
}

/// A message, as Discord shows it.
#[derive(Deserialize)]
pub(super) struct Message {
    #[serde(rename = "id")]
    _id: MessageId,
    #[serde(default)]
    pub(super) flags: u64,
    #[serde(default)]
    pub(super) content: String,
}
