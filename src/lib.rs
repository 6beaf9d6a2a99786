//! `/mute agent_id` for Discord: presses the MUTE button in a Wolkvox agent's application.
//!
//! One command travels one way, and the modules are met in that order:
//!
//! 1. [`config`] reads the environment, [`app`] assembles everything and runs it.
//! 2. [`discord`] receives an interaction from the gateway and hands it to its handler.
//! 3. [`access`] decides who may use the command, and the [`ledger`] admits it: whether another supervisor's toggle would
//!    be reversed, and which command came before which. [`command`] says how far it has come, and what follows from that.
//! 4. The [`journal`] writes each step down before it begins, for the next process. Then Discord is told "thinking…", and
//!    only if it accepts that, [`wolkvox`] is called, once.
//! 5. The [`outcome::Outcome`] becomes a sentence in [`reply`] and a line in [`audit`], and goes back.
//!
//! `main` → [`app`] → [`discord`] → {[`ledger`] → [`journal`] → [`command`], [`access`], [`directory`], [`wolkvox`]}.
//! [`wolkvox`] knows nothing of Discord. [`config`] builds the settings of each and is imported by `main`, [`app`] and
//! [`check`] alone. [`reply`] holds all words that are read in Discord; what comes from elsewhere is made plain text in
//! [`text`]. An operator's Spanish stands beside its English ([`language`]). Discord's ids are serenity's types
//! everywhere; the rest of serenity is used in [`discord`] alone. [`net`] makes every connection, [`retry`] repeats what
//! may be repeated.

pub mod access;
pub mod agent;
pub mod app;
pub mod audit;
pub mod check;
pub mod clock;
pub mod command;
pub mod config;
pub mod directory;
pub mod discord;
mod env_file;
pub mod journal;
pub mod language;
pub mod ledger;
pub mod limits;
pub mod net;
pub mod outcome;
pub mod reply;
pub mod retry;
pub mod systemd;
pub mod telemetry;
pub mod text;
pub mod token;
pub mod wolkvox;
