//! The `mesh` command without its system calls: its command line, and what follows from it for the router and the engines.
//!
//! ```text
//! words ─ parse ─> Cli ─┬─ request, dns ──> requests to the router
//!                       ├─ run ───────────> words for docker, podman, a process
//!                       └─ service ───────> words for mesh-router
//! ```
//!
//! | module | subject |
//! |---|---|
//! | [`args`] | verbs, flags and their help |
//! | [`addresses`] | addresses in front of a container or an image |
//! | [`request`] | requests to the router, as the arguments ask for them |
//! | [`dns`] | names of containers; flags and settings by which containers ask the router |
//! | [`engine_args`] | the flags of docker and podman, and the image |
//! | [`lookup`] | names of peers that are looked up, so that a typo is noticed |
//! | [`run`] | `mesh run`: its words and the engine's, and the containers that it makes |
//! | [`service`] | the router's process: its configuration, its words, its systemd unit |
//! | [`completions`] | completion scripts of shells |
//!
//! Facts about the host are arguments; words, requests and remarks are return values. The parser, clap, reads the
//! environment variables that the flags name, and the width of the terminal.

#![forbid(unsafe_code)]

pub mod addresses;
pub mod args;
pub mod completions;
pub mod dns;
pub mod engine_args;
mod error;
pub mod lookup;
pub mod request;
pub mod run;
pub mod service;
mod suggest;

use std::ffi::OsString;

use clap::Parser as _;

pub use self::error::CommandError;

use self::args::Cli;

/// Parses the words of a command line, the first of which is the program.
///
/// # Errors
/// Fails with usage or help, which clap prints; verbs and flags are suggested only for close words.
pub fn parse(words: Vec<OsString>) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(run::words::sorted(words)).map_err(suggest::revise)
}
