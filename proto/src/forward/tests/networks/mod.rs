//! Several networks on the same routers, with equal addresses and with labels that mean different networks elsewhere.

mod attacks;
mod broadcasts;
mod isolation;
mod labels;
mod storms;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::net::*;
use crate::crypto::network_key::NetworkKey;
use crate::entropy::SeededEntropy;
use crate::fdb::Owner;
use crate::forward::*;
use crate::ids::Mac;
use crate::network::{NetworkId, NetworkLabel};

/// Boot epoch of all routers.
const EPOCH: u64 = 1;

/// Returns the id of network `k`; 0 is the network `default`.
fn network(k: usize) -> NetworkId {
    NetworkId([u8::try_from(k).unwrap(); 16])
}

fn key_of(k: usize) -> NetworkKey {
    NetworkKey::new([u8::try_from(0x40 + k).unwrap(); 32])
}

/// Routers with the members of each network but `default`, by number.
struct NetworkWorld {
    net: Net,
    members: Vec<BTreeSet<usize>>,
}

impl NetworkWorld {
    /// Creates `n` linked routers; `members[k - 1]` are the members of network `k`.
    fn new(n: usize, edges: &[(usize, usize)], members: &[&[usize]]) -> Self {
        let members = members.iter().map(|all| all.iter().copied().collect());
        let mut world = Self {
            net: Net::wire(n, edges),
            members: members.collect(),
        };
        (0..n).for_each(|n| world.publish(n));
        world
    }

    /// Returns the number of networks besides `default`.
    fn networks(&self) -> usize {
        self.members.len()
    }

    fn is_member(&self, n: usize, k: usize) -> bool {
        k == 0 || self.members[k - 1].contains(&n)
    }

    /// Returns the label that router `n` assigned to network `k`: one that other routers use for other networks.
    fn label(&self, n: usize, k: usize) -> NetworkLabel {
        NetworkLabel(u16::try_from(1 + (k + n) % self.networks()).unwrap())
    }

    fn membership(&self, n: usize, k: usize) -> SnapshotNetwork {
        let forwarder = &self.net.nodes[n].forwarder;
        let others = self.members[k - 1].iter().filter(|peer| **peer != n);
        let label = |peer: &usize| PeerLabel {
            label: self.label(*peer, k),
            epoch: EPOCH,
        };
        SnapshotNetwork {
            domain: forwarder
                .join(network(k), &mut SeededEntropy::new(7))
                .unwrap(),
            label: self.label(n, k),
            peers: others.map(|peer| (id(*peer), label(peer))).collect(),
            keys: NetworkKeys::new(vec![Arc::new(key_of(k))]),
        }
    }

    /// Publishes the memberships of router `n`.
    fn publish(&mut self, n: usize) {
        self.publish_changed(n, |_, _| {});
    }

    /// Publishes the memberships of router `n`, each changed by `change` with the number of the network.
    fn publish_changed(&mut self, n: usize, change: impl Fn(usize, &mut SnapshotNetwork)) {
        let joined = (1..=self.networks()).filter(|k| self.is_member(n, *k));
        let all = joined.map(|k| {
            let mut membership = self.membership(n, k);
            change(k, &mut membership);
            Arc::new(membership)
        });
        let networks = SnapshotNetworks::new(all.collect::<Vec<_>>()).unwrap();
        self.net.nodes[n].snap.networks = Arc::new(networks);
    }

    fn domain(&self, n: usize, k: usize) -> Arc<BroadcastDomain> {
        let forwarder = &self.net.nodes[n].forwarder;
        forwarder
            .join(network(k), &mut SeededEntropy::new(7))
            .unwrap()
    }

    /// Sends frames from the port of network `k` of router `n`, and delivers all datagrams.
    fn send(&mut self, n: usize, k: usize, frames: &[Vec<u8>]) {
        self.net.egress_in(n, network(k), frames);
        self.net.run();
    }

    /// Takes the frames delivered at router `n` since the last call, each with the number of its network.
    fn taken(&mut self, n: usize) -> Vec<(usize, Vec<u8>)> {
        let node = &mut self.net.nodes[n];
        let default = core::mem::take(&mut node.injected);
        let elsewhere = core::mem::take(&mut node.elsewhere);
        let number = |(network, frame): (NetworkId, Vec<u8>)| (usize::from(network.0[0]), frame);
        let default = default.into_iter().map(|frame| (0, frame));
        default.chain(elsewhere.into_iter().map(number)).collect()
    }

    /// Takes the frames delivered at all routers: router, network, frame.
    fn all_taken(&mut self) -> Vec<(usize, usize, Vec<u8>)> {
        let routers = 0..self.net.nodes.len();
        let mut all = Vec::new();
        for n in routers {
            all.extend(self.taken(n).into_iter().map(|(k, frame)| (n, k, frame)));
        }
        all
    }

    /// Makes router `n` know in network `k` that container `c` is behind `owner`.
    fn knows(&self, n: usize, k: usize, c: usize, owner: usize) {
        let owner = Owner::Peer(id(owner));
        match k {
            0 => drop(
                self.net.nodes[n]
                    .forwarder
                    .fdb()
                    .learn(mac(c), owner, self.net.now),
            ),
            _ => drop(self.domain(n, k).fdb().learn(mac(c), owner, self.net.now)),
        }
    }

    fn dropped(&self, n: usize) -> BTreeMap<&'static str, u64> {
        self.net.dropped(n).into_iter().collect()
    }
}

/// Returns a frame that says at its end from which network it is.
fn marked(k: usize, mut frame: Vec<u8>) -> Vec<u8> {
    frame.extend_from_slice(&[0xa5, 0x5a, 0xc3, u8::try_from(k).unwrap()]);
    frame
}

/// Returns the network from which the frame says it is.
fn mark_of(frame: &[u8]) -> usize {
    let [.., 0xa5, 0x5a, 0xc3, k] = frame else {
        panic!("a frame without a mark");
    };
    usize::from(*k)
}

fn unicast(k: usize, from: usize, to: usize) -> Vec<u8> {
    marked(k, frame(mac(from), mac(to), b"unicast"))
}

fn broadcast(k: usize, from: usize) -> Vec<u8> {
    marked(k, frame(mac(from), Mac::BROADCAST, b"broadcast"))
}
