//! Every sentence that a person reads in Discord, in every language. Each sentence stands once, in all languages side
//! by side: one that lacks a language does not compile. What the bot tells its administrator stands where it is told, in
//! two languages, by the same rule ([`Language::pick_for_operator`]).
//!
//! A reply says first what happened, then what to do, and claims no more than is known.

use std::time::Duration;

use crate::access::Denial;
use crate::agent::{Agent, AgentId, Name};
use crate::command::{Before, Standing};
use crate::language::Language;
use crate::ledger::{Conflict, Stale};
use crate::outcome::{NotSent, Outcome, Refusal, Rejected, Unknown};
use crate::text::{escape, one_line, plain_text, width};

/// Discord's limit for a message ("Messages"), counted as its own clients count: in UTF-16 units.
pub const MAX_MESSAGE: usize = 2000;

/// What the command does, in the list of commands (at most 100 characters).
pub fn command_description(language: Language) -> &'static str {
    language.pick(
        "Press the MUTE button in a Wolkvox agent's application; run it again to undo",
        "Pulsa el botón MUTE en la aplicación de un agente de Wolkvox; repite el comando para deshacer",
        "Aperta o botão MUTE no aplicativo de um agente do Wolkvox; repita para desfazer",
    )
}

/// What `agent_id` is (at most 100 characters).
pub fn option_description(language: Language) -> &'static str {
    language.pick(
        "The agent's extension number in Wolkvox, such as 1001",
        "El número de extensión del agente en Wolkvox, por ejemplo 1001",
        "O número do ramal do agente no Wolkvox, por exemplo 1001",
    )
}

/// The same, where names can be typed.
pub fn option_description_with_names(language: Language) -> &'static str {
    language.pick(
        "The agent's number in Wolkvox, such as 1001; type a name to search",
        "El número del agente en Wolkvox, por ejemplo 1001; escribe un nombre para buscarlo",
        "O número do agente no Wolkvox, por exemplo 1001; digite um nome para buscar",
    )
}

/// A suggestion while the agent is being typed.
pub fn choice(name: Option<&Name>, id: AgentId) -> String {
    match name {
        Some(name) => format!("{} · {id}", name.as_str()),
        None => id.to_string(),
    }
}

/// The outcome of a command, with the toggle before it where that is known.
pub fn outcome(language: Language, agent: &Agent, outcome: &Outcome, before: Option<Before>) -> String {
    match outcome {
        Outcome::Done(done) => self::done(language, agent, Some(&done.msg), before),
        Outcome::Rejected(rejected) => self::rejected(language, agent, rejected, Some(&rejected.msg)),
        Outcome::NotSent(why) => format!("{}\n{}", not_sent(language, *why), small_print(language, agent)),
        Outcome::Unknown(why) => format!("{}\n{}", unknown(language, *why), small_print(language, agent)),
    }
}

/// The same in our own words alone, for when Discord does not take a text from elsewhere.
pub fn outcome_in_own_words(language: Language, agent: AgentId, outcome: &Outcome) -> String {
    let agent = Agent { id: agent, name: None, is_unlisted: false };
    match outcome {
        Outcome::Done(_) => done(language, &agent, None, None),
        Outcome::Rejected(rejected) => self::rejected(language, &agent, rejected, None),
        Outcome::NotSent(_) | Outcome::Unknown(_) => self::outcome(language, &agent, outcome, None),
    }
}

fn small_print(language: Language, agent: &Agent) -> String {
    let unlisted = language.pick(
        " (not in Wolkvox's list of agents)",
        " (no está en la lista de agentes de Wolkvox)",
        " (não está na lista de agentes do Wolkvox)",
    );
    let unlisted = if agent.is_unlisted { unlisted } else { "" };
    ["-# ", language.pick("Agent", "Agente", "Agente"), " ", &agent.to_string(), unlisted].concat()
}

fn done(language: Language, agent: &Agent, msg: Option<&str>, before: Option<Before>) -> String {
    let toggle = language.pick(
        "MUTE is a toggle: run the command again to undo it",
        "MUTE es un interruptor: repite el comando para deshacerlo",
        "MUTE é um interruptor: repita o comando para desfazer",
    );
    // Discord shows the time to each reader, as one that goes on.
    let before = before.map(|Before { by, at }| {
        let words = language.pick("before this", "antes de esto", "antes disto");
        format!(" · {words}: <@{by}>, <t:{at}:R>")
    });
    let tail = ["\n", &small_print(language, agent), " · ", toggle, &before.unwrap_or_default()].concat();
    let nothing = language.pick(
        "Wolkvox reported success, without a message.",
        "Wolkvox confirmó que se hizo, sin dar ningún mensaje.",
        "O Wolkvox confirmou que foi feito, sem mensagem.",
    );
    let hidden = language.pick(
        "Wolkvox reported success. Its message can't be shown here.",
        "Wolkvox confirmó que se hizo. Su mensaje no se puede mostrar aquí.",
        "O Wolkvox confirmou que foi feito. A mensagem não pode ser mostrada aqui.",
    );
    match msg {
        Some(msg) => said("", msg, nothing, &tail),
        None => [hidden, &tail].concat(),
    }
}

fn rejected(language: Language, agent: &Agent, rejected: &Rejected, msg: Option<&str>) -> String {
    let head = language.pick("**Refused by Wolkvox:** ", "**Wolkvox lo rechazó:** ", "**O Wolkvox recusou:** ");
    let nothing = language.pick("it gave no reason.", "no dio ningún motivo.", "não informou o motivo.");
    let code = language.pick("code", "código", "código");
    let tail =
        format!("\n{}\n{} · {code} {}", hint(language, rejected.reason), small_print(language, agent), rejected.code);
    let hidden = language.pick(
        "its message can't be shown here.",
        "su mensaje no se puede mostrar aquí.",
        "a mensagem não pode ser mostrada aqui.",
    );
    match msg {
        Some(msg) => said(head, msg, nothing, &tail),
        None => [head, hidden, &tail].concat(),
    }
}

fn hint(language: Language, reason: Refusal) -> &'static str {
    match reason {
        Refusal::TokenMissing => language.pick(
            "Wolkvox saw no token. Ask your administrator to check `WOLKVOX_TOKEN`.",
            "Wolkvox no recibió el token. Pide a tu administrador que revise `WOLKVOX_TOKEN`.",
            "O Wolkvox não recebeu o token. Peça ao administrador que verifique `WOLKVOX_TOKEN`.",
        ),
        Refusal::TokenWrong => language.pick(
            "The API token is wrong, expired or deleted. Ask your administrator to make a new one in Wolkvox \
             Manager and to put it into `WOLKVOX_TOKEN`.",
            "El token de la API no es válido, venció o fue eliminado. Pide a tu administrador que cree uno nuevo \
             en Wolkvox Manager y lo ponga en `WOLKVOX_TOKEN`.",
            "O token da API é inválido, expirou ou foi excluído. Peça ao administrador que crie um novo no \
             Wolkvox Manager e o coloque em `WOLKVOX_TOKEN`.",
        ),
        Refusal::DailyLimit => language.pick(
            "Today's API requests are used up. Use Wolkvox itself until tomorrow, and tell your administrator.",
            "Se agotaron las peticiones a la API de hoy. Usa Wolkvox directamente hasta mañana y avisa a tu administrador.",
            "As solicitações à API de hoje se esgotaram. Use o próprio Wolkvox até amanhã e avise o administrador.",
        ),
        Refusal::TokenBusy => language.pick(
            "The token is busy with other requests. Try again in a moment.",
            "El token está ocupado con otras peticiones. Inténtalo de nuevo en un momento.",
            "O token está ocupado com outras solicitações. Tente novamente em instantes.",
        ),
        Refusal::Maintenance => language.pick(
            "The Wolkvox server may be in maintenance. Try again in a few minutes; if it stays like this, tell \
             your administrator.",
            "Puede que el servidor de Wolkvox esté en mantenimiento. Inténtalo de nuevo en unos minutos; si sigue igual, \
             avisa a tu administrador.",
            "O servidor do Wolkvox pode estar em manutenção. Tente novamente em alguns minutos; se continuar assim, avise \
             o administrador.",
        ),
        Refusal::Other => language.pick(
            "Check the agent's number. If it is right, tell your administrator.",
            "Revisa el número del agente. Si es correcto, avisa a tu administrador.",
            "Confira o número do agente. Se estiver certo, avise o administrador.",
        ),
    }
}

pub fn not_sent(language: Language, why: NotSent) -> &'static str {
    match why {
        NotSent::NoConnection => language.pick(
            "**Not sent:** there is no connection to Wolkvox. Nothing has changed, and it is safe to try again.",
            "**No se envió:** no hay conexión con Wolkvox. No cambió nada y puedes intentarlo de nuevo.",
            "**Não foi enviado:** sem conexão com o Wolkvox. Nada mudou, e você pode tentar novamente.",
        ),
        NotSent::Restarting => language.pick(
            "**Not sent:** the bot is stopping, perhaps to restart. Nothing has changed; try again in a minute.",
            "**No se envió:** el bot se está deteniendo, quizás para reiniciarse. No cambió nada; inténtalo de nuevo en un \
             minuto.",
            "**Não foi enviado:** o bot está parando, talvez para reiniciar. Nada mudou; tente novamente em um minuto.",
        ),
        NotSent::Restarted => language.pick(
            "**Not sent:** the bot was restarted. Nothing has changed; try again.",
            "**No se envió:** el bot se reinició. No cambió nada; inténtalo de nuevo.",
            "**Não foi enviado:** o bot foi reiniciado. Nada mudou; tente novamente.",
        ),
        NotSent::NotRecorded => language.pick(
            "**Not sent:** the bot can't write its state file. Nothing has changed; try again, and tell your administrator.",
            "**No se envió:** el bot no puede escribir su archivo de estado. No cambió nada; inténtalo de nuevo y \
             avisa a tu administrador.",
            "**Não foi enviado:** o bot não consegue gravar o arquivo de estado. Nada mudou; tente novamente e avise o \
             administrador.",
        ),
        NotSent::WaitedTooLong => language.pick(
            "**Not sent:** its turn came too late. Nothing has changed; try again if it still matters.",
            "**No se envió:** el turno del comando llegó demasiado tarde. No cambió nada; inténtalo de nuevo si aún hace falta.",
            "**Não foi enviado:** a vez do comando chegou tarde demais. Nada mudou; tente novamente se ainda for necessário.",
        ),
        NotSent::Fault => language.pick(
            "**Not sent:** something broke in the bot. Nothing has changed, and it is safe to try again. If it \
             happens again, tell your administrator.",
            "**No se envió:** algo falló en el bot. No cambió nada y puedes intentarlo de nuevo. Si se repite, \
             avisa a tu administrador.",
            "**Não foi enviado:** algo falhou no bot. Nada mudou, e você pode tentar novamente. Se acontecer de \
             novo, avise o administrador.",
        ),
    }
}

/// Somebody still sees "thinking…", and it is not known whose answer that was. It stays true whoever answers later.
pub fn unconfirmed(language: Language, agent: &Agent) -> String {
    let why = language.pick(
        "Discord did not confirm the command, and another copy of the bot may have it. Look at the agent's MUTE button \
         before you try again.",
        "Discord no confirmó el comando, y puede que lo tenga otra copia del bot. Mira el botón MUTE del agente antes \
         de intentarlo de nuevo.",
        "o Discord não confirmou o comando, e outra cópia do bot pode estar com ele. Veja o botão MUTE do agente antes \
         de tentar novamente.",
    );
    format!("{} {why}\n{}", not_sent_from_here(language), small_print(language, agent))
}

/// The same, when this process found the command of one that died before it was known whether it had it.
pub fn interrupted(language: Language, agent: &Agent) -> String {
    let why = language.pick(
        "the bot was interrupted, and another copy of the bot may have the command. Look at the agent's MUTE button \
         before you try again.",
        "el bot se interrumpió, y puede que otra copia del bot tenga el comando. Mira el botón MUTE del agente antes \
         de intentarlo de nuevo.",
        "o bot foi interrompido, e outra cópia do bot pode estar com o comando. Veja o botão MUTE do agente antes de \
         tentar novamente.",
    );
    format!("{} {why}\n{}", not_sent_from_here(language), small_print(language, agent))
}

fn not_sent_from_here(language: Language) -> &'static str {
    language.pick("**Not sent from here:**", "**No se envió desde aquí:**", "**Não foi enviado daqui:**")
}

/// Whether a message is one of these two, which say nothing of the outcome elsewhere.
pub fn leaves_the_outcome_open(text: &str) -> bool {
    Language::ALL.into_iter().any(|language| text.starts_with(not_sent_from_here(language)))
}

fn unknown(language: Language, why: Unknown) -> String {
    let what = match why {
        Unknown::TimedOut => language.pick(
            "**Unknown:** Wolkvox did not answer in time.",
            "**Resultado desconocido:** Wolkvox no respondió a tiempo.",
            "**Resultado desconhecido:** o Wolkvox não respondeu a tempo.",
        ),
        Unknown::ConnectionLost => language.pick(
            "**Unknown:** the connection to Wolkvox broke before its answer came.",
            "**Resultado desconocido:** la conexión con Wolkvox se cortó antes de que llegara la respuesta.",
            "**Resultado desconhecido:** a conexão com o Wolkvox caiu antes da resposta.",
        ),
        Unknown::Unreadable { .. } => language.pick(
            "**Unknown:** Wolkvox's answer can't be read.",
            "**Resultado desconocido:** no se puede leer la respuesta de Wolkvox.",
            "**Resultado desconhecido:** não foi possível ler a resposta do Wolkvox.",
        ),
        Unknown::Fault => language.pick(
            "**Unknown:** something broke in the bot during its request to Wolkvox.",
            "**Resultado desconocido:** algo falló en el bot durante la petición a Wolkvox.",
            "**Resultado desconhecido:** algo falhou no bot durante a solicitação ao Wolkvox.",
        ),
        Unknown::Interrupted => language.pick(
            "**Unknown:** the bot was interrupted during its request to Wolkvox.",
            "**Resultado desconocido:** el bot se interrumpió durante la petición a Wolkvox.",
            "**Resultado desconhecido:** o bot foi interrompido durante a solicitação ao Wolkvox.",
        ),
    };
    let remedy = language.pick(
        "The microphone may have changed: look at the agent's MUTE button before you try again.",
        "Puede que el micrófono haya cambiado: mira el botón MUTE del agente antes de intentarlo de nuevo.",
        "O microfone pode ter mudado: veja o botão MUTE do agente antes de tentar novamente.",
    );
    format!("{what} {remedy}")
}

pub fn denied(language: Language, denial: Denial) -> &'static str {
    match denial {
        Denial::NotInGuild => language.pick(
            "This command works only in the server that the bot was set up for. Nothing was sent.",
            "Este comando solo funciona en el servidor para el que se configuró el bot. No se envió nada.",
            "Este comando só funciona no servidor para o qual o bot foi configurado. Nada foi enviado.",
        ),
        Denial::NoRole => language.pick(
            "You don't have a role that may use this command. Nothing was sent. Ask your administrator for access.",
            "Ninguno de tus roles permite usar este comando. No se envió nada. Pide acceso a tu administrador.",
            "Você não tem um cargo que permita usar este comando. Nada foi enviado. Peça acesso ao administrador.",
        ),
    }
}

pub fn invalid_agent(language: Language) -> String {
    let (min, max) = (AgentId::MIN, AgentId::MAX);
    language.pick(
        format!("That is not an agent's number. Nothing was sent. Give a whole number from {min} to {max}."),
        format!("Ese no es un número de agente. No se envió nada. Escribe un número entero de {min} a {max}."),
        format!("Esse não é um número de agente. Nada foi enviado. Informe um número inteiro de {min} a {max}."),
    )
}

/// What was typed names no agent beyond doubt; these fit.
pub fn several_agents(language: Language, agents: &[(AgentId, Option<Name>)]) -> String {
    let head = language.pick(
        "**Not sent:** it is not clear which agent that is. These fit; run the command again with the number:",
        "**No se envió:** no está claro qué agente es. Estos coinciden; repite el comando con el número:",
        "**Não foi enviado:** não está claro qual é o agente. Estes correspondem; repita o comando com o número:",
    );
    let line = |(id, name): &(AgentId, Option<Name>)| {
        let name = name.as_ref().map(|name| escape(name.as_str(), MAX_MESSAGE)).unwrap_or_default();
        format!("\n`{id}` {name}")
    };
    agents.iter().fold(head.to_owned(), |text, agent| text + &line(agent))
}

pub fn no_agent(language: Language) -> String {
    let (min, max) = (AgentId::MIN, AgentId::MAX);
    language.pick(
        format!(
            "**Not sent:** no agent has that name, and it is not a number from {min} to {max}. Choose one of the \
             suggestions, or type the number."
        ),
        format!(
            "**No se envió:** ningún agente tiene ese nombre, y tampoco es un número de {min} a {max}. Elige una de las \
             sugerencias o escribe el número."
        ),
        format!(
            "**Não foi enviado:** nenhum agente tem esse nome, e não é um número de {min} a {max}. Escolha uma das \
             sugestões ou digite o número."
        ),
    )
}

pub fn no_names_yet(language: Language) -> String {
    language
        .pick(
            "**Not sent:** the agents' names are not known yet. Type the number, or try again in a moment.",
            "**No se envió:** aún no se conocen los nombres de los agentes. Escribe el número o inténtalo de nuevo en un momento.",
            "**Não foi enviado:** os nomes dos agentes ainda não são conhecidos. Digite o número ou tente novamente em instantes.",
        )
        .to_owned()
}

/// Somebody else toggled the agent just before: asks whether to go on.
pub fn guarded(language: Language, agent: &Agent, conflict: &Conflict) -> String {
    let (by, ago) = (conflict.by, seconds(language, conflict.ago));
    let asked = language.pick(
        format!("**Not sent:** <@{by}> asked to toggle the microphone of agent {agent} {ago} ago, and "),
        format!("**No se envió:** <@{by}> pidió pulsar MUTE para el agente {agent} hace {ago} y "),
        format!("**Não foi enviado:** <@{by}> pediu para apertar MUTE para o agente {agent} há {ago}, e "),
    );
    match conflict.standing {
        Standing::InProgress => {
            asked
                + language.pick(
                    "that is still in progress. Going on would reverse it.",
                    "aún está en curso. Si continúas, lo deshaces.",
                    "isso ainda está em andamento. Se continuar, você desfaz isso.",
                )
        }
        Standing::Perhaps => {
            asked
                + language.pick(
                    "it is not known whether that was done. Look at the agent's MUTE button: going on may reverse it.",
                    "no se sabe si se hizo. Mira el botón MUTE del agente: si continúas, podrías deshacerlo.",
                    "não se sabe se foi feito. Veja o botão MUTE do agente: se continuar, você pode desfazer isso.",
                )
        }
        Standing::Done => language.pick(
            format!(
                "**Not sent:** <@{by}> toggled the microphone of agent {agent} {ago} ago. Going on would reverse that."
            ),
            format!(
                "**No se envió:** <@{by}> pulsó MUTE para el agente {agent} hace {ago}. Si continúas, lo deshaces."
            ),
            format!(
                "**Não foi enviado:** <@{by}> apertou MUTE para o agente {agent} há {ago}. Se continuar, você \
                 desfaz isso."
            ),
        ),
    }
}

fn seconds(language: Language, ago: Duration) -> String {
    match ago.as_secs().max(1) {
        1 => language.pick("1 second", "1 segundo", "1 segundo").to_owned(),
        n => format!("{n} {}", language.pick("seconds", "segundos", "segundos")),
    }
}

/// The button under that question.
pub fn go_on(language: Language) -> &'static str {
    language.pick("Toggle anyway", "Pulsar MUTE de todos modos", "Apertar MUTE mesmo assim")
}

/// A press of that button that does nothing.
pub fn stale(language: Language, why: Stale) -> &'static str {
    match why {
        Stale::Used => language.pick(
            "This button was used already. Nothing more was sent. To toggle again, run the command again.",
            "Este botón ya se usó. No se envió nada más. Para pulsar MUTE de nuevo, repite el comando.",
            "Este botão já foi usado. Nada mais foi enviado. Para apertar MUTE de novo, repita o comando.",
        ),
        Stale::Late => language.pick(
            "This button has expired. Nothing was sent. Run the command again.",
            "Este botón ya venció. No se envió nada. Repite el comando.",
            "Este botão já expirou. Nada foi enviado. Repita o comando.",
        ),
        Stale::NotYours => language.pick(
            "Somebody else was asked. Nothing was sent. Run the command yourself.",
            "La pregunta era para otra persona. No se envió nada. Ejecuta el comando por tu cuenta.",
            "A pergunta era para outra pessoa. Nada foi enviado. Execute o comando por conta própria.",
        ),
        Stale::Unasked => language.pick(
            "The bot was restarted since it asked. Nothing was sent. Run the command again.",
            "El bot se reinició después de preguntar. No se envió nada. Repite el comando.",
            "O bot foi reiniciado depois de perguntar. Nada foi enviado. Repita o comando.",
        ),
    }
}

/// One line for the audit channel about a toggle that was, or may have been, carried out. `at` is in seconds since 1970;
/// Discord shows it in each reader's own time zone.
pub fn audit_line(language: Language, at: u64, user: u64, agent: &Agent, outcome: &Outcome) -> String {
    let agent_word = language.pick("agent", "agente", "agente");
    let outcome_word = match outcome {
        Outcome::Done(_) => language.pick("done", "hecho", "feito"),
        _ => language.pick("outcome unknown", "resultado desconocido", "resultado desconhecido"),
    };
    let head = format!("<t:{at}:f> · <@{user}> · {agent_word} {agent} · {outcome_word}");
    match outcome {
        Outcome::Done(done) if !plain_text(&done.msg).is_empty() => {
            said(&format!("{head}: "), &one_line(&done.msg), "", "")
        }
        _ => head,
    }
}

/// For the audit channel, when Wolkvox does not accept the token.
pub fn token_refused(language: Language, reason: Refusal) -> String {
    let head = language.pick("**`/mute` does not work.**", "**`/mute` no funciona.**", "**O `/mute` não funciona.**");
    format!("{head} {}", hint(language, reason))
}

/// `head`, what Wolkvox said (or `nothing`), `tail`: never longer than a message may be.
fn said(head: &str, msg: &str, nothing: &str, tail: &str) -> String {
    let room = MAX_MESSAGE - width(head) - width(tail);
    let msg = escape(&plain_text(msg), room);
    let msg = if msg.is_empty() { nothing } else { &msg };
    [head, msg, tail].concat()
}
