//! The proxy that a company's network may want.

use std::fmt;

use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use reqwest::{NoProxy, Url};
use secrecy::{ExposeSecret as _, SecretString};

use super::BaseUrl;
use crate::language::{Both, both};

/// A proxy that encrypted connections go through, by CONNECT: TLS goes from end to end, so that it sees the names of
/// hosts and no token. It has no part in anything else: an `http` address, which is always on this machine, would be
/// shown to it in the clear.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// With the user name and the password.
    url: SecretString,
    /// The hosts that are reached without it.
    except: String,
    /// Without user name and password.
    shown: String,
}

impl Proxy {
    /// Parses an address as `HTTPS_PROXY` has it, with or without `http://`, and a list of hosts as `NO_PROXY` has it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, except: &str) -> Result<Self, Both> {
        let no_address = || both("it is not the address of a proxy", "no es la dirección de un proxy");
        let text = if text.contains("://") { text.to_owned() } else { ["http://", text].concat() };
        let url = Url::parse(&text).map_err(|_| no_address())?;
        // Such as SOCKS.
        if !matches!(url.scheme(), "http" | "https") {
            return Err(both("it is not an http or https proxy", "no es un proxy http ni https"));
        }
        // As when a password has characters in it that mean something in an address.
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(both(
                "it contains more than a user name, a password, a host and a port",
                "contiene más que un usuario, una contraseña, un host y un puerto",
            ));
        }
        // What the library can't read it would go around, and say nothing.
        let used = intercept(url.as_str(), "", "https://discord.com").ok_or_else(no_address)?;
        let shown = used.uri().to_string().trim_end_matches('/').to_owned();
        Ok(Self { url: String::from(url).into(), except: except.to_owned(), shown })
    }

    /// Whether connections to this address go through it.
    pub fn serves(&self, base: &BaseUrl) -> bool {
        intercept(self.url.expose_secret(), &self.except, base.0.as_str()).is_some()
    }

    pub(super) fn rule(&self) -> Result<reqwest::Proxy, reqwest::Error> {
        let proxy = reqwest::Proxy::https(self.url.expose_secret()).map_err(reqwest::Error::without_url)?;
        Ok(proxy.no_proxy(NoProxy::from_string(&self.except)))
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// The proxy that is used for an address. reqwest does not tell, and asks in the same way.
fn intercept(proxy: &str, except: &str, address: &str) -> Option<Intercept> {
    Matcher::builder().https(proxy).no(except).build().intercept(&address.parse().ok()?)
}
