//! Mistakes on a command line.

use std::net::IpAddr;

use mesh_options::OptionsError;
use mesh_proto::address::AddressError;

/// Mistake on a command line that the parser does not find. The message says how to correct it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// An address that is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// An address where the image or the command is expected.
    #[error("'{0}' is an address, and addresses come first, before the engine's flags")]
    ImageIsAddress(String),
    /// Nothing after the addresses.
    #[error("no container: give its name or id after the addresses")]
    NoContainer,
    /// Several words after the addresses. Carries the first.
    #[error(
        "'{0}' is not an address, and only the last argument is a container; write addresses like 10.2.1.1/24"
    )]
    NotAnAddress(String),
    /// No image after the engine's flags.
    #[error("no image: give it after the addresses and the engine's flags; see `mesh run --help`")]
    NoImage,
    /// No command for a process.
    #[error("no command: give it after the addresses, like -- ping 10.2.1.1")]
    NoCommand,
    /// A flag of an engine, where there is none.
    #[error("'{0}' is not an option of --runtime process; write the command after --")]
    NotOfProcess(String),
    /// JSON beside the output of a command.
    #[error("--json wants -d here: without it standard output is the command's")]
    JsonWantsDetach,
    /// A Docker container in a network namespace that is not its own.
    #[error(
        "a container with --network {0} has no network of its own that could be put on the mesh"
    )]
    SharedNetwork(String),
    /// podman's flag, for Docker.
    #[error("docker has no {0}; the --timeout of mesh comes before the first address")]
    NoTimeout(String),
    /// A flag about Docker's own network, beside `--network none`.
    #[error(
        "with --network none the container is on the mesh only, so {0} cannot work; leave one of them out"
    )]
    NeedsNetwork(String),
    /// A network beside the mesh, for a podman container.
    #[error(
        "with podman, a container of `mesh run` is on the mesh only; to have another network as well, run it with podman and then `mesh attach` it"
    )]
    OtherNetwork,
    /// A flag about another network of a podman container.
    #[error(
        "with podman, a container of `mesh run` is on the mesh only, so {flag} cannot work; {instead}"
    )]
    OnMeshOnly {
        /// Flag as typed.
        flag: String,
        /// Remedy.
        instead: &'static str,
    },
    /// An address of a name after the container.
    #[error("{ip} comes after the container '{container}'; addresses come first")]
    AddressAfterContainer {
        /// Address.
        ip: IpAddr,
        /// Container before it.
        container: String,
    },
    /// An address of a name with a prefix length.
    #[error("'{0}' is not an address of a name; write it without the prefix length")]
    PrefixLength(String),
    /// Two containers for one name.
    #[error("'{0}' and '{1}' are two containers; give one, after the addresses")]
    TwoContainers(String, String),
    /// Neither a container nor a name.
    #[error("neither a container nor a name: give one of them, like `web` or `-h web`")]
    NothingNamed,
    /// Flags about DNS for a process.
    #[error(
        "a process is given no flags: `mesh run --runtime process` gives it an /etc/resolv.conf"
    )]
    NoFlagsForProcess,
    /// A router that no container can ask.
    #[error(
        "the router answers on no address that a container could ask; `mesh status dns` says why"
    )]
    NoServer,
    /// A flag of Weave Net that must not be ignored.
    #[error("--{name}: {why}")]
    RefusedFlag {
        /// Name of the flag.
        name: &'static str,
        /// Remedy.
        why: &'static str,
    },
    /// A path that is not UTF-8.
    #[error("'{0}' is not valid UTF-8; use another path")]
    NotUtf8(String),
    /// Options that cannot be handed on.
    #[error(transparent)]
    Options(#[from] OptionsError),
}
