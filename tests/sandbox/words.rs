//! What can be typed, what the sandbox says of it in English and in Spanish, and the tour.

use std::time::Duration;

use wolkvox_bot::language::Language;

use crate::support::discord::{Actor, second_supervisor, stranger, supervisor};
use crate::support::wolkvox::{BUSY, Fate};

/// In English and in Spanish.
pub type Text = [&'static str; 2];

/// Something that can be chosen: the words that choose it, the one to be shown first; what it is; what it stands for.
pub type Choice<T> = (&'static str, Text, T);

/// The word to be shown, of those that choose something.
pub fn first(words: &'static str) -> &'static str {
    words.split(' ').next().unwrap()
}

/// The person at the keyboard, as a member of the server.
pub const PEOPLE: [Choice<fn() -> Actor>; 4] = [
    ("ana supervisor", ["ana, who has a role that may use it", "ana, que tiene un rol que lo permite"], supervisor),
    ("bruno second", ["bruno, another supervisor", "bruno, otro supervisor"], second_supervisor),
    ("carla stranger", ["carla, who has no such role", "carla, que no tiene ese rol"], stranger),
    ("dm", ["ana, in a direct message", "ana, en un mensaje directo"], || Actor {
        guild: None,
        roles: Vec::new(),
        ..supervisor()
    }),
];

/// The languages that a person's Discord may have, as its locales.
pub fn languages() -> [Choice<&'static str>; Language::ALL.len()] {
    Language::ALL.map(|language| match language {
        Language::English => ("en english inglés", ["English", "inglés"], "en-US"),
        Language::Spanish => ("es español spanish", ["Spanish", "español"], "es-419"),
        Language::Portuguese => ("pt português portuguese portugués", ["Portuguese", "portugués"], "pt-BR"),
    })
}

/// How Wolkvox behaves: what happens to the nth request from now on.
pub type Mood = fn(usize) -> Fate;

pub const MOODS: [Choice<Mood>; 9] = [
    ("ok", ["answers at once", "responde de inmediato"], |_| Fate::Confirm),
    ("slow", ["takes 1.5 s to answer", "tarda 1,5 s en responder"], |_| Fate::Slow(Duration::from_millis(1500))),
    (
        "busy",
        [
            "has no room for the first two requests of a command",
            "no tiene cupo para las dos primeras peticiones de un comando",
        ],
        |n| if n.is_multiple_of(3) { Fate::Confirm } else { BUSY },
    ),
    ("refused", ["does not accept the token", "no acepta el token"], |_| {
        Fate::Refuse(403, "FORBIDDEN", "PLEASE VALIDATE TOKEN")
    }),
    (
        "limit",
        ["has no API requests left for today", "no acepta más peticiones a la API hoy, porque se agotaron"],
        |_| Fate::Refuse(403, "FORBIDDEN", "TOKEN LIMIT EXCEEDED"),
    ),
    // Its port is closed too.
    ("down", ["can't be reached", "no está disponible: no hay conexión"], |_| Fate::CutBefore),
    ("cut", ["breaks the connection after it has toggled", "corta la conexión después de pulsar MUTE"], |_| {
        Fate::CutAfter
    }),
    (
        "silent",
        ["toggles and never answers; the bot waits for 2 s", "pulsa MUTE y nunca responde; el bot espera 2 s"],
        |_| Fate::Silent,
    ),
    ("garbage", ["toggles and answers with a web page", "pulsa MUTE y responde con una página web"], |_| {
        Fate::Say(200, "text/html", b"<html>Oops</html>".to_vec())
    }),
];

/// The agents in Wolkvox's listing: number, name, whether they are enabled. None has the name of one of the people.
pub const AGENTS: [(u64, &str, &str); 7] = [
    (1001, "Luis Gómez", "yes"),
    (1002, "João Peña", "yes"),
    (1003, "Luciana Araújo", "yes"),
    (1004, "Mariana Núñez", "yes"),
    (1005, "José Ángel Muñoz", "yes"),
    (1006, "Conceição Gonçalves", "yes"),
    (1007, "Luz Ordóñez", "no"),
];

pub fn is_disabled(agent: u64) -> bool {
    AGENTS.iter().any(|(number, _, enabled)| *number == agent && *enabled == "no")
}

/// What can be typed beside the choices: listed before them, and after them.
pub const HELP: [&[(&str, Text)]; 2] = [
    &[
        (
            "/mute 1001",
            [
                "press the MUTE button in agent 1001's application",
                "pulsa el botón MUTE en la aplicación del agente 1001",
            ],
        ),
        ("press", ["press the button under the bot's last question", "pulsa el botón de la última pregunta del bot"]),
        (
            "find lu",
            [
                "type a name instead of a number: what Discord suggests",
                "escribe un nombre en lugar de un número: lo que sugiere Discord",
            ],
        ),
        (
            "kill [1001]",
            [
                "the bot is killed and restarted, in mid-call with a number",
                "el bot se cae y se inicia otra vez; con un número, en plena petición",
            ],
        ),
    ],
    &[
        (
            "mics, audit, log",
            [
                "the microphones, the audit channel, what the bot logged",
                "los micrófonos, el canal de auditoría, el log del bot (en inglés)",
            ],
        ),
        ("check", ["what wolkvox-bot check says here", "lo que dice aquí wolkvox-bot check"]),
        (
            "tour",
            ["shows every outcome of a command, one after the other", "muestra todos los resultados de un comando"],
        ),
        ("quit", ["or Ctrl+C, Ctrl+D", "o Ctrl+C, Ctrl+D"]),
    ],
];

pub const COMMANDS: &str = "/mute, press, find, kill, as, lang, wolkvox, mics, audit, log, check, tour, help, quit";

/// The tour: a heading, what is typed, and what the last of these lines comes to.
pub const TOUR: [(Text, &[&str], &str); 21] = [
    (["Done: the reply is what Wolkvox said", "Hecho: la respuesta es lo que dijo Wolkvox"], &["/mute 1001"], "done"),
    (["The same again undoes it", "Lo mismo otra vez lo deshace"], &["/mute 1001"], "done"),
    (
        [
            "Somebody else was there just before: the bot asks first",
            "Otra persona acaba de hacerlo: el bot pregunta antes",
        ],
        &["as bruno", "/mute 1001"],
        "guarded",
    ),
    (["… and goes on when told to", "… y continúa si se lo piden"], &["press"], "done"),
    (["Without an allowed role", "Sin un rol permitido"], &["as carla", "/mute 1001"], "denied"),
    (["In a direct message", "En un mensaje directo"], &["as dm", "/mute 1001"], "denied"),
    (
        ["Refused by Wolkvox: the token", "Wolkvox lo rechaza: el token"],
        &["as ana", "wolkvox refused", "/mute 1002"],
        "rejected",
    ),
    (["What wolkvox-bot check says then", "Lo que dice entonces wolkvox-bot check"], &["check"], "fails"),
    (
        ["Refused by Wolkvox: the daily limit", "Wolkvox lo rechaza: el límite diario"],
        &["wolkvox limit", "/mute 1002"],
        "rejected",
    ),
    (
        ["A busy token is waited out", "Si Wolkvox no tiene cupo, el bot espera"],
        &["wolkvox busy", "/mute 1002"],
        "done",
    ),
    (["Not sent: no connection", "No se envió: sin conexión"], &["wolkvox down", "/mute 1003"], "not_sent"),
    (
        ["Unknown: the connection breaks", "Resultado desconocido: se corta la conexión"],
        &["wolkvox cut", "/mute 1003"],
        "unknown",
    ),
    (
        ["Unknown: no answer in time", "Resultado desconocido: no hay respuesta a tiempo"],
        &["wolkvox silent", "/mute 1004"],
        "unknown",
    ),
    (
        ["Unknown: an answer that nobody can read", "Resultado desconocido: una respuesta que nadie puede leer"],
        &["wolkvox garbage", "/mute 1005"],
        "unknown",
    ),
    (
        [
            "Unknown: the bot is killed during the call, and started again",
            "Resultado desconocido: el bot se cae en plena petición y se inicia otra vez",
        ],
        &["wolkvox ok", "kill 1006"],
        "unknown",
    ),
    (
        [
            "Agents by name: what Discord suggests while somebody types",
            "Agentes por nombre: lo que sugiere Discord mientras se escribe",
        ],
        &["find pena", "find lu"],
        "found",
    ),
    (
        ["Everything that was, or may have been, toggled", "Todo lo que se pulsó o se pudo haber pulsado"],
        &["mics", "audit"],
        "posted",
    ),
    (["wolkvox-bot check, before going live", "wolkvox-bot check, antes de empezar a usarlo"], &["check"], "works"),
    (
        ["In the language of the person's Discord: Portuguese", "En el idioma del Discord de cada persona: portugués"],
        &["lang pt", "as carla", "/mute 1003"],
        "denied",
    ),
    (["In Spanish", "En español"], &["lang es", "/mute 1003"], "denied"),
    (["In English", "En inglés"], &["lang en", "/mute 1003"], "denied"),
];
