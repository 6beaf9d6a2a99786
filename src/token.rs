//! Whether Wolkvox accepts the token: asked a minute after the start and then once a day. So an administrator learns
//! that it has expired, and not a supervisor who has a customer on the line.

use std::sync::Arc;
use std::time::Duration;

use serenity::model::id::{ChannelId, GuildId};
use tokio::time::sleep;

use crate::discord::{Rest, audit_channel};
use crate::limits::Limits;
use crate::net::error_chain;
use crate::outcome::{Refusal, Rejected};
use crate::reply;
use crate::wolkvox::{InformationError, Patience, Wolkvox};

/// Who is asked, and who is told.
pub struct Token {
    pub wolkvox: Wolkvox,
    pub rest: Arc<Rest>,
    pub guild: GuildId,
    pub audit_channel: Option<ChannelId>,
    pub limits: Limits,
}

impl Token {
    /// Asks for ever. Each question costs one of the day's API requests, and lets toggles go first.
    pub async fn watch(self) {
        sleep(self.limits.token_first).await;
        loop {
            sleep(self.ask().await).await;
        }
    }

    /// Gives the pause before the next question.
    async fn ask(&self) -> Duration {
        let Limits { token_again, token_unanswered, .. } = self.limits;
        let refusal = match self.wolkvox.token_info(Patience::BEHIND_TOGGLES).await {
            Ok(info) => {
                tracing::info!(left_today = info.left(), "Wolkvox accepts WOLKVOX_TOKEN");
                return token_again;
            }
            Err(InformationError::Refused(refusal)) => refusal,
            Err(error) => {
                let why = error_chain(&error);
                tracing::warn!(
                    "it is not known whether Wolkvox accepts WOLKVOX_TOKEN: {why}. wolkvox-bot check says more"
                );
                return token_unanswered;
            }
        };
        let code = refusal.code;
        match refusal.reason {
            Refusal::TokenMissing => self.refused(&refusal, "it saw none, although the bot sends it").await,
            Refusal::TokenWrong => {
                let why = "it is wrong, expired or deleted, or it belongs to another server than WOLKVOX_SERVER";
                self.refused(&refusal, why).await
            }
            Refusal::DailyLimit => {
                tracing::warn!(code, "Wolkvox accepts WOLKVOX_TOKEN, but today's API requests are used up");
                token_again
            }
            Refusal::TokenBusy | Refusal::Maintenance => {
                tracing::warn!(code, "Wolkvox does not say now whether it accepts WOLKVOX_TOKEN. It is asked again");
                token_unanswered
            }
            Refusal::Other => {
                tracing::info!(code, "this Wolkvox server does not say whether it accepts WOLKVOX_TOKEN");
                token_again
            }
        }
    }

    /// Tells the log and the audit channel.
    async fn refused(&self, refusal: &Rejected, why: &str) -> Duration {
        tracing::error!(
            code = refusal.code,
            "Wolkvox refuses WOLKVOX_TOKEN, so no /mute does anything: {why}. wolkvox-bot check says what to fix"
        );
        if let Some(channel) = self.audit_channel {
            let language = self.rest.guild(self.guild).await.map(|guild| guild.preferred_locale).unwrap_or_default();
            let notice = reply::token_refused(language, refusal.reason);
            if let Err(error) = audit_channel::post_notice(&self.rest, channel, &notice).await {
                tracing::warn!("this was not posted to AUDIT_CHANNEL_ID: {}", error_chain(&error));
            }
        }
        self.limits.token_again
    }
}
