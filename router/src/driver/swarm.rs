//! Calls of Docker's Swarm, which come through the managed plugin.

use mesh_engine::plugin::process::WITHOUT_ROUTER;
use mesh_engine::plugin::swarm::{self, SwarmIpamCall, SwarmNetwork};
use mesh_engine::plugin::{call, ipam};
use mesh_host::docker::swarm::SwarmPoolId;

use super::{DriverBackend, Reply};
use crate::attach::SwarmNetworks;

/// Token of pools that are made without the router: a node keeps nothing of them.
const ALONE: &str = "node";

/// Makes a network for all nodes.
pub(super) async fn allocate(backend: &DriverBackend, new: SwarmNetwork) -> Reply {
    let DriverBackend::Router(attachments) = backend else {
        return Err(WITHOUT_ROUTER.into());
    };
    let options = attachments.docker().swarm.allocate(new).await;
    let options = options.map_err(|e| e.to_string())?;
    Ok(swarm::allocated(&options))
}

/// Answers a call about a pool. A node is answered without the router, as what it asks for says all.
pub(super) async fn of_pool(backend: &DriverBackend, call: SwarmIpamCall) -> Reply {
    match backend {
        DriverBackend::Router(attachments) => of_router(&attachments.docker().swarm, call).await,
        DriverBackend::Alone(_) => without_router(call),
        DriverBackend::Reset => match call {
            SwarmIpamCall::ReleasePool(_) | SwarmIpamCall::ReleaseAddress { .. } => {
                Ok(call::done())
            }
            _ => Err("mesh is being reset".into()),
        },
    }
}

async fn of_router(networks: &SwarmNetworks, call: SwarmIpamCall) -> Reply {
    match call {
        SwarmIpamCall::RequestPool { subnet, ip_range } => {
            let pool = networks.request_pool(subnet, ip_range).await;
            Ok(swarm::pool(&pool.map_err(|e| e.to_string())?))
        }
        SwarmIpamCall::RequestAddress {
            pool,
            wanted,
            is_leader,
        } => {
            let given = networks.request_address(&pool, wanted, is_leader);
            Ok(ipam::address(given.map_err(|e| e.to_string())?.into()))
        }
        SwarmIpamCall::ReleaseAddress { pool, address } => {
            if let Some(address) = address {
                networks.release_address(&pool, address);
            }
            Ok(call::done())
        }
        SwarmIpamCall::ReleasePool(pool) => {
            networks.release_pool(&pool);
            Ok(call::done())
        }
    }
}

fn without_router(call: SwarmIpamCall) -> Reply {
    match call {
        SwarmIpamCall::RequestPool {
            subnet: Some(subnet),
            ip_range,
        } => {
            let pool = SwarmPoolId::new(subnet, ip_range, ALONE);
            Ok(swarm::pool(&pool.map_err(|e| e.to_string())?))
        }
        SwarmIpamCall::RequestAddress {
            pool,
            wanted,
            is_leader: false,
        } => {
            let given = pool.on_node(wanted).map_err(|e| e.to_string())?;
            Ok(ipam::address(given.into()))
        }
        SwarmIpamCall::RequestPool { .. } | SwarmIpamCall::RequestAddress { .. } => {
            Err(WITHOUT_ROUTER.into())
        }
        // Those of a leader are replaced as a whole when the leader asks again.
        SwarmIpamCall::ReleaseAddress { .. } | SwarmIpamCall::ReleasePool(_) => Ok(call::done()),
    }
}
