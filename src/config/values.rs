//! What a value means, as people paste it.

use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::time::Duration;

use reqwest::Url;
use serenity::model::id::{ChannelId, GuildId, RoleId};

use crate::language::Localized;
use crate::net::{BaseUrl, Proxy};
use crate::text::is_invisible;

/// A sentence in English and in Spanish.
pub(super) type Both = [String; 2];

pub(super) fn both(english: impl Into<String>, spanish: impl Into<String>) -> Both {
    [english.into(), spanish.into()]
}

pub(super) fn localized(error: impl Localized) -> Both {
    [error.to_string(), error.spanish()]
}

fn visible(value: &str) -> String {
    value.replace(is_invisible, "")
}

/// Without invisible characters and blanks, which come along when a value is copied from where it was wrapped.
fn joined(value: &str) -> String {
    value.replace(|char: char| is_invisible(char) || char.is_whitespace(), "")
}

pub(super) fn token(value: &str) -> Result<String, Both> {
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

/// Three parts with dots, the first of which is the bot's id in base64: of three digits, each group of four characters
/// begins with M, N or O.
pub(super) fn is_discord_token(token: &str) -> bool {
    let parts: Vec<&str> = token.split('.').collect();
    let base64 = |part: &&str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    parts.len() == 3 && parts.iter().all(base64) && parts[0].bytes().step_by(4).all(|byte| matches!(byte, b'M'..=b'O'))
}

/// A long hexadecimal string, as Wolkvox's tokens are as far as they were seen. Discord's have dots.
pub(super) fn is_wolkvox_token(token: &str) -> bool {
    token.len() >= 32 && token.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub(super) fn guild(value: &str) -> Result<GuildId, Both> {
    one_id(value, "", Some(0)).map(GuildId::from)
}

pub(super) fn channel(value: &str) -> Result<ChannelId, Both> {
    one_id(value, "<#", Some(1)).map(ChannelId::from)
}

pub(super) fn roles(value: &str) -> Result<Vec<RoleId>, Both> {
    let value = visible(value);
    let entries = value.split(|char: char| char.is_whitespace() || ",;[]".contains(char));
    let entries: Vec<&str> = entries.filter(|entry| !entry.is_empty()).collect();
    let ids: Vec<_> = entries.iter().map(|entry| id(entry, "<@&", None)).collect();
    let wrong = ids.iter().zip(&entries).enumerate().filter(|(_, (id, _))| id.is_none());
    let wrong: Vec<(usize, &str)> = wrong.map(|(at, (_, entry))| (at + 1, *entry)).collect();
    if wrong.is_empty() { Ok(ids.into_iter().flatten().map(RoleId::from).collect()) } else { Err(not_ids(&wrong)) }
}

fn one_id(value: &str, mention: &str, place: Option<usize>) -> Result<NonZeroU64, Both> {
    id(&joined(value), mention, place).ok_or_else(|| not_ids(&[(1, &visible(value))]))
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

/// Says which entries are no ids, by their number where they might be a secret.
fn not_ids(wrong: &[(usize, &str)]) -> Both {
    let label =
        |(number, text): &(usize, &str)| if is_harmless(text) { format!("\"{text}\"") } else { format!("#{number}") };
    let labels = wrong.iter().map(label).collect::<Vec<_>>().join(", ");
    let [not, no] = match labels.contains("e+") {
        true => ["; quoted in YAML it stays a number of all its digits", "; entre comillas, YAML conserva sus cifras"],
        false => [", not a name", ", no el nombre"],
    };
    both(
        format!("it is not an id ({labels}): that is a number of 17 to 20 digits{not}"),
        format!("no es un ID ({labels}): se escribe el número de 17 a 20 dígitos{no}"),
    )
}

/// Whether it can be no token, so that it may be shown: a short word or a short number.
fn is_harmless(text: &str) -> bool {
    let only = |kind: fn(char) -> bool| text.chars().all(|char| kind(char) || "#@&<>!._+- ".contains(char));
    text.chars().count() <= 24
        && (only(char::is_alphabetic) || only(|char| char.is_ascii_digit() || "eE".contains(char)))
}

/// `0042` from `0042`, `wv0042`, and the address of the server's Manager.
pub(super) fn server_code(value: &str) -> Result<String, Both> {
    let problem =
        "it is neither a server's code, which has 1 to 16 letters or digits, nor the address of a Wolkvox Manager";
    let problema =
        "no es ni el código de un servidor (de 1 a 16 letras o dígitos) ni la dirección de un Wolkvox Manager";
    code(&joined(value)).ok_or_else(|| both(problem, problema))
}

/// It becomes a part of the host that the token is sent to, so nothing but letters and digits is let in.
fn code(value: &str) -> Option<String> {
    let host;
    let name = if value.contains(['.', '/']) {
        let address = if value.contains("://") { value.to_owned() } else { ["https://", value].concat() };
        host = Url::parse(&address).ok()?.host_str()?.to_owned();
        host.strip_suffix(".wolkvox.com").filter(|name| name.starts_with("wv"))?
    } else {
        value
    };
    let code = match name.get(..2) {
        Some(prefix) if prefix.eq_ignore_ascii_case("wv") => &name[2..],
        _ => name,
    };
    let plain = code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (plain && (1..=16).contains(&code.len())).then(|| code.to_owned())
}

pub(super) fn seconds(range: RangeInclusive<u64>) -> impl FnOnce(&str) -> Result<Duration, Both> {
    let [english, spanish] = ["it is not a whole number from", "no es un número entero de"];
    let (min, max) = (*range.start(), *range.end());
    let problem = both(format!("{english} {min} to {max}"), format!("{spanish} {min} a {max}"));
    move |value| value.parse().ok().filter(|given| range.contains(given)).map(Duration::from_secs).ok_or(problem)
}

pub(super) fn choice<T: Copy>(choices: [(&str, T); 2]) -> impl FnOnce(&str) -> Result<T, Both> {
    let [(first, one), (second, other)] = choices;
    move |value| match value.to_ascii_lowercase() {
        word if word == first => Ok(one),
        word if word == second => Ok(other),
        _ => Err(both(format!("it is neither {first} nor {second}"), format!("no es ni {first} ni {second}"))),
    }
}

pub(super) fn base_url(value: &str) -> Result<BaseUrl, Both> {
    BaseUrl::parse(&joined(value)).map_err(localized)
}

pub(super) fn proxy(value: &str, except: &str) -> Result<Proxy, Both> {
    // A password may have blanks.
    let address = if value.contains('@') { visible(value) } else { joined(value) };
    Proxy::parse(&address, &visible(except)).map_err(localized)
}
