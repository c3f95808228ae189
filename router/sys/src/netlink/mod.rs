//! Synchronous, typed interface to rtnetlink.
//!
//! A [`Netlink`] belongs to the network namespace of the thread that opened it, and may be used from any other
//! thread.

mod address;
mod brport;
mod fdb;
mod link;
mod lookup;
mod queue;
mod socket;
mod vxlan;

pub use address::{AddressEntry, RouteEntry};
pub use brport::Changed;
pub use fdb::{FdbRow, Known, Remote};
pub use link::{BridgeSpec, Link, VethSpec};
pub use lookup::Lookup;
pub use socket::Netlink;
pub use vxlan::{PortFlags, VxlanSpec};

use netlink_packet_route::link::LinkMessage;

/// Returns an empty message about the interface with this index.
fn of_index(index: u32) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link
}
