//! The IPAM driver `mesh`: libnetwork's remote IPAM protocol.

use mesh_engine::plugin::ipam::{self, IpamCall};
use mesh_engine::plugin::process::WITHOUT_ROUTER;

use super::{Alone, DriverBackend, Reply};
use mesh_engine::plugin::call;

/// Answers one call.
pub(super) async fn carry_out(backend: &DriverBackend, call: IpamCall) -> Reply {
    let pools = match (&call, backend) {
        (IpamCall::Fixed(answer), _) => return Ok(answer.clone()),
        (IpamCall::AddressSpaces, _) => return Ok(ipam::address_spaces(backend.is_of_swarm())),
        (_, DriverBackend::Router(attachments)) => &attachments.docker().pools,
        (call, DriverBackend::Alone(alone)) => return carry_out_alone(alone, call),
        // The router finds what Docker has no more.
        (IpamCall::ReleasePool(_) | IpamCall::ReleaseAddress { .. }, _) => return Ok(call::done()),
        (_, DriverBackend::Reset) => return Err("mesh is being reset".into()),
    };
    match call {
        IpamCall::Fixed(answer) => Ok(answer),
        IpamCall::AddressSpaces => Ok(ipam::address_spaces(false)),
        IpamCall::RequestPool(wanted) => {
            let (id, subnet) = pools
                .request_pool(wanted)
                .await
                .map_err(|e| e.to_string())?;
            Ok(ipam::pool(&id, subnet))
        }
        IpamCall::ReleasePool(id) => {
            pools.release_pool(&id).await;
            Ok(call::done())
        }
        IpamCall::RequestAddress(wanted) => {
            let address = pools
                .request_address(wanted)
                .await
                .map_err(|e| e.to_string())?;
            Ok(ipam::address(address))
        }
        IpamCall::ReleaseAddress { pool, address } => {
            if let Some(address) = address {
                pools.release_address(&pool, address).await;
            }
            Ok(call::done())
        }
    }
}

fn carry_out_alone(alone: &Alone, call: &IpamCall) -> Reply {
    match call {
        IpamCall::Fixed(answer) => Ok(answer.clone()),
        IpamCall::AddressSpaces => Ok(ipam::address_spaces(alone.is_of_swarm())),
        IpamCall::RequestPool(_) => Err(WITHOUT_ROUTER.into()),
        IpamCall::RequestAddress(wanted) => alone.request_address(wanted).map(ipam::address),
        IpamCall::ReleaseAddress { pool, address } => {
            if let Some(address) = address {
                alone.release_address(pool, *address);
            }
            Ok(call::done())
        }
        // The router finds what Docker has no more.
        IpamCall::ReleasePool(_) => Ok(call::done()),
    }
}
