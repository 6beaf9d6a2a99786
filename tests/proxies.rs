//! Through a proxy: it makes every connection but those on this machine itself, sees no token, and when it makes none,
//! nothing is sent and the reason is told.

use std::time::Duration;

use futures_util::future::join_all;
use wolkvox_bot::net::{self, BaseUrl};

use crate::support::bot::{Process, Site, World};
use crate::support::discord::{self, Discord, Fate, stranger, supervisor};
use crate::support::http::Answer;
use crate::support::proxy::{ENCODED_PASSWORD, Proxy};
use crate::support::tls::{acceptor, authority, file};
use crate::support::wolkvox::{self, SUCCESS, Wolkvox};

/// Names that only the proxy knows.
const DISCORD: &str = "discord.test";
const GATEWAY: &str = "gateway.discord.test";
const WOLKVOX: &str = "wv0042.wolkvox.test";

const NOT_SENT: &str = "**Not sent:** there is no connection to Wolkvox.";
const UNREACHABLE: &str = "the proxy in HTTPS_PROXY can't be reached: ";
const SIGN_IN: &str =
    "the proxy in HTTPS_PROXY asks for a user name and a password, or does not accept those that it got";
const REFUSED: &str = "the proxy in HTTPS_PROXY refuses to make the connection, or can't make it.";
const BREAKS_OFF: &str = "the connection can't be made, or breaks at once: ";
const UNANSWERED: &str = "there was no answer in time";
const FIREWALL: &str = "Wolkvox's servers have a firewall of their own";

/// An office: nothing gets out but through the proxy.
struct Office {
    proxy: Proxy,
    site: Site,
}

impl Office {
    async fn new() -> Self {
        Self::with_wolkvox_at(WOLKVOX).await
    }

    async fn with_wolkvox_at(host: &str) -> Self {
        let (ours, proxy) = (authority("Ours"), Proxy::start());
        let site = Site::of(
            Discord::behind_tls(DISCORD, GATEWAY, acceptor(Some(&ours), &[DISCORD, GATEWAY], false)).await,
            Wolkvox::behind_tls(host, acceptor(Some(&ours), &[host], false)).await,
        );
        let authorities = file(&site.folder, &[&ours]);
        let site = site.with("SSL_CERT_FILE", &authorities).with("RUST_LOG", "trace");
        Self { site: site.with("HTTPS_PROXY", &proxy.url()), proxy }
    }

    async fn mute(&self, process: &mut Process, agent: u64) -> String {
        let discord = &self.site.discord;
        process.runs(async { discord.reply(discord.mute(&supervisor(), agent)).await }).await
    }

    /// What `check` prints with other variables, and whether all is well.
    async fn check(&mut self, change: &[(&'static str, &str)]) -> (String, bool) {
        let before = self.site.variables.clone();
        change.iter().for_each(|(name, value)| self.site.set(name, value));
        let (code, printed) = self.site.check().await;
        self.site.variables = before;
        (printed, code == Some(0))
    }

    /// Neither the log nor the proxy has seen a secret, and nobody has anything to complain about.
    fn settle(&self, process: &Process) {
        self.site.settle(process);
        self.proxy.state(|proxy| {
            assert_eq!(proxy.violations, Vec::<String>::new());
            let seen = String::from_utf8_lossy(&proxy.seen);
            for secret in [discord::TOKEN, wolkvox::TOKEN, "interaction-token-", "agentbox", "IDENTIFY"] {
                assert!(!seen.contains(secret), "the proxy has seen {secret}");
            }
        });
    }
}

#[tokio::test]
async fn discord_its_gateway_and_wolkvox_are_all_reached_through_it_and_it_sees_no_token() {
    for name in ["HTTPS_PROXY", "https_proxy"] {
        let mut office = Office::new().await;
        let url = office.site.variables.remove("HTTPS_PROXY").unwrap();
        office.site.set(name, &url);
        let mut process = office.site.connected(1).await;
        assert!(office.mute(&mut process, 1001).await.starts_with(SUCCESS));
        assert_eq!(office.site.wolkvox.toggles(1001), 1);
        for host in [DISCORD, GATEWAY, WOLKVOX] {
            assert!(office.proxy.connects(host) >= 1, "{host}");
        }
        assert_eq!(office.proxy.connects(GATEWAY), 1);
        office.settle(&process);
    }
}

#[tokio::test]
async fn where_it_makes_no_connection_nothing_is_sent_and_the_log_says_why() {
    type Case = (fn() -> Answer, &'static str);

    let cases: [Case; 9] = [
        (|| Answer::empty(407), SIGN_IN),
        (|| Answer::html(403, "Forbidden"), REFUSED),
        (|| Answer::html(502, "Bad Gateway"), REFUSED),
        (|| Answer::html(200, "Sign in").with("proxy-connection", "close"), BREAKS_OFF),
        (|| Answer::Cut, REFUSED),
        (|| Answer::Raw(b"HTTP/1.1 200 Connec".to_vec()), REFUSED),
        (|| Answer::Raw(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()), REFUSED),
        (|| Answer::Raw(b"HTTP/1.1 200 Connection established\r\n\r\n".to_vec()), BREAKS_OFF),
        (|| Answer::Silent, UNANSWERED),
    ];
    join_all(cases.map(|(answer, words)| async move {
        let mut office = Office::new().await;
        office.proxy.refuse(WOLKVOX, answer);
        office.site.set("WOLKVOX_TIMEOUT_SECS", "2");
        office.site.set("AGENT_DIRECTORY", "off");
        let mut process = office.site.connected(1).await;
        let reply = office.mute(&mut process, 1001).await;
        assert!(reply.starts_with(NOT_SENT), "{words}: {reply}");
        let host = office.site.wolkvox.url.trim_start_matches("https://");
        let words = format!("no connection to {host}: {words}");
        process.runs_until_logged(&words).await;
        assert!(office.proxy.connects(WOLKVOX) >= 2, "it is tried again");
        assert_eq!(office.site.wolkvox.requests(), 0);
        office.settle(&process);
    }))
    .await;
}

#[tokio::test]
async fn when_it_goes_down_nothing_is_sent_and_the_log_says_so() {
    let office = Office::new().await;
    let mut process = office.site.connected(1).await;
    // A connection to Discord is there for the next answer, and none to Wolkvox.
    let first = office.site.discord.mute(&stranger(), 1001);
    process.runs(office.site.discord.finished(first)).await;
    office.proxy.go_down();
    let reply = office.mute(&mut process, 1001).await;
    assert!(reply.starts_with(NOT_SENT), "{reply}");
    process.runs_until_logged(UNREACHABLE).await;
    assert_eq!(office.site.wolkvox.requests(), 0);
    office.settle(&process);
}

#[tokio::test]
async fn hosts_in_no_proxy_are_reached_directly() {
    for name in ["NO_PROXY", "no_proxy"] {
        let mut office = Office::with_wolkvox_at("localhost").await;
        office.site.set(name, "example.com, localhost");
        let mut process = office.site.connected(1).await;
        assert!(office.mute(&mut process, 1001).await.starts_with(SUCCESS));
        assert_eq!(office.proxy.connects("localhost"), 0);
        assert!(office.proxy.connects(DISCORD) >= 1);
        office.settle(&process);
        let (printed, well) = office.check(&[(name, "localhost")]).await;
        assert!(
            printed.contains(&format!("ok    Proxy: Discord is reached through http://{}\n", office.proxy.address))
        );
        assert!(printed.contains("ok    Proxy: Wolkvox is reached directly, because of NO_PROXY"), "{printed}");
        assert!(well, "{printed}");
    }
}

#[tokio::test]
async fn what_is_not_encrypted_never_goes_through_a_proxy() {
    let (mut site, proxy) = (Site::new().await, Proxy::start());
    for name in ["HTTPS_PROXY", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        site.set(name, &proxy.url());
    }
    let mut process = site.connected(1).await;
    let reply = site.discord.reply(site.discord.mute(&supervisor(), 1001));
    assert!(process.runs(reply).await.starts_with(SUCCESS));
    site.stop(&mut process).await;
    let (code, printed) = site.check().await;
    assert_eq!(code, Some(0));
    assert!(printed.contains("Proxy: Wolkvox is reached directly, because of NO_PROXY or an http address"));
    assert_eq!(proxy.state(|proxy| (proxy.seen.len(), proxy.violations.len())), (0, 0));
}

#[tokio::test]
async fn proxies_that_only_the_variables_for_other_programs_name_are_not_used() {
    let (mut site, proxy) = (Site::new().await.with("WOLKVOX_API_URL", "https://localhost:1"), Proxy::start());
    for name in ["HTTP_PROXY", "ALL_PROXY", "all_proxy"] {
        site.set(name, &proxy.url());
    }
    assert_eq!(site.check().await.0, Some(1));
    assert_eq!(proxy.state(|proxy| proxy.seen.len()), 0);
}

#[tokio::test]
async fn check_names_the_proxy_and_what_is_wrong_with_it() {
    let mut office = Office::new().await;
    let (well, ok) = office.check(&[]).await;
    for service in ["Discord", "Wolkvox"] {
        let line = format!("ok    Proxy: {service} is reached through http://{}\n", office.proxy.address);
        assert!(well.contains(&line), "{well}");
    }
    assert!(ok, "{well}");

    let [at_discord, at_wolkvox] =
        [&office.site.discord.url, &office.site.wolkvox.url].map(|url| url.trim_start_matches("https://").to_owned());
    let elsewhere = format!("ana:wrong@{}", office.proxy.address);
    let encrypted = format!("https://{}", office.proxy.address);
    for (change, language, failure) in [
        (
            elsewhere.as_str(),
            "C",
            format!("FAIL  Discord: no connection to {at_discord}: {SIGN_IN} (407). Write them as in http://"),
        ),
        (
            &elsewhere,
            "C",
            "The bot supports only Basic: if the proxy wants NTLM or Kerberos (Negotiate), put a".to_owned(),
        ),
        (
            &elsewhere,
            "es",
            "El bot solo usa Basic: si el proxy pide NTLM o Kerberos (Negotiate), pon delante".to_owned(),
        ),
        (
            &elsewhere,
            "es_CO",
            format!(
                "FALLO Discord: no hay conexión con {at_discord}: el proxy indicado en HTTPS_PROXY pide un usuario"
            ),
        ),
        (
            "127.0.0.1:1",
            "C",
            format!("FAIL  Wolkvox: no connection to {at_wolkvox}: {UNREACHABLE}the connection was refused. Check"),
        ),
        (
            "127.0.0.1:1",
            "es",
            format!(
                "FALLO Wolkvox: no hay conexión con {at_wolkvox}: no hay conexión con el proxy indicado en HTTPS_PROXY: \
                 la conexión fue rechazada. Revisa"
            ),
        ),
        (&encrypted, "C", format!("FAIL  Discord: no connection to {at_discord}: {UNREACHABLE}")),
        ("http://ana:12#34@proxy.test:1", "C", "FAIL  HTTPS_PROXY: it ".to_owned()),
        ("socks5://proxy.test:1080", "es", "FALLO HTTPS_PROXY: no es un proxy http ni https. Escribe una".to_owned()),
    ] {
        let (printed, ok) = office.check(&[("HTTPS_PROXY", change), ("LANG", language)]).await;
        assert!(printed.contains(&failure) && !ok, "{failure}: {printed}");
        assert!(!printed.contains("wrong") && !printed.contains("12#34"), "{printed}");
        assert!(!printed.contains(FIREWALL), "{printed}");
    }
    assert_eq!(office.proxy.state(|proxy| proxy.violations.clone()), Vec::<String>::new());
}

#[tokio::test]
async fn check_says_what_a_proxy_that_refuses_wolkvox_alone_may_mean() {
    let mut office = Office::new().await;
    office.proxy.refuse(WOLKVOX, || Answer::html(403, "Forbidden"));
    let (printed, _) = office.check(&[]).await;
    let line = printed.lines().find(|line| line.starts_with("FAIL  Wolkvox: ")).unwrap();
    assert!(line.contains(REFUSED) && line.contains("allow CONNECT to this host") && line.contains(FIREWALL), "{line}");
    let (printed, _) = office.check(&[("LANG", "es_CO.UTF-8")]).await;
    let line = printed.lines().find(|line| line.starts_with("FALLO Wolkvox: ")).unwrap();
    assert!(line.contains("rechaza la conexión") && line.contains("tienen su propio firewall"), "{line}");
}

#[tokio::test]
async fn check_and_the_log_name_the_gateway_that_a_proxy_refuses_alone() {
    let mut office = Office::new().await;
    office.proxy.refuse(GATEWAY, || Answer::html(403, "Forbidden"));
    let at_gateway = office.site.discord.url.replace(DISCORD, GATEWAY).replace("https://", "");
    let (printed, ok) = office.check(&[]).await;
    let failure = format!("no connection to {at_gateway}: {REFUSED}");
    assert!(printed.contains(&format!("FAIL  Gateway: {failure}")) && !ok, "{printed}");
    let (printed, _) = office.check(&[("LANG", "es")]).await;
    assert!(printed.contains(&format!("FALLO Gateway: no hay conexión con {at_gateway}: el proxy")), "{printed}");
    let mut process = office.site.start();
    process.runs_until_logged(&failure).await;
    office.settle(&process);
}

#[tokio::test]
async fn a_proxy_whose_own_certificate_is_not_trusted_is_named() {
    let (mut office, theirs) = (Office::new().await, authority("Theirs"));
    let stranger = Wolkvox::behind_tls("localhost", acceptor(Some(&theirs), &["localhost"], false)).await;
    let (printed, ok) = office.check(&[("HTTPS_PROXY", &stranger.url)]).await;
    let words = "the proxy in HTTPS_PROXY can't be reached: its certificate was issued by";
    let host = office.site.discord.url.trim_start_matches("https://");
    assert!(printed.contains(&format!("FAIL  Discord: no connection to {host}: {words}")) && !ok, "{printed}");
}

#[tokio::test]
async fn a_start_that_the_proxy_does_not_let_through_names_it() {
    let office = Office::new().await;
    office.proxy.refuse(DISCORD, || Answer::empty(403));
    let mut process = office.site.start();
    process.runs_until_logged(REFUSED).await;
    office.settle(&process);
}

#[test]
fn an_address_is_taken_with_or_without_its_kind_and_shown_without_the_password() {
    let address = format!("ana:{ENCODED_PASSWORD}@proxy.example:3128");
    for (text, shown) in [
        ("http://proxy.example:3128", "http://proxy.example:3128"),
        ("http://proxy.example:3128/", "http://proxy.example:3128"),
        ("proxy.example:3128", "http://proxy.example:3128"),
        ("10.0.0.1:8080", "http://10.0.0.1:8080"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("HTTPS://Proxy.example:8443", "https://proxy.example:8443"),
        ("http://ana@proxy.example:3128", "http://proxy.example:3128"),
        ("http://ana:p@ss-word@proxy.example:3128", "http://proxy.example:3128"),
        (&address, "http://proxy.example:3128"),
    ] {
        let proxy = net::Proxy::parse(text, "").expect(text);
        assert_eq!(proxy.to_string(), shown);
        assert!(!format!("{proxy:?}").contains("ss-word") && !format!("{proxy:?}").contains("ana"), "{proxy:?}");
    }
    for (text, why) in [
        ("", "it is not the address of a proxy"),
        ("http://", "it is not the address of a proxy"),
        ("two words", "it is not the address of a proxy"),
        ("http://ana:p/w@proxy.example:3128", "it is not the address of a proxy"),
        ("http://proxy.example:99999", "it is not the address of a proxy"),
        ("socks5://proxy.example:1080", "it is not an http or https proxy"),
        ("ftp://proxy.example", "it is not an http or https proxy"),
        ("http://proxy.example:3128/proxy.pac", "it contains more than a user name, a password, a host and a port"),
        ("http://proxy.example:3128?x", "it contains more than a user name, a password, a host and a port"),
        ("http://ana:12#34@proxy.example:3128", "it contains more than a user name, a password, a host and a port"),
    ] {
        assert_eq!(net::Proxy::parse(text, "").unwrap_err()[0], why, "{text}");
    }
}

#[test]
fn no_proxy_holds_domains_addresses_networks_and_the_star() {
    for (except, host, through) in [
        ("", "wv0042.wolkvox.com", true),
        ("*", "wv0042.wolkvox.com", false),
        ("wolkvox.com", "wv0042.wolkvox.com", false),
        (".wolkvox.com", "wv0042.wolkvox.com", false),
        ("Wolkvox.COM", "wv0042.wolkvox.com", false),
        ("other.example, wv0042.wolkvox.com", "wv0042.wolkvox.com", false),
        ("olkvox.com", "wv0042.wolkvox.com", true),
        ("*.wolkvox.com", "wv0042.wolkvox.com", true),
        ("wolkvox.com:443", "wv0042.wolkvox.com", true),
        ("a-name-that-is-longer-than-that-of-the-host.example", "discord.com", true),
        ("10.1.2.3", "10.1.2.3", false),
        ("10.0.0.0/8", "10.1.2.3", false),
        ("10.0.0.0/8", "11.1.2.3", true),
        ("::1", "[::1]", false),
        ("fd00::/8", "[fd12::3]", false),
    ] {
        let proxy = net::Proxy::parse("proxy.example:3128", except).unwrap();
        let base = BaseUrl::parse(&format!("https://{host}")).unwrap();
        assert_eq!(proxy.serves(&base), through, "{host} with NO_PROXY={except}");
    }
    let on_this_machine = BaseUrl::parse("http://127.0.0.1:8080").unwrap();
    assert!(!net::Proxy::parse("proxy.example:3128", "").unwrap().serves(&on_this_machine));
}

#[tokio::test]
async fn a_toggle_without_a_connection_lets_the_log_speak_of_the_firewall_once_in_a_while() {
    World::run(async |world| {
        world.wolkvox.go_down();
        for agent in [1001, 1002] {
            let command = world.discord.mute(&supervisor(), agent);
            assert!(world.discord.reply(command).await.starts_with(NOT_SENT));
            assert_eq!(world.log.outcome(command).await, "not_sent");
        }
        assert_eq!(world.log.lines().iter().filter(|line| line.contains(FIREWALL)).count(), 1);
    })
    .await;
}

#[tokio::test]
async fn check_speaks_of_the_firewall_where_discord_is_reached_and_wolkvox_is_not() {
    let mut site = Site::new().await;
    let variables = site.variables.clone();
    for (change, speaks) in [
        (vec![("WOLKVOX_API_URL", "https://localhost:1")], true),
        (vec![("WOLKVOX_API_URL", "https://localhost:1"), ("DISCORD_TOKEN", "wrong")], true),
        (vec![("WOLKVOX_API_URL", "https://wv0042.wolkvox.invalid")], false),
        (vec![("WOLKVOX_API_URL", "https://localhost:1"), ("DISCORD_API_URL", "https://localhost:1")], false),
        (vec![], false),
    ] {
        for (language, words) in
            [("C", FIREWALL), ("es_CO.UTF-8", "Los servidores de Wolkvox tienen su propio firewall")]
        {
            site.variables = variables.clone();
            site.set("LANG", language);
            change.iter().for_each(|(name, value)| site.set(name, value));
            let (_, printed) = site.check().await;
            assert_eq!(printed.contains(words), speaks, "{change:?}: {printed}");
        }
    }
}

#[tokio::test]
async fn check_speaks_of_the_firewall_where_wolkvox_stays_silent() {
    // A queue of connections that nobody takes, and that is full: what comes next is not even answered.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(300), tokio::net::TcpStream::connect(address)).await
    {
        waiting.push(stream);
    }
    let discord = Discord::start().await;
    discord.state(|state| state.other_fates.push_back(Fate::Accept));
    let site = Site::of(discord, Wolkvox::new(format!("https://{address}"))).with("WOLKVOX_TIMEOUT_SECS", "1");
    let (code, printed) = site.check().await;
    assert_eq!(code, Some(1));
    let expected = format!("FAIL  Wolkvox: no connection to {address}: there was no answer in time. {FIREWALL}");
    assert!(printed.contains(&expected), "{printed}");
}
