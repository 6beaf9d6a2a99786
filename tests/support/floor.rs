//! The floor: a bare loop that does what a command cannot do without. A websocket frame in, three HTTP requests
//! out, one after the other on kept connections, with the same headers and bodies as the bot's. No checks, no
//! JSON, no log, one command at a time.

use std::pin::Pin;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::Request;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use super::{discord, wolkvox};

const ACKNOWLEDGEMENT: &str = r#"{"type":5,"data":{"flags":0,"attachments":[]}}"#;
const AGENT: HeaderValue = HeaderValue::from_static("DiscordBot (wolkvox-bot, 0.1.0)");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const ANY: HeaderValue = HeaderValue::from_static("*/*");
const TOKEN: HeaderName = HeaderName::from_static("wolkvox-token");

pub fn run(discord: &str, wolkvox: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(serve(discord, wolkvox));
}

async fn serve(discord_url: &str, wolkvox_url: &str) {
    let (discord_host, mut discord) = connect(discord_url).await;
    let (wolkvox_host, mut wolkvox) = connect(wolkvox_url).await;
    let authorization = HeaderValue::try_from(format!("Bot {}", discord::TOKEN)).unwrap();
    let gateway = discord_url.replacen("http", "ws", 1) + "/gateway-socket/?v=10&encoding=json";
    let (mut socket, _) = connect_async(gateway).await.unwrap();
    socket.send(Message::text(r#"{"op":2}"#.to_owned())).await.unwrap();
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(frame) = message else { continue };
        let Some(token) = between(&frame, r#""token":""#, '"') else { continue };
        let id = between(token, "interaction-token-", '-').unwrap();
        let agent = between(&frame, r#""value":"#, '}').unwrap();
        let to_discord = |method: &str, path: String, body: String| {
            Request::builder()
                .method(method)
                .uri(path)
                .header(AUTHORIZATION, &authorization)
                .header(CONTENT_TYPE, JSON)
                .header(ACCEPT, ANY)
                .header(USER_AGENT, AGENT)
                .header(HOST, &discord_host)
                .body(body)
                .unwrap()
        };
        let path = format!("/api/v10/interactions/{id}/{token}/callback");
        send(&mut discord, to_discord("POST", path, ACKNOWLEDGEMENT.to_owned())).await;
        let toggle = Request::post(format!("/api/v2/agentbox.php?agent_id={agent}&api=mute"))
            .header(TOKEN, wolkvox::TOKEN)
            .header(CONTENT_LENGTH, 0)
            .header(ACCEPT, ANY)
            .header(USER_AGENT, AGENT)
            .header(HOST, &wolkvox_host);
        send(&mut wolkvox, toggle.body(String::new()).unwrap()).await;
        let path = format!("/api/v10/webhooks/{}/{token}/messages/@original", discord::APPLICATION);
        let body = format!(
            "{{\"content\":\"Microphone agentbox has been excecuted\\n-# Agent {agent} · MUTE is a toggle: run the \
             command again to undo it\",\"allowed_mentions\":{{\"parse\":[],\"users\":[],\"roles\":[]}}}}"
        );
        send(&mut discord, to_discord("PATCH", path, body)).await;
    }
}

async fn connect(url: &str) -> (HeaderValue, SendRequest<String>) {
    let host = url.strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(host).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    (HeaderValue::try_from(host).unwrap(), sender)
}

async fn send(connection: &mut SendRequest<String>, request: Request<String>) {
    connection.ready().await.unwrap();
    let mut body: Incoming = connection.send_request(request).await.unwrap().into_body();
    while let Some(part) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        part.unwrap();
    }
}

fn between<'a>(text: &'a str, before: &str, after: char) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}
