//! Arguments of the verbs about containers: run, start, restart, attach, detach.

use clap::{ArgAction, Args, ValueEnum};
use mesh_proto::api::Runtime;

pub(super) const RUN_HELP: &str = "\
Flags of mesh may stand anywhere before the image. All other flags, -h (host name) among them, are passed to the engine \
unchanged; so are a --runtime with another value (an OCI runtime) and a --timeout after the addresses (podman's).
The container always runs in the background.

With docker, the container is on the mesh and on docker's default network: it has Internet access, and -p works. \
--network X replaces the default network; with --network none it is on the mesh only.
With podman, the container is on the mesh only; for -p and Internet access, use `podman run` and then `mesh attach`.

Containers use the router for DNS; with podman and --runtime process it listens on 127.0.0.12 in their network \
namespace. --without-dns turns this off, for example for a container that serves DNS on port 53 of all its addresses. \
A process gets its own /etc/resolv.conf, in a private mount namespace. With docker and podman, your --dns takes precedence.

--net NAME puts the container on the network NAME of the mesh (`mesh network ls`), in place of the network default, with a \
free address of its subnets or those that are given, with or without the prefix length. Before the first address and the first engine flag, --net is \
mesh's, except --net host, none, bridge, private, slirp4netns, pasta, and values with ':', '=' or ','; those, each --net after \
that, and --network anywhere are the engine's, as ever.

Without an address the container gets a free one of the default subnet (net:default): the lowest free address of this \
host's share, never x.x.x.0 or x.x.x.255. It keeps the address until it is removed. net:10.32.5.0/24 allocates from that \
subnet. Several addresses, of either kind, create several interfaces.

Example:
  mesh run --name web -p 80:80 nginx
  mesh run net:10.32.5.0/24 nginx
  mesh run 10.2.1.1/24 --name db postgres
  mesh run 10.2.1.2/24 10.3.1.2/24 -ti ubuntu
  mesh run --net web --name app nginx
  mesh run --json net:default -d nginx
  mesh run --runtime process 10.2.1.3/24 -- ping 10.2.1.1

With --runtime process: [-d] [--name NAME] [--] COMMAND [ARGUMENT]...; -d runs it in the background without output.
--json then requires -d, because standard output is the command's otherwise.";

/// `mesh run`. `-h` is the host name here, as with the engines.
#[derive(Debug, Args)]
#[command(
    override_usage = "mesh run [OPTIONS] [ADDRESS]... [ENGINE FLAGS] IMAGE [COMMAND]...",
    disable_help_flag = true
)]
pub struct RunArgs {
    /// Engine.
    #[command(flatten)]
    pub engine: EngineArg,
    /// Network.
    #[command(flatten)]
    pub network: NetArg,
    /// Interfaces.
    #[command(flatten)]
    pub interfaces: InterfaceArgs,
    /// Do not set up DNS for the container, and do not listen on its port 53
    #[arg(long)]
    pub without_dns: bool,
    /// Do not put the mesh address of the container first in its /etc/hosts (Docker)
    #[arg(long)]
    pub no_rewrite_hosts: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Print help (-h is the engine's flag for the host name)
    #[arg(long, action = ArgAction::Help)]
    pub help: Option<bool>,
    /// Addresses, then the engine's flags, the image and its command
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ADDRESS... IMAGE"
    )]
    pub rest: Vec<String>,
}

/// Choice of the engine.
#[derive(Clone, Copy, Debug, Args)]
pub struct EngineArg {
    /// Engine that runs the container (default: docker if its daemon answers, else podman)
    #[arg(long, value_enum)]
    pub runtime: Option<RuntimeArg>,
}

/// Choice of the network.
#[derive(Clone, Debug, Default, Args)]
pub struct NetArg {
    /// Network of the mesh, by name or id, as in `mesh network ls` (default: the network default)
    #[arg(long, value_name = "NAME")]
    pub net: Option<String>,
}

impl NetArg {
    /// Returns the network as requests name it: empty unless one was given.
    pub fn name(&self) -> &str {
        self.net.as_deref().unwrap_or_default()
    }

    /// Returns whether addresses may come without prefix lengths: the network has them.
    pub fn knows_prefixes(&self) -> bool {
        !matches!(self.name(), "" | "default")
    }
}

/// Options of the container's interfaces.
#[derive(Clone, Copy, Debug, Args)]
pub struct InterfaceArgs {
    /// Do not route 224.0.0.0/4 to the mesh
    #[arg(long)]
    pub no_multicast_route: bool,
    /// Allocation.
    #[command(flatten)]
    pub allocation: AllocationArgs,
}

/// Options of address allocation.
#[derive(Clone, Copy, Debug, Args)]
pub struct AllocationArgs {
    /// Timeout of the address allocation in seconds (default: 30)
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<f64>,
}

/// Runtime of the container, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RuntimeArg {
    /// Docker Engine
    Docker,
    /// Podman
    Podman,
    /// No engine: runs a command in its own network namespace
    Process,
}

impl From<RuntimeArg> for Runtime {
    fn from(arg: RuntimeArg) -> Self {
        match arg {
            RuntimeArg::Docker => Self::Docker,
            RuntimeArg::Podman => Self::Podman,
            RuntimeArg::Process => Self::Process,
        }
    }
}

/// `mesh attach`.
#[derive(Debug, Args)]
pub struct AttachArgs {
    /// Container and its addresses.
    #[command(flatten)]
    pub container: ContainerArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `mesh start`, `restart`, and most options of `attach`.
#[derive(Debug, Args)]
pub struct ContainerArgs {
    /// Engine.
    #[command(flatten)]
    pub engine: EngineArg,
    /// Network.
    #[command(flatten)]
    pub network: NetArg,
    /// Interfaces.
    #[command(flatten)]
    pub interfaces: InterfaceArgs,
    /// Do not answer DNS queries in the container's network namespace (podman); its port 53 stays free
    #[arg(long)]
    pub without_dns: bool,
    /// Do not put the mesh address of the container first in its /etc/hosts (Docker)
    #[arg(long)]
    pub no_rewrite_hosts: bool,
    /// Add an entry to the container's /etc/hosts (Docker), like db:10.2.1.7; may be repeated
    #[arg(long, value_name = "NAME:ADDRESS", conflicts_with = "no_rewrite_hosts")]
    pub add_host: Vec<String>,
    /// Addresses, then the container
    #[arg(required = true, value_name = "ADDRESS... CONTAINER")]
    pub rest: Vec<String>,
}

/// `mesh detach`.
#[derive(Debug, Args)]
pub struct DetachArgs {
    /// Engine.
    #[command(flatten)]
    pub engine: EngineArg,
    /// Network of the mesh (default: addresses are those of the network default; without any, all networks)
    #[arg(long, value_name = "NAME")]
    pub net: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Addresses, then the container
    #[arg(required = true, value_name = "ADDRESS... CONTAINER")]
    pub rest: Vec<String>,
}
