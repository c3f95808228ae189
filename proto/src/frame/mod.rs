//! Views of what travels inside: Ethernet frames and ARP packets. No byte string makes them panic.

pub mod arp;
pub mod ethernet;
