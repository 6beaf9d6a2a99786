//! Discord's REST API, version 10: one request, one answer. Repeating is for the callers to decide, because
//! what may be repeated differs. The bot makes so few requests that a rate limiter of its own would be idle;
//! a 429 comes back with the time to wait.

use crate::language::Localized;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{
    AUTHORIZATION, CONNECTION, HeaderMap, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use reqwest::{Client, Method, RequestBuilder, StatusCode, Upgraded, Url};
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serenity::builder::{CreateCommand, CreateMessage};
use serenity::model::Permissions;
use serenity::model::channel::{ChannelType, PermissionOverwrite};
use serenity::model::id::{ApplicationId, ChannelId, GuildId, MessageId, RoleId, UserId};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{Settings, command};
use crate::command::Callback;
use crate::net::{self, Answer, BaseUrl, ClientError, HttpError, Proxy, Tls};

/// The most that is read of an answer, in bytes. The largest is a server's, with all its roles and emojis.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// How long a connection to Discord is kept unused.
const KEEP_CONNECTION: Duration = Duration::from_secs(90);
/// The longest that is waited before Discord is asked again on the way to commands, whatever pause it asked for: it may be
/// lifted earlier.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long any other request than a first answer may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The client.
pub struct Rest {
    /// With the moment from which on its connections were made.
    client: Mutex<(Client, Instant)>,
    base: BaseUrl,
    proxy: Option<Proxy>,
    tls: Tls,
    authorization: HeaderValue,
    unanswered: Notify,
    outage: Mutex<Option<Outage>>,
}

/// Answers to interactions that failed one after the other.
#[derive(Clone, Debug)]
pub struct Outage {
    /// When the first one failed.
    pub since: Instant,
    /// When the latest one failed.
    pub latest: Instant,
    /// How that failed.
    pub error: RestError,
}

/// What went wrong with a request.
#[derive(Clone, Debug, thiserror::Error)]
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
    /// An answer that is not Discord's: something in between gave it, such as a company's proxy.
    #[error(
        "something else answered in Discord's place, with HTTP {0}; a proxy on the way may want to be signed in to"
    )]
    NotDiscord(u16),
    /// An answer that can't be read.
    #[error("Discord's answer can't be read: {0}")]
    Unreadable(String),
}

impl Localized for RestError {
    fn spanish(&self) -> String {
        match self {
            Self::Refused { status, code: Some(code), .. } => {
                format!("Discord respondió HTTP {status} con el código {code}")
            }
            Self::Refused { status, code: None, .. } => format!("Discord respondió HTTP {status}"),
            Self::NoAnswer(error) => format!("Discord no respondió: {}", error.spanish()),
            Self::NotDiscord(status) => format!(
                "otra cosa respondió en lugar de Discord, con HTTP {status}; quizá un proxy en el camino pide iniciar sesión"
            ),
            Self::Unreadable(why) => format!("no se puede leer la respuesta de Discord: {why}"),
        }
    }
}

impl RestError {
    /// How long Discord wants to be left alone before the same request may succeed: it is down, busy or not reached.
    /// `None` where trying again would change nothing.
    pub fn transient(&self) -> Option<Duration> {
        match self {
            Self::Refused { status: 429 | 500.., retry_after, .. } => Some(retry_after.unwrap_or_default()),
            Self::NoAnswer(HttpError::NoRequest(_)) | Self::Refused { .. } | Self::Unreadable(_) => None,
            Self::NoAnswer(_) | Self::NotDiscord(_) => Some(Duration::ZERO),
        }
    }

    /// The HTTP status, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::NoAnswer(_) | Self::NotDiscord(_) | Self::Unreadable(_) => None,
        }
    }

    /// Discord's own code, if there was one.
    pub fn code(&self) -> Option<u32> {
        match self {
            Self::Refused { code, .. } => *code,
            Self::NoAnswer(_) | Self::NotDiscord(_) | Self::Unreadable(_) => None,
        }
    }
}

/// How long Discord, which receives too many requests (HTTP 429), is left alone on the way to commands: as long as it asked
/// for, at least for `pause`. The log is told.
pub fn leave_alone(asked: Duration, pause: Duration) -> Duration {
    let pause = pause.max(asked).min(LONGEST_PAUSE);
    tracing::warn!(
        "Discord receives too many requests from this address or bot (HTTP 429) and asks for a pause of {} s; it is asked \
         again in {:.1} s",
        asked.as_secs(),
        pause.as_secs_f64()
    );
    pause
}

impl RestError {
    /// Whether Discord may have done what was asked, although it is not known that it did.
    pub fn may_have_arrived(&self) -> bool {
        match self {
            Self::Refused { status, .. } => *status >= 500,
            Self::NoAnswer(error) => error.may_have_been_sent(),
            Self::NotDiscord(_) | Self::Unreadable(_) => true,
        }
    }

    /// Whether Discord is down or not reached: nothing that it said itself.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Refused { status, .. } => *status >= 500,
            Self::NoAnswer(_) | Self::NotDiscord(_) => true,
            Self::Unreadable(_) => false,
        }
    }

    /// Whether Discord is there, and down or busy: no fault that could be found on this machine.
    pub fn is_discords_own(&self) -> bool {
        matches!(self, Self::Refused { status: 429 | 500.., .. })
    }

    /// Whether the interaction's token can't be used any more ("Receiving and Responding").
    pub fn is_void_token(&self) -> bool {
        const INVALID_WEBHOOK_TOKEN: u32 = 50027;
        self.status() == Some(401) || self.code() == Some(INVALID_WEBHOOK_TOKEN)
    }
}

/// How many sessions the bot may still begin.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct SessionStartLimit {
    /// IDENTIFYs left.
    pub remaining: u32,
    /// Milliseconds until all are there again.
    pub reset_after: u64,
}

/// The gateway's address, and how often it may be used.
#[derive(Clone, Debug, Deserialize)]
pub struct GatewayInfo {
    /// `wss://…`
    pub url: String,
    /// The limit on IDENTIFYs; past it Discord resets the bot's token.
    pub session_start_limit: SessionStartLimit,
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

/// The application that the token belongs to.
#[derive(Clone, Debug, Deserialize)]
pub struct Application {
    /// Its id, which commands are registered under.
    pub id: ApplicationId,
    /// Its name, which is the bot's name too unless that was changed.
    pub name: String,
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
        let (base, proxy) = (settings.api.clone(), settings.proxy.clone());
        let client = net::http_client(&base, proxy.as_ref(), tls, net::CONNECT_TIMEOUT, KEEP_CONNECTION)?;
        let client = Mutex::new((client, Instant::now()));
        Ok(Self {
            client,
            base,
            proxy,
            tls: tls.clone(),
            authorization,
            unanswered: Notify::new(),
            outage: Mutex::default(),
        })
    }

    /// Lets no further request use a connection that was made before `moment`: a try that began then got no answer.
    pub fn renew_connections(&self, moment: Instant) {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if client.1 > moment {
            return;
        }
        let proxy = self.proxy.as_ref();
        match net::http_client(&self.base, proxy, &self.tls, net::CONNECT_TIMEOUT, KEEP_CONNECTION) {
            Ok(renewed) => *client = (renewed, Instant::now()),
            Err(error) => tracing::warn!("the old connections to Discord are kept: {}", net::error_chain(&error)),
        }
    }

    /// The outage that goes on, unless the latest answer to an interaction was taken or refused by Discord itself.
    pub fn outage(&self) -> Option<Outage> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes whether Discord takes answers to interactions.
    fn answers<T>(&self, result: Result<T, RestError>) -> Result<T, RestError> {
        /// Failures with more time between them have nothing to do with each other.
        const APART: Duration = Duration::from_secs(120);

        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        *outage = match &result {
            Err(error) if error.is_outage() => {
                let latest = Instant::now();
                let before = outage.take().filter(|before| before.latest.elapsed() < APART);
                let since = before.map_or(latest, |before| before.since);
                self.unanswered.notify_one();
                Some(Outage { since, latest, error: error.clone() })
            }
            _ => None,
        };
        result
    }

    /// Completes when an answer to an interaction has failed.
    pub async fn unanswered(&self) {
        self.unanswered.notified().await;
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

    /// The gateway's address, and how many sessions may still be begun.
    ///
    /// # Errors
    /// When Discord does not tell it.
    pub async fn gateway(&self) -> Result<GatewayInfo, RestError> {
        self.get("/gateway/bot").await
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
        self.execute(self.request(Method::PUT, &path).json(commands)).await.and_then(is_json)
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
        let request = self.request(Method::POST, &format!("/channels/{channel}/messages")).json(message);
        self.execute(request).await.and_then(message_in).map(drop)
    }

    /// The first answer to an interaction. A late one is refused with the code 10062, a second one with 40060, or at times
    /// with 10062 too.
    ///
    /// # Errors
    /// When Discord refused it, or did not answer within `timeout`.
    pub(super) async fn respond(
        &self,
        callback: &Callback,
        response: &impl Serialize,
        timeout: Duration,
    ) -> Result<(), RestError> {
        let path = format!("/interactions/{}/{}/callback", callback.id, callback.token.expose_secret());
        let answer = self.execute(self.bare_request(Method::POST, &path).json(response).timeout(timeout)).await?;
        // Discord has nothing to say to it; a proxy on the way might say anything.
        if answer.status == StatusCode::NO_CONTENT {
            Ok(())
        } else {
            Err(RestError::NotDiscord(answer.status.as_u16()))
        }
    }

    /// Edits the first answer to an interaction.
    ///
    /// # Errors
    /// When Discord refused it, or did not answer in time.
    pub(super) async fn edit_original(&self, callback: &Callback, message: &impl Serialize) -> Result<(), RestError> {
        let request = self.bare_request(Method::PATCH, &original(callback)).json(message);
        self.answers(self.execute(request).await.and_then(message_in)).map(drop)
    }

    /// Looks at the first answer to an interaction.
    ///
    /// # Errors
    /// When Discord does not tell it.
    pub(super) async fn original(&self, callback: &Callback) -> Result<Original, RestError> {
        const LOADING: u64 = 128;

        match self.execute(self.bare_request(Method::GET, &original(callback))).await.and_then(message_in) {
            Ok(message) if message.flags & LOADING != 0 => Ok(Original::Thinking),
            Ok(message) => Ok(Original::Answered(message.content)),
            Err(error) if error.status() == Some(404) => Ok(Original::Absent),
            Err(error) => Err(error),
        }
    }

    /// Posts another message for an interaction, below its first answer.
    ///
    /// # Errors
    /// When Discord refused it, or did not answer in time.
    pub(super) async fn follow_up(&self, callback: &Callback, message: &impl Serialize) -> Result<(), RestError> {
        let path = format!("/webhooks/{}/{}", callback.application, callback.token.expose_secret());
        self.answers(self.execute(self.bare_request(Method::POST, &path).json(message)).await.and_then(message_in))
            .map(drop)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, RestError> {
        let answer = self.execute(self.request(Method::GET, path)).await?;
        let body = json_body(answer)?;
        // serde_json's message may quote the body; where it went wrong is enough.
        serde_json::from_slice(&body)
            .map_err(|error| RestError::Unreadable(format!("{:?} at column {}", error.classify(), error.column())))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare_request(method, path).header(AUTHORIZATION, self.authorization.clone())
    }

    /// For an interaction, whose own token in the path is enough: so a bot's token that was reset meanwhile keeps nobody
    /// from being told, and 401 means the interaction's.
    fn bare_request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = self.base.join(&format!("api/v10{path}"));
        self.client().request(method, url).timeout(TIMEOUT)
    }

    fn client(&self) -> Client {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    async fn execute(&self, request: RequestBuilder) -> Result<Answer, RestError> {
        let began = Instant::now();
        let result = match net::send(request, MAX_ANSWER_BYTES).await {
            Ok(answer) if answer.status.is_success() => Ok(answer),
            Ok(answer) => Err(refused(answer.status, &answer.headers, answer.body.ok().as_deref())),
            Err(error) => Err(RestError::NoAnswer(error)),
        };
        if let Err(RestError::NoAnswer(HttpError::TimedOut)) = &result {
            self.renew_connections(began);
        }
        result
    }

    /// A connection to the gateway at `url`, once the websocket handshake is through: made like every other, so that
    /// the same rules hold for it.
    ///
    /// # Errors
    /// When there is no connection, or the other side does not switch to the websocket protocol.
    pub async fn open_websocket(&self, url: Url) -> Result<Upgraded, RestError> {
        let key = generate_key();
        let request = self.client().get(url).timeout(TIMEOUT);
        let request = request.header(CONNECTION, "Upgrade").header(UPGRADE, "websocket");
        let request = request.header(SEC_WEBSOCKET_VERSION, "13").header(SEC_WEBSOCKET_KEY, &key);
        let response = request.send().await.map_err(HttpError::from)?;
        let accepted = response.headers().get(SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
        if response.status() != StatusCode::SWITCHING_PROTOCOLS
            || accepted != Some(derive_accept_key(key.as_bytes()).as_bytes())
        {
            // Discord's gateway has nothing else to say: whatever else is said, and is no outage, something on the way says.
            return Err(refused(response.status(), response.headers(), Some(&[])));
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

/// The path of an interaction's first answer.
fn original(callback: &Callback) -> String {
    format!("/webhooks/{}/{}/messages/@original", callback.application, callback.token.expose_secret())
}

/// The body of a success, which Discord gives in JSON.
fn json_body(answer: Answer) -> Result<Vec<u8>, RestError> {
    let body = answer.body?;
    match serde_json::from_slice::<&RawValue>(&body) {
        Ok(_) => Ok(body),
        Err(_) => Err(RestError::NotDiscord(answer.status.as_u16())),
    }
}

fn is_json(answer: Answer) -> Result<(), RestError> {
    json_body(answer).map(drop)
}

/// A message, as far as it is needed.
#[derive(Deserialize)]
struct Message {
    #[serde(rename = "id")]
    _id: MessageId,
    #[serde(default)]
    flags: u64,
    #[serde(default)]
    content: String,
}

fn message_in(answer: Answer) -> Result<Message, RestError> {
    let status = answer.status.as_u16();
    serde_json::from_slice(&answer.body?).map_err(|_| RestError::NotDiscord(status))
}

fn refused(status: StatusCode, headers: &HeaderMap, body: Option<&[u8]>) -> RestError {
    #[derive(Default, Deserialize)]
    struct Body {
        code: Option<u32>,
        retry_after: Option<f64>,
    }

    let header = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<f64>().ok());
    let said = body.map(serde_json::from_slice::<Body>);
    // Discord's refusals have a code. What stands before it answers without one, but only 429 and 5xx.
    let from_elsewhere = said.as_ref().is_some_and(|said| said.as_ref().map_or(true, |said| said.code.is_none()));
    if from_elsewhere && status.as_u16() != 429 && !status.is_server_error() {
        return RestError::NotDiscord(status.as_u16());
    }
    let said = said.and_then(Result::ok).unwrap_or_default();
    let retry_after = said.retry_after.or(header).and_then(|secs| Duration::try_from_secs_f64(secs).ok());
    RestError::Refused { status: status.as_u16(), code: said.code, retry_after }
}
