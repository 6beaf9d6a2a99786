//! The stand-in keeps to what Discord does.

#![allow(unused_imports, reason = "the benchmark has no test harness")]

use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::permissions::{ADMINISTRATOR, SEND_MESSAGES, VIEW_CHANNEL};
use super::*;

const SOON: Duration = Duration::from_millis(200);

struct Client(TcpStream);

#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn code(&self) -> (u16, u64) {
        (self.status, self.json()["code"].as_u64().unwrap())
    }
}

impl Client {
    async fn new(discord: &Discord) -> Self {
        Self(TcpStream::connect(discord.url.trim_start_matches("http://")).await.unwrap())
    }

    async fn send(&mut self, method: &str, path: &str, body: &Value) {
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let head = format!(
            "{method} /api/v10{path} HTTP/1.1\r\nuser-agent: DiscordBot (x, 1)\r\nauthorization: Bot {TOKEN}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.write_all(head.as_bytes()).await.unwrap();
    }

    async fn ask(&mut self, method: &str, path: &str, body: &Value) -> Reply {
        self.send(method, path, body).await;
        let (head, body) = http::read_answer(&mut self.0).await;
        Reply { status: head[9..12].parse().unwrap(), head, body }
    }

    /// Whether this connection passes nothing on, and yet stays open.
    async fn hangs(&mut self) -> bool {
        self.send("GET", "/users/@me", &Value::Null).await;
        timeout(SOON, self.0.read(&mut [0; 64])).await.is_err()
    }
}

fn text(content: &str) -> Value {
    json!({"content": content, "allowed_mentions": {"parse": []}})
}

fn with_flags(content: &str, flags: u64) -> Value {
    let mut message = text(content);
    message["flags"] = json!(flags);
    message
}

fn deferral() -> Value {
    json!({"type": 5, "data": {"flags": 64}})
}

/// An interaction, and the paths for its first answer, its message and its follow-ups.
fn command(discord: &Discord) -> (u64, String, String, String) {
    let id = discord.mute(&supervisor(), 1001);
    let token = discord.interaction(id).token;
    let webhook = format!("/webhooks/{APPLICATION}/{token}");
    (id, format!("/interactions/{id}/{token}/callback"), format!("{webhook}/messages/@original"), webhook)
}

fn violations(discord: &Discord) -> usize {
    discord.state(|state| std::mem::take(&mut state.violations).len())
}

#[tokio::test]
async fn an_answer_goes_through_all_its_stages() {
    let discord = Discord::start().await;
    let mut client = Client::new(&discord).await;
    let (id, callback, original, follow_up) = command(&discord);
    assert_eq!(client.ask("GET", &original, &Value::Null).await.code(), (404, 10015));
    let first = client.ask("POST", &callback, &deferral()).await;
    assert_eq!((first.status, first.body.as_str()), (204, ""));
    assert_eq!(client.ask("POST", &callback, &deferral()).await.code(), (400, 40060));
    let seen = client.ask("GET", &original, &Value::Null).await.json();
    assert_eq!((&seen["content"], &seen["flags"]), (&json!(""), &json!(128 | 64)));
    let edited = client.ask("PATCH", &original, &with_flags("one", 4)).await.json();
    assert_eq!((&edited["content"], &edited["id"]), (&json!("one"), &seen["id"]));
    let more = client.ask("POST", &follow_up, &with_flags("two", 64)).await.json();
    assert_eq!((&more["content"], &more["flags"]), (&json!("two"), &json!(64)));
    assert_ne!(more["id"], seen["id"]);
    assert_eq!(client.ask("GET", &original, &Value::Null).await.json()["flags"], 64 | 4);
    discord.delete_message(id);
    assert_eq!(client.ask("GET", &original, &Value::Null).await.code(), (404, 10008));
    assert_eq!(client.ask("PATCH", &original, &text("lost")).await.code(), (404, 10008));
    assert_eq!(client.ask("POST", &follow_up, &text("three")).await.status, 200);
    discord.void_token(id);
    for (method, path) in [("GET", &original), ("PATCH", &original), ("POST", &follow_up)] {
        assert_eq!(client.ask(method, path, &text("late")).await.code(), (401, 50027));
    }
    let known = discord.interaction(id);
    assert_eq!((known.history, known.edits), (vec!["one".to_owned(), "two".to_owned(), "three".to_owned()], 1));
    assert_eq!(violations(&discord), 0);
}

#[tokio::test]
async fn a_first_answer_counts_from_its_arrival() {
    let discord = Discord::start().await;
    discord.state(|state| state.limits.first_answer = SOON);
    let mut client = Client::new(&discord).await;
    let (_, callback, ..) = command(&discord);
    discord.state(|state| state.first_answer_fates.push_back(Fate::Slow(2 * SOON)));
    assert_eq!(client.ask("POST", &callback, &deferral()).await.status, 204);
    let (_, callback, original, _) = command(&discord);
    tokio::time::sleep(2 * SOON).await;
    assert_eq!(client.ask("POST", &callback, &deferral()).await.code(), (404, 10062));
    assert_eq!(client.ask("GET", &original, &Value::Null).await.code(), (404, 10015));
}

#[tokio::test]
async fn mistakes_are_violations_and_rejected_texts_are_not() {
    let discord = Discord::start().await;
    let mut client = Client::new(&discord).await;
    let (_, callback, original, follow_up) = command(&discord);
    client.ask("PATCH", &original, &text("early")).await;
    client.ask("POST", &follow_up, &text("early")).await;
    client.ask("POST", &callback, &json!({"type": 5, "data": {"flags": 64 | 4}})).await;
    client.ask("POST", &callback, &json!({"type": 4, "data": with_flags("x", 4)})).await;
    client.ask("GET", &format!("/users/@me/guilds/{GUILD}/member"), &Value::Null).await;
    assert_eq!(violations(&discord), 5);
    discord.state(|state| state.rejects_content = Some(|text| text.contains("http")));
    let first = json!({"type": 4, "data": with_flags("see http://x.example", 64 | 4)});
    assert_eq!(client.ask("POST", &callback, &first).await.code(), (400, 50035));
    let first = json!({"type": 4, "data": with_flags("fine", 64 | 4)});
    assert_eq!(client.ask("POST", &callback, &first).await.status, 204);
    assert_eq!(client.ask("PATCH", &original, &text("see http://x.example")).await.code(), (400, 50035));
    assert_eq!(violations(&discord), 0);
    client.ask("PATCH", &original, &with_flags("x", 64)).await;
    client.ask("POST", &follow_up, &json!({"content": "may ping"})).await;
    client.ask("POST", &format!("/channels/{AUDIT_CHANNEL}/messages"), &with_flags("x", 64)).await;
    assert_eq!(violations(&discord), 3);
}

#[tokio::test]
async fn links_that_unfold_are_noted() {
    let discord = Discord::start().await;
    let mut client = Client::new(&discord).await;
    let (_, callback, original, follow_up) = command(&discord);
    client.ask("POST", &callback, &deferral()).await;
    let channel = format!("/channels/{AUDIT_CHANNEL}/messages");
    client.ask("PATCH", &original, &text("1 http\\://x.example")).await;
    client.ask("PATCH", &original, &text("2 https://x.example")).await;
    client.ask("PATCH", &original, &with_flags("3 https://x.example", 4)).await;
    client.ask("PATCH", &original, &text("4 https://x.example")).await;
    client.ask("POST", &follow_up, &text("5 https://x.example")).await;
    client.ask("POST", &channel, &text("6 HTTP://x.example")).await;
    client.ask("POST", &channel, &with_flags("7 http://x.example", 4)).await;
    let unfurled = discord.state(|state| state.unfurled.clone());
    assert_eq!(unfurled.iter().map(|text| &text[..1]).collect::<String>(), "256");
}

#[tokio::test]
async fn connections_stall_and_new_ones_work() {
    let discord = Discord::start().await;
    let (id, callback, original, _) = command(&discord);
    discord.state(|state| state.first_answer_fates.extend([Fate::Stall, Fate::StallAfter]));
    for acknowledged in [false, true] {
        let mut client = Client::new(&discord).await;
        client.send("POST", &callback, &deferral()).await;
        assert!(client.hangs().await);
        assert_eq!(discord.interaction(id).first.is_some(), acknowledged);
    }
    let (mut idle, mut waiting) = (Client::new(&discord).await, Client::new(&discord).await);
    idle.ask("GET", "/users/@me", &Value::Null).await;
    discord.state(|state| state.edit_fates.push_back(Fate::Slow(SOON / 2)));
    waiting.send("PATCH", &original, &text("x")).await;
    discord.until("the edit is in progress", |state| state.edit_fates.is_empty()).await;
    discord.stall_connections();
    assert!(idle.hangs().await && waiting.hangs().await);
    assert_eq!(discord.reply(id).await, "x");
    let mut new = Client::new(&discord).await;
    assert_eq!(new.ask("GET", "/users/@me", &Value::Null).await.status, 200);
}

#[tokio::test]
async fn a_channel_takes_so_many_messages() {
    let discord = Discord::start().await;
    let mut client = Client::new(&discord).await;
    discord.state(|state| state.limits.posts = Some((2, 3 * SOON)));
    let channel = format!("/channels/{AUDIT_CHANNEL}/messages");
    for status in [200, 200, 429, 429] {
        assert_eq!(client.ask("POST", &channel, &text("x")).await.status, status);
    }
    let pause = client.ask("POST", &channel, &text("x")).await.json()["retry_after"].as_f64().unwrap();
    assert!(pause > 0.0 && pause <= (3 * SOON).as_secs_f64());
    tokio::time::sleep(Duration::from_secs_f64(pause)).await;
    assert_eq!(client.ask("POST", &channel, &text("x")).await.status, 200);
    assert_eq!(discord.state(|state| (state.posts.len(), state.refused_posts)), (3, 3));
}

#[tokio::test]
async fn permissions_follow_roles_and_overwrites() {
    let discord = Discord::start().await;
    let mut client = Client::new(&discord).await;
    let channel = format!("/channels/{AUDIT_CHANNEL}");
    let member = client.ask("GET", &format!("/guilds/{GUILD}/members/{BOT}"), &Value::Null).await.json();
    assert_eq!(member["roles"], json!([BOT_ROLE.to_string()]));
    assert_eq!(client.ask("GET", &format!("/guilds/{GUILD}/members/7"), &Value::Null).await.code(), (404, 10007));
    discord.state(|state| state.not_in_guild = true);
    assert_eq!(client.ask("GET", &format!("/guilds/{GUILD}/members/7"), &Value::Null).await.code(), (404, 10004));
    let overwrite = |id: u64, kind: u64, allow: u64, deny: u64| json!({"id": id.to_string(), "type": kind, "allow": allow.to_string(), "deny": deny.to_string()});
    for (overwrites, bot, codes) in [
        (vec![], 0, (200, 200)),
        (vec![overwrite(GUILD, 0, 0, SEND_MESSAGES)], 0, (200, 403)),
        (vec![overwrite(GUILD, 0, 0, VIEW_CHANNEL)], 0, (403, 403)),
        (vec![overwrite(GUILD, 0, 0, VIEW_CHANNEL)], ADMINISTRATOR, (200, 200)),
        (vec![overwrite(GUILD, 0, 0, VIEW_CHANNEL), overwrite(BOT_ROLE, 0, VIEW_CHANNEL, 0)], 0, (200, 200)),
        (vec![overwrite(BOT_ROLE, 0, SEND_MESSAGES, 0), overwrite(BOT, 1, 0, SEND_MESSAGES)], 0, (200, 403)),
    ] {
        discord.state(|state| {
            state.permissions.overwrites = overwrites.clone();
            state.permissions.roles.insert(BOT_ROLE, bot);
        });
        let seen = client.ask("GET", &channel, &Value::Null).await;
        let posted = client.ask("POST", &format!("{channel}/messages"), &text("x")).await;
        assert_eq!((seen.status, posted.status), codes, "{overwrites:?}");
        if seen.status == 200 {
            assert_eq!(seen.json()["permission_overwrites"], json!(overwrites));
        }
    }
}

#[tokio::test]
async fn session_starts_are_used_up() {
    let discord = Discord::start().await;
    let mut client = Client::new(&discord).await;
    let identify = json!({"op": 2, "d": {"token": TOKEN, "intents": 0, "properties": {"os": "linux"}}});
    discord.state(|state| state.session_starts = SessionStarts::left(1, 5 * SOON));
    for (left, close) in [(1, None), (0, Some(4004))] {
        let limit = client.ask("GET", "/gateway/bot", &Value::Null).await.json()["session_start_limit"].take();
        assert_eq!((&limit["remaining"], &limit["total"]), (&json!(left), &json!(1000)));
        assert!((1..=1000).contains(&limit["reset_after"].as_u64().unwrap()));
        let url = discord.url.replacen("http", "ws", 1) + "/gateway-socket/?v=10&encoding=json";
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        socket.next().await.unwrap().unwrap();
        socket.send(Message::text(identify.to_string())).await.unwrap();
        match (socket.next().await.unwrap().unwrap(), close) {
            (Message::Text(ready), None) => assert!(ready.contains("READY")),
            (Message::Close(Some(frame)), Some(code)) => assert_eq!(u16::from(frame.code), code),
            (other, _) => panic!("{other:?}"),
        }
        // A heartbeat is answered until the connection stalls.
        if close.is_none() {
            discord.stall_connections();
            socket.send(Message::text(json!({"op": 1, "d": 1}).to_string())).await.unwrap();
            assert!(timeout(SOON, socket.next()).await.is_err());
            client = Client::new(&discord).await;
        }
    }
    assert_eq!(violations(&discord), 1);
    tokio::time::sleep(5 * SOON).await;
    let limit = client.ask("GET", "/gateway/bot", &Value::Null).await.json()["session_start_limit"].take();
    assert_eq!((&limit["remaining"], &limit["reset_after"]), (&json!(1000), &json!(0)));
}
