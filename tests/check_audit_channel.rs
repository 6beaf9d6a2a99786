//! `wolkvox-bot check`: whether the bot may send to the audit channel.

use std::collections::BTreeMap;

use serde_json::json;
use serenity::model::channel::PermissionOverwrite;
use serenity::model::id::{GuildId, RoleId, UserId};
use wolkvox_bot::discord::permissions::in_channel;

use crate::check::check;
use crate::support::discord::permissions::{ADMINISTRATOR, SEND_MESSAGES, VIEW_CHANNEL};
use crate::support::discord::{
    AUDIT_CHANNEL, BOT, BOT_ROLE, CHANNEL, Discord, GUILD, Permissions, QUALITY_ROLE, SUPERVISOR_ROLE,
};
use crate::support::wolkvox::Wolkvox;

#[tokio::test]
async fn there_is_always_a_line_for_the_audit_channel() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    let channel = AUDIT_CHANNEL.to_string();
    for (changes, line) in [
        (vec![], "ok    Audit channel: none (AUDIT_CHANNEL_ID is not set)"),
        (vec![("DISCORD_TOKEN", "wrong")], "ok    Audit channel: none (AUDIT_CHANNEL_ID is not set)"),
        (vec![("AUDIT_CHANNEL_ID", "#auditoria-mute")], "warn  Audit channel: not checked: fix what"),
        (
            vec![("AUDIT_CHANNEL_ID", &channel), ("DISCORD_TOKEN", "wrong")],
            "warn  Audit channel: not checked: fix what",
        ),
        (
            vec![("AUDIT_CHANNEL_ID", &channel), ("DISCORD_GUILD_ID", "4711000000000000000")],
            "warn  Audit channel: #auditoria-mute is in another server than DISCORD_GUILD_ID. Check \
             AUDIT_CHANNEL_ID.",
        ),
    ] {
        let checked = check(&discord, &wolkvox, &changes).await;
        assert!(checked.printed.contains(line), "{changes:?}: {}", checked.printed);
    }
}

#[tokio::test]
async fn an_audit_channel_in_which_the_bot_may_not_send_messages_is_a_failure() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    let channel = AUDIT_CHANNEL.to_string();
    let overwrite = |id: u64, kind: u64, allow: u64, deny: u64| {
        let (id, allow, deny) = (id.to_string(), allow.to_string(), deny.to_string());
        json!({"id": id, "type": kind, "allow": allow, "deny": deny})
    };
    let everyone_silent = overwrite(GUILD, 0, 0, SEND_MESSAGES);
    let everyone = |bits| BTreeMap::from([(GUILD, bits)]);
    let usual = VIEW_CHANNEL | SEND_MESSAGES;
    for (roles, overwrites, may_send) in [
        (everyone(usual), vec![], true),
        (everyone(VIEW_CHANNEL), vec![], false),
        (BTreeMap::from([(GUILD, VIEW_CHANNEL), (BOT_ROLE, SEND_MESSAGES)]), vec![], true),
        (BTreeMap::from([(GUILD, VIEW_CHANNEL), (SUPERVISOR_ROLE, SEND_MESSAGES)]), vec![], false),
        (everyone(usual), vec![everyone_silent.clone()], false),
        (everyone(usual), vec![everyone_silent.clone(), overwrite(BOT_ROLE, 0, SEND_MESSAGES, 0)], true),
        (everyone(usual), vec![overwrite(BOT, 1, 0, SEND_MESSAGES)], false),
        (BTreeMap::from([(GUILD, 0), (BOT_ROLE, ADMINISTRATOR)]), vec![everyone_silent], true),
    ] {
        let what = format!("{roles:?} {overwrites:?}");
        discord.state(|state| state.permissions = Permissions { roles, overwrites, ..Permissions::default() });
        let checked = check(&discord, &wolkvox, &[("AUDIT_CHANNEL_ID", &channel)]).await;
        let line = match may_send {
            true => "ok    Audit channel: #auditoria-mute",
            false => {
                "FAIL  Audit channel: the bot can see #auditoria-mute (AUDIT_CHANNEL_ID), but may not send messages in it."
            }
        };
        assert!(checked.printed.contains(line), "{what}: {}", checked.printed);
        assert_eq!(checked.code, Some(i32::from(!may_send)), "{what}");
    }
    discord.state(|state| state.permissions.roles = everyone(VIEW_CHANNEL));
    let checked = check(&discord, &wolkvox, &[("LANG", "es"), ("AUDIT_CHANNEL_ID", &channel)]).await;
    let line =
        "FALLO Canal de auditoría: el bot puede ver #auditoria-mute (AUDIT_CHANNEL_ID), pero no enviar mensajes en él.";
    assert!(checked.printed.contains(line), "{}", checked.printed);
}

#[tokio::test]
async fn threads_have_their_channels_overwrites_and_forums_take_no_messages() {
    let (discord, wolkvox) = (Discord::start().await, Wolkvox::start().await);
    let audit_channel = AUDIT_CHANNEL.to_string();
    let in_threads = 1_u64 << 38;
    let payload = |kind: u64, parent: Option<u64>, denied: u64| {
        let overwrite = json!({"id": GUILD.to_string(), "type": 0, "allow": "0", "deny": denied.to_string()});
        json!({"id": "1", "type": kind, "name": "audits", "guild_id": GUILD.to_string(),
            "parent_id": parent.map(|id| id.to_string()), "permission_overwrites": [overwrite]})
    };
    let everyone = VIEW_CHANNEL | SEND_MESSAGES | in_threads;
    discord.state(|state| state.permissions.roles = BTreeMap::from([(GUILD, everyone)]));
    for (kind, parent_denies, line) in [
        (11, 0, "ok    Audit channel: #audits"),
        (12, SEND_MESSAGES, "ok    Audit channel: #audits"),
        (11, in_threads, "FAIL  Audit channel: the bot can see #audits (AUDIT_CHANNEL_ID), but may not send"),
        (10, VIEW_CHANNEL, "FAIL  Audit channel: the bot can see #audits (AUDIT_CHANNEL_ID), but may not send"),
        (4, 0, "FAIL  Audit channel: audits is not a channel for messages. Check AUDIT_CHANNEL_ID."),
        (15, 0, "FAIL  Audit channel: audits is not a channel for messages. Check AUDIT_CHANNEL_ID."),
        (16, 0, "FAIL  Audit channel: audits is not a channel for messages. Check AUDIT_CHANNEL_ID."),
        (2, 0, "ok    Audit channel: #audits"),
    ] {
        discord.state(|state| {
            state.channels.insert(AUDIT_CHANNEL, payload(kind, Some(CHANNEL), 0));
            state.channels.insert(CHANNEL, payload(0, None, parent_denies));
        });
        let checked = check(&discord, &wolkvox, &[("AUDIT_CHANNEL_ID", &audit_channel)]).await;
        assert!(checked.printed.contains(line), "{kind}: {}", checked.printed);
    }
}

/// As the stand-in computes them, which was written from the same documentation by somebody else.
#[test]
fn permissions_are_those_that_discord_computes() {
    let bits = || [0, ADMINISTRATOR, VIEW_CHANNEL, SEND_MESSAGES, VIEW_CHANNEL | SEND_MESSAGES][fastrand::usize(..5)];
    let without_administrator = || bits() & !ADMINISTRATOR;
    for _ in 0..2000 {
        let roles = [GUILD, SUPERVISOR_ROLE, QUALITY_ROLE, BOT_ROLE];
        let given = BTreeMap::from(roles.map(|role| (role, bits())));
        let has: Vec<u64> = roles[1..].iter().copied().filter(|_| fastrand::bool()).collect();
        let targets = [(GUILD, 0), (SUPERVISOR_ROLE, 0), (QUALITY_ROLE, 0), (BOT_ROLE, 0), (BOT, 1), (501, 1)];
        let overwrites: Vec<serde_json::Value> = targets
            .iter()
            .filter(|_| fastrand::bool())
            .map(|(id, kind)| {
                json!({"id": id.to_string(), "type": kind, "allow": without_administrator().to_string(),
                    "deny": without_administrator().to_string()})
            })
            .collect();
        let listed: Vec<_> = given
            .iter()
            .map(|(id, bits)| json!({"id": id.to_string(), "name": "", "permissions": bits.to_string()}))
            .collect();
        let guild = json!({"name": "", "owner_id": "42", "roles": listed});
        let guild: wolkvox_bot::discord::Guild = serde_json::from_value(guild).unwrap();
        let expected = Permissions { roles: given, bot: has.clone(), overwrites: overwrites.clone() };
        let decoded: Vec<PermissionOverwrite> = serde_json::from_value(overwrites.into()).unwrap();
        let has: Vec<RoleId> = has.into_iter().map(RoleId::new).collect();
        let computed = in_channel(GuildId::new(GUILD), &guild, &decoded, UserId::new(BOT), &has);
        let looked_at = VIEW_CHANNEL | SEND_MESSAGES;
        assert_eq!(computed.bits() & looked_at, expected.in_channel() & looked_at, "{expected:?}");
    }
}
