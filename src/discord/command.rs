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

/// The command: one required INTEGER option, so that Discord itself refuses letters; with `suggestions`, names
/// can be typed to search.
pub(super) fn mute(suggestions: bool) -> CreateCommand {
    let describe = if suggestions { reply::option_description_with_names } else { reply::option_description };
    let default = Language::default();
    let mut agent_id = CreateCommandOption::new(CommandOptionType::Integer, AGENT_ID, describe(default))
        .required(true)
        .min_int_value(AgentId::MIN)
        .max_int_value(AgentId::MAX)
        .set_autocomplete(suggestions);
    let mut command = CreateCommand::new(NAME).description(reply::command_description(default));
    for language in Language::ALL {
        for &locale in language.locales() {
            agent_id = agent_id.description_localized(locale, describe(language));
            command = command.description_localized(locale, reply::command_description(language));
        }
    }
    command.add_option(agent_id)
}
