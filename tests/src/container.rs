//! One container of any runtime: a process with its network on the mesh, and its start on a host.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::command::{Background, CommandOutput};
use crate::host::TestbedHost;
use crate::wait::wait_until;

/// Timeout of the first answer from an address, which opens sessions.
const FIRST_ANSWER: Duration = Duration::from_secs(15);

/// A process on a host, in whose network namespace commands can be run.
#[derive(Clone, Debug)]
pub struct TestContainer {
    host: TestbedHost,
    pid: String,
    address: String,
}

impl TestContainer {
    pub(crate) fn new(host: TestbedHost, pid: String, address: &str) -> Self {
        let address = address
            .trim_start_matches("ip:")
            .split('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        Self { host, pid, address }
    }

    /// Returns its address on the mesh, without prefix length.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns its host.
    pub fn host(&self) -> &TestbedHost {
        &self.host
    }

    /// Runs a program of the host in the container's network namespace.
    ///
    /// # Errors
    /// The program cannot be started. A failing program is not an error.
    pub fn exec(&self, command: &[&str]) -> Result<CommandOutput> {
        self.host.exec(&[&self.prefix(), command].concat())
    }

    /// Runs a program of the host in the container's network and mount namespaces.
    ///
    /// # Errors
    /// The program cannot be started. A failing program is not an error.
    pub fn exec_inside(&self, command: &[&str]) -> Result<CommandOutput> {
        let prefix = [&self.prefix()[..], &["-m"]].concat();
        self.host.exec(&[&prefix, command].concat())
    }

    /// Starts a program of the host in the container's network namespace.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn spawn(&self, command: &[&str]) -> Result<Background> {
        self.host.spawn(&[&self.prefix(), command].concat())
    }

    /// Starts the traffic generator in the container's network namespace.
    pub(crate) fn spawn_probe(&self, args: &[&str]) -> Result<Background> {
        self.spawn(&[&[self.host.probe()], args].concat())
    }

    fn prefix(&self) -> [&str; 4] {
        ["nsenter", "-t", &self.pid, "-n"]
    }

    /// Sends one ICMP echo to an address, which must be answered within one second.
    ///
    /// # Errors
    /// There is no answer.
    pub fn ping(&self, address: &str) -> Result<()> {
        self.exec(&["ping", "-n", "-c", "1", "-W", "1", address])?
            .ok()
            .map(drop)
    }

    /// Waits until `other` answers.
    ///
    /// # Errors
    /// There is no answer within 15 s.
    pub fn reaches(&self, other: &Self) -> Result<()> {
        self.reaches_within(FIRST_ANSWER, other)
    }

    /// Waits until `other` answers.
    ///
    /// # Errors
    /// There is no answer within `deadline`.
    pub fn reaches_within(&self, deadline: Duration, other: &Self) -> Result<()> {
        let what = format!(
            "{} on {} answers {}",
            other.address,
            other.host.name(),
            self.address
        );
        wait_until(deadline, &what, || self.ping(&other.address))
    }

    /// Sends three ICMP echoes to `other`, none of which may be answered.
    ///
    /// # Errors
    /// One of them is answered.
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

    /// Sends `count` ICMP echoes in quick succession, and returns the number of answers.
    ///
    /// # Errors
    /// ping does not run.
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

    /// Starts to send datagrams to a broadcast address at full speed, for this time.
    ///
    /// # Errors
    /// The program does not start.
    pub fn storm(&self, target: &str, duration: Duration) -> Result<Background> {
        let millis = duration.as_millis().to_string();
        self.spawn_probe(&["storm", &self.address, target, &millis])
    }

    /// Kills the container's process.
    ///
    /// # Errors
    /// The process has already ended.
    pub fn kill(&self) -> Result<()> {
        self.host
            .exec(&["kill", "-KILL", &self.pid])?
            .ok()
            .map(drop)
    }
}

impl TestbedHost {
    /// Runs an endless command in a network namespace on the mesh.
    ///
    /// # Errors
    /// `mesh run` fails.
    pub fn run(&self, address: &str) -> Result<TestContainer> {
        self.run_named(address, &format!("c{}", address.replace(['.', '/'], "-")))
    }

    /// Like [`TestbedHost::run`], with this name for the container.
    ///
    /// # Errors
    /// `mesh run` fails.
    pub fn run_named(&self, address: &str, name: &str) -> Result<TestContainer> {
        let file = format!("/run/testbed/{name}.pid");
        let line = format!("echo $$ >{file}.new; mv {file}.new {file}; exec sleep infinity");
        self.mesh(&[
            "run",
            "--runtime",
            "process",
            address,
            "-d",
            "--name",
            name,
            "--",
            "sh",
            "-c",
            &line,
        ])?
        .ok()?;
        let pid = wait_until(
            Duration::from_secs(5),
            "the command of `mesh run` starts",
            || self.exec(&["cat", &file])?.ok(),
        )?;
        Ok(TestContainer::new(self.clone(), pid, address))
    }

    /// Like [`TestbedHost::run_named`], with an address that the router allocates; `args` are the address arguments.
    ///
    /// # Errors
    /// `mesh run` fails.
    pub fn run_free(&self, args: &[&str], name: &str) -> Result<TestContainer> {
        let file = format!("/run/testbed/{name}.pid");
        let line = format!("echo $$ >{file}.new; mv {file}.new {file}; exec sleep infinity");
        let before = ["run", "--runtime", "process"];
        let after = ["-d", "--name", name, "--", "sh", "-c", &line];
        self.mesh(&[&before[..], args, &after].concat())?.ok()?;
        let pid = wait_until(
            Duration::from_secs(5),
            "the command of `mesh run` starts",
            || self.exec(&["cat", &file])?.ok(),
        )?;
        let address = self.address_of(name)?;
        Ok(TestContainer::new(self.clone(), pid, &address))
    }

    /// Returns the host's own network in the form of a container, to measure the underlay and to test the harness.
    ///
    /// # Errors
    /// The host is down.
    pub fn underlay(&self) -> Result<TestContainer> {
        // Process 1 is in the host's network namespace.
        self.exec(&["true"])?.ok()?;
        Ok(TestContainer::new(
            self.clone(),
            "1".to_owned(),
            &self.address(),
        ))
    }

    /// Like [`TestbedHost::underlay`], with another address of the host.
    ///
    /// # Errors
    /// The host is down.
    pub fn underlay_as(&self, address: &str) -> Result<TestContainer> {
        self.exec(&["true"])?.ok()?;
        Ok(TestContainer::new(self.clone(), "1".to_owned(), address))
    }

    /// Returns a process of the host, in whose network namespace this address is, in the form of a container.
    pub fn process(&self, pid: &str, address: &str) -> TestContainer {
        TestContainer::new(self.clone(), pid.to_owned(), address)
    }

    /// Returns a running Docker container on this host, by name or id, with its address on the mesh.
    ///
    /// # Errors
    /// The container does not run.
    pub fn container(&self, name: &str, address: &str) -> Result<TestContainer> {
        let pid = self
            .docker(&["inspect", "-f", "{{.State.Pid}}", name])?
            .ok()?;
        ensure!(
            pid != "0",
            "container {name} on {} does not run",
            self.name()
        );
        Ok(TestContainer::new(self.clone(), pid, address))
    }
}

/// Waits until each of `containers` answers each other one.
///
/// # Errors
/// The first pair without an answer.
pub fn all_reach_all(containers: &[TestContainer]) -> Result<()> {
    for from in containers {
        for to in containers.iter().filter(|to| to.address != from.address) {
            from.reaches(to)?;
        }
    }
    Ok(())
}
