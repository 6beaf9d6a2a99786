//! README's picture of a Discord channel, drawn from what the bot really answers, so that it can't go stale.
//! `UPDATE_REPLIES=1 cargo test picture` draws it anew.

mod canvas;
mod channel;
mod text;

use std::time::Duration;

use wolkvox_bot::config::Config;

use self::channel::{Channel, Message};
use crate::support::bot::World;
use crate::support::discord::{Actor, Interaction, second_supervisor, supervisor};
use crate::support::wolkvox::{Fate, listing};

const AGENTS: [(u64, &str, &str); 2] = [(1001, "Luis Gómez", "yes"), (1002, "María Peña", "yes")];

const ENGLISH: Channel = Channel {
    language: "en",
    title: "A Discord channel with the bot's replies, as the supervisor beto sees it",
    name: "supervisors",
    used: "used",
    relative_time: "4 minutes ago",
    only_you: "Only you can see this",
    dismiss: "Dismiss message",
};

const SPANISH: Channel = Channel {
    language: "es",
    title: "Un canal de Discord con las respuestas del bot, como lo ve el supervisor beto",
    name: "supervisores",
    used: "usó",
    relative_time: "hace 4 minutos",
    only_you: "Solo tú puedes ver esto",
    dismiss: "Descartar mensaje",
};

/// Beto toggled Luis before. Now Ana does, then Beto wants to again, and at last a call of Ana's breaks.
async fn messages(locale: &'static str) -> Vec<Message> {
    let ana = Actor { locale, ..supervisor() };
    let beto = Actor { name: "beto", locale, ..second_supervisor() };
    let folder = crate::support::Folder::new();
    let record = Some(folder.join("record.db"));
    // In a run of its own without the guard, which would otherwise ask Ana.
    let unguarded = |config: &mut Config| {
        config.state_file = record.clone();
        config.toggle_guard = Duration::ZERO;
    };
    World::run_with(unguarded, async |world| {
        world.discord.reply(world.discord.mute(&beto, 1001)).await;
    })
    .await;
    let mut messages = Vec::new();
    World::run_with(
        |config| config.state_file = record.clone(),
        async |world| {
            world.wolkvox.state(|state| state.agents = Some(listing(&AGENTS)));
            world.discord.finished(world.discord.type_agent(&ana, "")).await;
            world.log.until_contains("the agent directory was read").await;
            for (actor, agent, time, fate) in [
                (&ana, 1001, "10:42", Some(Fate::Confirm)),
                (&beto, 1001, "10:42", None),
                (&ana, 1002, "10:45", Some(Fate::CutAfter)),
            ] {
                world.wolkvox.next(fate);
                let reply = world.discord.finished(world.discord.mute(actor, agent)).await;
                messages.push(message(actor, time, &reply));
            }
        },
    )
    .await;
    messages
}

fn message(to: &Actor, time: &'static str, reply: &Interaction) -> Message {
    let button = &reply.shown.as_ref().unwrap()["components"][0]["components"][0]["label"];
    Message {
        to: to.id,
        time,
        content: eight_seconds(&reply.text().unwrap()),
        button: button.as_str().map(str::to_owned),
        private: reply.private(),
    }
}

/// How long ago the toggle was depends on how busy this machine is: 8 seconds in the picture.
fn eight_seconds(content: &str) -> String {
    for unit in [" second", " segundo"] {
        if let Some((before, after)) = content.split_once(unit) {
            let before = before.trim_end_matches(|digit: char| digit.is_ascii_digit());
            return format!("{before}8{unit}s{}", after.strip_prefix('s').unwrap_or(after));
        }
    }
    content.to_owned()
}

async fn is_drawn_from_the_real_replies(file: &str, channel: Channel, locale: &'static str) {
    let path = format!("{}/.github/{file}", env!("CARGO_MANIFEST_DIR"));
    let drawn = channel.draw(&messages(locale).await);
    if std::env::var_os("UPDATE_REPLIES").is_some() {
        std::fs::write(&path, &drawn).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let renew = "draw it anew: UPDATE_REPLIES=1 cargo test picture";
    for (line, (now, then)) in (1..).zip(drawn.lines().zip(kept.lines())) {
        assert_eq!(now, then, ".github/{file}, line {line}; {renew}");
    }
    assert_eq!(drawn.lines().count(), kept.lines().count(), ".github/{file}; {renew}");
}

#[tokio::test]
async fn the_picture_shows_the_real_replies() {
    is_drawn_from_the_real_replies("channel.svg", ENGLISH, "en-US").await;
}

#[tokio::test]
async fn the_spanish_picture_shows_the_real_replies() {
    is_drawn_from_the_real_replies("channel.es.svg", SPANISH, "es-419").await;
}
