//! Arguments of `mesh network`.

use clap::{Args, Subcommand};

/// `mesh network`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct NetworkArgs {
    /// Verb about networks.
    #[command(subcommand)]
    pub verb: NetworkVerb,
}

/// Verb about networks.
#[derive(Debug, Subcommand)]
pub enum NetworkVerb {
    /// Create a network on all hosts and print its id; one that exists as asked for is used
    #[command(after_help = CREATE_HELP)]
    Create(NetworkCreateArgs),
    /// List networks
    #[command(visible_alias = "list", after_help = "Example:\n  mesh network ls")]
    Ls(NetworkLsArgs),
    /// Show networks in detail
    #[command(
        after_help = "Example:\n  mesh network inspect web\n  mesh network inspect --json web 3f2a"
    )]
    Inspect(NetworkInspectArgs),
    /// Remove networks from all hosts and print their names
    #[command(visible_alias = "remove", after_help = RM_HELP)]
    Rm(NetworkRmArgs),
}

/// `mesh network create`.
#[derive(Debug, Args)]
pub struct NetworkCreateArgs {
    /// Subnet, like 10.40.0.0/16; several are possible (default: a free one)
    #[arg(long = "subnet", value_name = "CIDR")]
    pub subnets: Vec<String>,
    /// Address of the default gateway of the containers, in one of the subnets (default: none)
    #[arg(long = "gateway", value_name = "ADDRESS")]
    pub gateways: Vec<String>,
    /// Allocate addresses of this part of a subnet only
    #[arg(long = "ip-range", value_name = "CIDR")]
    pub ip_ranges: Vec<String>,
    /// Do not connect the network to any other one
    #[arg(long)]
    pub internal: bool,
    /// MTU of the containers (default: that of the mesh)
    #[arg(long, value_name = "BYTES")]
    pub mtu: Option<u32>,
    /// Label of the network
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Name of the network
    pub name: String,
}

/// `mesh network ls`.
#[derive(Debug, Args)]
pub struct NetworkLsArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `mesh network inspect`.
#[derive(Debug, Args)]
pub struct NetworkInspectArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Names, ids, or at least four digits with which only one id begins
    #[arg(required = true, value_name = "NETWORK")]
    pub networks: Vec<String>,
}

/// `mesh network rm`.
#[derive(Debug, Args)]
pub struct NetworkRmArgs {
    /// Remove networks that have containers, too: these are detached
    #[arg(short, long)]
    pub force: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Names, ids, or at least four digits with which only one id begins
    #[arg(required = true, value_name = "NETWORK")]
    pub networks: Vec<String>,
}

pub(super) const NETWORK_HELP: &str = "\
Networks are separate: containers of one do not see those of another, and their subnets may overlap. Containers are in the \
network 'default' unless you name another one. A network is known on all hosts within a second.

Example:
  mesh network create web --subnet 10.40.0.0/16
  mesh network ls
  mesh network rm web";

const CREATE_HELP: &str = "\
The same command on a second host finds the network, and needs no options there. Options that contradict the network that \
exists are refused.

Example:
  mesh network create web
  mesh network create --subnet 10.40.0.0/16 --gateway 10.40.0.1 --ip-range 10.40.5.0/24 web
  mesh network create --internal --subnet 10.41.0.0/24 --subnet fd00:41::/64 db";

const RM_HELP: &str = "\
A network that has containers on any host is not removed without --force.

Example:
  mesh network rm web
  mesh network rm --force web 3f2a";
