//! The tests: files are named after behaviour, tests are sentences about it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "test code")]

mod commands;
mod support;
