//! Networks as the attachments of this host see them: names and memberships of the service, bridges with ports of the lanes.

use std::fmt;
use std::sync::Arc;

use mesh_networks::{NetworkDefinition, NewNetwork};
use mesh_proto::network::NetworkId;
use mesh_sys::netlink::HostLinks;
use mesh_sys::port::PortError;

use crate::attach::kernel::{KernelError, KernelResult, NetworkBridges};
use crate::attach::{CreateAnswer, JoinAnswer, NetworkAccess};
use crate::lanes::networks::{MendedNetworks, NetworkPorts};
use crate::networks::NetworksClient;

/// Networks that the mesh has, and this router's membership in them.
pub(super) struct NetworkService(pub(super) NetworksClient);

/// Bridges of networks, with ports that the lanes serve.
pub(super) struct LaneBridges(pub(super) NetworkPorts);

impl NetworkAccess for NetworkService {
    fn resolve(&self, name: &str) -> Result<NetworkId, String> {
        self.0.resolve(name)
    }

    fn join(&self, network: NetworkId) -> JoinAnswer<'_> {
        Box::pin(self.0.join(network))
    }

    fn definition(&self, network: &NetworkId) -> Option<Arc<NetworkDefinition>> {
        self.0.definition(network)
    }

    fn create(&self, new: NewNetwork) -> CreateAnswer<'_> {
        Box::pin(self.0.create(new))
    }

    fn remove(&self, network: NetworkId) -> JoinAnswer<'_> {
        Box::pin(async move {
            let removed = self.0.remove(&network.to_string(), false).await;
            removed.map(drop).map_err(|why| why.text(&[]))
        })
    }

    fn all(&self) -> Vec<Arc<NetworkDefinition>> {
        self.0.directory().borrow().all().cloned().collect()
    }

    fn is_removed(&self, network: &NetworkId) -> bool {
        self.0.directory().borrow().is_removed(network)
    }
}

impl NetworkBridges for LaneBridges {
    fn open(&self, network: NetworkId, mtu: u16, alias: &str) -> KernelResult<()> {
        self.0.open(network, mtu, alias).map_err(|e| failed(&e))
    }

    fn close(&self, network: NetworkId) -> KernelResult<()> {
        self.0.close(network).map_err(|e| failed(&e))
    }

    fn mend(&self, host: &HostLinks) -> KernelResult<MendedNetworks> {
        self.0.mend(host).map_err(|e| failed(&e))
    }

    fn bridge(&self, network: NetworkId) -> String {
        self.0.bridge(network)
    }

    fn strays(&self, host: &HostLinks) -> Vec<String> {
        self.0.strays(host)
    }

    fn remove_stray(&self, bridge: &str) -> KernelResult<()> {
        self.0.remove_stray(bridge).map_err(|e| failed(&e))
    }
}

impl fmt::Debug for LaneBridges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LaneBridges")
    }
}

fn failed(error: &PortError) -> KernelError {
    KernelError(error.to_string())
}
