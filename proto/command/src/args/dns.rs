//! Arguments of the verbs about names.

use clap::{ArgAction, Args};

use super::RuntimeArg;

/// `mesh dns-add`, `dns-remove`. `-h` is a name here, as with Docker.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct DnsChangeArgs {
    /// Name in the mesh, with or without the domain
    #[arg(short = 'h', long = "hostname", value_name = "NAME")]
    pub name: Option<String>,
    /// Network of the name; default: the network default
    #[arg(long, value_name = "NETWORK")]
    pub net: Option<String>,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    pub help: Option<bool>,
    /// Addresses, then a container on this host
    #[arg(value_name = "ADDRESS... CONTAINER")]
    pub rest: Vec<String>,
}

/// `mesh dns-lookup`.
#[derive(Debug, Args)]
pub struct DnsLookupArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Network of the name or address; default: the network default
    #[arg(long, value_name = "NETWORK")]
    pub net: Option<String>,
    /// Name, with or without the domain, or address
    pub name: String,
}

/// `mesh dns-args`.
#[derive(Debug, Args)]
pub struct DnsArgsArgs {
    /// Runtime of the container
    #[arg(long, value_enum, default_value = "docker")]
    pub runtime: RuntimeArg,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

pub(super) const ADD_HELP: &str = "\
Without addresses, the name resolves to the current addresses of the container. Without a container, it stays until it is \
removed. Names survive restarts of the router; names of a container end with it.

Example:
  mesh dns-add web -h shop
  mesh dns-add 10.2.1.7 10.2.1.8 -h printer.mesh.local
  mesh dns-add web              (restores its own name after dns-remove)";

pub(super) const REMOVE_HELP: &str = "\
Removes all names of a container, or only the one after -h; with addresses, only the names of these. A container's own \
name comes back with `mesh dns-add CONTAINER`, or when the container is created again.

Example:
  mesh dns-remove web -h shop
  mesh dns-remove 10.2.1.7 -h printer
  mesh dns-remove web";

pub(super) const LOOKUP_HELP: &str = "\
Asks the router of this host, which need not listen anywhere. Exit status: 1 when there is no such name.

Example:
  mesh dns-lookup web
  mesh dns-lookup 10.2.1.1";

pub(super) const ARGS_HELP: &str = "\
`mesh run` gives them by itself. Prints nothing if the router runs with --no-dns. With docker it is the address of its \
bridge; with podman one within the container's own network, where queries are answered once it is attached.

Example:
  podman run $(mesh dns-args --runtime podman) --name db -d postgres && mesh attach 10.2.1.2/24 db
  docker run $(mesh dns-args) --name web -d nginx && mesh attach 10.2.1.1/24 web
  mesh dns-args --json";
