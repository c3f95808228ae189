//! Announcements of containers, as the lanes look them up in each network; MACs that flap, and addresses that several routers
//! announce.

use crate::arp_proxy::Binding;
use crate::entropy::Entropy;
use crate::ids::{Mac, PeerId};
use crate::limits::{MAX_CLAIMS, MAX_NETWORK_CLAIMS};
use crate::network::NetworkId;
use crate::time::Instant;
use crate::topology::bodies::Attached;
use crate::topology::lsdb::Lsdb;
use crate::topology::record::SignedRecord;
use crate::wire::topic::{RecordKey, Topic};

use super::contests::RightfulRouter;
use super::networks::{HandedOut, JoinedNetwork, RoutedNetwork, owner_of, peer_of};
use super::{RemoteAttached, Routing, RoutingEffect, contests};
use crate::control::gossip::Gossip;
use crate::control::note::Note;

impl Routing {
    /// Replaces the memberships in networks other than `default`. What routers announce in those that are new is to be
    /// handed out then, see [`Routing::hand_out_announced`].
    pub(crate) fn set_networks(&mut self, joined: Vec<JoinedNetwork>, entropy: &mut dyn Entropy) {
        let change = self.networks.set(joined, &self.forwarder, entropy);
        self.stale.announced.extend(change.routers);
        self.stale.snapshot = true;
        for error in change.refused {
            self.warn(format!(
                "a network cannot be joined: {error}; its containers here are cut off until another one is left"
            ));
        }
    }

    /// Hands the host and the lanes what routers newly announce, or announce no more; those out of reach announce nothing.
    pub(crate) fn hand_out_announced(&mut self, gossip: &Gossip, now: Instant) {
        for peer in core::mem::take(&mut self.stale.announced) {
            let is_there = peer == self.me || self.routes.is_reachable(&peer);
            let record = |topic| gossip.lsdb().get(RecordKey::new(peer, topic)).cloned();
            let containers = record(Topic::ATTACHED).filter(|_| is_there);
            let router = record(Topic::IDENTITY);
            let attached = containers.as_ref().map_or(&[][..], SignedRecord::attached);
            self.hand_out(peer, attached, gossip, now);
            if peer != self.me {
                let records = router.zip(containers);
                let attached = RemoteAttached { peer, records };
                self.effects
                    .push_back(RoutingEffect::RemoteAttached(attached));
            }
        }
    }

    /// Hands the lanes what a router announces in each network of which both are members.
    fn hand_out(&mut self, peer: PeerId, attached: &[Attached], gossip: &Gossip, now: Instant) {
        let (me, forwarder) = (self.me, &self.forwarder);
        let hand_out = |network: &mut RoutedNetwork| {
            let is_member = peer == me || network.has_member(&peer);
            let attached = within(attached, network.id);
            let bindings = bindings(if is_member { attached } else { &[] });
            let handed_out = network.announce((peer, me), bindings, forwarder, now);
            (network.id, handed_out)
        };
        let handed_out: Vec<_> = self.networks.iter_mut().map(hand_out).collect();
        for (network, HandedOut { is_full, flapping }) in handed_out {
            if is_full {
                self.warn(full_words(network, &gossip.display(&peer)));
            }
            for (mac, from) in flapping {
                self.flapping((network, mac), (from, peer), gossip, now);
            }
        }
    }

    /// Returns the containers of this host in networks of which it is a member, each with the number of its moves to announce.
    /// Where it is no member nobody could send them a frame, nor is known which of them moved here.
    pub(crate) fn to_announce(&self, attached: &[Attached], lsdb: &Lsdb) -> Vec<Attached> {
        let said = lsdb.attached(&self.me);
        let with_moves = |one: &Attached| {
            let network = self.networks.get(one.network)?;
            let is_said = |a: &&Attached| (a.network, a.mac) == (one.network, one.mac);
            let moves = match said.iter().find(is_said) {
                Some(same) => same.moves,
                None => network.next_moves(one.mac, self.me, &self.forwarder),
            };
            let one = one.clone();
            Some(Attached { moves, ..one })
        };
        attached.iter().filter_map(with_moves).collect()
    }

    // MACs that flap

    /// Takes note of the MACs that the MAC tables saw move too often.
    pub(crate) fn tick_flaps(&mut self, gossip: &Gossip, now: Instant) {
        let networks = self.networks.iter();
        let seen = networks.flat_map(|network| {
            let flapping = network.domain(&self.forwarder).take_flapping();
            let id = network.id;
            flapping
                .into_iter()
                .map(move |(mac, between)| ((id, mac), between))
        });
        let seen: Vec<_> = seen.collect();
        for (mac, (a, b)) in seen {
            let between = (peer_of(a, self.me), peer_of(b, self.me));
            self.flapping(mac, between, gossip, now);
        }
    }

    fn flapping(
        &mut self,
        (network, mac): (NetworkId, Mac),
        between: (PeerId, PeerId),
        gossip: &Gossip,
        now: Instant,
    ) {
        let known = self.networks.get_mut(network);
        if known.is_some_and(|known| known.mobility.flaps(mac, between, now)) {
            self.warn(flap_words((network, mac), between, gossip));
        }
    }

    /// Returns the warnings of MACs that flap, for the report.
    pub(crate) fn flap_warnings(&self, gossip: &Gossip, now: Instant) -> Vec<String> {
        let networks = self.networks.iter();
        let words = networks.flat_map(|network| {
            let flapping = network.mobility.flapping(now);
            flapping.map(|(mac, between)| flap_words((network.id, mac), between, gossip))
        });
        words.collect()
    }

    // Contests

    /// Settles contests by the rightful owners of addresses.
    pub(crate) fn settle_contests(&mut self, rightful: RightfulRouter<'_>, now: Instant) {
        let (me, forwarder) = (self.me, &self.forwarder);
        for network in self.networks.iter_mut() {
            let id = network.id;
            let rightful = |ip| Some(owner_of(rightful(id, ip)?, me));
            network.settle_contests(forwarder, rightful, now);
        }
    }

    /// Warns of addresses that several routers have begun to announce.
    pub(crate) fn tick_contests(&mut self, gossip: &Gossip, now: Instant) {
        let (me, forwarder) = (self.me, &self.forwarder);
        let name = |owner| gossip.display(&peer_of(owner, me));
        let words = |network: &mut RoutedNetwork| {
            let news = network.new_contests(forwarder, now);
            let arp_proxy = network.domain(forwarder).arp_proxy();
            let words = |contest| contests::words(network.id, contest, arp_proxy, name, now);
            news.iter().map(words).collect::<Vec<String>>()
        };
        let words: Vec<String> = self.networks.iter_mut().flat_map(words).collect();
        words.into_iter().for_each(|words| self.warn(words));
    }

    /// Returns the warnings of contests, for the report.
    pub(crate) fn contest_warnings(&self, gossip: &Gossip, now: Instant) -> Vec<String> {
        let name = |owner| gossip.display(&peer_of(owner, self.me));
        let networks = self.networks.iter();
        let warnings = networks.flat_map(|network| {
            let arp_proxy = network.domain(&self.forwarder).arp_proxy();
            contests::warnings(network.id, arp_proxy, name, now)
        });
        warnings.collect()
    }

    fn warn(&mut self, text: String) {
        self.effects
            .push_back(RoutingEffect::Note(Note::Warn(text)));
    }
}

/// Returns the containers in one network; `attached` is in the order of networks, as a record has it.
fn within(attached: &[Attached], network: NetworkId) -> &[Attached] {
    let start = attached.partition_point(|one| one.network < network);
    let end = attached.partition_point(|one| one.network <= network);
    attached.get(start..end).unwrap_or_default()
}

/// Returns the bindings of a router's containers, as lanes look them up.
fn bindings(attached: &[Attached]) -> Vec<Binding> {
    let binding = |a: &Attached| Binding {
        ip: a.addr.addr(),
        mac: a.mac,
        moves: a.moves,
    };
    attached.iter().map(binding).collect()
}

fn full_words(network: NetworkId, router: &str) -> String {
    let (place, most) = match network.is_default() {
        true => (String::new(), MAX_CLAIMS),
        false => (contests::in_network(network), MAX_NETWORK_CLAIMS),
    };
    format!(
        "the containers of {router}{place} are more than this router has room for ({most} addresses in all); ARP for them goes to everybody"
    )
}

fn flap_words(
    (network, mac): (NetworkId, Mac),
    (a, b): (PeerId, PeerId),
    gossip: &Gossip,
) -> String {
    let (a, b, place) = (
        gossip.display(&a),
        gossip.display(&b),
        contests::in_network(network),
    );
    format!(
        "MAC {mac}{place} flaps between {a} and {b}; give containers there different addresses, or end a bridge that joins the two beside the mesh"
    )
}
