//! What Discord sends.

use serde_json::{Value, json};

use super::{
    APPLICATION, AUDIT_CHANNEL, Actor, BOT, BOT_ROLE, CHANNEL, GUILD, Interaction, OTHER_ROLE, Permissions,
    QUALITY_ROLE, SUPERVISOR_ROLE,
};

pub(super) const SUPPRESS_EMBEDS: u64 = 4;
pub(super) const EPHEMERAL: u64 = 64;
const LOADING: u64 = 128;

pub fn command_data(option: Value) -> Value {
    json!({"id": "1500000000000000010", "name": "mute", "type": 1, "guild_id": GUILD.to_string(), "options": [option]})
}

pub(super) fn bot_user() -> Value {
    json!({"id": BOT.to_string(), "username": "wolkvox-bot", "discriminator": "0042", "global_name": null,
        "avatar": null, "bot": true, "mfa_enabled": true, "verified": true, "email": null, "flags": 0,
        "public_flags": 0, "banner": null, "accent_color": null})
}

pub(super) fn application_payload(interactions_endpoint: Option<&str>, bot_public: bool) -> Value {
    json!({"id": APPLICATION.to_string(), "name": "wolkvox-bot", "icon": null, "description": "", "type": null,
        "bot": bot_user(), "summary": "", "bot_public": bot_public, "bot_require_code_grant": false, "verify_key": "00",
        "flags": 0, "redirect_uris": [], "interactions_endpoint_url": interactions_endpoint, "team": null, "owner": bot_user(),
        "approximate_guild_count": 1, "explicit_content_filter": 0})
}

pub(super) fn guild_payload(permissions: &Permissions) -> Value {
    let role = |id: u64, name: &str| {
        json!({"id": id.to_string(), "name": name, "permissions": permissions.of_role(id).to_string(), "position": 1,
            "color": 0, "hoist": false, "managed": id == BOT_ROLE, "mentionable": false, "icon": null,
            "unicode_emoji": null, "flags": 0})
    };
    json!({"id": GUILD.to_string(), "name": "Centro de contacto", "icon": null, "owner_id": "42", "features": [],
        "preferred_locale": "es-419", "emojis": [], "stickers": [], "roles": [
            role(GUILD, "@everyone"), role(SUPERVISOR_ROLE, "Supervisor"), role(QUALITY_ROLE, "Calidad"),
            role(OTHER_ROLE, "Agent"), role(BOT_ROLE, "wolkvox-bot")]})
}

pub(super) fn bot_member(permissions: &Permissions) -> Value {
    member(bot_user(), &permissions.bot)
}

fn member(user: Value, roles: &[u64]) -> Value {
    json!({"user": user, "nick": null, "avatar": null, "banner": null,
        "roles": roles.iter().map(u64::to_string).collect::<Vec<_>>(),
        "joined_at": "2026-01-05T08:00:00.000000+00:00", "premium_since": null, "deaf": false, "mute": false,
        "flags": 0, "pending": false, "communication_disabled_until": null, "unusual_dm_activity_until": null})
}

pub(super) fn audit_channel(permissions: &Permissions) -> Value {
    json!({"id": AUDIT_CHANNEL.to_string(), "type": 0, "name": "auditoria-mute", "guild_id": GUILD.to_string(),
        "position": 1, "permission_overwrites": permissions.overwrites, "nsfw": false, "parent_id": null,
        "topic": null, "rate_limit_per_user": 0, "last_message_id": null, "flags": 0})
}

/// A message of the bot's.
pub(super) fn message(id: u64, channel: u64, kind: u64, flags: u64, body: &Value) -> Value {
    let or_empty = |value: &Value, empty: Value| if value.is_null() { empty } else { value.clone() };
    json!({"id": id.to_string(), "channel_id": channel.to_string(), "type": kind, "flags": flags,
        "content": or_empty(&body["content"], json!("")), "components": or_empty(&body["components"], json!([])),
        "author": bot_user(), "application_id": APPLICATION.to_string(), "mentions": [], "mention_roles": [],
        "mention_everyone": false, "attachments": [], "embeds": [], "pinned": false, "tts": false,
        "timestamp": "2026-11-20T08:00:00.000000+00:00", "edited_timestamp": null})
}

/// The message that an interaction's first answer made, as it is now.
pub(super) fn original(interaction: &Interaction) -> Value {
    let loading = if interaction.shown.is_none() { LOADING } else { 0 };
    let ephemeral = if interaction.private() { EPHEMERAL } else { 0 };
    let suppressed = if interaction.suppressed { SUPPRESS_EMBEDS } else { 0 };
    let shown = interaction.shown.as_ref().unwrap_or(&Value::Null);
    message(interaction.message, CHANNEL, 20, loading | ephemeral | suppressed, shown)
}

pub fn interaction_payload(id: u64, token: &str, actor: &Actor, kind: u64, data: Value) -> Value {
    let user = json!({"id": actor.id.to_string(), "username": actor.name, "discriminator": "0",
        "global_name": actor.name.to_uppercase(), "avatar": null, "avatar_decoration_data": null,
        "public_flags": 0, "clan": null, "primary_guild": null, "collectibles": null});
    let mut payload = json!({
        "id": id.to_string(), "application_id": APPLICATION.to_string(), "type": kind, "token": token, "version": 1,
        "data": data, "locale": actor.locale, "app_permissions": "2147483648", "attachment_size_limit": 10_485_760,
        "entitlements": [], "context": 0, "channel_id": CHANNEL.to_string(),
        "channel": {"id": CHANNEL.to_string(), "type": 0, "name": "supervisors", "guild_id": actor.guild.map(|g| g.to_string()),
            "last_message_id": null, "nsfw": false, "parent_id": null, "permissions": "2147483648", "position": 1,
            "rate_limit_per_user": 0, "topic": null, "flags": 0},
        "authorizing_integration_owners": {"0": GUILD.to_string()},
    });
    match actor.guild {
        Some(guild) => {
            payload["guild_id"] = json!(guild.to_string());
            payload["guild_locale"] = json!("es-419");
            payload["guild"] = json!({"id": guild.to_string(), "locale": "es-419", "features": []});
            payload["member"] = member(user, &actor.roles);
            payload["member"]["permissions"] = json!("2147483648");
        }
        None => {
            payload["context"] = json!(1);
            payload["user"] = user;
        }
    }
    payload
}
