//! Certificates are verified against the authorities of the system: here, of `SSL_CERT_FILE`.

use std::path::PathBuf;
use std::time::Duration;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};
use tokio::net::TcpListener;
use wolkvox_bot::net::BaseUrl;

use crate::support::bot::{Process, World, check_secrets, variables};
use crate::support::discord::{Discord, supervisor};
use crate::support::http;
use crate::support::wolkvox::{SUCCESS, Wolkvox};

struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn certificate(name: &str, key: &PKey<Private>, issuer: Option<&Authority>, expired: bool) -> X509 {
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_u32(fastrand::u32(1..)).unwrap().to_asn1_integer().unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(issuer.map_or(&subject, |issuer| issuer.certificate.subject_name())).unwrap();
    builder.set_pubkey(key).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let end = if expired { now - 3600 } else { now + 86_400 };
    builder.set_not_before(&Asn1Time::from_unix(now - 86_400).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(end).unwrap()).unwrap();
    match issuer {
        None => builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap(),
        Some(issuer) => {
            let context = builder.x509v3_context(Some(&issuer.certificate), None);
            let names = SubjectAlternativeName::new().dns(name).build(&context).unwrap();
            builder.append_extension(names).unwrap();
        }
    }
    builder.sign(issuer.map_or(key, |issuer| &issuer.key), MessageDigest::sha256()).unwrap();
    builder.build()
}

fn authority(name: &str) -> Authority {
    let key = key();
    Authority { certificate: certificate(name, &key, None, false), key }
}

/// Writes an authority's certificate to a file of its own.
fn file(authority: &Authority) -> PathBuf {
    let path = std::env::temp_dir().join(format!("wolkvox-bot-test-ca-{}.pem", fastrand::u64(..)));
    std::fs::write(&path, authority.certificate.to_pem().unwrap()).unwrap();
    path
}

/// Wolkvox behind TLS, with a certificate for `name`.
async fn wolkvox(issuer: &Authority, name: &str, expired: bool) -> Wolkvox {
    let key = key();
    let certificate = certificate(name, &key, Some(issuer), expired);
    let identity =
        native_tls::Identity::from_pkcs8(&certificate.to_pem().unwrap(), &key.private_key_to_pem_pkcs8().unwrap());
    let acceptor = native_tls::TlsAcceptor::new(identity.unwrap()).unwrap();
    let acceptor = tokio_native_tls::TlsAcceptor::from(acceptor);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let wolkvox = Wolkvox::new(format!("https://localhost:{}", listener.local_addr().unwrap().port()));
    let server = wolkvox.clone();
    tokio::spawn(http::accept(listener, wolkvox.connections.clone(), move |stream| {
        let (server, acceptor) = (server.clone(), acceptor.clone());
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                server.serve(stream).await;
            }
        }
    }));
    wolkvox
}

/// What a supervisor reads when the bot trusts `trusted`.
async fn reply(trusted: &Authority, wolkvox: &Wolkvox) -> String {
    let discord = Discord::start().await;
    let mut variables = variables(&discord, wolkvox);
    let path = file(trusted);
    variables.insert("SSL_CERT_FILE", path.to_str().unwrap().to_owned());
    variables.insert("RUST_LOG", "trace".to_owned());
    let process = Process::start(&variables, &[]);
    discord.until_ready(1).await;
    let reply = discord.reply(discord.mute(&supervisor(), 1001)).await;
    check_secrets(&process.log.text());
    std::fs::remove_file(path).unwrap();
    reply
}

#[tokio::test]
async fn a_trusted_certificate_is_accepted() {
    let ours = authority("Ours");
    let wolkvox = wolkvox(&ours, "localhost", false).await;
    assert!(reply(&ours, &wolkvox).await.starts_with(SUCCESS));
    assert_eq!(wolkvox.toggles(1001), 1);
}

#[tokio::test]
async fn with_a_certificate_that_is_not_trusted_nothing_is_sent() {
    let (ours, theirs) = (authority("Ours"), authority("Theirs"));
    for (issuer, name, expired) in
        [(&theirs, "localhost", false), (&ours, "elsewhere.example", false), (&ours, "localhost", true)]
    {
        let wolkvox = wolkvox(issuer, name, expired).await;
        let reply = reply(&ours, &wolkvox).await;
        assert!(reply.starts_with("**Not sent:** there is no connection to Wolkvox."), "{name}: {reply}");
        assert!(wolkvox.connections_made() >= 1);
        assert_eq!(wolkvox.requests(), 0);
        assert_eq!(wolkvox.state(|state| state.violations.len()), 0);
    }
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
