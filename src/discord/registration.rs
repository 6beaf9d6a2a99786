//! `/mute` in the server's list of commands: registered beside everything else, since commands that are registered from
//! before work all the while, and registered again when it is gone. A kick takes it away, and an invitation does not bring
//! it back.

use std::time::Duration;

use serenity::builder::CreateCommand;
use serenity::model::id::{GuildId, RoleId};
use tokio::time::{Instant, sleep};

use super::error::RestError;
use super::payloads::{Application, Guild};
use super::rest::Rest;
use crate::net::error_chain;
use crate::retry::Backoff;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// So often Discord has to say that the bot is not in the server: it has said so of servers that bots were in.
const REFUSALS: u32 = 4;
/// How many looks long a bot that was in the server may be out of it, since somebody may be inviting it again.
const KICKED_FOR: u32 = 3;

pub struct Registration<'a> {
    pub rest: &'a Rest,
    pub application: &'a Application,
    pub guild: GuildId,
    /// Those that may use the command.
    pub roles: &'a [RoleId],
    pub commands: &'a [CreateCommand],
    /// How often to look whether the command is there, and the longest pause between tries to register it.
    pub look_every: Duration,
}

/// Discord refuses the server's commands: the bot is not in the server, or was invited without the right to add any.
#[derive(Debug)]
pub struct NotInGuild;

impl Registration<'_> {
    /// Keeps the command registered, and tells the log what an administrator should know of the server, for ever.
    pub async fn keep(&self) -> NotInGuild {
        let describe = async {
            tokio::join!(self.name_roles(), self.look_for_global_command());
            std::future::pending().await
        };
        tokio::select! {
            not_in_guild = self.keep_registered() => not_in_guild,
            never = describe => never,
        }
    }

    async fn keep_registered(&self) -> NotInGuild {
        let mut was_registered = false;
        loop {
            if let Err(not_in_guild) = self.register(was_registered).await {
                return not_in_guild;
            }
            tracing::info!(server_id = %self.guild, "/mute is registered");
            was_registered = true;
            while self.is_there().await {}
            tracing::warn!("the server has no /mute any more; it is registered again");
        }
    }

    /// Tries until the command is registered.
    async fn register(&self, was_registered: bool) -> Result<(), NotInGuild> {
        let patience = if was_registered { KICKED_FOR * self.look_every } else { Duration::ZERO };
        let mut backoff = self.backoff();
        let (mut refusals, mut refused_since) = (0, Instant::now());
        loop {
            let Err(error) = self.rest.register(self.application.id, self.guild, self.commands).await else {
                return Ok(());
            };
            if !error.is_missing_access() {
                (refusals, refused_since) = (0, Instant::now());
            } else {
                refusals += 1;
                if refusals >= REFUSALS && refused_since.elapsed() >= patience {
                    return Err(NotInGuild);
                }
            }
            let pause = self.pause_after(&error, &mut backoff);
            self.report(&error, pause).await;
            sleep(pause).await;
        }
    }

    /// A server that has the command from before is no worse off.
    async fn report(&self, error: &RestError, pause: Duration) {
        let (pause, why) = (pause.as_secs_f64(), error_chain(error));
        match self.rest.is_registered(self.application.id, self.guild).await {
            Ok(true) => tracing::warn!(
                "/mute could not be registered again, so the one from before stays; trying again in {pause:.1} s: {why}"
            ),
            Ok(false) => tracing::error!(
                "the server has no /mute, and it could not be registered; trying again in {pause:.1} s: {why}"
            ),
            Err(_) => tracing::error!(
                "/mute could not be registered, nor is it known whether the server has it; trying again in {pause:.1} s: \
                 {why}"
            ),
        }
    }

    /// Looks whether the command is there, when it is time. What is not known counts as yes.
    async fn is_there(&self) -> bool {
        sleep(self.look_every).await;
        match self.rest.is_registered(self.application.id, self.guild).await {
            Ok(registered) => registered,
            Err(error) => !error.is_missing_access(),
        }
    }

    async fn name_roles(&self) {
        match self.insist(|| self.rest.guild(self.guild)).await {
            Ok(guild) => self.log_roles(&guild),
            Err(error) => tracing::warn!(
                "Discord does not tell the server's name and roles (GET /guilds/{}), so ALLOWED_ROLE_IDS could not be \
                 compared with them: {}",
                self.guild,
                error_chain(&error)
            ),
        }
    }

    fn log_roles(&self, guild: &Guild) {
        tracing::info!(server = guild.name, "serving this server");
        for id in self.roles {
            match guild.roles.iter().find(|role| role.id == *id) {
                Some(role) => tracing::info!(role = role.name, "may use /mute"),
                None => tracing::warn!(role_id = %id, "ALLOWED_ROLE_IDS names a role that the server does not have"),
            }
        }
    }

    async fn look_for_global_command(&self) {
        match self.insist(|| self.rest.global_command(self.application.id)).await {
            Ok(None) => {}
            Ok(Some(command)) => tracing::warn!(
                "people see two commands /mute: the application has one for all servers too, from an earlier project. To \
                 delete that one: {}",
                self.application.deletion_of(command)
            ),
            Err(error) => tracing::warn!("the commands for all servers are not known: {}", error_chain(&error)),
        }
    }

    /// Repeats a request until Discord carries it out or refuses it.
    async fn insist<T, F: Future<Output = Result<T, RestError>>>(
        &self,
        request: impl Fn() -> F,
    ) -> Result<T, RestError> {
        let mut backoff = self.backoff();
        loop {
            match request().await {
                Err(error) if error.transient().is_some() => sleep(self.pause_after(&error, &mut backoff)).await,
                result => return result,
            }
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(FIRST_PAUSE.min(self.look_every), self.look_every)
    }

    /// At most the longest, whatever is asked for: it may be lifted earlier.
    fn pause_after(&self, error: &RestError, backoff: &mut Backoff) -> Duration {
        backoff.pause().max(error.transient().unwrap_or_default().min(self.look_every))
    }
}
