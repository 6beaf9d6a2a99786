//! Certificates are verified against the authorities of the system: here, of `SSL_CERT_FILE`. One that does not hold
//! is told in words that say what to mend.

use std::collections::HashMap;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use wolkvox_bot::net::BaseUrl;

use crate::support::bot::{Process, World, check_secrets, variables};
use crate::support::discord::{Discord, supervisor};
use crate::support::tls::{Authority, acceptor, authority, file};
use crate::support::wolkvox::{SUCCESS, Wolkvox};

const AUTHORITY: &str = "its certificate was issued by an authority that this machine does not trust";
const HOST: &str = "its certificate is for another host";
const EXPIRED: &str = "its certificate has expired or is not valid yet";
const TOO_OLD: &str = "it offers only encryption that is too old to be safe";

/// The address of a server that knows no encryption newer than TLS 1.1: it answers with the alert for that.
async fn old_server() -> String {
    const PROTOCOL_VERSION: [u8; 7] = [0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x46];

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(&PROTOCOL_VERSION).await;
        }
    });
    url
}

/// What a supervisor reads when the bot trusts `trusted`, and the log.
async fn reply(trusted: &Authority, wolkvox: &Wolkvox) -> (String, String) {
    let discord = Discord::start().await;
    let mut variables = variables(&discord, wolkvox);
    let path = file(trusted);
    variables.insert("SSL_CERT_FILE", path.to_str().unwrap().to_owned());
    variables.insert("RUST_LOG", "trace".to_owned());
    let mut process = Process::start(&variables, &[]);
    let told = async {
        discord.until_ready(1).await;
        discord.reply(discord.mute(&supervisor(), 1001)).await
    };
    let reply = process.runs(told).await;
    check_secrets(&process.log.text());
    std::fs::remove_file(path).unwrap();
    (reply, process.log.text())
}

/// What `check` prints with these variables.
async fn check(variables: &HashMap<&'static str, String>) -> String {
    let mut process = Process::start(variables, &["check"]);
    assert_eq!(process.ended().await.0, Some(1));
    process.log.text()
}

#[tokio::test]
async fn a_trusted_certificate_is_accepted() {
    let ours = authority("Ours");
    let wolkvox = Wolkvox::behind_tls("localhost", acceptor(Some(&ours), &["localhost"], false)).await;
    assert!(reply(&ours, &wolkvox).await.0.starts_with(SUCCESS));
    assert_eq!(wolkvox.toggles(1001), 1);
}

#[tokio::test]
async fn with_a_certificate_that_is_not_trusted_nothing_is_sent() {
    let (ours, theirs) = (authority("Ours"), authority("Theirs"));
    for (acceptor, words) in [
        (acceptor(Some(&theirs), &["localhost"], false), AUTHORITY),
        (acceptor(None, &["localhost"], false), AUTHORITY),
        (acceptor(Some(&ours), &["elsewhere.example"], false), HOST),
        (acceptor(Some(&ours), &["localhost"], true), EXPIRED),
    ] {
        let wolkvox = Wolkvox::behind_tls("localhost", acceptor).await;
        let (reply, log) = reply(&ours, &wolkvox).await;
        assert!(reply.starts_with("**Not sent:** there is no connection to Wolkvox."), "{words}: {reply}");
        let told = log.lines().find(|line| line.contains(words));
        assert!(told.is_some_and(|line| line.contains("SSL_CERT_FILE") || words == EXPIRED), "{words}: {log}");
        assert!(wolkvox.connections_made() >= 1);
        assert_eq!(wolkvox.requests(), 0);
        assert_eq!(wolkvox.state(|state| state.violations.len()), 0);
    }
}

#[tokio::test]
async fn check_says_in_words_what_is_wrong_with_a_certificate() {
    let (ours, theirs) = (authority("Ours"), authority("Theirs"));
    let path = file(&ours);
    let untrusted = Wolkvox::behind_tls("localhost", acceptor(Some(&theirs), &["localhost"], false)).await;
    let misnamed = Wolkvox::behind_tls("localhost", acceptor(Some(&ours), &["elsewhere.example"], false)).await;
    let expired = Wolkvox::behind_tls("localhost", acceptor(Some(&ours), &["localhost"], true)).await;
    let old = Wolkvox::new(old_server().await);
    for (wolkvox, words) in [(untrusted, AUTHORITY), (misnamed, HOST), (expired, EXPIRED), (old, TOO_OLD)] {
        let discord = Discord::start().await;
        let mut variables = variables(&discord, &wolkvox);
        variables.insert("SSL_CERT_FILE", path.to_str().unwrap().to_owned());
        let told = check(&variables).await;
        let line = told.lines().find(|line| line.contains("Wolkvox")).unwrap();
        assert!(line.contains(words) && line.contains("SSL_CERT_FILE"), "{words}: {line}");
        assert!(!line.contains("internet"), "{line}");
    }
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn without_any_authority_the_bot_and_check_say_where_to_get_them() {
    let discord = Discord::start().await;
    let mut variables = variables(&discord, &Wolkvox::new("https://localhost:1".to_owned()));
    let nowhere = std::env::temp_dir().join("wolkvox-bot-no-such-file.pem");
    variables.insert("SSL_CERT_FILE", nowhere.to_str().unwrap().to_owned());
    let told = check(&variables).await;
    assert!(told.contains("FAIL  Wolkvox: no certificate authorities were found on this machine"), "{told}");
    assert!(told.contains("ca-certificates") && told.contains("SSL_CERT_FILE"), "{told}");
    let (code, told) = Process::start(&variables, &[]).ended().await;
    assert_eq!(code, Some(2));
    assert!(told.contains("no certificate authorities were found on this machine"), "{told}");
}

#[tokio::test]
async fn a_start_that_fails_because_of_a_certificate_says_so() {
    let theirs = authority("Theirs");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let acceptor = acceptor(Some(&theirs), &["localhost"], false);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    let change = |config: &mut wolkvox_bot::config::Config| {
        config.discord.api = BaseUrl::parse(&url).unwrap();
        config.limits.disconnected = Duration::from_secs(1);
    };
    World::run_unconnected(
        change,
        |_| {},
        async |world| {
            let told = world.bot.ended().await.unwrap_err().to_string();
            assert!(told.contains(AUTHORITY) && told.contains("SSL_CERT_FILE"), "{told}");
            assert!(!told.contains("internet"), "{told}");
            world.log.until_contains(AUTHORITY).await;
        },
    )
    .await;
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let silent = tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            connections.push(connection);
        }
    });
    World::run_with(
        |config| {
            config.wolkvox.base = BaseUrl::parse(&url).unwrap();
            config.wolkvox.timeout = Duration::from_secs(1);
        },
        async |world| {
            let command = world.discord.mute(&supervisor(), 1001);
            assert!(world.discord.reply(command).await.starts_with("**Not sent:** there is no connection to Wolkvox."));
            assert_eq!(world.log.outcome(command).await, "not_sent");
        },
    )
    .await;
    silent.abort();
}
