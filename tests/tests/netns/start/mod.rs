//! Start, restart and stop in any state of the host.

mod again;
mod host;
mod secrets;
mod systemd;
mod targets;

use std::time::Duration;

use anyhow::{Result, ensure};
use mesh_tests::{TestbedHost, wait_until};

/// Generous, since the machine may be busy.
const SOON: Duration = Duration::from_secs(30);

/// Returns the warnings of `mesh status`.
fn warnings(host: &TestbedHost) -> Result<String> {
    Ok(host.report()?.router.warnings.join("\n"))
}

/// Waits until `mesh status` has a warning with these words, or none (`expected`).
fn warns(host: &TestbedHost, words: &str, expected: bool) -> Result<()> {
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

/// Creates a program that comes first in the PATH of [`with_programs`].
fn program(host: &TestbedHost, name: &str, script: &str) -> Result<()> {
    let line = format!(
        "mkdir -p /run/testbed/bin; cat >/run/testbed/bin/{name} <<'END'\n#!/bin/sh\n{script}\nEND\nchmod 755 /run/testbed/bin/{name}"
    );
    host.shell(&line)?.ok().map(drop)
}

/// Returns a shell command line with these programs in its PATH.
fn with_programs(line: &str) -> String {
    format!("PATH=/run/testbed/bin:$PATH; export PATH; {line}")
}
