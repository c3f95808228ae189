//! Options of the operator: flags, environment, and a TOML file with the same names.
//!
//! A flag wins over the file, the file over the default. Unknown keys in the file are errors.

mod settings;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Parser, ValueEnum};
use ipnet::{IpNet, Ipv4Net};
use serde::Deserialize;

pub use self::settings::Settings;
use crate::cipher::Cipher;
use crate::latency::LatencyMode;
use crate::plugin::PluginSettings;

/// The mesh router: one per host. Usually started by `mesh launch`.
#[derive(Debug, Parser)]
#[command(
    name = "mesh-router",
    version,
    about,
    after_help = "Example:\n  mesh-router --state-dir /var/lib/mesh 10.0.0.7"
)]
pub struct Args {
    /// Other task than routing.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of the router.
    #[command(flatten)]
    pub options: Options,
    /// Detach from the terminal (mesh launch does this).
    #[arg(long, hide = true)]
    pub daemon: bool,
    /// Dial the stored targets and no others.
    #[arg(long, conflicts_with = "peers")]
    pub resume: bool,
    /// Run the router in a child process, and restart it after a crash (mesh launch does this).
    #[arg(long, hide = true)]
    pub restart: bool,
    /// This process is such a child.
    #[arg(long, hide = true)]
    pub supervised: bool,
    /// This is a restart after a crash, with the same options.
    #[arg(long, hide = true)]
    pub again: bool,
}

/// Tasks of the program besides routing.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Remove everything mesh created on this host: interfaces, rules, namespaces, Docker networks, files.
    Reset {
        /// State directory of the router.
        #[arg(long, env = "MESH_STATE_DIR", default_value = DEFAULT_STATE_DIR)]
        state_dir: PathBuf,
        /// API socket of the router.
        #[arg(long, env = "MESH_SOCKET", default_value = DEFAULT_SOCKET)]
        socket: PathBuf,
        /// Name of the bridge [default: as in the state].
        #[arg(long)]
        bridge: Option<String>,
    },
    /// Serve Docker's network plugin socket, with or without a running router (the router starts it).
    Plugin(PluginSettings),
}

/// Options as given; the command line and the file use the same names.
#[derive(Clone, Debug, Default, Parser, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Options {
    /// Read further options from this TOML file.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Address to listen on, TCP and UDP [default: all].
    #[arg(long)]
    pub host: Option<IpAddr>,
    /// TCP and UDP port [default: 6783].
    #[arg(long)]
    pub port: Option<u16>,
    /// Name of this router, like 7a:00:00:00:00:1c or ::1 [default: derived from its key].
    #[arg(long)]
    pub name: Option<String>,
    /// Nickname of this router [default: the host name].
    #[arg(long)]
    pub nickname: Option<String>,
    /// Directory of keys, targets and other state [default: /var/lib/mesh].
    #[arg(long, env = "MESH_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// Unix socket of the API [default: /run/mesh/mesh.sock].
    #[arg(long, env = "MESH_SOCKET")]
    pub socket: Option<PathBuf>,
    /// Name of the bridge, created if absent [default: mesh].
    #[arg(long)]
    pub bridge: Option<String>,
    /// MTU inside the mesh in bytes [default: 1376].
    #[arg(long)]
    pub mtu: Option<u16>,
    /// Interface to the bridge that frames pass through [default: auto].
    #[arg(long)]
    pub datapath: Option<Datapath>,
    /// Use unencrypted kernel VXLAN (fast path) with peers in these subnets that agree: CIDR[,CIDR...].
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub trusted_subnets: Vec<IpNet>,
    /// Use unencrypted kernel VXLAN (fast path) with every peer that agrees.
    #[arg(long)]
    pub no_encryption: bool,
    /// Threads per direction with the tap datapath, 1 to 16 [default: half the CPUs, at most 4].
    #[arg(long)]
    pub lanes: Option<usize>,
    /// Keep CPUs out of deep idle states while frames flow at a low rate, always, or never [default: auto].
    #[arg(long)]
    pub latency: Option<LatencyMode>,
    /// Broadcast frames per second that each container may send into the mesh; 0: unlimited [default: 3000].
    #[arg(long, value_name = "FRAMES")]
    pub broadcast_limit: Option<u32>,
    /// Multicast frames per second that each container may send into the mesh; 0: unlimited [default: 12000].
    #[arg(long, value_name = "FRAMES")]
    pub multicast_limit: Option<u32>,
    /// Cipher of data sessions; any but auto excludes the other [default: auto].
    #[arg(long)]
    pub cipher: Option<Cipher>,
    /// Do not route 224.0.0.0/4 to the mesh in any container of this host.
    #[arg(long)]
    pub no_multicast_route: bool,
    /// Dial only the given peers, no discovered ones.
    #[arg(long)]
    pub no_discovery: bool,
    /// Address range shared by all routers; "" turns allocation off [default: 10.32.0.0/12].
    #[arg(long, value_name = "CIDR")]
    pub ipalloc_range: Option<String>,
    /// Subnet for allocations that name none [default: the whole range].
    #[arg(long, value_name = "CIDR")]
    pub ipalloc_default_subnet: Option<Ipv4Net>,
    /// Reclaim addresses of routers that are unreachable for this time, like 30m or 2h; at least 10m [default: never].
    #[arg(long, value_name = "TIME")]
    pub auto_reclaim: Option<String>,
    /// DNS domain of the mesh [default: mesh.local].
    #[arg(long, value_name = "DOMAIN")]
    pub dns_domain: Option<String>,
    /// TTL of DNS answers in seconds [default: 1].
    #[arg(long, value_name = "SECONDS")]
    pub dns_ttl: Option<u32>,
    /// Address to answer DNS queries of containers and of this host on; may be repeated [default: docker0's address].
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    pub dns_listen: Vec<String>,
    /// Do not answer DNS queries.
    #[arg(long)]
    pub no_dns: bool,
    /// Log level: error, warn, info, debug or trace [default: info].
    #[arg(long)]
    pub log_level: Option<String>,
    /// File with the key of the mesh (mesh keygen creates one).
    #[arg(long, value_name = "FILE", conflicts_with = "password_file")]
    pub key_file: Option<PathBuf>,
    /// File with the password of the mesh (or set MESH_PASSWORD).
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Name of the mesh, the same on all routers: salt of the password hash [default: none].
    #[arg(long, value_name = "NAME")]
    pub mesh_name: Option<String>,
    /// Peers to dial: host or host:port.
    pub peers: Vec<String>,
}

/// Device through which frames enter and leave the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Datapath {
    /// The fastest that works on this host.
    Auto,
    /// TAP device on the bridge: up to 64 KiB per read, containers keep their offloads.
    Tap,
    /// libpcap on a veth pair; works everywhere.
    Pcap,
}

/// Default of `--state-dir`.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/mesh";
/// Default of `--socket`.
pub const DEFAULT_SOCKET: &str = "/run/mesh/mesh.sock";
/// Default of `--bridge`.
pub const DEFAULT_BRIDGE: &str = "mesh";

impl Options {
    /// Returns `self`, with unset options taken from `file`.
    fn over(self, file: Options) -> Options {
        // A secret on the command line replaces that of the file, of either kind.
        let own_secret = self.key_file.is_some() || self.password_file.is_some();
        Options {
            config: None,
            host: self.host.or(file.host),
            port: self.port.or(file.port),
            name: self.name.or(file.name),
            nickname: self.nickname.or(file.nickname),
            state_dir: self.state_dir.or(file.state_dir),
            socket: self.socket.or(file.socket),
            bridge: self.bridge.or(file.bridge),
            mtu: self.mtu.or(file.mtu),
            datapath: self.datapath.or(file.datapath),
            trusted_subnets: if self.trusted_subnets.is_empty() {
                file.trusted_subnets
            } else {
                self.trusted_subnets
            },
            no_encryption: self.no_encryption || file.no_encryption,
            lanes: self.lanes.or(file.lanes),
            latency: self.latency.or(file.latency),
            broadcast_limit: self.broadcast_limit.or(file.broadcast_limit),
            multicast_limit: self.multicast_limit.or(file.multicast_limit),
            cipher: self.cipher.or(file.cipher),
            no_multicast_route: self.no_multicast_route || file.no_multicast_route,
            no_discovery: self.no_discovery || file.no_discovery,
            ipalloc_range: self.ipalloc_range.or(file.ipalloc_range),
            ipalloc_default_subnet: self.ipalloc_default_subnet.or(file.ipalloc_default_subnet),
            auto_reclaim: self.auto_reclaim.or(file.auto_reclaim),
            dns_domain: self.dns_domain.or(file.dns_domain),
            dns_ttl: self.dns_ttl.or(file.dns_ttl),
            dns_listen: if self.dns_listen.is_empty() {
                file.dns_listen
            } else {
                self.dns_listen
            },
            no_dns: self.no_dns || file.no_dns,
            log_level: self.log_level.or(file.log_level),
            key_file: self.key_file.or(file.key_file.filter(|_| !own_secret)),
            password_file: self
                .password_file
                .or(file.password_file.filter(|_| !own_secret)),
            mesh_name: self.mesh_name.or(file.mesh_name),
            peers: file.peers,
        }
    }
}

fn read_file(path: &Path) -> anyhow::Result<Options> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration {}", path.display()))?;
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| {
            text[..span.start.min(text.len())].lines().count().max(1)
        });
        anyhow::anyhow!(
            "{}, line {line}: {}",
            path.display(),
            error.message().trim().replace('\n', " ")
        )
    })
}
