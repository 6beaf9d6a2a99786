//! What the bot may do in the audit channel.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{BOT, BOT_ROLE, GUILD};

pub const ADMINISTRATOR: u64 = 1 << 3;
pub const VIEW_CHANNEL: u64 = 1 << 10;
pub const SEND_MESSAGES: u64 = 1 << 11;
const USE_APPLICATION_COMMANDS: u64 = 1 << 31;

#[derive(Clone, Debug)]
pub struct Permissions {
    /// Those of the guild's roles; a role that is not named here has none. `GUILD` stands for @everyone.
    pub roles: BTreeMap<u64, u64>,
    /// The bot's roles.
    pub bot: Vec<u64>,
    /// The audit channel's overwrites, as Discord sends them: `id`, `type` (0 role, 1 member), `allow`, `deny`.
    pub overwrites: Vec<Value>,
}

impl Default for Permissions {
    fn default() -> Self {
        let everyone = VIEW_CHANNEL | SEND_MESSAGES | USE_APPLICATION_COMMANDS;
        Self { roles: BTreeMap::from([(GUILD, everyone)]), bot: vec![BOT_ROLE], overwrites: Vec::new() }
    }
}

impl Permissions {
    pub fn of_role(&self, role: u64) -> u64 {
        self.roles.get(&role).copied().unwrap_or_default()
    }

    /// What the bot may do in the audit channel, by Discord's rules.
    pub fn in_channel(&self) -> u64 {
        let base = self.bot.iter().fold(self.of_role(GUILD), |all, role| all | self.of_role(*role));
        if base & ADMINISTRATOR != 0 {
            return u64::MAX;
        }
        let bits = |value: &Value| value.as_str().and_then(|bits| bits.parse::<u64>().ok()).unwrap_or_default();
        let apply = |permissions: u64, kind: u64, ids: &[u64]| {
            let matching = self.overwrites.iter().filter(|overwrite| {
                overwrite["type"] == kind && ids.iter().any(|id| overwrite["id"] == id.to_string().as_str())
            });
            let (allow, deny) = matching.fold((0, 0), |(allow, deny), overwrite| {
                (allow | bits(&overwrite["allow"]), deny | bits(&overwrite["deny"]))
            });
            permissions & !deny | allow
        };
        apply(apply(apply(base, 0, &[GUILD]), 0, &self.bot), 1, &[BOT])
    }
}
