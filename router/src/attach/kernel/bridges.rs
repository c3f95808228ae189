//! Bridges of networks besides `default`: the seam at which the router's lanes join them.

use std::fmt::Debug;

use mesh_proto::network::NetworkId;
use mesh_sys::bridge::network::{NetworkMark, ensure_network_bridge, remove_network_bridge};
use mesh_sys::bridge::{BridgeConfig, PortKind};
use mesh_sys::ifname;
use mesh_sys::netlink::HostLinks;

use super::{KernelResult, error};
use crate::lanes::networks::MendedNetworks;

/// Makes the bridge of each network, with the router's port on it.
pub trait NetworkBridges: Debug + Send + Sync {
    /// Makes the bridge of a network and the port on it, unless they are there. Idempotent; `alias` is for people.
    ///
    /// # Errors
    /// The kernel's.
    fn open(&self, network: NetworkId, mtu: u16, alias: &str) -> KernelResult<()>;

    /// Removes the bridge and its port; success if there is none.
    ///
    /// # Errors
    /// The kernel's.
    fn close(&self, network: NetworkId) -> KernelResult<()>;

    /// Repairs what other programs did to the bridges that are open, and to their ports.
    ///
    /// # Errors
    /// The first failure, after the rest was tried.
    fn mend(&self, host: &HostLinks) -> KernelResult<MendedNetworks>;

    /// Returns the name of the bridge of a network; that of `default` is the main one.
    fn bridge(&self, network: NetworkId) -> String;

    /// Returns bridges of networks that were left by an earlier run.
    fn strays(&self, host: &HostLinks) -> Vec<String>;

    /// Removes one of them, with what is on it.
    ///
    /// # Errors
    /// The kernel's.
    fn remove_stray(&self, bridge: &str) -> KernelResult<()>;
}

/// Bridges without a port to the router: in processes that carry no frames.
#[derive(Clone, Debug)]
pub struct PlainBridges(BridgeConfig);

impl PlainBridges {
    /// Returns bridges beside this main one.
    pub fn new(main: BridgeConfig) -> Self {
        Self(main)
    }
}

impl NetworkBridges for PlainBridges {
    fn open(&self, network: NetworkId, mtu: u16, alias: &str) -> KernelResult<()> {
        let mark = NetworkMark::new(&self.0.name, network, alias);
        let config = BridgeConfig {
            name: mark.bridge(),
            mtu,
            // A port of this kind is made by the process that opens it.
            port: PortKind::Tap,
            ..self.0.clone()
        };
        ensure_network_bridge(&config, &mark)
            .map(drop)
            .map_err(error)
    }

    fn close(&self, network: NetworkId) -> KernelResult<()> {
        self.remove_stray(&self.bridge(network))
    }

    fn mend(&self, _: &HostLinks) -> KernelResult<MendedNetworks> {
        Ok(MendedNetworks::default())
    }

    fn bridge(&self, network: NetworkId) -> String {
        ifname::network_bridge(&self.0.name, &network)
    }

    fn strays(&self, _: &HostLinks) -> Vec<String> {
        Vec::new()
    }

    fn remove_stray(&self, bridge: &str) -> KernelResult<()> {
        remove_network_bridge(bridge).map(drop).map_err(error)
    }
}
