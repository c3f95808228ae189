//! Verbs about containers: run, start, restart, attach, detach.

use clap::{ArgAction, Args, ValueEnum};
use mesh_proto::api::Runtime;

pub(super) const RUN_HELP: &str = "\
Flags of mesh stand anywhere before the image; all others, like -h for the host name, go to the engine as they are, and \
so do --runtime with any other value (an OCI runtime) and a --timeout behind the addresses (podman's).
The container always runs in the background.

With docker the mesh comes beside docker's own network: the container reaches the Internet, and -p works. --network X \
takes another network of docker instead of the default one, --network none leaves the mesh only.
With podman the container is on the mesh only; -p and the Internet want `podman run` and then `mesh attach`.

Containers ask the router for names: with podman and --runtime process at 127.0.0.12, within their own network. Not with \
--without-dns, which is also for a container that serves DNS on port 53 of all its addresses. A process has an \
/etc/resolv.conf of its own for that, in a mount namespace of its own; with docker and podman, --dns of yours counts.

Without an address the container gets a free one of the default subnet (net:default), and keeps it until it is removed: \
the lowest of this host's part of it, never x.x.x.0 or x.x.x.255. net:10.32.5.0/24 gives one of that subnet; several \
addresses, of each kind, make several interfaces.

Example:
  mesh run --name web -p 80:80 nginx
  mesh run net:10.32.5.0/24 nginx
  mesh run 10.2.1.1/24 --name db postgres
  mesh run 10.2.1.2/24 10.3.1.2/24 -ti ubuntu
  mesh run --json net:default -d nginx
  mesh run --runtime process 10.2.1.3/24 -- ping 10.2.1.1

With --runtime process: [-d] [--name NAME] [--] COMMAND [ARGUMENT]...; -d leaves it in the background without output.
--json wants -d there: without it standard output is the command's.";

/// `mesh run`. `-h` is a host name here, as it is with the engines.
#[derive(Debug, Args)]
#[command(
    override_usage = "mesh run [OPTIONS] [ADDRESS]... [ENGINE FLAGS] IMAGE [COMMAND]...",
    disable_help_flag = true
)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) engine: EngineArg,
    #[command(flatten)]
    pub(crate) interfaces: InterfaceArgs,
    /// Do not tell the container to ask the router for names, and leave its port 53 alone
    #[arg(long)]
    pub(crate) without_dns: bool,
    /// Leave the container's /etc/hosts alone (Docker): there its name leads to its address in the mesh first
    #[arg(long)]
    pub(crate) no_rewrite_hosts: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print help (-h is the engine's: the host name)
    #[arg(long, action = ArgAction::Help)]
    pub(crate) help: Option<bool>,
    /// Addresses, then what the engine is to run
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ADDRESS... IMAGE"
    )]
    pub(crate) rest: Vec<String>,
}

/// Which engine.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct EngineArg {
    /// What runs the container (default: docker if its daemon answers, else podman)
    #[arg(long, value_enum)]
    pub(crate) runtime: Option<RuntimeArg>,
}

/// How the container's interfaces are made.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct InterfaceArgs {
    /// Do not route 224.0.0.0/4 to the mesh
    #[arg(long)]
    pub(crate) no_multicast_route: bool,
    #[command(flatten)]
    pub(crate) allocation: AllocationArgs,
}

/// How an address that is not given is found.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct AllocationArgs {
    /// Seconds that the allocation of an address may take (default: 30)
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<f64>,
}

/// What runs the container, as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RuntimeArg {
    /// Docker Engine
    Docker,
    /// podman
    Podman,
    /// No engine: a command in a network namespace of its own
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
pub(crate) struct AttachArgs {
    #[command(flatten)]
    pub(crate) container: ContainerArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `mesh start`, `restart`, and most of `attach`.
#[derive(Debug, Args)]
pub(crate) struct ContainerArgs {
    #[command(flatten)]
    pub(crate) engine: EngineArg,
    #[command(flatten)]
    pub(crate) interfaces: InterfaceArgs,
    /// Do not answer DNS queries within the container (podman), which then has its port 53 for itself
    #[arg(long)]
    pub(crate) without_dns: bool,
    /// Leave the container's /etc/hosts alone (Docker): there its name leads to its address in the mesh first
    #[arg(long)]
    pub(crate) no_rewrite_hosts: bool,
    /// Put a name into the container's /etc/hosts (Docker), like db:10.2.1.7; may be given several times
    #[arg(long, value_name = "NAME:ADDRESS", conflicts_with = "no_rewrite_hosts")]
    pub(crate) add_host: Vec<String>,
    /// Addresses, then the container
    #[arg(required = true, value_name = "ADDRESS... CONTAINER")]
    pub(crate) rest: Vec<String>,
}

/// `mesh detach`.
#[derive(Debug, Args)]
pub(crate) struct DetachArgs {
    #[command(flatten)]
    pub(crate) engine: EngineArg,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Addresses, then the container
    #[arg(required = true, value_name = "ADDRESS... CONTAINER")]
    pub(crate) rest: Vec<String>,
}
