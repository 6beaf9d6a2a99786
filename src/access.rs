//! Who may use the command.

use serenity::model::id::{GuildId, RoleId};

use crate::language::{Both, both};

/// The roles that may use the command: at least one, and never everyone's.
#[derive(Clone, Debug)]
pub struct Allowlist {
    guild: GuildId,
    roles: Vec<RoleId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// A direct message, or another guild than the bot's.
    NotInGuild,
    /// In the guild, but without any of the roles.
    NoRole,
}

impl Allowlist {
    /// # Errors
    /// When nobody could use the command, or everybody.
    pub fn new(guild: GuildId, mut roles: Vec<RoleId>) -> Result<Self, Both> {
        if roles.is_empty() {
            return Err(both("it has no role", "no tiene ningún rol"));
        }
        // Discord gives the `@everyone` role the guild's own id.
        if roles.iter().any(|role| role.get() == guild.get()) {
            return Err(both(
                "it has the server's own id, as in DISCORD_GUILD_ID: that is the role of everyone",
                "tiene el ID del propio servidor, como en DISCORD_GUILD_ID: ese es el rol de todos",
            ));
        }
        roles.sort_unstable();
        roles.dedup();
        Ok(Self { guild, roles })
    }

    /// Checks the roles that the interaction itself carries (`member.roles`; none in a direct message).
    ///
    /// # Errors
    /// The reason for which the command is refused.
    pub fn check(&self, guild: Option<GuildId>, member_roles: Option<&[RoleId]>) -> Result<(), Denial> {
        match member_roles.filter(|_| guild == Some(self.guild)) {
            None => Err(Denial::NotInGuild),
            Some(roles) if roles.iter().any(|role| self.roles.contains(role)) => Ok(()),
            Some(_) => Err(Denial::NoRole),
        }
    }

    pub fn guild(&self) -> GuildId {
        self.guild
    }

    /// The allowlisted roles, each once.
    pub fn roles(&self) -> &[RoleId] {
        &self.roles
    }
}
