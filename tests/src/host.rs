//! One host of a testbed.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use mesh_proto::api::ipam::IpamReport;
use mesh_proto::api::{AttachedContainer, ConnectionReport, ConnectionState, Report};

use crate::command::{Background, CommandOutput};
use crate::programs::Programs;
use crate::script::TestbedScript;
use crate::wait::{require, wait_until};

/// Timeout for routers to connect; generous, since the machine may be busy.
const CONNECT: Duration = Duration::from_secs(20);

/// A host: its own network, processes, host name and disks.
#[derive(Clone, Debug)]
pub struct TestbedHost {
    script: TestbedScript,
    name: String,
    number: u8,
    programs: Programs,
}

impl TestbedHost {
    pub(crate) fn new(script: TestbedScript, number: u8, programs: Programs) -> Self {
        Self {
            script,
            name: format!("host{number}"),
            number,
            programs,
        }
    }

    /// Returns its host name, which all others resolve; `host1` for the first.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its IPv4 address on the underlay.
    pub fn address(&self) -> String {
        format!("192.168.77.{}", self.number)
    }

    /// Returns its IPv6 address on the underlay.
    pub fn address6(&self) -> String {
        format!("fd77::{}", self.number)
    }

    /// Runs a command on the host.
    ///
    /// # Errors
    /// The command cannot be started. A failing command is not an error.
    pub fn exec(&self, command: &[&str]) -> Result<CommandOutput> {
        self.script.run_on(&self.name, command)
    }

    /// Runs a shell command line on the host, with `mesh` in PATH.
    ///
    /// # Errors
    /// The shell cannot be started. A failing command is not an error.
    pub fn shell(&self, line: &str) -> Result<CommandOutput> {
        let path = format!("PATH={}:{}", self.programs.dir, std::env::var("PATH")?);
        self.exec(&["env", &path, "sh", "-c", line])
    }

    /// Starts a shell command line on the host, with `mesh` in PATH.
    ///
    /// # Errors
    /// The shell cannot be started.
    pub fn shell_in_background(&self, line: &str) -> Result<Background> {
        let path = format!("PATH={}:{}", self.programs.dir, std::env::var("PATH")?);
        self.spawn(&["env", &path, "sh", "-c", line])
    }

    /// Starts a command on the host.
    ///
    /// # Errors
    /// The command cannot be started.
    pub fn spawn(&self, command: &[&str]) -> Result<Background> {
        self.script.spawn_on(&self.name, command)
    }

    /// Runs `mesh` on the host.
    ///
    /// # Errors
    /// `mesh` cannot be started. A failing command is not an error.
    pub fn mesh(&self, args: &[&str]) -> Result<CommandOutput> {
        self.programs.check()?;
        self.exec(&[&[self.programs.mesh.as_str()], args].concat())
    }

    /// Returns the path of `mesh` on the host.
    pub fn mesh_path(&self) -> &str {
        &self.programs.mesh
    }

    /// Runs the docker client against the host's engine.
    ///
    /// # Errors
    /// The client cannot be started. A failing command is not an error.
    pub fn docker(&self, args: &[&str]) -> Result<CommandOutput> {
        self.exec(&[&["docker"], args].concat())
    }

    /// Returns the path of the traffic generator on the host.
    pub(crate) fn probe(&self) -> &str {
        &self.programs.probe
    }

    /// Returns the path of the traffic generator, for tests that pass their own arguments.
    pub fn probe_path(&self) -> String {
        self.programs.probe.clone()
    }

    /// Runs `mesh launch` with these arguments.
    ///
    /// # Errors
    /// The router does not start.
    pub fn launch(&self, args: &[&str]) -> Result<()> {
        self.mesh(&[&["launch"], args].concat())?.ok()?;
        Ok(())
    }

    /// Returns the router's report.
    ///
    /// # Errors
    /// The router does not run, or its report does not match the schema.
    pub fn report(&self) -> Result<Report> {
        let text = self.mesh(&["report"])?.ok()?;
        serde_json::from_str(&text).with_context(|| format!("the report of {}", self.name))
    }

    /// Returns the containers in `mesh ps --json`.
    ///
    /// # Errors
    /// The router does not run.
    pub fn ps(&self) -> Result<Vec<AttachedContainer>> {
        let text = self.mesh(&["ps", "--json"])?.ok()?;
        serde_json::from_str(&text).with_context(|| format!("mesh ps --json on {}", self.name))
    }

    /// Returns the first address of a container in `mesh ps`, with prefix length.
    ///
    /// # Errors
    /// The container is not on the mesh.
    pub fn address_of(&self, name: &str) -> Result<String> {
        let all = self.ps()?;
        let container = all.iter().find(|c| c.name == name);
        let interface = container.and_then(|c| c.interfaces.first());
        let address = interface.map(|i| i.address.clone());
        address.ok_or_else(|| anyhow!("{name} is not on the mesh on {}: {all:?}", self.name))
    }

    /// Returns the report of `mesh status ipam`.
    ///
    /// # Errors
    /// The router does not run.
    pub fn ipam(&self) -> Result<IpamReport> {
        let text = self.mesh(&["status", "ipam", "--json"])?.ok()?;
        serde_json::from_str(&text).with_context(|| format!("status ipam of {}", self.name))
    }

    /// Returns the established connections of the router.
    ///
    /// # Errors
    /// The router does not run.
    pub fn established(&self) -> Result<Vec<ConnectionReport>> {
        let mut connections = self.report()?.router.connections;
        connections.retain(|c| c.state == ConnectionState::Established);
        Ok(connections)
    }

    /// Waits until the router has exactly `count` established connections.
    ///
    /// # Errors
    /// The number differs after 20 s.
    pub fn wait_connections(&self, count: usize) -> Result<()> {
        wait_until(
            CONNECT,
            &format!("{} has {count} connections", self.name),
            || {
                let now = self.report()?.router.connections;
                let up = now
                    .iter()
                    .filter(|c| c.state == ConnectionState::Established)
                    .count();
                require(up == count, || format!("{up} established: {now:?}"))
            },
        )
    }

    /// Waits until the router knows exactly `count` routers, itself included.
    ///
    /// # Errors
    /// The number differs after 20 s.
    pub fn wait_peers(&self, count: usize) -> Result<()> {
        wait_until(
            CONNECT,
            &format!("{} knows {count} peers", self.name),
            || {
                let peers = self.report()?.router.peers;
                require(peers.len() == count, || {
                    format!("it knows {}: {peers:?}", peers.len())
                })
            },
        )
    }

    /// Returns the router's pid in the host's pid namespace.
    ///
    /// # Errors
    /// No router or more than one runs.
    pub fn router_pid(&self) -> Result<String> {
        let pids = self.exec(&["pgrep", "-x", "mesh-router"])?.ok()?;
        ensure!(
            pids.lines().count() == 1,
            "more than one router on {}: {pids}",
            self.name
        );
        Ok(pids)
    }

    /// Returns the CPU time of the router in seconds.
    ///
    /// # Errors
    /// The router does not run.
    pub fn router_cpu_seconds(&self) -> Result<f64> {
        /// Clock ticks per second in /proc, the same on every Linux.
        const TICKS: f64 = 100.0;
        let stat = self.exec(&["cat", &format!("/proc/{}/stat", self.router_pid()?)])?;
        let stat = stat.ok()?;
        let fields = stat.rsplit(") ").next().unwrap_or_default();
        let mut fields = fields.split_whitespace().skip(11);
        let mut ticks = || {
            fields
                .next()
                .context("a short line")
                .and_then(|n| Ok(n.parse::<f64>()?))
        };
        Ok((ticks()? + ticks()?) / TICKS)
    }

    /// Returns the number of times that threads of the router went to sleep, which is the number of their wake-ups.
    ///
    /// # Errors
    /// The router does not run.
    pub fn router_wakeups(&self) -> Result<u64> {
        let line = format!("cat /proc/{}/task/*/status", self.router_pid()?);
        let status = self.exec(&["sh", "-c", &line])?.ok()?;
        let counts = status
            .lines()
            .filter_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        counts.map(|count| Ok(count.trim().parse::<u64>()?)).sum()
    }

    /// Sends SIGKILL to the supervisor and the router, and waits until the router is gone.
    ///
    /// # Errors
    /// The router does not run.
    pub fn kill_router(&self) -> Result<()> {
        let pid = self.router_pid()?;
        let line = format!("pkill -KILL -x mesh-supervisor; kill -KILL {pid}");
        self.exec(&["sh", "-c", &line])?.ok()?;
        wait_until(Duration::from_secs(5), "the killed router is gone", || {
            require(self.router_pid().is_err(), || "it is there".to_owned())
        })
    }

    /// Simulates a power failure: kills everything on the host.
    ///
    /// # Errors
    /// The testbed fails to do it.
    pub fn crash(&self) -> Result<()> {
        self.script.run(&["crash", &self.name])?.ok().map(drop)
    }

    /// Boots a crashed host, with or without its engine.
    ///
    /// # Errors
    /// The host does not come up.
    pub fn boot(&self, engine: bool) -> Result<()> {
        let flag: &[&str] = if engine { &[] } else { &["--no-engine"] };
        self.script
            .run(&[&["boot", &self.name], flag].concat())?
            .ok()
            .map(drop)
    }

    /// Starts the engine of a host that was booted without one.
    ///
    /// # Errors
    /// The engine does not come up.
    pub fn start_engine(&self) -> Result<()> {
        self.script.run(&["engine", &self.name])?.ok().map(drop)
    }

    /// Loads the images `ubuntu` and `nginx` into podman on this host.
    ///
    /// # Errors
    /// podman is not installed, or refuses.
    pub fn podman_images(&self) -> Result<()> {
        self.script
            .run(&["podman-images", &self.name])?
            .ok()
            .map(drop)
    }

    /// Disconnects the host from the underlay.
    ///
    /// # Errors
    /// The testbed fails to do it.
    pub fn cut(&self) -> Result<()> {
        self.script.run(&["cut", &self.name])?.ok().map(drop)
    }

    /// Reconnects the host to the underlay.
    ///
    /// # Errors
    /// The testbed fails to do it.
    pub fn heal(&self) -> Result<()> {
        self.script.run(&["heal", &self.name])?.ok().map(drop)
    }

    /// Returns the connection of this router to the peer, in any state.
    ///
    /// # Errors
    /// There is no such connection.
    pub fn connection_to(&self, peer: &TestbedHost) -> Result<ConnectionReport> {
        let wanted = [
            format!("{}:", peer.address()),
            format!("[{}]:", peer.address6()),
        ];
        let named = format!("({})", peer.name);
        let found = self.report()?.router.connections.into_iter().find(|c| {
            c.peer.ends_with(&named)
                || wanted.iter().any(|w| c.address.starts_with(w.as_str()))
                || c.address.starts_with(&format!("{}:", peer.name))
        });
        found.ok_or_else(|| anyhow!("{} has no connection to {}", self.name, peer.name))
    }
}
