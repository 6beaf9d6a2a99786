//! What is published and installed: the files of `.deploy`, `Cargo.toml` and the changelog say the same.

use std::fs::{Permissions, set_permissions, write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::{Folder, path, read};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// A `PATH` that finds this program first, in the folder.
fn search_with(folder: &Path, name: &str, program: &str) -> String {
    let file = folder.join(name);
    write(&file, program).unwrap();
    set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap())
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
        format!("settings={}\n", value("EnvironmentFile=")),
        "-p EnvironmentFile=\"$settings\" ".to_owned(),
        format!("-p StateDirectory={} ", value("StateDirectory=")),
        format!("-p DynamicUser={} ", value("DynamicUser=")),
        format!("-E {} ", value("Environment=")),
        format!(" {} check\n", value("ExecStart=")),
    ] {
        assert!(check.contains(&same), "{same}");
    }
}

#[test]
fn the_check_of_an_installed_bot_names_what_is_missing_and_settings_that_others_may_read() {
    let folder = Folder::new();
    let settings = folder.join("settings");
    let bus = folder.join("bus");
    let check = read(".deploy/wolkvox-bot-check").replace("/etc/wolkvox-bot.env", settings.to_str().unwrap());
    let check = check.replace("/run/dbus/system_bus_socket", bus.to_str().unwrap());
    let search = search_with(&folder, "systemd-run", "#!/bin/sh\necho checked\n");
    let run = |locale| {
        let mut shell = Command::new("sh");
        let output = shell.args(["-c", &check]).env("PATH", &search).env("LC_ALL", locale).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };

    let (code, told) = run("C");
    assert_eq!(code, Some(1));
    assert!(told.starts_with("FAIL ") && told.contains("apt-get install dbus"), "{told}");
    write(&bus, "").unwrap();

    let (code, told) = run("C");
    assert_eq!(code, Some(1));
    assert!(told.starts_with("FAIL ") && told.contains("settings is missing") && !told.contains("checked"), "{told}");
    assert!(run("es_CO.UTF-8").1.starts_with("FALLO "));

    write(&settings, "").unwrap();
    set_permissions(&settings, Permissions::from_mode(0o640)).unwrap();
    let (code, told) = run("C");
    assert_eq!(code, Some(0));
    assert!(told.starts_with("warn ") && told.contains("chmod 600") && told.ends_with("checked\n"), "{told}");

    set_permissions(&settings, Permissions::from_mode(0o600)).unwrap();
    assert_eq!(run("C"), (Some(0), "checked\n".to_owned()));
}

#[test]
fn the_installer_asks_for_root_in_the_language_of_the_administrator() {
    let folder = Folder::new();
    let search = search_with(&folder, "id", "#!/bin/sh\necho 1000\n");
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
