//! What a value means, as people paste it.

use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serenity::model::id::{ChannelId, GuildId, RoleId};

use crate::language::{Both, both};
use crate::net::{BaseUrl, Proxy};
use crate::text::is_invisible;

/// A value, or the mistake in it.
pub(super) type Parsed<T> = Result<T, Both>;

fn visible(value: &str) -> String {
    value.replace(is_invisible, "")
}

/// Without invisible characters and blanks, which come along when a value is copied from where it was wrapped.
fn joined(value: &str) -> String {
    value.replace(|char: char| is_invisible(char) || char.is_whitespace(), "")
}

fn token(value: &str) -> Parsed<String> {
    let written = visible(value);
    let written = written.strip_prefix("Bot ").unwrap_or(&written).trim();
    let token = joined(written);
    let graphic = token.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\''));
    // What stands behind a blank may be a comment, or the next assignment with another secret.
    let wrapped = token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if graphic && (token == written || wrapped) {
        return Ok(token);
    }
    Err(both(
        "it contains a space, a quotation mark or another character that no token has",
        "contiene un espacio, una comilla u otro carácter que ningún token tiene",
    ))
}

/// Three parts with dots, the first of which is the bot's id in base64, and so begins with M, N or O.
pub(super) fn is_discord_token(token: &str) -> bool {
    token.len() > 20 && token.starts_with(['M', 'N', 'O']) && token.split('.').count() == 3
}

pub(super) fn discord_token(value: &str) -> Parsed<String> {
    let token = token(value)?;
    // As Wolkvox's tokens. Discord's page shows the public key, 64 such digits, below the application's id.
    if token.len() >= 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(both(
            "it is a Wolkvox token or the application's Public Key, not the bot's token",
            "es un token de Wolkvox o la «Public Key» de la aplicación, no el token del bot",
        ));
    }
    if id(&token, "", None).is_some() {
        return Err(both(
            "it is an id, such as the Application ID, not the bot's token",
            "es un ID, como el «Application ID», no el token del bot",
        ));
    }
    Ok(token)
}

pub(super) fn wolkvox_token(value: &str) -> Parsed<String> {
    let token = token(value)?;
    if is_discord_token(&token) {
        return Err(both(
            "it is a Discord token: if the two tokens are swapped, put each in the place of the other",
            "es un token de Discord: si los dos tokens están intercambiados, pon cada uno en el lugar del otro",
        ));
    }
    Ok(token)
}

pub(super) fn guild(value: &str) -> Parsed<GuildId> {
    one_id(value, "", Some(0)).map(GuildId::from)
}

pub(super) fn channel(value: &str) -> Parsed<ChannelId> {
    one_id(value, "<#", Some(1)).map(ChannelId::from)
}

pub(super) fn roles(value: &str) -> Parsed<Vec<RoleId>> {
    let value = visible(value);
    let entries = value.split(|char: char| char.is_whitespace() || ",;[]".contains(char));
    let (mut ids, mut wrong) = (Vec::new(), Vec::new());
    for (number, entry) in (1..).zip(entries.filter(|entry| !entry.is_empty())) {
        match id(entry, "<@&", None) {
            Some(id) => ids.push(RoleId::from(id)),
            None => wrong.push(label(number, entry)),
        }
    }
    if wrong.is_empty() { Ok(ids) } else { Err(not_ids(&wrong.join(", "))) }
}

fn one_id(value: &str, mention: &str, place: Option<usize>) -> Parsed<NonZeroU64> {
    id(&joined(value), mention, place).ok_or_else(|| not_ids(&label(1, &visible(value))))
}

/// An id of Discord's, 17 to 20 digits: alone, as it is mentioned (`<@&…>`), or in its place in a link to a channel or
/// message (`https://discord.com/channels/guild/channel/message`).
fn id(entry: &str, mention: &str, place: Option<usize>) -> Option<NonZeroU64> {
    let entry = entry.trim_matches(['"', '\'', '“', '”', '‘', '’']);
    let digits = match entry.split_once("/channels/") {
        Some((_, path)) => path.split(['/', '?', '#']).nth(place?)?,
        None => entry.strip_prefix(mention).and_then(|rest| rest.strip_suffix('>')).unwrap_or(entry),
    };
    let well_formed = (17..=20).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    (well_formed && !digits.starts_with('0')).then(|| digits.parse().ok())?
}

fn not_ids(wrong: &str) -> Both {
    both(
        format!("it is not an id ({wrong}): an id is a number of 17 to 20 digits, in YAML between quotation marks"),
        format!("no es un ID ({wrong}): un ID es un número de 17 a 20 dígitos, en YAML entre comillas"),
    )
}

/// What a wrong entry is called: a short word or number is quoted. Anything else might be a token, and is numbered.
fn label(number: usize, text: &str) -> String {
    let only = |kind: fn(char) -> bool| text.chars().all(|char| kind(char) || "#@&<>!._+- ".contains(char));
    let harmless = only(char::is_alphabetic) || only(|char| char.is_ascii_digit() || "eE".contains(char));
    if harmless && text.chars().count() <= 24 { format!("\"{text}\"") } else { format!("#{number}") }
}

/// `0042` from `0042`, `wv0042`, and the address of the server's Manager. It becomes a part of the host that the token is
/// sent to, so nothing but letters and digits is let in.
pub(super) fn server_code(value: &str) -> Parsed<String> {
    let value = joined(value).to_ascii_lowercase();
    let address = value.split_once("://").map_or(&*value, |(_, address)| address);
    let host = address.split(['/', '?', '#', ':']).next().unwrap_or_default();
    let code = match host.strip_suffix(".wolkvox.com") {
        Some(name) => name.strip_prefix("wv"),
        None => Some(host.strip_prefix("wv").unwrap_or(host)).filter(|_| host == value),
    };
    let is_code = |code: &&str| (1..=16).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    code.filter(is_code).map(str::to_owned).ok_or_else(|| {
        both(
            "it is neither a server's code, which has 1 to 16 letters or digits, nor the address of a Wolkvox Manager",
            "no es ni el código de un servidor (de 1 a 16 letras o dígitos) ni la dirección de un Wolkvox Manager",
        )
    })
}

pub(super) fn seconds(range: RangeInclusive<u64>) -> impl FnOnce(&str) -> Parsed<Duration> {
    let (min, max) = (*range.start(), *range.end());
    move |value| {
        let seconds = value.parse().ok().filter(|given| range.contains(given)).map(Duration::from_secs);
        let english = format!("it is not a whole number from {min} to {max}");
        seconds.ok_or_else(|| both(english, format!("no es un número entero de {min} a {max}")))
    }
}

pub(super) fn choice<T: Copy>(choices: [(&str, T); 2]) -> impl FnOnce(&str) -> Parsed<T> {
    move |value| {
        let [(first, _), (second, _)] = choices;
        let chosen = choices.iter().find(|(word, _)| value.eq_ignore_ascii_case(word)).map(|(_, chosen)| *chosen);
        chosen
            .ok_or_else(|| both(format!("it is neither {first} nor {second}"), format!("no es ni {first} ni {second}")))
    }
}

/// `None` where it is off.
pub(super) fn state_file(value: &str) -> Parsed<Option<PathBuf>> {
    if value.starts_with(['~', '$']) {
        return Err(both("it begins with ~ or $, which is not replaced", "empieza con ~ o $, que no se reemplaza"));
    }
    Ok((!value.eq_ignore_ascii_case("off")).then(|| value.into()))
}

pub(super) fn base_url(value: &str) -> Parsed<BaseUrl> {
    BaseUrl::parse(&joined(value))
}

pub(super) fn proxy(value: &str, except: &str) -> Parsed<Proxy> {
    // A password may have blanks.
    let address = if value.contains('@') { visible(value) } else { joined(value) };
    Proxy::parse(&address, &visible(except))
}
