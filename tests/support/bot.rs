//! The real bot, started the way `main` starts it, against the stand-ins.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Poll, ready};
use std::time::Duration;

use serde_json::Value;
use serenity::model::id::ChannelId;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use wolkvox_bot::app::{App, RunError};
use wolkvox_bot::config::{Config, Draft};
use wolkvox_bot::telemetry::{self, Format};

pub use super::process::{Process, Site};

use super::discord::{self, Discord};
use super::wolkvox::{self, Wolkvox};
use super::{eventually, proxy};

/// What the bot logs, at `trace`, as JSON.
#[derive(Clone)]
pub struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    changed: watch::Sender<()>,
}

impl Default for Log {
    fn default() -> Self {
        Self { lines: Arc::default(), changed: watch::channel(()).0 }
    }
}

impl Log {
    pub fn push(&self, line: String) {
        self.lines.lock().unwrap().push(line);
        self.changed.send_replace(());
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// The fields of the audit records.
    pub fn audits(&self) -> Vec<Value> {
        let lines = self.lines();
        let records = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        records.filter(|record| record["target"] == "audit").map(|record| record["fields"].clone()).collect()
    }

    pub fn audits_of(&self, interaction: u64) -> Vec<Value> {
        let id = interaction.to_string();
        self.audits().into_iter().filter(|record| record["interaction_id"] == id.as_str()).collect()
    }

    pub async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        eventually(what, self.changed.subscribe(), || condition(self)).await;
    }

    pub async fn until_contains(&self, text: &str) {
        self.until(&format!("the log says {text:?}"), |log| log.lines().iter().any(|line| line.contains(text))).await;
    }

    /// The one audit record of an interaction.
    pub async fn audit(&self, interaction: u64) -> Value {
        self.until("the command is audited", |log| !log.audits_of(interaction).is_empty()).await;
        let mut records = self.audits_of(interaction);
        assert_eq!(records.len(), 1, "{records:?}");
        records.remove(0)
    }

    /// The outcome in an audit record of an interaction, in a log of text.
    pub async fn outcome_in_text(&self, interaction: u64) -> String {
        let id = format!("interaction_id={interaction} ");
        let find = |log: &Self| log.lines().into_iter().find(|line| line.contains(" audit: ") && line.contains(&id));
        self.until("the command is audited", |log| find(log).is_some()).await;
        let line = find(self).unwrap();
        let (_, outcome) = line.split_once("outcome=\"").unwrap();
        outcome.split('"').next().unwrap().to_owned()
    }

    /// The outcome in the one audit record of an interaction.
    pub async fn outcome(&self, interaction: u64) -> String {
        self.audit(interaction).await["outcome"].as_str().unwrap().to_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(String::from_utf8_lossy(line).trim_end().to_owned());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Makes the bot panic where it logs a certain message.
#[derive(Clone, Default)]
pub struct Trap(Arc<Mutex<Option<String>>>);

impl Trap {
    /// The next event whose message is this one panics, once.
    pub fn set(&self, message: &str) {
        *self.0.lock().unwrap() = Some(message.to_owned());
    }
}

impl<S: tracing::Subscriber> Layer<S> for Trap {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        struct Message(String);

        impl tracing::field::Visit for Message {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }

        let mut message = Message(String::new());
        event.record(&mut message);
        let sprung = self.0.lock().unwrap().take_if(|trap| message.0.contains(trap.as_str()));
        assert!(sprung.is_none(), "the trap was sprung");
    }
}

/// The variables for a bot against these stand-ins.
pub fn variables(discord: &Discord, wolkvox: &Wolkvox) -> HashMap<&'static str, String> {
    HashMap::from([
        ("DISCORD_TOKEN", discord::TOKEN.to_owned()),
        ("DISCORD_GUILD_ID", discord::GUILD.to_string()),
        ("ALLOWED_ROLE_IDS", format!("{}, {}", discord::SUPERVISOR_ROLE, discord::QUALITY_ROLE)),
        ("WOLKVOX_SERVER", "0042".to_owned()),
        ("WOLKVOX_TOKEN", wolkvox::TOKEN.to_owned()),
        ("DISCORD_API_URL", discord.url.clone()),
        ("WOLKVOX_API_URL", wolkvox.url.clone()),
        // Tests that need a record name a file of their own.
        ("STATE_FILE", "off".to_owned()),
    ])
}

/// What is read from these variables.
pub fn draft(discord: &Discord, wolkvox: &Wolkvox) -> Draft {
    let variables = variables(discord, wolkvox);
    Draft::from_sources(|name| variables.get(name).cloned(), Path::new("/nowhere"))
}

/// A bot inside the test's own process.
pub struct Bot {
    life: RefCell<Life>,
    shutdown: RefCell<Option<oneshot::Sender<()>>>,
}

enum Life {
    Running(JoinHandle<Result<(), RunError>>),
    /// Ended without an error, after it was asked to.
    Stopped,
    /// The test asked how it ended, and judges that itself.
    Awaited,
}

impl Bot {
    pub fn start(config: Config) -> Self {
        let bot = Self { life: RefCell::new(Life::Stopped), shutdown: RefCell::default() };
        bot.begin(config);
        bot
    }

    fn begin(&self, config: Config) {
        let (shutdown, asked) = oneshot::channel::<()>();
        let app = App::build(config).unwrap();
        let task = tokio::spawn(app.run(async {
            let _ = asked.await;
        }));
        self.life.replace(Life::Running(task));
        self.shutdown.replace(Some(shutdown));
    }

    pub fn shut_down(&self) {
        let _ = self.shutdown.take().map(|shutdown| shutdown.send(()));
    }

    /// How it ended. A test that asks may have a bot that ends by itself, and with an error.
    pub async fn ended(&self) -> Result<(), RunError> {
        match self.life.replace(Life::Awaited) {
            Life::Running(task) => {
                tokio::time::timeout(Duration::from_secs(100), task).await.expect("the bot ends").unwrap()
            }
            Life::Stopped => Ok(()),
            Life::Awaited => panic!("how the bot ended was asked before"),
        }
    }

    fn was_awaited(&self) -> bool {
        matches!(*self.life.borrow(), Life::Awaited)
    }

    /// Completes, with how it ended, when the bot ends and no test has asked for that end.
    async fn ended_unasked(&self) -> String {
        poll_fn(|context| {
            let mut life = self.life.borrow_mut();
            let Life::Running(task) = &mut *life else { return Poll::Pending };
            let asked = self.shutdown.borrow().is_none();
            match ready!(Pin::new(task).poll(context)) {
                Ok(Ok(())) if asked => {
                    *life = Life::Stopped;
                    Poll::Pending
                }
                Ok(end) => Poll::Ready(format!("{end:?}")),
                Err(panicked) => Poll::Ready(panicked.to_string()),
            }
        })
        .await
    }
}

/// Both stand-ins, the log, and a bot.
pub struct World {
    pub discord: Discord,
    pub wolkvox: Wolkvox,
    pub log: Log,
    pub trap: Trap,
    pub bot: Bot,
}

impl World {
    /// Runs a test beside a bot with the default settings, once it is connected.
    ///
    /// The test fails at once when the bot ends before it was asked to. After the test the bot is stopped, unless
    /// the test did that, and neither it nor the stand-ins may have anything to complain about.
    pub async fn run(test: impl AsyncFnOnce(&Self)) {
        Self::run_with(|_| {}, test).await;
    }

    /// With other settings.
    pub async fn run_with(change: impl FnOnce(&mut Config), test: impl AsyncFnOnce(&Self)) {
        Self::run_unconnected(
            change,
            |_| {},
            async |world| {
                world.discord.until_ready(1).await;
                test(world).await;
            },
        )
        .await;
    }

    /// With other settings and a prepared Discord, from the start: the bot may not be connected yet.
    pub async fn run_unconnected(
        change: impl FnOnce(&mut Config),
        prepare: impl FnOnce(&mut discord::State),
        test: impl AsyncFnOnce(&Self),
    ) {
        let (discord, wolkvox, log) = (Discord::start().await, Wolkvox::start().await, Log::default());
        discord.state(prepare);
        let filter = "trace".parse().unwrap();
        let trap = Trap::default();
        let subscriber = telemetry::subscriber(filter, Format::Json, false, log.clone()).with(trap.clone());
        let _subscriber = tracing::subscriber::set_default(subscriber);
        let mut config = draft(&discord, &wolkvox).finish().unwrap();
        change(&mut config);
        let world = Self { bot: Bot::start(config), discord, wolkvox, log, trap };
        tokio::select! {
            // The test first: it may be about to ask how the bot ended.
            biased;
            () = test(&world) => {}
            end = world.bot.ended_unasked() => panic!("the bot ended in the middle of the test: {end}"),
        }
        world.settle().await;
    }

    /// Starts the bot again, after it ended.
    pub fn restart(&self, change: impl FnOnce(&mut Config)) {
        let mut config = draft(&self.discord, &self.wolkvox).finish().unwrap();
        change(&mut config);
        self.bot.begin(config);
    }

    /// What a supervisor reads in the end after toggling this agent.
    pub async fn mute(&self, agent: u64) -> String {
        self.discord.reply(self.discord.mute(&discord::supervisor(), agent)).await
    }

    /// What is shown for an interaction in the end, and the outcome in its audit record.
    pub async fn told(&self, interaction: u64) -> (String, String) {
        (self.discord.reply(interaction).await, self.log.outcome(interaction).await)
    }

    pub async fn held_call(&self) -> (u64, Arc<Notify>) {
        held_call(&self.discord, &self.wolkvox).await
    }

    /// Makes sure that the bot stops without an error, that nothing was done that the real services would refuse,
    /// that no call overlapped another, and that no secret got into the log.
    async fn settle(&self) {
        if !self.bot.was_awaited() {
            self.bot.shut_down();
            let ended = self.bot.ended().await;
            assert!(ended.is_ok(), "{ended:?}");
        }
        check_stand_ins(&self.discord, &self.wolkvox);
        check_secrets(&self.log.text());
    }
}

/// An audit channel, a state file in this folder, and little time for last words: what is owed then is left to the next
/// start.
pub fn leaves_lines_to_the_next_start(folder: &Path) -> impl Fn(&mut Config) {
    move |config| {
        config.audit_channel = Some(ChannelId::new(discord::AUDIT_CHANNEL));
        config.state_file = Some(folder.join("state.db"));
        config.limits.handing_over = Duration::from_millis(100);
    }
}

/// A supervisor's command for agent 1001, whose call Wolkvox confirms when the handle is notified.
pub async fn held_call(discord: &Discord, wolkvox: &Wolkvox) -> (u64, Arc<Notify>) {
    discord.until_ready(1).await;
    let held = wolkvox.hold();
    let command = discord.mute(&discord::supervisor(), 1001);
    wolkvox.until_requests(1).await;
    (command, held)
}

pub fn check_stand_ins(discord: &Discord, wolkvox: &Wolkvox) {
    assert_eq!(discord.state(|state| state.violations.clone()), Vec::<String>::new());
    assert_eq!(wolkvox.state(|state| state.violations.clone()), Vec::<String>::new());
    assert!(wolkvox.state(|state| state.most_in_flight) <= 1, "two calls at once");
}

pub fn check_secrets(log: &str) {
    for secret in [discord::TOKEN, wolkvox::TOKEN, wolkvox::NATIONAL_ID, proxy::PASSWORD, "interaction-token-"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}
