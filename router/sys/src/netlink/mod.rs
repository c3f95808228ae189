//! Synchronous, typed interface to rtnetlink.
//!
//! A [`Netlink`] belongs to the network namespace of the thread that opened it, and may be used from any other
//! thread. Its requests are grouped by object, as in `ip` and `bridge` of iproute2.

mod address;
mod brport;
mod fdb;
mod host_links;
mod link;
mod lookup;
mod queue;
mod route;
mod socket;
mod vxlan;

pub use address::{AddressEntry, AddressHandle};
pub use brport::{BridgePortHandle, PortFlags, PortSetting};
pub use fdb::{FdbContent, FdbHandle, FdbRow, Remote};
pub use host_links::HostLinks;
pub use link::{BridgeSpec, LinkEntry, LinkHandle, VethSpec};
pub use lookup::Lookup;
pub use route::{RouteEntry, RouteHandle};
pub use vxlan::VxlanSpec;

use netlink_packet_route::link::LinkMessage;

use self::socket::RouteSocket;
use crate::SysError;

/// Rtnetlink socket, in the namespace of the thread that opened it.
#[derive(Debug)]
pub struct Netlink {
    socket: RouteSocket,
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// The errno of the failed system call, for instance if no file descriptor is left.
    pub fn open() -> Result<Self, SysError> {
        let socket = RouteSocket::open()?;
        Ok(Self { socket })
    }

    /// Returns the requests about interfaces.
    pub fn link(&mut self) -> LinkHandle<'_> {
        LinkHandle::new(&mut self.socket)
    }

    /// Returns the requests about ports of bridges.
    pub fn bridge_port(&mut self) -> BridgePortHandle<'_> {
        BridgePortHandle::new(&mut self.socket)
    }

    /// Returns the requests about IP addresses.
    pub fn address(&mut self) -> AddressHandle<'_> {
        AddressHandle::new(&mut self.socket)
    }

    /// Returns the requests about routes.
    pub fn route(&mut self) -> RouteHandle<'_> {
        RouteHandle::new(&mut self.socket)
    }

    /// Returns the requests about forwarding tables.
    pub fn fdb(&mut self) -> FdbHandle<'_> {
        FdbHandle::new(&mut self.socket)
    }
}

/// Returns an empty message about the interface with this index.
fn of_index(index: u32) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link
}
