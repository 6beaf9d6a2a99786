//! The tests: files are named after behaviour, tests are sentences about it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "test code")]

mod acknowledgement;
mod calls;
mod commands;
mod copies;
mod faults;
mod gateway;
mod guard;
mod startup;
mod stopping;
mod support;
mod tls;
