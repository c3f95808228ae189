//! The command line: verbs, flags and their help.

mod containers;
mod dns;
mod host;
mod launch;
mod network;
mod views;
mod weave;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use containers::{
    AllocationArgs, AttachArgs, ContainerArgs, DetachArgs, EngineArg, InterfaceArgs, NetArg,
    RunArgs, RuntimeArg,
};
pub use dns::{DnsArgsArgs, DnsChangeArgs, DnsLookupArgs};
pub use host::{AttachBridgeArgs, BridgeArgs, ExposeArgs, HideArgs};
pub use launch::LaunchArgs;
pub use network::{
    NetworkArgs, NetworkCreateArgs, NetworkInspectArgs, NetworkLsArgs, NetworkRmArgs, NetworkVerb,
};
pub use views::{PsArgs, ReportArgs, StatusArgs, TopologyArgs, VersionArgs};
pub use weave::WeaveFlags;

/// One virtual Ethernet switch for all containers on all hosts.
#[derive(Debug, Parser)]
#[command(name = "mesh", version, after_help = TOP_HELP)]
pub struct Cli {
    /// Unix socket of the router
    #[arg(long, global = true, env = "MESH_SOCKET", value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Verb to run.
    #[command(subcommand)]
    pub verb: Verb,
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

/// Verb to run.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start the router on this host
    #[command(
        after_help = "The given peers replace the stored targets; without any, the stored targets are dialled.\n\
        A background router is restarted after a crash.\n\
        The environment variable MESH_PASSWORD may hold the password of the mesh.\n\n\
        Example:\n  mesh launch --key-file /etc/mesh/key host2 host3:6783"
    )]
    Launch(Box<LaunchArgs>),
    /// Add peers to the targets that the router dials
    #[command(
        after_help = "Example:\n  mesh connect host2 192.0.2.7:6783\n  mesh connect --replace host3"
    )]
    Connect(ConnectArgs),
    /// Stop dialling peers, discovered ones included, until `connect`; existing links stay
    #[command(after_help = "Example:\n  mesh forget host2")]
    Forget(PeerArgs),
    /// Run a container with addresses on the mesh and print its id
    #[command(after_help = containers::RUN_HELP)]
    Run(RunArgs),
    /// Start a stopped container and attach it
    #[command(
        override_usage = "mesh start [OPTIONS] [ADDRESS]... <CONTAINER>",
        after_help = "A container created by `mesh run` gets its addresses back by itself: none need to be given.\n\n\
        Example:\n  mesh start 10.2.1.5/24 web\n  mesh start net:default db"
    )]
    Start(ContainerArgs),
    /// Restart a container and attach it again (default: with its previous addresses)
    #[command(
        override_usage = "mesh restart [OPTIONS] [ADDRESS]... <CONTAINER>",
        after_help = "Example:\n  mesh restart web"
    )]
    Restart(ContainerArgs),
    /// Attach a running container to the mesh (default: with a free address) and print its addresses
    #[command(
        override_usage = "mesh attach [OPTIONS] [ADDRESS]... <CONTAINER>",
        after_help = "Example:\n  mesh attach web\n  mesh attach --json net:10.32.5.0/24 10.2.1.5/24 web\n  \
        mesh attach --net web 10.40.0.5 db"
    )]
    Attach(AttachArgs),
    /// Detach a container from the mesh (default: all its addresses) and print the addresses
    #[command(
        override_usage = "mesh detach [OPTIONS] [ADDRESS]... <CONTAINER>",
        after_help = "Example:\n  mesh detach web\n  mesh detach --json net:10.32.5.0/24 10.2.1.5/24 web\n  \
        mesh detach --net web db"
    )]
    Detach(DetachArgs),
    /// Give the host addresses on the mesh (default: a free one) and print them
    #[command(after_help = host::EXPOSE_HELP)]
    Expose(ExposeArgs),
    /// Remove the host's addresses on the mesh (default: all) and print them
    #[command(after_help = host::HIDE_HELP)]
    Hide(HideArgs),
    /// Attach another Linux bridge of this host to the mesh
    #[command(after_help = host::ATTACH_BRIDGE_HELP)]
    AttachBridge(AttachBridgeArgs),
    /// Detach a bridge from the mesh
    #[command(after_help = "Example:\n  mesh detach-bridge virbr0")]
    DetachBridge(BridgeArgs),
    /// Manage the networks of the mesh: create, ls, inspect, rm
    #[command(after_help = network::NETWORK_HELP)]
    Network(NetworkArgs),
    /// List attached containers: id, MAC address, addresses (with @NETWORK unless default); the host is mesh:expose
    #[command(after_help = "Example:\n  mesh ps\n  mesh ps web db\n  mesh ps mesh:expose")]
    Ps(PsArgs),
    /// Add a DNS name for a container or an address
    #[command(override_usage = "mesh dns-add [--net NETWORK] [ADDRESS]... [CONTAINER] [-h NAME]", after_help = dns::ADD_HELP)]
    DnsAdd(DnsChangeArgs),
    /// Remove DNS names of a container or an address
    #[command(override_usage = "mesh dns-remove [--net NETWORK] [ADDRESS]... [CONTAINER] [-h NAME]", after_help = dns::REMOVE_HELP)]
    DnsRemove(DnsChangeArgs),
    /// Print the addresses of a name, or the names of an address
    #[command(after_help = dns::LOOKUP_HELP)]
    DnsLookup(DnsLookupArgs),
    /// Print the `docker run` or `podman run` flags that make a container use this router for DNS
    #[command(after_help = dns::ARGS_HELP)]
    DnsArgs(DnsArgsArgs),
    /// Show the state of the router; details with targets, connections, peers, dns or ipam
    #[command(
        after_help = "Exit status: 0 when the router is ready, 1 otherwise.\n\n\
        Example:\n  mesh status\n  mesh status connections\n  mesh status connections --state retrying\n  \
        mesh status peers host7\n  mesh status peers --state unreachable\n  mesh status dns\n  mesh status ipam"
    )]
    Status(StatusArgs),
    /// Draw the mesh: routers, links, and the paths from this router
    #[command(
        after_help = "Red or dashed links are not established at both ends, and carry no frames.\n\n\
        Example:\n  mesh topology\n  mesh topology --svg > mesh.svg\n  mesh topology --dot | neato -Tpng > mesh.png"
    )]
    Topology(TopologyArgs),
    /// Initialise the address range (done implicitly by the first allocation)
    #[command(
        after_help = "For scripts that start several hosts and must wait until all agree before they allocate.\n\n\
        Example:\n  mesh prime --timeout 60"
    )]
    Prime(PrimeArgs),
    /// Reassign the address space of routers that are gone for good
    #[command(
        after_help = "A router that can be reached is not removed: `mesh reset` there hands its addresses over. One that is \
        only cut off must not be removed: it would keep allocating addresses that others allocate, too.\n\n\
        Example:\n  mesh rmpeer host3\n  mesh rmpeer --force host3"
    )]
    Rmpeer(RmpeerArgs),
    /// Print the full state of the router, as JSON or through a Go template
    #[command(after_help = REPORT_HELP)]
    Report(ReportArgs),
    /// Stop the router; containers on this host stay connected to each other
    #[command(after_help = "Example:\n  mesh stop")]
    Stop,
    /// Stop the router and remove everything that it created on this host
    #[command(after_help = "Example:\n  mesh reset -v")]
    Reset(ResetArgs),
    /// Generate a random key for `launch --key-file`
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
pub struct ConnectArgs {
    /// Replace the whole list of targets
    #[arg(long)]
    pub replace: bool,
    /// Host names or addresses, with a port if it is not 6783: host2, 192.0.2.7:6783, [2001:db8::7]:6783
    #[allow(
        rustdoc::broken_intra_doc_links,
        reason = "a text for --help, with an address in brackets"
    )]
    #[arg(required_unless_present = "replace", value_name = "PEER")]
    pub peers: Vec<String>,
}

/// `mesh forget`.
#[derive(Debug, Args)]
pub struct PeerArgs {
    /// Targets, as in `mesh status targets`
    #[arg(required = true, value_name = "PEER")]
    pub peers: Vec<String>,
}

/// `mesh prime`.
#[derive(Debug, Args)]
pub struct PrimeArgs {
    /// Timeout in seconds (default: 30)
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<f64>,
}

/// `mesh rmpeer`.
#[derive(Debug, Args)]
pub struct RmpeerArgs {
    /// Do not wait for 10 minutes of silence, nor for a majority of the routers
    #[arg(long)]
    pub force: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Names, nicknames or identities, as in `mesh status ipam`
    #[arg(required = true, value_name = "PEER")]
    pub peers: Vec<String>,
}

/// `mesh reset`.
#[derive(Debug, Args)]
pub struct ResetArgs {
    /// Kill the router if it does not stop
    #[arg(long)]
    pub force: bool,
    /// Print what is removed
    #[arg(short, long)]
    pub verbose: bool,
    /// Directory of keys, targets and other state (default: /var/lib/mesh)
    #[arg(long, env = "MESH_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Name of the bridge (default: the running router's, else mesh)
    #[arg(long)]
    pub bridge: Option<String>,
    /// Configuration file that `launch` was given
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `mesh keygen`.
#[derive(Debug, Args)]
pub struct KeygenArgs {
    /// File to create, never overwritten (default: standard output)
    pub file: Option<PathBuf>,
}

/// `mesh completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Shell to print the script for
    pub shell: CompletionShell,
}

/// Shells with a completion script.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum CompletionShell {
    /// GNU bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}
