//! One container, of whatever runtime: a process whose network is on the mesh.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::command::{Background, Outcome};
use crate::host::Host;
use crate::wait::wait_until;

/// How long an address may take to answer; the first frames open sessions.
const FIRST_ANSWER: Duration = Duration::from_secs(15);

/// A process on a host, by whose network namespace commands of the host can be run.
#[derive(Clone, Debug)]
pub struct Container {
    host: Host,
    pid: String,
    address: String,
}

impl Container {
    pub(crate) fn new(host: Host, pid: String, address: &str) -> Self {
        let address = address
            .trim_start_matches("ip:")
            .split('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        Self { host, pid, address }
    }

    /// Its address on the mesh, without prefix length.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The host it runs on.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Runs a program of the host in the container's network.
    ///
    /// # Errors
    /// If it cannot be started; not if it fails.
    pub fn exec(&self, command: &[&str]) -> Result<Outcome> {
        self.host.exec(&[&self.prefix(), command].concat())
    }

    /// Runs a program of the host in the container's network, with the files that the container sees.
    ///
    /// # Errors
    /// If it cannot be started; not if it fails.
    pub fn exec_inside(&self, command: &[&str]) -> Result<Outcome> {
        let prefix = [&self.prefix()[..], &["-m"]].concat();
        self.host.exec(&[&prefix, command].concat())
    }

    /// Starts a program of the host in the container's network.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(&self, command: &[&str]) -> Result<Background> {
        self.host.spawn(&[&self.prefix(), command].concat())
    }

    /// Starts the helper program for traffic in the container's network.
    pub(crate) fn spawn_probe(&self, args: &[&str]) -> Result<Background> {
        self.spawn(&[&[self.host.probe()], args].concat())
    }

    fn prefix(&self) -> [&str; 4] {
        ["nsenter", "-t", &self.pid, "-n"]
    }

    /// One echo to an address, which must come back within one second.
    ///
    /// # Errors
    /// If it does not.
    pub fn ping(&self, address: &str) -> Result<()> {
        self.exec(&["ping", "-n", "-c", "1", "-W", "1", address])?
            .ok()
            .map(drop)
    }

    /// Waits until `other` answers.
    ///
    /// # Errors
    /// If it does not within 15 s.
    pub fn reaches(&self, other: &Self) -> Result<()> {
        self.reaches_within(FIRST_ANSWER, other)
    }

    /// Waits until `other` answers.
    ///
    /// # Errors
    /// If it does not within `deadline`.
    pub fn reaches_within(&self, deadline: Duration, other: &Self) -> Result<()> {
        let what = format!(
            "{} on {} answers {}",
            other.address,
            other.host.name(),
            self.address
        );
        wait_until(deadline, &what, || self.ping(&other.address))
    }

    /// Three echoes to `other`, none of which may come back.
    ///
    /// # Errors
    /// If one does.
    pub fn does_not_reach(&self, other: &Self) -> Result<()> {
        let outcome = self.exec(&[
            "ping",
            "-n",
            "-c",
            "3",
            "-i",
            "0.2",
            "-W",
            "1",
            &other.address,
        ])?;
        ensure!(
            outcome.code != Some(0),
            "{} should be out of reach: {outcome}",
            other.address
        );
        Ok(())
    }

    /// `count` echoes in quick succession; returns how many came back.
    ///
    /// # Errors
    /// If ping does not run.
    pub fn count_answers(&self, other: &Self, count: u32) -> Result<u32> {
        let outcome = self.exec(&[
            "ping",
            "-n",
            "-c",
            &count.to_string(),
            "-i",
            "0.02",
            "-W",
            "1",
            &other.address,
        ])?;
        let received = outcome
            .stdout
            .split(", ")
            .find_map(|part| part.strip_suffix(" received"));
        received
            .and_then(|n| n.parse().ok())
            .ok_or_else(|| anyhow::anyhow!("{outcome}"))
    }

    /// Starts to send datagrams to a broadcast address, as fast as it goes, for this long.
    ///
    /// # Errors
    /// If the program does not start.
    pub fn storm(&self, target: &str, duration: Duration) -> Result<Background> {
        let millis = duration.as_millis().to_string();
        self.spawn_probe(&["storm", &self.address, target, &millis])
    }

    /// Ends the container's process.
    ///
    /// # Errors
    /// If it had ended before.
    pub fn kill(&self) -> Result<()> {
        self.host
            .exec(&["kill", "-KILL", &self.pid])?
            .ok()
            .map(drop)
    }
}

/// Waits until each of `containers` answers each other.
///
/// # Errors
/// At the first pair that does not.
pub fn all_reach_all(containers: &[Container]) -> Result<()> {
    for from in containers {
        for to in containers.iter().filter(|to| to.address != from.address) {
            from.reaches(to)?;
        }
    }
    Ok(())
}
