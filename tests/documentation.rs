//! The guides, in English and in Spanish, `.env.example` and the code say the same.

use std::collections::BTreeSet;
use std::time::Duration;

use serenity::model::id::{InteractionId, UserId};
use wolkvox_bot::agent::{Agent, AgentId, Name};
use wolkvox_bot::command::Standing;
use wolkvox_bot::config::VARIABLES;
use wolkvox_bot::language::Language;
use wolkvox_bot::ledger::Conflict;
use wolkvox_bot::reply;

use crate::support::{path, read};

const ENGLISH: &str = "README.md";
const SPANISH: &str = ".github/README.es.md";
const OPERATIONS: &str = ".github/OPERATIONS.md";
const OPERATIONS_IN_SPANISH: &str = ".github/OPERATIONS.es.md";
const CHANGELOG: &str = ".github/CHANGELOG.md";
const FOR_DEVELOPERS: &str = ".github/CONTRIBUTING.md";
const TWINS: [[&str; 2]; 2] = [[ENGLISH, SPANISH], [OPERATIONS, OPERATIONS_IN_SPANISH]];

/// A heading, what stands below it up to the next one, and its code blocks.
#[derive(Default)]
struct Section {
    level: usize,
    heading: String,
    prose: Vec<String>,
    code: Vec<String>,
}

fn sections(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        let level = line.bytes().take_while(|byte| *byte == b'#').count();
        if line.starts_with("```") {
            in_code = !in_code;
        } else if !in_code && level > 0 {
            sections.push(Section { level, heading: line[level..].trim().to_owned(), ..Section::default() });
        } else {
            let section = sections.last_mut().expect("a heading at the top");
            if in_code { &mut section.code } else { &mut section.prose }.push(line.to_owned());
        }
    }
    sections
}

impl Section {
    /// What stands between backticks: names, values and commands, which are the same in every language.
    fn names(&self) -> BTreeSet<String> {
        self.prose.join(" ").split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    /// Without comments and the blanks before them.
    fn commands(&self) -> Vec<&str> {
        self.code.iter().map(|line| line.split("  #").next().unwrap().trim_end()).collect()
    }

    /// How many rows its tables have.
    fn rows(&self) -> usize {
        self.prose.iter().filter(|line| line.starts_with('|')).count()
    }

    /// The fragment of a link to it, as GitHub makes it.
    fn anchor(&self) -> String {
        let kept = self.heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect()
    }
}

/// The rows of the table of variables: name, default, meaning.
fn variables(text: &str) -> Vec<(String, String)> {
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.strip_suffix('`')?;
        let is_variable = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        is_variable.then(|| (name.to_owned(), cells.next().unwrap_or_default().to_owned()))
    };
    text.lines().filter_map(row).collect()
}

#[test]
fn each_guide_has_a_row_for_every_variable_and_no_other() {
    for (guide, yes) in [(OPERATIONS, "yes"), (OPERATIONS_IN_SPANISH, "sí")] {
        let default = |required: bool, default: &str| match (required, default) {
            (true, _) => yes.to_owned(),
            (false, "") => "–".to_owned(),
            (false, default) => format!("`{default}`"),
        };
        let expected: Vec<_> = VARIABLES
            .iter()
            .map(|variable| (variable.name.to_owned(), default(variable.required, variable.default)))
            .collect();
        assert_eq!(variables(&read(guide)), expected, "{guide}");
    }
}

#[test]
fn the_guides_have_the_same_sections_with_the_same_names_and_commands() {
    for [english, spanish] in TWINS.map(|twins| twins.map(|guide| sections(&read(guide)))) {
        for (english, spanish) in english.iter().zip(&spanish) {
            let where_ = format!("{:?} and {:?}", english.heading, spanish.heading);
            assert_eq!(english.level, spanish.level, "{where_}");
            assert_eq!(english.names(), spanish.names(), "{where_}");
            assert_eq!(english.commands(), spanish.commands(), "{where_}");
            assert_eq!(english.rows(), spanish.rows(), "{where_}");
        }
        assert_eq!(english.len(), spanish.len());
    }
}

#[test]
fn the_guides_quote_replies_as_they_are() {
    let replies = read("tests/replies.txt");
    let agent = Agent { id: AgentId::parse("1001").unwrap(), name: Name::new("Luis Gómez"), is_unlisted: false };
    let (command, by) = (InteractionId::new(1), UserId::new(2));
    let conflict = Conflict { command, by, ago: Duration::from_secs(8), standing: Standing::Done };
    for (guide, language) in [(ENGLISH, Language::English), (SPANISH, Language::Spanish)] {
        let sections = sections(&read(guide));
        let table = sections.iter().find(|section| section.prose.iter().any(|line| line.contains("@beto"))).unwrap();
        let text = table.prose.join("\n");
        assert!(text.contains(&format!("**{}**", reply::go_on(language))), "{guide}");
        assert!(text.contains(&reply::guarded(language, &agent, &conflict).replace("<@2>", "@beto")), "{guide}");
        // Beginnings in bold, and a piece in italics.
        let bold =
            text.split("**").skip(1).step_by(2).filter(|bold| bold.ends_with(':')).map(|bold| format!("**{bold}**"));
        let text = text.replace("**", "");
        let italic = text.split('*').skip(1).step_by(2).map(str::to_owned);
        let quoted: Vec<String> = bold.chain(italic).collect();
        assert_eq!(quoted.len(), 8, "{guide}: {quoted:?}");
        for quoted in quoted {
            assert!(replies.contains(&quoted), "{guide}: {quoted}");
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    for guide in TWINS.into_iter().flatten().chain([CHANGELOG, FOR_DEVELOPERS]) {
        let text = read(guide);
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.starts_with("https://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let linked = if file.is_empty() { path(guide) } else { path(guide).parent().unwrap().join(file) };
            assert!(linked.exists(), "{guide}: {link}");
            if !anchor.is_empty() {
                let text = std::fs::read_to_string(linked).unwrap();
                assert!(sections(&text).iter().any(|section| section.anchor() == anchor), "{guide}: {link}");
            }
        }
    }
}

/// The address stands in Cargo.toml; whoever publishes the project elsewhere changes it there and where this says.
#[test]
fn every_address_of_the_project_is_the_one_in_cargo_toml() {
    let repository = env!("CARGO_PKG_REPOSITORY");
    let image = repository.replace("https://github.com/", "ghcr.io/").to_lowercase();
    let files = [CHANGELOG, FOR_DEVELOPERS, ".deploy/compose.yaml", ".env.example"];
    let mut found = 0;
    for file in TWINS.into_iter().flatten().chain(files) {
        let text = read(file);
        for (start, address) in [("https://github.com/", repository), ("ghcr.io/", &image)] {
            for (at, _) in text.match_indices(start) {
                let line = text[at..].lines().next().unwrap();
                let rest = line.strip_prefix(address);
                let whole = rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-'));
                assert!(whole, "{file}: {line:?} is not at {address}");
                found += 1;
            }
        }
    }
    assert!(found > 10, "the guides name it");
}

#[test]
fn the_guides_name_every_language_that_the_bot_speaks() {
    for language in Language::ALL {
        let names = match language {
            Language::English => ["English", "inglés"],
            Language::Spanish => ["Spanish", "español"],
            Language::Portuguese => ["Portuguese", "portugués"],
        };
        for (guide, name) in [ENGLISH, SPANISH].into_iter().zip(names) {
            let text = read(guide);
            let line = text.lines().find(|line| line.starts_with("- **") && line.contains(name));
            assert!(line.is_some(), "{guide}: {name}");
        }
    }
}

#[test]
fn the_readme_is_short_and_names_the_two_commands() {
    let readme = read(ENGLISH);
    assert!(readme.len() <= 10 * 1024, "{}", readme.len());
    assert!(readme.contains("cargo run --example sandbox") && readme.contains("cargo test"));
}

#[test]
fn the_example_has_a_line_for_every_variable_and_no_other() {
    let example = read(".env.example");
    let lines: Vec<String> = example
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with("# ") && *line != "#")
        .map(str::to_owned)
        .collect();
    let expected: Vec<String> = VARIABLES
        .iter()
        .map(|variable| match variable.required {
            true => format!("{}=", variable.name),
            false => format!("#{}={}", variable.name, variable.default),
        })
        .collect();
    assert_eq!(lines, expected);
}

#[test]
fn every_variable_in_the_example_is_explained() {
    let example = read(".env.example");
    let mut explained = false;
    for line in example.lines() {
        if line.starts_with("# ") {
            explained = true;
        } else if line.contains('=') {
            assert!(explained, "{line}");
            explained = false;
        }
    }
}
