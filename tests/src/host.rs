//! One host of a testbed.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use mesh_proto::api::ipam::IpamReport;
use mesh_proto::api::{Attached, ConnectionReport, ConnectionState, Report};

use crate::command::{Background, Outcome};
use crate::container::Container;
use crate::testbed::{Programs, Script};
use crate::wait::{require, wait_until};

/// How long routers may take to find one another; generous, since the machine may be busy.
const CONNECT: Duration = Duration::from_secs(20);

/// A host: its own network, processes, host name and disks.
#[derive(Clone, Debug)]
pub struct Host {
    script: Script,
    name: String,
    number: u8,
    programs: Programs,
}

impl Host {
    pub(crate) fn new(script: Script, number: u8, programs: Programs) -> Self {
        Self {
            script,
            name: format!("host{number}"),
            number,
            programs,
        }
    }

    /// `host1` for the first; also its host name, which all others resolve.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its IPv4 address on the underlay.
    pub fn address(&self) -> String {
        format!("192.168.77.{}", self.number)
    }

    /// Its IPv6 address on the underlay.
    pub fn address6(&self) -> String {
        format!("fd77::{}", self.number)
    }

    /// Runs a command on the host.
    ///
    /// # Errors
    /// If it cannot be started; not if it fails.
    pub fn exec(&self, command: &[&str]) -> Result<Outcome> {
        self.script.run(&[&["exec", &self.name], command].concat())
    }

    /// Runs a line of shell on the host, with `mesh` in its PATH.
    ///
    /// # Errors
    /// If it cannot be started; not if it fails.
    pub fn shell(&self, line: &str) -> Result<Outcome> {
        let path = format!("PATH={}:{}", self.programs.dir, std::env::var("PATH")?);
        self.exec(&["env", &path, "sh", "-c", line])
    }

    /// Starts a line of shell on the host, with `mesh` in its PATH.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn shell_in_background(&self, line: &str) -> Result<Background> {
        let path = format!("PATH={}:{}", self.programs.dir, std::env::var("PATH")?);
        self.spawn(&["env", &path, "sh", "-c", line])
    }

    /// Starts a command on the host.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(&self, command: &[&str]) -> Result<Background> {
        self.script
            .spawn(&[&["exec", &self.name], command].concat())
    }

    /// Runs `mesh` on the host.
    ///
    /// # Errors
    /// If it cannot be started; not if it fails.
    pub fn mesh(&self, args: &[&str]) -> Result<Outcome> {
        self.programs.check()?;
        self.exec(&[&[self.programs.mesh.as_str()], args].concat())
    }

    /// Runs the docker client against the host's engine.
    ///
    /// # Errors
    /// If it cannot be started; not if it fails.
    pub fn docker(&self, args: &[&str]) -> Result<Outcome> {
        self.exec(&[&["docker"], args].concat())
    }

    /// The helper program for traffic, as a path that is valid on the host.
    pub(crate) fn probe(&self) -> &str {
        &self.programs.probe
    }

    /// The same for a test that runs it with arguments of its own.
    pub fn probe_path(&self) -> String {
        self.programs.probe.clone()
    }

    /// `mesh launch` with these arguments.
    ///
    /// # Errors
    /// If the router does not start.
    pub fn launch(&self, args: &[&str]) -> Result<()> {
        self.mesh(&[&["launch"], args].concat())?.ok()?;
        Ok(())
    }

    /// What the router knows.
    ///
    /// # Errors
    /// If it does not run, or its report is not as documented.
    pub fn report(&self) -> Result<Report> {
        let text = self.mesh(&["report"])?.ok()?;
        serde_json::from_str(&text).with_context(|| format!("the report of {}", self.name))
    }

    /// The containers that `mesh ps --json` shows.
    ///
    /// # Errors
    /// If the router does not run.
    pub fn ps(&self) -> Result<Vec<Attached>> {
        let text = self.mesh(&["ps", "--json"])?.ok()?;
        serde_json::from_str(&text).with_context(|| format!("mesh ps --json on {}", self.name))
    }

    /// Runs a command without end in a network namespace on the mesh.
    ///
    /// # Errors
    /// If `mesh run` fails.
    pub fn run(&self, address: &str) -> Result<Container> {
        self.run_named(address, &format!("c{}", address.replace(['.', '/'], "-")))
    }

    /// The same, under a name of the caller's choice.
    ///
    /// # Errors
    /// If `mesh run` fails.
    pub fn run_named(&self, address: &str, name: &str) -> Result<Container> {
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
        Ok(Container::new(self.clone(), pid, address))
    }

    /// The same with an address that the router allocates; `args` are the arguments for addresses.
    ///
    /// # Errors
    /// If `mesh run` fails.
    pub fn run_free(&self, args: &[&str], name: &str) -> Result<Container> {
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
        Ok(Container::new(self.clone(), pid, &address))
    }

    /// The first address of a container, with its prefix length, as `mesh ps` shows it.
    ///
    /// # Errors
    /// If it is not on the mesh.
    pub fn address_of(&self, name: &str) -> Result<String> {
        let all = self.ps()?;
        let container = all.iter().find(|c| c.name == name);
        let interface = container.and_then(|c| c.interfaces.first());
        let address = interface.map(|i| i.address.clone());
        address.ok_or_else(|| anyhow!("{name} is not on the mesh on {}: {all:?}", self.name))
    }

    /// What `mesh status ipam` says.
    ///
    /// # Errors
    /// If the router does not run.
    pub fn ipam(&self) -> Result<IpamReport> {
        let text = self.mesh(&["status", "ipam", "--json"])?.ok()?;
        serde_json::from_str(&text).with_context(|| format!("status ipam of {}", self.name))
    }

    /// The host's own network as if it were a container's: to measure the underlay, and to test the harness.
    ///
    /// # Errors
    /// If the host is down.
    pub fn underlay(&self) -> Result<Container> {
        // Process 1 shares the host's network.
        self.exec(&["true"])?.ok()?;
        Ok(Container::new(
            self.clone(),
            "1".to_owned(),
            &self.address(),
        ))
    }

    /// The same under another of its addresses.
    ///
    /// # Errors
    /// If the host is down.
    pub fn underlay_as(&self, address: &str) -> Result<Container> {
        self.exec(&["true"])?.ok()?;
        Ok(Container::new(self.clone(), "1".to_owned(), address))
    }

    /// A Docker container that runs on this host, by name or id, with the address it has on the mesh.
    ///
    /// # Errors
    /// If it does not run.
    pub fn container(&self, name: &str, address: &str) -> Result<Container> {
        let pid = self
            .docker(&["inspect", "-f", "{{.State.Pid}}", name])?
            .ok()?;
        ensure!(pid != "0", "container {name} on {} does not run", self.name);
        Ok(Container::new(self.clone(), pid, address))
    }

    /// Established connections of the router.
    ///
    /// # Errors
    /// If it does not run.
    pub fn established(&self) -> Result<Vec<ConnectionReport>> {
        let mut connections = self.report()?.router.connections;
        connections.retain(|c| c.state == ConnectionState::Established);
        Ok(connections)
    }

    /// Waits until the router has exactly so many established connections.
    ///
    /// # Errors
    /// If it has not within 20 s.
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

    /// Waits until the router knows exactly so many routers, itself included.
    ///
    /// # Errors
    /// If it does not within 20 s.
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

    /// The router's pid, in the host's numbering.
    ///
    /// # Errors
    /// If it does not run, or more than once.
    pub fn router_pid(&self) -> Result<String> {
        let pids = self.exec(&["pgrep", "-x", "mesh-router"])?.ok()?;
        ensure!(
            pids.lines().count() == 1,
            "more than one router on {}: {pids}",
            self.name
        );
        Ok(pids)
    }

    /// Seconds of processor time that the router has used.
    ///
    /// # Errors
    /// If it does not run.
    pub fn router_cpu_seconds(&self) -> Result<f64> {
        /// Clock ticks a second in /proc, the same on every Linux.
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

    /// How often the router's threads have gone to sleep: each of their wake-ups, whatever it then cost.
    ///
    /// # Errors
    /// If it does not run.
    pub fn router_wakeups(&self) -> Result<u64> {
        let line = format!("cat /proc/{}/task/*/status", self.router_pid()?);
        let status = self.exec(&["sh", "-c", &line])?.ok()?;
        let counts = status
            .lines()
            .filter_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        counts.map(|count| Ok(count.trim().parse::<u64>()?)).sum()
    }

    /// SIGKILL to the router and to whatever would start it again, and waits until it is gone.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill_router(&self) -> Result<()> {
        let pid = self.router_pid()?;
        let line = format!("pkill -KILL -x mesh-supervisor; kill -KILL {pid}");
        self.exec(&["sh", "-c", &line])?.ok()?;
        wait_until(Duration::from_secs(5), "the killed router is gone", || {
            require(self.router_pid().is_err(), || "it is there".to_owned())
        })
    }

    /// Power cut: everything on the host is killed.
    ///
    /// # Errors
    /// If the testbed cannot do it.
    pub fn crash(&self) -> Result<()> {
        self.script.run(&["crash", &self.name])?.ok().map(drop)
    }

    /// Powers a crashed host up again, with its engine started or not.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn boot(&self, engine: bool) -> Result<()> {
        let flag: &[&str] = if engine { &[] } else { &["--no-engine"] };
        self.script
            .run(&[&["boot", &self.name], flag].concat())?
            .ok()
            .map(drop)
    }

    /// Starts the engine of a host that was booted without.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn start_engine(&self) -> Result<()> {
        self.script.run(&["engine", &self.name])?.ok().map(drop)
    }

    /// Gives podman on this host the images `ubuntu` and `nginx`.
    ///
    /// # Errors
    /// If podman is not installed or refuses.
    pub fn podman_images(&self) -> Result<()> {
        self.script
            .run(&["podman-images", &self.name])?
            .ok()
            .map(drop)
    }

    /// Pulls the host's cable.
    ///
    /// # Errors
    /// If the testbed cannot do it.
    pub fn cut(&self) -> Result<()> {
        self.script.run(&["cut", &self.name])?.ok().map(drop)
    }

    /// Plugs the host's cable in again.
    ///
    /// # Errors
    /// If the testbed cannot do it.
    pub fn heal(&self) -> Result<()> {
        self.script.run(&["heal", &self.name])?.ok().map(drop)
    }

    /// The connection of this router to the peer with this nickname, whatever its state.
    ///
    /// # Errors
    /// If there is none.
    pub fn connection_to(&self, peer: &Host) -> Result<ConnectionReport> {
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
