//! Who may use the command.

use serenity::model::id::{GuildId, RoleId};

use crate::language::Localized;

/// The roles that may use the command: at least one, and never everyone's.
#[derive(Clone, Debug)]
pub struct Allowlist {
    guild: GuildId,
    roles: Vec<RoleId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAllowlist {
    /// No role at all: nobody could use the command.
    #[error("it names no role")]
    Empty,
    /// Discord gives the `@everyone` role the guild's own id.
    #[error("it names the id in DISCORD_GUILD_ID, the server's own, which is the role of everyone")]
    Everyone,
}

impl Localized for InvalidAllowlist {
    fn spanish(&self) -> String {
        match self {
            Self::Empty => "no nombra ningún rol",
            Self::Everyone => {
                "nombra el ID que está en DISCORD_GUILD_ID, el del propio servidor, que es el rol de todos"
            }
        }
        .to_owned()
    }
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
    /// When `roles` is empty or contains the guild's own id.
    pub fn new(guild: GuildId, mut roles: Vec<RoleId>) -> Result<Self, InvalidAllowlist> {
        if roles.is_empty() {
            return Err(InvalidAllowlist::Empty);
        }
        if roles.iter().any(|role| role.get() == guild.get()) {
            return Err(InvalidAllowlist::Everyone);
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
