//! Networks besides `default` in a mesh: where their members are, what these send, and what each router knows of them.
//!
//! Their stations have addresses that other stations have in `default` and in the other networks. Labels mean different
//! networks at different routers, and in different runs of one. Keys are fixed; how routers agree on them is not simulated.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use mesh_ipam::{NetworkPlan, SubnetPlan};
use mesh_proto::address::mac_for;
use mesh_proto::control::{Control, JoinedNetwork, Output};
use mesh_proto::crypto::network_key::NetworkKey;
use mesh_proto::forward::{NetworkKeys, PeerLabel};
use mesh_proto::ids::{Mac, PeerId};
use mesh_proto::network::{NetworkId, NetworkLabel};
use mesh_proto::time::Instant;
use mesh_proto::topology::RecordError;
use mesh_proto::wire::topic::Topic;

use super::families;
use super::frames::{FrameId, Ledger, Station};
use super::network::HostId;
use super::rng::Rng;

/// Networks besides `default`.
const NETWORKS: u8 = 3;
const TOPIC: Topic = Topic::NETWORKS;
/// Probability per mille that a host has members in a network.
const MEMBER: u32 = 600;
/// Most ordered pairs of members that are tested in a network.
const MAX_PAIRS: usize = 30;
/// Last byte of the addresses of silent stations.
const SILENT: u8 = 200;

/// Members of one network on one host.
#[derive(Clone, Debug)]
pub(crate) struct MemberStations {
    pub(crate) network: NetworkId,
    /// Sends frames. Its addresses are those of the first station of some host in `default`.
    pub(crate) speaker: Station,
    /// Sends nothing, so that only its router's record says where it is.
    pub(crate) silent: Station,
}

/// A frame that a member sends, and those that must get it.
pub(crate) struct MemberFrame {
    pub(crate) network: NetworkId,
    pub(crate) from: HostId,
    pub(crate) to: BTreeSet<HostId>,
    pub(crate) frame: FrameId,
    pub(crate) bytes: Vec<u8>,
}

/// Members of all networks of a mesh.
#[derive(Debug)]
pub(crate) struct MeshNetworks {
    members: BTreeMap<NetworkId, BTreeMap<HostId, MemberStations>>,
    rng: Rng,
}

impl MeshNetworks {
    /// Returns networks with members on some of `hosts` hosts; without a seed there are none.
    pub(crate) fn new(hosts: usize, seed: Option<u64>) -> Self {
        let mut rng = Rng::new(seed.unwrap_or_default());
        let numbers = 1..=seed.map_or(0, |_| NETWORKS);
        let members = numbers.map(|k| {
            let all = (0..hosts).filter(|_| rng.chance(MEMBER));
            let all = all.map(|host| (host, member(k, host, hosts)));
            (network(k), all.collect())
        });
        Self {
            members: members.collect(),
            rng,
        }
    }

    /// Returns the members on a host.
    pub(crate) fn of(&self, host: HostId) -> Vec<MemberStations> {
        let networks = self.members.values();
        networks.filter_map(|all| all.get(&host)).cloned().collect()
    }

    /// Returns the subnet of each network, which is the same in all of its family; each was created by another host, by its identity.
    pub(crate) fn plans(&self, peer: impl Fn(HostId) -> PeerId) -> Vec<NetworkPlan> {
        let plan = |(k, (network, members)): (usize, (&NetworkId, &BTreeMap<HostId, _>))| {
            let hosts: Vec<&HostId> = members.keys().collect();
            let founder = hosts.get(k % hosts.len().max(1))?;
            Some(NetworkPlan {
                network: *network,
                founder: peer(**founder),
                subnets: vec![SubnetPlan {
                    subnet: families::subnet_of(k),
                    range: families::subnet_of(k),
                    gateway: None,
                }],
            })
        };
        self.members.iter().enumerate().filter_map(plan).collect()
    }

    /// True if a host has members in a network.
    pub(crate) fn is_member(&self, host: HostId, network: NetworkId) -> bool {
        let members = self.members.get(&network);
        network.is_default() || members.is_some_and(|members| members.contains_key(&host))
    }

    // Frames

    /// Returns a frame of some member on one of these hosts: a broadcast, an ARP announcement or request, or a frame to
    /// an address that another network has, too.
    pub(crate) fn any_frame(
        &mut self,
        running: &[HostId],
        ledger: &mut Ledger,
    ) -> Option<MemberFrame> {
        let k = u8::try_from(1 + self.rng.below(usize::from(NETWORKS))).unwrap_or(1);
        let members = self.members.get(&network(k))?;
        let here: Vec<HostId> = members
            .keys()
            .copied()
            .filter(|host| running.contains(host))
            .collect();
        let from = *here.get(self.rng.below(here.len()))?;
        let source = &members.get(&from)?.speaker;
        let all: Vec<&MemberStations> = self.members.values().flat_map(BTreeMap::values).collect();
        let target = &all.get(self.rng.below(all.len()))?.speaker;
        let (frame, bytes) = match self.rng.below(6) {
            0 => ledger.frame(from, source.mac, Mac::BROADCAST, 60 + self.rng.below(1_300)),
            1 => ledger.announcement(from, source.mac, source.ip.octets()),
            2 => ledger.request(from, source, target.ip),
            _ => ledger.frame(from, source.mac, target.mac, 60 + self.rng.below(1_300)),
        };
        Some(MemberFrame {
            network: network(k),
            from,
            to: BTreeSet::new(),
            frame,
            bytes,
        })
    }

    /// Returns an announcement of each speaker of a component, which all other members there must get.
    pub(crate) fn announcements(
        &self,
        component: &BTreeSet<HostId>,
        ledger: &mut Ledger,
    ) -> Vec<MemberFrame> {
        let mut frames = Vec::new();
        for (network, members) in self.within(component) {
            for (from, member) in &members {
                let Station { mac, ip } = &member.speaker;
                let (frame, bytes) = ledger.announcement(*from, *mac, ip.octets());
                frames.push(MemberFrame {
                    network,
                    from: *from,
                    to: members.keys().copied().collect(),
                    frame,
                    bytes,
                });
            }
        }
        frames
    }

    /// Returns a frame from speakers of a component to others, and an ARP request for a silent station beside each: only
    /// the host with the address must get it.
    pub(crate) fn conversations(
        &self,
        component: &BTreeSet<HostId>,
        ledger: &mut Ledger,
    ) -> Vec<MemberFrame> {
        let mut frames = Vec::new();
        let mut rng = self.rng.clone();
        for (network, members) in self.within(component) {
            let pairs = members.iter();
            let pairs = pairs.flat_map(|from| members.iter().map(move |to| (from, to)));
            let mut pairs: Vec<_> = pairs.filter(|(from, to)| from.0 != to.0).collect();
            rng.shuffle(&mut pairs);
            pairs.truncate(MAX_PAIRS);
            for ((from, source), (to, target)) in pairs {
                let source = &source.speaker;
                let sent = [
                    ledger.frame(*from, source.mac, target.speaker.mac, 100),
                    ledger.request(*from, source, target.silent.ip),
                ];
                frames.extend(sent.map(|(frame, bytes)| MemberFrame {
                    network,
                    from: *from,
                    to: BTreeSet::from([*to]),
                    frame,
                    bytes,
                }));
            }
        }
        frames
    }

    /// Returns the members of each network in a component.
    fn within(
        &self,
        component: &BTreeSet<HostId>,
    ) -> impl Iterator<Item = (NetworkId, BTreeMap<HostId, &MemberStations>)> {
        self.members.iter().map(move |(network, members)| {
            let here = members.iter().filter(|(host, _)| component.contains(host));
            (
                *network,
                here.map(|(host, member)| (*host, member)).collect(),
            )
        })
    }
}

/// Returns the id of network number `k`.
fn network(k: u8) -> NetworkId {
    NetworkId([k; 16])
}

/// Returns the members of network `k` on a host: they have the addresses that another host has in `default`.
fn member(k: u8, host: HostId, hosts: usize) -> MemberStations {
    let place = u8::try_from((host + usize::from(k)) % hosts).unwrap_or_default();
    let station = |last| {
        let ip = Ipv4Addr::new(10, 2, place, last);
        Station {
            ip,
            mac: mac_for(ip.into()),
        }
    };
    MemberStations {
        network: network(k),
        speaker: station(1),
        silent: station(SILENT),
    }
}

/// Memberships of one router, and what it heard of those of others.
#[derive(Debug)]
pub(crate) struct RouterNetworks {
    /// Networks of this router, by label.
    own: BTreeMap<NetworkLabel, NetworkId>,
}

impl RouterNetworks {
    /// Creates the memberships of a run with this epoch.
    pub(crate) fn new(networks: &[NetworkId], epoch: u64) -> Self {
        let turned = usize::try_from(epoch % u64::from(NETWORKS)).unwrap_or_default();
        let labels = (1..).map(NetworkLabel);
        let networks = networks.iter().cycle().skip(turned).take(networks.len());
        Self {
            own: labels.zip(networks.copied()).collect(),
        }
    }

    /// Announces the memberships, and begins to follow those of others.
    pub(crate) fn start(&self, control: &mut Control, now: Instant) -> Result<(), RecordError> {
        if self.own.is_empty() {
            return Ok(());
        }
        let entry = |(label, network): (&NetworkLabel, &NetworkId)| {
            [&network.0[..], &label.0.to_be_bytes()].concat()
        };
        let body = self.own.iter().flat_map(entry).collect();
        control.announce(TOPIC, body, now)?;
        control.set_networks(self.joined(control), now);
        Ok(())
    }

    /// Takes over what others announce.
    pub(crate) fn hear(&self, output: &Output, control: &mut Control, now: Instant) {
        if !self.own.is_empty() && matches!(output, Output::Announcement(key) if key.topic == TOPIC)
        {
            control.set_networks(self.joined(control), now);
        }
    }

    fn joined(&self, control: &Control) -> Vec<JoinedNetwork> {
        let mut peers: BTreeMap<NetworkId, BTreeMap<PeerId, PeerLabel>> = BTreeMap::new();
        for said in control.announcements(TOPIC) {
            let epoch = said.version.epoch;
            for (network, label) in entries(said.body) {
                let of = peers.entry(network).or_default();
                of.insert(said.origin, PeerLabel { label, epoch });
            }
        }
        let join = |(label, network): (&NetworkLabel, &NetworkId)| JoinedNetwork {
            network: *network,
            label: *label,
            peers: peers.remove(network).unwrap_or_default(),
            keys: NetworkKeys::new(vec![Arc::new(NetworkKey::new([network.0[0]; 32]))]),
        };
        self.own.iter().map(join).collect()
    }
}

/// Returns the memberships in a record; a hostile member says anything.
fn entries(body: &[u8]) -> impl Iterator<Item = (NetworkId, NetworkLabel)> {
    body.chunks_exact(18).filter_map(|entry| {
        let (network, label) = entry.split_first_chunk()?;
        let label = label.first_chunk()?;
        let label = NetworkLabel(u16::from_be_bytes(*label));
        Some((NetworkId(*network), label))
    })
}
