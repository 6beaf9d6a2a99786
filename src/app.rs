//! The one way in which everything is put together: for `main`, for the tests and for the sandbox.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::directory::Directory;
use crate::discord::{self, Context, Gateway, GatewayError, Guild, Handler, Rest, RestError};
use crate::guard::RecentToggles;
use crate::net::{ClientError, Tls};
use crate::retry::{Backoff, retry};
use crate::wolkvox::{self, Wolkvox};

/// The pauses between tries to reach Discord at start.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
/// How much longer than a call may take is waited for commands under way, when the bot ends with an error.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// The bot, ready to run.
pub struct App {
    config: Config,
    rest: Arc<Rest>,
    wolkvox: Wolkvox,
}

/// Why the bot can't be put together.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// TLS can't be set up.
    #[error("TLS can't be set up")]
    Tls(#[from] rustls::Error),
    /// The client for Discord can't be made.
    #[error(transparent)]
    Discord(#[from] ClientError),
    /// The client for Wolkvox can't be made.
    #[error(transparent)]
    Wolkvox(#[from] wolkvox::BuildError),
}

/// Why the bot ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// 401 at start.
    #[error(
        "DISCORD_TOKEN: Discord does not accept it.\n    Copy it again from \
         https://discord.com/developers/applications, your application, \"Bot\", \"Reset Token\"."
    )]
    Token,
    /// 403 or 404 for the guild, or for registering the command in it.
    #[error(
        "DISCORD_GUILD_ID: the bot is not in that server, or may not add commands to it.\n    Check the id, and \
         open this link to invite the bot:\n    {invite}"
    )]
    NotInGuild {
        /// The link that adds the bot with the right scopes.
        invite: String,
    },
    /// Discord could not be reached at start.
    #[error("Discord could not be reached for {} s.{}\n    {last}", .after.as_secs(), check_connection(last))]
    Unreachable {
        /// How long it was tried.
        after: Duration,
        /// The last error.
        last: RestError,
    },
    /// Any other refusal at start.
    #[error("Discord refused to let the bot start: {0}")]
    Refused(RestError),
    /// The gateway's end.
    #[error("{error}.\n    {}", remedy(error))]
    Gateway {
        /// What happened.
        error: GatewayError,
    },
}

fn check_connection(last: &RestError) -> &'static str {
    match last {
        RestError::NoAnswer(error) if error.names_its_remedy() => "",
        _ => " Check this machine's connection to the internet, and DISCORD_API_URL if it is set.",
    }
}

fn remedy(error: &GatewayError) -> &'static str {
    match error {
        GatewayError::Token => {
            "Reset the token at https://discord.com/developers/applications, your application, \"Bot\", and put the \
             new one into DISCORD_TOKEN."
        }
        GatewayError::Closed(4010 | 4011) => {
            "The bot is in too many servers for one connection: use a Discord application of its own, invited to \
             your server only, and put its token into DISCORD_TOKEN."
        }
        GatewayError::Closed(_) => "This version of wolkvox-bot is too old for Discord: update it.",
        GatewayError::Unreachable(_) => {
            "Whatever keeps the bot running should start it again. If this goes on, check this machine's connection \
             to the internet and https://discordstatus.com."
        }
    }
}

impl App {
    /// Puts the bot together. Nothing is sent yet.
    ///
    /// # Errors
    /// When TLS or an HTTP client can't be set up.
    pub fn build(config: Config) -> Result<Self, BuildError> {
        let tls = Tls::load()?;
        let rest = Arc::new(Rest::new(&config.discord, &tls)?);
        let wolkvox = Wolkvox::new(&config.wolkvox, &tls)?;
        Ok(Self { config, rest, wolkvox })
    }

    /// Runs until `shutdown` completes: then takes no more commands, finishes the call under way, answers the
    /// commands that wait, and returns.
    ///
    /// # Errors
    /// When the bot can't start, or can't go on.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let mut shutdown = std::pin::pin!(shutdown);
        tokio::select! {
            biased;
            () = &mut shutdown => return Ok(()),
            started = self.start() => started?,
        }
        let Self { config, rest, wolkvox } = self;
        let directory = config.agent_directory.then(|| Directory::new(wolkvox.clone(), config.limits.directory));
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let context = Context {
            rest: rest.clone(),
            wolkvox,
            allowlist: config.allowlist,
            recent_toggles: RecentToggles::new(config.toggle_guard, config.limits.question),
            directory,
            visibility: config.visibility,
            audit_channel: config.audit_channel,
            limits: config.limits,
            stop: stop.clone(),
        };
        let handler = Handler::new(context, tasks.clone());
        let gateway = Gateway { rest: &rest, token: &config.discord.token, give_up_after: config.limits.disconnected };
        let mut gateway = std::pin::pin!(gateway.run(&stop, |payload| handler.handle(payload)));
        let ended = tokio::select! {
            ended = &mut gateway => ended,
            () = &mut shutdown => {
                tracing::info!("stopping: no new commands, the ones under way are finished");
                stop.cancel();
                let ended = gateway.await;
                tasks.close();
                tasks.wait().await;
                return ended.map_err(|error| RunError::Gateway { error });
            }
        };
        stop.cancel();
        tasks.close();
        tokio::select! {
            () = tasks.wait() => {}
            () = &mut shutdown => {}
            () = sleep(config.wolkvox.timeout + LAST_WORDS) => {}
        }
        if !tasks.is_empty() {
            tracing::error!(commands = tasks.len(), "ended before everybody was told what came of a command");
        }
        ended.map_err(|error| RunError::Gateway { error })
    }

    /// Asks Discord who the bot is, looks the guild and its roles up, and registers the command: once, since
    /// READY comes again with every new session.
    async fn start(&self) -> Result<(), RunError> {
        let started = Instant::now();
        let guild_id = self.config.allowlist.guild();
        let application = self.retry_transient(started, || self.rest.application()).await?;
        tracing::info!(bot = application.name, "signed in to Discord");
        let not_in_guild = |error| match error {
            RunError::Refused(error) if matches!(error.status(), Some(403 | 404)) => {
                RunError::NotInGuild { invite: application.invite_link() }
            }
            error => error,
        };
        let guild = self.retry_transient(started, || self.rest.guild(guild_id)).await.map_err(not_in_guild)?;
        self.look_up_roles(&guild);
        let commands = discord::commands(self.config.agent_directory);
        let register = || self.rest.register(application.id, guild_id, &commands);
        self.retry_transient(started, register).await.map_err(not_in_guild)?;
        tracing::info!(server = guild.name, "/mute is registered");
        Ok(())
    }

    fn look_up_roles(&self, guild: &Guild) {
        for role in self.config.allowlist.roles() {
            match guild.roles.iter().find(|known| known.id == *role) {
                Some(known) => tracing::info!(role = known.name, "may use /mute"),
                None => tracing::warn!(role_id = %role, "ALLOWED_ROLE_IDS names a role that the server does not have"),
            }
        }
    }

    /// Repeats a request with growing pauses while Discord is down or out of reach.
    async fn retry_transient<T, F>(&self, started: Instant, request: impl Fn() -> F) -> Result<T, RunError>
    where
        F: Future<Output = Result<T, RestError>>,
    {
        let after = self.config.limits.disconnected;
        let notify = |error: &RestError, pause: Duration| {
            tracing::warn!("Discord can't be reached, trying again in {:.1} s: {error}", pause.as_secs_f64());
        };
        retry(BACKOFF, started + after, request, RestError::transient, notify).await.map_err(|error| {
            match error.status() {
                Some(401) => RunError::Token,
                _ if error.transient().is_some() => RunError::Unreachable { after, last: error },
                _ => RunError::Refused(error),
            }
        })
    }
}
