//! Parsers and builders for frames inside the mesh (Ethernet, ARP, IP, ICMP, neighbour discovery), and the handling
//! of frames that exceed the path MTU. No input panics.

pub mod arp;
pub mod ethernet;
pub mod fit;
pub mod icmp;
pub mod ipv4;
pub mod ipv4_fragment;
pub mod ipv6;
pub mod ndp;
pub mod transport;
