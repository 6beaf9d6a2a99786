//! README, `.env.example` and the code say the same of every variable.

use wolkvox_bot::config::VARIABLES;

fn read(name: &str) -> String {
    std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn the_readme_has_a_row_for_every_variable_and_no_other() {
    let readme = read("README.md");
    let rows: Vec<(String, String)> = readme
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            let name = cells.next()?.strip_suffix('`')?;
            let is_variable = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
            is_variable.then(|| (name.to_owned(), cells.next().unwrap_or_default().to_owned()))
        })
        .collect();
    let expected: Vec<(String, String)> = VARIABLES
        .iter()
        .map(|variable| {
            let default = match (variable.required, variable.default) {
                (true, _) => "yes".to_owned(),
                (false, "") => "–".to_owned(),
                (false, default) => format!("`{default}`"),
            };
            (variable.name.to_owned(), default)
        })
        .collect();
    assert_eq!(rows, expected);
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

#[test]
fn the_readme_names_the_two_commands() {
    let readme = read("README.md");
    assert!(readme.contains("cargo run --example sandbox") && readme.contains("cargo test"));
}
