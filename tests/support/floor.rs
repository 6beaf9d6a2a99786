//! The floor: a bare loop that does what a command cannot do without. A websocket frame in, three HTTP requests
//! out, one after the other on kept connections, with the same headers and bodies as the bot's. No checks, no
//! JSON, no log, one command at a time.

use std::pin::Pin;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::body::Body as _;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HeaderMap, HeaderName};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use super::discord;
use super::wolkvox::{self, SUCCESS};

#[tokio::main(flavor = "current_thread")]
pub async fn run() {
    let url = |name| std::env::var(name).unwrap();
    let authorization = format!("Bot {}", discord::TOKEN);
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    let mut discord = Service::connect(&url("DISCORD_API_URL"), headers).await;
    let headers = [("wolkvox-token", wolkvox::TOKEN), ("content-length", "0")];
    let mut wolkvox = Service::connect(&url("WOLKVOX_API_URL"), headers).await;
    let (mut socket, _) = connect_async(url("GATEWAY_URL")).await.unwrap();
    socket.send(Message::text(r#"{"op":2}"#)).await.unwrap();
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(frame) = message else { continue };
        let Some(token) = after(&frame, r#""token":""#, '"') else { continue };
        let id = after(token, "interaction-token-", '-').unwrap();
        let agent = after(&frame, r#""value":"#, '}').unwrap();
        let body = r#"{"type":5,"data":{"flags":0,"attachments":[]}}"#.to_owned();
        discord.send(Method::POST, format!("/api/v10/interactions/{id}/{token}/callback"), body).await;
        let path = format!("/api/v2/agentbox.php?agent_id={agent}&api=mute");
        wolkvox.send(Method::POST, path, String::new()).await;
        let path = format!("/api/v10/webhooks/{}/{token}/messages/@original", discord::APPLICATION);
        let text = format!("{SUCCESS}\\n-# Agent {agent} · MUTE is a toggle: run the command again to undo it");
        let mentions = r#"{"parse":[],"users":[],"roles":[]}"#;
        let body = format!(r#"{{"content":"{text}","allowed_mentions":{mentions}}}"#);
        discord.send(Method::PATCH, path, body).await;
    }
}

struct Service {
    connection: SendRequest<String>,
    headers: HeaderMap,
}

impl Service {
    async fn connect(url: &str, headers: [(&'static str, &str); 2]) -> Self {
        let host = url.strip_prefix("http://").unwrap();
        let stream = TcpStream::connect(host).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (connection, driver) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(driver);
        let common = [("accept", "*/*"), ("user-agent", "DiscordBot (wolkvox-bot, 0.1.0)"), ("host", host)];
        let header = |(name, value): (_, &str)| (HeaderName::from_static(name), value.parse().unwrap());
        Self { connection, headers: headers.into_iter().chain(common).map(header).collect() }
    }

    async fn send(&mut self, method: Method, path: String, body: String) {
        let mut request = Request::new(body);
        (*request.method_mut(), *request.uri_mut()) = (method, path.parse().unwrap());
        *request.headers_mut() = self.headers.clone();
        self.connection.ready().await.unwrap();
        let mut body = self.connection.send_request(request).await.unwrap().into_body();
        while let Some(part) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            part.unwrap();
        }
    }
}

fn after<'a>(text: &'a str, before: &str, end: char) -> Option<&'a str> {
    text.split_once(before)?.1.split(end).next()
}
