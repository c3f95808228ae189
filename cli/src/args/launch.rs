//! `mesh launch`: the options that the router is started with.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use mesh_proto::ids::PeerName;

use super::weave::WeaveFlags;

/// `mesh launch`.
#[derive(Debug, Default, Args)]
pub(crate) struct LaunchArgs {
    /// Peers to dial, in place of the stored targets
    pub(crate) peers: Vec<String>,
    /// Peers, by the flag that other tools have for them
    #[arg(long = "peer", alias = "peers", hide = true, value_name = "PEER")]
    pub(crate) more_peers: Vec<String>,
    /// Stay in the foreground and log to standard error
    #[arg(long)]
    pub(crate) foreground: bool,
    /// Address to listen on (default: all)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) host: Option<IpAddr>,
    /// TCP and UDP port (default: 6783)
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Name of this router, like 7a:00:00:00:00:01 or ::1 (default: derived from its key)
    #[arg(long)]
    pub(crate) name: Option<PeerName>,
    /// Nickname of this router (default: the host name)
    #[arg(long)]
    pub(crate) nickname: Option<String>,
    /// Directory of keys, targets and other state (default: /var/lib/mesh)
    #[arg(long, env = "MESH_STATE_DIR", value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// MTU inside the mesh in bytes (default: 1376)
    #[arg(long)]
    pub(crate) mtu: Option<u16>,
    /// Interface to the bridge that frames pass through (default: auto)
    #[arg(long, value_enum)]
    pub(crate) datapath: Option<Datapath>,
    /// Threads per direction with the tap datapath (default: half the CPUs, at most 4)
    #[arg(long)]
    pub(crate) lanes: Option<usize>,
    /// Broadcast frames per second that each container may send into the mesh; 0: unlimited (default: 3000)
    #[arg(long, value_name = "FRAMES")]
    pub(crate) broadcast_limit: Option<u32>,
    /// Multicast frames per second that each container may send into the mesh; 0: unlimited (default: 12000)
    #[arg(long, value_name = "FRAMES")]
    pub(crate) multicast_limit: Option<u32>,
    /// Use unencrypted kernel VXLAN (fast path) with peers in these subnets that agree
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub(crate) trusted_subnets: Vec<IpNet>,
    /// Use unencrypted kernel VXLAN (fast path) with every peer that agrees
    #[arg(long)]
    pub(crate) no_encryption: bool,
    /// Keep CPUs out of deep idle states, for shorter round trips (default: auto)
    #[arg(long, value_enum)]
    pub(crate) latency: Option<Latency>,
    /// Cipher of data sessions; any but auto excludes the other (default: auto)
    #[arg(long, value_enum)]
    pub(crate) cipher: Option<Cipher>,
    /// Address range shared by all hosts; "" turns allocation off (default: 10.32.0.0/12)
    #[arg(long, value_name = "CIDR")]
    pub(crate) ipalloc_range: Option<String>,
    /// Subnet for allocations that name none (default: the whole range)
    #[arg(long, value_name = "CIDR")]
    pub(crate) ipalloc_default_subnet: Option<String>,
    /// Reclaim addresses of hosts that are unreachable for this time, 10m or more (default: never)
    #[arg(long, value_name = "TIME")]
    pub(crate) auto_reclaim: Option<String>,
    /// Do not route 224.0.0.0/4 to the mesh in any container
    #[arg(long)]
    pub(crate) no_multicast_route: bool,
    /// Dial only the explicit targets, no discovered peers
    #[arg(long)]
    pub(crate) no_discovery: bool,
    /// DNS domain of the mesh (default: mesh.local)
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) dns_domain: Option<String>,
    /// TTL of DNS answers in seconds (default: 1)
    #[arg(long, value_name = "SECONDS")]
    pub(crate) dns_ttl: Option<u32>,
    /// Address to answer DNS queries of containers and of this host on; may be repeated (default: docker0's address)
    #[arg(long, alias = "dns-listen-address", value_name = "ADDRESS[:PORT]")]
    pub(crate) dns_listen: Vec<String>,
    /// Do not answer DNS queries; names of this host's containers are still announced to other hosts
    #[arg(long)]
    pub(crate) no_dns: bool,
    /// Log level: error, warn, info, debug, trace (default: info)
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
    /// TOML file with the same option names as these flags
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Name of the bridge (default: mesh)
    #[arg(long)]
    pub(crate) bridge: Option<String>,
    /// File with the key of the mesh, see `mesh keygen`
    #[arg(long, value_name = "FILE", conflicts_with = "password_file")]
    pub(crate) key_file: Option<PathBuf>,
    /// File with the password of the mesh
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Name of the mesh, the same on all routers: salt of the password hash (default: none)
    #[arg(long, value_name = "NAME")]
    pub(crate) mesh_name: Option<String>,
    /// Dial the stored targets and no others
    #[arg(long, conflicts_with_all = ["peers", "more_peers"])]
    pub(crate) resume: bool,
    #[command(flatten)]
    pub(crate) weave: WeaveFlags,
    /// Do not restart the router after a crash (with --foreground it is never restarted)
    #[arg(long)]
    pub(crate) no_restart: bool,
}

/// Device through which frames enter and leave the router.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Datapath {
    /// The fastest that works on this host
    Auto,
    /// TAP device on the bridge: fast
    Tap,
    /// libpcap on a veth pair into the bridge
    Pcap,
}

/// Times at which CPUs are kept out of deep idle states: shorter round trips, but more power.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Latency {
    /// While frames flow at a low rate
    Auto,
    /// Always
    On,
    /// Never
    Off,
}

/// Ciphers that the router accepts for data sessions.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Cipher {
    /// The fastest that both ends support
    Auto,
    /// Fast on every CPU
    #[value(name = "chacha20-poly1305")]
    ChaCha20Poly1305,
    /// Fastest on CPUs with AES instructions
    #[value(name = "aes-256-gcm")]
    Aes256Gcm,
}
