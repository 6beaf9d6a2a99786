//! The one way in which everything is put together: for `main`, for the tests and for the sandbox.

use crate::language::Localized;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::directory::Directory;
use crate::discord::{self, AuditChannel, Context, Gateway, GatewayError, Guild, Handler, Outage, Rest, RestError};
use crate::guard::RecentToggles;
use crate::net::{ClientError, Tls, error_chain};
use crate::record::{OpenError, Record};
use crate::retry::{Backoff, retry};
use crate::wolkvox::{self, Wolkvox};

/// The pauses between tries to reach Discord at start.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
/// How often is looked for copies that died, on the same record. Their people are told within twice that.
const TAKE_OVER: Duration = Duration::from_secs(4);
/// A failed answer says nothing any more so long after it, if Discord answers something else.
const QUIET: Duration = Duration::from_secs(60);
/// How often Discord's REST API is asked whether it is there again.
const PROBE: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(15));

/// The bot, ready to run.
pub struct App {
    config: Config,
    rest: Arc<Rest>,
    wolkvox: Wolkvox,
    record: Record,
    state: watch::Sender<State>,
}

/// What the bot is doing, for whoever keeps it running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is on its way to Discord for the first time.
    Starting,
    /// Another process has the state file; this one takes over when it ends.
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
    /// The record can't be used.
    #[error("STATE_FILE: {0}")]
    Record(#[from] OpenError),
    /// The client for Wolkvox can't be made.
    #[error(transparent)]
    Wolkvox(#[from] wolkvox::BuildError),
}

impl Localized for BuildError {
    fn spanish(&self) -> String {
        match self {
            Self::Tls(error) => format!("no se puede preparar TLS: {error}"),
            Self::Record(error) => format!("STATE_FILE: {}", error.spanish()),
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
            Self::Record(error) => match error {
                OpenError::Directory(_)
                | OpenError::NoFolder(_)
                | OpenError::NotPermitted(_)
                | OpenError::NotARecord(..)
                | OpenError::Newer(..) => true,
                // The other program ends, and a disk that is full is seldom full for ever.
                OpenError::Locked(_) | OpenError::Other(..) => false,
            },
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
    /// Puts the bot together. Nothing is sent yet.
    ///
    /// # Errors
    /// When TLS, an HTTP client or the record can't be set up, or Wolkvox's token can't be sent.
    pub fn build(config: Config) -> Result<Self, BuildError> {
        let tls = Tls::load()?;
        let rest = Arc::new(Rest::new(&config.discord, &tls)?);
        let wolkvox = Wolkvox::new(&config.wolkvox, &tls)?;
        let record = config.state_file.as_deref().map_or(Ok(Record::off()), Record::open)?;
        Ok(Self { config, rest, wolkvox, record, state: watch::Sender::new(State::Starting) })
    }

    /// What it is doing, from now until it has ended.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Runs until `shutdown` completes: then takes no more commands, finishes the call under way, answers the
    /// commands that wait, and returns.
    ///
    /// # Errors
    /// When the bot can't start, or can't go on.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let mut shutdown = pin!(shutdown);
        tokio::select! {
            biased;
            () = &mut shutdown => return Ok(()),
            started = self.start() => started?,
        }
        let Self { config, rest, wolkvox, record, state } = self;
        let enter = |next| {
            state.send_if_modified(|state| {
                let news = *state != next && *state != State::Stopping;
                if news {
                    *state = next;
                }
                news
            });
        };
        let tell = |ready| enter(if ready { State::Ready } else { State::Reconnecting });
        let limits = config.limits;
        let (stop, end, tasks) = (CancellationToken::new(), CancellationToken::new(), TaskTracker::new());
        let (end_of_posting, posting) = (CancellationToken::new(), TaskTracker::new());
        let audit_channel = config.audit_channel.map(|channel| {
            let (audit_channel, posts) = AuditChannel::new(rest.clone(), channel, end_of_posting.clone());
            posting.spawn(posts);
            audit_channel
        });
        let context = Context {
            rest: rest.clone(),
            wolkvox: wolkvox.clone(),
            allowlist: config.allowlist,
            recent_toggles: RecentToggles::new(config.toggle_guard, limits.question),
            directory: config.agent_directory.then(|| Directory::new(wolkvox.clone(), limits.directory, stop.clone())),
            visibility: config.visibility,
            record: record.clone(),
            audit_channel,
            limits,
            stop: stop.clone(),
            end: end.clone(),
        };
        let context = Arc::new(context);
        let handler = Handler::new(context.clone(), tasks.clone());
        // Before new commands are taken, and again and again, since another copy may die.
        let _ = timeout(TAKE_OVER, discord::take_over(&context, &tasks)).await;
        let gateway =
            Gateway { rest: &rest, token: &config.discord.token, give_up_after: limits.disconnected, tell: &tell };
        let ended = {
            let mut gateway = pin!(gateway.run(&stop, |payload| handler.handle(payload)));
            tokio::select! {
                ended = &mut gateway => ended.map_err(|error| RunError::Gateway { error }),
                error = cut_off(&rest, limits.disconnected) => Err(error),
                () = look_for_the_dead(&context, &tasks) => Ok(()),
                () = &mut shutdown => {
                    tracing::info!("stopping: no new commands, the ones under way are finished");
                    enter(State::Stopping);
                    stop.cancel();
                    gateway.await.map_err(|error| RunError::Gateway { error })
                }
            }
        };
        enter(State::Stopping);
        stop.cancel();
        // With the handler goes the last way into the audit channel, once the commands under way are through.
        drop((handler, context));
        // What the record has, the next start tells. It has no lines for the audit channel.
        let limit = if record.outlives_the_process() { limits.handing_over } else { limits.last_words };
        tokio::join!(
            last_words(&tasks, &wolkvox, &end, limit),
            last_words(&posting, &wolkvox, &end_of_posting, limits.last_words)
        );
        ended
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
        let notify = |error: &RestError, pause: Duration| {
            let (pause, why) = (pause.as_secs_f64(), error_chain(error));
            tracing::warn!("Discord can't be reached, trying again in {pause:.1} s: {why}");
        };
        let mut started = started;
        let mut backoff = BACKOFF;
        loop {
            let give_up = started + self.config.limits.disconnected;
            let again = |error: &RestError| error.transient().filter(|_| error.status() != Some(429));
            let error = match retry(BACKOFF, give_up, &request, again, notify).await {
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

/// Tells the people of copies that died, for ever.
async fn look_for_the_dead(context: &Arc<Context>, tasks: &TaskTracker) {
    while context.record.is_on() {
        sleep(TAKE_OVER).await;
        discord::take_over(context, tasks).await;
    }
    std::future::pending().await
}

/// Completes when nobody could be answered for `limit`: being able to answer is part of being connected. While nobody
/// gives commands, Discord is asked for something else instead.
async fn cut_off(rest: &Rest, limit: Duration) -> RunError {
    loop {
        rest.unanswered().await;
        let since = Instant::now();
        let mut backoff = PROBE;
        loop {
            sleep(backoff.pause()).await;
            let probe = rest.gateway().await;
            // None where the latest answer was taken.
            let Some(Outage { since: began, latest, error }) = rest.outage() else { break };
            if latest - began >= limit {
                return RunError::Unreachable { after: latest - began, last: error };
            }
            match probe {
                Err(last) if last.is_outage() && since.elapsed() >= limit => {
                    return RunError::Unreachable { after: since.elapsed(), last };
                }
                Err(last) if last.is_outage() => {}
                _ if latest.elapsed() >= QUIET => break,
                _ => {}
            }
        }
    }
}

/// Waits until everybody is told what came of their commands: as long as a call takes, and then for `limit`.
async fn last_words(tasks: &TaskTracker, wolkvox: &Wolkvox, end: &CancellationToken, limit: Duration) {
    tasks.close();
    tokio::select! {
        biased;
        () = tasks.wait() => return,
        () = async { wolkvox.idle().await; sleep(limit).await } => {}
    }
    end.cancel();
    if timeout(Duration::from_secs(1), tasks.wait()).await.is_err() {
        tracing::error!(commands = tasks.len(), "ended before everybody was told what came of a command");
    }
}
