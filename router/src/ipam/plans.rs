//! Subnets of networks, as the allocator is told them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_ipam::{NetworkPlan, SubnetPlan};
use mesh_networks::{NetworkDefinition, NetworkDirectory};
use mesh_proto::network::NetworkId;
use tokio::sync::watch;

use super::Allocator;

/// Returns the subnets of a network of which the mesh gives addresses. Its founder is the author of its definition, which never changes.
pub(crate) fn plan_of(definition: &NetworkDefinition) -> NetworkPlan {
    let subnets = definition.subnets.iter().filter_map(|subnet| {
        Some(SubnetPlan {
            subnet: subnet.net,
            // None is given of a subnet that is left to Swarm.
            range: definition.allocated_range(subnet)?,
            gateway: subnet.gateway,
        })
    });
    NetworkPlan {
        network: definition.id,
        founder: definition.version.author,
        subnets: subnets.collect(),
    }
}

/// Keeps the allocator informed of networks, until the networks are gone: their founders are asked for addresses, also where
/// they have no container themselves.
pub(crate) async fn tell_plans(
    mut directory: watch::Receiver<Arc<NetworkDirectory>>,
    allocator: Allocator,
) {
    let mut told: BTreeMap<NetworkId, NetworkPlan> = BTreeMap::new();
    let mut dropped: BTreeSet<NetworkId> = BTreeSet::new();
    loop {
        let now = directory.borrow_and_update().clone();
        let gone = removed(&told, &now);
        for network in gone.difference(&dropped) {
            told.remove(network);
            allocator.remove_network(*network).await;
        }
        dropped = gone;
        for definition in now.definitions() {
            let plan = plan_of(definition);
            if told.get(&plan.network) != Some(&plan) {
                told.insert(plan.network, plan.clone());
                allocator.define(plan, false).await;
            }
        }
        if directory.changed().await.is_err() {
            return;
        }
    }
}

/// Returns the networks that are removed, those that were told and those that a journal may know.
fn removed(
    told: &BTreeMap<NetworkId, NetworkPlan>,
    directory: &NetworkDirectory,
) -> BTreeSet<NetworkId> {
    let told = told.keys().copied();
    let gone = told.filter(|network| directory.get(network).is_none());
    gone.chain(directory.removed()).collect()
}
