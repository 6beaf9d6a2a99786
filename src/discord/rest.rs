//! Discord's REST API, version 10: one request, one answer. Repeating is for the callers to decide, because
//! what may be repeated differs. The bot makes so few requests that a rate limiter of its own would be idle;
//! a 429 comes back with the time to wait.

use std::time::Duration;

use reqwest::header::{
    AUTHORIZATION, CONNECTION, HeaderMap, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use reqwest::{Client, Method, RequestBuilder, StatusCode, Upgraded, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serenity::builder::{CreateCommand, CreateMessage};
use serenity::model::Permissions;
use serenity::model::channel::{ChannelType, PermissionOverwrite};
use serenity::model::id::{ApplicationId, ChannelId, GuildId, InteractionId, RoleId, UserId};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{Settings, command};
use crate::net::{self, Answer, BaseUrl, ClientError, HttpError, Tls};

/// The most that is read of an answer, in bytes. The largest is a server's, with all its roles and emojis.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// How long a connection to Discord is kept unused.
const KEEP_CONNECTION: Duration = Duration::from_secs(90);
/// How long any other request than a first answer may take.
const TIMEOUT: Duration = Duration::from_secs(15);
/// A longer pause than any answer may be late by.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The client.
pub struct Rest {
    client: Client,
    base: BaseUrl,
    authorization: HeaderValue,
}

/// What went wrong with a request.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    /// Discord answered with an error.
    #[error("Discord answered HTTP {status}{}", code.map(|code| format!(" with code {code}")).unwrap_or_default())]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Discord's own code, such as 40060.
        code: Option<u32>,
        /// How long to wait, with a 429.
        retry_after: Option<Duration>,
    },
    /// No answer; unless there was no connection, the request may have arrived.
    #[error("no answer from Discord: {0}")]
    NoAnswer(#[from] HttpError),
    /// An answer that can't be read.
    #[error("Discord's answer can't be read: {0}")]
    Unreadable(String),
}

impl RestError {
    /// How long Discord wants to be left alone before the same request may succeed: it is down, busy or not reached.
    /// `None` where trying again would change nothing.
    pub fn transient(&self) -> Option<Duration> {
        match self {
            Self::Refused { status: 429 | 500.., retry_after, .. } => Some(retry_after.unwrap_or_default()),
            Self::NoAnswer(HttpError::NoRequest(_)) | Self::Refused { .. } | Self::Unreadable(_) => None,
            Self::NoAnswer(_) => Some(Duration::ZERO),
        }
    }

    /// The HTTP status, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::NoAnswer(_) | Self::Unreadable(_) => None,
        }
    }

    /// Discord's own code, if there was one.
    pub fn code(&self) -> Option<u32> {
        match self {
            Self::Refused { code, .. } => *code,
            Self::NoAnswer(_) | Self::Unreadable(_) => None,
        }
    }
}

/// The application that the token belongs to.
#[derive(Clone, Debug, Deserialize)]
pub struct Application {
    /// Its id, which commands are registered under.
    pub id: ApplicationId,
    /// Its name, which is the bot's name too unless that was changed.
    pub name: String,
    bot: Option<BotUser>,
}

#[derive(Clone, Debug, Deserialize)]
struct BotUser {
    id: UserId,
}

impl Application {
    /// The link that adds the bot to a server.
    pub fn invite_link(&self) -> String {
        format!(
            "https://discord.com/oauth2/authorize?client_id={}&scope=bot+applications.commands&permissions=0",
            self.id
        )
    }

    /// The bot as a member of guilds. Where Discord does not tell, it is the application's own id, as for all bots
    /// but those from before 2016.
    pub fn bot(&self) -> UserId {
        self.bot.as_ref().map_or(UserId::new(self.id.get()), |bot| bot.id)
    }
}

/// A server (guild).
#[derive(Clone, Debug, Deserialize)]
pub struct Guild {
    /// Its name.
    pub name: String,
    /// Who may do everything in it.
    pub owner_id: UserId,
    /// Its roles.
    pub roles: Vec<Role>,
}

/// A role of a guild.
#[derive(Clone, Debug, Deserialize)]
pub struct Role {
    /// Its id.
    pub id: RoleId,
    /// Its name.
    pub name: String,
    /// What it allows, where no channel overwrites it.
    pub permissions: Permissions,
}

/// A channel.
#[derive(Clone, Debug, Deserialize)]
pub struct Channel {
    /// Its name; empty for a direct message.
    #[serde(default)]
    pub name: String,
    /// What it is for.
    #[serde(rename = "type")]
    pub kind: ChannelType,
    /// The guild that it is in; `None` for a direct message.
    pub guild_id: Option<GuildId>,
    /// The channel that a thread is in, or a channel's category.
    pub parent_id: Option<ChannelId>,
    /// What it changes in the permissions of the guild. A thread has its parent's.
    #[serde(default)]
    pub permission_overwrites: Vec<PermissionOverwrite>,
}

impl Rest {
    /// A client for one bot.
    ///
    /// A token with characters that no header may carry, which [`crate::config`] lets nobody set, is sent as an empty
    /// one: Discord refuses it.
    ///
    /// # Errors
    /// When the HTTP client can't be set up.
    pub fn new(settings: &Settings, tls: &Tls) -> Result<Self, ClientError> {
        let authorization = format!("Bot {}", settings.token.expose_secret());
        let mut authorization = HeaderValue::try_from(authorization).unwrap_or_else(|_| HeaderValue::from_static(""));
        authorization.set_sensitive(true);
        let client = net::http_client(&settings.api, tls, net::CONNECT_TIMEOUT, KEEP_CONNECTION)?;
        Ok(Self { client, base: settings.api.clone(), authorization })
    }

    /// Who the token belongs to (`GET /applications/@me`).
    ///
    /// # Errors
    /// 401 where the token is wrong.
    pub async fn application(&self) -> Result<Application, RestError> {
        self.get("/applications/@me").await
    }

    /// A guild with its roles.
    ///
    /// # Errors
    /// 403 or 404 where the bot is not in it.
    pub async fn guild(&self, guild: GuildId) -> Result<Guild, RestError> {
        self.get(&format!("/guilds/{guild}")).await
    }

    /// The gateway's address.
    ///
    /// # Errors
    /// When Discord does not tell it.
    pub async fn gateway(&self) -> Result<String, RestError> {
        #[derive(Deserialize)]
        struct Address {
            url: String,
        }

        self.get::<Address>("/gateway").await.map(|address| address.url)
    }

    /// Registers the guild's commands, all at once; repeating it changes nothing.
    ///
    /// # Errors
    /// 403 where the bot was not invited with the scope `applications.commands`.
    pub async fn register(
        &self,
        application: ApplicationId,
        guild: GuildId,
        commands: &[CreateCommand],
    ) -> Result<(), RestError> {
        let path = format!("/applications/{application}/guilds/{guild}/commands");
        execute(self.request(Method::PUT, &path).json(commands)).await.map(drop)
    }

    /// Whether the guild has our command already.
    ///
    /// # Errors
    /// When Discord does not tell.
    pub async fn is_registered(&self, application: ApplicationId, guild: GuildId) -> Result<bool, RestError> {
        #[derive(Deserialize)]
        struct Command {
            name: String,
        }

        let path = format!("/applications/{application}/guilds/{guild}/commands");
        let commands: Vec<Command> = self.get(&path).await?;
        Ok(commands.iter().any(|command| command.name == command::NAME))
    }

    /// A channel.
    ///
    /// # Errors
    /// 403 or 404 where the bot can't see it.
    pub async fn channel(&self, channel: ChannelId) -> Result<Channel, RestError> {
        self.get(&format!("/channels/{channel}")).await
    }

    /// Posts into a channel.
    ///
    /// # Errors
    /// When it was not posted, as far as is known.
    pub async fn post_message(&self, channel: ChannelId, message: &CreateMessage) -> Result<(), RestError> {
        execute(self.request(Method::POST, &format!("/channels/{channel}/messages")).json(message)).await.map(drop)
    }

    /// The first answer to an interaction. A second one is refused with the code 40060, a late one with 10062.
    ///
    /// # Errors
    /// When Discord refused it, or did not answer within `timeout`.
    pub async fn respond(
        &self,
        interaction: InteractionId,
        token: &SecretString,
        response: &impl Serialize,
        timeout: Duration,
    ) -> Result<(), RestError> {
        let path = format!("/interactions/{interaction}/{}/callback", token.expose_secret());
        execute(self.request(Method::POST, &path).json(response).timeout(timeout)).await.map(drop)
    }

    /// Edits the first answer to an interaction.
    ///
    /// # Errors
    /// When Discord refused it, or did not answer in time.
    pub async fn edit_original(
        &self,
        application: ApplicationId,
        token: &SecretString,
        message: &impl Serialize,
    ) -> Result<(), RestError> {
        let path = format!("/webhooks/{application}/{}/messages/@original", token.expose_secret());
        execute(self.request(Method::PATCH, &path).json(message)).await.map(drop)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, RestError> {
        let body = execute(self.request(Method::GET, path)).await?.body?;
        // serde_json's message may quote the body; where it went wrong is enough.
        serde_json::from_slice(&body)
            .map_err(|error| RestError::Unreadable(format!("{:?} at column {}", error.classify(), error.column())))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = self.base.join(&format!("api/v10{path}"));
        self.client.request(method, url).header(AUTHORIZATION, self.authorization.clone()).timeout(TIMEOUT)
    }

    /// A connection to the gateway at `url`, once the websocket handshake is through: made like every other, so that
    /// the same rules hold for it.
    ///
    /// # Errors
    /// When there is no connection, or the other side does not switch to the websocket protocol.
    pub async fn open_websocket(&self, url: Url) -> Result<Upgraded, RestError> {
        let key = generate_key();
        let request = self.client.get(url).timeout(TIMEOUT);
        let request = request.header(CONNECTION, "Upgrade").header(UPGRADE, "websocket");
        let request = request.header(SEC_WEBSOCKET_VERSION, "13").header(SEC_WEBSOCKET_KEY, &key);
        let response = request.send().await.map_err(HttpError::from)?;
        let accepted = response.headers().get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
        if response.status() != StatusCode::SWITCHING_PROTOCOLS
            || accepted != Some(derive_accept_key(key.as_bytes()).as_bytes())
        {
            return Err(refused(response.status(), response.headers(), &[]));
        }
        Ok(response.upgrade().await.map_err(HttpError::from)?)
    }

    /// The roles of a member of a guild, without that of everyone.
    ///
    /// # Errors
    /// 403 or 404 where the bot is not in the guild, or there is no such member.
    pub async fn member_roles(&self, guild: GuildId, member: UserId) -> Result<Vec<RoleId>, RestError> {
        #[derive(Deserialize)]
        struct Member {
            roles: Vec<RoleId>,
        }

        self.get::<Member>(&format!("/guilds/{guild}/members/{member}")).await.map(|member| member.roles)
    }
}

async fn execute(request: RequestBuilder) -> Result<Answer, RestError> {
    let answer = net::send(request, MAX_ANSWER_BYTES).await?;
    if answer.status.is_success() {
        return Ok(answer);
    }
    Err(refused(answer.status, &answer.headers, &answer.body.unwrap_or_default()))
}

fn refused(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> RestError {
    #[derive(Default, Deserialize)]
    struct Body {
        code: Option<u32>,
        retry_after: Option<f64>,
    }

    let header = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<f64>().ok());
    let body: Body = serde_json::from_slice(body).unwrap_or_default();
    let retry_after = body.retry_after.or(header).and_then(|secs| Duration::try_from_secs_f64(secs).ok());
    let retry_after = retry_after.map(|pause| pause.min(LONGEST_RETRY_AFTER));
    RestError::Refused { status: status.as_u16(), code: body.code, retry_after }
}
