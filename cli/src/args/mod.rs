//! The command line: verbs, flags and their help.

mod containers;
mod dns;
mod host;
mod launch;
mod views;
mod weave;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use containers::{AttachArgs, ContainerArgs, DetachArgs, RunArgs, RuntimeArg};
pub(crate) use dns::{DnsArgsArgs, DnsChangeArgs, DnsLookupArgs};
pub(crate) use host::{BridgeArgs, ExposeArgs, HideArgs};
pub(crate) use launch::LaunchArgs;
pub(crate) use views::{PsArgs, ReportArgs, StatusArgs, TopologyArgs, VersionArgs};

/// One virtual Ethernet switch for all containers on all hosts.
#[derive(Debug, Parser)]
#[command(name = "mesh", version, after_help = TOP_HELP)]
pub(crate) struct Cli {
    /// Unix socket of the router
    #[arg(long, global = true, env = "MESH_SOCKET", value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const TOP_HELP: &str = "\
Peers:      HOST | HOST:PORT | [IPV6]:PORT | fe80::1%IFACE
Addresses:  none or net:default | net:10.32.5.0/24 | 10.2.1.1/24 or ip:10.2.1.1/24

Example, on two hosts:
  host1$ mesh launch
  host1$ mesh run --name web nginx
  host1$ mesh ps web
  host2$ mesh launch host1
  host2$ mesh run ubuntu ping ADDRESS-OF-WEB";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Start the router on this host
    #[command(
        after_help = "The peers given are dialled in place of those stored; without any the stored ones are.\n\
        In the background, a router that crashes is started again.\n\
        A password for the whole mesh may be given in MESH_PASSWORD.\n\n\
        Example:\n  mesh launch --key-file /etc/mesh/key host2 host3:6783"
    )]
    Launch(Box<LaunchArgs>),
    /// Add peers to the targets the router dials
    #[command(
        after_help = "Example:\n  mesh connect host2 192.0.2.7:6783\n  mesh connect --replace host3"
    )]
    Connect(ConnectArgs),
    /// Stop dialling peers, by discovery too, until they are connected again; live connections stay
    #[command(after_help = "Example:\n  mesh forget host2")]
    Forget(PeerArgs),
    /// Run a container with addresses on the mesh, and print its id
    #[command(after_help = containers::RUN_HELP)]
    Run(RunArgs),
    /// Start a stopped container and attach it
    #[command(
        override_usage = "mesh start [OPTIONS] [ADDRESS]... <CONTAINER>",
        after_help = "A container of `mesh run` has its addresses again by itself.\n\n\
        Example:\n  mesh start 10.2.1.5/24 web\n  mesh start net:default db"
    )]
    Start(ContainerArgs),
    /// Restart a container and attach it again, by default with the addresses it had
    #[command(
        override_usage = "mesh restart [OPTIONS] [ADDRESS]... <CONTAINER>",
        after_help = "Example:\n  mesh restart web"
    )]
    Restart(ContainerArgs),
    /// Give a running container addresses on the mesh (without any: a free one), and print them
    #[command(
        override_usage = "mesh attach [OPTIONS] [ADDRESS]... <CONTAINER>",
        after_help = "Example:\n  mesh attach web\n  mesh attach --json net:10.32.5.0/24 10.2.1.5/24 web"
    )]
    Attach(AttachArgs),
    /// Take addresses from a container (all when none is given), and print them
    #[command(
        override_usage = "mesh detach [OPTIONS] [ADDRESS]... <CONTAINER>",
        after_help = "Example:\n  mesh detach web\n  mesh detach --json net:10.32.5.0/24 10.2.1.5/24 web"
    )]
    Detach(DetachArgs),
    /// Give the host itself addresses on the mesh (without any: a free one), and print them
    #[command(after_help = host::EXPOSE_HELP)]
    Expose(ExposeArgs),
    /// Take addresses from the host (all when none is given), and print them
    #[command(after_help = host::HIDE_HELP)]
    Hide(HideArgs),
    /// Join another Linux bridge of this host to the mesh
    #[command(after_help = host::ATTACH_BRIDGE_HELP)]
    AttachBridge(BridgeArgs),
    /// Take another bridge off the mesh
    #[command(after_help = "Example:\n  mesh detach-bridge virbr0")]
    DetachBridge(BridgeArgs),
    /// List attached containers: id, MAC address, addresses; the host itself as mesh:expose
    #[command(after_help = "Example:\n  mesh ps\n  mesh ps web db\n  mesh ps mesh:expose")]
    Ps(PsArgs),
    /// Give a container, or an address, a name in the mesh
    #[command(override_usage = "mesh dns-add [ADDRESS]... [CONTAINER] [-h NAME]", after_help = dns::ADD_HELP)]
    DnsAdd(DnsChangeArgs),
    /// Take names of a container, or of an address, out of the mesh
    #[command(override_usage = "mesh dns-remove [ADDRESS]... [CONTAINER] [-h NAME]", after_help = dns::REMOVE_HELP)]
    DnsRemove(DnsChangeArgs),
    /// Print the addresses of a name, or the names of an address
    #[command(after_help = dns::LOOKUP_HELP)]
    DnsLookup(DnsLookupArgs),
    /// Print the flags of `docker run` or `podman run` by which a container asks this router for names
    #[command(after_help = dns::ARGS_HELP)]
    DnsArgs(DnsArgsArgs),
    /// Show how the router is doing; targets, connections, peers, dns or ipam for detail
    #[command(
        after_help = "Exit status: 0 when the router is ready, 1 otherwise.\n\n\
        Example:\n  mesh status\n  mesh status connections\n  mesh status connections --state retrying\n  \
        mesh status peers host7\n  mesh status peers --state unreachable\n  mesh status dns\n  mesh status ipam"
    )]
    Status(StatusArgs),
    /// Draw the mesh: routers, links, and the ways from here
    #[command(
        after_help = "Red and dashed links are not established at both ends; frames do not pass by them.\n\n\
        Example:\n  mesh topology\n  mesh topology --svg > mesh.svg\n  mesh topology --dot | neato -Tpng > mesh.png"
    )]
    Topology(TopologyArgs),
    /// See to it that the range of addresses has an owner; the first allocation does so, too
    #[command(
        after_help = "For scripts that bring up several hosts and want to know that all agree before they allocate.\n\n\
        Example:\n  mesh prime --timeout 60"
    )]
    Prime(PrimeArgs),
    /// Give the addresses of routers that are gone for good to the others
    #[command(
        after_help = "A router that can be reached is not removed: `mesh reset` there hands its addresses over. One that is \
        only cut off must not be removed: it would go on giving out addresses that others give out, too.\n\n\
        Example:\n  mesh rmpeer host3\n  mesh rmpeer --force host3"
    )]
    Rmpeer(RmpeerArgs),
    /// Print everything the router knows, as JSON or through a Go template
    #[command(after_help = REPORT_HELP)]
    Report(ReportArgs),
    /// Stop the router; containers of this host keep talking to each other
    #[command(after_help = "Example:\n  mesh stop")]
    Stop,
    /// Stop the router and remove everything it made on this host
    #[command(after_help = "Example:\n  mesh reset -v")]
    Reset(ResetArgs),
    /// Make a random key for `launch --key-file`
    #[command(
        after_help = "The key is 64 hexadecimal characters and a newline. The router also takes 32 raw bytes.\n\n\
        Example:\n  mesh keygen /etc/mesh/key"
    )]
    Keygen(KeygenArgs),
    /// Print the version of this command, and of the router if it runs
    #[command(after_help = "Example:\n  mesh version\n  mesh version --json")]
    Version(VersionArgs),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  mesh completions bash > /etc/bash_completion.d/mesh")]
    Completions(CompletionsArgs),
}

const REPORT_HELP: &str = "\
Extra template functions: json VALUE, keys MAP (sorted).

Example:
  mesh report
  mesh report --summary
  mesh report host7
  mesh report -f '{{.Router.Name}}'
  mesh report -f '{{range .Router.Peers}}{{.NickName}} {{len .Connections}}{{println}}{{end}}'
  mesh report -f '{{json .Router.Targets}}'";

/// `mesh connect`.
#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    /// Replace the whole list of targets
    #[arg(long)]
    pub(crate) replace: bool,
    /// Names or addresses of hosts, each with a port if that is not 6783: host2, 192.0.2.7:6783, [2001:db8::7]:6783
    #[arg(required_unless_present = "replace", value_name = "PEER")]
    pub(crate) peers: Vec<String>,
}

/// `mesh forget`.
#[derive(Debug, Args)]
pub(crate) struct PeerArgs {
    /// Targets as `mesh status targets` shows them
    #[arg(required = true, value_name = "PEER")]
    pub(crate) peers: Vec<String>,
}

/// `mesh prime`.
#[derive(Debug, Args)]
pub(crate) struct PrimeArgs {
    /// Seconds it may take (default: 30)
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<f64>,
}

/// `mesh rmpeer`.
#[derive(Debug, Args)]
pub(crate) struct RmpeerArgs {
    /// Do not wait until it was silent for 10 minutes, and do without a majority of the routers
    #[arg(long)]
    pub(crate) force: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Names, nicknames or identities, as `mesh status ipam` shows them
    #[arg(required = true, value_name = "PEER")]
    pub(crate) peers: Vec<String>,
}

/// `mesh reset`.
#[derive(Debug, Args)]
pub(crate) struct ResetArgs {
    /// Go on when the router does not stop: kill it
    #[arg(long)]
    pub(crate) force: bool,
    /// Print what was removed
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Where the router keeps its keys and targets (default: /var/lib/mesh)
    #[arg(long, env = "MESH_STATE_DIR", value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Name of the bridge (default: the running router's, else mesh)
    #[arg(long)]
    pub(crate) bridge: Option<String>,
    /// The configuration file `launch` was given
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// `mesh keygen`.
#[derive(Debug, Args)]
pub(crate) struct KeygenArgs {
    /// File to make (default: standard output); never overwritten
    pub(crate) file: Option<PathBuf>,
}

/// `mesh completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}

/// Shells with a completion script.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Shell {
    /// GNU bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}
