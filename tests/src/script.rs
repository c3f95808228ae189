//! The script `tests/testbed/testbed.sh`, which makes hosts and runs commands on them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use anyhow::Result;

use crate::command::{Background, CommandOutput, run_with_env, spawn_with_env};
use crate::dig;

/// The testbed script, bound to one testbed.
#[derive(Clone, Debug)]
pub(crate) struct TestbedScript {
    testbed: String,
}

impl TestbedScript {
    pub(crate) fn new(testbed: String) -> Self {
        Self { testbed }
    }

    /// Returns the unique name of the testbed.
    pub(crate) fn testbed(&self) -> &str {
        &self.testbed
    }

    fn path() -> String {
        concat!(env!("CARGO_MANIFEST_DIR"), "/testbed/testbed.sh").to_owned()
    }

    pub(crate) fn run(&self, args: &[&str]) -> Result<CommandOutput> {
        run_with_env(&Self::path(), args, &[("TESTBED", &self.testbed)])
    }

    pub(crate) fn spawn(&self, args: &[&str]) -> Result<Background> {
        spawn_with_env(&Self::path(), args, &[("TESTBED", &self.testbed)])
    }

    /// Runs a command on a host, like the verb `exec` of the script.
    pub(crate) fn run_on(&self, host: &str, command: &[&str]) -> Result<CommandOutput> {
        let by_script = [&["exec", host], command].concat();
        let Some(pid) = self.first_process(host) else {
            return self.run(&by_script);
        };
        let output = run_with_env(
            "nsenter",
            &entering(&pid, command),
            &dig::environment(command),
        )?;
        Ok(output.of(&Self::path(), &by_script))
    }

    /// Starts a command on a host, like the verb `exec` of the script.
    pub(crate) fn spawn_on(&self, host: &str, command: &[&str]) -> Result<Background> {
        let by_script = [&["exec", host], command].concat();
        let Some(pid) = self.first_process(host) else {
            return self.spawn(&by_script);
        };
        let job = spawn_with_env(
            "nsenter",
            &entering(&pid, command),
            &dig::environment(command),
        )?;
        Ok(job.of(&Self::path(), &by_script))
    }

    /// Returns the pid of a host's first process, as `pid_of` of the script does; `None` if the host is down. Tests run many
    /// thousand commands on hosts, and a shell for each would cost four times as much as most of these commands.
    fn first_process(&self, host: &str) -> Option<String> {
        let root = std::env::var("TESTBED_ROOT").unwrap_or_else(|_| "/tmp/mesh-testbed".to_owned());
        let pid = fs::read_to_string(format!("{root}/{}/hosts/{host}/init.pid", self.testbed));
        let pid = pid.ok()?.trim().to_owned();
        let network = fs::metadata(format!("/run/netns/tb-{}-{host}", self.testbed)).ok()?;
        let its = fs::metadata(format!("/proc/{pid}/ns/net")).ok()?;
        (its.ino() == network.ino() && its.dev() == network.dev()).then_some(pid)
    }
}

/// Returns the arguments of `nsenter` for a command in the namespaces of a process.
fn entering<'a>(pid: &'a str, command: &[&'a str]) -> Vec<&'a str> {
    [&["-t", pid, "-n", "-m", "-u", "-p", "--"], command].concat()
}
