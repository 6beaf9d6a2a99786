//! `/mute` as Discord is told about it.

use serenity::builder::{CreateCommand, CreateCommandOption};
use serenity::model::application::CommandOptionType;

use crate::agent::AgentId;
use crate::language::Language;
use crate::reply;

/// The command's name, in every language.
pub(super) const NAME: &str = "mute";
/// Its option's name, in every language.
pub(super) const AGENT_ID: &str = "agent_id";

/// The command with its one required option: an INTEGER, so that Discord itself refuses letters, or with `suggestions` a
/// STRING, because Discord's Android app takes no suggestion with a name for an INTEGER.
pub(super) fn mute(suggestions: bool) -> CreateCommand {
    let describe = if suggestions { reply::option_description_with_names } else { reply::option_description };
    let default = Language::default();
    let option = |kind| CreateCommandOption::new(kind, AGENT_ID, describe(default)).required(true);
    let mut agent_id = match suggestions {
        true => option(CommandOptionType::String).set_autocomplete(true),
        false => option(CommandOptionType::Integer).min_int_value(AgentId::MIN).max_int_value(AgentId::MAX),
    };
    let mut command = CreateCommand::new(NAME).description(reply::command_description(default));
    for language in Language::ALL {
        for &locale in language.locales() {
            agent_id = agent_id.description_localized(locale, describe(language));
            command = command.description_localized(locale, reply::command_description(language));
        }
    }
    command.add_option(agent_id)
}
