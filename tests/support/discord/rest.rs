//! REST.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::super::http::{Answer, Request};
use super::payloads::{
    self, EPHEMERAL, SUPPRESS_EMBEDS, application_payload, audit_channel, bot_member, bot_user, guild_payload,
};
use super::permissions::{SEND_MESSAGES, VIEW_CHANNEL};
use super::{APPLICATION, AUDIT_CHANNEL, BOT, CHANNEL, Discord, Fate, GUILD, Gateway, Interaction, State, TOKEN};

impl Discord {
    pub(super) fn violation(&self, what: String) -> Answer {
        self.state(|state| state.violations.push(what));
        error(400, 50035, "Invalid Form Body")
    }

    pub async fn handle(&self, request: Request) -> Answer {
        let arrived = Instant::now();
        if request.path == "/gateway-socket/" {
            if self.state(|state| state.gateway == Gateway::Refuses) {
                self.state(|state| state.gateway_connections.push(Instant::now()));
                return Answer::Cut;
            }
            if let Gateway::Page(status) = self.state(|state| state.gateway) {
                return Answer::html(status, "This site can't be used");
            }
            return Answer::Upgrade;
        }
        let agent = request.header("user-agent").unwrap_or_default();
        if !agent.starts_with("DiscordBot (") {
            return self.violation(format!("the user agent {agent:?}"));
        }
        let Some(path) = request.path.strip_prefix("/api/v10") else {
            return self.violation(format!("{} {}", request.method, request.path));
        };
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let known_query = match (request.method.as_str(), parts.as_slice(), request.query.as_str()) {
            (_, _, "") => true,
            ("POST", ["interactions", ..], query) => matches!(query, "with_response=true" | "with_response=false"),
            ("POST", ["webhooks", _, _], query) => query == "wait=true",
            _ => false,
        };
        if !known_query {
            return self.violation(format!("a query: {}", request.query));
        }
        let interaction = matches!(parts[0], "interactions" | "webhooks");
        let signed = request.header("authorization");
        let signed_by_the_bot = signed == Some(&format!("Bot {TOKEN}")) && !self.state(|state| state.token_reset);
        // An interaction's own token is enough, but no wrong one may stand beside it.
        if !signed_by_the_bot && (!interaction || signed.is_some()) {
            return error(401, 0, "401: Unauthorized");
        }
        let body = match request.method.as_str() {
            "GET" => Value::Null,
            _ if request.header("content-type") != Some("application/json") => {
                return self.violation("a body that is not called JSON".to_owned());
            }
            _ => match serde_json::from_slice(&request.body) {
                Ok(body) => body,
                Err(_) => return self.violation("a body that is not JSON".to_owned()),
            },
        };
        let (queue, kind): (fn(&mut State) -> &mut VecDeque<Fate>, _) = match (parts[0], request.method.as_str()) {
            ("interactions", _) => (|state| &mut state.first_answer_fates, "first answer"),
            ("webhooks", "GET") => (|state| &mut state.look_fates, "look"),
            ("webhooks", "POST") => (|state| &mut state.follow_up_fates, "follow-up"),
            ("webhooks", _) => (|state| &mut state.edit_fates, "edit"),
            _ => (|state| &mut state.other_fates, "other"),
        };
        let fate = self.state(|state| {
            let fate = queue(state).pop_front();
            fate.or_else(|| state.chance.as_mut().map(|draw| draw(kind))).unwrap_or(Fate::Accept)
        });
        let carry_out = || self.route(&request, &parts, &body, arrived);
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
            Fate::Refuse(status, code) => error(status, code, "refused"),
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
            Fate::Page(status) => Answer::html(status, "Sign in to use the network"),
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

    /// A thing of Discord's with `names_end` after its name and those of its roles.
    fn named(&self, mut payload: Value) -> Value {
        let end = self.state(|state| state.names_end);
        let extend = |thing: &mut Value| thing["name"] = json!(format!("{}{end}", thing["name"].as_str().unwrap()));
        payload["roles"].as_array_mut().into_iter().flatten().for_each(extend);
        extend(&mut payload);
        payload
    }

    fn route(&self, request: &Request, parts: &[&str], body: &Value, arrived: Instant) -> Answer {
        let method = request.method.as_str();
        let gateway = format!("{}/gateway-socket/", self.gateway_url);
        let application = APPLICATION.to_string();
        let guild = GUILD.to_string();
        match (method, parts) {
            ("GET", ["applications", "@me"]) => {
                let endpoint = self.state(|state| state.interactions_endpoint);
                Answer::json(200, &self.named(application_payload(endpoint)))
            }
            ("GET", ["users", "@me"]) => Answer::json(200, &bot_user()),
            ("GET", ["gateway"]) => Answer::json(200, &json!({"url": gateway})),
            ("GET", ["gateway", "bot"]) => {
                let starts = self.state(|state| state.session_starts.payload());
                Answer::json(200, &json!({"url": gateway, "shards": 1, "session_start_limit": starts}))
            }
            ("GET", ["guilds", id]) if *id == guild && !self.state(|state| state.not_in_guild) => {
                Answer::json(200, &self.named(self.state(|state| guild_payload(&state.permissions))))
            }
            ("GET", ["guilds", id, "members", user]) if user.parse::<u64>().is_ok() => {
                if *id != guild || self.state(|state| state.not_in_guild) {
                    error(404, 10004, "Unknown Guild")
                } else if *user != BOT.to_string() {
                    error(404, 10007, "Unknown Member")
                } else {
                    Answer::json(200, &self.state(|state| bot_member(&state.permissions)))
                }
            }
            ("GET", ["guilds", _]) => error(404, 10004, "Unknown Guild"),
            ("GET", ["channels", id]) if self.channel(id).is_some() => {
                Answer::json(200, &self.channel(id).unwrap_or_default())
            }
            ("GET", ["channels", id]) if *id == AUDIT_CHANNEL.to_string() => match self.lacks(VIEW_CHANNEL) {
                true => error(403, 50001, "Missing Access"),
                false => Answer::json(200, &self.named(self.state(|state| audit_channel(&state.permissions)))),
            },
            ("GET", ["channels", _]) => error(404, 10003, "Unknown Channel"),
            ("POST", ["channels", id, "messages"]) if *id == AUDIT_CHANNEL.to_string() => self.post(body),
            (_, ["applications", app, "guilds", id, "commands"])
                if *app == application
                    && (*id != guild || self.state(|state| state.not_in_guild || state.without_commands_scope)) =>
            {
                error(403, 50001, "Missing Access")
            }
            ("PUT", ["applications", app, "guilds", _, "commands"]) if *app == application => self.register(body),
            ("GET", ["applications", app, "guilds", _, "commands"]) if *app == application => {
                Answer::json(200, &self.state(|state| state.commands.clone()).unwrap_or_else(|| json!([])))
            }
            ("POST", ["interactions", id, token, "callback"]) => {
                self.first_answer(id, token, body, arrived, request.query == "with_response=true")
            }
            ("GET", ["webhooks", app, token, "messages", "@original"]) if *app == application => self.look(token),
            ("PATCH", ["webhooks", app, token, "messages", "@original"]) if *app == application => {
                self.edit(token, body)
            }
            ("POST", ["webhooks", app, token]) if *app == application => self.follow_up_with(token, body),
            _ => self.violation(format!("{method} /{}", parts.join("/"))),
        }
    }

    fn register(&self, body: &Value) -> Answer {
        let Some(commands) = body.as_array() else {
            return self.violation("commands that are not a list".to_owned());
        };
        for command in commands {
            if let Some(fault) = command_fault(command) {
                return self.violation(fault);
            }
        }
        let registered: Vec<Value> = commands
            .iter()
            .map(|command| {
                let mut command = command.clone();
                command["id"] = json!(self.snowflake().to_string());
                command["application_id"] = json!(APPLICATION.to_string());
                command["guild_id"] = json!(GUILD.to_string());
                command["version"] = json!(self.snowflake().to_string());
                command["default_member_permissions"] = Value::Null;
                command
            })
            .collect();
        let registered = Value::from(registered);
        self.state(|state| {
            state.registrations += 1;
            state.commands = Some(registered.clone());
        });
        Answer::json(200, &registered)
    }

    fn channel(&self, id: &str) -> Option<Value> {
        self.state(|state| state.channels.get(&id.parse().ok()?).cloned())
    }

    /// Whether the bot may not do this in the audit channel.
    fn lacks(&self, permission: u64) -> bool {
        self.state(|state| state.permissions.in_channel() & permission == 0)
    }

    fn post(&self, body: &Value) -> Answer {
        if let Some(fault) = message_fault(body, SUPPRESS_EMBEDS) {
            return self.violation(fault);
        }
        if self.lacks(VIEW_CHANNEL) {
            return error(403, 50001, "Missing Access");
        }
        if self.lacks(SEND_MESSAGES) {
            return error(403, 50013, "Missing Permissions");
        }
        if let Some(pause) = self.state(State::pause_before_post) {
            return rate_limited(pause.as_secs_f64());
        }
        let flags = body["flags"].as_u64().unwrap_or_default();
        self.state(|state| {
            // Discord makes one message of what comes twice with the same nonce.
            let same = |post: &Value| body["enforce_nonce"] == true && post["nonce"] == body["nonce"];
            if !state.posts.iter().any(same) {
                state.posts.push(body.clone());
                state.posted.push_back(Instant::now());
                state.note_links(body, flags);
            }
        });
        Answer::json(200, &payloads::message(self.snowflake(), AUDIT_CHANNEL, 0, flags, body))
    }

    fn first_answer(&self, id: &str, token: &str, body: &Value, arrived: Instant, with_response: bool) -> Answer {
        let id = id.parse::<u64>().unwrap_or_default();
        let known = self.state(|state| state.interactions.get(&id).cloned());
        let Some(known) = known.filter(|known| known.token == token) else {
            return error(404, 10062, "Unknown interaction");
        };
        if known.first.is_some() {
            self.state(|state| state.interactions.get_mut(&id).unwrap().refused_answers += 1);
            return match self.state(|state| state.forgets_acknowledged) {
                false => error(400, 40060, "Interaction has already been acknowledged."),
                true => error(404, 10062, "Unknown interaction"),
            };
        }
        let in_time = self.state(|state| arrived.saturating_duration_since(known.sent) <= state.limits.first_answer);
        if known.void || !in_time {
            self.state(|state| state.interactions.get_mut(&id).unwrap().refused_answers += 1);
            return error(404, 10062, "Unknown interaction");
        }
        if let Some(fault) = first_answer_fault(known.kind, body) {
            return self.violation(fault);
        }
        if self.rejects(&body["data"]) {
            return error(400, 50035, "Invalid Form Body");
        }
        let known = self.state(|state| {
            let interaction = state.interactions.get_mut(&id).unwrap();
            interaction.first = Some(body.clone());
            interaction.accepted_after = Some(interaction.sent.elapsed());
            match body["type"].as_u64() {
                Some(5) => {}
                Some(4) => state.show(id, &body["data"]),
                _ => interaction.shown = Some(body["data"].clone()),
            }
            state.interactions[&id].clone()
        });
        if !with_response {
            return Answer::empty(204);
        }
        let mut response = json!({"interaction": {"id": id.to_string(), "type": known.kind}});
        if known.acknowledged() {
            response["interaction"]["response_message_id"] = json!(known.message.to_string());
            response["interaction"]["response_message_loading"] = json!(known.shown.is_none());
            response["interaction"]["response_message_ephemeral"] = json!(known.private());
            response["resource"] = json!({"type": body["type"], "message": payloads::original(&known)});
        }
        Answer::json(200, &response)
    }

    /// The interaction that a token belongs to, as long as it is worth something.
    fn by_token(&self, token: &str) -> Result<(u64, Interaction), Answer> {
        self.state(|state| {
            let found = state.interactions.iter().find(|(_, known)| known.token == token);
            let (id, known) = found.ok_or_else(|| error(404, 10015, "Unknown Webhook"))?;
            if known.void || known.sent.elapsed() > state.limits.token {
                return Err(error(401, 50027, "Invalid Webhook Token"));
            }
            Ok((*id, known.clone()))
        })
    }

    fn rejects(&self, message: &Value) -> bool {
        let rejects = self.state(|state| state.rejects_content);
        rejects.is_some_and(|rejects| message["content"].as_str().is_some_and(rejects))
    }

    fn look(&self, token: &str) -> Answer {
        let (id, known) = match self.by_token(token) {
            Ok(known) => known,
            Err(refused) => return refused,
        };
        self.state(|state| state.interactions.get_mut(&id).unwrap().looks += 1);
        if known.first.is_none() || known.kind == 4 {
            return error(404, 10015, "Unknown Webhook");
        }
        if known.deleted {
            return unknown_message();
        }
        Answer::json(200, &payloads::original(&known))
    }

    fn edit(&self, token: &str, body: &Value) -> Answer {
        let (id, known) = match self.by_token(token) {
            Ok(known) => known,
            Err(refused) => return refused,
        };
        // Over the "thinking…" of another copy only what stays true whatever that one answers.
        let claims_nothing = body["content"].as_str().is_some_and(|text| text.contains("Not sent from here"));
        let thinking_elsewhere = known.elsewhere && known.shown.is_none() && claims_nothing;
        if !known.acknowledged() && !thinking_elsewhere {
            self.violation(format!("an edit of an answer that was never given: {}", body["content"]));
            return error(404, 10015, "Unknown Webhook");
        }
        if let Some(fault) = message_fault(body, SUPPRESS_EMBEDS) {
            return self.violation(fault);
        }
        if known.deleted {
            return unknown_message();
        }
        if self.rejects(body) {
            return error(400, 50035, "Invalid Form Body");
        }
        let known = self.state(|state| {
            state.show(id, body);
            state.interactions.get_mut(&id).unwrap().edits += 1;
            state.interactions[&id].clone()
        });
        Answer::json(200, &payloads::original(&known))
    }

    fn follow_up_with(&self, token: &str, body: &Value) -> Answer {
        let (id, known) = match self.by_token(token) {
            Ok(known) => known,
            Err(refused) => return refused,
        };
        if !known.acknowledged() {
            self.violation("a follow-up to an answer that was never given".to_owned());
            return error(404, 10015, "Unknown Webhook");
        }
        if let Some(fault) = message_fault(body, EPHEMERAL | SUPPRESS_EMBEDS) {
            return self.violation(fault);
        }
        if self.rejects(body) {
            return error(400, 50035, "Invalid Form Body");
        }
        // The first one takes the place of "thinking…", as an edit does, and is as private as that was.
        let replaces = known.shown.is_none() && !known.deleted;
        let flags = body["flags"].as_u64().unwrap_or_default();
        let known = self.state(|state| {
            if replaces {
                state.show(id, body);
            } else {
                state.note_links(body, flags);
            }
            let interaction = state.interactions.get_mut(&id).unwrap();
            interaction.follow_ups.push(body.clone());
            if !replaces {
                interaction.history.extend(body["content"].as_str().map(str::to_owned));
            }
            interaction.clone()
        });
        Answer::json(
            200,
            &match replaces {
                true => payloads::original(&known),
                false => payloads::message(self.snowflake(), CHANNEL, 19, flags, body),
            },
        )
    }
}

impl State {
    /// Puts a message into the place of an interaction's answer.
    fn show(&mut self, id: u64, message: &Value) {
        let interaction = self.interactions.get_mut(&id).unwrap();
        // A flag that is not mentioned stays as it was.
        if let Some(flags) = message["flags"].as_u64() {
            interaction.suppressed = flags & SUPPRESS_EMBEDS != 0;
        }
        interaction.shown = Some(message.clone());
        interaction.history.extend(message["content"].as_str().map(str::to_owned));
        let suppressed = if interaction.suppressed { SUPPRESS_EMBEDS } else { 0 };
        self.note_links(message, suppressed);
    }

    fn note_links(&mut self, message: &Value, flags: u64) {
        let content = message["content"].as_str().unwrap_or_default();
        let lower = content.to_lowercase();
        if flags & SUPPRESS_EMBEDS == 0 && (lower.contains("http://") || lower.contains("https://")) {
            self.unfurled.push(content.to_owned());
        }
    }

    /// How long the channel takes no more messages.
    fn pause_before_post(&mut self) -> Option<Duration> {
        let (most, window) = self.limits.posts?;
        while self.posted.front().is_some_and(|posted| posted.elapsed() >= window) {
            self.posted.pop_front();
        }
        let oldest = *self.posted.get(self.posted.len().checked_sub(most)?)?;
        self.refused_posts += 1;
        Some(window.saturating_sub(oldest.elapsed()))
    }
}

/// Discord's own refusal of too many requests.
fn rate_limited(seconds: f64) -> Answer {
    let body = json!({"message": "You are being rate limited.", "retry_after": seconds, "global": false});
    Answer::json(429, &body).with("retry-after", seconds.ceil())
}

fn unknown_message() -> Answer {
    error(404, 10008, "Unknown Message")
}

fn error(status: u16, code: u64, message: &str) -> Answer {
    Answer::json(status, &json!({"message": message, "code": code}))
}

fn length(value: &Value) -> usize {
    value.as_str().map_or(0, |text| text.encode_utf16().count())
}

/// What is wrong with a message that may have these flags.
fn message_fault(message: &Value, allowed: u64) -> Option<String> {
    let flags = &message["flags"];
    if !flags.is_null() && flags.as_u64().is_none_or(|flags| flags & !allowed != 0) {
        return Some(format!("a message with flags {flags}"));
    }
    let size = length(&message["content"]);
    if !(1..=2000).contains(&size) {
        return Some(format!("a message of {size} characters"));
    }
    if message["allowed_mentions"]["parse"] != json!([]) {
        return Some("a message that may ping".to_owned());
    }
    for row in message["components"].as_array().into_iter().flatten() {
        for button in row["components"].as_array().into_iter().flatten() {
            let fits = (1..=100).contains(&length(&button["custom_id"]))
                && (1..=80).contains(&length(&button["label"]))
                && matches!(button["style"].as_u64(), Some(1..=4));
            if row["type"] != 1 || button["type"] != 2 || !fits {
                return Some(format!("the button {button}"));
            }
        }
    }
    None
}

fn first_answer_fault(kind: u64, body: &Value) -> Option<String> {
    let data = &body["data"];
    match (kind, body["type"].as_u64()) {
        (4, Some(8)) => {
            let choices = data["choices"].as_array()?;
            let fits = |choice: &Value| (1..=100).contains(&length(&choice["name"])) && choice["value"].is_u64();
            (choices.len() > 25 || !choices.iter().all(fits)).then(|| format!("the choices {choices:?}"))
        }
        (2 | 3, Some(4)) => message_fault(data, EPHEMERAL | SUPPRESS_EMBEDS).or_else(|| {
            let flags = data["flags"].as_u64().unwrap_or_default();
            (flags & EPHEMERAL == 0).then(|| format!("a message with flags {flags}"))
        }),
        (2 | 3, Some(5)) => {
            let flags = data["flags"].as_u64().unwrap_or_default();
            (!matches!(flags, 0 | 64) || !data["content"].is_null()).then(|| format!("a deferred answer with {data}"))
        }
        (kind, answer) => Some(format!("an answer of type {answer:?} to an interaction of type {kind}")),
    }
}

fn command_fault(command: &Value) -> Option<String> {
    const LOCALES: [&str; 31] = [
        "id", "da", "de", "en-GB", "en-US", "es-ES", "es-419", "fr", "hr", "it", "lt", "hu", "nl", "no", "pl", "pt-BR",
        "ro", "fi", "sv-SE", "vi", "tr", "cs", "el", "bg", "ru", "uk", "hi", "th", "zh-CN", "ja", "zh-TW",
    ];
    let described = |thing: &Value| {
        let name = thing["name"].as_str().unwrap_or_default();
        let named = (1..=32).contains(&name.len())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'));
        let translations = thing["description_localizations"].as_object();
        let translated = translations.is_none_or(|texts| {
            texts.iter().all(|(locale, text)| {
                LOCALES.contains(&locale.as_str()) && (1..=100).contains(&text.as_str().unwrap_or("").chars().count())
            })
        });
        let size = thing["description"].as_str().unwrap_or_default().chars().count();
        named && (1..=100).contains(&size) && translated
    };
    if !described(command) || !matches!(command["type"].as_u64(), None | Some(1)) {
        return Some(format!("the command {command}"));
    }
    for option in command["options"].as_array().into_iter().flatten() {
        let bounds = option["min_value"].as_i64().zip(option["max_value"].as_i64());
        let bounded = bounds.is_some_and(|(min, max)| min <= max && max < 1 << 53);
        if !described(option) || option["type"] != 4 || !bounded {
            return Some(format!("the option {option}"));
        }
    }
    None
}
