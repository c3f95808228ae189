//! Hosts: their persistent state and their addresses.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mesh_proto::address::mac_for;
use mesh_proto::crypto::identity::Identity;
use mesh_proto::ids::Mac;
use mesh_proto::ipam::Slicing;
use mesh_proto::limits::DEFAULT_PORT;
use mesh_proto::time::Instant;
use mesh_proto::topology::bodies::Attached;

use super::rng::Rng;
use super::disk::Disk;
use super::workload::LeaseHolder;
use super::layout::Joined;
use super::network::HostId;
use super::fault::InjectedFault;
use super::process::Process;
use super::router::RouterState;

/// A container: its address, and the MAC address derived from it.
#[derive(Clone, Debug)]
pub(crate) struct Station {
    pub(crate) ip: Ipv4Addr,
    pub(crate) mac: Mac,
}

/// A host with its persistent state.
pub(crate) struct SimHost {
    pub(crate) address: SocketAddr,
    pub(crate) powered: bool,
    pub(crate) process: Option<Box<dyn Process>>,
    /// Number of the process's start.
    pub(crate) incarnation: u64,
    pub(crate) state: RouterState,
    pub(crate) disk: Disk,
    /// Containers of the workload, by name.
    pub(crate) workload: BTreeMap<String, LeaseHolder>,
    /// Targets typed by the operator, which are used again after the state is lost.
    pub(crate) typed: Vec<String>,
    pub(crate) containers: Vec<Station>,
    pub(crate) clock: Duration,
    /// Time that its timer is set to.
    pub(crate) armed: Option<Instant>,
    /// Time of the last timer event, and the number of events at that time.
    pub(crate) fired: (Instant, u32),
}

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
}

impl SimHost {
    /// False if the process is a hostile member without a link.
    pub(crate) fn still_linked(&self) -> bool {
        self.process.as_ref().is_none_or(|p| p.still_linked())
    }

    /// Returns the containers as their router announces them.
    pub(crate) fn attached(&self) -> Vec<Attached> {
        let announce = |c: &Station| Attached {
            mac: c.mac,
            addr: ipnet::Ipv4Net::new_assert(c.ip, 16).into(),
            container: format!("c{}", c.ip),
            moves: 0,
        };
        self.containers.iter().map(announce).collect()
    }
}

pub(crate) fn host(id: HostId, plan: &WorldPlan, rng: &mut Rng) -> SimHost {
    let containers = (0..=rng.below(3)).map(|c| container(id, c)).collect();
    let target = |to: &HostId| {
        if plan.names {
            format!("h{to}")
        } else {
            address(*to, 0).ip().to_string()
        }
    };
    let targets = plan.targets.get(id).map(Vec::as_slice).unwrap_or_default();
    let typed: Vec<String> = targets.iter().map(target).collect();
    SimHost {
        address: address(id, 0),
        powered: true,
        process: None,
        incarnation: 0,
        state: RouterState {
            identity: Arc::new(Identity::from_seeds(rng.key(), rng.key())),
            epoch: 0,
            targets: typed.clone(),
            neighbours: Vec::new(),
            pins: BTreeMap::new(),
        },
        disk: Disk::default(),
        workload: BTreeMap::new(),
        typed,
        containers,
        clock: rng.between(Duration::ZERO, plan.clocks),
        armed: None,
        fired: (Instant::ZERO, 0),
    }
}

fn byte(n: usize) -> u8 {
    u8::try_from(n & 0xff).unwrap_or_default()
}

/// Returns the underlay address of a host after `moves` moves.
pub(crate) fn address(host: HostId, moves: usize) -> SocketAddr {
    let ip = Ipv4Addr::new(192, 168, byte(moves), byte(host + 1));
    SocketAddr::new(ip.into(), DEFAULT_PORT)
}

fn container(host: HostId, number: usize) -> Station {
    let ip = Ipv4Addr::new(10, 2, byte(host), byte(number + 1));
    Station {
        ip,
        mac: mac_for(ip.into()),
    }
}
