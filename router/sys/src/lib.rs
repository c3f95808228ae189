//! System calls and unsafe code of mesh; there is none elsewhere.
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
