//! Certificates are verified against the authorities of the system: here, of `SSL_CERT_FILE`. One that does not hold
//! is told in words that say what to fix.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use wolkvox_bot::net::BaseUrl;

use crate::support::bot::{Site, World, check_secrets};
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
    let site = Site::of(Discord::start().await, wolkvox.clone()).with("RUST_LOG", "trace");
    let authorities = file(&site.folder, &[trusted]);
    let site = site.with("SSL_CERT_FILE", &authorities);
    let mut process = site.connected(1).await;
    let reply = process.runs(site.discord.reply(site.discord.mute(&supervisor(), 1001))).await;
    check_secrets(&process.log.text());
    (reply, process.log.text())
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
        assert!(told.is_some_and(|line| line.contains("SSL_CERT_FILE") == (words == AUTHORITY)), "{words}: {log}");
        assert!(wolkvox.connections_made() >= 1);
        assert_eq!(wolkvox.requests(), 0);
        assert_eq!(wolkvox.state(|state| state.violations.len()), 0);
    }
}

#[tokio::test]
async fn check_says_in_words_what_is_wrong_with_a_certificate() {
    let (ours, theirs) = (authority("Ours"), authority("Theirs"));
    let untrusted = Wolkvox::behind_tls("localhost", acceptor(Some(&theirs), &["localhost"], false)).await;
    let misnamed = Wolkvox::behind_tls("localhost", acceptor(Some(&ours), &["elsewhere.example"], false)).await;
    let expired = Wolkvox::behind_tls("localhost", acceptor(Some(&ours), &["localhost"], true)).await;
    let old = Wolkvox::new(old_server().await);
    for (wolkvox, words) in [(untrusted, AUTHORITY), (misnamed, HOST), (expired, EXPIRED), (old, TOO_OLD)] {
        let site = Site::of(Discord::start().await, wolkvox);
        let authorities = file(&site.folder, &[&ours]);
        let (code, told) = site.with("SSL_CERT_FILE", &authorities).check().await;
        assert_eq!(code, Some(1));
        let line = told.lines().find(|line| line.starts_with("FAIL  Wolkvox")).unwrap();
        assert!(line.contains(words), "{words}: {line}");
        assert!(!line.contains("internet"), "{line}");
    }
}

#[tokio::test]
async fn a_file_that_lacks_an_authority_is_told_with_the_command_that_makes_one_with_all() {
    let (public, companys) = (authority("Public"), authority("Company's"));
    let discord = Discord::behind_tls("localhost", "localhost", acceptor(Some(&public), &["localhost"], false)).await;
    let wolkvox = Wolkvox::behind_tls("localhost", acceptor(Some(&companys), &["localhost"], false)).await;
    let mut site = Site::of(discord, wolkvox);
    site.set("SSL_CERT_FILE", &file(&site.folder, &[&companys]));
    for (language, failure) in [("C", "FAIL  Discord"), ("es_CO", "FALLO Discord")] {
        site.set("LANG", language);
        let (_, told) = site.check().await;
        let line = told.lines().find(|line| line.starts_with(failure)).unwrap();
        assert!(line.contains("cat /etc/ssl/certs/ca-certificates.crt corp.pem > all.pem"), "{line}");
    }
    site.set("SSL_CERT_FILE", &file(&site.folder, &[&public, &companys]));
    let mut process = site.connected(1).await;
    let reply = site.discord.reply(site.discord.mute(&supervisor(), 1001));
    assert!(process.runs(reply).await.starts_with(SUCCESS));
}

#[tokio::test]
async fn without_any_authority_the_bot_and_check_say_where_to_get_them() {
    let site = Site::of(Discord::start().await, Wolkvox::new("https://localhost:1".to_owned()));
    let nowhere = site.folder.join("no-such-file.pem");
    let site = site.with("SSL_CERT_FILE", nowhere.to_str().unwrap());
    let (_, told) = site.check().await;
    assert!(told.contains("FAIL  Wolkvox: no certificate authorities were found on this machine"), "{told}");
    assert!(told.contains("ca-certificates") && told.contains("SSL_CERT_FILE"), "{told}");
    let (code, told) = site.start().ended().await;
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
