//! Resources acquired before the first kernel object is created: sockets, state, identity.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use mesh_options::RouterSettings;
use mesh_proto::crypto::identity::Identity;
use mesh_proto::entropy::Entropy;
use mesh_proto::ids::PeerName;
use mesh_sys::socket::tcp::limit_segments;
use mesh_sys::udp::Udp;
use tokio::net::{TcpListener, UnixListener};

use crate::api::{self, SocketFile, targets};
use crate::clock::OsEntropy;
use crate::host;
use crate::run::watch;
use crate::state::Store;
use crate::warnings::Warnings;

/// Resources acquired before the first kernel object is created.
pub(super) struct StartResources {
    pub(super) api: UnixListener,
    /// Removes the API socket on drop.
    _socket: SocketFile,
    pub(super) listener: TcpListener,
    /// One socket per lane, all on one port.
    pub(super) udp: Vec<Udp>,
    pub(super) store: Arc<Store>,
    pub(super) identity: Arc<Identity>,
    pub(super) epoch: u64,
    pub(super) name: PeerName,
    pub(super) underlay: host::HostUnderlay,
    pub(super) pins: BTreeMap<PeerName, [u8; 32]>,
}

impl StartResources {
    pub(super) async fn open(
        settings: &RouterSettings,
        warnings: &Warnings,
    ) -> anyhow::Result<Self> {
        let given = settings.peers.iter().chain(&settings.configured);
        targets::check(given, settings.port)?;
        let api = api::bind(&settings.socket).await?;
        let socket = SocketFile(settings.socket.clone());
        let listener = listen(settings)?;
        watch::look_at_listening(settings.host, warnings);
        let udp = Udp::bind_group(settings.host, settings.port, settings.lanes)?;
        for socket in &udp {
            // The router does its own path MTU discovery and fragmentation.
            socket.set_dont_fragment(true)?;
        }
        let store = Arc::new(Store::open(&settings.state_dir)?);
        let boot = store.boot(|| (OsEntropy.key(), OsEntropy.key()))?;
        let identity = Arc::new(Identity::from_seeds(boot.sign, boot.dh));
        Ok(Self {
            api,
            _socket: socket,
            listener,
            udp,
            name: settings
                .name
                .unwrap_or_else(|| identity.id().derived_name()),
            identity,
            epoch: boot.epoch,
            underlay: host::underlay(settings.host, settings.port, &settings.bridge)?,
            pins: stored_pins(&store)?,
            store,
        })
    }
}

fn stored_pins(store: &Store) -> anyhow::Result<BTreeMap<PeerName, [u8; 32]>> {
    let parse = |(name, key): (String, [u8; 32])| Ok((name.parse()?, key));
    store.pins()?.into_iter().map(parse).collect()
}

fn listen(settings: &RouterSettings) -> anyhow::Result<TcpListener> {
    let mut last = None;
    for ip in listen_addresses(settings.host) {
        let address = SocketAddr::new(ip, settings.port);
        match mesh_sys::socket::tcp::listen(address).and_then(TcpListener::from_std) {
            Ok(listener) => {
                limit_segments(&listener)?;
                return Ok(listener);
            }
            Err(error) => last = Some(in_use(&error, address)),
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("no address to listen on")))
}

/// Returns the wildcard addresses of both families (IPv4 alone on a host without IPv6), or the requested address.
fn listen_addresses(host: Option<IpAddr>) -> Vec<IpAddr> {
    match host {
        Some(host) => vec![host],
        None => vec![Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()],
    }
}

fn in_use(error: &std::io::Error, address: SocketAddr) -> anyhow::Error {
    let text = error.to_string();
    let text = text
        .split(" (os error")
        .next()
        .unwrap_or_default()
        .to_lowercase();
    let hint = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "; another router or program has it: mesh status tells, or choose another --port"
        }
        _ => "",
    };
    anyhow::anyhow!("cannot listen on TCP {address}: {text}{hint}")
}
