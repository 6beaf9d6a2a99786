//! REST.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::http::{Answer, Request};
use super::fates::banned;
use super::payloads::{
    self, EPHEMERAL, SUPPRESS_EMBEDS, application_payload, audit_channel, bot_member, bot_user, guild_payload,
};
use super::permissions::{SEND_MESSAGES, VIEW_CHANNEL};
use super::rules::{command_fault, first_answer_fault, message_fault};
use super::{APPLICATION, AUDIT_CHANNEL, BOT, CHANNEL, Discord, GUILD, Gateway, Interaction, State, TOKEN};

impl Discord {
    pub(super) fn violation(&self, what: String) -> Answer {
        self.state(|state| state.violations.push(what));
        error(400, 50035, "Invalid Form Body")
    }

    pub async fn handle(&self, request: Request) -> Answer {
        let arrived = Instant::now();
        if request.path == "/gateway-socket/" {
            return self.open_gateway();
        }
        let Some(path) = request.path.strip_prefix("/api/v10") else {
            return self.violation(format!("{} {}", request.method, request.path));
        };
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let body = match self.checked(&request, &parts) {
            Ok(body) => body,
            Err(refused) => return refused,
        };
        let fate = self.draw(&request, &parts);
        self.suffer(fate, &parts, || self.route(&request, &parts, &body, arrived)).await
    }

    fn open_gateway(&self) -> Answer {
        match self.state(|state| state.gateway) {
            Gateway::Refuses => {
                self.state(|state| state.gateway_connections.push(Instant::now()));
                Answer::Cut
            }
            Gateway::Page(status) => Answer::html(status, "This site can't be used"),
            Gateway::Banned => banned(),
            _ => Answer::Upgrade,
        }
    }

    /// The body of a request in which all is as Discord wants it, or what Discord answers.
    fn checked(&self, request: &Request, parts: &[&str]) -> Result<Value, Answer> {
        let agent = request.header("user-agent").unwrap_or_default();
        if !agent.starts_with("DiscordBot (") {
            return Err(self.violation(format!("the user agent {agent:?}")));
        }
        if !request.query.is_empty() {
            return Err(self.violation(format!("a query: {}", request.query)));
        }
        let interaction = matches!(parts[0], "interactions" | "webhooks");
        let signed = request.header("authorization");
        let signed_by_the_bot = signed == Some(&format!("Bot {TOKEN}")) && !self.state(|state| state.token_reset);
        // An interaction's own token is enough, but no wrong one may stand beside it.
        if !signed_by_the_bot && (!interaction || signed.is_some()) {
            return Err(error(401, 0, "401: Unauthorized"));
        }
        if request.method == "GET" {
            return Ok(Value::Null);
        }
        if request.header("content-type") != Some("application/json") {
            return Err(self.violation("a body that is not called JSON".to_owned()));
        }
        serde_json::from_slice(&request.body).map_err(|_| self.violation("a body that is not JSON".to_owned()))
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
                let payload = self.state(|state| application_payload(state.interactions_endpoint, state.bot_public));
                Answer::json(200, &self.named(payload))
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
            ("GET", ["guilds", id, "members", user]) if user.parse::<u64>().is_ok() => self.member(*id == guild, user),
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
            ("GET", ["applications", app, "commands"]) if *app == application => {
                Answer::json(200, &Value::from(self.state(|state| state.global_commands.clone())))
            }
            ("POST", ["interactions", id, token, "callback"]) => self.first_answer(id, token, body, arrived),
            ("GET", ["webhooks", app, token, "messages", "@original"]) if *app == application => {
                self.look(token).unwrap_or_else(|refused| refused)
            }
            ("PATCH", ["webhooks", app, token, "messages", "@original"]) if *app == application => {
                self.edit(token, body).unwrap_or_else(|refused| refused)
            }
            ("POST", ["webhooks", app, token]) if *app == application => {
                self.follow_up_with(token, body).unwrap_or_else(|refused| refused)
            }
            _ => self.violation(format!("{method} /{}", parts.join("/"))),
        }
    }

    fn member(&self, known_guild: bool, user: &str) -> Answer {
        if !known_guild || self.state(|state| state.not_in_guild) {
            error(404, 10004, "Unknown Guild")
        } else if user != BOT.to_string() {
            error(404, 10007, "Unknown Member")
        } else {
            Answer::json(200, &self.state(|state| bot_member(&state.permissions)))
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

    fn first_answer(&self, id: &str, token: &str, body: &Value, arrived: Instant) -> Answer {
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
        self.state(|state| {
            let interaction = state.interactions.get_mut(&id).unwrap();
            interaction.first = Some(body.clone());
            interaction.accepted_after = Some(interaction.sent.elapsed());
            match body["type"].as_u64() {
                Some(5) => {}
                Some(4) => state.show(id, &body["data"]),
                _ => interaction.shown = Some(body["data"].clone()),
            }
        });
        Answer::empty(204)
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

    fn look(&self, token: &str) -> Result<Answer, Answer> {
        let (id, known) = self.by_token(token)?;
        self.state(|state| state.interactions.get_mut(&id).unwrap().looks += 1);
        if known.first.is_none() || known.kind == 4 {
            return Err(error(404, 10015, "Unknown Webhook"));
        }
        if known.deleted {
            return Err(unknown_message());
        }
        Ok(Answer::json(200, &payloads::original(&known)))
    }

    fn edit(&self, token: &str, body: &Value) -> Result<Answer, Answer> {
        let (id, known) = self.by_token(token)?;
        // Over the "thinking…" of another copy only what stays true whatever that one answers.
        let claims_nothing = body["content"].as_str().is_some_and(|text| text.contains("Not sent from here"));
        let thinking_elsewhere = known.elsewhere && known.shown.is_none() && claims_nothing;
        if !known.acknowledged() && !thinking_elsewhere {
            self.violation(format!("an edit of an answer that was never given: {}", body["content"]));
            return Err(error(404, 10015, "Unknown Webhook"));
        }
        if let Some(fault) = message_fault(body, SUPPRESS_EMBEDS) {
            return Err(self.violation(fault));
        }
        if known.deleted {
            return Err(unknown_message());
        }
        if self.rejects(body) {
            return Err(error(400, 50035, "Invalid Form Body"));
        }
        let known = self.state(|state| {
            state.show(id, body);
            state.interactions.get_mut(&id).unwrap().edits += 1;
            state.interactions[&id].clone()
        });
        Ok(Answer::json(200, &payloads::original(&known)))
    }

    fn follow_up_with(&self, token: &str, body: &Value) -> Result<Answer, Answer> {
        let (id, known) = self.by_token(token)?;
        if !known.acknowledged() {
            self.violation("a follow-up to an answer that was never given".to_owned());
            return Err(error(404, 10015, "Unknown Webhook"));
        }
        if let Some(fault) = message_fault(body, EPHEMERAL | SUPPRESS_EMBEDS) {
            return Err(self.violation(fault));
        }
        if self.rejects(body) {
            return Err(error(400, 50035, "Invalid Form Body"));
        }
        let flags = body["flags"].as_u64().unwrap_or_default();
        self.state(|state| {
            // The first one takes the place of "thinking…", as an edit does.
            if known.shown.is_none() && !known.deleted {
                state.show(id, body);
            } else {
                state.note_links(body, flags);
                let interaction = state.interactions.get_mut(&id).unwrap();
                interaction.history.extend(body["content"].as_str().map(str::to_owned));
            }
            state.interactions.get_mut(&id).unwrap().follow_ups.push(body.clone());
        });
        Ok(Answer::json(200, &payloads::message(self.snowflake(), CHANNEL, 19, flags, body)))
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
pub(super) fn rate_limited(seconds: f64) -> Answer {
    let body = json!({"message": "You are being rate limited.", "retry_after": seconds, "global": false});
    Answer::json(429, &body).with("retry-after", seconds.ceil())
}

pub(super) fn unknown_message() -> Answer {
    error(404, 10008, "Unknown Message")
}

pub(super) fn error(status: u16, code: u64, message: &str) -> Answer {
    Answer::json(status, &json!({"message": message, "code": code}))
}
