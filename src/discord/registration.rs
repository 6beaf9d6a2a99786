//! `/mute` in the server's list of commands: registered beside everything else, since commands that are registered from
//! before work all the while, and registered again when it is gone. A kick takes it away, and an invitation does not bring
//! it back.

use std::future::pending;
use std::time::Duration;

use serenity::builder::CreateCommand;
use serenity::model::id::{GuildId, RoleId};
use tokio::time::{Instant, sleep};

use super::error::RestError;
use super::payloads::{Application, Guild};
use super::rest::Rest;
use crate::net::error_chain;
use crate::retry::{Backoff, retry};

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// So often in a row Discord has to say that the bot is not in the server: it has said so of servers that bots were in.
const REFUSALS: u32 = 4;
/// The same for a bot that was in it, since somebody may be inviting it again: with the growing pauses, a quarter of an
/// hour.
const REFUSALS_AFTER_A_KICK: u32 = 12;

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
    /// Keeps the command registered, and tells the log what an administrator should know of the server.
    pub async fn keep(&self) -> NotInGuild {
        let describe = async { tokio::join!(self.name_roles(), self.look_for_global_command(), pending()) };
        tokio::select! {
            not_in_guild = self.keep_registered() => not_in_guild,
            ((), (), never) = describe => never,
        }
    }

    async fn keep_registered(&self) -> NotInGuild {
        let (mut backoff, mut refused, mut patience) = (self.backoff(), 0, REFUSALS);
        loop {
            let Err(error) = self.rest.register(self.application.id, self.guild, self.commands).await else {
                tracing::info!(server_id = %self.guild, "/mute is registered");
                while self.is_there().await {}
                tracing::warn!("the server has no /mute any more; it is registered again");
                (backoff, refused, patience) = (self.backoff(), 0, REFUSALS_AFTER_A_KICK);
                continue;
            };
            // A server that has the command from before is no worse off, and the bot is in it.
            let stays = matches!(self.rest.is_registered(self.application.id, self.guild).await, Ok(true));
            refused = if error.is_missing_access() && !stays { refused + 1 } else { 0 };
            if refused >= patience {
                return NotInGuild;
            }
            let pause = backoff.pause().max(self.pause_asked_for(&error).unwrap_or_default());
            report(&error, pause, stays);
            sleep(pause).await;
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
                "Discord does not give the server's name and roles (GET /guilds/{}), so ALLOWED_ROLE_IDS could not be \
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
                None => {
                    tracing::warn!(role_id = %id, "ALLOWED_ROLE_IDS has a role that the server does not have: correct it, and restart the bot")
                }
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

    /// Repeats a request until Discord carries it out or refuses it, for a day at most.
    async fn insist<T, F: Future<Output = Result<T, RestError>>>(
        &self,
        request: impl FnMut() -> F,
    ) -> Result<T, RestError> {
        retry(self.backoff(), Instant::now() + DAY, request, |error| self.pause_asked_for(error)).await
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(FIRST_PAUSE.min(self.look_every), self.look_every)
    }

    /// At most the longest: it may be lifted earlier. `None` where trying again would change nothing.
    fn pause_asked_for(&self, error: &RestError) -> Option<Duration> {
        error.transient().map(|pause| pause.min(self.look_every))
    }
}

fn report(error: &RestError, pause: Duration, stays: bool) {
    let why = format!("trying again in {:.1} s: {}", pause.as_secs_f64(), error_chain(error));
    if stays {
        tracing::warn!("/mute could not be registered again, so the one from before stays; {why}");
    } else {
        tracing::error!("the server has no /mute, as far as is known, and it could not be registered; {why}");
    }
}
