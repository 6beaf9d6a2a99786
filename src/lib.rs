//! `/mute agent_id` for Discord: presses the MUTE button in a Wolkvox agent's application.
//!
//! One command travels one way, and the modules are met in that order:
//!
//! 1. [`config`] reads the environment, [`app`] assembles everything and runs it.
//! 2. [`discord`] receives an interaction from the gateway and hands it to its handler.
//! 3. [`access`] decides who may use the command, [`guard`] whether somebody else was there just before.
//! 4. Discord is told "working on it". Only if it accepts that, [`wolkvox`] is called, once. Both go out through
//!    [`http`].
//! 5. The [`outcome::Outcome`] becomes a sentence in [`reply`], a line in [`audit`], and goes back.
//!
//! Dependencies point one way: `main` → [`app`] → [`discord`] → {[`access`], [`guard`], [`directory`], [`wolkvox`]}.
//! [`wolkvox`] knows nothing of Discord. Discord's ids are serenity's types everywhere; the rest of serenity
//! is used in [`discord`] alone.

pub mod access;
pub mod agent;
pub mod app;
pub mod audit;
pub mod check;
pub mod config;
pub mod directory;
pub mod discord;
pub mod guard;
pub mod http;
pub mod limits;
pub mod net;
pub mod outcome;
pub mod reply;
pub mod telemetry;
pub mod wolkvox;
