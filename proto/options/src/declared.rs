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
    /// Peers to dial, in place of the stored targets: HOST or HOST:PORT
    #[arg(value_name = "PEER")]
    pub peers: Vec<String>,
    /// TOML file with the same option names as these flags
    #[arg(long, value_name = "FILE")]
    #[serde(skip_deserializing)]
    pub config: Option<PathBuf>,
    /// Unix socket of the router. Each program declares the flag itself: `mesh` has it for all its verbs.
    #[arg(skip)]
    pub socket: Option<PathBuf>,
    /// Directory of keys, targets and other state (default: /var/lib/mesh)
    #[arg(long, env = "MESH_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Address to listen on, TCP and UDP (default: all)
    #[arg(long, value_name = "ADDRESS")]
    pub host: Option<IpAddr>,
    /// TCP and UDP port (default: 6783)
    #[arg(long)]
    pub port: Option<u16>,
    /// Name of this router, like 7a:00:00:00:00:1c or ::1 (default: derived from its key)
    #[arg(long, value_parser = peer_name)]
    pub name: Option<String>,
    /// Nickname of this router (default: the host name)
    #[arg(long)]
    pub nickname: Option<String>,
    /// Name of the bridge, created if absent (default: mesh)
    #[arg(long)]
    pub bridge: Option<String>,
    /// MTU inside the mesh in bytes (default: 1376)
    #[arg(long)]
    pub mtu: Option<u16>,
    /// Device through which frames enter and leave (default: auto)
    #[arg(long)]
    pub datapath: Option<Datapath>,
    /// Threads per direction with the tap datapath, 1 to 16 (default: half the CPUs, at most 4)
    #[arg(long)]
    pub lanes: Option<usize>,
    /// Broadcast frames per second that each container may send into the mesh; 0: unlimited (default: 3000)
    #[arg(long, value_name = "FRAMES")]
    pub broadcast_limit: Option<u32>,
    /// Multicast frames per second that each container may send into the mesh; 0: unlimited (default: 12000)
    #[arg(long, value_name = "FRAMES")]
    pub multicast_limit: Option<u32>,
    /// Use unencrypted kernel VXLAN (fast path) with peers in these subnets that agree
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub trusted_subnets: Vec<IpNet>,
    /// Use unencrypted kernel VXLAN (fast path) with every peer that agrees
    #[arg(long)]
    pub no_encryption: bool,
    /// Keep CPUs out of deep idle states, for shorter round trips (default: auto)
    #[arg(long)]
    pub latency: Option<LatencyMode>,
    /// Cipher of data sessions; any but auto excludes the other (default: auto)
    #[arg(long)]
    pub cipher: Option<Cipher>,
    /// Address range shared by all hosts; "" turns allocation off (default: 10.32.0.0/12)
    #[arg(long, value_name = "CIDR")]
    pub ipalloc_range: Option<String>,
    /// IPv6 subnet beside it, for an address of each family: auto (one of the mesh's own), off, or up to 96 bits (default: off)
    #[arg(long, value_name = "CIDR")]
    pub ipalloc_range6: Option<String>,
    /// Subnet for allocations that name none (default: the whole range)
    #[arg(long, value_name = "CIDR")]
    pub ipalloc_default_subnet: Option<Ipv4Net>,
    /// Reclaim addresses of hosts that are unreachable for this time, like 30m or 2h, at least 10m (default: never)
    #[arg(long, value_name = "TIME")]
    pub auto_reclaim: Option<String>,
    /// Do not route 224.0.0.0/4 to the mesh in any container of this host
    #[arg(long)]
    pub no_multicast_route: bool,
    /// Dial only the explicit targets, no discovered peers
    #[arg(long)]
    pub no_discovery: bool,
    /// DNS domain of the mesh (default: mesh.local)
    #[arg(long, value_name = "DOMAIN")]
    pub dns_domain: Option<String>,
    /// TTL of DNS answers in seconds (default: 1)
    #[arg(long, value_name = "SECONDS")]
    pub dns_ttl: Option<u32>,
    /// Address to answer DNS queries of containers and of this host on; may be repeated (default: docker0's address)
    #[arg(long, alias = "dns-listen-address", value_name = "ADDRESS[:PORT]")]
    pub dns_listen: Vec<String>,
    /// Do not answer DNS queries; names of this host's containers are still announced to other hosts
    #[arg(long)]
    pub no_dns: bool,
    /// Log level: error, warn, info, debug, trace (default: info)
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// File with the key of the mesh, see `mesh keygen`
    #[arg(long, value_name = "FILE", conflicts_with = "password_file")]
    pub key_file: Option<PathBuf>,
    /// File with the password of the mesh (MESH_PASSWORD may hold it instead)
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Name of the mesh, the same on all routers: salt of the password hash (default: none)
    #[arg(long, value_name = "NAME")]
    pub mesh_name: Option<String>,
}

/// The name in its long form; others are refused while the operator still looks at the command.
fn peer_name(text: &str) -> Result<String, ParseError> {
    text.parse::<PeerName>().map(|name| name.to_string())
}
