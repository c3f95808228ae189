//! What the operator asked for: flags, environment, and a TOML file with the same names.
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
    /// Something else than routing.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What to run with.
    #[command(flatten)]
    pub options: Options,
    /// Detach from the terminal (mesh launch does this).
    #[arg(long, hide = true)]
    pub daemon: bool,
    /// Dial the stored targets and no others.
    #[arg(long, conflicts_with = "peers")]
    pub resume: bool,
    /// Run the router in a process of its own, and start it again after a crash (mesh launch does this).
    #[arg(long, hide = true)]
    pub restart: bool,
    /// Such a process started this one.
    #[arg(long, hide = true)]
    pub supervised: bool,
    /// The router ran with these options already, and crashed.
    #[arg(long, hide = true)]
    pub again: bool,
}

/// What the router can do besides routing.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Remove everything mesh made on this host: links, rules, namespaces, Docker networks, files.
    Reset {
        /// Where the router kept its state.
        #[arg(long, env = "MESH_STATE_DIR", default_value = DEFAULT_STATE_DIR)]
        state_dir: PathBuf,
        /// The router's socket.
        #[arg(long, env = "MESH_SOCKET", default_value = DEFAULT_SOCKET)]
        socket: PathBuf,
        /// The bridge; taken from the state when absent.
        #[arg(long)]
        bridge: Option<String>,
    },
    /// Answer Docker for this host's router, or by itself while that is away (the router starts it).
    Plugin(PluginSettings),
}

/// Options as given; the same names serve on the command line and in the file.
#[derive(Clone, Debug, Default, Parser, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Options {
    /// Read further options from this TOML file.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Listen on this address only (TCP and UDP).
    #[arg(long)]
    pub host: Option<IpAddr>,
    /// TCP and UDP port [default: 6783].
    #[arg(long)]
    pub port: Option<u16>,
    /// This router's name, like 7a:00:00:00:00:1c or ::1 [default: derived from its key].
    #[arg(long)]
    pub name: Option<String>,
    /// Nickname of this router [default: the host's name].
    #[arg(long)]
    pub nickname: Option<String>,
    /// Where state is kept [default: /var/lib/mesh].
    #[arg(long, env = "MESH_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// The socket that the mesh command speaks to [default: /run/mesh/mesh.sock].
    #[arg(long, env = "MESH_SOCKET")]
    pub socket: Option<PathBuf>,
    /// The bridge; made if absent [default: mesh].
    #[arg(long)]
    pub bridge: Option<String>,
    /// MTU inside the mesh [default: 1376].
    #[arg(long)]
    pub mtu: Option<u16>,
    /// How frames enter and leave.
    #[arg(long)]
    pub datapath: Option<Datapath>,
    /// Let frames for peers in these subnets go by the kernel, unencrypted, if they agree: CIDR[,CIDR...].
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub trusted_subnets: Vec<IpNet>,
    /// Let frames for every peer that agrees go by the kernel, unencrypted.
    #[arg(long)]
    pub no_encryption: bool,
    /// Threads in each direction with the tap datapath, 1 to 16 [default: half the processors, 4 at most].
    #[arg(long)]
    pub lanes: Option<usize>,
    /// Keep processors from sleeping deeply: while frames flow and are sparse, always, or never [default: auto].
    #[arg(long)]
    pub latency: Option<LatencyMode>,
    /// Broadcasts a second that one container may send to the mesh; 0 for no limit [default: 3000].
    #[arg(long, value_name = "FRAMES")]
    pub broadcast_limit: Option<u32>,
    /// Multicasts a second that one container may send to the mesh; 0 for no limit [default: 12000].
    #[arg(long, value_name = "FRAMES")]
    pub multicast_limit: Option<u32>,
    /// Cipher of data sessions; with one that is named no other is taken [default: auto].
    #[arg(long)]
    pub cipher: Option<Cipher>,
    /// Do not route 224.0.0.0/4 to the mesh in any container of this host.
    #[arg(long)]
    pub no_multicast_route: bool,
    /// Connect only to the peers that are named, not to those they know.
    #[arg(long)]
    pub no_discovery: bool,
    /// Range of addresses that routers share and allocate from; "" for none [default: 10.32.0.0/12].
    #[arg(long, value_name = "CIDR")]
    pub ipalloc_range: Option<String>,
    /// Subnet of addresses that are allocated without naming one [default: the range].
    #[arg(long, value_name = "CIDR")]
    pub ipalloc_default_subnet: Option<Ipv4Net>,
    /// Give the space of routers that are gone for this long to others, like 30m or 2h; 10m at least [default: never].
    #[arg(long, value_name = "TIME")]
    pub auto_reclaim: Option<String>,
    /// Domain of the names of the mesh [default: mesh.local].
    #[arg(long, value_name = "DOMAIN")]
    pub dns_domain: Option<String>,
    /// Seconds for which clients may keep an answer [default: 1].
    #[arg(long, value_name = "SECONDS")]
    pub dns_ttl: Option<u32>,
    /// Answer DNS queries of containers and of this host here; may be given several times [default: docker0's address].
    #[arg(long, value_name = "ADDRESS[:PORT]")]
    pub dns_listen: Vec<String>,
    /// Answer no DNS queries.
    #[arg(long)]
    pub no_dns: bool,
    /// error, warn, info, debug or trace [default: info].
    #[arg(long)]
    pub log_level: Option<String>,
    /// Guard the mesh with the key in this file (mesh keygen makes one).
    #[arg(long, value_name = "FILE", conflicts_with = "password_file")]
    pub key_file: Option<PathBuf>,
    /// Guard the mesh with the password in this file (or in MESH_PASSWORD).
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// What the mesh is called, the same on all routers: its passwords are hashed with it [default: no name].
    #[arg(long, value_name = "NAME")]
    pub mesh_name: Option<String>,
    /// Peers to connect to: host or host:port.
    pub peers: Vec<String>,
}

/// How frames enter and leave the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Datapath {
    /// The fastest that works on this host.
    Auto,
    /// A TAP device on the bridge: 64 KiB at a time, containers keep their offloads.
    Tap,
    /// libpcap on a veth; works everywhere.
    Pcap,
}

/// Default of `--state-dir`.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/mesh";
/// Default of `--socket`.
pub const DEFAULT_SOCKET: &str = "/run/mesh/mesh.sock";
/// Default of `--bridge`.
pub const DEFAULT_BRIDGE: &str = "mesh";

impl Options {
    /// `self` where it says something, else `file`.
    fn over(self, file: Options) -> Options {
        // A secret on the command line replaces the file's, whichever kind it is.
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
