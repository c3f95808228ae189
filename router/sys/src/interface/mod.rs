//! Network interfaces: settings, offloads, and the announcement of their addresses.

pub mod arp;
pub mod drops;
pub mod ethtool;
pub mod sysctl;
