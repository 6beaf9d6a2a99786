//! What `check` finds at Wolkvox.

use std::io;

use super::{Mark, Pair, Report, WOLKVOX};
use crate::outcome::Refusal;
use crate::wolkvox::{FIREWALL, InformationError, TokenInfo};

const TOKEN: Pair = ["Wolkvox token", "Token de Wolkvox"];
const LATER: Pair = [
    "Try again later; if it stays like this, ask Wolkvox's support.",
    "Inténtalo más tarde; si sigue igual, pregunta al soporte de Wolkvox.",
];
const SETTINGS: Pair = [
    "Check WOLKVOX_SERVER (0042 for https://wv0042.wolkvox.com), WOLKVOX_API_URL and HTTPS_PROXY if they are set, and this \
     machine's connection to the internet.",
    "Revisa WOLKVOX_SERVER (0042 en https://wv0042.wolkvox.com), WOLKVOX_API_URL y HTTPS_PROXY si están definidas, y la \
     conexión de esta máquina a internet.",
];

/// Wolkvox and its token. The host is named, since `WOLKVOX_API_URL` may be set and forgotten. Where Discord was not
/// `reached` either, Wolkvox's firewall need not be what is in the way.
pub(super) fn report(
    info: Result<TokenInfo, InformationError>,
    host: &str,
    reached: bool,
    report: &mut Report<'_>,
) -> io::Result<()> {
    match info {
        Err(error @ InformationError::Fault(_)) => report.error(WOLKVOX, &error, &[LATER]),
        Err(InformationError::Unreadable(status)) => report.fail(
            WOLKVOX,
            format!("the answer of {host} (HTTP {status}) can't be read. {}", SETTINGS[0]),
            format!("no se puede leer la respuesta de {host} (HTTP {status}). {}", SETTINGS[1]),
        ),
        Err(InformationError::NoAnswer(why)) => {
            let remedies: &[Pair] = match &why {
                why if reached && why.may_be_firewall() => &[FIREWALL, SETTINGS],
                why if why.names_its_remedy() => &[],
                // The request was taken: the settings are the last thing to look at.
                why if why.may_have_been_sent() => &[LATER, SETTINGS],
                _ => &[SETTINGS],
            };
            report.error(WOLKVOX, &InformationError::NoAnswer(why), remedies)
        }
        Ok(info) => {
            reachable(host, report)?;
            let [english, spanish] = quota(info);
            report.ok(TOKEN, format!("valid{english}"), format!("válido{spanish}"))
        }
        Err(InformationError::Refused(rejected)) => {
            reachable(host, report)?;
            refused(rejected.reason, rejected.code, report)
        }
    }
}

fn reachable(host: &str, report: &mut Report<'_>) -> io::Result<()> {
    report.ok(WOLKVOX, format!("{host} can be reached"), format!("hay conexión con {host}"))
}

fn refused(reason: Refusal, code: u16, report: &mut Report<'_>) -> io::Result<()> {
    match reason {
        Refusal::TokenMissing => report.fail(
            TOKEN,
            "Wolkvox saw no token, although it was sent. Check WOLKVOX_API_URL if it is set, and any proxy in between.",
            "Wolkvox no vio ningún token, aunque se envió. Revisa WOLKVOX_API_URL si está definida, y cualquier proxy \
             intermedio.",
        ),
        Refusal::TokenWrong => report.variable(
            Mark::Failure,
            "WOLKVOX_TOKEN",
            "it is wrong, expired or deleted, or it belongs to another server than WOLKVOX_SERVER",
            "no es válido, venció, fue eliminado o no es del servidor indicado en WOLKVOX_SERVER",
        ),
        Refusal::DailyLimit => report.fail(
            TOKEN,
            "it is valid, but today's API requests are used up. Wait until tomorrow, or ask Wolkvox for more.",
            "es válido, pero se agotaron las peticiones de hoy. Espera hasta mañana o pide más a Wolkvox.",
        ),
        Refusal::TokenBusy => report.warn(
            TOKEN,
            "other requests are using WOLKVOX_TOKEN, so its quota is not known. Give the bot a token of its own.",
            "otras peticiones usan WOLKVOX_TOKEN, así que no se conoce su cuota. Dale al bot un token propio.",
        ),
        Refusal::Maintenance => report.fail(
            TOKEN,
            "refused (403), perhaps because of maintenance. Try again in some minutes, then with a new WOLKVOX_TOKEN.",
            "rechazado (403), quizás por mantenimiento. Inténtalo en unos minutos y, si sigue igual, con un WOLKVOX_TOKEN nuevo.",
        ),
        Refusal::Other => report.warn(
            TOKEN,
            format!("the server does not give its quota (code {code}), so WOLKVOX_TOKEN was not checked."),
            format!("el servidor no da su cuota (código {code}), así que no se revisó WOLKVOX_TOKEN."),
        ),
    }
}

/// What is left of today's calls, in English and in Spanish.
fn quota(info: TokenInfo) -> [String; 2] {
    match (info.left(), info.limit) {
        (Some(left), Some(limit)) => {
            [format!(", {left} of {limit} requests left today"), format!(", quedan {left} de {limit} peticiones hoy")]
        }
        (Some(left), None) => [format!(", {left} requests left today"), format!(", quedan {left} peticiones hoy")],
        (None, _) => Default::default(),
    }
}
