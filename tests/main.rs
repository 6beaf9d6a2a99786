//! The tests: files are named after behaviour, tests are sentences about it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "test code"
)]

mod acknowledgement;
mod adversary;
mod agents;
mod arguments;
mod audit_channel;
mod calls;
mod check;
mod check_audit_channel;
mod check_wolkvox;
mod clock;
mod commands;
mod configuration;
mod copies;
mod directory;
mod disk;
mod documentation;
mod faults;
mod gateway;
mod guard;
mod hostile;
mod installation;
mod keystrokes;
mod killed;
mod languages;
mod logs;
mod moments;
mod picture;
mod proxies;
mod queue;
mod registration;
#[path = "sandbox/tests.rs"]
mod sandbox;
mod standby;
mod startup;
mod state_file;
mod stopping;
mod support;
mod systemd;
mod text;
mod tls;
mod token;
