//! System calls and unsafe code of mesh; there is none elsewhere.
//!
//! | part | what it does |
//! |---|---|
//! | [`port`], [`udp`] | frames from and to the bridge (TAP, pcap); datagrams in batches, segmented by the kernel |
//! | [`bridge`], [`attach`], [`vxlan`] | the bridge and its ports; interfaces of containers; the fast path |
//! | [`firewall`] | rules for exposed addresses and the router's port |
//! | [`interface`], [`ifname`] | settings and offloads of interfaces; announcement of their addresses |
//! | [`netlink`], [`netns`] | the kernel's interfaces that the parts above use |
//! | [`process`] | the router's own process: capabilities, environment, file descriptors, latency |
//! | [`socket`], [`resolver`] | sockets with the options that std does not have; Docker's DNS resolver |
//!
//! The interface is synchronous. Functions that name an interface (netlink, ports, sysctls, ARP) act in the network
//! namespace of the calling thread; [`netns::Netns::run_in`] runs a closure in another one.
#![deny(clippy::undocumented_unsafe_blocks)]

pub mod attach;
mod bpf;
pub mod bridge;
pub mod error;
pub mod firewall;
pub mod ifname;
pub mod inplace;
pub mod interface;
pub mod netlink;
pub mod netns;
pub mod plan;
pub mod port;
pub mod process;
pub mod resolver;
pub mod socket;
pub mod udp;
pub mod vxlan;

#[cfg(test)]
mod testing;

pub use error::SysError;
