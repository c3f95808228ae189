//! Verbs about the host's own part in the mesh.

use clap::{ArgAction, Args};

use super::containers::AllocationArgs;

/// `mesh expose`. `-h` is a name here, as it is with Docker.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct ExposeArgs {
    /// Name in the mesh that leads to these addresses, with or without its domain
    #[arg(short = 'h', long = "hostname", value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Do not translate addresses between the mesh and what is behind the host
    #[arg(long)]
    pub(crate) without_masquerade: bool,
    /// Forward also from and to other subnets of the mesh, and containers on other bridges of this host
    #[arg(long)]
    pub(crate) forward: bool,
    #[command(flatten)]
    pub(crate) allocation: AllocationArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    pub(crate) help: Option<bool>,
    /// Addresses (default: a free one of the default subnet)
    #[arg(value_name = "ADDRESS")]
    pub(crate) addresses: Vec<String>,
}

/// `mesh hide`.
#[derive(Debug, Args)]
pub(crate) struct HideArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Addresses (default: all)
    #[arg(value_name = "ADDRESS")]
    pub(crate) addresses: Vec<String>,
}

/// `mesh attach-bridge`, `mesh detach-bridge`.
#[derive(Debug, Args)]
pub(crate) struct BridgeArgs {
    /// A bridge of this host, as `ip link` shows it
    pub(crate) bridge: String,
}

pub(super) const ATTACH_BRIDGE_HELP: &str = "\
What is on that bridge (containers, virtual machines, network cards) is on the mesh as if it were plugged into the same \
switch, and gets its broadcasts. Addresses on it are the operator's: they must differ from all others of the mesh, so do \
not attach the bridges of several hosts that all have the same addresses on them, like docker0. A bridge that leads to the \
mesh already, by this host or another, is refused. It is kept over restarts, and joined again when it was away.

Example:
  mesh attach-bridge virbr0
  mesh attach-bridge lxdbr0";

pub(super) const EXPOSE_HELP: &str = "\
Processes of the host then reach containers and are reached by them, and the host forwards packets between the mesh and \
its other networks. Addresses are translated on the way: what comes from outside reaches containers with the host's \
address on the mesh, what containers send elsewhere leaves with the host's address there. With --without-masquerade \
addresses stay as they are, and the other side needs a route back through this host.

Subnets of the mesh stay apart: the host does not forward from one to another. Nor do containers on other bridges of this
host (docker0, podman, libvirt, LXC) get into the mesh through it, or containers of the mesh to them but for the ports
that they publish. With --forward, it forwards these, too.

An address that the host has already is printed again. It is kept until `mesh hide`, over restarts and reboots.

Example:
  mesh expose
  mesh expose 10.2.1.254/24 -h gateway
  mesh expose --without-masquerade net:10.32.5.0/24
  mesh expose --forward 10.2.1.254/24
  On another machine of the network:  ip route add 10.32.0.0/12 via THIS-HOST
  In a container:                     ip route add default via 10.2.1.254";

pub(super) const HIDE_HELP: &str = "\
Names given with `expose -h` go with their addresses. An address that the host does not have is no error.

Example:
  mesh hide
  mesh hide 10.2.1.254/24 net:10.32.5.0/24";
