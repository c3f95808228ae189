//! System calls and unsafe code of mesh; there is none elsewhere.
//!
//! | part | what it does |
//! |---|---|
//! | [`port`], [`udp`] | frames from and to the bridge (TAP, pcap); datagrams in batches, segmented by the kernel |
//! | [`bridge`], [`attach`], [`vxlan`] | the bridge and its ports; interfaces of containers; the fast path |
//! | [`firewall`], [`sysctl`], [`arp`] | rules for exposed addresses and the router's port; settings; announcements |
//! | [`netlink`], [`netns`], [`ethtool`] | the kernel's interfaces that the parts above use |
//! | [`process`], [`descriptors`], [`environment`], [`latency`] | the router's own process |
//! | [`tcp`], [`unix`], [`loopback`], [`resolver`], [`packet`] | sockets with the options that std does not have |
//!
//! The interface is synchronous. Functions that name an interface (netlink, ports, sysctls, ARP) act in the network
//! namespace of the calling thread; [`netns::Netns::run_in`] runs a closure in another one.
#![deny(clippy::undocumented_unsafe_blocks)]

pub mod arp;
pub mod attach;
mod bpf;
pub mod bridge;
pub mod descriptors;
pub mod environment;
pub mod error;
pub mod ethtool;
pub mod firewall;
pub mod ifname;
pub mod inplace;
pub mod latency;
pub mod loopback;
pub mod netlink;
pub mod netns;
pub mod packet;
pub mod plan;
pub mod port;
pub mod process;
pub mod resolver;
pub mod sysctl;
pub mod tcp;
pub mod udp;
pub mod unix;
pub mod vxlan;

#[cfg(test)]
mod testing;

pub use error::SysError;
