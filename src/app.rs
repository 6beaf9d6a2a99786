//! The one way in which everything is put together: for `main`, for the tests and for the sandbox.

mod error;

use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::FusedFuture as _;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

pub(crate) use self::error::what_to_look_at;
pub use self::error::{BuildError, RunError};
use crate::command::Entry;
use crate::config::Config;
use crate::directory::Directory;
use crate::discord::{
    self, Absence, Application, Context, Gateway, Handler, NotInGuild, Registration, Rest, audit_channel,
};
use crate::journal::{self, Journal, OpenError, Taken};
use crate::ledger::Ledger;
use crate::net::{Tls, error_chain};
use crate::retry::Backoff;
use crate::token::Token;
use crate::wolkvox::Wolkvox;

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

/// What the bot is doing, for the service manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is on its way to Discord for the first time.
    Starting,
    /// Another process has the file. This one takes over when that ends.
    Standby,
    /// The command is registered, and commands come in.
    Ready,
    /// The connection that commands come in through is lost, and made again.
    Reconnecting,
    /// No new commands are taken, and those in progress are finished. It is the last state.
    Stopping,
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
        let start = async {
            // What only a person can fix shows at once, also while Discord is out of reach, or beside a bot that runs.
            self.config.state_file.as_deref().map_or(Ok(()), journal::look)?;
            let application = self.sign_in().await?;
            Ok::<_, RunError>((application, self.take_file().await?))
        };
        let (application, file) = tokio::select! {
            biased;
            () = &mut shutdown => return Ok(()),
            started = start => started?,
        };
        self.serve(shutdown, &application, file).await
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
    /// the bot is stopping.
    async fn serve(
        self,
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
        application: &Application,
        (journal, left): (Journal, Vec<Entry>),
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
        let watching = stop.clone().run_until_cancelled_owned(self.token().watch());
        let _watching = AbortOnDropHandle::new(tokio::spawn(watching));
        let handler = Handler::new(context, tasks.clone());
        let tell = |ready| self.enter(if ready { State::Ready } else { State::Reconnecting });
        let token = &self.config.discord.token;
        let gateway = Gateway { rest: &self.rest, token, give_up_after: limits.disconnected, tell: &tell };
        let mut gateway = pin!(gateway.run(&close, |payload| handler.handle(payload)).fuse());
        let ended = tokio::select! {
            ended = &mut gateway => ended.map_err(|error| RunError::Gateway { error }),
            error = self.stay_registered(application) => Err(error),
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
        if !gateway.is_terminated() {
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

    fn token(&self) -> Token {
        Token {
            wolkvox: self.wolkvox.clone(),
            rest: self.rest.clone(),
            guild: self.config.allowlist.guild(),
            audit_channel: self.config.audit_channel,
            limits: self.config.limits,
        }
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

    /// Signs in to Discord: all that is needed before commands can be served.
    async fn sign_in(&self) -> Result<Application, RunError> {
        let application = self.reach_application().await?;
        tracing::info!(bot = application.name, "signed in to Discord");
        if application.sends_commands_elsewhere() {
            tracing::error!(
                "no command will come in, because the application sends them to another address: open \
                 https://discord.com/developers/applications, your application, \"General Information\", and empty \
                 \"Interactions Endpoint URL\""
            );
        }
        Ok(application)
    }

    /// Asks Discord who the bot is, with growing pauses while Discord is down or out of reach.
    async fn reach_application(&self) -> Result<Application, RunError> {
        let mut absence = Absence::new(self.config.limits.disconnected);
        let mut backoff = BACKOFF;
        loop {
            let error = match self.rest.application().await {
                Ok(application) => return Ok(application),
                Err(error) if error.status() == Some(401) => return Err(RunError::Token),
                Err(error) if error.transient().is_none() => return Err(RunError::Refused(error)),
                Err(error) => error,
            };
            let why = error_chain(&error);
            absence.report(&why);
            let mut pause = backoff.pause();
            if let Some(asked) = error.leave_alone(pause) {
                pause = asked;
                absence.excuse(pause);
            } else if absence.left().is_zero() {
                return Err(RunError::Unreachable { after: absence.duration(), last: error });
            } else {
                pause = pause.max(error.least_pause()).min(absence.left());
                tracing::warn!("Discord can't be reached, trying again in {:.1} s: {why}", pause.as_secs_f64());
            }
            sleep(pause).await;
        }
    }

    /// Keeps the command registered, and ends when the bot is not in the server.
    async fn stay_registered(&self, application: &Application) -> RunError {
        let registration = Registration {
            rest: &self.rest,
            application,
            guild: self.config.allowlist.guild(),
            roles: self.config.allowlist.roles(),
            commands: &discord::commands(self.config.agent_directory),
            look_every: self.config.limits.registration,
        };
        let NotInGuild = registration.keep().await;
        RunError::NotInGuild { invite: application.invite_link() }
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
