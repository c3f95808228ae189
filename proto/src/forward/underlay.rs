//! The mesh's own traffic, recognised when it comes in by the port.
//!
//! Where an underlay address is reached through the mesh itself (`mesh attach-bridge`, an exposed host), each datagram of a
//! router would enter the mesh again by that router's own port, be sealed, sent, and enter again: a storm. So what passes
//! between routers of this mesh is dropped there ([`super::DropReason::Underlay`]), and never answers a probe.
//!
//! | what | recognised by |
//! |---|---|
//! | datagrams (UDP) | a header of a mesh datagram, and: one end is an address of a router, or the session is one of ours |
//! | links (TCP) | one end is an address and port of a router, the other an address of one |
//! | plain VXLAN (UDP) | the same, at the port after that of datagrams |
//!
//! So what containers say to each other passes, also a mesh of their own. The control plane fills the table; lanes look at
//! it only for what has such a header, or such a port.

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

/// The underlay addresses of all routers, and those that led back into the mesh.
#[derive(Debug, Default)]
pub struct Underlay {
    table: RwLock<Table>,
    ports: Ports,
    looped: Mutex<BTreeMap<SocketAddr, u64>>,
}

/// Whose word an address is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum By {
    /// The host's: its own addresses, whether announced or not.
    Host,
    /// This router's: where it is linked to.
    Links,
    /// A router's records: where it, and those it dialled, can be reached.
    Records(PeerId),
}

#[derive(Debug, Default)]
struct Table {
    said: BTreeMap<By, Vec<SocketAddr>>,
    /// How often each is said.
    endpoints: BTreeMap<SocketAddr, u32>,
    ips: BTreeMap<IpAddr, u32>,
    ports: BTreeMap<u16, u32>,
}

impl Underlay {
    /// The host has these addresses, and listens at this port.
    pub fn set_host(&self, ips: &[IpAddr], port: u16) {
        let all = ips.iter().map(|ip| SocketAddr::new(*ip, port));
        self.set(By::Host, all.collect());
    }

    /// These are the other ends of this router's links.
    pub fn set_links(&self, addresses: Vec<SocketAddr>) {
        self.set(By::Links, addresses);
    }

    /// The records of `router` name these addresses, its own and those it dialled; none: it is gone.
    pub fn set_router(&self, router: PeerId, addresses: Vec<SocketAddr>) {
        self.set(By::Records(router), addresses);
    }

    fn set(&self, by: By, addresses: Vec<SocketAddr>) {
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

    /// Whether the frame is traffic between routers of this mesh.
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

    /// Remembers which address led back here.
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

    /// The addresses that led back into the mesh since the last call, with the number of packets.
    pub fn take_looped(&self) -> BTreeMap<SocketAddr, u64> {
        core::mem::take(&mut lock(&self.looped))
    }

    /// How many addresses are known.
    pub fn len(&self) -> usize {
        self.read().endpoints.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
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

    /// Whether the destination, at this port, is a router's, and the source is at a router's address.
    fn names_both(&self, packet: &TransportView<'_>, port: u16) -> bool {
        let to = SocketAddr::new(packet.destination.ip(), port);
        self.endpoints.contains_key(&to) && self.ips.contains_key(&packet.source.ip())
    }

    fn is_mine(&self, ip: IpAddr) -> bool {
        let mine = self.said.get(&By::Host);
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

/// Packets carry neither zones nor IPv4 addresses in their mapped form.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A set of ports that is read without a lock.
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
