//! Discord's REST API, version 10: one request, one answer. Repeating is for the callers to decide, because
//! what may be repeated differs. The bot makes so few requests that a rate limiter of its own would be idle;
//! a 429 comes back with the time to wait.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{
    AUTHORIZATION, CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use reqwest::{Client, Method, RequestBuilder, StatusCode, Upgraded, Url};
use secrecy::ExposeSecret as _;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serenity::builder::{CreateCommand, CreateMessage};
use serenity::model::id::{ApplicationId, ChannelId, CommandId, GuildId, RoleId, UserId};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::error::RestError;
use super::payloads::{Application, Channel, Command, GatewayInfo, Guild, Message};
use super::{Settings, command};
use crate::command::Callback;
use crate::net::{self, Answer, BaseUrl, ClientError, HttpError, Proxy, Tls};

/// The most that is read of an answer, in bytes. The largest is a server's, with all its roles and emojis.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// How long a connection to Discord is kept unused: long enough for a command's answer and its edit. An older one may
/// be dead by the time that the next command needs it.
const KEEP_CONNECTION: Duration = Duration::from_secs(15);
/// How long making a connection for an interaction may take. Of the 3 s for a first answer that leaves two more tries.
const INTERACTION_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long any request may take but the first answer, whose time its caller knows.
const TIMEOUT: Duration = Duration::from_secs(10);

pub struct Rest {
    clients: Mutex<Clients>,
    base: BaseUrl,
    proxy: Option<Proxy>,
    tls: Tls,
    authorization: HeaderValue,
}

/// Two, since making a connection may take longer where nobody waits for the first answer.
#[derive(Clone)]
struct Clients {
    for_interactions: Client,
    for_the_rest: Client,
    made: Instant,
}

impl Clients {
    fn new(base: &BaseUrl, proxy: Option<&Proxy>, tls: &Tls) -> Result<Self, ClientError> {
        let client = |connect| net::http_client(base, proxy, tls, connect, KEEP_CONNECTION);
        let (for_interactions, for_the_rest) = (client(INTERACTION_CONNECT_TIMEOUT)?, client(net::CONNECT_TIMEOUT)?);
        Ok(Self { for_interactions, for_the_rest, made: Instant::now() })
    }
}

/// What stands in the place of an interaction's first answer.
pub(super) enum Original {
    /// "thinking…"
    Thinking,
    /// An answer, with this content.
    Answered(String),
    /// Nothing: Discord never accepted a first answer, or somebody deleted it.
    Absent,
}

impl Rest {
    pub fn new(settings: &Settings, tls: &Tls) -> Result<Self, ClientError> {
        // A token that no header may carry, which no configuration has, is refused by Discord as an empty one.
        let authorization = format!("Bot {}", settings.token.expose_secret());
        let mut authorization = HeaderValue::try_from(authorization).unwrap_or_else(|_| HeaderValue::from_static(""));
        authorization.set_sensitive(true);
        let (base, proxy) = (settings.api.clone(), settings.proxy.clone());
        let clients = Mutex::new(Clients::new(&base, proxy.as_ref(), tls)?);
        Ok(Self { clients, base, proxy, tls: tls.clone(), authorization })
    }

    /// Lets no further request use a connection that was made before `moment`: a try that began then got no answer.
    fn renew_connections(&self, moment: Instant) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.made > moment {
            return;
        }
        match Clients::new(&self.base, self.proxy.as_ref(), &self.tls) {
            Ok(renewed) => *clients = renewed,
            Err(error) => tracing::warn!("the old connections to Discord are kept: {}", net::error_chain(&error)),
        }
    }

    /// The application that the token belongs to.
    pub async fn application(&self) -> Result<Application, RestError> {
        self.get("/applications/@me").await
    }

    pub async fn guild(&self, guild: GuildId) -> Result<Guild, RestError> {
        self.get(&format!("/guilds/{guild}")).await
    }

    /// The roles of a member of a guild, without that of everyone.
    pub async fn member_roles(&self, guild: GuildId, member: UserId) -> Result<Vec<RoleId>, RestError> {
        #[derive(Deserialize)]
        struct Member {
            roles: Vec<RoleId>,
        }

        self.get::<Member>(&format!("/guilds/{guild}/members/{member}")).await.map(|member| member.roles)
    }

    pub async fn channel(&self, channel: ChannelId) -> Result<Channel, RestError> {
        self.get(&format!("/channels/{channel}")).await
    }

    /// The gateway's address, and how many sessions may still be begun.
    pub async fn gateway(&self) -> Result<GatewayInfo, RestError> {
        self.get("/gateway/bot").await
    }

    /// Registers the guild's commands, all at once; repeating it changes nothing.
    pub async fn register(
        &self,
        application: ApplicationId,
        guild: GuildId,
        commands: &[CreateCommand],
    ) -> Result<(), RestError> {
        let path = format!("/applications/{application}/guilds/{guild}/commands");
        self.execute(self.request(Method::PUT, &path).json(commands)).await.and_then(decode::<IgnoredAny>).map(drop)
    }

    /// Whether the guild has our command already.
    pub async fn is_registered(&self, application: ApplicationId, guild: GuildId) -> Result<bool, RestError> {
        let path = format!("/applications/{application}/guilds/{guild}/commands");
        self.find_command(&path).await.map(|found| found.is_some())
    }

    /// A command with our name that the application has in all guilds. People see it beside the guild's own.
    pub async fn global_command(&self, application: ApplicationId) -> Result<Option<CommandId>, RestError> {
        self.find_command(&format!("/applications/{application}/commands")).await
    }

    async fn find_command(&self, path: &str) -> Result<Option<CommandId>, RestError> {
        let commands: Vec<Command> = self.get(path).await?;
        Ok(commands.iter().find(|known| known.name == command::NAME).map(|known| known.id))
    }

    pub async fn post_message(&self, channel: ChannelId, message: &CreateMessage) -> Result<(), RestError> {
        let request = self.request(Method::POST, &format!("/channels/{channel}/messages")).json(message);
        self.execute(request).await.and_then(decode::<Message>).map(drop)
    }

    /// The first answer to an interaction. A late one is refused with the code 10062, a second one with 40060, or at times
    /// with 10062 too.
    pub(super) async fn respond(
        &self,
        callback: &Callback,
        response: &impl Serialize,
        timeout: Duration,
    ) -> Result<(), RestError> {
        let path = format!("/interactions/{}/{}/callback", callback.id, callback.token.expose_secret());
        let request = self.interaction_request(Method::POST, &path).json(response).timeout(timeout);
        let answer = self.execute(request).await.map_err(RestError::wordless)?;
        // Discord has nothing to say to it; a proxy on the way might say anything.
        if answer.status == StatusCode::NO_CONTENT {
            Ok(())
        } else {
            Err(RestError::NotDiscord(answer.status.as_u16()))
        }
    }

    /// Edits the first answer to an interaction.
    pub(super) async fn edit_original(&self, callback: &Callback, message: &impl Serialize) -> Result<(), RestError> {
        let request = self.interaction_request(Method::PATCH, &original(callback)).json(message);
        self.interaction_message(request).await.map(drop)
    }

    /// Looks at the first answer to an interaction.
    pub(super) async fn original(&self, callback: &Callback) -> Result<Original, RestError> {
        const LOADING: u64 = 128;

        match self.interaction_message(self.interaction_request(Method::GET, &original(callback))).await {
            Ok(message) if message.flags & LOADING != 0 => Ok(Original::Thinking),
            Ok(message) => Ok(Original::Answered(message.content)),
            Err(error) if error.status() == Some(404) => Ok(Original::Absent),
            Err(error) => Err(error),
        }
    }

    /// Posts another message for an interaction, below its first answer.
    pub(super) async fn follow_up(&self, callback: &Callback, message: &impl Serialize) -> Result<(), RestError> {
        let path = format!("/webhooks/{}/{}", callback.application, callback.token.expose_secret());
        self.interaction_message(self.interaction_request(Method::POST, &path).json(message)).await.map(drop)
    }

    async fn interaction_message(&self, request: RequestBuilder) -> Result<Message, RestError> {
        self.execute(request).await.and_then(decode).map_err(RestError::wordless)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, RestError> {
        self.execute(self.request(Method::GET, path)).await.and_then(decode)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.clients().for_the_rest.request(method, self.url(path)).timeout(TIMEOUT);
        request.header(AUTHORIZATION, self.authorization.clone())
    }

    /// For an interaction, whose own token in the path is enough: so a bot's token that was reset meanwhile keeps nobody
    /// from being told, and 401 means the interaction's.
    fn interaction_request(&self, method: Method, path: &str) -> RequestBuilder {
        self.clients().for_interactions.request(method, self.url(path)).timeout(TIMEOUT)
    }

    fn url(&self, path: &str) -> Url {
        self.base.join(&format!("api/v10{path}"))
    }

    fn clients(&self) -> Clients {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn execute(&self, request: RequestBuilder) -> Result<Answer, RestError> {
        let began = Instant::now();
        match net::send(request, MAX_ANSWER_BYTES).await {
            Ok(answer) if answer.status.is_success() => Ok(answer),
            // One that breaks off says no more than its status, which something on the way may have given.
            Ok(answer) => Err(RestError::refused(answer.status, &answer.headers, &answer.body.unwrap_or_default())),
            Err(error) => {
                if let HttpError::TimedOut | HttpError::Lost(_) = error {
                    self.renew_connections(began);
                }
                Err(RestError::NoAnswer(error))
            }
        }
    }

    /// A connection to the gateway at `url`, once the websocket handshake is through: made like every other, so that
    /// the same rules hold for it.
    ///
    /// # Errors
    /// When there is no connection, or the other side does not switch to the websocket protocol.
    pub async fn open_websocket(&self, url: Url) -> Result<Upgraded, RestError> {
        let key = generate_key();
        let request = self.clients().for_the_rest.get(url).timeout(TIMEOUT);
        let request = request.header(CONNECTION, "Upgrade").header(UPGRADE, "websocket");
        let request = request.header(SEC_WEBSOCKET_VERSION, "13").header(SEC_WEBSOCKET_KEY, &key);
        let response = request.send().await.map_err(HttpError::from)?;
        let accepted = response.headers().get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
        if response.status() != StatusCode::SWITCHING_PROTOCOLS
            || accepted != Some(derive_accept_key(key.as_bytes()).as_bytes())
        {
            // Discord's gateway has nothing else to say: whatever else is said, and is no outage, something on the way says.
            return Err(RestError::refused(response.status(), response.headers(), &[]));
        }
        Ok(response.upgrade().await.map_err(HttpError::from)?)
    }
}

/// The path of an interaction's first answer.
fn original(callback: &Callback) -> String {
    format!("/webhooks/{}/{}/messages/@original", callback.application, callback.token.expose_secret())
}

/// What a success tells. The decoder's own words may quote the body, so they are not kept.
fn decode<T: DeserializeOwned>(answer: Answer) -> Result<T, RestError> {
    let status = answer.status.as_u16();
    serde_json::from_slice(&answer.body?).map_err(|_| RestError::NotDiscord(status))
}
