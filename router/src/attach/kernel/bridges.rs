//! Bridges of networks besides `default`: the seam at which the router's lanes join them.

use std::fmt::Debug;

use mesh_proto::network::NetworkId;
use mesh_sys::bridge::{self, BridgeConfig};
use mesh_sys::ifname;

use super::{KernelError, KernelResult};

/// Makes the bridge of each network, with the router's port on it.
pub trait NetworkBridges: Debug + Send + Sync {
    /// Makes the bridge of a network and the port on it, or mends them. Idempotent; `alias` is for people.
    ///
    /// # Errors
    /// The kernel's.
    fn open(&self, network: NetworkId, mtu: u16, alias: &str) -> KernelResult<()>;

    /// Removes the bridge and its port; success if there is none.
    ///
    /// # Errors
    /// The kernel's.
    fn close(&self, network: NetworkId) -> KernelResult<()>;

    /// Returns the name of the bridge of a network; that of `default` is the main one.
    fn bridge(&self, network: NetworkId) -> String;

    /// Returns bridges of networks that were left by an earlier run.
    fn strays(&self) -> Vec<String>;

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
    fn open(&self, network: NetworkId, mtu: u16, _: &str) -> KernelResult<()> {
        let config = BridgeConfig {
            name: self.bridge(network),
            mtu,
            // A port of this kind is made by the process that opens it.
            port: bridge::PortKind::Tap,
            ..self.0.clone()
        };
        bridge::ensure_bridge(&config).map(drop).map_err(error)
    }

    fn close(&self, network: NetworkId) -> KernelResult<()> {
        bridge::remove_all(&self.bridge(network))
            .map(drop)
            .map_err(error)
    }

    fn bridge(&self, network: NetworkId) -> String {
        network_bridge(&self.0.name, network)
    }

    fn strays(&self) -> Vec<String> {
        Vec::new()
    }

    fn remove_stray(&self, bridge: &str) -> KernelResult<()> {
        bridge::remove_all(bridge).map(drop).map_err(error)
    }
}

/// Returns the name of the bridge of a network.
fn network_bridge(base: &str, network: NetworkId) -> String {
    match network.is_default() {
        true => base.to_owned(),
        false => ifname::hashed(&[base, "network", &network.to_string()]),
    }
}

fn error(e: impl std::fmt::Display) -> KernelError {
    KernelError(e.to_string())
}
