//! The declarations: one field is a flag of both programs and a key of the file.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use ipnet::{IpNet, Ipv4Net};
use mesh_proto::ids::{ParseError, PeerName};
use serde::{Deserialize, Serialize};

use crate::values::{Cipher, Datapath, LatencyMode};

/// Options as given. What is `None`, `false` or empty was not given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Options {
    /// Peers to dial, in place of those that are stored: HOST or HOST:PORT
    #[arg(value_name = "PEER")]
    pub peers: Vec<String>,
    /// TOML file with the same names as these flags
    #[arg(long, value_name = "FILE")]
    #[serde(skip_deserializing)]
    pub config: Option<PathBuf>,
    /// Unix socket of the router. The programs declare the flag themselves: one of them has it for all its verbs.
    #[arg(skip)]
    pub socket: Option<PathBuf>,
    /// Directory in which the router keeps its keys and targets (default: /var/lib/mesh)
    #[arg(long, env = "MESH_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Address to listen on, TCP and UDP (default: all)
    #[arg(long, value_name = "ADDRESS")]
    pub host: Option<IpAddr>,
    /// TCP and UDP port (default: 6783)
    #[arg(long)]
    pub port: Option<u16>,
    /// Name of this router, like 7a:00:00:00:00:1c or ::1 (default: from its key)
    #[arg(long, value_parser = peer_name)]
    pub name: Option<String>,
    /// Nickname of this router (default: the host name)
    #[arg(long)]
    pub nickname: Option<String>,
    /// Name of the bridge, which is made if absent (default: mesh)
    #[arg(long)]
    pub bridge: Option<String>,
    /// MTU inside the mesh (default: 1376)
    #[arg(long)]
    pub mtu: Option<u16>,
    /// Way by which frames enter and leave (default: auto)
    #[arg(long)]
    pub datapath: Option<Datapath>,
    /// Threads in each direction with the tap datapath, 1 to 16 (default: half the processors, 4 at most)
    #[arg(long)]
    pub lanes: Option<usize>,
    /// Broadcasts a second that one container may send to the mesh; 0 for no limit (default: 3000)
    #[arg(long, value_name = "FRAMES")]
    pub broadcast_limit: Option<u32>,
    /// Multicasts a second that one container may send to the mesh; 0 for no limit (default: 12000)
    #[arg(long, value_name = "FRAMES")]
    pub multicast_limit: Option<u32>,
    /// Let frames for peers in these subnets go by the kernel, unencrypted, if they agree
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub trusted_subnets: Vec<IpNet>,
    /// Let frames for every peer that agrees go by the kernel, unencrypted
    #[arg(long)]
    pub no_encryption: bool,
    /// Keep processors from sleeping deeply: while frames flow and are sparse, always, or never (default: auto)
    #[arg(long)]
    pub latency: Option<LatencyMode>,
    /// Cipher of data sessions; with one that is named no other is taken (default: auto)
    #[arg(long)]
    pub cipher: Option<Cipher>,
    /// Range of addresses that all hosts share and allocate from; "" for none (default: 10.32.0.0/12)
    #[arg(long, value_name = "CIDR")]
    pub ipalloc_range: Option<String>,
    /// Subnet of addresses that are allocated without naming one (default: the range)
    #[arg(long, value_name = "CIDR")]
    pub ipalloc_default_subnet: Option<Ipv4Net>,
    /// Give the addresses of hosts that are gone for this long, like 30m or 2h, 10m at least, to others (default: never)
    #[arg(long, value_name = "TIME")]
    pub auto_reclaim: Option<String>,
    /// Do not route 224.0.0.0/4 to the mesh in any container of this host
    #[arg(long)]
    pub no_multicast_route: bool,
    /// Dial the peers that are named, and none that they know
    #[arg(long)]
    pub no_discovery: bool,
    /// Domain of the names of the mesh (default: mesh.local)
    #[arg(long, value_name = "DOMAIN")]
    pub dns_domain: Option<String>,
    /// Seconds for which clients may keep an answer (default: 1)
    #[arg(long, value_name = "SECONDS")]
    pub dns_ttl: Option<u32>,
    /// Answer DNS queries of containers and of this host here; may be given several times (default: docker0's address)
    #[arg(long, alias = "dns-listen-address", value_name = "ADDRESS[:PORT]")]
    pub dns_listen: Vec<String>,
    /// Answer no DNS queries; names of this host's containers are told to other hosts all the same
    #[arg(long)]
    pub no_dns: bool,
    /// Log level: error, warn, info, debug, trace (default: info)
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Key of the mesh, see `mesh keygen`
    #[arg(long, value_name = "FILE", conflicts_with = "password_file")]
    pub key_file: Option<PathBuf>,
    /// File with the password of the mesh; MESH_PASSWORD may hold it instead
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Name of the mesh, the same on all routers: its passwords are hashed with it (default: no name)
    #[arg(long, value_name = "NAME")]
    pub mesh_name: Option<String>,
}

/// The name in its long form; others are refused while the operator still looks at the command.
fn peer_name(text: &str) -> Result<String, ParseError> {
    text.parse::<PeerName>().map(|name| name.to_string())
}
