//! The one way in which everything is put together: for `main`, for the tests and for the sandbox.

use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::command::Entry;
use crate::config::Config;
use crate::directory::Directory;
use crate::discord::{self, Context, Gateway, GatewayError, Guild, Handler, Rest, RestError, audit_channel};
use crate::journal::{Journal, OpenError, Taken};
use crate::language::Localized;
use crate::ledger::Ledger;
use crate::net::{ClientError, Tls};
use crate::retry::{Backoff, retry};
use crate::wolkvox::{self, Wolkvox};

/// The pauses between tries to reach Discord at start.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
/// How often the log says again what keeps it waiting for the file.
const SAY_AGAIN: Duration = Duration::from_secs(10 * 60);

/// The bot, ready to run.
pub struct App {
    config: Config,
    rest: Arc<Rest>,
    wolkvox: Wolkvox,
    state: watch::Sender<State>,
}

/// What the bot is doing, for whoever keeps it running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is on its way to Discord for the first time.
    Starting,
    /// Another process has the file. This one takes over when that ends.
    Standby,
    /// The command is registered, and commands come in.
    Ready,
    /// The connection that commands come in through is lost, and made anew.
    Reconnecting,
    /// No new commands are taken, those under way are finished. Nothing comes after it.
    Stopping,
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

impl Localized for BuildError {
    fn spanish(&self) -> String {
        match self {
            Self::Tls(error) => format!("no se puede preparar TLS: {error}"),
            Self::Discord(error) => error.spanish(),
            Self::Wolkvox(error) => error.spanish(),
        }
    }
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
    #[error("Discord could not be reached for {} s.{}\n    {last}", .after.as_secs(), what_to_look_at(last))]
    Unreachable {
        /// How long it was tried.
        after: Duration,
        /// The last error.
        last: RestError,
    },
    /// Any other refusal at start, or an answer that can't be read.
    #[error(
        "The bot can't start: {0}.\n    Check DISCORD_API_URL if it is set, and any proxy on the way. If they are right, \
         try again later, and update wolkvox-bot: it may be too old for Discord."
    )]
    Refused(RestError),
    /// The file can't be used.
    #[error("STATE_FILE: {0}")]
    StateFile(#[from] OpenError),
    /// The gateway's end.
    #[error("{error}.\n    {}", remedy(error))]
    Gateway {
        /// What happened.
        error: GatewayError,
    },
}

impl Localized for RunError {
    fn spanish(&self) -> String {
        match self {
            Self::Token => "DISCORD_TOKEN: Discord no lo acepta.\n    Cópialo de nuevo de \
                            https://discord.com/developers/applications, tu aplicación, \"Bot\", \"Reset Token\"."
                .to_owned(),
            Self::NotInGuild { invite } => format!(
                "DISCORD_GUILD_ID: el bot no está en ese servidor, o no puede agregarle comandos.\n    Revisa el ID y \
                 abre este enlace para invitar al bot:\n    {invite}"
            ),
            Self::Unreachable { after, last } => {
                let remedy = match last {
                    RestError::NoAnswer(error) if error.names_its_remedy() => "",
                    error if error.is_discords_own() => " Mira https://discordstatus.com.",
                    _ => {
                        " Revisa la conexión de esta máquina a internet, y DISCORD_API_URL y HTTPS_PROXY si están \
                          definidas."
                    }
                };
                format!("No hubo conexión con Discord durante {} s.{remedy}\n    {}", after.as_secs(), last.spanish())
            }
            Self::Refused(error) => format!(
                "El bot no puede iniciar: {}.\n    Revisa DISCORD_API_URL si está definida, y cualquier proxy en el camino. \
                 Si están bien, inténtalo más tarde y actualiza wolkvox-bot: puede ser demasiado antiguo para Discord.",
                error.spanish()
            ),
            Self::StateFile(error) => format!("STATE_FILE: {}", error.spanish()),
            Self::Gateway { error } => {
                let remedy = match error {
                    GatewayError::Token => {
                        "Restablece el token en https://discord.com/developers/applications, tu aplicación, \"Bot\", \
                         y pon el nuevo en DISCORD_TOKEN."
                    }
                    GatewayError::Closed(4010 | 4011) => {
                        "El bot está en demasiados servidores para una sola conexión: usa una aplicación de Discord \
                         propia, invitada solo a tu servidor, y pon su token en DISCORD_TOKEN."
                    }
                    GatewayError::Closed(_) => {
                        "Esta versión de wolkvox-bot es demasiado antigua para Discord: actualízala."
                    }
                    GatewayError::Unreachable(_) => {
                        "Lo que mantiene el bot en marcha debería iniciarlo de nuevo. Si continúa, revisa la conexión \
                         de esta máquina a internet y https://discordstatus.com."
                    }
                };
                format!("{}.\n    {remedy}", error.spanish())
            }
        }
    }
}

impl BuildError {
    /// Whether only a person can mend it, as [`RunError::only_a_person_can_mend`] has it.
    pub fn only_a_person_can_mend(&self) -> bool {
        match self {
            Self::Discord(error) | Self::Wolkvox(wolkvox::BuildError::Client(error)) => {
                matches!(error, ClientError::NoAuthorities(_))
            }
            Self::Wolkvox(wolkvox::BuildError::Token) => true,
            Self::Tls(_) => false,
        }
    }
}

impl RunError {
    /// Whether it stays until a person does something, so that starting the bot again and again is of no use.
    ///
    /// Not where it may pass by itself, and not where that is unknown: a bot that is started in vain does little harm,
    /// one that stays down for nothing does. So an outage is none, nor is a certificate that does not hold: a clock is
    /// set, a certificate renewed, a network repaired without anybody thinking of this bot.
    pub fn only_a_person_can_mend(&self) -> bool {
        match self {
            Self::Token | Self::NotInGuild { .. } => true,
            Self::StateFile(error) => error.only_a_person_can_mend(),
            Self::Unreachable { .. } => false,
            Self::Refused(error) => is_final(error),
            Self::Gateway { error } => match error {
                GatewayError::Token | GatewayError::Closed(_) => true,
                GatewayError::Unreachable(_) => false,
            },
        }
    }
}

/// Whether Discord would refuse the same request tomorrow too.
fn is_final(error: &RestError) -> bool {
    /// So many new commands a day; Discord has said so for no reason too, and mended that.
    const COMMANDS_OF_TODAY: u32 = 30034;
    const REQUEST_TIMEOUT: u16 = 408;
    matches!(error.status(), Some(status @ 400..=499) if status != REQUEST_TIMEOUT)
        && error.code() != Some(COMMANDS_OF_TODAY)
}

fn what_to_look_at(last: &RestError) -> &'static str {
    match last {
        RestError::NoAnswer(error) if error.names_its_remedy() => "",
        error if error.is_discords_own() => " See https://discordstatus.com.",
        _ => " Check this machine's connection to the internet, and DISCORD_API_URL and HTTPS_PROXY if they are set.",
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
    /// Puts the bot together. Nothing is sent or opened yet.
    ///
    /// # Errors
    /// When TLS or an HTTP client can't be set up, or Wolkvox's token can't be sent.
    pub fn build(config: Config) -> Result<Self, BuildError> {
        let tls = Tls::load()?;
        let rest = Arc::new(Rest::new(&config.discord, &tls)?);
        let wolkvox = Wolkvox::new(&config.wolkvox, &tls)?;
        Ok(Self { config, rest, wolkvox, state: watch::Sender::new(State::Starting) })
    }

    /// What it is doing, from now until it has ended.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Runs until `shutdown` completes: then finishes the call in progress, answers the commands that wait, and returns.
    ///
    /// # Errors
    /// When the bot can't start, or can't go on.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let mut shutdown = pin!(shutdown);
        let (journal, left) = tokio::select! {
            biased;
            () = &mut shutdown => return Ok(()),
            // A wrong token shows at once, also beside a bot that runs.
            started = async { self.start().await?; self.take_file().await } => started?,
        };
        self.serve(shutdown, journal, left).await
    }

    /// Waits for the file, while another process has it or there is no room for one.
    async fn take_file(&self) -> Result<(Journal, Vec<Entry>), RunError> {
        let Some(path) = &self.config.state_file else { return Ok((Journal::off(), Vec::new())) };
        let mut told: Option<Instant> = None;
        loop {
            let file = path.clone();
            let taken = spawn_blocking(move || Journal::take(&file)).await;
            let taken = taken.unwrap_or_else(|panic| Err(OpenError::Other(path.clone(), panic.to_string())));
            let is_news = told.is_none_or(|told| told.elapsed() >= SAY_AGAIN);
            match taken {
                Ok(Taken::Mine(journal, left)) => return Ok((journal, left)),
                Ok(Taken::InUse) => {
                    self.enter(State::Standby);
                    if is_news {
                        tracing::warn!(
                            "STATE_FILE: {} is in use by another process: a copy of the bot, or a program that has the \
                             file open. This one stands by, and takes over when that ends",
                            path.display()
                        );
                    }
                }
                Err(error @ OpenError::Full(_)) if is_news => tracing::error!("STATE_FILE: {error}. It is tried again"),
                Err(OpenError::Full(_)) => {}
                Err(error) => return Err(error.into()),
            }
            if is_news {
                told = Some(Instant::now());
            }
            sleep(Duration::from_millis(fastrand::u64(250..500))).await;
        }
    }

    /// Serves commands until the end. The gateway closes last: until the file is let go, a command that comes is told that
    /// the bot is restarting.
    async fn serve(
        self,
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
        journal: Journal,
        left: Vec<Entry>,
    ) -> Result<(), RunError> {
        let limits = self.config.limits;
        let channel = self.config.audit_channel;
        let windows = (self.config.toggle_guard, limits.question);
        let ledger = Arc::new(Ledger::new(journal, left, windows, channel.is_some()));
        let (stop, close, tasks) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let context = self.context(ledger.clone(), &stop);
        let end = context.end.clone();
        let _posting = channel.map(|channel| {
            let (rest, ledger) = (self.rest.clone(), ledger.clone());
            AbortOnDropHandle::new(tokio::spawn(async move { audit_channel::post(&rest, &ledger, channel).await }))
        });
        let handler = Handler::new(context, tasks.clone());
        let tell = |ready| self.enter(if ready { State::Ready } else { State::Reconnecting });
        let token = &self.config.discord.token;
        let gateway = Gateway { rest: &self.rest, token, give_up_after: limits.disconnected, tell: &tell };
        let mut gateway = pin!(gateway.run(&close, |payload| handler.handle(payload)).fuse());
        let ended = tokio::select! {
            ended = &mut gateway => ended.map_err(|error| RunError::Gateway { error }),
            () = &mut shutdown => Ok(()),
        };
        tracing::info!("stopping: no new commands, the ones in progress are finished");
        self.enter(State::Stopping);
        stop.cancel();
        let drain = async {
            // What the file has, the next start tells and posts.
            let limit = if ledger.outlives_the_process() { limits.handing_over } else { limits.last_words };
            last_words(&tasks, &self.wolkvox, &ledger, limit).await;
            end.cancel();
            let _ = timeout(Duration::from_secs(1), tasks.wait()).await;
            ledger.close().await;
        };
        tokio::select! {
            biased;
            () = drain => {}
            // It goes on, or has ended.
            _ = async { drop((&mut gateway).await); pending::<()>().await } => {}
        }
        close.cancel();
        if ended.is_ok() {
            let _ = timeout(Duration::from_secs(1), gateway).await;
        }
        ended
    }

    fn context(&self, ledger: Arc<Ledger>, stop: &CancellationToken) -> Arc<Context> {
        let Self { config, rest, wolkvox, .. } = self;
        let directory = || Directory::new(wolkvox.clone(), config.limits.directory, stop.clone());
        Arc::new(Context {
            rest: rest.clone(),
            wolkvox: wolkvox.clone(),
            allowlist: config.allowlist.clone(),
            ledger,
            directory: config.agent_directory.then(directory),
            visibility: config.visibility,
            limits: config.limits,
            stop: stop.clone(),
            end: CancellationToken::new(),
        })
    }

    fn enter(&self, next: State) {
        self.state.send_if_modified(|state| {
            let is_news = *state != next && *state != State::Stopping;
            if is_news {
                *state = next;
            }
            is_news
        });
    }

    /// Asks Discord who the bot is, looks the guild and its roles up, and registers the command: once, since
    /// READY comes again with every new session.
    async fn start(&self) -> Result<(), RunError> {
        let started = Instant::now();
        let guild_id = self.config.allowlist.guild();
        let application = self.retry_transient(started, || self.rest.application()).await?;
        tracing::info!(bot = application.name, "signed in to Discord");
        if application.sends_commands_elsewhere() {
            tracing::error!(
                "no command will come in, since the application has them sent to another address: open \
                 https://discord.com/developers/applications, your application, \"General Information\", and empty \
                 \"Interactions Endpoint URL\""
            );
        }
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
        let mut started = started;
        let mut backoff = BACKOFF;
        loop {
            let give_up = started + self.config.limits.disconnected;
            let again = |error: &RestError| error.transient().filter(|_| error.status() != Some(429));
            let error = match retry(BACKOFF, give_up, &request, again).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match error {
                // Discord is there, and asks to be left alone: to end and be started again would make it worse.
                RestError::Refused { status: 429, retry_after, .. } => {
                    sleep(discord::leave_alone(retry_after.unwrap_or_default(), backoff.pause())).await;
                    started = Instant::now();
                }
                error if error.status() == Some(401) => return Err(RunError::Token),
                error if error.transient().is_some() => {
                    return Err(RunError::Unreachable { after: started.elapsed(), last: error });
                }
                error => return Err(RunError::Refused(error)),
            }
        }
    }
}

/// Waits until everybody is told the outcome of their commands: as long as a call takes, and then for `limit`.
async fn last_words(tasks: &TaskTracker, wolkvox: &Wolkvox, ledger: &Ledger, limit: Duration) {
    tasks.close();
    tokio::select! {
        biased;
        ((), ()) = async { tokio::join!(tasks.wait(), ledger.all_posted()) } => return,
        () = async { wolkvox.idle().await; sleep(limit).await } => {}
    }
    if ledger.outlives_the_process() {
        return;
    }
    if !tasks.is_empty() {
        tracing::error!(commands = tasks.len(), "ended before everybody was told the outcome of a command");
    }
    if ledger.lines_owed() > 0 {
        let lines = ledger.lines_owed();
        tracing::warn!(lines, "toggles were not posted to AUDIT_CHANNEL_ID: the bot was stopped");
    }
}
