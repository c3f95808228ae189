//! Arguments of the verbs that connect the host itself to the mesh.

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgAction, Args};

use super::containers::{AllocationArgs, NetArg};

/// `mesh expose`. `-h` is a name here, as with Docker.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct ExposeArgs {
    /// Name in the mesh for these addresses, with or without the domain
    #[arg(short = 'h', long = "hostname", value_name = "NAME")]
    pub name: Option<String>,
    /// Do not masquerade (NAT) traffic between the mesh and the host's other networks
    #[arg(long)]
    pub without_masquerade: bool,
    /// Also forward between subnets of the mesh, and from and to other bridges of this host
    #[arg(long)]
    pub forward: bool,
    /// Network.
    #[command(flatten)]
    pub network: NetArg,
    /// Allocation.
    #[command(flatten)]
    pub allocation: AllocationArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    pub help: Option<bool>,
    /// Addresses (default: a free one of the default subnet)
    #[arg(value_name = "ADDRESS")]
    pub addresses: Vec<String>,
}

/// `mesh hide`.
#[derive(Debug, Args)]
pub struct HideArgs {
    /// Network of the mesh (default: addresses are those of the network default; without any, all networks)
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub net: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Addresses (default: all)
    #[arg(value_name = "ADDRESS")]
    pub addresses: Vec<String>,
}

/// `mesh attach-bridge`.
#[derive(Debug, Args)]
pub struct AttachBridgeArgs {
    /// Network.
    #[command(flatten)]
    pub network: NetArg,
    /// Bridge on this host, as in `ip link`
    pub bridge: String,
}

/// `mesh detach-bridge`.
#[derive(Debug, Args)]
pub struct BridgeArgs {
    /// Bridge on this host, as in `ip link`
    pub bridge: String,
}

pub(super) const ATTACH_BRIDGE_HELP: &str = "\
All ports of that bridge (containers, virtual machines, network cards) join the mesh as if plugged into the same switch, \
and receive its broadcasts. Their addresses are not managed by mesh and must be unique in the mesh, so do not attach \
bridges that have the same addresses on several hosts, like docker0. A bridge that already leads to the mesh, through \
this host or another, is refused, and so is one that is on another network of the mesh. The attachment survives restarts, and is restored when a deleted bridge comes back.

Example:
  mesh attach-bridge virbr0
  mesh attach-bridge lxdbr0
  mesh attach-bridge --net web br-web";

pub(super) const EXPOSE_HELP: &str = "\
Processes on the host and containers can then reach each other, and the host forwards packets between the mesh and its \
other networks, with masquerading (source NAT) in both directions: packets from outside reach containers with the host's \
mesh address as source, packets from containers leave with the host's address on the other network. With \
--without-masquerade, sources are kept, and the other side needs a route back through this host.

Subnets of the mesh stay isolated: the host does not forward from one to another. Nor does it forward between the mesh \
and containers on other bridges of this host (docker0, podman, libvirt, LXC), except to ports that they publish. \
--forward allows both.

--net NAME exposes the host in that network of the mesh, with an address of it. In an internal network nothing is forwarded: \
add --without-masquerade.

An address that the host already has is printed again. Addresses stay until `mesh hide`, across restarts and reboots.

Example:
  mesh expose
  mesh expose 10.2.1.254/24 -h gateway
  mesh expose --without-masquerade net:10.32.5.0/24
  mesh expose --forward 10.2.1.254/24
  mesh expose --net web 10.40.0.254
  On another machine of the network:  ip route add 10.32.0.0/12 via THIS-HOST
  In a container:                     ip route add default via 10.2.1.254";

pub(super) const HIDE_HELP: &str = "\
Names set with `expose -h` are removed with their addresses. An address that the host does not have is no error.

Example:
  mesh hide
  mesh hide 10.2.1.254/24 net:10.32.5.0/24";
