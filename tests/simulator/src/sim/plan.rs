//! Parameters of a world.

use std::sync::Arc;
use std::time::Duration;

use mesh_ipam::{NetworkPlan, Slicing};
use mesh_proto::crypto::aead::Suites;
use mesh_proto::crypto::secret::MeshSecret;

use super::addresses::AddressSetup;
use super::fault::{InjectedFault, VICTIM};
use super::host::SimHost;
use super::layout::Joined;
use super::network::HostId;
use super::rng::Rng;
use super::router::RouterSetup;
use super::verifier::VerifierCache;

/// Initial parameters of a world.
pub(crate) struct WorldPlan {
    pub(crate) hosts: usize,
    pub(crate) targets: Vec<Vec<HostId>>,
    pub(crate) joined: Joined,
    /// True if targets are names rather than addresses.
    pub(crate) names: bool,
    pub(crate) open: bool,
    /// Largest offset between the hosts' clocks.
    pub(crate) clocks: Duration,
    pub(crate) fault: Option<InjectedFault>,
    /// Address range of containers.
    pub(crate) slicing: Slicing,
    /// Seed of the networks besides `default`, if there are any.
    pub(crate) networks: Option<u64>,
}

/// Parameters that all routers of a run have in common.
pub(crate) struct MeshParameters {
    pub(crate) joined: Joined,
    secret: Arc<MeshSecret>,
    verifier: Arc<VerifierCache>,
    slicing: Slicing,
    /// Subnets of the networks besides `default`.
    pub(crate) plans: Vec<NetworkPlan>,
    fault: Option<InjectedFault>,
}

impl MeshParameters {
    pub(crate) fn new(plan: &WorldPlan, verifier: Arc<VerifierCache>, rng: &mut Rng) -> Self {
        let secret = if plan.open {
            MeshSecret::open()
        } else {
            MeshSecret::from_key_bytes(rng.key())
        };
        Self {
            joined: plan.joined.clone(),
            secret: Arc::new(secret),
            verifier,
            slicing: plan.slicing,
            plans: Vec::new(),
            fault: plan.fault,
        }
    }

    pub(crate) fn secret(&self) -> Arc<MeshSecret> {
        self.secret.clone()
    }

    /// Returns the injected fault of the run.
    pub(crate) fn fault(&self) -> Option<InjectedFault> {
        self.fault
    }

    /// True if this router has this injected fault.
    pub(crate) fn has_fault(&self, host: HostId, fault: InjectedFault) -> bool {
        host == VICTIM && self.fault == Some(fault)
    }

    /// Returns the parameters of the next start of a host's router, which reads these journals of addresses.
    pub(crate) fn router_setup(&self, host: &SimHost, journals: [Vec<Vec<u8>>; 2]) -> RouterSetup {
        RouterSetup {
            nickname: format!("h{}", host.id()),
            address: host.address(),
            discovery: self.joined.discovery,
            secret: self.secret.clone(),
            verifier: self.verifier.clone(),
            attached: host.attached(),
            networks: host.networks(),
            addresses: Some(AddressSetup {
                slicing: self.slicing,
                journals,
                plans: self.plans.clone(),
            }),
            // Every third host has no AES instructions.
            suites: if host.id() % 3 == 2 {
                Suites::CHACHA
            } else {
                Suites::AES_FIRST
            },
            clock: host.clock(),
            fault: self.fault.filter(|_| host.id() == VICTIM),
        }
    }
}
