//! What is published and installed: the files of `.deploy`, `Cargo.toml` and the changelog say the same.

use std::collections::BTreeSet;
use std::fs::{Permissions, set_permissions, write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::Folder;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

#[test]
fn compose_and_the_changelog_name_the_image_of_the_repository_in_cargo_toml() {
    let image = format!("ghcr.io{}", REPOSITORY.strip_prefix("https://github.com").unwrap().to_lowercase());
    let compose = read(".deploy/compose.yaml");
    assert!(compose.contains(&format!("image: {image}\n")), "{compose}");
    for file in [&compose, &read(".github/CHANGELOG.md")] {
        let end = |it: char| !(it.is_ascii_alphanumeric() || "./-".contains(it));
        let named: BTreeSet<_> = file.match_indices("ghcr.io/").map(|(at, _)| file[at..].split(end).next()).collect();
        assert_eq!(named, [Some(image.as_str())].into());
    }
}

#[test]
fn the_changelog_begins_with_the_version_of_cargo_toml_and_links_to_its_release() {
    let changelog = read(".github/CHANGELOG.md");
    let newest = changelog.lines().find(|line| line.starts_with("## ")).unwrap();
    assert!(newest.starts_with(&format!("## [{VERSION}] - 20")), "{newest}");
    let link = format!("\n[{VERSION}]: {REPOSITORY}/releases/tag/v{VERSION}\n");
    assert!(changelog.contains(&link), "{link}");
}

#[test]
fn the_check_of_an_installed_bot_has_the_settings_and_the_folder_of_the_service() {
    let (unit, check) = (read(".deploy/wolkvox-bot.service"), read(".deploy/wolkvox-bot-check"));
    let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    for same in [
        format!("-p EnvironmentFile={} ", value("EnvironmentFile=")),
        format!("-p StateDirectory={} ", value("StateDirectory=")),
        format!("-p DynamicUser={} ", value("DynamicUser=")),
        format!("-E {} ", value("Environment=")),
        format!(" {} check\n", value("ExecStart=")),
    ] {
        assert!(check.contains(&same), "{same}");
    }
}

#[test]
fn the_installer_asks_for_root_in_the_language_of_the_administrator() {
    let folder = Folder::new();
    let id = folder.join("id");
    write(&id, "#!/bin/sh\necho 1000\n").unwrap();
    set_permissions(&id, Permissions::from_mode(0o755)).unwrap();
    let search = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    for (locales, expected) in [
        ([("LC_ALL", ""), ("LC_MESSAGES", "es_CO.UTF-8"), ("LANG", "C")], "Solo root puede instalarlo: sudo "),
        ([("LC_ALL", "C.UTF-8"), ("LC_MESSAGES", "es_CO"), ("LANG", "es_CO")], "Only root can install it: sudo "),
    ] {
        let mut install = Command::new(path(".deploy/install"));
        let output = install.env("PATH", &search).envs(locales).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains(expected), "{told}");
    }
}
