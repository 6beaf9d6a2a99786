//! The one way in which everything is put together: for `main`, for the tests and for the sandbox.

use crate::language::Localized;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::Allowlist;
use crate::backlog::Backlog;
use crate::config::Config;
use crate::directory::Directory;
use crate::discord::{
    self, Absence, Application, AuditChannel, Context, Gateway, GatewayError, Handler, NotInGuild, Registration, Rest,
    RestError,
};
use crate::guard::RecentToggles;
use crate::limits::Limits;
use crate::net::{ClientError, Tls, error_chain};
use crate::record::{OpenError, Record};
use crate::retry::Backoff;
use crate::wolkvox::{self, Wolkvox};

/// The pauses between tries to reach Discord at start.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), LONGEST_PAUSE);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often is looked for copies that died, on the same record. Their people are told within twice that.
const TAKE_OVER: Duration = Duration::from_secs(4);

/// The bot, ready to run.
pub struct App {
    config: Config,
    rest: Arc<Rest>,
    wolkvox: Wolkvox,
    record: Record,
    log: Option<Backlog>,
    state: watch::Sender<State>,
}

/// What the bot is doing, for whoever keeps it running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is on its way to Discord for the first time.
    Starting,
    /// Commands come in.
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
    /// Registering the command is refused.
    #[error(
        "DISCORD_GUILD_ID: the bot is not in that server, or may not add commands to it.\n    Check the id, and \
         open this link to invite the bot:\n    {invite}"
    )]
    NotInGuild {
        /// The link that adds the bot with the right scopes.
        invite: String,
    },
    /// Nobody could sign in to Discord.
    #[error("Discord could not be reached for {}.{}\n    {last}", discord::span(*.after), what_to_look_at(last))]
    Unreachable { after: Duration, last: RestError },
    /// Signing in was refused, or answered with something that can't be read.
    #[error(
        "The bot can't start, because it can't sign in ({SIGN_IN}): {0}.\n    Check DISCORD_API_URL if it is set, and any \
         proxy on the way. If they are right, try again later, and update wolkvox-bot: it may be too old for Discord."
    )]
    Refused(RestError),
    #[error("{error}.\n    {}", remedy(error))]
    Gateway { error: GatewayError },
}

/// The request that the bot signs in with.
const SIGN_IN: &str = "GET /applications/@me";

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
            Self::Unreachable { after, last } => format!(
                "No hubo conexión con Discord durante {}.{}\n    {}",
                discord::span(*after),
                what_to_look_at_in_spanish(last),
                last.spanish()
            ),
            Self::Refused(error) => format!(
                "El bot no puede iniciar porque no puede iniciar sesión ({SIGN_IN}): {}.\n    Revisa DISCORD_API_URL si \
                 está definida, y cualquier proxy en el camino. Si están bien, inténtalo más tarde y actualiza \
                 wolkvox-bot: puede ser demasiado antiguo para Discord.",
                error.spanish()
            ),
            Self::Gateway { error } => format!("{}.\n    {}", error.spanish(), remedy_in_spanish(error)),
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
                GatewayError::Unreachable { .. } => false,
            },
        }
    }
}

/// Whether Discord would refuse the same request tomorrow too.
fn is_final(error: &RestError) -> bool {
    matches!(error.status(), Some(400..=499)) && error.transient().is_none()
}

fn what_to_look_at(last: &RestError) -> &'static str {
    match last {
        error if error.names_its_remedy() => "",
        error if error.is_discords_own() => " See https://discordstatus.com.",
        _ => " Check this machine's connection to the internet, and DISCORD_API_URL and HTTPS_PROXY if they are set.",
    }
}

fn what_to_look_at_in_spanish(last: &RestError) -> &'static str {
    match last {
        error if error.names_its_remedy() => "",
        error if error.is_discords_own() => " Mira https://discordstatus.com.",
        _ => " Revisa la conexión de esta máquina a internet, y DISCORD_API_URL y HTTPS_PROXY si están definidas.",
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
        GatewayError::Unreachable { .. } => {
            "Whatever keeps the bot running should start it again. If this goes on, check this machine's connection \
             to the internet and https://discordstatus.com."
        }
    }
}

fn remedy_in_spanish(error: &GatewayError) -> &'static str {
    match error {
        GatewayError::Token => {
            "Restablece el token en https://discord.com/developers/applications, tu aplicación, \"Bot\", y pon el \
             nuevo en DISCORD_TOKEN."
        }
        GatewayError::Closed(4010 | 4011) => {
            "El bot está en demasiados servidores para una sola conexión: usa una aplicación de Discord propia, \
             invitada solo a tu servidor, y pon su token en DISCORD_TOKEN."
        }
        GatewayError::Closed(_) => "Esta versión de wolkvox-bot es demasiado antigua para Discord: actualízala.",
        GatewayError::Unreachable { .. } => {
            "Lo que mantiene el bot en marcha debería iniciarlo de nuevo. Si continúa, revisa la conexión de esta \
             máquina a internet y https://discordstatus.com."
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
        Ok(Self { config, rest, wolkvox, record, log: None, state: watch::Sender::new(State::Starting) })
    }

    /// What it is doing, from now until it has ended.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// With a log whose audit records are written before the record forgets a command.
    #[must_use]
    pub fn logging_to(self, log: Backlog) -> Self {
        Self { log: Some(log), ..self }
    }

    /// Runs until `shutdown` completes: then takes no more commands, finishes the call under way, answers the
    /// commands that wait, and returns.
    ///
    /// # Errors
    /// When the bot can't start, or can't go on.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let mut shutdown = pin!(shutdown);
        let application = tokio::select! {
            biased;
            () = &mut shutdown => return Ok(()),
            started = self.start() => started?,
        };
        let Self { config, rest, wolkvox, record, log, state } = self;
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
            allowlist: config.allowlist.clone(),
            recent_toggles: RecentToggles::new(config.toggle_guard, limits.question),
            directory: config.agent_directory.then(|| Directory::new(wolkvox.clone(), limits.directory, stop.clone())),
            visibility: config.visibility,
            record: record.clone(),
            log,
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
        let registration =
            Self::stay_registered(&rest, &application, &config.allowlist, config.agent_directory, &limits);
        let ended = {
            let mut gateway = pin!(gateway.run(&stop, |payload| handler.handle(payload)));
            tokio::select! {
                ended = &mut gateway => ended.map_err(|error| RunError::Gateway { error }),
                error = registration => Err(error),
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

    /// Signs in to Discord: all that is needed before commands can be served.
    async fn start(&self) -> Result<Application, RunError> {
        let application = self.retry_transient(|| self.rest.application()).await?;
        tracing::info!(bot = application.name, "signed in to Discord");
        if application.sends_commands_elsewhere() {
            tracing::error!(
                "no command will come in, since the application has them sent to another address: open \
                 https://discord.com/developers/applications, your application, \"General Information\", and empty \
                 \"Interactions Endpoint URL\""
            );
        }
        Ok(application)
    }

    /// Repeats a request with growing pauses while Discord is down or out of reach.
    async fn retry_transient<T, F>(&self, request: impl Fn() -> F) -> Result<T, RunError>
    where
        F: Future<Output = Result<T, RestError>>,
    {
        let mut absence = Absence::new(self.config.limits.disconnected);
        let mut backoff = BACKOFF;
        loop {
            let error = match request().await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.status() == Some(401) => return Err(RunError::Token),
                Err(error) if error.transient().is_none() => return Err(RunError::Refused(error)),
                Err(error) => error,
            };
            absence.report(&error_chain(&error));
            let pause = backoff.pause();
            if let Some(pause) = error.leave_alone(pause) {
                absence.excuse(pause);
                sleep(pause).await;
                continue;
            }
            let left = absence.left();
            if left.is_zero() {
                return Err(RunError::Unreachable { after: absence.duration(), last: error });
            }
            let pause = pause.max(error.transient().unwrap_or_default().min(LONGEST_PAUSE)).min(left);
            tracing::warn!(
                "Discord can't be reached, trying again in {:.1} s: {}",
                pause.as_secs_f64(),
                error_chain(&error)
            );
            sleep(pause).await;
        }
    }

    /// Keeps the command registered, and ends when the bot is not in the server.
    async fn stay_registered(
        rest: &Rest,
        application: &Application,
        allowlist: &Allowlist,
        suggestions: bool,
        limits: &Limits,
    ) -> RunError {
        let registration = Registration {
            rest,
            application,
            guild: allowlist.guild(),
            roles: allowlist.roles(),
            commands: &discord::commands(suggestions),
            look_every: limits.registration,
        };
        let NotInGuild = registration.keep().await;
        RunError::NotInGuild { invite: application.invite_link() }
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
