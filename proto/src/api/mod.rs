//! What the `mesh` command and the router say to one another: JSON over HTTP/1.1 on the router's unix socket.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `GET /report` | – | [`Report`] |
//! | `POST /connect` | [`ConnectRequest`] | [`Done`] |
//! | `POST /forget` | [`ForgetRequest`] | [`Forgotten`] |
//! | `GET /notices` | – | `Vec<String>`: what is to be known of the host, one line each |
//! | `POST /prepare` | [`PrepareRequest`] | [`Prepared`] |
//! | `POST /abandon` | [`AbandonRequest`] | [`Done`] |
//! | `POST /adopt` | [`AdoptRequest`] | [`Done`] |
//! | `POST /attach` | [`AttachRequest`] | [`ContainerAddresses`] |
//! | `POST /detach` | [`DetachRequest`] | [`ContainerAddresses`] |
//! | `GET /ps` | – | [`Vec<Attached>`] |
//! | `POST /expose` | [`ExposeRequest`] | [`Exposed`] |
//! | `POST /hide` | [`HideRequest`] | [`Hidden`] |
//! | `POST /attach-bridge` | [`BridgeRequest`] | [`Done`] |
//! | `POST /detach-bridge` | [`BridgeRequest`] | [`Done`] |
//! | `GET /dns` | – | [`DnsReport`] |
//! | `GET /dns/client` | – | [`DnsClient`] |
//! | `POST /dns/expect` | [`DnsQuestion`]: full id of a container of Docker that is about to be started | [`Done`] |
//! | `POST /dns/settle` | [`DnsQuestion`]: full id of a container of Docker | [`Done`], when it asks for names and knows its address, or after 3 s |
//! | `POST /dns/lookup` | [`DnsQuestion`] | [`Addresses`] |
//! | `POST /dns/add` | [`DnsChange`] | [`Done`] |
//! | `POST /dns/remove` | [`DnsChange`] | [`Done`] |
//! | `GET /waiting` | – | [`Waiting`] |
//! | `POST /stop` | – | [`Done`] |
//! | `/ipam…` | | see [`ipam`] |
//!
//! An error is an HTTP status of 4xx (the caller's to mend) or 5xx with an [`ErrorBody`]. Field names are in
//! PascalCase, as in Weave's report, so that `mesh report -f '{{.Router.Name}}'` works as it did there.

mod dns;
mod host;
pub mod ipam;
mod waiting;

use std::net::SocketAddr;

pub use dns::{DnsChange, DnsClient, DnsEntry, DnsQuestion, DnsReport, DnsSummary};
pub use host::{
    BridgeReport, BridgeRequest, EXPOSE, ExposeRequest, Exposed, ExposedAddress, Hidden,
    HideRequest, HostReport,
};
pub use waiting::{EngineWaiting, Waiting};

use serde::{Deserialize, Serialize};

/// The answer to a request that has nothing to tell.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Done {}

/// What went wrong, to what, and what to do: one line, ready to print.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ErrorBody {
    /// The message.
    pub error: String,
}

/// `mesh connect`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ConnectRequest {
    /// Targets as typed: `host`, `host:port`, `[v6]:port`.
    pub peers: Vec<String>,
    /// Replace the whole list of targets.
    #[serde(default)]
    pub replace: bool,
}

/// `mesh forget`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ForgetRequest {
    /// Targets as typed, or names of peers whose pinned key is to be forgotten.
    pub peers: Vec<String>,
}

/// What became of the words of `mesh forget`; those that are named nowhere are simply not dialled any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Forgotten {
    /// There is a link, which stays while it lives.
    pub linked: Vec<String>,
    /// No target and no router is called so.
    pub unknown: Vec<String>,
}

/// What runs the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Runtime {
    /// Docker Engine: the router is a libnetwork driver.
    Docker,
    /// podman: the router makes the network namespace, podman joins it.
    Podman,
    /// No engine: a command in a network namespace of its own.
    Process,
    /// The host itself: what `mesh expose` gives it.
    Host,
}

/// `mesh run`, before the container exists.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PrepareRequest {
    /// Who will run it.
    pub runtime: Runtime,
    /// Address arguments as typed.
    pub addresses: Vec<String>,
    /// Whether each interface gets a route for 224.0.0.0/4.
    pub multicast_route: bool,
    /// The process of the caller; a prepared namespace that nobody adopts goes when it ends.
    pub caller_pid: u32,
    /// Name of the container, if it was given one.
    #[serde(default)]
    pub name: String,
    /// Whether no queries are answered within its namespace.
    #[serde(default)]
    pub without_dns: bool,
    /// Seconds that the allocation of addresses may take; the router's default when absent.
    #[serde(default)]
    pub timeout: Option<f64>,
}

/// What `mesh run` passes on to the engine.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Prepared {
    /// A handle for `adopt` and `abandon`.
    pub id: String,
    /// Docker: the value of `--network` for each interface (`name=mesh,driver-opt=…`), in order.
    #[serde(default)]
    pub networks: Vec<String>,
    /// podman and process: the path of a network namespace in which the interfaces are up.
    #[serde(default)]
    pub netns: Option<String>,
    /// The addresses, without prefix lengths.
    pub addresses: Vec<String>,
    /// How the container asks for names.
    #[serde(default)]
    pub dns: DnsClient,
}

/// The container did not start: undo what `prepare` made.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AbandonRequest {
    /// From [`Prepared`].
    pub id: String,
}

/// A container was started: are its addresses in it?
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ArrivedRequest {
    /// Its engine; none: whichever knows it.
    #[serde(default)]
    pub runtime: Option<Runtime>,
    /// Its name or id.
    pub container: String,
    /// From [`Prepared`], without prefix lengths.
    pub addresses: Vec<String>,
}

/// The container exists: from now on the namespace lives as long as it does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AdoptRequest {
    /// From [`Prepared`].
    pub id: String,
    /// podman: the full container id.
    #[serde(default)]
    pub container: Option<String>,
    /// process: the pid of the command.
    #[serde(default)]
    pub pid: Option<u32>,
    /// What `ps` shows: container name or command name.
    #[serde(default)]
    pub name: String,
}

/// `mesh attach`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AttachRequest {
    /// Name, short id or full id.
    pub container: String,
    /// Address arguments as typed.
    pub addresses: Vec<String>,
    /// Which engine; found by itself when absent.
    #[serde(default)]
    pub runtime: Option<Runtime>,
    /// Whether each interface gets a route for 224.0.0.0/4.
    pub multicast_route: bool,
    /// The process of the caller.
    #[serde(default)]
    pub caller_pid: u32,
    /// Whether no queries are answered within its namespace.
    #[serde(default)]
    pub without_dns: bool,
    /// Seconds that the allocation of addresses may take; the router's default when absent.
    #[serde(default)]
    pub timeout: Option<f64>,
    /// Whether its `/etc/hosts` is left alone.
    #[serde(default)]
    pub no_rewrite_hosts: bool,
    /// Names for its `/etc/hosts`, each with an address, like `db:10.2.1.7`.
    #[serde(default)]
    pub add_host: Vec<String>,
}

/// `mesh detach`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DetachRequest {
    /// Name, short id or full id.
    pub container: String,
    /// Address arguments as typed; none means all.
    pub addresses: Vec<String>,
    /// Which engine; found by itself when absent.
    #[serde(default)]
    pub runtime: Option<Runtime>,
}

/// Addresses that a container was given, or had. `run`, `attach` and `detach` print it with `--json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerAddresses {
    /// Full container id; for a process the id that `run` made up. Empty in what earlier versions say.
    #[serde(default)]
    pub container: String,
    /// Container name or command. Empty in what earlier versions say.
    #[serde(default)]
    pub name: String,
    /// Without prefix lengths, in the order asked for.
    pub addresses: Vec<String>,
}

/// Where a name leads: addresses without prefix lengths; or the names of an address.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Addresses {
    /// As printed by `dns-lookup`.
    pub addresses: Vec<String>,
}

/// One line of `mesh ps`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Attached {
    /// Full container id; for a process the id that `run` made up.
    pub container: String,
    /// Container name or command.
    pub name: String,
    /// Who runs it.
    pub runtime: Runtime,
    /// Its interfaces on the mesh.
    pub interfaces: Vec<AttachedInterface>,
}

/// One interface of an attached container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AttachedInterface {
    /// `mesh0`, `mesh1`, …
    pub name: String,
    /// MAC address.
    pub mac: String,
    /// Address with prefix length.
    pub address: String,
}

/// Everything a router knows, as `mesh report` prints it. `status` and its sub-commands are views of this.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Report {
    /// Whether the router forwards frames.
    pub ready: bool,
    /// Version of the router.
    pub version: String,
    /// The router itself.
    pub router: RouterReport,
    /// Containers on the mesh on this host.
    pub attachments: Vec<Attached>,
    /// Allocation of addresses; absent in what earlier versions say.
    #[serde(default, rename = "IPAM", skip_serializing_if = "Option::is_none")]
    pub ipam: Option<ipam::IpamReport>,
    /// How names are answered; absent in what earlier versions say.
    #[serde(default, rename = "DNS", skip_serializing_if = "Option::is_none")]
    pub dns: Option<DnsSummary>,
    /// The host's part in the mesh; absent in what earlier versions say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostReport>,
}

/// The router's part of the report.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RouterReport {
    /// Always `mesh`.
    pub protocol: String,
    /// Oldest protocol version spoken.
    pub protocol_min_version: u8,
    /// Newest protocol version spoken.
    pub protocol_max_version: u8,
    /// MAC-shaped name.
    pub name: String,
    /// Nickname.
    pub nick_name: String,
    /// Protocol identity.
    pub id: String,
    /// Boot epoch.
    pub epoch: u64,
    /// What guards the mesh: `key file`, `password`, or `none (anyone who can reach this router may join)`.
    pub secret: String,
    /// Whether all traffic is encrypted, whatever peers say.
    pub encryption: bool,
    /// With which peers plain VXLAN is exchanged; empty where none is consented to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub plain: String,
    /// The kernel's part of it: `off`, or how it does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fast_path: String,
    /// Whether peers learnt by gossip are dialled.
    pub peer_discovery: bool,
    /// TCP and UDP port.
    pub port: u16,
    /// Address listened on; `::` for all.
    pub host: String,
    /// The bridge.
    pub bridge: String,
    /// How frames enter and leave: `pcap`.
    pub datapath: String,
    /// Why that one.
    pub datapath_reason: String,
    /// Whether processors are kept from sleeping deeply: `auto`, `on` or `off`, and what is done now.
    #[serde(default)]
    pub latency: String,
    /// MTU inside the mesh.
    pub mtu: u16,
    /// Explicit targets, as typed.
    pub targets: Vec<String>,
    /// What is not dialled any more, as typed for `mesh forget`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forgotten: Vec<String>,
    /// Who starts this router again after a crash.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub restart: String,
    /// Links, established or not.
    pub connections: Vec<ConnectionReport>,
    /// Every router of which a record is held, within reach or not, this one included.
    pub peers: Vec<PeerReport>,
    /// Next hop to each router.
    pub unicast_routes: Vec<RouteReport>,
    /// Where broadcasts of each origin go from here.
    pub broadcast_routes: Vec<BroadcastReport>,
    /// MAC table, newest first.
    #[serde(rename = "MACs")]
    pub macs: Vec<MacReport>,
    /// Frames and datagrams dropped, by reason; reasons with zero are left out.
    pub drops: std::collections::BTreeMap<String, u64>,
    /// Frames and datagrams moved, by direction.
    pub counters: std::collections::BTreeMap<String, u64>,
    /// What an operator should know and do, one line each.
    pub warnings: Vec<String>,
}

/// State of a connection, in Weave's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConnectionState {
    /// Control link and data path work in both directions.
    Established,
    /// The control link is up, the data path is not (yet).
    Pending,
    /// Waiting to dial again after an error.
    Retrying,
    /// Given up, or refused for a reason that trying again will not mend.
    Failed,
    /// Dialling or in handshake.
    Connecting,
}

/// One line of `mesh status connections`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ConnectionReport {
    /// Remote TCP address, or the target as typed while it does not resolve.
    pub address: String,
    /// Whether we dialled.
    pub outbound: bool,
    /// Its state.
    pub state: ConnectionState,
    /// Why it is not established; empty when it is.
    pub error: String,
    /// Seconds until the next dial; absent when there will be none.
    #[serde(default)]
    pub retry_in: Option<f64>,
    /// `name(nickname)` of the peer, once known.
    pub peer: String,
    /// Whether all data is encrypted; not when unicast goes by the kernel's VXLAN.
    pub encrypted: bool,
    /// Cipher of the data session, `chacha20-poly1305` or `aes-256-gcm`; empty while there is no session.
    pub cipher: String,
    /// Datapath, e.g. `pcap`; `kernel` when unicast goes by VXLAN.
    pub datapath: String,
    /// Where plain VXLAN is consented to and not in use: why; else empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fast_path_doubt: String,
    /// Longest IP packet that goes this way whole: by the probed path MTU, at least 1,280, and at most the MTU of the
    /// mesh, which it is while the path is not known.
    pub mtu: u16,
    /// Round-trip time in milliseconds: of the UDP path, or of the TCP link while there is none.
    #[serde(default)]
    pub rtt_ms: Option<f64>,
}

/// One router, with the links it says it has.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PeerReport {
    /// MAC-shaped name.
    pub name: String,
    /// Nickname.
    pub nick_name: String,
    /// Protocol identity.
    pub id: String,
    /// Boot epoch.
    pub epoch: u64,
    /// Record number within the epoch.
    pub version: u64,
    /// Whether it is this router.
    pub is_self: bool,
    /// How frames reach it: `self`, `direct <address>`, `via <name(nickname)>`, `none`.
    pub path: String,
    /// Containers it announces.
    pub attached: usize,
    /// Its links.
    pub connections: Vec<PeerConnectionReport>,
}

/// One link of a router as it announces it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PeerConnectionReport {
    /// `name(nickname)` of the other end.
    pub peer: String,
    /// Whether the announcing router dialled.
    pub outbound: bool,
    /// Remote TCP address as the announcing router sees it.
    pub address: Option<SocketAddr>,
    /// Whether data flows on it.
    pub established: bool,
}

/// A unicast route.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RouteReport {
    /// `name(nickname)` of the destination.
    pub destination: String,
    /// `name(nickname)` of the next hop.
    pub via: String,
    /// Hops to go.
    pub hops: u32,
}

/// Where broadcasts of one origin go from here.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BroadcastReport {
    /// `name(nickname)` of the origin.
    pub origin: String,
    /// `name(nickname)` of each neighbour that gets a copy.
    pub via: Vec<String>,
}

/// One entry of the MAC table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct MacReport {
    /// The address.
    pub mac: String,
    /// `local`, or `name(nickname)` of the peer behind which it lives.
    pub owner: String,
    /// Seconds since it was last seen.
    pub age: f64,
}
