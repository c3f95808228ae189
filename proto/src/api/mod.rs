//! API between the `mesh` command and the router: JSON over HTTP/1.1 on the router's unix socket.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `GET /report` | – | [`Report`] |
//! | `POST /connect` | [`ConnectRequest`] | [`Done`] |
//! | `POST /forget` | [`ForgetRequest`] | [`ForgetReply`] |
//! | `GET /notices` | – | `Vec<String>`: notices about the host, one line each |
//! | `POST /prepare` | [`PrepareRequest`] | [`Prepared`] |
//! | `POST /abandon` | [`AbandonRequest`] | [`Done`] |
//! | `POST /adopt` | [`AdoptRequest`] | [`Done`] |
//! | `POST /arrived` | [`ArrivedRequest`] | [`Done`]: the container has its addresses |
//! | `POST /mend` | – | [`Done`]: the networks that Docker's containers need exist |
//! | `POST /attach` | [`AttachRequest`] | [`ContainerAddresses`] |
//! | `POST /detach` | [`DetachRequest`] | [`ContainerAddresses`] |
//! | `GET /ps` | – | [`Vec<AttachedContainer>`] |
//! | `POST /expose` | [`ExposeRequest`] | [`Exposed`] |
//! | `POST /hide` | [`HideRequest`] | [`Hidden`] |
//! | `POST /attach-bridge` | [`BridgeRequest`] | [`Done`] |
//! | `POST /detach-bridge` | [`BridgeRequest`] | [`Done`] |
//! | `GET /dns` | – | [`DnsReport`] |
//! | `GET /dns/client` | – | [`DnsClient`] |
//! | `POST /dns/expect` | [`DnsQuestion`]: full id of a Docker container about to be started | [`Done`] |
//! | `POST /dns/settle` | [`DnsQuestion`]: full id of a Docker container | [`Done`]: its DNS works, or 3 s passed |
//! | `POST /dns/lookup` | [`DnsQuestion`] | [`Addresses`] |
//! | `POST /dns/add` | [`DnsChange`] | [`Done`] |
//! | `POST /dns/remove` | [`DnsChange`] | [`Done`] |
//! | `GET /waiting` | – | [`WaitingReport`] |
//! | `POST /stop` | – | [`Done`] |
//! | `/ipam…` | | see [`ipam`] |
//! | `GET /networks` | – | `Vec<`[`NetworkReport`]`>`: all, `default` first |
//! | `GET /networks/NAME` | – | [`NetworkReport`]; `NAME` is percent-encoded, and may be an id or the start of one |
//! | `POST /networks/create` | [`CreateNetworkRequest`] | [`NetworkCreated`], once it is stored |
//! | `POST /networks/remove` | [`RemoveNetworkRequest`] | [`NetworkRemoved`], once it is stored |
//!
//! An error is an HTTP status of 4xx (caused by the caller) or 5xx with an [`ErrorBody`]. Field names are in
//! PascalCase as in Weave's report, so that `mesh report -f '{{.Router.Name}}'` works as it did there.

mod dns;
mod host;
pub mod ipam;
mod networks;
mod router;
mod waiting;

use std::net::SocketAddr;

pub use dns::{DnsChange, DnsClient, DnsEntry, DnsQuestion, DnsReport, DnsSummary};
pub use host::{
    BridgeReport, BridgeRequest, EXPOSE, ExposeRequest, Exposed, ExposedAddress, Hidden,
    HideRequest, HostReport,
};
pub use networks::{
    CreateNetworkRequest, NetworkCreated, NetworkHost, NetworkRemoved, NetworkReport,
    NetworkSubnetReport, NetworksSummary, RemoveNetworkRequest,
};
pub use router::{ControlReport, DatapathReport};
pub use waiting::{EngineWaiting, WaitingReport};

use serde::{Deserialize, Serialize};

/// Answer without content.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Done {}

/// Error: what happened, to what, and what to do next; one line, ready to print.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ErrorBody {
    /// Error message.
    pub error: String,
}

/// Body of `mesh connect`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ConnectRequest {
    /// Targets as typed: `host`, `host:port`, `[v6]:port`.
    pub peers: Vec<String>,
    /// True to replace the whole list of targets.
    #[serde(default)]
    pub replace: bool,
}

/// Body of `mesh forget`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ForgetRequest {
    /// Targets as typed, or names of peers whose pinned key is to be removed.
    pub peers: Vec<String>,
}

/// Result of `mesh forget`. Arguments in neither list are simply no longer dialled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ForgetReply {
    /// Arguments with a link, which stays until it ends.
    pub linked: Vec<String>,
    /// Arguments that match neither a target nor a router.
    pub unknown: Vec<String>,
}

/// Runtime of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// Docker Engine; the router is a libnetwork driver.
    Docker,
    /// podman; the router creates the network namespace, and podman joins it.
    Podman,
    /// No engine: a command in a network namespace of its own.
    Process,
    /// The host itself, with addresses from `mesh expose`.
    Host,
}

/// Body of `mesh run`, before the container exists.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PrepareRequest {
    /// Runtime of the container.
    pub runtime: Runtime,
    /// Address arguments as typed.
    pub addresses: Vec<String>,
    /// True to give each interface a route for 224.0.0.0/4.
    pub multicast_route: bool,
    /// Process id of the caller; a prepared namespace that is not adopted is removed when that process ends.
    pub caller_pid: u32,
    /// Name of the container, if it has one.
    #[serde(default)]
    pub name: String,
    /// True if no queries are to be answered within its namespace.
    #[serde(default)]
    pub without_dns: bool,
    /// Time limit for the allocation of addresses, in seconds; the router's default if absent.
    #[serde(default)]
    pub timeout: Option<f64>,
    /// Network, by name or id; empty for `default`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub network: String,
}

/// Answer to [`PrepareRequest`], which `mesh run` passes on to the engine.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Prepared {
    /// Handle for `adopt` and `abandon`.
    pub id: String,
    /// Docker: value of `--network` for each interface (`name=mesh,driver-opt=…`), in order.
    #[serde(default)]
    pub networks: Vec<String>,
    /// podman and process: path of a network namespace in which the interfaces are up.
    #[serde(default)]
    pub netns: Option<String>,
    /// Addresses without prefix lengths.
    pub addresses: Vec<String>,
    /// DNS settings of the container.
    #[serde(default)]
    pub dns: DnsClient,
}

/// Body of `abandon`: the container did not start, so the result of `prepare` is to be removed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AbandonRequest {
    /// Handle from [`Prepared`].
    pub id: String,
}

/// Request to check that the addresses of a started container are in place.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ArrivedRequest {
    /// Engine of the container; `None`: any that has it.
    #[serde(default)]
    pub runtime: Option<Runtime>,
    /// Name or id of the container.
    pub container: String,
    /// Addresses from [`Prepared`], without prefix lengths.
    pub addresses: Vec<String>,
}

/// Body of `adopt`: the container exists, and its namespace is to live as long as it does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AdoptRequest {
    /// Handle from [`Prepared`].
    pub id: String,
    /// podman: full container id.
    #[serde(default)]
    pub container: Option<String>,
    /// Process: pid of the command.
    #[serde(default)]
    pub pid: Option<u32>,
    /// Name shown by `ps`: that of the container or the command.
    #[serde(default)]
    pub name: String,
}

/// Body of `mesh attach`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AttachRequest {
    /// Name, short id or full id of the container.
    pub container: String,
    /// Address arguments as typed.
    pub addresses: Vec<String>,
    /// Engine of the container; detected if absent.
    #[serde(default)]
    pub runtime: Option<Runtime>,
    /// True to give each interface a route for 224.0.0.0/4.
    pub multicast_route: bool,
    /// Process id of the caller.
    #[serde(default)]
    pub caller_pid: u32,
    /// True if no queries are to be answered within its namespace.
    #[serde(default)]
    pub without_dns: bool,
    /// Time limit for the allocation of addresses, in seconds; the router's default if absent.
    #[serde(default)]
    pub timeout: Option<f64>,
    /// True to leave its `/etc/hosts` unchanged.
    #[serde(default)]
    pub no_rewrite_hosts: bool,
    /// Names for its `/etc/hosts`, each with an address, like `db:10.2.1.7`.
    #[serde(default)]
    pub add_host: Vec<String>,
    /// Network, by name or id; empty for `default`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub network: String,
}

/// Body of `mesh detach`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DetachRequest {
    /// Name, short id or full id of the container.
    pub container: String,
    /// Address arguments as typed; empty: all.
    pub addresses: Vec<String>,
    /// Engine of the container; detected if absent.
    #[serde(default)]
    pub runtime: Option<Runtime>,
    /// Network, by name or id; empty: addresses are those of `default`, and without any all networks are meant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub network: String,
}

/// Addresses of a container, as printed by `run`, `attach` and `detach` with `--json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerAddresses {
    /// Full container id; for a process the id assigned by `run`. Empty in answers of earlier versions.
    #[serde(default)]
    pub container: String,
    /// Container name or command. Empty in answers of earlier versions.
    #[serde(default)]
    pub name: String,
    /// Addresses without prefix lengths, in the order of the request.
    pub addresses: Vec<String>,
}

/// Result of a lookup: the addresses of a name without prefix lengths, or the names of an address.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Addresses {
    /// Lines printed by `dns-lookup`.
    pub addresses: Vec<String>,
}

/// Line of `mesh ps`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AttachedContainer {
    /// Full container id; for a process the id assigned by `run`.
    pub container: String,
    /// Container name or command.
    pub name: String,
    /// Runtime of the container.
    pub runtime: Runtime,
    /// Interfaces in the mesh.
    pub interfaces: Vec<AttachedInterface>,
    /// Events of late, one line each: networks that it was detached from because they were removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Interface of an attached container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AttachedInterface {
    /// Name of the interface: `mesh0`, `mesh1`, …
    pub name: String,
    /// MAC address.
    pub mac: String,
    /// Address with prefix length.
    pub address: String,
    /// Name of the network; empty for `default`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub network: String,
}

/// Full state of a router, as printed by `mesh report`. `status` and its sub-commands are views of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Report {
    /// True if the router forwards frames.
    pub ready: bool,
    /// Version of the router.
    pub version: String,
    /// State of the router.
    pub router: RouterReport,
    /// Containers of this host in the mesh.
    pub attachments: Vec<AttachedContainer>,
    /// Allocation of addresses; absent in reports of earlier versions.
    #[serde(default, rename = "IPAM", skip_serializing_if = "Option::is_none")]
    pub ipam: Option<ipam::IpamReport>,
    /// State of DNS; absent in reports of earlier versions.
    #[serde(default, rename = "DNS", skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsSummary>,
    /// Networks besides `default`; absent if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<NetworksSummary>,
    /// State of the host in the mesh; absent in reports of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostReport>,
}

/// State of the router, in the report.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RouterReport {
    /// Always `mesh`.
    pub protocol: String,
    /// Oldest supported protocol version.
    pub protocol_min_version: u8,
    /// Newest supported protocol version.
    pub protocol_max_version: u8,
    /// Name in the form of a MAC address.
    pub name: String,
    /// Nickname.
    pub nick_name: String,
    /// Id of the router.
    pub id: String,
    /// Boot epoch.
    pub epoch: u64,
    /// Protection of the mesh: `key file`, `password`, or `none (anyone who can reach this router may join)`.
    pub secret: String,
    /// True if all traffic is encrypted, whatever peers offer.
    pub encryption: bool,
    /// Peers with which plain VXLAN is permitted; empty if there are none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub plain: String,
    /// State of the kernel fast path: `off`, or a description.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fast_path: String,
    /// True if peers learnt by gossip are dialled.
    pub peer_discovery: bool,
    /// TCP and UDP port.
    pub port: u16,
    /// Listening address; `::` for all.
    pub host: String,
    /// Name of the bridge.
    pub bridge: String,
    /// Datapath by which frames enter and leave, such as `tap` or `pcap`.
    pub datapath: String,
    /// Reason for this datapath.
    pub datapath_reason: String,
    /// Latency mode, `auto`, `on` or `off`, and the present state: if on, processors are kept from deep sleep.
    #[serde(default)]
    pub latency: String,
    /// MTU inside the mesh.
    pub mtu: u16,
    /// Explicit targets, as typed.
    pub targets: Vec<String>,
    /// Targets that are no longer dialled, as typed for `mesh forget`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forgotten: Vec<String>,
    /// Supervisor that restarts this router after a crash.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub restart: String,
    /// Links, established or not.
    pub connections: Vec<ConnectionReport>,
    /// All routers with a stored record, reachable or not, including this one.
    pub peers: Vec<PeerReport>,
    /// Next hop to each router.
    pub unicast_routes: Vec<RouteReport>,
    /// Children of this router in the broadcast tree of each origin.
    pub broadcast_routes: Vec<BroadcastReport>,
    /// MAC table, newest first.
    #[serde(rename = "MACs")]
    pub macs: Vec<MacReport>,
    /// Dropped frames and datagrams, by reason; reasons with zero are left out.
    pub drops: std::collections::BTreeMap<String, u64>,
    /// Counters of frames and datagrams.
    pub counters: std::collections::BTreeMap<String, u64>,
    /// Warnings and remedies for the operator, one line each.
    pub warnings: Vec<String>,
}

/// State of a connection, in the terms of Weave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConnectionState {
    /// Control link and data path work in both directions.
    Established,
    /// The control link is up, the data path is not up yet.
    Pending,
    /// Waits before it dials again after an error.
    Retrying,
    /// Given up, or refused for a reason that a retry does not remedy.
    Failed,
    /// Dialling, or in the handshake.
    Connecting,
}

/// Line of `mesh status connections`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ConnectionReport {
    /// Remote TCP address, or the target as typed while it does not resolve.
    pub address: String,
    /// True if this router dialled.
    pub outbound: bool,
    /// State of the connection.
    pub state: ConnectionState,
    /// Reason why it is not established; empty if it is.
    pub error: String,
    /// Seconds until the next dial; absent if there is none.
    #[serde(default)]
    pub retry_in: Option<f64>,
    /// `name(nickname)` of the peer, once known.
    pub peer: String,
    /// True if all data is encrypted; false if unicast uses the kernel's VXLAN.
    pub encrypted: bool,
    /// Cipher of the data session, `chacha20-poly1305` or `aes-256-gcm`; empty without a session.
    pub cipher: String,
    /// Datapath, such as `tap` or `pcap`; `kernel` if unicast uses VXLAN.
    pub datapath: String,
    /// Reason why plain VXLAN is permitted but not in use; otherwise empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fast_path_doubt: String,
    /// Longest IP packet that passes without fragmentation: by the probed path MTU, at least 1,280 and at most the
    /// MTU of the mesh, which it is until the path MTU is known.
    pub mtu: u16,
    /// Round-trip time in milliseconds: of the UDP path, or of the TCP link if there is none.
    #[serde(default)]
    pub rtt_ms: Option<f64>,
}

/// Router, with its announced links.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PeerReport {
    /// Name in the form of a MAC address.
    pub name: String,
    /// Nickname.
    pub nick_name: String,
    /// Id of the router.
    pub id: String,
    /// Boot epoch.
    pub epoch: u64,
    /// Sequence number of its identity record within the epoch.
    pub version: u64,
    /// True for this router.
    pub is_self: bool,
    /// Path of frames to it: `self`, `direct <address>`, `via <name(nickname)>`, `none`.
    pub path: String,
    /// Number of containers it announces.
    pub attached: usize,
    /// Announced links.
    pub connections: Vec<PeerConnectionReport>,
}

/// Link of a router, as announced by it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PeerConnectionReport {
    /// `name(nickname)` of the other end.
    pub peer: String,
    /// True if the announcing router dialled.
    pub outbound: bool,
    /// Remote TCP address, as seen by the announcing router.
    pub address: Option<SocketAddr>,
    /// True if the link carries data.
    pub established: bool,
}

/// Unicast route.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RouteReport {
    /// `name(nickname)` of the destination.
    pub destination: String,
    /// `name(nickname)` of the next hop.
    pub via: String,
    /// Number of hops to the destination.
    pub hops: u32,
}

/// Children of this router in the broadcast tree of one origin.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BroadcastReport {
    /// `name(nickname)` of the origin.
    pub origin: String,
    /// `name(nickname)` of each neighbour that gets a copy.
    pub via: Vec<String>,
}

/// Entry of the MAC table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MacReport {
    /// MAC address.
    pub mac: String,
    /// `local`, or `name(nickname)` of the peer behind which the address is.
    pub owner: String,
    /// Seconds since the address was last seen.
    pub age: f64,
}
