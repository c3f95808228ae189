//! A testbed: hosts made by `tests/testbed/testbed.sh`, removed on drop.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};

use crate::command::Background;
use crate::host::TestbedHost;
use crate::programs::Programs;
use crate::script::TestbedScript;

/// Layout of a testbed.
#[derive(Clone, Debug)]
pub struct TestbedLayout {
    hosts: u8,
    engines: bool,
    only: Option<&'static str>,
    links: Option<String>,
}

impl TestbedLayout {
    /// Returns a layout of `count` hosts without engines, all connected to each other, with IPv4 and IPv6.
    pub fn hosts(count: u8) -> Self {
        Self {
            hosts: count,
            engines: false,
            only: None,
            links: None,
        }
    }

    /// Adds a Docker engine to each host.
    #[must_use]
    pub fn engines(mut self) -> Self {
        self.engines = true;
        self
    }

    /// Removes IPv6 from the underlay.
    #[must_use]
    pub fn ipv4_only(mut self) -> Self {
        self.only = Some("--ipv4-only");
        self
    }

    /// Removes IPv4 from the underlay.
    #[must_use]
    pub fn ipv6_only(mut self) -> Self {
        self.only = Some("--ipv6-only");
        self
    }

    /// Connects only these pairs of hosts, like `1-2,2-3`.
    #[must_use]
    pub fn links(mut self, pairs: &str) -> Self {
        self.links = Some(pairs.to_owned());
        self
    }

    fn arguments(&self) -> Vec<String> {
        let mut args = vec!["start".to_owned(), self.hosts.to_string()];
        args.extend(["--owner".to_owned(), std::process::id().to_string()]);
        if !self.engines {
            args.push("--no-engine".to_owned());
        }
        args.extend(self.only.map(str::to_owned));
        if let Some(pairs) = &self.links {
            args.extend(["--links".to_owned(), pairs.clone()]);
        }
        args
    }
}

/// Runs a test on a new testbed. If it fails, the logs and states of the routers are printed.
///
/// # Errors
/// The test fails, or the testbed cannot be created.
pub fn with_testbed(setup: &TestbedLayout, test: impl FnOnce(&Testbed) -> Result<()>) -> Result<()> {
    let bed = Testbed::start(setup)?;
    let result = test(&bed);
    if result.is_err() {
        bed.explain();
    }
    result
}

/// Several hosts on one underlay switch.
#[derive(Debug)]
pub struct Testbed {
    script: TestbedScript,
    hosts: Vec<TestbedHost>,
}

impl Testbed {
    /// Creates the hosts. The name is unique, so testbeds can run in parallel; the next start removes testbeds whose
    /// test was killed.
    ///
    /// # Errors
    /// Programs are missing, or the user is not root.
    pub fn start(setup: &TestbedLayout) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        let script = TestbedScript::new(format!("{}-{serial}", std::process::id()));
        let programs = Programs::find()?;
        let arguments = setup.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        // Created before the start, so that a partial start is cleaned up as well.
        let hosts = (1..=setup.hosts)
            .map(|n| TestbedHost::new(script.clone(), n, programs.clone()))
            .collect();
        let bed = Self { script, hosts };
        bed.script
            .run(&arguments)?
            .ok()
            .context("the testbed did not start")?;
        Ok(bed)
    }

    /// Returns its unique name, which is part of the names of its network namespaces.
    pub fn name(&self) -> &str {
        self.script.testbed()
    }

    /// Returns host `number`, counted from 1 as in its name `host1`.
    ///
    /// # Panics
    /// If there is no such host, which is a bug in the test.
    pub fn host(&self, number: usize) -> &TestbedHost {
        &self.hosts[number - 1]
    }

    /// Returns all hosts, in order.
    pub fn hosts(&self) -> &[TestbedHost] {
        &self.hosts
    }

    /// Drops all traffic between two hosts.
    ///
    /// # Errors
    /// The switch refuses.
    pub fn cut_pair(&self, a: usize, b: usize) -> Result<()> {
        self.pair("cut-pair", a, b)
    }

    /// Restores the traffic between two hosts.
    ///
    /// # Errors
    /// The switch refuses, for example because the pair was not cut.
    pub fn heal_pair(&self, a: usize, b: usize) -> Result<()> {
        self.pair("heal-pair", a, b)
    }

    fn pair(&self, verb: &str, a: usize, b: usize) -> Result<()> {
        self.script
            .run(&[verb, self.host(a).name(), self.host(b).name()])?
            .ok()?;
        Ok(())
    }

    /// Starts a command in the network namespace of the underlay switch.
    ///
    /// # Errors
    /// The command cannot be started.
    pub fn spawn_on_switch(&self, command: &[&str]) -> Result<Background> {
        self.script.spawn(&[&["switch"], command].concat())
    }

    /// Prints the states and logs of the routers.
    #[allow(clippy::print_stdout)]
    pub fn explain(&self) {
        for host in &self.hosts {
            println!("==== {}", host.name());
            for command in ["status", "connections", "peers"] {
                let args = if command == "status" {
                    vec!["status"]
                } else {
                    vec!["status", command]
                };
                if let Ok(outcome) = host.mesh(&args) {
                    println!("{}{}", outcome.stdout, outcome.stderr);
                }
            }
            if let Ok(log) = host.exec(&["tail", "-n", "40", "/var/lib/mesh/router.log"]) {
                println!("{}", log.stdout);
            }
        }
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        // An error is ignored; the next start of a testbed tries again.
        let _ = self.script.run(&["stop"]);
    }
}
