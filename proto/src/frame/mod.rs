//! Views of what travels inside: Ethernet frames, ARP, IP and neighbour discovery packets; and what becomes of a frame that a path is too
//! narrow for. No byte string makes them panic.

pub mod arp;
pub mod ethernet;
pub mod fit;
pub mod icmp;
pub mod ipv4;
pub mod ipv4_fragment;
pub mod ipv6;
pub mod ndp;
pub mod transport;
