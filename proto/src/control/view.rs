//! Common view of the parts: read by the part that acts, and by the report.

use std::net::{IpAddr, SocketAddr};

use crate::forward::Path;
use crate::ids::PeerId;
use crate::topology::routes::Routes;

use super::gossip::Gossip;
use super::links::Links;
use super::paths::Paths;

/// The parts of a control plane that say what is known.
#[derive(Clone, Copy)]
pub(crate) struct ControlView<'a> {
    /// The links.
    pub(crate) links: &'a Links,
    /// The paths.
    pub(crate) paths: &'a Paths,
    /// The database.
    pub(crate) gossip: &'a Gossip,
    /// The routes.
    pub(crate) routes: &'a Routes,
}

impl ControlView<'_> {
    /// Returns the underlay addresses of a peer that may be dialled from here: those that it announces, and those at which its
    /// neighbours dialled it.
    pub(crate) fn addresses_of(&self, peer: &PeerId) -> Vec<SocketAddr> {
        let mut addresses = self.gossip.addresses_of(peer);
        addresses.retain(|a| !is_link_local(a.ip()) && self.paths.leads_out(*a));
        addresses
    }

    /// Returns how datagrams for `peer` leave this router.
    pub(crate) fn path_to(&self, peer: &PeerId) -> Path {
        if let Some(direct) = self.paths.direct(peer) {
            return Path::Direct(direct.address);
        }
        match self.routes.next_hop(peer) {
            Some((next, _)) if next != *peer && self.paths.direct(&next).is_some() => {
                Path::Via(next)
            }
            _ => Path::None,
        }
    }

    /// Returns the UDP address of a peer with a link: where we dialled, the port is the one that we dialled; an inbound link
    /// shows only the host.
    pub(crate) fn udp_address(
        &self,
        peer: &PeerId,
        (tcp, outbound): (SocketAddr, bool),
        default_port: u16,
    ) -> SocketAddr {
        if outbound {
            return tcp;
        }
        let announced = self.gossip.identity(peer).and_then(|b| b.endpoints.first());
        let port = announced.map_or(default_port, SocketAddr::port);
        let mut address = tcp;
        address.set_port(port);
        address
    }
}

/// Returns true if an address means something only together with an interface.
pub(crate) fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}
