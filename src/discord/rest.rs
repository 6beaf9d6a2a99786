//! Discord's REST API, version 10: one request, one answer. Repeating is for the callers to decide, because
//! what may be repeated differs. The bot makes so few requests that a rate limiter of its own would be idle;
//! a 429 comes back with the time to wait.

use std::time::Duration;

use native_tls::TlsConnector;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serenity::builder::{CreateCommand, CreateMessage};
use serenity::model::id::{ApplicationId, ChannelId, GuildId, InteractionId, RoleId};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::{Settings, command};
use crate::http::{Connections, HttpError};
use crate::net::{self, BaseUrl};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// How long a connection to Discord is kept unused.
const KEEP_CONNECTION: Duration = Duration::from_secs(90);
/// How long any other request than an answer to an interaction may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A longer pause than any answer may be late by.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// How many first answers are under way at once. All others make few connections by themselves; a burst of
/// commands would make one for each, where these are enough to answer 200 within their 3 s even from far away.
const FIRST_ANSWERS_AT_ONCE: usize = 32;

/// The client.
pub struct Rest {
    client: Client,
    base: BaseUrl,
    /// The path that all others are below.
    root: String,
    authorization: HeaderValue,
    /// For the answers to interactions.
    connections: Connections,
    first_answers: Semaphore,
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
    /// No answer; the request may have arrived.
    #[error("no answer from Discord: {0}")]
    NoAnswer(String),
    /// An answer that can't be read.
    #[error("Discord's answer can't be read: {0}")]
    Unreadable(String),
}

impl RestError {
    /// Whether the same request may succeed later: Discord is down, busy or not reached.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused { status, .. } => *status >= 500 || *status == 429,
            Self::NoAnswer(_) => true,
            Self::Unreadable(_) => false,
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

    /// How long Discord wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
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
}

impl Application {
    /// The link that adds the bot to a server.
    pub fn invite_link(&self) -> String {
        format!(
            "https://discord.com/oauth2/authorize?client_id={}&scope=bot+applications.commands&permissions=0",
            self.id
        )
    }
}

/// A server (guild).
#[derive(Clone, Debug, Deserialize)]
pub struct Guild {
    /// Its name.
    pub name: String,
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
}

impl Rest {
    /// A client for one bot.
    ///
    /// # Errors
    /// When the HTTP client can't be set up.
    ///
    /// # Panics
    /// Never: a token from [`crate::config`] has only characters that a header may carry; any other is sent as
    /// an empty one, which Discord refuses.
    pub fn new(settings: &Settings, tls: &TlsConnector) -> Result<Self, reqwest::Error> {
        let authorization = format!("Bot {}", settings.token.expose_secret());
        let mut authorization = HeaderValue::try_from(authorization).unwrap_or_else(|_| HeaderValue::from_static(""));
        authorization.set_sensitive(true);
        let headers = [(AUTHORIZATION, authorization.clone()), (CONTENT_TYPE, JSON)];
        Ok(Self {
            client: net::http_client(tls, net::CONNECT_TIMEOUT, KEEP_CONNECTION)?,
            root: settings.api.target("api/v10"),
            base: settings.api.clone(),
            authorization,
            connections: Connections::new(&settings.api, headers, tls, net::CONNECT_TIMEOUT, KEEP_CONNECTION),
            first_answers: Semaphore::new(FIRST_ANSWERS_AT_ONCE),
        })
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
        self.send(Method::PUT, &path, &commands).await.map(drop)
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

    /// Whether a channel can be seen; gives its name.
    ///
    /// # Errors
    /// 403 or 404 where it can't.
    pub async fn channel(&self, channel: ChannelId) -> Result<String, RestError> {
        #[derive(Deserialize)]
        struct Channel {
            name: Option<String>,
        }

        let channel = self.get::<Channel>(&format!("/channels/{channel}")).await?;
        Ok(channel.name.unwrap_or_default())
    }

    /// Posts into a channel.
    ///
    /// # Errors
    /// When it was not posted, as far as is known.
    pub async fn post_message(&self, channel: ChannelId, message: &CreateMessage) -> Result<(), RestError> {
        self.send(Method::POST, &format!("/channels/{channel}/messages"), message).await.map(drop)
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
        let id = interaction.to_string();
        let target = [&self.root, "/interactions/", &id, "/", token.expose_secret(), "/callback"].concat();
        let deadline = Instant::now() + timeout;
        let late = |_| RestError::NoAnswer(HttpError::TimedOut.to_string());
        let _permit = timeout_at(deadline, self.first_answers.acquire()).await.map_err(late)?;
        self.answer(Method::POST, target, response, deadline).await
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
        let id = application.to_string();
        let target = [&self.root, "/webhooks/", &id, "/", token.expose_secret(), "/messages/@original"].concat();
        self.answer(Method::PATCH, target, message, Instant::now() + TIMEOUT).await
    }

    async fn answer(
        &self,
        method: Method,
        target: String,
        body: &impl Serialize,
        deadline: Instant,
    ) -> Result<(), RestError> {
        let body = serde_json::to_vec(body).map_err(|error| RestError::Unreadable(error.to_string()))?;
        let sent = self.connections.send(method, target, body, deadline).await;
        let answer = sent.map_err(|error| RestError::NoAnswer(error.to_string()))?;
        if answer.status.is_success() {
            return Ok(());
        }
        Err(refused(answer.status, &answer.headers, &answer.body.unwrap_or_default()))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, RestError> {
        let response = execute(self.request(Method::GET, path).timeout(TIMEOUT)).await?;
        let body = response.bytes().await.map_err(no_answer)?;
        // serde_json's message may quote the body; where it went wrong is enough.
        serde_json::from_slice(&body)
            .map_err(|error| RestError::Unreadable(format!("{:?} at column {}", error.classify(), error.column())))
    }

    async fn send(&self, method: Method, path: &str, body: &impl Serialize) -> Result<Response, RestError> {
        let body = serde_json::to_vec(body).map_err(|error| RestError::Unreadable(error.to_string()))?;
        let request = self.request(method, path).header(CONTENT_TYPE, JSON);
        execute(request.body(body).timeout(TIMEOUT)).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = self.base.join(&format!("api/v10{path}"));
        self.client.request(method, url).header(AUTHORIZATION, self.authorization.clone())
    }
}

async fn execute(request: RequestBuilder) -> Result<Response, RestError> {
    let response = request.send().await.map_err(no_answer)?;
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let headers = response.headers().clone();
    Err(refused(status, &headers, &response.bytes().await.unwrap_or_default()))
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

fn no_answer(error: reqwest::Error) -> RestError {
    RestError::NoAnswer(net::cause(&error.without_url()))
}
