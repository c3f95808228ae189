//! Recognition of the mesh's own underlay traffic in frames of the local port.
//!
//! If an underlay address is reached through the mesh itself (`mesh attach-bridge`, an exposed host), each datagram
//! of a router would enter the mesh again by that router's own port, be sealed, sent, and enter again: a storm.
//! Therefore traffic between routers of this mesh is dropped at the port ([`super::DropReason::Underlay`]), and never
//! answers a probe.
//!
//! | traffic | recognised by |
//! |---|---|
//! | datagrams (UDP) | header of a mesh datagram, and: one end is a router's address, or the session is this router's |
//! | links (TCP) | one end is an address and port of a router, the other end an address of one |
//! | plain VXLAN (UDP) | the same, at the port after that of datagrams |
//!
//! So traffic between containers passes, including that of another mesh inside them. The control plane fills the
//! table; lanes look it up only for packets with such a header or such a port.

use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

use super::{Snapshot, lock};
use crate::frame::ethernet::EthernetView;
use crate::frame::transport::TransportView;
use crate::ids::PeerId;
use crate::limits::MAX_LOOPED;
use crate::wire::datagram::Header;

/// Underlay addresses of all routers, and those whose traffic came back through the mesh.
#[derive(Debug, Default)]
pub struct Underlay {
    table: RwLock<EndpointTable>,
    ports: Ports,
    looped: Mutex<BTreeMap<SocketAddr, u64>>,
}

/// Source from which an address is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum AddressSource {
    /// Addresses of this host, announced or not.
    Host,
    /// Remote addresses of this router's links.
    Links,
    /// Records of a router: the addresses at which it, and the routers it dialled, can be reached.
    Records(PeerId),
}

#[derive(Debug, Default)]
struct EndpointTable {
    said: BTreeMap<AddressSource, Vec<SocketAddr>>,
    /// Number of sources that name each address.
    endpoints: BTreeMap<SocketAddr, u32>,
    ips: BTreeMap<IpAddr, u32>,
    ports: BTreeMap<u16, u32>,
}

impl Underlay {
    /// Sets the addresses of the host, and the port at which this router listens.
    pub fn set_host(&self, ips: &[IpAddr], port: u16) {
        let all = ips.iter().map(|ip| SocketAddr::new(*ip, port));
        self.set(AddressSource::Host, all.collect());
    }

    /// Sets the remote addresses of this router's links.
    pub fn set_links(&self, addresses: Vec<SocketAddr>) {
        self.set(AddressSource::Links, addresses);
    }

    /// Sets the addresses in the records of `router`: its own, and those it dialled. An empty list removes it.
    pub fn set_router(&self, router: PeerId, addresses: Vec<SocketAddr>) {
        self.set(AddressSource::Records(router), addresses);
    }

    fn set(&self, by: AddressSource, addresses: Vec<SocketAddr>) {
        let addresses: Vec<SocketAddr> = addresses.into_iter().map(canonical).collect();
        if self.read().said.get(&by).map_or(&[][..], Vec::as_slice) == addresses {
            return;
        }
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        for address in &addresses {
            table.add(*address);
            self.ports.set(address.port(), true);
        }
        for old in table.said.remove(&by).unwrap_or_default() {
            table.remove(old);
            if !table.ports.contains_key(&old.port()) {
                self.ports.set(old.port(), false);
            }
        }
        if !addresses.is_empty() {
            table.said.insert(by, addresses);
        }
    }

    /// Returns true if the frame is underlay traffic between routers of this mesh.
    pub(super) fn carries(&self, snap: &Snapshot, frame: &EthernetView<'_>) -> bool {
        let Some(packet) = TransportView::from_frame(frame) else {
            return false;
        };
        let header = packet.udp.then(|| Header::parse(packet.payload).ok());
        let is_ours = match header {
            Some(Some(header)) => {
                snap.sealing.contains(&header.receiver) || self.read().names_one(&packet)
            }
            Some(None) => {
                let vxlan = packet.destination.port().wrapping_sub(1);
                self.ports.has(vxlan) && self.read().names_both(&packet, vxlan)
            }
            None => {
                let (from, to) = (packet.source.port(), packet.destination.port());
                (self.ports.has(to) && self.read().names_both(&packet, to))
                    || (self.ports.has(from) && self.read().names_both(&packet.reversed(), from))
            }
        };
        if is_ours {
            self.note(&packet);
        }
        is_ours
    }

    /// Records the remote address whose traffic came back through the mesh.
    fn note(&self, packet: &TransportView<'_>) {
        let table = self.read();
        let is_mine = |address: SocketAddr| table.is_mine(address.ip());
        let far = match is_mine(packet.destination) {
            true => packet.source,
            false => packet.destination,
        };
        drop(table);
        let mut looped = lock(&self.looped);
        if looped.len() < MAX_LOOPED || looped.contains_key(&far) {
            *looped.entry(far).or_default() += 1;
        }
    }

    /// Takes the addresses whose traffic came back through the mesh since the last call, with the number of packets.
    pub fn take_looped(&self) -> BTreeMap<SocketAddr, u64> {
        core::mem::take(&mut lock(&self.looped))
    }

    /// Returns the number of known addresses.
    pub fn len(&self) -> usize {
        self.read().endpoints.len()
    }

    /// Returns true if no address is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read(&self) -> RwLockReadGuard<'_, EndpointTable> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EndpointTable {
    fn add(&mut self, address: SocketAddr) {
        *self.endpoints.entry(address).or_default() += 1;
        *self.ips.entry(address.ip()).or_default() += 1;
        *self.ports.entry(address.port()).or_default() += 1;
    }

    fn remove(&mut self, address: SocketAddr) {
        one_less(&mut self.endpoints, &address);
        one_less(&mut self.ips, &address.ip());
        one_less(&mut self.ports, &address.port());
    }

    fn names_one(&self, packet: &TransportView<'_>) -> bool {
        let known = |end| self.endpoints.contains_key(end);
        known(&packet.destination) || known(&packet.source)
    }

    /// Returns true if the destination, at this port, is a router's, and the source has the address of a router.
    fn names_both(&self, packet: &TransportView<'_>, port: u16) -> bool {
        let to = SocketAddr::new(packet.destination.ip(), port);
        self.endpoints.contains_key(&to) && self.ips.contains_key(&packet.source.ip())
    }

    fn is_mine(&self, ip: IpAddr) -> bool {
        let mine = self.said.get(&AddressSource::Host);
        mine.is_some_and(|mine| mine.iter().any(|address| address.ip() == ip))
    }
}

fn one_less<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// Normalises to the form found in packets: no IPv6 zone, no IPv4-mapped address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Set of ports that is read without a lock.
#[derive(Debug)]
struct Ports(Box<[AtomicU64; 1024]>);

impl Default for Ports {
    fn default() -> Self {
        Self(Box::new([const { AtomicU64::new(0) }; 1024]))
    }
}

impl Ports {
    fn has(&self, port: u16) -> bool {
        self.0[usize::from(port / 64)].load(Relaxed) >> (port % 64) & 1 == 1
    }

    fn set(&self, port: u16, on: bool) {
        let (word, bit) = (&self.0[usize::from(port / 64)], 1 << (port % 64));
        if on {
            word.fetch_or(bit, Relaxed);
        } else {
            word.fetch_and(!bit, Relaxed);
        }
    }
}
