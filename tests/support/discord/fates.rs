//! What happens to a request instead of being carried out.

use std::collections::VecDeque;

use serde_json::json;
use tokio::time::sleep;

use super::super::http::{Answer, Request};
use super::rest::{error, rate_limited, unknown_message};
use super::{Discord, Fate, State};

type Queue = fn(&mut State) -> &mut VecDeque<Fate>;

impl Discord {
    pub(super) fn draw(&self, request: &Request, parts: &[&str]) -> Fate {
        let kind = kind_of(&request.method, parts);
        let (queue, drawn): (Option<Queue>, _) = match kind {
            "first answer" => (Some(|state| &mut state.first_answer_fates), kind),
            "look" => (Some(|state| &mut state.look_fates), kind),
            "follow-up" => (Some(|state| &mut state.follow_up_fates), kind),
            "edit" => (Some(|state| &mut state.edit_fates), kind),
            // At a moment that a test does not know.
            "guild" | "register" | "commands" | "global commands" => (None, "other"),
            _ => (Some(|state| &mut state.other_fates), "other"),
        };
        self.state(|state| {
            *state.asked.entry(kind).or_default() += 1;
            let fate = queue.and_then(|queue| queue(state).pop_front());
            let fate = fate.or_else(|| state.always.get(kind).cloned());
            fate.or_else(|| state.chance.as_mut().map(|draw| draw(drawn))).unwrap_or(Fate::Accept)
        })
    }

    pub(super) async fn suffer(&self, fate: Fate, parts: &[&str], carry_out: impl Fn() -> Answer) -> Answer {
        match fate {
            Fate::Accept => carry_out(),
            Fate::Slow(time) => {
                sleep(time).await;
                carry_out()
            }
            Fate::Late(time) => {
                let answer = carry_out();
                sleep(time).await;
                answer
            }
            Fate::Refuse(status, code) => error(status, code, "No"),
            Fate::RateLimit(seconds) => rate_limited(seconds),
            Fate::CutBefore => Answer::Cut,
            Fate::CutAfter => {
                carry_out();
                Answer::Cut
            }
            Fate::Stall => Answer::Silent,
            Fate::StallAfter => {
                carry_out();
                Answer::Silent
            }
            Fate::Json(status) => Answer::json(status, &json!({"error": "blocked by policy", "user": null})),
            Fate::Body(status, body) => Answer::json(status, &body),
            Fate::Torn(status) => {
                Answer::Raw(format!("HTTP/1.1 {status} X\r\ncontent-length: 90\r\n\r\n{{").into_bytes())
            }
            Fate::Page(status) => Answer::html(status, "Sign in to use the network"),
            Fate::Banned => banned(),
            Fate::Cloudflare(seconds) => {
                Answer::html(429, "Error 1015: you are being rate limited").with("retry-after", seconds)
            }
            Fate::Deleted => unknown_message(),
            Fate::Endless => {
                carry_out();
                Answer::Endless
            }
            Fate::Forget => {
                carry_out();
                error(404, 10062, "Unknown interaction")
            }
            Fate::AnsweredElsewhere => {
                let id = parts.get(1).and_then(|id| id.parse::<u64>().ok()).unwrap_or_default();
                self.state(|state| {
                    // Not if the bot's own was accepted before.
                    if let Some(interaction) = state.interactions.get_mut(&id).filter(|known| known.first.is_none()) {
                        interaction.elsewhere = true;
                        interaction.first = Some(json!({"type": 5}));
                    }
                });
                carry_out()
            }
        }
    }
}

/// Cloudflare's page for an address that it lets nothing through from.
pub(super) fn banned() -> Answer {
    Answer::html(403, "Access denied | discord.com used Cloudflare to restrict access").with("server", "cloudflare")
}

fn kind_of(method: &str, parts: &[&str]) -> &'static str {
    match (method, parts) {
        (_, ["interactions", ..]) => "first answer",
        ("GET", ["webhooks", ..]) => "look",
        ("POST", ["webhooks", ..]) => "follow-up",
        (_, ["webhooks", ..]) => "edit",
        (_, ["applications", "@me"]) => "application",
        (_, ["gateway", ..]) => "gateway",
        (_, ["guilds", _]) => "guild",
        ("PUT", ["applications", _, "guilds", _, "commands"]) => "register",
        (_, ["applications", _, "guilds", _, "commands"]) => "commands",
        (_, ["applications", _, "commands"]) => "global commands",
        _ => "other",
    }
}
