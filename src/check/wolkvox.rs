//! What `check` finds at Wolkvox.

use std::io;

use super::Report;
use crate::language::Localized as _;
use crate::net::HttpError;
use crate::outcome::Refusal;
use crate::wolkvox::{FIREWALL, FIREWALL_IN_SPANISH, InformationError, TokenInfo};

/// Wolkvox and its token. The host is named, since `WOLKVOX_API_URL` may be set and forgotten. Where Discord was not
/// `reached` either, Wolkvox's firewall need not be what is in the way.
pub(super) fn report(
    info: Result<TokenInfo, InformationError>,
    host: &str,
    reached: bool,
    report: &mut Report<'_>,
) -> io::Result<()> {
    let reachable = |report: &mut Report<'_>| {
        report.ok(format!("Wolkvox: {host} can be reached"), format!("Wolkvox: se puede acceder a {host}"))
    };
    match info {
        Ok(info) => {
            reachable(report)?;
            let (english, spanish) = quota(info);
            report.ok(format!("Wolkvox token: valid{english}"), format!("Token de Wolkvox: válido{spanish}"))
        }
        Err(InformationError::Refused(rejected)) => {
            reachable(report)?;
            refused(rejected.reason, rejected.code, report)
        }
        Err(ref error @ InformationError::NoAnswer(ref why)) => unanswered(error, why, reached, report),
        Err(InformationError::Fault(code)) => report.fail(
            format!(
                "Wolkvox: {host} has a fault of its own ({code}). Try again later; if it stays like this, ask Wolkvox's \
                 support."
            ),
            format!(
                "Wolkvox: {host} tiene un fallo propio ({code}). Inténtalo más tarde; si continúa, consulta al soporte \
                 de Wolkvox."
            ),
        ),
        Err(InformationError::Unreadable(status)) => report.fail(
            format!(
                "Wolkvox: the answer of {host} (HTTP {status}) can't be read. Check WOLKVOX_SERVER (0042 for \
                 https://wv0042.wolkvox.com) and WOLKVOX_API_URL if it is set."
            ),
            format!(
                "Wolkvox: no se puede leer la respuesta de {host} (HTTP {status}). Revisa WOLKVOX_SERVER (0042 en \
                 https://wv0042.wolkvox.com) y WOLKVOX_API_URL si está definida."
            ),
        ),
    }
}

fn unanswered(error: &InformationError, why: &HttpError, reached: bool, report: &mut Report<'_>) -> io::Result<()> {
    let (remedy, in_spanish) = if reached && why.may_be_firewall() {
        (
            format!(
                " {FIREWALL}. If it is entered, check WOLKVOX_SERVER (0042 for https://wv0042.wolkvox.com), and \
                 WOLKVOX_API_URL and HTTPS_PROXY if they are set."
            ),
            format!(
                " {FIREWALL_IN_SPANISH}. Si ya lo está, revisa WOLKVOX_SERVER (0042 en https://wv0042.wolkvox.com), y \
                 WOLKVOX_API_URL y HTTPS_PROXY si están definidas."
            ),
        )
    } else if why.names_its_remedy() {
        Default::default()
    } else if why.may_have_been_sent() {
        // Somebody took the request: the settings are the last thing to look at.
        (
            " Try again later; if it stays like this, check WOLKVOX_SERVER, and WOLKVOX_API_URL and HTTPS_PROXY if they \
             are set, or ask Wolkvox's support."
                .to_owned(),
            " Inténtalo más tarde; si continúa, revisa WOLKVOX_SERVER, y WOLKVOX_API_URL y HTTPS_PROXY si están \
             definidas, o consulta al soporte de Wolkvox."
                .to_owned(),
        )
    } else {
        (
            " Check WOLKVOX_SERVER (0042 for https://wv0042.wolkvox.com), WOLKVOX_API_URL and HTTPS_PROXY if they are \
             set, and this machine's connection to the internet."
                .to_owned(),
            " Revisa WOLKVOX_SERVER (0042 en https://wv0042.wolkvox.com), WOLKVOX_API_URL y HTTPS_PROXY si están \
             definidas, y la conexión de esta máquina a internet."
                .to_owned(),
        )
    };
    report.fail(format!("Wolkvox: {error}.{remedy}"), format!("Wolkvox: {}.{in_spanish}", error.spanish()))
}

fn refused(reason: Refusal, code: u16, report: &mut Report<'_>) -> io::Result<()> {
    match reason {
        Refusal::TokenWrong | Refusal::TokenMissing => report.fail(
            "Wolkvox token: it is wrong, expired or deleted. Copy it again or make a new one in Wolkvox Manager \
             (\"Configuration\", \"Integrations\", \"Tokens\") and put it into WOLKVOX_TOKEN. If it is right, check \
             WOLKVOX_SERVER.",
            "Token de Wolkvox: no es válido, venció o fue eliminado. Cópialo de nuevo o crea otro en Wolkvox Manager \
             (\"Configuración\" (Configuration), \"Integraciones\" (Integrations), \"Tokens\") y ponlo en \
             WOLKVOX_TOKEN. Si es correcto, revisa WOLKVOX_SERVER.",
        ),
        Refusal::DailyLimit => report.fail(
            "Wolkvox token: WOLKVOX_TOKEN is accepted, but the operation's API requests for today are spent. Wait \
             until tomorrow, or ask Wolkvox for more.",
            "Token de Wolkvox: Wolkvox acepta WOLKVOX_TOKEN, pero se agotaron las peticiones de hoy de la operación. \
             Espera hasta mañana o pide más a Wolkvox.",
        ),
        Refusal::TokenBusy => report.warn(
            "Wolkvox token: WOLKVOX_TOKEN is in use by other requests just now, so its quota can't be told. Give the \
             bot a token of its own.",
            "Token de Wolkvox: otras peticiones están usando WOLKVOX_TOKEN en este momento, así que no se conoce su \
             cuota. Dale al bot un token propio.",
        ),
        Refusal::Maintenance => report.fail(
            "Wolkvox token: the server refuses (403), perhaps for maintenance. Try again in some minutes; if it stays \
             like this, make a new WOLKVOX_TOKEN.",
            "Token de Wolkvox: el servidor lo rechaza (403), quizás por mantenimiento. Inténtalo en unos minutos; si \
             continúa, crea un WOLKVOX_TOKEN nuevo.",
        ),
        Refusal::Other => report.warn(
            format!(
                "Wolkvox token: the server does not tell its quota (code {code}), so WOLKVOX_TOKEN could not be \
                 checked."
            ),
            format!(
                "Token de Wolkvox: el servidor no informa su cuota (código {code}), así que no se pudo revisar \
                 WOLKVOX_TOKEN."
            ),
        ),
    }
}

/// What is left of today's calls, in English and in Spanish.
fn quota(info: TokenInfo) -> (String, String) {
    let left = info.left_today.or_else(|| info.limit?.checked_sub(info.used_today?));
    match (left, info.limit) {
        (Some(left), Some(limit)) => {
            (format!(", {left} of {limit} requests left today"), format!(", quedan {left} de {limit} peticiones hoy"))
        }
        (Some(left), None) => (format!(", {left} requests left today"), format!(", quedan {left} peticiones hoy")),
        (None, _) => (String::new(), String::new()),
    }
}
