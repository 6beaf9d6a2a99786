//! The floor: a bare loop that does what a command cannot do without. A websocket frame in, three HTTP requests out,
//! one after the other on kept connections, with the same headers and bodies as the bot's. No HTTP library, no checks,
//! no JSON, no log, one command at a time.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use super::discord::{self, APPLICATION};
use super::http;
use super::wolkvox::{self, SUCCESS};

#[tokio::main(flavor = "current_thread")]
pub async fn run() {
    let [discord, wolkvox] = ["DISCORD_API_URL", "WOLKVOX_API_URL"].map(|name| std::env::var(name).unwrap());
    let socket = discord.replace("http", "ws") + "/gateway-socket/?v=10&encoding=json";
    let (mut gateway, _) = connect_async(socket).await.unwrap();
    let mut discord = Service::connect(&discord, "content-type: application/json").await;
    let mut wolkvox = Service::connect(&wolkvox, &format!("wolkvox-token: {}", wolkvox::TOKEN)).await;
    let identify = r#"{"op":2,"d":{"token":"TOKEN","intents":0,"properties":{"os":"linux"}}}"#;
    gateway.send(Message::text(identify.replace("TOKEN", discord::TOKEN))).await.unwrap();
    while let Some(Ok(message)) = gateway.next().await {
        let Message::Text(frame) = message else { continue };
        let Some(token) = between(&frame, r#""token":""#, '"') else { continue };
        let id = between(token, "interaction-token-", '-').unwrap();
        let agent = between(&frame, r#""value":"#, '}').unwrap();
        let body = r#"{"type":5,"data":{"flags":0,"attachments":[]}}"#;
        discord.exchange(&format!("POST /api/v10/interactions/{id}/{token}/callback"), body).await;
        wolkvox.exchange(&format!("POST /api/v2/agentbox.php?agent_id={agent}&api=mute"), "").await;
        let text = format!("{SUCCESS}\\n-# Agent {agent} · MUTE is a toggle: run the command again to undo it");
        let mentions = r#"{"parse":[],"users":[],"roles":[]}"#;
        let body = format!(r#"{{"content":"{text}","allowed_mentions":{mentions}}}"#);
        discord.exchange(&format!("PATCH /api/v10/webhooks/{APPLICATION}/{token}/messages/@original"), &body).await;
    }
}

fn between<'a>(text: &'a str, before: &str, end: char) -> Option<&'a str> {
    text.split_once(before)?.1.split(end).next()
}

/// A connection, and the headers that every request on it has.
struct Service {
    stream: TcpStream,
    headers: String,
}

impl Service {
    async fn connect(url: &str, own_headers: &str) -> Self {
        let host = url.strip_prefix("http://").unwrap();
        let stream = TcpStream::connect(host).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let agent = "DiscordBot (wolkvox-bot, 0.1.0)";
        Self { stream, headers: format!("{own_headers}\r\naccept: */*\r\nuser-agent: {agent}\r\nhost: {host}") }
    }

    /// Sends a request, and waits for the whole answer.
    async fn exchange(&mut self, request: &str, body: &str) {
        let Self { stream, headers } = self;
        let head = format!("{request} HTTP/1.1\r\n{headers}\r\ncontent-length: {}", body.len());
        stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
        http::read_answer(stream).await;
    }
}
