//! `mesh launch`: what the router is started with.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ipnet::IpNet;
use mesh_proto::ids::PeerName;

use super::weave::WeaveFlags;

/// `mesh launch`.
#[derive(Debug, Default, Args)]
pub(crate) struct LaunchArgs {
    /// Peers to dial, in place of those that are stored
    pub(crate) peers: Vec<String>,
    /// Peers by the flag that other tools have for them
    #[arg(long = "peer", alias = "peers", hide = true, value_name = "PEER")]
    pub(crate) more_peers: Vec<String>,
    /// Stay in the foreground, log to standard error
    #[arg(long)]
    pub(crate) foreground: bool,
    /// Address to listen on (default: all)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) host: Option<IpAddr>,
    /// TCP and UDP port (default: 6783)
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Name of this router, like 7a:00:00:00:00:01 or ::1 (default: from its key)
    #[arg(long)]
    pub(crate) name: Option<PeerName>,
    /// Nickname of this router (default: the host name)
    #[arg(long)]
    pub(crate) nickname: Option<String>,
    /// Where the router keeps its keys and targets (default: /var/lib/mesh)
    #[arg(long, env = "MESH_STATE_DIR", value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// MTU inside the mesh (default: 1376)
    #[arg(long)]
    pub(crate) mtu: Option<u16>,
    /// How frames enter and leave (default: auto)
    #[arg(long, value_enum)]
    pub(crate) datapath: Option<Datapath>,
    /// Threads in each direction with the tap datapath (default: half the processors, 4 at most)
    #[arg(long)]
    pub(crate) lanes: Option<usize>,
    /// Broadcasts a second that one container may send to the mesh; 0 for no limit (default: 3000)
    #[arg(long, value_name = "FRAMES")]
    pub(crate) broadcast_limit: Option<u32>,
    /// Multicasts a second that one container may send to the mesh; 0 for no limit (default: 12000)
    #[arg(long, value_name = "FRAMES")]
    pub(crate) multicast_limit: Option<u32>,
    /// Let frames for peers in these subnets go by the kernel, unencrypted, if they agree
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub(crate) trusted_subnets: Vec<IpNet>,
    /// Let frames for every peer that agrees go by the kernel, unencrypted
    #[arg(long)]
    pub(crate) no_encryption: bool,
    /// Keep processors from sleeping deeply (default: auto)
    #[arg(long, value_enum)]
    pub(crate) latency: Option<Latency>,
    /// Cipher of data sessions; with one that is named no other is taken (default: auto)
    #[arg(long, value_enum)]
    pub(crate) cipher: Option<Cipher>,
    /// Range of addresses that all hosts share; "" for none (default: 10.32.0.0/12)
    #[arg(long, value_name = "CIDR")]
    pub(crate) ipalloc_range: Option<String>,
    /// Subnet of addresses that are allocated without naming one (default: the range)
    #[arg(long, value_name = "CIDR")]
    pub(crate) ipalloc_default_subnet: Option<String>,
    /// Give the addresses of hosts that are gone for this long (10m or more) to others (default: never)
    #[arg(long, value_name = "TIME")]
    pub(crate) auto_reclaim: Option<String>,
    /// Do not route 224.0.0.0/4 to the mesh in any container
    #[arg(long)]
    pub(crate) no_multicast_route: bool,
    /// Dial the explicit targets only
    #[arg(long)]
    pub(crate) no_discovery: bool,
    /// Domain of the names of the mesh (default: mesh.local)
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) dns_domain: Option<String>,
    /// Seconds for which clients may keep an answer (default: 1)
    #[arg(long, value_name = "SECONDS")]
    pub(crate) dns_ttl: Option<u32>,
    /// Answer DNS queries of containers and of this host here; may be given several times (default: docker0's address)
    #[arg(long, alias = "dns-listen-address", value_name = "ADDRESS[:PORT]")]
    pub(crate) dns_listen: Vec<String>,
    /// Answer no DNS queries; names of this host's containers are told to other hosts all the same
    #[arg(long)]
    pub(crate) no_dns: bool,
    /// Log level: error, warn, info, debug, trace (default: info)
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
    /// TOML file with the same names as these flags
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Name of the bridge (default: mesh)
    #[arg(long)]
    pub(crate) bridge: Option<String>,
    /// Key of the mesh, see `mesh keygen`
    #[arg(long, value_name = "FILE", conflicts_with = "password_file")]
    pub(crate) key_file: Option<PathBuf>,
    /// File with the password of the mesh
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// What the mesh is called, the same on all routers: its passwords are hashed with it (default: no name)
    #[arg(long, value_name = "NAME")]
    pub(crate) mesh_name: Option<String>,
    /// Dial the stored targets and no others
    #[arg(long, conflicts_with_all = ["peers", "more_peers"])]
    pub(crate) resume: bool,
    #[command(flatten)]
    pub(crate) weave: WeaveFlags,
    /// Do not start the router again when it crashes; with --foreground that is left to whoever started it
    #[arg(long)]
    pub(crate) no_restart: bool,
}

/// How frames enter and leave the router.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Datapath {
    /// The best that works here
    Auto,
    /// A TAP device on the bridge: fast
    Tap,
    /// libpcap on a veth into the bridge
    Pcap,
}

/// When processors are kept from sleeping deeply: shorter round trips for more power.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Latency {
    /// While frames flow and are sparse
    Auto,
    /// As long as the router runs
    On,
    /// Never
    Off,
}

/// Which ciphers the router takes for data.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Cipher {
    /// The fastest that both ends have
    Auto,
    /// On every processor
    #[value(name = "chacha20-poly1305")]
    ChaCha20Poly1305,
    /// Best with instructions for AES
    #[value(name = "aes-256-gcm")]
    Aes256Gcm,
}
