//! Starting, being started again, and ending: whatever state the host is in.

mod again;
mod host;
mod secrets;
mod systemd;
mod targets;

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{Host, wait_until};

/// Generous: the machine may be busy.
const SOON: Duration = Duration::from_secs(30);

/// The warnings of `mesh status`.
fn warnings(host: &Host) -> Result<String> {
    Ok(host.report()?.router.warnings.join("\n"))
}

/// Waits until `mesh status` warns of something in these words, or of nothing so.
fn warns(host: &Host, words: &str, expected: bool) -> Result<()> {
    let what = match expected {
        true => format!("status warns: {words}"),
        false => format!("status warns no more: {words}"),
    };
    wait_until(SOON, &what, || {
        let told = warnings(host)?;
        ensure!(told.contains(words) == expected, "{told}");
        Ok(())
    })
}

/// A program that comes first in the PATH of [`with_programs`].
fn program(host: &Host, name: &str, script: &str) -> Result<()> {
    let line = format!(
        "mkdir -p /run/testbed/bin; cat >/run/testbed/bin/{name} <<'END'\n#!/bin/sh\n{script}\nEND\nchmod 755 /run/testbed/bin/{name}"
    );
    host.shell(&line)?.ok().map(drop)
}

/// A line of shell with those programs.
fn with_programs(line: &str) -> String {
    format!("PATH=/run/testbed/bin:$PATH; export PATH; {line}")
}
