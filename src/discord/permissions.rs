//! What a member may do in a channel, computed as Discord documents it ("Permissions", "Permission Overwrites").

use serenity::model::Permissions;
use serenity::model::channel::{ChannelType, PermissionOverwrite, PermissionOverwriteType as Kind};
use serenity::model::id::{GuildId, RoleId, UserId};

use super::error::RestError;
use super::payloads::{Channel, Guild};
use super::rest::Rest;

/// Like a forum, with pictures. serenity has no name for it.
const MEDIA: ChannelType = ChannelType::Unknown(16);

/// Whether somebody may send messages in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    Allowed,
    Denied,
    /// It is not a channel for messages, or not one of a guild.
    Impossible,
}

/// Whether a member may send messages in the channel.
///
/// # Errors
/// When Discord does not tell what that depends on.
pub async fn sending_in(rest: &Rest, channel: &Channel, member: UserId) -> Result<Sending, RestError> {
    let Some(guild_id) = channel.guild_id else { return Ok(Sending::Impossible) };
    let parent;
    let (overwrites, send) = match (channel.kind, channel.parent_id) {
        (ChannelType::Category | ChannelType::Directory | ChannelType::Forum | MEDIA, _) => {
            return Ok(Sending::Impossible);
        }
        (ChannelType::NewsThread | ChannelType::PublicThread | ChannelType::PrivateThread, Some(id)) => {
            parent = rest.channel(id).await?;
            (&parent.permission_overwrites, Permissions::SEND_MESSAGES_IN_THREADS)
        }
        _ => (&channel.permission_overwrites, Permissions::SEND_MESSAGES),
    };
    let guild = rest.guild(guild_id).await?;
    let roles = rest.member_roles(guild_id, member).await?;
    let permissions = in_channel(guild_id, &guild, overwrites, member, &roles);
    let allowed = permissions.contains(Permissions::VIEW_CHANNEL | send);
    Ok(if allowed { Sending::Allowed } else { Sending::Denied })
}

/// The permissions of `member`, who has `roles`, in a channel of the guild with these overwrites.
pub fn in_channel(
    guild_id: GuildId,
    guild: &Guild,
    overwrites: &[PermissionOverwrite],
    member: UserId,
    roles: &[RoleId],
) -> Permissions {
    // Discord gives the role of everyone the guild's own id, and does not list it among a member's roles.
    let everyone = RoleId::new(guild_id.get());
    let of_role = |role: &&super::Role| role.id == everyone || roles.contains(&role.id);
    let base = guild.roles.iter().filter(of_role).fold(Permissions::empty(), |all, role| all | role.permissions);
    if guild.owner_id == member || base.contains(Permissions::ADMINISTRATOR) {
        return Permissions::all();
    }
    // All that apply at one level are taken together: what one of them denies another may allow.
    let apply = |permissions: Permissions, applies: &dyn Fn(Kind) -> bool| {
        let applying = || overwrites.iter().filter(|overwrite| applies(overwrite.kind));
        let denied = applying().fold(Permissions::empty(), |all, overwrite| all | overwrite.deny);
        let allowed = applying().fold(Permissions::empty(), |all, overwrite| all | overwrite.allow);
        (permissions - denied) | allowed
    };
    let permissions = apply(base, &|kind| kind == Kind::Role(everyone));
    let permissions = apply(permissions, &|kind| matches!(kind, Kind::Role(role) if roles.contains(&role)));
    apply(permissions, &|kind| kind == Kind::Member(member))
}
