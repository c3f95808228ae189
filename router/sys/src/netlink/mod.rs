//! A synchronous, typed facade over rtnetlink.
//!
//! A [`Netlink`] belongs to the network namespace of the thread that opened it and may be used from any other.

mod address;
mod link;
mod queue;
mod socket;

pub use address::{AddressEntry, RouteEntry};
pub use link::{BridgeSpec, Link, VethSpec};
pub use socket::Netlink;
